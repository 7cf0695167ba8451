package server

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// Status tells how the orchestrator is.
type Status struct {
	Queue    *queue.Queue
	Fleet    *fleet.Fleet
	Jobs     *Jobs
	Provider string
	Version  string
	Began    time.Time
	Now      func() time.Time
	Warnings []string // settings that should be changed
	// Found are faults that come and go. Optional.
	Found func() []string
	// Prove answers a nonce so that only who knows our secret can: the one who
	// asks knows then that a name leads to us. Optional.
	Prove func(nonce string) string
	// Metrics of other parts, shown beside our own.
	More []prometheus.Collector
}

// Health is the body of GET /health.
type Health struct {
	Status    string        `json:"status"` // ok, standby, degraded
	Service   string        `json:"service"`
	Version   string        `json:"version"`
	Timestamp time.Time     `json:"timestamp"`
	Uptime    float64       `json:"uptime"` // seconds
	Role      string        `json:"role"`   // leader, member (drives jobs, rents nothing), standby
	Provider  string        `json:"provider"`
	Workers   HealthWorkers `json:"workers"`
	Jobs      HealthJobs    `json:"jobs"`
	Storage   HealthStorage `json:"storage"`
	Warnings  []string      `json:"warnings"`
	// Proof answers the nonce of /health?nonce=…: see Status.Prove.
	Proof string `json:"proof,omitempty"`
}

// nonces are what a proof is given for.
var nonces = regexp.MustCompile(`^[A-Za-z0-9]{16,64}$`)

// HealthWorkers counts workers.
type HealthWorkers struct {
	Ready   int `json:"ready"`
	Booting int `json:"booting"`
}

// HealthJobs counts jobs that have not ended.
type HealthJobs struct {
	Queued  int `json:"queued"`
	Running int `json:"running"`
}

// Health answers GET /health: 200 while requests can be served, 503 when the
// database does not answer.
func (s *Status) Health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	h := Health{
		Status: "ok", Service: "api-gpu orchestrator", Version: s.Version, Timestamp: s.Now().UTC(), Uptime: s.Now().Sub(s.Began).Seconds(),
		Role: "leader", Provider: s.Provider, Warnings: append([]string{}, s.Warnings...),
	}
	switch {
	case s.Fleet.Leading():
	case s.Fleet.MayDrive():
		h.Role = "member"
	default:
		h.Status, h.Role = "standby", "standby"
	}
	status := http.StatusOK
	rows, err := s.Fleet.Instances(ctx)
	if err == nil {
		h.Workers.Ready, h.Workers.Booting = count(rows, gpu.Ready), count(rows, gpu.Booting)+count(rows, gpu.Creating)
		h.Jobs.Queued, h.Jobs.Running, err = s.Queue.Counts(ctx)
	}
	if err != nil {
		h.Status, status = "degraded", http.StatusServiceUnavailable
		h.Warnings = append(h.Warnings, "the database does not answer")
	}
	if nonce := r.URL.Query().Get("nonce"); s.Prove != nil && nonces.MatchString(nonce) {
		h.Proof = s.Prove(nonce)
	}
	if s.Found != nil {
		h.Warnings = append(h.Warnings, s.Found()...)
	}
	h.Warnings = append(h.Warnings, s.ofFleet(ctx, h.Timestamp)...)
	var warnings []string
	h.Storage, warnings = s.storage(ctx)
	h.Warnings = append(h.Warnings, warnings...)
	httpapi.WriteJSON(w, status, h)
}

// ofFleet are the warnings about machines.
func (s *Status) ofFleet(ctx context.Context, now time.Time) (warnings []string) {
	refusals := s.Fleet.Refusals()
	for _, label := range slices.Sorted(maps.Keys(refusals)) {
		warnings = append(warnings, fmt.Sprintf("the worker %s refuses this server (%s): %s", label, refusals[label].Code, refusals[label].Message))
	}
	for _, stop := range s.Fleet.Stops() {
		warnings = append(warnings, notRented(stop, now))
	}
	if capped := s.Fleet.IdleCapped(ctx); capped != "" {
		warnings = append(warnings, capped)
	}
	return append(warnings, foreigners(s.Provider, s.Fleet.Foreigners())...)
}

