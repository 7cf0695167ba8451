package dispatch

import (
	"bytes"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/blob"
	"github.com/api-gpu/api-gpu/internal/queue"
	"github.com/api-gpu/api-gpu/test/need"
)

func TestHappyPath(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.start()
	var jobs []queue.Job
	for range 3 { // of one slot
		jobs = append(jobs, b.submit(nil))
	}
	for _, j := range jobs {
		done := b.final(j.ID)
		b.wantResult(done)
		if done.Attempt != 1 || done.Progress != 100 || done.Stats.Worker == "" {
			t.Errorf("%+v", done)
		}
	}
	b.worker.set(func() {
		if a := b.worker.assignments[0]; a.Spec.URLVideo != "http://video.example/v.mp4" || a.Push || string(a.Subtitle) != subtitle {
			t.Errorf("%+v", a)
		}
	})
}

// Whatever one request ends with, the job comes home, by the same attempt
// where the worker has it still.
func TestWorkerStumbles(t *testing.T) {
	t.Parallel()
	for _, step := range []struct {
		name, method, suffix string
		attempts             int // that a wrong answer costs at most
	}{
		{"assign", "PUT", "", 1}, {"events", "GET", "/events", 1}, {"manifest", "GET", "/manifest", 1}, {"chunk", "GET", "/video", 1}, {"delete", "DELETE", "", 1},
	} {
		for how, answer := range map[string]func(http.ResponseWriter, *http.Request){"cut": cut, "502": status(502)} {
			t.Run(step.name+" "+how, func(t *testing.T) {
				t.Parallel()
				b := newBench(t, nil)
				b.worker.onRequest(times(1, step.method, step.suffix, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/lease" {
						httpLease(w)
						return
					}
					answer(w, r)
				}))
				b.start()
				j := b.final(b.submit(nil).ID)
				b.wantResult(j)
				if j.Attempt > step.attempts || j.Blamed != 0 {
					t.Errorf("attempt %d, blamed %d", j.Attempt, j.Blamed)
				}
			})
		}
	}
}

// What was asked for goes to the worker; where the files came from does not.
func TestAssignmentIsWhole(t *testing.T) {
	t.Parallel()
	spec := apigpu.CaptionSpec{
		URLVideo: "http://video.example/v.mp4", URLSRT: "http://nas.lan/s.srt", SRT: "x", Captions: []byte("[]"), Words: []byte("[]"),
		HeadersVideo: map[string]string{"Cookie": "secret"}, HeadersSRT: map[string]string{"Cookie": "secret"},
		Charset: "windows-1252", Language: "pt-BR", Offset: 1, Mode: apigpu.Both, Style: apigpu.Style{Color: "red"},
		Output: apigpu.Output{Codec: apigpu.AV1, Filename: "v.mp4"},
	}
	want := apigpu.CaptionSpec{
		URLVideo: spec.URLVideo, Charset: spec.Charset, Language: spec.Language, Offset: spec.Offset, Mode: spec.Mode, Style: spec.Style, Output: spec.Output,
	}
	for _, push := range []bool{false, true} {
		if push {
			want.URLVideo = ""
		}
		a := assignment(queue.Job{Spec: spec}, []byte(subtitle), push, false, time.Minute)
		if diff := cmp.Diff(want, a.Spec); diff != "" || a.Push != push {
			t.Errorf("push %t: %s", push, diff)
		}
	}
}

