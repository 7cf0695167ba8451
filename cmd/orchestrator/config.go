package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/program"
)

// Config is every setting of the orchestrator: kong reads it from flags and
// environment, and the table in the README is made from it.
type Config struct {
	Port   int    `env:"PORT" default:"3000" group:"Clients" help:"Port to listen on."`
	Host   string `env:"HOST" group:"Clients" help:"Address to listen on. Default: all with a key, loopback without."`
	APIKey string `name:"x-api-key" env:"X_API_KEY" group:"Clients" help:"Clients' key; several as name:key, comma-separated. The one named admin, or the only one, sees all jobs, and alone reaches /gpus, /doctor and /metrics. Required unless listening on loopback only."`

	PublicURL         string        `name:"public-url" env:"PUBLIC_URL" group:"Clients" help:"Address under which clients reach this server: the base of video_url. Default: as the request says."`
	TrustedProxies    string        `env:"TRUSTED_PROXIES" default:"private" group:"Clients" help:"Addresses whose X-Forwarded headers are believed, also about who the client is; private stands for the private ranges."`
	SyncWait          time.Duration `env:"SYNC_WAIT" default:"90s" group:"Clients" help:"How long a request waits for its video when it does not say."`
	RateLimit         int           `env:"RATE_LIMIT" default:"120" group:"Clients" help:"Jobs that a key may ask for in a minute; 0 is any number. The admin's key, or the only one, has no limit."`
	MaxJobsPerKey     int           `env:"MAX_JOBS_PER_KEY" default:"1000" group:"Clients" help:"Jobs that have not ended which a key may have; 0 is any number. The admin's key, or the only one, has no limit."`
	AllowPrivateHosts []string      `env:"ALLOW_PRIVATE_HOSTS" sep:"," group:"Clients" help:"Hosts that URLs may name though they are private (n8n,minio)."`
	WebhookSecret     string        `env:"WEBHOOK_SECRET" group:"Clients" help:"Secret that signs webhooks (whsec_…); while it changes, the new and the old one, comma-separated. Default: made from the root secret; orchestrator webhook-secret prints it."`
	MetricsAddr       string        `env:"METRICS_ADDR" group:"Clients" help:"Serve /metrics here, without a key, instead of behind it."`

	QueueTTL   time.Duration `name:"queue-ttl" env:"QUEUE_TTL" default:"24h" group:"Jobs" help:"How long a job may wait for a worker."`
	JobTimeout time.Duration `env:"JOB_TIMEOUT" group:"Jobs" help:"How long one run may take. Default: from the length of the video."`
	ResultTTL  time.Duration `name:"result-ttl" env:"RESULT_TTL" default:"24h" group:"Jobs" help:"How long a result is kept: half of it always, then until its room is needed."`
	MaxUpload  program.Bytes `env:"MAX_UPLOAD" default:"2GiB" group:"Jobs" help:"Largest video that is accepted."`
	Preview    string        `env:"PREVIEW" default:"auto" enum:"auto,off" group:"Jobs" help:"Draw previews here where FFmpeg and fonts are installed, else on a worker that is ready (auto), or none (off)."`

	DatabaseURL string        `name:"database-url" env:"DATABASE_URL" default:"sqlite:data/api-gpu.db" group:"State" help:"Where jobs and the ledger are: sqlite:FILE, or postgres://user:password@host/name, which several orchestrators can share."`
	StorageURL  string        `name:"storage-url" env:"STORAGE_URL" default:"file:data/files" group:"State" help:"Where results are."`
	SharedFiles bool          `env:"SHARED_FILES" default:"false" group:"State" help:"The folders of STORAGE_URL and LOCAL_DIR are the same for all orchestrators on one PostgreSQL: one disk, or one orchestrator only."`
	StorageMax  program.Bytes `env:"STORAGE_MAX" group:"State" help:"Most that results and uploads may take, what open jobs were promised included. Default: 60 % of the volume."`
	DiskFreeMin program.Bytes `env:"DISK_FREE_MIN" default:"1GiB" group:"State" help:"Room on the volume that results and uploads leave alone: the database lives of it."`
	Fleet       string        `env:"FLEET" group:"State" help:"Name of the fleet. Default: made, and kept in the database."`
	GPUAPIKey   string        `name:"gpu-api-key" env:"GPU_API_KEY" group:"State" help:"Root secret from which workers' keys derive. Default: made, and kept in the database."`

	Provider    string        `env:"PROVIDER" group:"Workers" help:"Where workers come from: vast (rented on Vast.ai), local (this machine) or static (WORKER_URL). Default: vast with VAST_API_KEY; in development else static with WORKER_URL, or local."`
	WorkerURL   []string      `name:"worker-url" env:"WORKER_URL" sep:"," group:"Workers" help:"Base URLs of workers that already run (static)."`
	WorkerToken string        `env:"WORKER_TOKEN" group:"Workers" help:"Their session token (static)."`
	WorkerKey   string        `env:"WORKER_KEY" group:"Workers" help:"Their API key (static)."`
	WorkerBin   string        `env:"WORKER_BIN" group:"Workers" help:"The worker program (local). Default: worker, beside this program."`
	LocalDir    string        `env:"LOCAL_DIR" default:"data/local" group:"Workers" help:"Where local workers work."`
	RequireGPU  *bool         `name:"require-gpu" env:"REQUIRE_GPU" negatable:"" group:"Workers" help:"Fail a job rather than encode it on a CPU. Default: true where workers are rented, else false."`
	WorkerJobs  int           `name:"max-worker-jobs" env:"MAX_WORKER_JOBS" default:"1" group:"Workers" help:"Jobs that a worker runs at once; those of WORKER_URL must allow as many."`
	MaxGPUs     int           `name:"max-gpus" env:"MAX_GPUS" default:"3" group:"Workers" help:"Most workers at once."`
	MaxWait     time.Duration `env:"MAX_WAIT" default:"240s" group:"Workers" help:"How long a job may be expected to wait for the workers that there are, or are starting, before another is got."`
	IdleTimeout string        `env:"IDLE_TIMEOUT" default:"auto" group:"Workers" help:"How long a worker without work is kept. auto: 5s where its time costs money, 5m where it does not. Above 1m, rented ones wait for the proof of orchestrator doctor --live."`
	AllowKeep   bool          `name:"allow-unproven-keepalive" env:"ALLOW_UNPROVEN_KEEPALIVE" default:"false" group:"Workers" help:"Keep rented workers idle for longer than a minute (IDLE_TIMEOUT) though orchestrator doctor --live has not shown that they end themselves when this server dies."`
	BootTimeout time.Duration `env:"BOOT_TIMEOUT" default:"10m" group:"Workers" help:"How long a worker may take to be ready."`
	Lease       time.Duration `env:"LEASE" default:"10m" group:"Workers" help:"How long a worker lives without word from here."`
	ResultGrace time.Duration `env:"RESULT_GRACE" default:"10m" group:"Workers" help:"How long a worker is kept for a result that cannot be stored."`
	Shutdown    string        `env:"SHUTDOWN" default:"keep" enum:"keep,drain,destroy" group:"Workers" help:"What a stop does to workers: keep them for the next start (of rented ones those with a job, for 30m; idle ones are ended), drain (finish jobs, then end them), or destroy them at once."`

	VastConfig

	BudgetJob   limit `name:"budget-job-usd" env:"BUDGET_JOB_USD" default:"off" group:"Money" help:"Most dollars for one job."`
	BudgetDay   limit `name:"budget-day-usd" env:"BUDGET_DAY_USD" default:"auto" group:"Money" help:"Most dollars for a day (UTC), what is reserved included. auto: 5 with PROVIDER=vast."`
	BudgetMonth limit `name:"budget-month-usd" env:"BUDGET_MONTH_USD" default:"off" group:"Money" help:"Most dollars for a month (UTC), what is reserved included."`

	LogLevel       string `env:"LOG_LEVEL" default:"info" enum:"debug,info,warn,error" group:"Program" help:"What is logged: debug, info, warn or error."`
	AppEnv         string `env:"APP_ENV,NODE_ENV" default:"development" enum:"development,test,production" group:"Program" help:"production logs JSON, must be told its PROVIDER, and in a container without a mounted volume for its state rents nothing."`
	AllowEphemeral bool   `env:"ALLOW_EPHEMERAL" default:"false" group:"Program" help:"Rent though the state is in a container that forgets it: whoever deletes the container must sweep what is rented."`
}

