package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/blob"
	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/dispatch"
	"github.com/api-gpu/api-gpu/internal/fetch"
	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/link"
	"github.com/api-gpu/api-gpu/internal/program"
	"github.com/api-gpu/api-gpu/internal/provider/local"
	"github.com/api-gpu/api-gpu/internal/provider/static"
	"github.com/api-gpu/api-gpu/internal/provider/vast"
	"github.com/api-gpu/api-gpu/internal/queue"
	"github.com/api-gpu/api-gpu/internal/registry"
	"github.com/api-gpu/api-gpu/internal/server"
	"github.com/api-gpu/api-gpu/internal/webhook"
)

// Bounds of what a job may be, and of a stop.
const (
	maxDuration  = 2 * time.Hour
	maxPixels    = 4096 * 2176
	maxRun       = 4 * time.Hour
	silence      = 3 * time.Minute
	drainTimeout = 10 * time.Minute
	stopTimeout  = 5 * time.Second // docker stop gives ten
	stopLease    = 30 * time.Minute
	bodyIdle     = time.Minute // for the next byte of a request
)

type serveCmd struct{ Config }

// Run serves until ctx ends, then stops in order: no new request, no new
// work, then the workers as SHUTDOWN says.
func (c *serveCmd) Run(ctx context.Context, out program.Output) error {
	c.defaults()
	if err := c.check(); err != nil {
		return err
	}
	log := program.Log(out.Stderr, c.LogLevel, c.production())
	o, err := c.open(ctx, log)
	if err != nil {
		return err
	}
	defer o.close()
	return o.serve(ctx)
}

// orchestrator is the program put together.
type orchestrator struct {
	cfg      *Config
	log      *slog.Logger
	db       *db.DB
	fetch    *fetch.Client
	queue    *queue.Queue
	store    *blob.Store
	rental   *vast.Provider  // nil with another provider
	image    *registry.Image // of rented workers; nil where it is nobody's to ask for
	noRent   string          // why nothing is rented, whatever waits; for the operator
	fleet    *fleet.Fleet
	dispatch *dispatch.Dispatcher
	jobs     *server.Jobs
	webhooks *webhook.Sender
	api      *httpapi.API
	status   *server.Status
	listener net.Listener
	metrics  net.Listener // nil unless METRICS_ADDR
}

// open puts the parts together, lowest first. Nothing runs yet.
func (c *serveCmd) open(ctx context.Context, log *slog.Logger) (_ *orchestrator, err error) {
	o := &orchestrator{cfg: &c.Config, log: log}
	defer func() {
		if err != nil {
			o.close()
		}
	}()
	if o.db, err = c.openDatabase(ctx, db.Open, db.Options{Log: log}); err != nil {
		return nil, err
	}
	o.queue = queue.New(o.db, nil)
	store, err := c.openStore(o.queue)
	if err != nil {
		return nil, c.storagePlace().unopened(err)
	}
	o.store = store
	identity, err := fleet.LoadIdentity(ctx, o.db, c.Fleet, c.GPUAPIKey)
	if err != nil {
		return nil, err
	}
	provider, credentials, err := c.provider(log)
	if err != nil {
		return nil, err
	}
	o.rental, _ = provider.(*vast.Provider)
	if o.image, err = c.openImage(log); err != nil {
		return nil, err
	}
	o.fetch = fetch.New(fetch.Options{AllowHosts: c.AllowPrivateHosts})
	o.noRent = c.noRent()
	if o.fleet, err = o.newFleet(identity, provider, credentials, func() bool { return hasRoom(ctx, store) }); err != nil {
		return nil, err
	}
	o.dispatch = dispatch.New(dispatch.Config{
		Queue: o.queue, Fleet: o.fleet, Blob: store, Fetch: o.fetch, RequireGPU: c.requireGPU(), ResultGrace: c.ResultGrace, Log: log, Now: o.db.Now,
	})
	o.jobs = &server.Jobs{
		Queue: o.queue, Blob: store, Fetch: o.fetch, Log: log, Now: o.db.Now, Fonts: &server.Fonts{DB: o.db, Blob: store},
		Policy: server.Policy{
			QueueTTL: c.QueueTTL, ResultTTL: c.ResultTTL, MaxUpload: int64(c.MaxUpload), MaxJobsPerKey: c.MaxJobsPerKey,
			JobTimer: server.Timer{Fixed: c.JobTimeout, Max: maxRun},
			Limits:   server.Limits{MaxDuration: maxDuration, MaxPixels: maxPixels},
			Afford:   o.fleet.Affordable,
			Expect:   o.fleet.Expected,
		},
		Previews: o.previews(),
	}
	return o, o.listen(ctx, identity, provider)
}

