package queue_test

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

func (b *bench) attempts(id string) []queue.Attempt {
	b.Helper()
	all, err := b.AttemptsOf(b.Context(), b.db.Read(), id)
	b.ok(err)
	return all
}

func (b *bench) tx(do func(tx *sql.Tx) error) {
	b.Helper()
	b.ok(b.db.Tx(b.Context(), do))
}

// attemptsAreClosed: each start is a row, and each way out of running closes
// it, with what it moved as far as that is known.
func attemptsAreClosed(b *bench) {
	for name, c := range map[string]struct {
		end      func(j queue.Job) error
		down, up int64
	}{
		"complete": {func(j queue.Job) error {
			o := outcome(j.ID)
			o.Down = 99
			return b.Complete(b.Context(), j.Lease(), o)
		}, 99, 7},
		"fail": {func(j queue.Job) error { return b.Fail(b.Context(), j.Lease(), why()) }, 50, 0},
		"cancelled": {func(j queue.Job) error {
			_, err := b.Cancel(b.Context(), j.ID)
			return errors.Join(err, b.Cancelled(b.Context(), j.Lease()))
		}, 50, 0},
		"requeue": {func(j queue.Job) error {
			_, err := b.Requeue(b.Context(), j.Lease(), queue.Setback{Why: why(), Room: 20})
			return err
		}, 50, 20},
		"requeue that fails": {func(j queue.Job) error {
			b.tx(func(tx *sql.Tx) error {
				_, err := tx.Exec(`UPDATE jobs SET blamed = 2 WHERE id = $1`, j.ID)
				return err
			})
			_, err := b.Requeue(b.Context(), j.Lease(), queue.Setback{Why: why(), Blamed: true})
			return err
		}, 50, 0},
		"requeue after a cancel": {func(j queue.Job) error {
			_, err := b.Cancel(b.Context(), j.ID)
			_, requeueErr := b.Requeue(b.Context(), j.Lease(), queue.Setback{Why: why()})
			return errors.Join(err, requeueErr)
		}, 50, 0},
		"condemn": {func(j queue.Job) error { return b.Condemn(b.Context(), j.ID) }, 50, 0},
	} {
		j := b.claim(b.submit(func(d *queue.Draft) { d.Size = 50 }).ID)
		want := []queue.Attempt{{JobID: j.ID, Number: 1, Instance: j.Instance, StartedAt: *j.StartedAt, Down: 50}}
		if diff := cmp.Diff(want, b.attempts(j.ID)); diff != "" {
			b.Errorf("%s: while it runs (-want +got):\n%s", name, diff)
		}
		b.clock.Advance(time.Minute)
		b.ok(c.end(j))
		want[0].EndedAt, want[0].Down, want[0].Up = j.StartedAt.Add(time.Minute), c.down, c.up
		if diff := cmp.Diff(want, b.attempts(j.ID)); diff != "" {
			b.Errorf("%s: then (-want +got):\n%s", name, diff)
		}
	}
	// What is stale closes nothing, and a take-over begins nothing.
	j := b.running()
	b.clock.Advance(queue.LeaseFor)
	_, err := b.TakeOver(b.Context(), j.ID)
	b.ok(err)
	b.want(b.Fail(b.Context(), j.Lease(), why()), apigpu.StaleAttempt)
	if all := b.attempts(j.ID); len(all) != 1 || !all[0].EndedAt.IsZero() {
		b.Errorf("attempts are %+v", all)
	}
}

// attemptsMove with their instances when the clock is set.
func attemptsMove(b *bench) {
	moved, stays := b.running(), b.running()
	b.clock.Advance(time.Minute)
	b.ok(b.Fail(b.Context(), moved.Lease(), why()))
	before := b.attempts(moved.ID)[0]
	b.tx(func(tx *sql.Tx) error {
		return b.MoveAttempts(b.Context(), tx, []string{moved.Instance, "other"}, time.Hour)
	})
	if a := b.attempts(moved.ID)[0]; a.StartedAt != before.StartedAt.Add(time.Hour) || a.EndedAt != before.EndedAt.Add(time.Hour) {
		b.Errorf("moved: %+v", a)
	}
	if a := b.attempts(stays.ID)[0]; a.StartedAt != *stays.StartedAt || !a.EndedAt.IsZero() {
		b.Errorf("stays: %+v", a)
	}
}

