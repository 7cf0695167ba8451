package fleet

import (
	"context"
	"fmt"
	"slices"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// Nobody tells whether the download of an image is charged: Vast.ai charges
// each byte into a machine, and does not say whether those of its image are
// among them; a machine that has the image downloads nothing. It may be half of
// what a short job costs, so it is learned: what a bill has for traffic into
// a machine beyond that of its jobs. Before the first bill it is taken as
// nothing.
const (
	// pullsMost is how many of the latest bills tell; the middle one counts.
	pullsMost = 5
	// pullLeast is the part of the traffic of the jobs up to which the rest of
	// a bill is taken for that of the link, and of tries that failed.
	pullLeast = 10
)

// pulled is how many bytes of image a bill has: what it charges for traffic
// into an instance beyond that of its attempts.
func pulled(t Terms, down gpu.USD, attempts []queue.Attempt) int64 {
	if t.DownUSD <= 0 || down <= 0 {
		return 0
	}
	var known int64
	for _, a := range attempts {
		known += a.Down
	}
	// A float is exact enough for an estimate, and overflows nowhere.
	rest := int64(min(float64(down)/float64(t.DownUSD)*1e9, 1e15)) - known
	if rest <= known/pullLeast {
		return 0
	}
	return min(rest, mostPull)
}

// pulls is what a machine that is rented now is expected to be charged for the
// download of the image.
func (f *Fleet) pulls(ctx context.Context) (int64, error) {
	if !f.cfg.Policy.paid() {
		return 0, nil
	}
	rows, err := query(ctx, f.cfg.DB.Read(), `SELECT `+instanceColumns+` FROM instances WHERE provider = $1 AND permanent = 0 AND state = 'gone'
		AND cost_state = 'final' AND started_at > 0 ORDER BY state_since DESC LIMIT $2`, f.cfg.Provider.Name(), pullsMost)
	if err != nil {
		return 0, fmt.Errorf("read what images cost: %w", err)
	}
	var all []int64
	for _, in := range rows {
		if in.Terms.DownUSD > 0 {
			all = append(all, in.Terms.PullBytes)
		}
	}
	if len(all) == 0 {
		return 0, nil
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}