// newFleet puts together what rents and ends workers.
func (o *orchestrator) newFleet(identity fleet.Identity, provider gpu.Provider, credentials *link.Credentials, hasRoom func() bool) (*fleet.Fleet, error) {
	c := o.cfg
	idle, err := c.idleTimeout()
	if err != nil {
		return nil, err
	}
	env, err := c.workerEnv()
	if err != nil {
		return nil, err
	}
	settings, err := c.rentalSettings(identity)
	if err != nil {
		return nil, err
	}
	image, check := o.askImage()
	var rest func()
	if o.rental != nil {
		rest = o.rental.Rest
	}
	return fleet.New(fleet.Config{
		DB: o.db, Queue: o.queue, Provider: provider, Identity: identity, Credentials: credentials,
		Policy: fleet.Policy{
			MaxGPUs: c.MaxGPUs, MaxBoots: c.maxBoots(), MaxWait: c.MaxWait, IdleTimeout: idle, BootTimeout: c.BootTimeout,
			ProofOf: c.proofOf(), MaxPrice: c.maxPrice(), RequireGPU: c.requireGPU(), Lease: c.Lease, Silence: silence, NoRent: forClients(o.noRent),
			Budget: c.budget(), MaxUpload: int64(c.MaxUpload), Traits: provider.Traits(),
		},
		Env: env, Settings: settings, Image: image, CheckImage: check, HasRoom: hasRoom, Rest: rest, DestroyAtEnd: c.Shutdown != "keep", LeaveLease: c.leaveLease(), Log: o.log,
	}), nil
}

// leaveLease is the lease of a rented worker that has a job when this process
// stops and keeps it; 0 where none is kept.
func (c *Config) leaveLease() time.Duration {
	if c.Shutdown != "keep" {
		return 0
	}
	return stopLease
}

// hasRoom reports whether any job that waits could start. Where that cannot be
// told, nothing is rented.
func hasRoom(ctx context.Context, store *blob.Store) bool {
	room, err := store.Room(context.WithoutCancel(ctx))
	return err == nil && !room.Stuck
}

// openStore opens the folder of results. What jobs were promised of it stands
// in their rows.
func (c *serveCmd) openStore(q *queue.Queue) (*blob.Store, error) {
	dir, _ := c.storageDir()
	limit := int64(c.StorageMax)
	if limit == 0 {
		probe, err := blob.Open(dir, blob.Options{})
		if err != nil {
			return nil, err
		}
		capacity, err := probe.Capacity()
		if err != nil {
			return nil, err
		}
		limit = capacity / 10 * 6
	}
	return blob.Open(dir, blob.Options{MaxBytes: limit, MinFree: int64(c.DiskFreeMin), Promised: q.Promised, Evict: q.Evict})
}

// provider makes the place where workers come from. The credentials are those
// of workers that somebody else started; nil where ours derive.
func (c *serveCmd) provider(log *slog.Logger) (gpu.Provider, *link.Credentials, error) {
	switch c.Provider {
	case providerVast:
		p, err := c.vastProvider(log)
		return p, nil, err
	case "static":
		p, err := static.New(static.Config{URLs: c.WorkerURL, Slots: c.WorkerJobs})
		return p, &link.Credentials{Token: c.WorkerToken, Key: c.WorkerKey}, err
	}
	binary, err := c.workerBinary()
	if err != nil {
		return nil, nil, err
	}
	p, err := local.New(local.Config{Binary: binary, Dir: c.LocalDir, MaxInstances: c.MaxGPUs, Slots: c.WorkerJobs, Env: withoutSecrets(os.Environ()), Log: log})
	return p, nil, place{"LOCAL_DIR", c.LocalDir, c.LocalDir, c.LocalDir}.unopened(err)
}

// workerBinary is the worker program of this machine.
func (c *Config) workerBinary() (string, error) {
	if c.WorkerBin != "" {
		return c.WorkerBin, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return filepath.Join(filepath.Dir(self), "worker"), nil
}

// secretName matches the names of variables that hold secrets, ours and those
// of programs beside us.
var secretName = regexp.MustCompile(`(?i)KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|SEED|LOGIN|_URL$`)

// withoutSecrets is an environment without what a local worker must not know:
// it reads strangers' files. Its own credentials the fleet sets for it. Nor
// does it learn the number of the container that we may run in: that machine
// is not the worker's to end.
func withoutSecrets(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return secretName.MatchString(name) || name == "CONTAINER_ID"
	})
}

