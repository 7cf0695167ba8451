package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/blob"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/queue"
)

func TestResultRoom(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for name, c := range map[string]struct {
		head    Head
		quality apigpu.Quality
		want    int64
	}{
		"nothing is known":             {Head{}, apigpu.Balanced, unknownResult},
		"nothing, at best quality":     {Head{}, apigpu.Max, unknownResult},
		"bytes only":                   {Head{Size: 100 * mib}, apigpu.Balanced, 151 * mib},
		"a draft":                      {Head{Size: 100 * mib}, apigpu.Draft, 101 * mib},
		"high":                         {Head{Size: 100 * mib}, apigpu.High, 201 * mib},
		"max":                          {Head{Size: 100 * mib}, apigpu.Max, 301 * mib},
		"a quality of another version": {Head{Size: 100 * mib}, "cinema", 151 * mib},
		"a byte":                       {Head{Size: 1}, apigpu.Balanced, 1 * mib},
		"length only":                  {Head{Duration: time.Minute}, apigpu.Balanced, 91 * mib},
		"less than a second":           {Head{Duration: time.Millisecond}, apigpu.Draft, 2 * mib},
		"bytes and length":             {Head{Size: 100 * mib, Duration: time.Minute}, apigpu.Balanced, 151 * mib},
		"what an editor keeps":         {Head{Size: 2000 * mib, Duration: 10 * time.Second}, apigpu.Balanced, 121 * mib},
		"the largest":                  {Head{Size: 1 << 60, Duration: 1<<63 - 1}, apigpu.Draft, 1<<23*9223372037 + mib},
	} {
		if got := resultRoom(c.head, c.quality); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// withRoom gives the bench a store that knows what rows promise.
func (b *bench) withRoom(t *testing.T, opts blob.Options) {
	t.Helper()
	opts.Promised, opts.Evict = b.Queue.Promised, b.Queue.Evict
	store, err := blob.Open(b.root, opts)
	if err != nil {
		t.Fatal(err)
	}
	b.Jobs.Blob = store
}

// known is a submission of an upload of n bytes.
func (b *bench) known(t *testing.T, n int) (apigpu.Job, error) {
	upload, err := b.Receive(t.Context(), ann(), bytes.NewReader(make([]byte, n)))
	if err != nil {
		return apigpu.Job{}, err
	}
	defer b.Discard(upload)
	job, _, err := b.Submit(t.Context(), ann(), httpapi.Submission{Spec: apigpu.CaptionSpec{}.Clean(), Upload: upload, Subtitle: []byte(oneCue)})
	return job, err
}

// Jobs that are accepted at once never count on the same bytes, and those that
// find none are told what to do. A restart forgets no promise.
func TestJobsShareTheRoom(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const fit = 20
	b.withRoom(t, blob.Options{MaxBytes: fit*unknownResult + 2*blob.MinRoom})
	var all sync.WaitGroup
	var mu sync.Mutex
	accepted := 0
	for range 100 {
		all.Go(func() {
			_, _, err := b.Submit(t.Context(), ann(), spec("http://video.invalid/v.mp4"))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				accepted++
				return
			}
			if e := apigpu.AsError(err); e.Code != apigpu.StorageFull || e.RetryAfter <= 0 || !e.Retryable ||
				!strings.Contains(e.Hint, "STORAGE_MAX") || !strings.Contains(e.Hint, "DISK_FREE_MIN") {
				t.Errorf("%+v", e)
			}
		})
	}
	all.Wait()
	if accepted == 0 || accepted > fit {
		t.Fatalf("%d were accepted where %d fit", accepted, fit)
	}
	for ; accepted < fit; accepted++ {
		if _, _, err := b.Submit(t.Context(), ann(), spec("http://video.invalid/v.mp4")); err != nil {
			t.Fatal(err)
		}
	}
	b.withRoom(t, blob.Options{MaxBytes: fit*unknownResult + 2*blob.MinRoom}) // another process
	_, _, err := b.Submit(t.Context(), ann(), spec("http://video.invalid/v.mp4"))
	wantCode(t, err, apigpu.StorageFull, "")
	if _, err := b.known(t, 1000); err != nil { // a small one still fits
		t.Error(err)
	}
	open, err := b.Queue.Next(t.Context(), 100)
	if err != nil || len(open) != fit+1 {
		t.Fatalf("%d jobs, %v", len(open), err)
	}
	if err := b.Delete(t.Context(), ann(), open[0].ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Submit(t.Context(), ann(), spec("http://video.invalid/v.mp4")); err != nil {
		t.Errorf("the room of a job that has ended is not given to the next: %v", err)
	}
}

// A new job takes the room of results that were kept for half of their time.
// Their links say why they are gone; a download under way goes on.
func TestEvictedForANewJob(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const size = 12 << 20
	b.withRoom(t, blob.Options{MaxBytes: 3*size + unknownResult})
	var done []queue.Job
	for range 3 {
		done = append(done, b.succeed(t, b.submit(t, ann()).ID, make([]byte, size)))
		b.shift.Add(int64(time.Minute))
	}
	submit := func() error {
		_, _, err := b.Submit(t.Context(), ann(), spec("http://video.invalid/v.mp4"))
		return err
	}
	if err := submit(); err != nil {
		t.Fatal(err)
	}
	wantCode(t, submit(), apigpu.StorageFull, "") // all are young
	b.shift.Add(int64(30*time.Minute - 90*time.Second))
	reading, err := b.Video(t.Context(), ann(), done[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	defer reading.Content.Close()
	open, err := b.Queue.Next(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Cancel(t.Context(), ann(), open[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := submit(); err != nil { // in the room of the one that was canceled: none goes
		t.Fatal(err)
	}
	if _, err := b.known(t, 1<<20); err != nil { // in that of a result
		t.Fatal(err)
	}
	for i, want := range []bool{true, false, true} { // read, old, young
		if b.exists(done[i].Result) != want {
			t.Errorf("result %d is there: %v", i, !want)
		}
	}
	if n, err := io.Copy(io.Discard, reading.Content); err != nil || n != size {
		t.Errorf("read %d, %v", n, err)
	}
	_, err = b.Video(t.Context(), ann(), done[1].ID)
	wantCode(t, err, apigpu.Gone, "")
	if e := apigpu.AsError(err); !strings.Contains(e.Message, "room") || e.Hint == "" {
		t.Errorf("%+v", e)
	}
	keys, err := httpapi.ParseKeys("ann:one")
	if err != nil {
		t.Fatal(err)
	}
	api := httpapi.New(httpapi.Config{Jobs: b.Jobs, Guard: keys.Require, LinkSecret: []byte("s"), MaxUpload: 1 << 20, Log: b.Log, Now: b.now})
	ask := func(url string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, url, nil)
		r.Header.Set("X-API-Key", "one")
		rec := httptest.NewRecorder()
		api.ServeHTTP(rec, r)
		return rec
	}
	var shown apigpu.Job
	if err := json.Unmarshal(ask("http://host/jobs/"+done[1].ID).Body.Bytes(), &shown); err != nil {
		t.Fatal(err)
	}
	if rec := ask(shown.VideoURL); rec.Code != http.StatusGone || !strings.Contains(rec.Body.String(), "room for newer work") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// A request that is refused for want of room is answered 507, with when to try
// again, before its video is received.
func TestUploadWithoutRoom(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.withRoom(t, blob.Options{MaxBytes: blob.MinRoom + 1000})
	b.Jobs.Policy.MaxUpload = 1 << 30
	keys, err := httpapi.ParseKeys("ann:one")
	if err != nil {
		t.Fatal(err)
	}
	api := httpapi.New(httpapi.Config{Jobs: b.Jobs, Guard: keys.Require, LinkSecret: []byte("s"), MaxUpload: 1 << 30, Log: b.Log, Now: b.now})
	head := "--b\r\nContent-Disposition: form-data; name=\"video\"; filename=\"v.mp4\"\r\n\r\n"
	body := io.MultiReader(strings.NewReader(head), never{t})
	r := httptest.NewRequest(http.MethodPost, "http://host/video/caption", body)
	r.Header.Set("X-API-Key", "one")
	r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	r.ContentLength = 100 << 20
	rec := httptest.NewRecorder()
	api.ServeHTTP(rec, r)
	if rec.Code != http.StatusInsufficientStorage || rec.Header().Get("Retry-After") == "" || !strings.Contains(rec.Body.String(), "storage_full") {
		t.Errorf("%d %v %s", rec.Code, rec.Header(), rec.Body)
	}
}

// never is the part of a body that nobody should read: 100 MiB that do not
// come.
type never struct{ t *testing.T }

func (n never) Read([]byte) (int, error) {
	return 0, io.ErrUnexpectedEOF // a multipart reader looks ahead
}

// What is reserved for the database lets it go on where files have no room:
// uploads and results are refused, and every job can be ended and pruned.
func TestDatabaseLivesOfTheReserve(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, blob.Options{MinFree: 4 << 20}, 32<<20)
	defer w.close()
	w.ok(w.open())
	ctx := t.Context()
	var jobs []apigpu.Job
	for range 6 {
		j, err := w.submit(ctx)
		w.ok(err)
		jobs = append(jobs, j)
	}
	run := make([]queue.Job, len(jobs))
	for i, j := range jobs[:5] {
		var err error
		run[i], err = w.jobs.Queue.Claim(ctx, j.ID, "instance", i)
		w.ok(err)
	}
	w.volume.Fill(4 << 20) // somebody else's files
	_, err := w.submit(ctx)
	wantCode(t, err, apigpu.StorageFull, "")
	_, err = w.jobs.Blob.ReserveResult(ctx, 3*page, run[0].Room)
	wantCode(t, err, apigpu.StorageFull, "")
	q := w.jobs.Queue
	w.ok(q.Heartbeat(ctx, run[0].Lease()))
	w.ok(q.Fail(ctx, run[0].Lease(), apigpu.E(apigpu.Internal, nil, "x")))
	_, err = q.Requeue(ctx, run[1].Lease(), queue.Setback{Why: apigpu.E(apigpu.ResultLost, nil, "x")})
	w.ok(err)
	w.ok(q.Complete(ctx, run[2].Lease(), queue.Outcome{Result: "stored-before", Video: apigpu.Video{Bytes: 1}}))
	w.ok(q.Cancelled(ctx, run[3].Lease()))
	_, err = q.Cancel(ctx, jobs[5].ID)
	w.ok(err)
	w.shift.Add(int64(2 * time.Hour))
	w.ok(q.Expire(ctx))
	w.ok(w.jobs.KeepOnce(ctx))
	if files, err := q.Files(ctx); err != nil || len(files) != 1 { // the upload of the one that runs
		t.Errorf("%v, %v", files, err)
	}
}

// Where even the database has no room, results whose time is over make it.
func TestSpentFilesMakeRoom(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, blob.Options{MinFree: blind}, 8<<20)
	defer w.close()
	w.ok(w.open())
	ctx := t.Context()
	j, err := w.submit(ctx)
	w.ok(err)
	w.ok(w.drive(ctx, j.ID))
	row, err := w.jobs.Queue.Job(ctx, j.ID)
	w.ok(err)
	w.ok(w.jobs.KeepOnce(ctx)) // its upload
	_, err = w.submit(ctx)     // what Note has to write to
	w.ok(err)
	w.shift.Add(int64(2 * time.Hour))
	w.volume.Fill(0)
	for err = nil; err == nil; { // until also the log that is there has no room
		err = w.jobs.Queue.Note(ctx, time.Now().String())
	}
	wantCode(t, err, apigpu.StorageFull, "")
	w.ok(w.jobs.KeepOnce(ctx))
	if _, err := w.jobs.Blob.Stat(context.WithoutCancel(ctx), row.Result); err == nil {
		t.Error("its file is there")
	}
	if row, err = w.jobs.Queue.Job(ctx, j.ID); err != nil || row.Result != "" {
		t.Errorf("its row says %q, %v", row.Result, err)
	}
	w.volume.Drain()
	w.consistent()
}
