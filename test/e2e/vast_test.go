package e2e

import (
	"database/sql"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/vastsim"
	"github.com/api-gpu/api-gpu/test/need"
)

func itoa(n int) string { return strconv.Itoa(n) }

// clip makes a video of so many seconds, with subtitles, and returns the
// address of its folder.
func clip(t testing.TB, seconds int) string {
	t.Helper()
	need.FFmpeg(t)
	dir := t.TempDir()
	d := itoa(seconds)
	ffmpeg(t, "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration="+d, "-f", "lavfi", "-i", "sine=duration="+d,
		"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-shortest", filepath.Join(dir, "v.mp4"))
	write(t, dir, "s.srt", "1\n00:00:00,500 --> 00:00:01,500\nhello\n")
	return files(t, dir, 0)
}

// asks is the plain request of n8n, and what came of it.
func (r *rental) asks(base string) (result apigpu.Result, took time.Duration) {
	r.t.Helper()
	began := time.Now()
	status := r.post("", map[string]any{"url_video": base + "/v.mp4", "url_srt": base + "/s.srt"}, &result)
	if status != http.StatusOK {
		r.t.Fatalf("status %d, want 200", status)
	}
	took = time.Since(began)
	r.fetch(result.VideoURL)
	return result, took
}

// TestVast is the main job: a machine is rented for it, and nothing is left but
// what was there before. The video is on this machine, where only the
// orchestrator reaches it; then it is sent with the request.
func TestVast(t *testing.T) {
	t.Parallel()
	base := clip(t, 2)
	r := rent(t, quickBoot+`,"instances":[{"label":"somebody else's"},{"label":"","mine":true},{"label":"ag1.another.fleet","mine":true}]`)
	job := r.submit(base+"/v.mp4", base+"/s.srt")
	eventually(t, time.Minute, "a worker runs", func() bool { return len(r.market.alive()) > 0 && r.market.alive()[0].Running })
	r.workersAreInnocent()
	done := r.final(job.ID, time.Minute)
	r.done(done)
	r.measured(done)
	r.done(r.uploads(base))
	if n := len(r.market.calls("create")); n > 2 {
		t.Errorf("%d creates for two jobs", n)
	}
	r.over(time.Minute)
	for _, i := range r.market.truth().Instances[:3] { // those that were there
		if !i.Alive {
			t.Errorf("the instance %q was touched", i.Label)
		}
	}
}

// done checks that a job succeeded and its link opens.
func (r *rental) done(job apigpu.Job) {
	r.t.Helper()
	if job.Status != apigpu.Succeeded {
		r.t.Fatalf("the job is %s: %v", job.Status, job.Error)
	}
	r.fetch(job.VideoURL)
}

// measured holds what the orchestrator says that its machines and their first
// job cost against the market's own account: to a twentieth and the price of a
// second, by which programs are late that start on a busy machine. The job
// cost what its machine did until the job's end.
func (r *rental) measured(job apigpu.Job) {
	r.t.Helper()
	before := r.market.ours()
	gpus, err := r.client().GPUs(r.t.Context(), false)
	if err != nil {
		r.t.Fatal(err)
	}
	truth := r.market.truth()
	var least, most, said, hourly float64
	for _, g := range gpus.Data {
		said, hourly = said+float64(g.CostUSD), max(hourly, float64(g.HourlyUSD))
	}
	for _, i := range before {
		least += float64(i.Total) / 1e9
	}
	within := func(what string, said, least, most float64) {
		r.t.Helper()
		r.t.Logf("%s cost $%.7f as measured, $%.7f to $%.7f in truth", what, said, least, most)
		if second := hourly / 3600; said < 0.95*least-second || said > 1.05*most+second {
			r.t.Errorf("%s cost $%.7f as measured, $%.7f to $%.7f in truth", what, said, least, most)
		}
	}
	for _, i := range truth.Instances {
		if !fleet.Ours(ourFleet, i.Label) {
			continue
		}
		most += float64(i.Total) / 1e9
		if len(before) == 1 {
			end := truth.Now
			if !i.Alive {
				end = i.Destroyed
			}
			then := float64(i.Total)/1e9 - hourly*end.Sub(*job.FinishedAt).Hours()
			within("the job", float64(job.Stats.CostUSD), then, then)
		}
	}
	within("all machines", said, least, most)
}

// uploads sends the video itself.
func (r *rental) uploads(base string) apigpu.Job {
	r.t.Helper()
	file := func(name string) *client.File {
		resp, err := http.Get(base + "/" + name)
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { resp.Body.Close() })
		return &client.File{Name: name, Content: resp.Body}
	}
	job, err := r.client().Caption(r.t.Context(), client.Request{Video: file("v.mp4"), Subtitle: file("s.srt"), Wait: time.Minute})
	if err != nil {
		r.t.Fatal(err)
	}
	return job
}

