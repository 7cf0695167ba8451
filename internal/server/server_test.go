package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/blob"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/mp4"
	"github.com/api-gpu/api-gpu/internal/queue"
)

func TestSubmitChecks(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	allowed, blocked := source(t, map[string]string{
		"/page": "<!doctype html><html><body>log in</body></html>", "/ok.srt": oneCue, "/data": strings.Repeat("x", 2000),
		"/big": strings.Repeat("x", 1<<20+1), "/long.srt": strings.Repeat("x", apigpu.MaxSubtitle+1),
	})
	srt := func(url string) httpapi.Submission {
		return httpapi.Submission{Spec: apigpu.CaptionSpec{URLVideo: allowed + "/data", URLSRT: url}.Clean()}
	}
	text := func(s string) httpapi.Submission {
		sub := spec(allowed + "/data")
		sub.Subtitle = []byte(s)
		return sub
	}
	for _, c := range []struct {
		name  string
		sub   httpapi.Submission
		code  apigpu.Code
		field string
	}{
		{"all is right", srt(allowed + "/ok.srt"), "", ""},
		{"a video of unknown format", spec(allowed + "/data"), "", ""},
		{"a video that is not there now", spec(allowed + "/missing"), "", ""},
		{"empty subtitles", text(""), apigpu.SubtitleEmpty, "srt"},
		{"no subtitles", text("this is prose"), apigpu.SubtitleUnparseable, "srt"},
		{"a page for subtitles", srt(allowed + "/page"), apigpu.SubtitleNotText, "url_srt"},
		{"subtitles that are not there", srt(allowed + "/missing"), apigpu.SourceUnreachable, "url_srt"},
		{"subtitles without end", srt(allowed + "/long.srt"), apigpu.TooLarge, "url_srt"},
		{"private subtitles", srt(blocked + "/ok.srt"), apigpu.BlockedAddress, "url_srt"},
		{"a private video", spec(blocked + "/data"), apigpu.BlockedAddress, "url_video"},
		{"metadata of a cloud", spec("http://169.254.169.254/latest"), apigpu.BlockedAddress, "url_video"},
		{"a page for a video", spec(allowed + "/page"), apigpu.SourceIsHTML, "url_video"},
		{"a video above MAX_UPLOAD", spec(allowed + "/big"), apigpu.TooLarge, "url_video"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			job, _, err := b.Submit(t.Context(), ann(), c.sub)
			wantCode(t, err, c.code, c.field)
			if status := httpapi.Status(c.code); strings.HasPrefix(string(c.code), "subtitle_") && status != 422 {
				t.Errorf("status %d", status)
			}
			if c.code == "" && (job.Status != apigpu.Queued || job.Captions.CuesIn != 1) {
				t.Errorf("%+v", job)
			}
		})
	}
}

// What the worker gets is what was validated; what it must not get is gone.
func TestSubmitKeepsBytesNotAddresses(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	allowed, _ := source(t, map[string]string{"/ok.srt": oneCue})
	sub := httpapi.Submission{Spec: apigpu.CaptionSpec{URLVideo: allowed + "/v", URLSRT: allowed + "/ok.srt", HeadersSRT: map[string]string{"A": "b"}}.Clean()}
	ctx, cancel := context.WithCancel(t.Context())
	job, _, err := b.Submit(ctx, ann(), sub)
	cancel()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.Queue.Subtitle(t.Context(), job.ID)
	if err != nil || string(raw) != oneCue {
		t.Errorf("%q, %v", raw, err)
	}
	row, err := b.Queue.Job(t.Context(), job.ID)
	if err != nil || row.Spec.URLSRT != "" || row.Spec.HeadersSRT != nil || row.Client != "ann" || row.RunFor != 4*time.Hour {
		t.Errorf("%+v, %v", row, err)
	}
}

func TestTimer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		timer    Timer
		duration time.Duration
		want     time.Duration
	}{
		{Timer{Fixed: time.Minute, Max: time.Hour}, time.Hour, time.Minute},
		{Timer{Max: 4 * time.Hour}, 0, 4 * time.Hour},
		{Timer{Max: 4 * time.Hour}, -time.Second, 4 * time.Hour},
		{Timer{Max: 4 * time.Hour}, time.Minute, runBase + slowestRun*time.Minute},
		{Timer{Max: 4 * time.Hour}, time.Hour, 4 * time.Hour},
		{Timer{Max: 4 * time.Hour}, 1<<63 - 1, 4 * time.Hour},
	} {
		if got := c.timer.For(Head{Duration: c.duration}); got != c.want {
			t.Errorf("%+v for %s: %s, want %s", c.timer, c.duration, got, c.want)
		}
	}
}

