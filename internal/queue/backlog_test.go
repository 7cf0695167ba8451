package queue_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/db/dbtest"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// backlog tells what the open jobs are known to need, the oldest first, and
// no more than is asked for.
func backlog(b *bench) {
	sized := func(video time.Duration, size int64) queue.Job {
		return b.submit(func(d *queue.Draft) { d.Video, d.Size = video, size })
	}
	running, canceled := sized(time.Minute, 1000), b.submit()
	_, err := b.Cancel(b.Context(), canceled.ID)
	b.ok(err)
	short, unknown, liar := sized(1500*time.Millisecond, 7), b.submit(), sized(math.MaxInt64, -1)
	b.clock.Advance(time.Minute)
	claimed := b.claim(running.ID)
	b.ok(b.Report(b.Context(), claimed.Lease(), queue.Progress{Phase: apigpu.Rendering, Percent: 40}))
	need := func(j queue.Job, video time.Duration, size int64) queue.Need {
		return queue.Need{CreatedAt: j.CreatedAt, Video: video, Size: size}
	}
	want := []queue.Need{need(short, 1500*time.Millisecond, 7), need(unknown, 0, 0), need(liar, 1e7*time.Second, 0)}
	for most := range 4 {
		got, runs, err := b.Backlog(b.Context(), most)
		b.ok(err)
		if diff := cmp.Diff(want[:most], got, cmpopts.EquateEmpty()); diff != "" {
			b.Errorf("at most %d (-want +got):\n%s", most, diff)
		}
		one := need(running, time.Minute, 1000)
		one.Instance, one.StartedAt, one.Progress = claimed.Instance, *claimed.StartedAt, 40
		if diff := cmp.Diff([]queue.Need{one}, runs); diff != "" {
			b.Errorf("running (-want +got):\n%s", diff)
		}
	}
	b.clock.Advance(waitFor)
	if got, _, err := b.Backlog(b.Context(), 10); err != nil || len(got) != 0 {
		b.Errorf("waiting is over: %v, %v", got, err)
	}
}

// speeds are those of the latest jobs that were rendered.
func speeds(b *bench) {
	end := func(factor float64) {
		j := b.running()
		b.clock.Advance(time.Second)
		b.ok(b.Complete(b.Context(), j.Lease(), queue.Outcome{Stats: apigpu.Stats{Worker: j.Instance, GPU: "RTX", RealtimeFactor: factor}}))
	}
	for _, factor := range []float64{1, 2, 0, 3} {
		end(factor)
	}
	failed := b.running()
	b.ok(b.Fail(b.Context(), failed.Lease(), apigpu.E(apigpu.Internal, nil, "x")))
	got, err := b.Speeds(b.Context(), 3)
	b.ok(err)
	if len(got) != 2 || got[0].Factor != 3 || got[1].Factor != 2 || got[0].GPU != "RTX" || got[0].Instance == "" {
		b.Errorf("speeds are %+v", got)
	}
}

func BenchmarkBacklog(b *testing.B) {
	for _, n := range []int{10, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			q := queue.New(dbtest.SQLite(b), time.Now)
			for range n {
				if _, err := q.Submit(b.Context(), draft()); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				if _, _, err := q.Backlog(b.Context(), 500); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