// pacer makes a folder with an ffmpeg that takes as long for a video as the
// video lasts, and notes when its first line of progress came.
func pacer(t testing.TB) (dir string) {
	t.Helper()
	need.FFmpeg(t)
	real, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	script := `#!/bin/bash
case " $* " in *" -progress "*) ;; *) exec ` + real + ` "$@" ;; esac
words=()
for word in "$@"; do
	[[ $word == -i && -e ` + dir + `/slow ]] && words+=(-re)
	words+=("$word")
done
exec ` + real + ` "${words[@]}" > >(
	IFS= read -r line && date +%s.%N >>` + dir + `/first && printf '%s\n' "$line"
	exec cat
)
`
	if err := os.WriteFile(filepath.Join(dir, "ffmpeg"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestVastPlan is the scenario of the plan, shortened: default settings, an
// empty fleet, and one plain request that is answered with a video.
func TestVastPlan(t *testing.T) {
	need.Long(t)
	t.Parallel()
	took, bill := planned(t, 7, 20)
	t.Logf("answered after %.1f s, for %s", took.Seconds(), bill)
	if most := gpu.Dollar * 6 / 1000; bill > most {
		t.Errorf("it cost %s, want at most %s", bill, most)
	}
}

// BenchmarkVastPlan is the scenario in its true length: a machine at $0.20 an
// hour that boots in 20 s, and a minute of work. The answer comes within 90 s,
// for at most $0.006 by the market's own bill. Run it with -benchtime=1x on a
// quiet machine.
func BenchmarkVastPlan(b *testing.B) {
	for b.Loop() {
		took, bill := planned(b, 20, 60)
		b.ReportMetric(took.Seconds(), "s/answer")
		b.ReportMetric(float64(bill)/float64(gpu.Dollar), "$/answer")
		if took > 90*time.Second || bill > gpu.Dollar*6/1000 {
			b.Errorf("answered after %.1f s, for %s", took.Seconds(), bill)
		}
	}
}

// planned asks for a video on a cold fleet, whose machine takes so many seconds
// to boot and so many for the work.
func planned(t testing.TB, boot, work int) (took time.Duration, bill gpu.USD) {
	t.Helper()
	base := clip(t, work)
	tools := pacer(t)
	write(t, tools, "slow", "")
	r := newRental(t, `"timing":{"provision":"1s","create":"1s","pull":"`+itoa(boot-2)+`s","charge_lag":"1s"},"offers":[{"dph_base":0.2}]`, tools)
	r.run()
	r.leads()
	result, took := r.asks(base)
	r.done(result.Job)
	r.over(time.Minute, vastsim.TooOften) // by the real intervals, on a machine that may be busy
	ours := r.market.ours()
	if len(ours) != 1 {
		t.Fatalf("rented was %+v", ours)
	}
	return took, ours[0].Total
}

// TestVastLatency looks that what BenchmarkVastLatency measures comes at all.
func TestVastLatency(t *testing.T) {
	need.Long(t)
	t.Parallel()
	toCreate, toProgress := latency(t)
	t.Logf("to the create call %s, to the first progress %s", toCreate, toProgress)
	for _, took := range []time.Duration{toCreate, toProgress} {
		if took < 0 || took > 30*time.Second {
			t.Errorf("it took %s", took)
		}
	}
}

// BenchmarkVastLatency measures what the orchestrator and the worker add: from
// the job's row to the create call, and from a worker's first connection to
// the first progress of its FFmpeg, each at most a second. Run it with
// -benchtime=5x on a quiet machine.
func BenchmarkVastLatency(b *testing.B) {
	for b.Loop() {
		toCreate, toProgress := latency(b)
		b.ReportMetric(float64(toCreate.Milliseconds()), "ms/create")
		b.ReportMetric(float64(toProgress.Milliseconds()), "ms/progress")
		b.Logf("to the create call %s, to the first progress %s", toCreate, toProgress)
		if toCreate > time.Second || toProgress > time.Second {
			b.Errorf("to the create call %s, to the first progress %s: want a second each", toCreate, toProgress)
		}
	}
}

// latency runs a clip of 30 s on a cold fleet.
func latency(t testing.TB) (toCreate, toProgress time.Duration) {
	t.Helper()
	base := clip(t, 30)
	tools := pacer(t)
	r := newRental(t, quickBoot, tools)
	r.run()
	r.leads()
	job := r.submit(base+"/v.mp4", base+"/s.srt")
	r.done(r.final(job.ID, time.Minute))
	creates := r.market.calls("create")
	if len(creates) != 1 {
		t.Fatalf("creates: %+v", creates)
	}
	raw, err := os.ReadFile(filepath.Join(tools, "first"))
	if err != nil {
		t.Fatal(err)
	}
	first, err := strconv.ParseFloat(strings.Fields(string(raw))[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	progress := time.Unix(0, int64(first*1e9))
	return creates[0].At.Sub(r.jobRow(job.ID)), progress.Sub(r.market.ours()[0].Reached)
}

// jobRow is when a job was recorded.
func (s *server) jobRow(id string) time.Time {
	s.t.Helper()
	d, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, "data", "api-gpu.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		s.t.Fatal(err)
	}
	defer d.Close()
	var ms int64
	if err := d.QueryRow(`SELECT created_at FROM jobs WHERE id = $1`, id).Scan(&ms); err != nil {
		s.t.Fatal(err)
	}
	return time.UnixMilli(ms)
}