func TestJudgeHead(t *testing.T) {
	t.Parallel()
	limits := Limits{MaxDuration: time.Hour, MaxPixels: 1920 * 1080}
	for _, c := range []struct {
		name string
		info mp4.Info
		err  error
		want time.Duration
		code apigpu.Code
	}{
		{"a film", mp4.Info{Duration: time.Minute, Width: 1920, Height: 1080}, nil, time.Minute, ""},
		{"sound only", mp4.Info{}, mp4.ErrNoVideo, 0, apigpu.NoVideoStream},
		{"another format", mp4.Info{}, errors.New("no box"), 0, ""},
		{"a film that is too long", mp4.Info{Duration: 2 * time.Hour}, nil, 0, apigpu.MediaTooLong},
		{"a header that lies", mp4.Info{Duration: time.Second, Claimed: 143165 * time.Second}, nil, 0, apigpu.MediaTooLong},
		{"a huge picture", mp4.Info{Width: 1920, Height: 1081}, nil, 0, apigpu.MediaTooBig},
	} {
		head, err := judgeHead(c.info, c.err, limits)
		if head.Duration != c.want || apigpu.CodeOf(err) != c.code {
			t.Errorf("%s: %+v, %v", c.name, head, err)
		}
	}
}

func TestListAndVisibility(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var mine []string
	for range 3 {
		mine = append(mine, b.submit(t, ann()).ID)
		b.shift.Add(int64(time.Millisecond)) // ids sort by time
	}
	other := b.submit(t, bob()).ID
	page, cursor, err := b.List(t.Context(), ann(), httpapi.Filter{Limit: 2})
	if err != nil || len(page) != 2 || page[0].ID != mine[2] || page[1].ID != mine[1] || cursor != mine[1] {
		t.Fatalf("%d jobs, cursor %q, %v", len(page), cursor, err)
	}
	page, cursor, err = b.List(t.Context(), ann(), httpapi.Filter{Limit: 2, Cursor: cursor})
	if err != nil || len(page) != 1 || page[0].ID != mine[0] || cursor != "" {
		t.Fatalf("%d jobs, cursor %q, %v", len(page), cursor, err)
	}
	if all, _, err := b.List(t.Context(), admin(), httpapi.Filter{Limit: 100}); err != nil || len(all) != 4 {
		t.Errorf("the admin sees %d jobs, %v", len(all), err)
	}
	for name, call := range map[string]func() error{
		"job":    func() error { _, err := b.Job(t.Context(), ann(), other); return err },
		"wait":   func() error { _, err := b.Wait(t.Context(), ann(), other, 0); return err },
		"cancel": func() error { _, err := b.Cancel(t.Context(), ann(), other); return err },
		"delete": func() error { return b.Delete(t.Context(), ann(), other) },
		"video":  func() error { _, err := b.Video(t.Context(), ann(), other); return err },
	} {
		if err := call(); apigpu.CodeOf(err) != apigpu.JobNotFound {
			t.Errorf("%s of another's job: %v", name, err)
		}
	}
	if j, err := b.Job(t.Context(), bob(), other); err != nil || j.Status != apigpu.Queued {
		t.Errorf("%s %v", j.Status, err)
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	queued := b.submit(t, ann())
	if err := b.Delete(t.Context(), ann(), queued.ID); err != nil {
		t.Fatal(err)
	}
	_, err := b.Job(t.Context(), ann(), queued.ID)
	wantCode(t, err, apigpu.JobNotFound, "")

	done := b.submit(t, ann())
	key := b.succeed(t, done.ID, []byte("video")).Result
	if err := b.Delete(t.Context(), ann(), done.ID); err != nil || b.exists(key) {
		t.Errorf("%v, its file is there: %v", err, b.exists(key))
	}

	running := b.submit(t, ann())
	j, err := b.Queue.Claim(t.Context(), running.ID, "instance", 0)
	if err != nil {
		t.Fatal(err)
	}
	deleted := make(chan error, 1)
	go func() { deleted <- b.Delete(context.WithoutCancel(t.Context()), ann(), running.ID) }()
	for row := j; !row.CancelRequested; { // the driver hears of it, and ends the job
		if row, err = b.Queue.Wait(t.Context(), running.ID, row.Revision); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Queue.Cancelled(t.Context(), j.Lease()); err != nil {
		t.Fatal(err)
	}
	if err := <-deleted; err != nil {
		t.Error(err)
	}
	_, err = b.Job(t.Context(), ann(), running.ID)
	wantCode(t, err, apigpu.JobNotFound, "")
}

func TestVideoStates(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.submit(t, ann()).ID
	video := func() (string, error) {
		v, err := b.Video(t.Context(), ann(), id)
		if err != nil {
			return "", err
		}
		defer v.Content.Close()
		raw, err := io.ReadAll(v.Content)
		return string(raw), err
	}
	_, err := video()
	wantCode(t, err, apigpu.NotReady, "")
	row := b.succeed(t, id, []byte("video"))
	if raw, err := video(); err != nil || raw != "video" {
		t.Errorf("%q, %v", raw, err)
	}
	b.shift.Add(int64(time.Hour)) // its time is over, though nobody has removed it yet
	_, err = video()
	wantCode(t, err, apigpu.Gone, "")
	b.shift.Store(0)
	if err := b.Blob.Delete(t.Context(), row.Result); err != nil {
		t.Fatal(err)
	}
	_, err = video()
	wantCode(t, err, apigpu.Gone, "")

	id = b.submit(t, ann()).ID
	if _, err := b.Cancel(t.Context(), ann(), id); err != nil {
		t.Fatal(err)
	}
	_, err = video()
	wantCode(t, err, apigpu.Canceled, "")
}

// A full disk and a stop refuse new work before anything is received.
func TestNewWorkIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	submit := func() error {
		_, _, err := b.Submit(t.Context(), ann(), httpapi.Submission{Spec: apigpu.CaptionSpec{URLVideo: "http://video.example/v.mp4"}, Subtitle: []byte(oneCue)})
		return err
	}
	roomy := b.Jobs.Blob
	full, err := blob.Open(t.TempDir(), blob.Options{MaxBytes: blob.MinRoom - 1})
	if err != nil {
		t.Fatal(err)
	}
	b.Jobs.Blob = full
	wantCode(t, submit(), apigpu.StorageFull, "")
	_, err = b.Receive(t.Context(), ann(), strings.NewReader("v"))
	wantCode(t, err, apigpu.StorageFull, "")
	b.Jobs.Blob = roomy
	if err := submit(); err != nil {
		t.Fatal(err)
	}
	b.Close()
	wantCode(t, submit(), apigpu.Unavailable, "")
	if jobs, _, err := b.List(t.Context(), ann(), httpapi.Filter{Limit: 10}); err != nil || len(jobs) != 1 {
		t.Errorf("%d jobs were recorded, want 1: %v", len(jobs), err)
	}
}

func TestUploadIsReceivedAndDiscarded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	receive := func(size int) (string, error) {
		return b.Receive(t.Context(), ann(), bytes.NewReader(make([]byte, size)))
	}
	_, err := receive(1<<20 + 1)
	wantCode(t, err, apigpu.TooLarge, "")
	lost, err := receive(10)
	if err != nil {
		t.Fatal(err)
	}
	b.Discard(lost)
	b.Discard("")
	if b.exists(lost) {
		t.Error("a discarded upload is there")
	}
	taken, err := receive(11)
	if err != nil {
		t.Fatal(err)
	}
	job, _, err := b.Submit(t.Context(), ann(), httpapi.Submission{Upload: taken, Subtitle: []byte(oneCue)})
	if err != nil {
		t.Fatal(err)
	}
	b.Discard(taken)
	if !b.exists(taken) {
		t.Fatal("an upload that a job has taken over was discarded")
	}
	if err := b.KeepOnce(t.Context()); err != nil || !b.exists(taken) {
		t.Fatalf("the upload of a queued job is gone: %v", err)
	}
	b.succeed(t, job.ID, []byte("v"))
	if err := b.KeepOnce(t.Context()); err != nil || b.exists(taken) {
		t.Errorf("the upload outlives its job: %v", err)
	}
}