// defaults fills what depends on other settings.
func (c *Config) defaults() {
	c.PublicURL = strings.TrimSpace(c.PublicURL)
	if c.Host == "" && c.APIKey == "" {
		c.Host = "127.0.0.1"
	}
	if c.Provider == "" && c.VastAPIKey != "" {
		c.Provider = providerVast
	}
	if c.Provider == "" && !c.production() {
		c.Provider = "local"
		if len(c.WorkerURL) > 0 {
			c.Provider = "static"
		}
	}
	if c.VastWorkerImage == "" {
		c.VastWorkerImage = ownImage(workerImage, apigpu.Version())
	}
}

// providerVast is the PROVIDER whose machines are rented.
const providerVast = "vast"

func (c *Config) rented() bool { return c.Provider == providerVast }

func (c *Config) production() bool { return c.AppEnv == "production" }

// check says what is wrong with the settings, each in a line that names the
// variable and what to do.
func (c *Config) check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	faults = append(faults, c.clientFaults()...)
	faults = append(faults, c.providerFaults()...)
	if c.Fleet != "" {
		if err := fleet.CheckID(c.Fleet); err != nil {
			faults = append(faults, err)
		}
	}
	if _, ok := c.storageDir(); !ok {
		fault("STORAGE_URL must be file:FOLDER")
	}
	if db.IsShared(c.DatabaseURL) && !c.SharedFiles {
		if what := c.ofOneMachine(); what != "" {
			fault("SHARED_FILES is not set, and several orchestrators may share PostgreSQL, but not %s: set SHARED_FILES=1 where that is one disk for all of them, or where there is only one", what)
		}
	}
	for _, host := range c.AllowPrivateHosts {
		if strings.ContainsAny(host, "/@ ") {
			fault("ALLOW_PRIVATE_HOSTS: %q is no host such as minio or minio:9000", host)
		}
	}
	for name, d := range map[string]time.Duration{
		"QUEUE_TTL": c.QueueTTL, "RESULT_TTL": c.ResultTTL, "BOOT_TIMEOUT": c.BootTimeout, "LEASE": c.Lease, "RESULT_GRACE": c.ResultGrace,
		"MAX_WAIT": c.MaxWait,
	} {
		if d <= 0 {
			fault("%s must be above 0", name)
		}
	}
	if c.Lease < time.Minute {
		fault("LEASE=%s is too short: it is renewed every 15s, use 1m or more", c.Lease)
	}
	if c.Lease > apigpu.MaxLease {
		fault("LEASE=%s is too long: workers accept %s at most", c.Lease, apigpu.MaxLease)
	}
	if c.JobTimeout < 0 {
		fault("JOB_TIMEOUT must be above 0")
	}
	if c.MaxUpload <= 0 {
		fault("MAX_UPLOAD must be above 0")
	}
	if c.SyncWait < 0 || c.SyncWait > 600*time.Second {
		fault("SYNC_WAIT must be from 0 to 600s")
	}
	if c.RateLimit < 0 || c.MaxJobsPerKey < 0 {
		fault("RATE_LIMIT and MAX_JOBS_PER_KEY must not be negative: 0 is any number")
	}
	if c.MaxGPUs < 1 || c.WorkerJobs < 1 {
		fault("MAX_GPUS and MAX_WORKER_JOBS must be at least 1")
	}
	if _, err := c.idleTimeout(); err != nil {
		fault("IDLE_TIMEOUT must be auto or a duration such as 30s")
	}
	slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(faults...)
}

