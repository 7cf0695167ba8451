package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/crash"
	"github.com/api-gpu/api-gpu/internal/fetch"
	"github.com/api-gpu/api-gpu/internal/ffmpeg"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/link"
	"github.com/api-gpu/api-gpu/internal/program"
	"github.com/api-gpu/api-gpu/internal/worker"
)

const (
	syncWait     = 90 * time.Second
	proveTimeout = 2 * time.Minute
	stopTimeout  = 5 * time.Second // docker stop gives ten
	// bodyIdle is how long a request may bring no byte. A pushed video pauses
	// while the orchestrator asks its source again: package fetch makes up to
	// six tries of 30 s, with pauses of 15 s in all.
	bodyIdle = 4 * time.Minute
)

// errLeaseOver ends the program: whoever rented this machine is gone.
var errLeaseOver = errors.New("the lease has run out: nobody renewed it")

type serveCmd struct {
	Port              int           `env:"PORT" default:"3334" help:"Port to listen on; 0 takes a free one."`
	Host              string        `env:"HOST" help:"Address to listen on. Default: all with token and key, loopback without."`
	SessionToken      string        `env:"SESSION_TOKEN" help:"Token asked for in X-Session-Token."`
	AllowedIPs        string        `name:"allowed-ips" env:"ALLOWED_IPS" help:"Addresses that may connect, comma-separated. Default: all."`
	APIKey            string        `name:"x-api-key" env:"X_API_KEY" help:"Key asked for in X-API-Key."`
	TLSSeed           string        `name:"tls-seed" env:"TLS_SEED" help:"Speak TLS 1.3 only, with the key made of these 64 hex digits. Default: plain HTTP."`
	Lease             time.Duration `env:"LEASE" help:"Exit unless renewed within this time, and with CONTAINER_ID end that instance. Default: never."`
	BootTimeout       time.Duration `env:"BOOT_TIMEOUT" default:"10m" help:"Added to the first lease."`
	EndBy             int64         `name:"end-by" env:"END_BY" help:"When the first lease ends at the latest, in seconds since 1970: but for LEASE after the start. Default: LEASE and BOOT_TIMEOUT after it."`
	ContainerID       string        `name:"container-id" env:"CONTAINER_ID" help:"Instance that this machine is; Vast.ai sets it."`
	ContainerAPIKey   string        `name:"container-api-key" env:"CONTAINER_API_KEY" help:"Key of that instance; Vast.ai sets it."`
	VastAPIURL        string        `name:"vast-api-url" env:"VAST_API_URL" default:"https://console.vast.ai" help:"Where that instance is ended."`
	LeasePipe         int           `name:"lease-pipe" hidden:"" help:"Descriptor on which the first process is told of renewals."`
	MaxWorkerJobs     int           `env:"MAX_WORKER_JOBS" default:"1" help:"Jobs at once."`
	MaxUpload         program.Bytes `env:"MAX_UPLOAD" default:"2GiB" help:"Largest video that is accepted."`
	AllowPrivateHosts []string      `env:"ALLOW_PRIVATE_HOSTS" sep:"," help:"Hosts that URLs may name though they are private."`
	WorkDir           string        `env:"WORK_DIR" help:"Folder for jobs. Default: a temporary one."`
	PortFile          string        `env:"PORT_FILE" help:"Write the port here once listening."`
	LogLevel          string        `env:"LOG_LEVEL" default:"info" enum:"debug,info,warn,error" help:"What is logged: debug, info, warn or error."`
	AppEnv            string        `env:"APP_ENV,NODE_ENV" default:"development" enum:"development,test,production" help:"production logs JSON and asks for token and key."`
}

// check says what is wrong with the settings. A worker that anybody may use
// does not start.
func (c *serveCmd) check() error {
	open := c.SessionToken == "" || c.APIKey == ""
	if c.Host == "" && open {
		c.Host = "127.0.0.1"
	}
	switch {
	case open && (c.AppEnv == "production" || !program.Loopback(c.Host)):
		return errors.New("SESSION_TOKEN and X_API_KEY must be set, but for a worker on loopback in development")
	case c.MaxUpload <= 0:
		return errors.New("MAX_UPLOAD must be above 0")
	case c.MaxWorkerJobs < 1:
		return errors.New("MAX_WORKER_JOBS must be at least 1")
	case c.Lease < 0 || c.BootTimeout < 0:
		return errors.New("LEASE and BOOT_TIMEOUT must not be negative")
	}
	return nil
}

// first is for how long the lease is good before its first renewal. Whoever
// rented this machine reserved its time until EndBy, however late it started;
// but the clock of a machine may be wrong. So it is believed within bounds: it
// never grants more than the boot timeout and a lease, and never less than a
// lease, in which who still wants this machine renews it.
func (c *serveCmd) first(now time.Time) time.Duration {
	most := c.Lease + c.BootTimeout
	if c.EndBy <= 0 {
		return most
	}
	return min(most, max(c.Lease, time.Unix(c.EndBy, 0).Sub(now)))
}