// A process that may not keep house touches no file.
func TestKeepStandsBy(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	spent := b.succeed(t, b.submit(t, ann()).ID, []byte("old")).Result
	b.shift.Store(int64(48 * time.Hour))
	for _, may := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		if err := b.Keep(ctx, func() bool { cancel(); return may }); err != nil { // one round
			t.Fatal(err)
		}
		if may && b.KeepOnce(t.Context()) != nil || b.exists(spent) == may {
			t.Errorf("may keep house: %t; the spent result is there: %t", may, !may)
		}
	}
}

func TestKeep(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	old, fresh := b.submit(t, ann()), b.submit(t, ann())
	spent := b.succeed(t, old.ID, []byte("old")).Result
	b.shift.Store(int64(30 * time.Minute))
	kept := b.succeed(t, fresh.ID, []byte("fresh")).Result
	for key, age := range map[string]time.Duration{"stray-old": strayAge + time.Minute, "stray-young": strayAge - time.Minute, kept: 100 * strayAge} {
		if key != kept {
			if _, err := b.Blob.Receive(t.Context(), key, strings.NewReader("x"), 10); err != nil {
				t.Fatal(err)
			}
		}
		b.age(t, key, age)
	}
	b.shift.Store(int64(61 * time.Minute))
	if err := b.KeepOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]bool{spent: false, kept: true, "stray-old": false, "stray-young": true} {
		if b.exists(key) != want {
			t.Errorf("%s is there: %v", key, !want)
		}
	}
	if _, err := b.Video(t.Context(), ann(), old.ID); apigpu.CodeOf(err) != apigpu.Gone {
		t.Errorf("error %v", err)
	}
	if j, err := b.Job(t.Context(), ann(), old.ID); err != nil || j.Status != apigpu.Succeeded {
		t.Errorf("the job is forgotten with its file: %v", err)
	}
}

