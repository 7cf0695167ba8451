package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/link"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// Trial is one machine that is rented beside every ledger, to see what its
// marketplace does: its row is in memory. The rules are those by which a Fleet
// rents, and are the same functions. It is for one goroutine.
type Trial struct {
	Policy   Policy
	Identity Identity // of a fleet of its own
	Row      Instance

	since   time.Time
	exited  bool
	refused map[string]Refusal
}

// Bargain is an offer, and the most that a machine of it can cost.
type Bargain struct {
	gpu.Offer
	// Most is what it costs if it is rented now and whoever rented it dies at the
	// worst moment: its time until it ends itself, a run of the job, and all
	// traffic that is allowed.
	Most gpu.USD
	// Run is how long the job may run at most.
	Run time.Duration
}

// Bargains are the offers by which one machine may be rented for a job within
// BUDGET_JOB_USD, the best first. Where there is none, OverBudget says what would
// have been enough; nil where there was no offer at all.
func (p Policy) Bargains(offers []gpu.Offer, ask queue.Ask, now time.Time) ([]Bargain, *OverBudget) {
	ranked := choose(World{Offers: offers}, Work{For: ask.Run, Down: ask.Size, Up: ask.Room}, now).Ranked
	left, why := affordable(p, World{Asks: []queue.Ask{ask}}, ranked, now)
	var all []Bargain
	for _, c := range left {
		in, _ := p.booked(wouldBe(c.Offer, now), ask)
		a := in.account(now)
		all = append(all, Bargain{Offer: c.Offer, Most: a.spread + a.traffic, Run: min(ask.Run, in.ReservedUntil.Sub(in.leaseEnd()))})
	}
	return all, why
}

// What a Fleet goes by that a trial goes by too.
const (
	// Overtime is how long after its lease a machine may take to end itself.
	Overtime = overtime
	// CreateTimeout, ListTimeout and DestroyTimeout bound one call to the provider.
	CreateTimeout  = createTimeout
	ListTimeout    = listTimeout
	DestroyTimeout = destroyTimeout
	// MaxCreates is how many offers are tried, one after another.
	MaxCreates = maxCreates
)

// NewTrial is the intent of one machine of an offer, under a label of its own.
func NewTrial(p Policy, id Identity, o gpu.Offer, now time.Time) *Trial {
	return &Trial{Policy: p, Identity: id, since: now, refused: map[string]Refusal{}, Row: Instance{
		Label: Label(id.ID, newName(now)), State: gpu.Creating, Slots: max(1, o.Slots), HourlyUSD: o.HourlyUSD, Terms: TermsOf(o),
		CreatedAt: now, StateSince: now, AskedAt: now, Deadline: now.Add(p.BootTimeout), LeaseUntil: now.Add(p.BootTimeout + p.firstLease()),
	}}
}

// Request is what is asked of the provider. image may be empty, as in
// gpu.Request; env comes on top of what every worker is told.
func (t *Trial) Request(o gpu.Offer, image string, env map[string]string) (gpu.Request, error) {
	creds, err := link.Derive(t.Identity.Secret, t.Row.Label)
	if err != nil {
		return gpu.Request{}, err
	}
	all, err := t.Policy.workerEnv(t.Identity, creds, t.Row, env)
	return gpu.Request{Label: t.Row.Label, Offer: o, Image: image, Env: all}, err
}

// Created notes how the create call ended.
func (t *Trial) Created(id string, err error, now time.Time) { t.Row = created(t.Row, id, err, now) }

// Seen notes what a listing says, and returns the ids of machines under labels
// of this trial's fleet that are not the one.
func (t *Trial) Seen(s gpu.Snapshot, now time.Time) (strays map[string]string) {
	seen := Observe(t.Identity.ID, t.Policy.Traits, []Instance{t.Row}, s, t.Policy, t.since, now)
	t.exited = seen.Exited[t.Row.Label]
	for _, row := range seen.Changed {
		if row.Label == t.Row.Label {
			t.Row = row
		}
	}
	return seen.Strays
}

// GivenUp says why a machine that boots is given up, or nothing.
func (t *Trial) GivenUp(now time.Time) string {
	if t.Row.State != gpu.Booting {
		return ""
	}
	a, _ := endBoot(t.Policy, World{Since: t.since, Reachable: t.since, Exited: map[string]bool{t.Row.Label: t.exited}, Refused: t.refused}, t.Row, now)
	return a.Reason
}

// Client is the way to its worker, once its address is known.
func (t *Trial) Client() (*client.Client, error) {
	creds, err := link.Derive(t.Identity.Secret, t.Row.Label)
	if err != nil {
		return nil, err
	}
	pin, err := t.Policy.pin(t.Identity, t.Row)
	if err != nil {
		return nil, err
	}
	c, err := client.New(t.Row.Address, client.Options{Key: creds.Key, Token: creds.Token, TLS: pin})
	if err != nil {
		return nil, fmt.Errorf("address of %s: %w", t.Row.Label, err)
	}
	return c, nil
}

// Renew renews its lease, and notes the answer and until when it lives.
func (t *Trial) Renew(ctx context.Context, c *client.Client, now func() time.Time) (apigpu.LeaseReply, error) {
	// Noted before it is sent: an answer that does not come may have granted it.
	t.Row.LeaseUntil = latest(t.Row.LeaseUntil, now().Add(contactTimeout+t.Policy.Lease))
	reply, err := lease(ctx, c, apigpu.LeaseRequest{Epoch: 1, TTLSeconds: t.Policy.Lease.Seconds()})
	if why := refusalIn(err); why != nil {
		since := now()
		if before, ok := t.refused[t.Row.Label]; ok {
			since = before.Since
		}
		t.refused[t.Row.Label] = Refusal{Code: why.Code, Message: why.Message, Since: since}
	}
	if err != nil {
		return reply, err
	}
	delete(t.refused, t.Row.Label)
	t.Row = answered(t.Row, reply, t.Policy, now())
	t.Row.LeaseUntil = now().Add(t.Policy.Lease)
	return reply, nil
}

// Dearer says how it costs more than it was offered for, or nothing.
func (t *Trial) Dearer() string {
	reason, _ := overpriced(t.Policy, t.Row)
	return reason
}

// Cost is what it cost by our own measure, with the traffic of its one job.
func (t *Trial) Cost(job queue.Attempt, now time.Time) gpu.USD {
	var attempts []queue.Attempt
	if !job.StartedAt.IsZero() {
		attempts = append(attempts, job)
	}
	usd, _ := Cost(t.Row, attempts, now)
	return usd
}

// Pulled is how many bytes of the image its bill has.
func (t *Trial) Pulled(down gpu.USD, job queue.Attempt) int64 {
	return pulled(t.Row.Terms, down, []queue.Attempt{job})
}