// workerEnv is what workers are told beside their credentials: all that a
// rented one learns of our settings stands here. The names of private hosts are
// for those on this machine only.
func (c *Config) workerEnv() (map[string]string, error) {
	env := map[string]string{
		"LOG_LEVEL": c.LogLevel, "MAX_UPLOAD": strconv.FormatInt(int64(c.MaxUpload), 10), "MAX_WORKER_JOBS": strconv.Itoa(c.WorkerJobs),
	}
	if !c.rented() {
		if len(c.AllowPrivateHosts) > 0 {
			env["ALLOW_PRIVATE_HOSTS"] = strings.Join(c.AllowPrivateHosts, ",")
		}
		return env, nil
	}
	allowed, err := c.allowedIPs()
	if err != nil {
		return nil, err
	}
	if allowed != "" {
		env["ALLOWED_IPS"] = allowed
	}
	return env, nil
}

// listen builds the HTTP side and takes its ports, so that a port that is
// taken is known before anything runs.
func (o *orchestrator) listen(ctx context.Context, identity fleet.Identity, provider gpu.Provider) error {
	keys, err := httpapi.ParseKeys(o.cfg.APIKey)
	if err != nil {
		return fmt.Errorf("X_API_KEY: %w", err)
	}
	if keys.Open() && !program.Loopback(o.cfg.Host) { // check has refused it
		return errors.New("X_API_KEY holds no key")
	}
	proxies, err := httpapi.ParseProxies(o.cfg.TrustedProxies)
	if err != nil {
		return fmt.Errorf("TRUSTED_PROXIES: %w", err)
	}
	secret, err := link.Subkey(identity.Secret, "result links")
	if err != nil {
		return err
	}
	gate := httpapi.NewGate(keys, proxies, o.log, time.Now)
	o.api = httpapi.New(httpapi.Config{
		Jobs: o.jobs, Guard: gate.Require, LinkSecret: secret, PublicURL: o.cfg.PublicURL, TrustedProxies: proxies,
		SyncWait: o.cfg.SyncWait, MaxUpload: int64(o.cfg.MaxUpload), RateLimit: o.cfg.RateLimit, Title: "api-gpu", Version: apigpu.Version(), Log: o.log, Now: o.db.Now,
	})
	secrets, err := webhookSecrets(o.cfg.WebhookSecret, identity)
	if err != nil {
		return err
	}
	o.webhooks = webhook.New(webhook.Config{Queue: o.queue, Fetch: o.fetch, Secrets: secrets, Show: o.api.Show, May: o.fleet.MayDrive, Log: o.log, Now: o.db.Now})
	o.status = &server.Status{
		Queue: o.queue, Fleet: o.fleet, Jobs: o.jobs, Provider: provider.Name(), Version: apigpu.Version(), Began: time.Now(), Now: time.Now,
		Warnings: o.warnings(), Found: o.found, More: []prometheus.Collector{o.webhooks.Metrics(), o.fleet.Metrics()},
	}
	if o.status.Prove, err = healthProof(identity.Secret); err != nil {
		return err
	}
	o.api.Mux.HandleFunc("GET /health", o.status.Health)
	o.jobs.Fonts.Register(o.api, gate.Require)
	(&server.GPUs{Fleet: o.fleet}).Register(o.api, gate.RequireAdmin)
	server.RegisterStyles(o.api, gate.Require)
	server.RegisterDoctor(o.api, gate.RequireAdmin, o.examiner(identity))
	if o.cfg.MetricsAddr == "" {
		o.api.Mux.Handle("GET /metrics", gate.RequireAdmin(o.status.Metrics()))
	} else if o.metrics, err = program.Listen(ctx, o.cfg.MetricsAddr); err != nil {
		return fmt.Errorf("METRICS_ADDR: %w", err)
	}
	if o.listener, err = program.Listen(ctx, net.JoinHostPort(o.cfg.Host, strconv.Itoa(o.cfg.Port))); err != nil {
		return fmt.Errorf("PORT: %w", err)
	}
	return nil
}

// warnings are settings that work and should still be changed.
func (o *orchestrator) warnings() []string {
	var w []string
	if o.noRent != "" {
		w = append(w, o.noRent)
	}
	if o.cfg.rented() && o.image == nil {
		w = append(w, "machines are rented with "+o.cfg.VastWorkerImage+" by its name, not by its digest: its registry is not asked (VAST_IMAGE_CHECK)")
	}
	if o.cfg.production() && o.cfg.PublicURL == "" {
		w = append(w, "PUBLIC_URL is not set: video_url is made from what each request says")
	}
	return w
}