// age makes an object as old as that.
func (b *bench) age(t *testing.T, key string, age time.Duration) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(b.root, "objects", "*", key))
	if err != nil || len(found) != 1 {
		t.Fatalf("%q: %q, %v", key, found, err)
	}
	when := time.Now().Add(-age)
	if err := os.Chtimes(found[0], when, when); err != nil {
		t.Fatal(err)
	}
}

// A signed link, from the answer to the end of its time, with no header.
func TestSignedLink(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	keys, err := httpapi.ParseKeys("ann:one,bob:two")
	if err != nil {
		t.Fatal(err)
	}
	api := httpapi.New(httpapi.Config{Jobs: b.Jobs, Guard: keys.Require, LinkSecret: []byte("s"), MaxUpload: 1 << 20, Log: b.Log, Now: b.now})
	job := b.submit(t, ann())
	ask := func(url, key string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, url, nil)
		r.Header.Set("X-API-Key", key)
		rec := httptest.NewRecorder()
		api.ServeHTTP(rec, r)
		return rec
	}
	var shown apigpu.Job
	if err := json.Unmarshal(ask("http://host/jobs/"+job.ID, "one").Body.Bytes(), &shown); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		do     func()
		url    string
		status int
	}{
		{"before its end", func() {}, shown.VideoURL, 409},
		{"when it is there", func() { b.succeed(t, job.ID, []byte("video")) }, shown.VideoURL, 200},
		{"with another name", func() {}, strings.Replace(shown.VideoURL, "video.mp4", "other.mp4", 1), 404},
		{"after the result's end", func() {
			b.shift.Store(int64(61 * time.Minute))
			if err := b.KeepOnce(context.Background()); err != nil {
				t.Fatal(err)
			}
		}, shown.VideoURL, 410},
		{"after its own end", func() { b.shift.Store(int64(24 * time.Hour)) }, shown.VideoURL, 410},
	} {
		c.do()
		if rec := ask(c.url, ""); rec.Code != c.status {
			t.Errorf("%s: %d %s", c.name, rec.Code, rec.Body)
		}
	}
	if rec := ask("http://host/jobs/"+job.ID, "two"); rec.Code != 404 {
		t.Errorf("to another key: %d", rec.Code)
	}
}

// A thumbnail is served while its result is, and goes with it.
func TestThumbnail(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	at := 1.0
	submit := func(thumbnail *float64) string {
		j, _, err := b.Submit(t.Context(), ann(), httpapi.Submission{
			Spec: apigpu.CaptionSpec{Output: apigpu.Output{Thumbnail: thumbnail}}.Clean(), Upload: "upload-none", Subtitle: []byte(oneCue),
		})
		if err != nil {
			t.Fatal(err)
		}
		return j.ID
	}
	ask := func(id string, want apigpu.Code) {
		t.Helper()
		picture, err := b.Thumbnail(t.Context(), ann(), id)
		wantCode(t, err, want, "")
		if err != nil {
			return
		}
		defer picture.Content.Close()
		if got, err := io.ReadAll(picture.Content); err != nil || string(got) != "picture" || len(picture.SHA256) != 64 {
			t.Errorf("%q %q, %v", got, picture.SHA256, err)
		}
	}
	store := func(result string) string {
		key := queue.ThumbnailOf(result)
		if _, err := b.Blob.Receive(t.Context(), key, strings.NewReader("picture"), 100); err != nil {
			t.Fatal(err)
		}
		return key
	}
	plain, deleted, spent := submit(nil), submit(&at), submit(&at)
	ask(plain, apigpu.NotFound)
	ask(deleted, apigpu.NotReady)
	first := store(b.succeed(t, deleted, []byte("a")).Result)
	second := b.succeed(t, spent, []byte("b")).Result
	ask(spent, apigpu.NotFound) // it could not be made
	second = store(second)
	ask(deleted, "")
	b.age(t, first, 100*strayAge)
	if err := b.KeepOnce(t.Context()); err != nil || !b.exists(first) {
		t.Errorf("a kept result lost its thumbnail: %v", err)
	}
	if err := b.Delete(t.Context(), ann(), deleted); err != nil || b.exists(first) {
		t.Errorf("%v, it is there: %t", err, b.exists(first))
	}
	b.shift.Store(int64(61 * time.Minute))
	ask(spent, apigpu.Gone)
	if err := b.KeepOnce(t.Context()); err != nil || b.exists(second) {
		t.Errorf("%v, it is there: %t", err, b.exists(second))
	}
}
