package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/api-gpu/api-gpu/internal/program"
)

// healthCmd is the health check of a container: it needs no shell and no curl.
type healthCmd struct {
	Port int    `env:"PORT" default:"3000" help:"Port of the orchestrator."`
	Host string `env:"HOST" help:"Address that the orchestrator listens on. Default: loopback."`
}

func (c *healthCmd) Run(ctx context.Context, out program.Output) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	host := c.Host
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() { // on all of them
		host = "127.0.0.1"
	}
	address := "http://" + net.JoinHostPort(host, strconv.Itoa(c.Port)) + "/health"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return errors.New("it does not answer")
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", resp.Status)
	}
	fmt.Fprintln(out.Stdout, "ok")
	return nil
}

// configCmd prints the settings as the README shows them.
type configCmd struct{}

func (*configCmd) Run(out program.Output) error {
	table, err := settings(&serveCmd{})
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(out.Stdout, table)
	return err
}

// settings is the Markdown table of a command's flags, made from the struct
// that kong reads.
func settings(cmd any) (string, error) {
	parser, err := kong.New(cmd, kong.Name("orchestrator"))
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("| Variable | Default | Meaning |\n|---|---|---|\n")
	for _, f := range parser.Model.Flags {
		if len(f.Envs) == 0 {
			continue
		}
		fallback := f.Default
		if fallback == "" {
			fallback = "–"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", strings.Join(f.Envs, "` or `"), fallback, strings.ReplaceAll(f.Help, "|", "\\|"))
	}
	return b.String(), nil
}