// Run serves until ctx ends or the lease does.
func (c *serveCmd) Run(ctx context.Context, out program.Output) (err error) {
	if c.rented() { // before the checks, whose failure must not leave the machine behind
		return c.guard(ctx, out)
	}
	log := program.Log(out.Stderr, c.LogLevel, c.AppEnv == "production")
	if err := c.check(); err != nil {
		return err
	}
	dir, cleanUp, err := workDir(c.WorkDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cleanUp()) }()
	f := fetch.New(fetch.Options{AllowHosts: c.AllowPrivateHosts})
	defer f.Close()
	w, err := c.newWorker(dir, f, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	listener, err := c.listen(ctx)
	if err != nil {
		return err
	}
	return c.serve(ctx, w, listener, log)
}

// listen takes the port. With a seed it speaks TLS there, and answers a request
// in plain HTTP with 400.
func (c *serveCmd) listen(ctx context.Context) (net.Listener, error) {
	var secure *tls.Config
	if c.TLSSeed != "" {
		var err error
		if secure, err = link.ServerConfig(c.TLSSeed); err != nil {
			return nil, fmt.Errorf("TLS_SEED: %w", err)
		}
	}
	l, err := program.Listen(ctx, net.JoinHostPort(c.Host, strconv.Itoa(c.Port)))
	switch {
	case err != nil:
		return nil, fmt.Errorf("PORT: %w", err)
	case secure != nil:
		// As a listener and not by ServeTLS, which would offer HTTP/2 too.
		return tls.NewListener(l, secure), nil
	}
	return l, nil
}

func (c *serveCmd) newWorker(dir string, f *fetch.Client, log *slog.Logger) (*worker.Worker, error) {
	tools, err := ffmpeg.Find()
	if err != nil {
		return nil, fmt.Errorf("%w (install it: make setup, or apt-get install ffmpeg)", err)
	}
	tools.Launcher = ffmpeg.Self
	keys, err := httpapi.ParseKeys(c.APIKey)
	if err != nil {
		return nil, fmt.Errorf("X_API_KEY: %w", err)
	}
	if keys.Open() && c.APIKey != "" {
		return nil, errors.New("X_API_KEY holds no key")
	}
	allowed, err := httpapi.ParseProxies(c.AllowedIPs)
	if err != nil {
		return nil, fmt.Errorf("ALLOWED_IPS: %w", err)
	}
	lease := c.Lease
	var renewed func(time.Duration) error
	if c.LeasePipe > 0 { // the first process holds the lease
		if renewed, err = renewals(c.LeasePipe); err != nil {
			return nil, err
		}
		lease = 0
	}
	return worker.New(worker.Config{
		Tools: tools, Fetch: f, Guard: worker.Guard{Allowed: allowed, Token: c.SessionToken, Keys: keys}, WorkDir: dir,
		Slots: c.MaxWorkerJobs, Limits: ffmpeg.DefaultLimits(), MaxInput: int64(c.MaxUpload), SyncWait: syncWait,
		Lease: lease, BootTimeout: c.first(time.Now()) - c.Lease, Renewed: renewed, Version: apigpu.Version(), Log: log, Now: time.Now,
	})
}

// serve answers from the first moment; jobs are taken once the machine has
// proven itself.
func (c *serveCmd) serve(ctx context.Context, w *worker.Worker, l net.Listener, log *slog.Logger) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	server := httpapi.NewServer(w.Handler(), bodyIdle, log)
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			cancel(fmt.Errorf("serve HTTP: %w", err))
		}
	}()
	if err := writePort(c.PortFile, l.Addr()); err != nil {
		cancel(err)
	}
	log.InfoContext(ctx, "listening", "address", l.Addr().String(), "version", apigpu.Version())
	proven := make(chan struct{})
	go func() {
		defer close(proven)
		prove(ctx, w, log)
	}()
	var why error
	select {
	case <-ctx.Done():
		if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
			why = cause
		}
	case <-w.Expired():
		why = errLeaseOver
	}
	cancel(nil)
	<-proven
	log.Info("stopping", "why", why)
	end, stop := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer stop()
	w.Drain() // waiting requests are answered now
	if err := server.Shutdown(end); err != nil {
		return errors.Join(why, server.Close())
	}
	return why
}

func prove(ctx context.Context, w *worker.Worker, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, proveTimeout)
	defer cancel()
	if err := w.Prove(ctx); err != nil {
		log.ErrorContext(ctx, "this worker takes no job", "error", err)
		return
	}
	info := w.Info()
	log.InfoContext(ctx, "ready", "encoder", info.Encoder, "gpu", info.GPU, "ffmpeg", info.FFmpeg, "font", info.Font, "cores", info.Cores)
}

// writePort tells the port to whoever started us. The file appears whole.
func writePort(path string, addr net.Addr) error {
	if path == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return err
	}
	temp := path + ".new"
	if err := os.WriteFile(temp, []byte(port), 0o600); err != nil {
		return fmt.Errorf("write port: %w", err)
	}
	crash.Point("worker.port")
	return os.Rename(temp, path)
}

// selftestCmd proves what this machine can do and prints it.
type selftestCmd struct{}

func (*selftestCmd) Run(ctx context.Context, out program.Output) (err error) {
	dir, cleanUp, err := workDir("")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cleanUp()) }()
	f := fetch.New(fetch.Options{})
	defer f.Close()
	c := serveCmd{MaxWorkerJobs: 1, MaxUpload: 1}
	w, err := c.newWorker(dir, f, program.Log(out.Stderr, "warn", false))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, proveTimeout)
	defer cancel()
	if err := w.Prove(ctx); err != nil {
		return err
	}
	enc := json.NewEncoder(out.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(w.Info())
}
