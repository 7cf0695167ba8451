package fleet

import (
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// A worker that says for how long it runs knows the start of its machine better
// than listings do. Later answers cannot move it later, and none before the row.
func TestRunsFor(t *testing.T) {
	t.Parallel()
	never := time.Time{}
	for name, c := range map[string]struct {
		started time.Time
		heard   time.Time // the answer before
		seconds float64
		want    time.Time
	}{
		"no listing yet":             {never, never, 12, in(18 * time.Second)},
		"a late listing":             {in(29 * time.Second), never, 12, in(18 * time.Second)},
		"within what listings leave": {in(17600 * time.Millisecond), never, 12, in(18 * time.Second)},
		"a slower answer":            {in(17600 * time.Millisecond), in(20 * time.Second), 12, in(17600 * time.Millisecond)},
		"a faster answer":            {in(18100 * time.Millisecond), in(20 * time.Second), 12, in(18 * time.Second)},
		"started anew":               {in(10 * time.Second), never, 2, in(10 * time.Second)},
		"longer than rented":         {in(29 * time.Second), never, 1e300, noon},
		"it does not say":            {in(29 * time.Second), never, 0, in(29 * time.Second)},
		"nonsense":                   {never, never, -5, never},
	} {
		row := Instance{CreatedAt: noon, StartedAt: c.started, ContactAt: c.heard}
		if got := runsFor(row, c.seconds, in(30*time.Second)).StartedAt; !got.Equal(c.want) {
			t.Errorf("%s: started at %s, want %s", name, got, c.want)
		}
	}
	if row := runsFor(Instance{Permanent: true, CreatedAt: noon}, 12, in(time.Minute)); !row.StartedAt.IsZero() {
		t.Errorf("one that is configured started at %s", row.StartedAt)
	}
}

// A listing may show an instance for a moment after its end. One that is still
// there later was not ended.
func TestEndLingers(t *testing.T) {
	t.Parallel()
	ended := Instance{CreatedAt: noon, StartedAt: noon, EndedAt: in(time.Minute)}
	running := gpu.Instance{Running: true, Started: true}
	if row := seenAt(ended, running, ended.EndedAt.Add(lingers)); !row.EndedAt.Equal(ended.EndedAt) {
		t.Errorf("a stale listing moved the end to %s", row.EndedAt)
	}
	if row := seenAt(ended, running, ended.EndedAt.Add(lingers+1)); !row.EndedAt.IsZero() {
		t.Error("it is still there, and has an end")
	}
}

// What a bill has beyond the traffic of the jobs is the image's download, if it
// is more than links and failed tries add.
func TestPulled(t *testing.T) {
	t.Parallel()
	const cent = gpu.Dollar / 100
	job := []queue.Attempt{{Down: 60e6}, {Down: 40e6}}
	for name, c := range map[string]struct {
		price, billed gpu.USD
		jobs          []queue.Attempt
		want          int64
	}{
		"nothing":            {cent, 0, nil, 0},
		"the image alone":    {cent, cent / 4, nil, 250e6},
		"and two jobs":       {cent, cent / 4, job, 150e6},
		"the link's part":    {cent, cent * 11 / 100, job, 0},
		"less than expected": {cent, cent / 20, job, 0},
		"no price":           {0, cent, nil, 0},
		"a refund":           {cent, -cent, nil, 0},
		"out of all bounds":  {1, 1e18, nil, mostPull},
	} {
		if got := pulled(Terms{DownUSD: c.price}, c.billed, c.jobs); got != c.want {
			t.Errorf("%s: %d bytes, want %d", name, got, c.want)
		}
	}
}
