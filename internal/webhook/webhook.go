// Package webhook tells the addresses that clients named about the end of
// their jobs, as Standard Webhooks 1.0.0 has it.
//
// What is due stands in the table jobs, written by whatever ended the job.
// Each try is claimed there first, so that two processes send none twice, and
// one that is killed loses none: a message is delivered at least once, always
// under the same webhook-id.
package webhook

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/crash"
	"github.com/api-gpu/api-gpu/internal/fetch"
	"github.com/api-gpu/api-gpu/internal/queue"
)

const (
	// sendTimeout bounds a try. It is half of the time that a claim lasts.
	sendTimeout = 15 * time.Second
	// slots and perHost bound the tries at once, in all and to one host: a
	// receiver that hangs holds up its own messages only.
	slots   = 32
	perHost = 2
	// pollGap is how often the table is looked at without news: another
	// process may have ended a job.
	pollGap = 5 * time.Second
	// raceGap is the pause after another process was faster.
	raceGap = 20 * time.Millisecond
)

// Config is what a Sender needs. All fields are required.
type Config struct {
	Queue   *queue.Queue
	Fetch   *fetch.Client // checks each address when it is dialled
	Secrets Secrets
	// Show completes a job with its links. base is the address under which
	// its client reached the server.
	Show func(base string, j apigpu.Job) apigpu.Job
	// May tells whether this process is to send at all: one that stands by
	// does not.
	May func() bool
	Log *slog.Logger
	Now func() time.Time
}

// Sender sends what is due.
type Sender struct {
	cfg     Config
	tries   *prometheus.CounterVec
	timeout time.Duration // sendTimeout and pollGap, but for tests
	poll    time.Duration
}

// New makes a sender. Nothing is sent before Run.
func New(cfg Config) *Sender {
	s := &Sender{cfg: cfg, timeout: sendTimeout, poll: pollGap, tries: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "api_gpu_webhook_tries_total", Help: "Tries to deliver a webhook, by what became of it.",
	}, []string{"outcome"})}
	for _, outcome := range []apigpu.WebhookStatus{apigpu.WebhookPending, apigpu.WebhookDelivered, apigpu.WebhookFailed} {
		s.tries.WithLabelValues(outcomes[outcome])
	}
	return s
}

// outcomes names in metrics what became of a try.
var outcomes = map[apigpu.WebhookStatus]string{
	apigpu.WebhookPending: "retry", apigpu.WebhookDelivered: "delivered", apigpu.WebhookFailed: "failed",
}

// Metrics returns what a Sender counts.
func (s *Sender) Metrics() prometheus.Collector { return s.tries }

// Run sends until ctx ends. Tries under way are cut off then: the next start
// repeats them.
func (s *Sender) Run(ctx context.Context) error {
	changed := s.cfg.Queue.Watch()
	var sending sync.WaitGroup
	defer sending.Wait()
	done := make(chan string, slots) // hosts whose try has ended
	busy := map[string]int{}         // tries under way, by host
	free := slots
	for ctx.Err() == nil {
		wait := s.poll
		if free > 0 && s.cfg.May() {
			d, next, err := s.claim(ctx, full(busy))
			if err != nil && ctx.Err() == nil {
				s.cfg.Log.ErrorContext(ctx, "webhooks", "error", err)
			}
			if err == nil && d.Try > 0 {
				free--
				busy[d.Host]++
				sending.Go(func() {
					s.deliver(ctx, d)
					done <- d.Host
				})
				continue
			}
			wait = min(max(next, 0), s.poll)
		}
		timer := time.NewTimer(wait)
		select {
		case host := <-done:
			free++
			if busy[host]--; busy[host] == 0 {
				delete(busy, host)
			}
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return nil
}

// full lists the hosts that take no more tries now.
func full(busy map[string]int) (hosts []string) {
	for host, n := range busy {
		if n >= perHost {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// claim takes the try that is due first. Where none is, the delivery is the
// zero one, and next is when to look again.
func (s *Sender) claim(ctx context.Context, except []string) (d queue.Delivery, next time.Duration, err error) {
	due, found, err := s.cfg.Queue.NextWebhook(ctx, except)
	if err != nil || !found {
		return queue.Delivery{}, s.poll, err
	}
	if due.Wait > 0 {
		return queue.Delivery{}, due.Wait, nil
	}
	d, err = s.cfg.Queue.ClaimWebhook(ctx, due.JobID)
	switch code := apigpu.CodeOf(err); {
	case code == apigpu.Conflict, code == apigpu.JobNotFound: // another sends it, or nobody wants it any more
		return queue.Delivery{}, raceGap, nil
	case err != nil && d.Try > 0: // a row that cannot be read: the next one may
		return queue.Delivery{}, 0, err
	case err != nil:
		return queue.Delivery{}, s.poll, err
	}
	return d, 0, nil
}

// deliver makes one try and records what became of it.
func (s *Sender) deliver(ctx context.Context, d queue.Delivery) {
	a := s.send(ctx, d)
	o := judge(a, d.Try, d.Host, s.cfg.Now(), rand.Float64())
	if ctx.Err() != nil && a.err != nil { // cut off by our own stop
		o = queue.WebhookOutcome{Status: apigpu.WebhookPending, Next: s.cfg.Now()}
	}
	s.tries.WithLabelValues(outcomes[o.Status]).Inc()
	log := s.cfg.Log.With("job", d.Job.ID, "host", d.Host, "try", d.Try)
	switch o.Status {
	case apigpu.WebhookDelivered:
		log.InfoContext(ctx, "webhook delivered")
	case apigpu.WebhookPending:
		log.InfoContext(ctx, "webhook not taken", "reason", o.Error, "next", o.Next)
	case apigpu.WebhookFailed:
		log.WarnContext(ctx, "webhook given up", "reason", o.Error)
	}
	record, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := s.cfg.Queue.RecordWebhook(record, d, o); err != nil && apigpu.CodeOf(err) != apigpu.StaleAttempt {
		log.ErrorContext(ctx, "webhook not recorded: it will be sent again", "error", err)
	}
}

// send makes the call.
func (s *Sender) send(ctx context.Context, d queue.Delivery) (a answer) {
	body, err := encode(s.cfg.Show(d.Job.Base, d.Job.Job))
	if err != nil {
		return answer{err: err}
	}
	event, at := id(d.Job.ID), s.cfg.Now()
	signature, err := s.cfg.Secrets.sign(event, at, body)
	if err != nil {
		return answer{err: fmt.Errorf("sign webhook: %w", err)}
	}
	header := http.Header{
		"Content-Type": {"application/json"}, "Webhook-Id": {event},
		"Webhook-Timestamp": {strconv.FormatInt(at.Unix(), 10)}, "Webhook-Signature": {signature},
	}
	crash.Point("webhook.send")
	a.status, a.header, a.err = s.cfg.Fetch.Post(ctx, d.Job.WebhookURL, header, body, s.timeout)
	crash.Point("webhook.sent")
	return a
}
