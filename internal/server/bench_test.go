package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/blob"
	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/db/dbtest"
	"github.com/api-gpu/api-gpu/internal/fetch"
	"github.com/api-gpu/api-gpu/internal/ffmpeg"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/queue"
)

func TestMain(m *testing.M) {
	ffmpeg.Launch() // this program is its own launcher
	goleak.VerifyTestMain(m)
}

const oneCue = "1\n00:00:00,000 --> 00:00:01,000\nHello\n"

func ann() httpapi.Caller { return httpapi.Caller{Name: "ann"} }

func bob() httpapi.Caller { return httpapi.Caller{Name: "bob"} }

func admin() httpapi.Caller { return httpapi.Caller{Name: "admin", Admin: true} }

// bench is the server's side of the jobs API on a real queue and store, with
// a clock that a test may move.
type bench struct {
	*Jobs
	db    *db.DB
	root  string
	shift atomic.Int64
}

func (b *bench) now() time.Time { return time.Now().Add(time.Duration(b.shift.Load())) }

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{db: dbtest.SQLite(t), root: t.TempDir()}
	store, err := blob.Open(b.root, blob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	// localhost may be private; 127.0.0.1 may not.
	f := fetch.New(fetch.Options{AllowHosts: []string{"localhost"}})
	t.Cleanup(f.Close)
	b.Jobs = &Jobs{
		Queue: queue.New(b.db, b.now), Blob: store, Fetch: f, Log: slog.New(slog.DiscardHandler), Now: b.now,
		Policy: Policy{QueueTTL: time.Hour, ResultTTL: time.Hour, MaxUpload: 1 << 20, JobTimer: Timer{Max: 4 * time.Hour}, Limits: Limits{MaxDuration: 2 * time.Hour, MaxPixels: 4096 * 2176}},
	}
	b.Fonts = &Fonts{DB: b.db, Blob: store}
	return b
}

// source serves files on loopback and returns its base address by a name that
// may be private, and by one that may not.
func source(t *testing.T, files map[string]string) (allowed, blocked string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if r.URL.Path == "/whole" { // from a server that knows no ranges
			_, _ = io.WriteString(w, content)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
	}))
	t.Cleanup(s.Close)
	return strings.Replace(s.URL, "127.0.0.1", "localhost", 1), s.URL
}

func spec(video string) httpapi.Submission {
	return httpapi.Submission{Spec: apigpu.CaptionSpec{URLVideo: video}.Clean(), Subtitle: []byte(oneCue)}
}

func (b *bench) submit(t *testing.T, who httpapi.Caller) apigpu.Job {
	t.Helper()
	j, _, err := b.Submit(t.Context(), who, httpapi.Submission{Spec: apigpu.CaptionSpec{}.Clean(), Upload: "upload-none", Subtitle: []byte(oneCue)})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// succeed runs a job as the dispatcher would.
func (b *bench) succeed(t *testing.T, id string, result []byte) queue.Job {
	t.Helper()
	j, err := b.Queue.Claim(t.Context(), id, "instance-"+id, 0)
	if err != nil {
		t.Fatal(err)
	}
	object, err := b.Blob.Receive(t.Context(), id+".1.mp4", bytes.NewReader(result), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Queue.Complete(t.Context(), j.Lease(), queue.Outcome{Result: object.Key, Video: apigpu.Video{Bytes: object.Size, SHA256: object.SHA256}}); err != nil {
		t.Fatal(err)
	}
	j, err = b.Queue.Job(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func (b *bench) exists(key string) bool {
	_, err := b.Blob.Stat(context.Background(), key)
	return !errors.Is(err, fs.ErrNotExist)
}

func wantCode(t *testing.T, err error, code apigpu.Code, field string) {
	t.Helper()
	if e := apigpu.AsError(err); apigpu.CodeOf(err) != code || err != nil && e.Field != field {
		t.Fatalf("error %v (field %q), want %q of field %q", err, e.Field, code, field)
	}
}