// A thumbnail comes home beside its result, and no job fails for want of it.
func TestThumbnail(t *testing.T) {
	t.Parallel()
	at := 1.5
	for _, c := range []struct {
		name  string
		fault func(http.ResponseWriter, *http.Request) bool
		want  string
	}{
		{"there", nil, picture},
		{"cut once", times(1, "GET", "/thumbnail.jpg", cut), picture},
		{"none", times(9, "GET", "/thumbnail.jpg", problem(apigpu.NotFound)), ""},
		{"no picture", times(9, "GET", "/thumbnail.jpg", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }), ""},
		{"too long", times(9, "GET", "/thumbnail.jpg", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, picture, strings.Repeat("x", apigpu.MaxThumbnail))
		}), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil)
			if c.fault != nil {
				b.worker.onRequest(c.fault)
			}
			b.start()
			j := b.final(b.submit(func(d *queue.Draft) { d.Spec.Output.Thumbnail = &at }).ID)
			b.wantResult(j)
			failed := slices.ContainsFunc(j.Warnings, func(w apigpu.Warning) bool { return w.Code == apigpu.ThumbnailFailed })
			if failed != (c.want == "") || !j.Thumbnail {
				t.Errorf("warnings %v", j.Warnings)
			}
			content, _, err := b.blob.Open(t.Context(), queue.ThumbnailOf(j.Result))
			if c.want == "" {
				if err == nil {
					t.Error("something was stored", content.Close())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer content.Close()
			if got, err := io.ReadAll(content); err != nil || string(got) != c.want {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// httpLease answers a renewal: the fault of an assignment is not meant for it.
func httpLease(w http.ResponseWriter) {
	fmt.Fprintf(w, `{"ready":true,"worker":{"api":%d,"slots":1}}`, apigpu.APIVersion)
}

func TestWorkerForgets(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.worker.set(func() { b.worker.hold = true })
	b.start()
	job := b.submit(nil)
	b.until(job.ID, func(j queue.Job) bool { return j.Progress > 0 })
	b.worker.set(func() {
		b.worker.hold = false // it restarts, and has nothing any more
		delete(b.worker.jobs, job.ID)
	})
	b.worker.breakStreams()
	j := b.final(job.ID)
	b.wantResult(j)
	if j.Attempt != 2 || j.Blamed != 0 {
		t.Errorf("attempt %d, blamed %d", j.Attempt, j.Blamed)
	}
}

func TestJobFails(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.worker.onEnd(func(apigpu.Assignment) *apigpu.Error {
		return apigpu.E(apigpu.MediaUndecodable, nil, "The file is not a video.")
	})
	b.start()
	if j := b.final(b.submit(nil).ID); j.Status != apigpu.Failed || j.Error.Code != apigpu.MediaUndecodable || j.Attempt != 1 {
		t.Errorf("%s %v, attempt %d", j.Status, j.Error, j.Attempt)
	}
	b.worker.set(func() {
		b.worker.end = func(apigpu.Assignment) *apigpu.Error { return apigpu.E(apigpu.EncoderFailed, nil, "It broke.") }
	})
	if j := b.final(b.submit(nil).ID); j.Status != apigpu.Failed || j.Error.Code != apigpu.EncoderFailed || j.Attempt != 3 {
		t.Errorf("%s %v, attempt %d", j.Status, j.Error, j.Attempt)
	}
	b.worker.set(func() { b.worker.end = nil })
	b.wantResult(b.final(b.submit(nil).ID)) // a poisoned job holds up no other
}

// A corrupt chunk is fetched again, and never becomes part of a result.
func TestCorruptChunk(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.worker.onRequest(times(2, "GET", "/video", func(w http.ResponseWriter, r *http.Request) {
		bad := bytes.Clone(b.worker.result)
		bad[0] ^= 1
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(bad))
	}))
	b.start()
	j := b.final(b.submit(nil).ID)
	b.wantResult(j)
	if j.Attempt != 1 {
		t.Errorf("attempt %d", j.Attempt)
	}
}

// A row that nobody can read ends, and the job behind it runs.
func TestDamagedRow(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	damaged, sound := b.submit(nil), b.submit(nil)
	err := b.db.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE jobs SET spec = '[]' WHERE id = $1`, damaged.ID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b.start()
	b.wantResult(b.final(sound.ID))
	if j := b.final(damaged.ID); j.Status != apigpu.Failed || j.Error.Code != apigpu.Internal {
		t.Errorf("the damaged one is %s, %v", j.Status, j.Error)
	}
}

// A manifest is believed before its bytes are: room was reserved for the
// length that it names.
func TestBelievable(t *testing.T) {
	t.Parallel()
	sum := strings.Repeat("0", 64)
	chunk := func(offset, length int64) apigpu.Chunk {
		return apigpu.Chunk{Offset: offset, Length: length, SHA256: sum}
	}
	for name, c := range map[string]struct {
		m    apigpu.Manifest
		code apigpu.Code
	}{
		"a result":             {apigpu.Manifest{Length: 3, SHA256: sum, Chunks: []apigpu.Chunk{chunk(0, 2), chunk(2, 1)}}, ""},
		"more than it says":    {apigpu.Manifest{Length: 1, SHA256: sum, Chunks: []apigpu.Chunk{chunk(0, 1), chunk(1, apigpu.MaxChunk)}}, apigpu.ResultLost},
		"nothing":              {apigpu.Manifest{}, apigpu.ResultLost},
		"more than is allowed": {hugeManifest(sum), apigpu.ResultLost},
	} {
		if err := believable(c.m); apigpu.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// hugeManifest is a sound one, of a chunk more than may be.
func hugeManifest(sum string) apigpu.Manifest {
	m := apigpu.Manifest{SHA256: sum}
	for m.Length <= maxResult {
		m.Chunks = append(m.Chunks, apigpu.Chunk{Offset: m.Length, Length: apigpu.MaxChunk, SHA256: sum})
		m.Length += apigpu.MaxChunk
	}
	return m
}

// A manifest whose chunks are right and whose whole is not describes no file:
// waiting would only cost the machine's time.
func TestManifestLies(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.worker.onRequest(times(1, "GET", "/manifest", func(w http.ResponseWriter, r *http.Request) {
		m := b.worker.manifest()
		m.SHA256 = sum(nil)
		writeJSON(w, m)
	}))
	b.start()
	j := b.final(b.submit(nil).ID)
	b.wantResult(j)
	if j.Attempt != 2 || j.Blamed != 0 {
		t.Errorf("attempt %d, blamed %d", j.Attempt, j.Blamed)
	}
}

// A disk that fills up while a job runs: its machine is kept for ResultGrace,
// then goes. The job is not blamed, and runs again once there is room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	store, err := blob.Open(t.TempDir(), blob.Options{MaxBytes: 2 * blob.MinRoom})
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, func(cfg *Config) { cfg.Blob, cfg.ResultGrace = store, 500*time.Millisecond })
	b.blob = store
	b.worker.set(func() { b.worker.hold = true })
	b.start()
	job := b.submit(nil)
	b.until(job.ID, func(j queue.Job) bool { return j.Progress > 0 })
	hold, err := store.Reserve(t.Context(), 2*blob.MinRoom)
	if err != nil {
		t.Fatal(err)
	}
	b.worker.letGo()
	b.until(job.ID, func(j queue.Job) bool { return j.Status == apigpu.Queued && j.Attempt == 1 })
	patience := time.After(20 * time.Second)
	for !bytes.Contains(b.log.bytes(), []byte("no job is started")) {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-patience:
			t.Fatal("a full disk was not told")
		}
	}
	if j, err := b.queue.Job(t.Context(), job.ID); err != nil || j.Attempt != 1 || j.Status != apigpu.Queued || j.Room != b.worker.manifest().Length {
		t.Errorf("with a full disk the job is %s, attempt %d: %v", j.Status, j.Attempt, err)
	}
	hold.Release()
	j := b.final(job.ID)
	if b.wantResult(j); j.Blamed != 0 || j.Attempt != 2 {
		t.Errorf("attempt %d, blamed %d, want 2 and 0", j.Attempt, j.Blamed)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.worker.set(func() { b.worker.hold = true })
	b.start()
	job := b.submit(nil)
	b.until(job.ID, func(j queue.Job) bool { return j.Progress > 0 })
	began := time.Now()
	if _, err := b.queue.Cancel(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	if j := b.final(job.ID); j.Status != apigpu.JobCanceled || j.Error.Code != apigpu.Canceled {
		t.Errorf("%s %v", j.Status, j.Error)
	}
	if took := time.Since(began); took > 2*need.Slack*time.Second {
		t.Errorf("it took %s", took)
	}
	b.worker.set(func() {
		if !slices.Contains(b.worker.requests, "POST /jobs/"+job.ID+"/cancel") {
			t.Errorf("the worker was not told: %q", b.worker.requests)
		}
	})
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.worker.set(func() { b.worker.hold = true })
	b.start()
	job := b.submit(func(d *queue.Draft) { d.RunFor = 300 * time.Millisecond })
	if j := b.final(job.ID); j.Status != apigpu.Failed || j.Error.Code != apigpu.JobTimeout {
		t.Errorf("%s %v", j.Status, j.Error)
	}
	b.worker.set(func() {
		if !slices.Contains(b.worker.requests, "POST /jobs/"+job.ID+"/cancel") {
			t.Error("the worker goes on")
		}
	})
}