// claimIf: the condition runs in the transaction of the claim, which comes to
// nothing without it, as it does without the claim.
func claimIf(b *bench) {
	j := b.submit()
	mark := func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE fleet SET secret = 'marked'`)
		return err
	}
	b.tx(func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO fleet (one, id, secret, epoch, holder, lease_until) VALUES (1, 'x', '', 0, '', 0)`)
		return err
	})
	marked := func() (s string) {
		b.ok(b.db.Read().QueryRow(`SELECT secret FROM fleet`).Scan(&s))
		return s
	}
	no := errors.New("no")
	_, err := b.ClaimIf(b.Context(), j.ID, "box", 0, func(ctx context.Context, tx *sql.Tx) (time.Duration, error) { return 0, errors.Join(mark(ctx, tx), no) })
	if !errors.Is(err, no) || marked() != "" {
		b.Errorf("refused: %v, %q", err, marked())
	}
	b.is(j.ID, apigpu.Queued)
	may := func(ctx context.Context, tx *sql.Tx) (time.Duration, error) { return runFor / 2, mark(ctx, tx) }
	_, err = b.ClaimIf(b.Context(), "job_none", "box", 0, may)
	if b.want(err, apigpu.Conflict); marked() != "" {
		b.Error("what a claim that failed wrote is kept")
	}
	got, err := b.ClaimIf(b.Context(), j.ID, "box", 0, may)
	b.ok(err)
	if got.RunningUntil != got.StartedAt.Add(runFor/2) || got.RunFor != runFor || marked() != "marked" {
		b.Errorf("it may run until %s, %q", got.RunningUntil, marked())
	}
	other := b.submit()
	_, err = b.ClaimIf(b.Context(), other.ID, "box", 0, func(context.Context, *sql.Tx) (time.Duration, error) { return 0, nil })
	b.want(err, apigpu.Conflict)
	got, err = b.ClaimIf(b.Context(), other.ID, "box", 1, func(context.Context, *sql.Tx) (time.Duration, error) { return 2 * runFor, nil })
	b.ok(err)
	if got.RunningUntil != got.StartedAt.Add(runFor) {
		b.Errorf("it may run for longer than was promised: until %s", got.RunningUntil)
	}
}

// cost is told with the end, and may change later.
func cost(b *bench) {
	j := b.running()
	o := outcome(j.ID)
	o.Cost = queue.Cost{USD: 4_321_000, State: apigpu.CostEstimated}
	b.ok(b.Complete(b.Context(), j.Lease(), o))
	done := b.get(j.ID)
	if s := done.Stats; s.CostUSD != 0.004321 || s.CostState != apigpu.CostEstimated {
		b.Errorf("at its end: %+v", s)
	}
	set := func(costs map[string]queue.Cost) (changed []string) {
		b.Helper()
		b.tx(func(tx *sql.Tx) (err error) {
			changed, err = b.SetCost(b.Context(), tx, costs)
			return err
		})
		return changed
	}
	final := map[string]queue.Cost{j.ID: {USD: 5_000_000, State: apigpu.CostFinal}, "job_none": {USD: 1, State: apigpu.CostFinal}}
	if got := set(final); len(got) != 1 || got[0] != j.ID {
		b.Errorf("changed %v", got)
	}
	if got := b.get(j.ID); got.Stats.CostUSD != 0.005 || got.Stats.CostState != apigpu.CostFinal || got.Revision != done.Revision+1 {
		b.Errorf("then: %+v, revision %d after %d", got.Stats, got.Revision, done.Revision)
	}
	if got := set(final); len(got) != 0 {
		b.Errorf("the same again changed %v", got)
	}
	if got := set(map[string]queue.Cost{j.ID: {}}); len(got) != 0 {
		b.Errorf("what is not known changed %v", got)
	}
	free := b.running()
	b.ok(b.Complete(b.Context(), free.Lease(), outcome(free.ID)))
	if s := b.get(free.ID).Stats; s.CostState != "" || s.CostUSD != 0 {
		b.Errorf("what is free cost %+v", s)
	}
}

func asks(b *bench) {
	one := b.submit(func(d *queue.Draft) { d.Size, d.Room = 5, 6 })
	two := b.submit()
	b.running()
	canceled := b.submit()
	_, err := b.Cancel(b.Context(), canceled.ID)
	b.ok(err)
	want := []queue.Ask{{JobID: one.ID, Run: runFor, Size: 5, Room: 6}, {JobID: two.ID, Run: runFor}}
	got, err := b.Asks(b.Context(), 5)
	b.ok(err)
	if diff := cmp.Diff(want, got); diff != "" {
		b.Errorf("asks (-want +got):\n%s", diff)
	}
	if got, err := b.Asks(b.Context(), 1); err != nil || len(got) != 1 {
		b.Errorf("at most one: %v, %v", got, err)
	}
	a, err := b.Ask(b.Context(), b.db.Read(), one.ID)
	if b.ok(err); a != want[0] {
		b.Errorf("asked for %+v", a)
	}
	_, err = b.Ask(b.Context(), b.db.Read(), canceled.ID)
	b.want(err, apigpu.Conflict)
}

// checkAttempts: a job that runs has one open attempt, its own, and any other
// has none.
func (m *model) checkAttempts(t testingT, id string, got queue.Job) {
	all, err := m.q.AttemptsOf(t.Context(), m.read, id)
	if err != nil {
		t.Fatal(err)
	}
	for n, a := range all {
		running := got.Status == apigpu.Running && a.Number == got.Attempt
		if a.EndedAt.IsZero() != running || a.Number != n+1 || a.EndedAt.Before(a.StartedAt) && !running {
			t.Fatalf("the job is %s, attempt %d; its attempts are %+v", got.Status, got.Attempt, all)
		}
	}
	if len(all) != got.Attempt {
		t.Fatalf("%d attempts have %d rows", got.Attempt, len(all))
	}
}

// testingT is what a check needs of a test.
type testingT interface {
	Context() context.Context
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}
