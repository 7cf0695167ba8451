package trial

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/gpu"
)

// listings is a market of which nothing but listings is asked.
type listings struct {
	Market
	list func(at time.Time) (gpu.Snapshot, error)
}

func (l listings) Instances(context.Context) (gpu.Snapshot, error) { return l.list(time.Now()) }

// How a machine ends is watched for a bounded time, whatever the account tells,
// and no more is said of it than was seen.
func TestEnd(t *testing.T) {
	t.Parallel()
	const lease, overtime, half = time.Minute, 3 * time.Minute, 30 * time.Second
	errAway := errors.New("502")
	for name, c := range map[string]struct {
		// list is what a listing says, so long after the last renewal: whether the
		// machine is in it, and whether it came whole.
		list   func(after time.Duration) (listed, complete bool, err error)
		says   string // the error
		ended  Result
		within time.Duration
	}{
		"it ends itself":      {func(d time.Duration) (bool, bool, error) { return d < lease+half, true, nil }, "", Pass, lease + half + 20*time.Second},
		"it stays":            {func(time.Duration) (bool, bool, error) { return true, true, nil }, "did not end itself", Fail, lease + overtime + time.Second},
		"gone before its end": {func(d time.Duration) (bool, bool, error) { return d < half, true, nil }, "somebody else ended it", NotSeen, lease},
		"no listing comes":    {func(time.Duration) (bool, bool, error) { return false, false, errAway }, "nobody can say", NotSeen, lease + overtime + time.Second},
		"none comes whole":    {func(d time.Duration) (bool, bool, error) { return d < half, false, nil }, "nobody can say", NotSeen, lease + overtime + time.Second},
		"only one comes whole": {func(d time.Duration) (bool, bool, error) {
			return d < lease+half, d < lease+half+time.Second, nil
		}, "not proven", NotSeen, lease + overtime + proofTime + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				policy := fleet.Policy{Lease: lease, BootTimeout: 10 * time.Minute, Traits: gpu.Traits{ListingLag: 90 * time.Second, AbsenceGap: 10 * time.Second}}
				r := &runner{began: time.Now(), cfg: Config{Policy: policy, Overtime: overtime, Now: time.Now, Say: func(string, ...any) {}, Sweep: func(context.Context) error { return nil }}}
				r.trial = fleet.NewTrial(policy, fleet.Identity{ID: "live-x"}, gpu.Offer{}, r.began)
				r.trial.Created("7", nil, r.began)
				time.Sleep(5 * time.Minute) // it boots, and works
				renewed := time.Now()
				r.trial.Row.State, r.trial.Row.LeaseUntil = gpu.Ready, renewed.Add(lease)
				r.seen.Created, r.seen.Listed, r.seen.Renewed, r.seen.Lease = Accepted, time.Second, r.since(renewed), lease
				r.cfg.Market = listings{list: func(at time.Time) (s gpu.Snapshot, err error) {
					listed, complete, err := c.list(at.Sub(renewed))
					if s = (gpu.Snapshot{Began: at, Complete: complete}); listed {
						s.Instances = []gpu.Instance{{ID: "7", Label: r.trial.Row.Label, Running: true, Started: true, Status: "running"}}
					}
					return s, err
				}}
				err := r.end(t.Context())
				if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
					t.Errorf("%v, want %q", err, c.says)
				}
				if took := time.Since(renewed); took > c.within {
					t.Errorf("it took %s, want %s at most", took, c.within)
				}
				if r.seen.Gone == 0 {
					r.seen.Destroyed = true // as cleanUp does
				}
				if v := judgeEnd(r.seen); v.Result != c.ended {
					t.Errorf("%+v, want %s", v, c.ended)
				}
			})
		})
	}
}
