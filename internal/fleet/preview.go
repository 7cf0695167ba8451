package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/pause"
)

// Preview is what the next round would do, and why.
type Preview struct {
	Report
	// Actions are in the order in which they would be done.
	Actions []Action
	Kept    []Kept
	// Nothing says why nothing is rented; empty where something is.
	Nothing string
	// Next is when time alone would change this, at the latest.
	Next time.Time
}

// Kept is an instance that stays as it is.
type Kept struct {
	Label, Reason string
	Until         time.Time // when that may change by itself; zero where it does not
}

// Preview tells what the next round would do, and does none of it: it reads the
// ledger, and asks the provider what exists and, where a job needs it, what is
// on offer. It writes nothing and needs no fleet lease, so that another process
// may serve meanwhile. The process that leads has just listed: it asks again
// only for offers.
func (f *Fleet) Preview(ctx context.Context) (Preview, error) {
	w, err := f.worldUnwritten(ctx)
	if err != nil {
		return Preview{}, err
	}
	now := f.cfg.Now()
	actions, next := Plan(f.cfg.Policy, w, now)
	if i := slices.IndexFunc(actions, func(a Action) bool { return a.Kind == Search }); i >= 0 {
		if w.Offers, err = f.lookForOffers(ctx); err != nil {
			return Preview{}, err
		}
		w.OffersAt = now
		// What follows the search stands in its place: it is done in one go.
		actions, next = Plan(f.cfg.Policy, w, now)
	}
	report, err := f.report(ctx, w)
	if err != nil {
		return Preview{}, err
	}
	p := Preview{Report: report, Actions: actions, Next: next}
	p.Kept = kept(f.cfg.Policy, w, report.Machines, actions, now)
	if !slices.ContainsFunc(actions, func(a Action) bool { return a.Kind == Rent }) {
		_, staying, _ := shrink(f.cfg.Policy, w, now)
		p.Nothing = grow(f.cfg.Policy, w, staying, now).why
	}
	return p, nil
}

func (f *Fleet) lookForOffers(ctx context.Context) ([]gpu.Offer, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	offers, err := Patiently(ctx, f.cfg.Provider.Offers)
	if err != nil {
		return nil, noWord(fmt.Errorf("search offers: %w", err))
	}
	return offers, nil
}

// worldUnwritten is the world of the next round. Who does not lead has no
// listings of its own in memory: it takes one, and moves rows by it on paper.
func (f *Fleet) worldUnwritten(ctx context.Context) (World, error) {
	var seen *Sighting
	now := f.cfg.Now()
	leading := f.Leading()
	rows, err := f.live(ctx)
	if err != nil {
		return World{}, err
	}
	if !leading {
		if err := f.followStops(ctx); err != nil {
			return World{}, err
		}
		s, around, err := f.sight(ctx, rows, now)
		if err != nil {
			return World{}, err
		}
		seen, rows = &s, withNew(overlay(rows, s.Changed), s.Changed)
		f.mu.Lock()
		f.foreign, f.strays = around, map[string]stray{}
		for id, label := range seen.Strays {
			f.strays[id] = stray{label: label, listings: 1}
		}
		f.mu.Unlock()
	}
	w, err := f.world(ctx, rows)
	if err != nil {
		return World{}, err
	}
	if seen != nil { // a second listing will say the same
		w.Exited, w.Blind = seen.Exited, false
		w.Strays = slices.Sorted(maps.Keys(seen.Strays))
		w.Extra = len(w.Strays)
	}
	for i, in := range w.Instances { // as noteIdle would
		switch {
		case in.State != gpu.Ready:
		case w.Busy[in.Label] > 0:
			w.Instances[i].IdleSince = time.Time{}
		case in.IdleSince.IsZero():
			w.Instances[i].IdleSince = now
		}
	}
	return w, nil
}

// lookTimeout bounds a question to the provider that a person waits for.
const lookTimeout = 90 * time.Second

// Patiently asks again where the provider was asked too often: by the server
// beside which this looks on. That has a pace, and one of our own could meet it
// every time, so ours is by chance.
func Patiently[T any](ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	for {
		got, err := ask(ctx)
		limited, ok := errors.AsType[gpu.RateLimited](err)
		if !ok || !pause.For(ctx, limited.After+rand.N(limited.After+1)) {
			return got, err
		}
	}
}

// noWord is why nobody can say what would be done.
func noWord(cause error) error {
	return apigpu.E(apigpu.Unavailable, cause, "The provider of machines does not say what it has, so that nobody can say what would be done.")
}

// sight lists, and says what that means for the rows.
func (f *Fleet) sight(ctx context.Context, rows []Instance, now time.Time) (Sighting, []Foreign, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	snapshot, err := Patiently(ctx, f.cfg.Provider.Instances)
	if err != nil {
		return Sighting{}, nil, noWord(fmt.Errorf("list instances: %w", err))
	}
	snapshot.Began = now
	s := Observe(f.cfg.Identity.ID, f.cfg.Provider.Traits(), rows, snapshot, f.cfg.Policy, f.actsSince(), now)
	return s, foreign(f.cfg.Identity.ID, snapshot), nil
}

// withNew adds the rows among changed that the ledger does not have yet.
func withNew(rows, changed []Instance) []Instance {
	for _, in := range changed {
		if in.Permanent && !slices.ContainsFunc(rows, func(row Instance) bool { return row.Label == in.Label }) {
			rows = append(rows, in)
		}
	}
	return rows
}

// kept says of each instance that no action names why it stays.
func kept(p Policy, w World, machines []Reported, actions []Action, now time.Time) (out []Kept) {
	for _, m := range machines {
		if slices.ContainsFunc(actions, func(a Action) bool { return a.Label == m.Label }) {
			continue
		}
		k := Kept{Label: m.Label, Reason: whyKept(p, w, m)}
		// Of one that has work only silence would change anything.
		if works := m.State == gpu.Ready && (len(m.Jobs) > 0 || w.Waiting > 0 && !w.NoRoom); !m.Permanent && !works {
			_, k.Until = end(p, w, m.Instance, now)
		}
		out = append(out, k)
	}
	return out
}

func whyKept(p Policy, w World, m Reported) string {
	switch {
	case m.Permanent:
		return "it is configured, and is not ended from here"
	case m.State == gpu.Destroying:
		return "its end was asked for, and is asked for again until it is gone"
	case m.State == gpu.Booting:
		return "its worker is starting"
	case m.State != gpu.Ready && m.Ambiguous:
		return "nobody answered whether it was created: a listing will tell"
	case m.State != gpu.Ready:
		return "it is being created"
	case len(m.Jobs) > 0:
		return "it runs " + strings.Join(m.Jobs, ", ")
	case w.Waiting > 0 && !w.NoRoom:
		return "it is ready, and a job waits"
	}
	return fmt.Sprintf("it is idle, and kept for %s", p.idleFor(w))
}
