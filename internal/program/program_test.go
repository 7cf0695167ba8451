package program

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type grammar struct {
	Say sayCmd `cmd:"" default:"withargs"`
}

type sayCmd struct {
	Word string `env:"PROGRAM_TEST_WORD" default:"fallback"`
}

var errSaid = errors.New("said")

func (c *sayCmd) Run(ctx context.Context, out Output) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	_, _ = out.Stdout.Write([]byte(c.Word))
	return errSaid
}

func TestRun(t *testing.T) {
	for name, c := range map[string]struct {
		env, want string
		args      []string
	}{
		"default":     {want: "fallback"},
		"environment": {env: "env", want: "env"},
		"empty":       {env: "", want: "fallback"},
		"flag wins":   {env: "env", args: []string{"--word=flag"}, want: "flag"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("PROGRAM_TEST_WORD", c.env)
			var out, complaint bytes.Buffer
			err := Run(t.Context(), "test", "A test.", &grammar{}, c.args, &out, &complaint)
			if !errors.Is(err, errSaid) || out.String() != c.want {
				t.Errorf("got %q and %v, want %q and the command's error", out.String(), err, c.want)
			}
		})
	}
	if err := Run(t.Context(), "test", "A test.", &grammar{}, []string{"--nonsense"}, &bytes.Buffer{}, &bytes.Buffer{}); err == nil {
		t.Error("an unknown flag was taken")
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	var lines bytes.Buffer
	log := Log(&lines, "warn", true)
	log.Info("not this")
	log.Warn("this", "n", 1)
	if got := lines.String(); strings.Contains(got, "not this") || !strings.Contains(got, `"msg":"this","n":1`) {
		t.Errorf("logged %q", got)
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true,
		"": false, "0.0.0.0": false, "::": false, "192.168.0.1": false, "example.com": false,
	} {
		if got := Loopback(host); got != want {
			t.Errorf("Loopback(%q) = %v, want %v", host, got, want)
		}
	}
}
