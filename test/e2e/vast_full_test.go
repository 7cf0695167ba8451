package e2e

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/vastsim"
	"github.com/api-gpu/api-gpu/test/need"
)

// full is a rental on a volume that can be filled, with a job that ended and
// one that renders at the pace of its video.
func full(t *testing.T, env ...string) (r *rental, volume *need.Full, base, ended, running string) {
	t.Helper()
	base = clip(t, 30)
	tools := pacer(t)
	volume = need.Volume(t, 192<<20, 2000)
	r = newRentalIn(t, volume.Dir, quickBoot, tools, append(env, "DISK_FREE_MIN=8MiB", "IDLE_TIMEOUT=1s", "LOG_LEVEL=info")...)
	r.run()
	r.leads()
	ended = r.submit(base+"/v.mp4", base+"/s.srt").ID
	r.done(r.final(ended, time.Minute))
	write(t, tools, "slow", "")
	running = r.submit(base+"/v.mp4", base+"/s.srt").ID
	r.until(running, "it renders", renders)
	return r, volume, base, ended, running
}

// noRoom checks that new work is refused for want of room.
func (r *rental) noRoom(base string) {
	r.t.Helper()
	var problem struct{ Code apigpu.Code }
	status := r.post("?wait=0", map[string]any{"url_video": base + "/v.mp4", "url_srt": base + "/s.srt"}, &problem)
	if status != http.StatusInsufficientStorage {
		r.t.Errorf("status %d, %s, want 507", status, problem.Code)
	}
}

// TestVastFull: the disk is full, for the database too, while a machine works.
// New work is refused; whoever asks for the end of the machine, or of a job, is
// answered, and the machine goes. With room again the job runs on another.
func TestVastFull(t *testing.T) {
	need.Soak(t)
	t.Parallel()
	r, volume, base, ended, running := full(t)
	volume.Fill(0)
	r.noRoom(base)
	ctx, cancel := context.WithTimeout(t.Context(), lookTimeout)
	defer cancel()
	c := r.client()
	switch err := c.Delete(ctx, ended); apigpu.CodeOf(err) {
	case "", apigpu.StorageFull:
		t.Logf("DELETE of a job says %v", err)
	default:
		t.Errorf("DELETE of a job: %v", err)
	}
	volume.Fill(0)
	machine := r.gpus().Data
	if len(machine) != 1 {
		t.Fatalf("machines: %+v", machine)
	}
	if _, err := c.EndGPU(ctx, machine[0].ID); err != nil {
		t.Errorf("DELETE of the machine: %v", err)
	}
	eventually(t, 30*time.Second, "the machine is ended", func() bool { return len(r.market.alive()) == 0 })
	volume.Drain()
	r.done(r.final(running, 4*time.Minute))
	r.over(time.Minute, vastsim.TooOften)
	r.createdOnce()
}

// TestVastFullAtTheEnd: the disk is full when the result comes, but for what
// the database lives of. The machine is kept for RESULT_GRACE and no longer;
// then the job waits for room, and runs again.
func TestVastFullAtTheEnd(t *testing.T) {
	need.Soak(t)
	t.Parallel()
	r, volume, base, _, running := full(t, "RESULT_GRACE=5s")
	volume.Fill(6 << 20) // of DISK_FREE_MIN
	eventually(t, 2*time.Minute, "the machine is ended", func() bool { return len(r.market.alive()) == 0 })
	r.noRoom(base)
	volume.Drain()
	done := r.final(running, 4*time.Minute)
	if r.done(done); done.Attempt < 2 {
		t.Errorf("attempt %d, want another", done.Attempt)
	}
	r.over(time.Minute)
	r.createdOnce()
}

// TestVastStorageMax: results may take no more room while a machine works. New
// work is refused; what was accepted is done, the machine goes, and what
// somebody deletes makes room for new work.
func TestVastStorageMax(t *testing.T) {
	need.Long(t)
	t.Parallel()
	base := clip(t, 20)
	r := rent(t, quickBoot, "STORAGE_MAX=24MiB", "DISK_FREE_MIN=1MiB", "IDLE_TIMEOUT=1s")
	var jobs []string
	for len(jobs) < 20 {
		var answer struct{ Job apigpu.Job }
		status := r.post("?wait=0", map[string]any{"url_video": base + "/v.mp4", "url_srt": base + "/s.srt"}, &answer)
		if status == http.StatusInsufficientStorage {
			break
		}
		jobs = append(jobs, answer.Job.ID)
	}
	if n := len(jobs); n == 0 || n == 20 {
		t.Fatalf("%d jobs were accepted", n)
	}
	for _, id := range jobs {
		r.done(r.final(id, time.Minute))
	}
	r.over(time.Minute)
	for _, id := range jobs {
		if err := r.client().Delete(t.Context(), id); err != nil {
			t.Errorf("DELETE of a job: %v", err)
		}
	}
	r.done(r.final(r.submit(base+"/v.mp4", base+"/s.srt").ID, time.Minute))
	r.over(time.Minute)
	r.createdOnce()
}
