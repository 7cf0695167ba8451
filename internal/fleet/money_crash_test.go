package fleet

import (
	"fmt"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// A process that dies at any point around money leaves reserves that cover what
// runs, and accounts that balance.
func TestCrashWithMoney(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		begin func(r *rig)
	}{
		{"renting", func(r *rig) { r.submit(); r.tick() }},
		{"settling", func(r *rig) {
			j, err := r.claim(r.submit())
			r.ok(err)
			r.clock.Advance(time.Minute)
			r.tick()
			r.complete(j)
			r.tick()
			r.clock.Advance(policy.IdleTimeout)
			r.tick()
			r.clock.Advance(policy.Traits.ListingLag)
			r.tick()
			r.clock.Advance(policy.Traits.AbsenceGap)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			points := 0
			for alive := false; !alive && !t.Failed() && points < 200; {
				points++
				t.Run(fmt.Sprint(points), func(t *testing.T) {
					r, _ := moneyRig(t, budgeted(Budget{Day: 3 * rentCost, Month: 4 * rentCost}))
					c.begin(r)
					r.left.Store(int64(points))
					alive = r.tick()
					r.restart()
					r.guarded()
					for _, in := range r.rows() {
						exists := in.State != gpu.Planned && in.State != gpu.Gone
						if exists && in.ReservedUntil.Before(in.CreatedAt.Add(policy.BootTimeout+policy.firstLease())) && in.ReservedUntil.Before(in.LeaseUntil) {
							t.Errorf("not covered: %+v", in)
						}
					}
					r.pass(2*time.Minute, 5*time.Second)
					for _, j := range r.open() {
						r.cancel(j)
					}
					r.until("settled", func() bool {
						for _, in := range r.rows() {
							if in.CostState == "" {
								return false
							}
						}
						return true
					})
					r.balanced()
					r.within()
				})
			}
			if points < 8 {
				t.Errorf("only %d points", points)
			}
		})
	}
}

// open are the jobs that wait.
func (r *rig) open() []queue.Job {
	r.Helper()
	jobs, err := r.queue.Next(r.Context(), 10)
	r.ok(err)
	return jobs
}