// found are faults outside, which come and go.
func (o *orchestrator) found() []string {
	if o.image == nil {
		return nil
	}
	if w := o.image.Warning(); w != "" {
		return []string{w + " (VAST_WORKER_IMAGE, VAST_IMAGE_LOGIN; VAST_IMAGE_CHECK=false rents without asking)"}
	}
	return nil
}

func (o *orchestrator) close() {
	var errs []error
	if o.image != nil {
		o.image.Close()
	}
	if o.rental != nil {
		o.rental.Close()
	}
	for _, l := range []net.Listener{o.listener, o.metrics} {
		if l != nil {
			if err := l.Close(); !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if o.fetch != nil {
		o.fetch.Close()
	}
	if o.db != nil {
		errs = append(errs, o.db.Close())
	}
	if err := errors.Join(errs...); err != nil {
		o.log.Warn("close", "error", err)
	}
}

// serve runs everything until ctx ends or a part fails.
func (o *orchestrator) serve(ctx context.Context) error {
	for _, w := range append(o.warnings(), o.cfg.weaknesses()...) {
		o.log.WarnContext(ctx, w)
	}
	if o.image != nil {
		o.image.Warm() // so that the first job does not wait for its registry
	}
	newsDone, stopNews := background(ctx, func(ctx context.Context) error { o.queue.Follow(ctx, o.log); return nil })
	fleetDone, stopFleet := background(ctx, o.fleet.Run)
	dispatchDone, stopDispatch := background(ctx, o.dispatch.Run)
	keepDone, stopKeep := background(ctx, func(ctx context.Context) error { return o.jobs.Keep(ctx, o.fleet.Leading) })
	webhooksDone, stopWebhooks := background(ctx, o.webhooks.Run)
	api, apiDone := serveHTTP(o.listener, o.api, o.log)
	metrics, metricsDone := serveHTTP(o.metrics, httpapi.Secure(o.status.Metrics()), o.log)
	o.log.InfoContext(ctx, "listening", "address", o.listener.Addr().String(), "provider", o.cfg.Provider, "version", apigpu.Version())

	var failed error
	select {
	case <-ctx.Done():
		o.log.Info("stopping", "workers", o.cfg.Shutdown)
	case failed = <-apiDone:
	case failed = <-metricsDone:
	}
	o.jobs.Close()
	if o.cfg.Shutdown == "drain" && failed == nil {
		o.drain() // clients still get what they wait for
	}
	o.api.Stop() // waiting requests are answered now
	// Connections close while the parts stop: who downloads must not keep the
	// next process from going on.
	closed := make(chan error, 1)
	go func() {
		end, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		closed <- errors.Join(shutdown(end, api), shutdown(end, metrics))
	}()
	// Each in its turn: jobs are handed back while the fleet is still led.
	stopDispatch()
	failed = errors.Join(failed, <-dispatchDone)
	stopKeep()
	failed = errors.Join(failed, <-keepDone)
	stopWebhooks()
	failed = errors.Join(failed, <-webhooksDone)
	stopFleet()
	failed = errors.Join(failed, <-fleetDone)
	stopNews()
	return errors.Join(failed, <-newsDone, <-closed)
}

// background runs a part in a goroutine; it ends by its own stop only, so
// that parts stop in order.
func background(ctx context.Context, run func(context.Context) error) (<-chan error, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	return done, cancel
}

// drain waits until no job is queued or runs, as long as it is on us: where
// another leads, or drives too, our jobs are handed to it instead.
func (o *orchestrator) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	changed := o.queue.Watch()
	for ctx.Err() == nil && o.fleet.Leading() {
		queued, running, err := o.queue.Counts(ctx)
		if err != nil || queued+running == 0 {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// serveHTTP serves on l, or does nothing where l is nil.
func serveHTTP(l net.Listener, h http.Handler, log *slog.Logger) (*http.Server, <-chan error) {
	done := make(chan error, 1)
	if l == nil {
		return nil, done
	}
	s := httpapi.NewServer(h, bodyIdle, log)
	go func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			done <- fmt.Errorf("serve HTTP: %w", err)
		}
	}()
	return s, done
}

func shutdown(ctx context.Context, s *http.Server) error {
	if s == nil {
		return nil
	}
	if err := s.Shutdown(ctx); err != nil { // somebody downloads: the link resumes
		return s.Close()
	}
	return nil
}