// fleetsTold bounds how many other fleets one answer names.
const fleetsTold = 5

// foreigners counts the machines of other fleets on the account, and names the
// command that would end each fleet.
func foreigners(provider string, all []fleet.Foreign) (warnings []string) {
	counts := map[string]int{}
	for _, x := range all {
		counts[x.Fleet]++
	}
	for _, of := range slices.Sorted(maps.Keys(counts)) {
		if len(warnings) == fleetsTold {
			return append(warnings, fmt.Sprintf("machines of %s are on the account: see GET /gpus", several(len(counts)-fleetsTold, "further fleet")))
		}
		text := fmt.Sprintf("%s of another fleet, %s, on the account and not touched", several(counts[of], "machine"), of)
		if command := fleet.SweepCommand(provider, of); command != "" {
			text += "; to end that fleet: " + command
		}
		warnings = append(warnings, text)
	}
	return warnings
}

// notRented says in one line why nothing is rented, or was not until somebody
// has shown that it is mended.
func notRented(s fleet.Stop, now time.Time) string {
	text := fmt.Sprintf("nothing is rented (%s): %s", s.Code, s.Reason)
	if s.Detail != "" {
		// Anybody may ask for this, and the rest names addresses, images and sums.
		text += " (more in GET /gpus and in the log)"
	}
	switch {
	case s.Until.IsZero():
	case s.Until.After(now):
		text += "; tried again at " + s.Until.UTC().Format(time.RFC3339)
	default:
		text += "; the next job tries it again"
	}
	return text
}

func count(rows []fleet.Instance, state gpu.State) (n int) {
	for _, in := range rows {
		if in.State == state {
			n++
		}
	}
	return n
}

// Metrics answers GET /metrics in the format of Prometheus.
func (s *Status) Metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.collector(), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registry.MustRegister(s.More...)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// collector reads the tables at each scrape: there is nothing to keep in step.
type collector struct {
	status    *Status
	jobs      *prometheus.Desc
	instances *prometheus.Desc
	leading   *prometheus.Desc
	storage   *prometheus.Desc
	full      *prometheus.Desc
	evicted   *prometheus.Desc
	webhooks  *prometheus.Desc
}

func (s *Status) collector() *collector {
	return &collector{
		status:    s,
		jobs:      prometheus.NewDesc("api_gpu_jobs", "Jobs that have not ended.", []string{"status"}, nil),
		instances: prometheus.NewDesc("api_gpu_instances", "Instances that are not gone.", []string{"state"}, nil),
		leading:   prometheus.NewDesc("api_gpu_leading", "1 for the process that may rent and destroy.", nil, nil),
		storage:   prometheus.NewDesc("api_gpu_storage_bytes", "Storage: used by files, promised to jobs, free on the volume, and the limit of used and promised.", []string{"kind"}, nil),
		full:      prometheus.NewDesc("api_gpu_storage_full", "1 while new work is refused for want of room.", nil, nil),
		evicted:   prometheus.NewDesc("api_gpu_evicted_results_total", "Results removed before their time to make room.", nil, nil),
		webhooks:  prometheus.NewDesc("api_gpu_webhooks_pending", "Webhooks of ended jobs that nobody took yet.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.jobs
	ch <- c.instances
	ch <- c.leading
	ch <- c.storage
	ch <- c.full
	ch <- c.evicted
	ch <- c.webhooks
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	leading := 0.0
	if c.status.Fleet.Leading() {
		leading = 1
	}
	gauge(c.leading, leading)
	c.collectStorage(ctx, ch)
	queued, running, err := c.status.Queue.Counts(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.jobs, err)
		return
	}
	gauge(c.jobs, float64(queued), "queued")
	gauge(c.jobs, float64(running), "running")
	pending, err := c.status.Queue.PendingWebhooks(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.webhooks, err)
		return
	}
	gauge(c.webhooks, float64(pending))
	rows, err := c.status.Fleet.Instances(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.instances, err)
		return
	}
	for _, state := range []gpu.State{gpu.Planned, gpu.Creating, gpu.Booting, gpu.Ready, gpu.Destroying} {
		gauge(c.instances, float64(count(rows, state)), string(state))
	}
}