// providerFaults says what is wrong with the place where workers come from.
func (c *Config) providerFaults() []error {
	switch c.Provider {
	case "local":
		return nil
	case "static":
		if len(c.WorkerURL) == 0 {
			return []error{errors.New("PROVIDER=static needs WORKER_URL, such as http://localhost:3334")}
		}
		return nil
	case providerVast:
		return c.vastFaults()
	case "":
		return []error{errors.New("PROVIDER must be said in production: vast, local or static")}
	}
	return []error{fmt.Errorf("PROVIDER=%s is not known: use vast, local or static", c.Provider)}
}

// ofOneMachine names the settings whose state is on this machine's disk.
func (c *Config) ofOneMachine() string {
	var what []string
	if _, ok := c.storageDir(); ok {
		what = append(what, "STORAGE_URL="+c.StorageURL)
	}
	if c.Provider == "local" {
		what = append(what, "PROVIDER=local")
	}
	return strings.Join(what, " and ")
}

// IDLE_TIMEOUT=auto, where time costs nothing and where it costs money.
const (
	freeIdle = 5 * time.Minute
	paidIdle = 5 * time.Second
)

func (c *Config) idleTimeout() (time.Duration, error) {
	if c.IdleTimeout == "auto" {
		if c.rented() {
			return paidIdle, nil
		}
		return freeIdle, nil
	}
	d, err := time.ParseDuration(c.IdleTimeout)
	if err == nil && d < 0 {
		err = errors.New("negative")
	}
	return d, err
}

// requireGPU is REQUIRE_GPU: no rented second is spent encoding on a CPU.
func (c *Config) requireGPU() bool {
	if c.RequireGPU != nil {
		return *c.RequireGPU
	}
	return c.rented()
}

// budget is the most that may be spent.
func (c *Config) budget() fleet.Budget {
	var day gpu.USD
	if c.rented() {
		day = vastDayUSD
	}
	return fleet.Budget{Job: c.BudgetJob.or(0), Day: c.BudgetDay.or(day), Month: c.BudgetMonth.or(0)}
}

// maxBoots is how many workers may be starting at once: what ails one of them
// may ail all.
func (c *Config) maxBoots() int { return max(2, (c.MaxGPUs+3)/4) }
