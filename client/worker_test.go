package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/api-gpu/api-gpu"
)

func TestAssignAndLease(t *testing.T) {
	t.Parallel()
	var assigned apigpu.Assignment
	var lease apigpu.LeaseRequest
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Method + " " + r.URL.Path {
		case "PUT /jobs/job_1":
			_ = json.NewDecoder(r.Body).Decode(&assigned)
			writeJSON(w, http.StatusAccepted, job(1, apigpu.Running))
		case "PUT /lease":
			_ = json.NewDecoder(r.Body).Decode(&lease)
			writeJSON(w, http.StatusOK, apigpu.LeaseReply{Ready: true, Jobs: []apigpu.HeldJob{{ID: "job_1"}}})
		default:
			writeProblem(w, http.StatusNotFound, apigpu.NotFound)
		}
	})
	want := apigpu.Assignment{Attempt: 3, Subtitle: []byte{0xff, 0}, Push: true, DeadlineSeconds: 60, RequireGPU: true,
		Spec: apigpu.CaptionSpec{Output: apigpu.Output{Quality: apigpu.Max}}}
	got, err := c.Assign(t.Context(), "job_1", want)
	if err != nil || got.Revision != 1 {
		t.Errorf("Assign: %+v, %v", got, err)
	}
	equal(t, assigned, want)
	reply, err := c.Lease(t.Context(), apigpu.LeaseRequest{Epoch: 4, TTLSeconds: 600})
	if err != nil || !reply.Ready || len(reply.Jobs) != 1 {
		t.Errorf("Lease: %+v, %v", reply, err)
	}
	equal(t, lease, apigpu.LeaseRequest{Epoch: 4, TTLSeconds: 600})
}

func TestAssignOfAStaleAttempt(t *testing.T) {
	t.Parallel()
	c := clientOf(t, problem(http.StatusConflict, apigpu.StaleAttempt))
	_, err := c.Assign(t.Context(), "job_1", apigpu.Assignment{})
	if e := wantCode(t, err, apigpu.StaleAttempt); e.Retryable {
		t.Error("a stale attempt may not be tried again")
	}
}

func TestPushInput(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		size  int64
		query string
	}{
		{1 << 20, "attempt=2&offset=5&size=1048576"},
		{-1, "attempt=2&offset=5"},
	} {
		var query string
		c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
			query = r.URL.RawQuery
			n, err := io.Copy(io.Discard, r.Body)
			if err != nil {
				t.Error(err)
			}
			writeJSON(w, http.StatusOK, apigpu.InputState{Received: 5 + n, Size: tt.size})
		})
		state, err := c.PushInput(t.Context(), "job_1", 2, 5, tt.size, bytes.NewReader(make([]byte, 1<<20-5)))
		if err != nil {
			t.Fatal(err)
		}
		equal(t, state, apigpu.InputState{Received: 1 << 20, Size: tt.size})
		equal(t, query, tt.query)
	}
}

// A source that breaks must not look like the end of the video.
func TestPushInputFromABrokenSource(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	c := clientOf(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		ended <- err
		panic(http.ErrAbortHandler)
	})
	broken := apigpu.E(apigpu.SourceUnreachable, nil, "The source broke off.")
	_, err := c.PushInput(t.Context(), "job_1", 1, 0, -1, io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)))
	wantCode(t, err, apigpu.SourceUnreachable)
	if err := <-ended; err == nil {
		t.Error("the worker saw a clean end")
	}
}

func TestPushInputRefused(t *testing.T) {
	t.Parallel()
	c := clientOf(t, problem(http.StatusConflict, apigpu.StaleAttempt))
	sent := &countingReader{r: io.LimitReader(zeros{}, 1<<30)}
	_, err := c.PushInput(t.Context(), "job_1", 1, 0, 1<<30, sent)
	wantCode(t, err, apigpu.StaleAttempt)
	if sent.n > 16<<20 { // of a gigabyte
		t.Errorf("%d bytes were read for a push that was refused", sent.n)
	}
}

// net/http may read a body after its request has ended; the caller's reader
// is its own again by then.
func TestReaderIsLeftAlone(t *testing.T) {
	t.Parallel()
	b := &requestBody{r: strings.NewReader("abc"), watch: stoppedWatch(t)}
	if err := b.release(); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Read(make([]byte, 3)); n != 0 || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

func stoppedWatch(t *testing.T) *watch {
	t.Helper()
	_, w := newWatch(t.Context(), hurried().answer)
	w.stop()
	return w
}

func TestInputAndManifest(t *testing.T) {
	t.Parallel()
	manifest := apigpu.Manifest{Length: 3, SHA256: "ab", Chunks: []apigpu.Chunk{{Offset: 0, Length: 3, SHA256: "ab"}}}
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/jobs/job_1/input":
			writeJSON(w, http.StatusOK, apigpu.InputState{Received: 7, Size: -1})
		case "/jobs/job_1/manifest":
			writeJSON(w, http.StatusOK, manifest)
		}
	})
	state, err := c.Input(t.Context(), "job_1")
	if err != nil {
		t.Error(err)
	}
	equal(t, state, apigpu.InputState{Received: 7, Size: -1})
	got, err := c.Manifest(t.Context(), "job_1")
	if err != nil {
		t.Error(err)
	}
	equal(t, got, manifest)
}

func TestChunk(t *testing.T) {
	t.Parallel()
	content := []byte("0123456789")
	for _, tt := range []struct {
		name   string
		chunk  apigpu.Chunk
		answer http.HandlerFunc
		want   string
		code   apigpu.Code
	}{
		{"first", apigpu.Chunk{Offset: 0, Length: 4}, serve(content, "x", -1), "0123", ""},
		{"last", apigpu.Chunk{Offset: 8, Length: 2}, serve(content, "x", -1), "89", ""},
		{"range ignored", apigpu.Chunk{Offset: 0, Length: 10}, plain(content), "", apigpu.Internal},
		{"beyond the end", apigpu.Chunk{Offset: 8, Length: 4}, serve(content, "x", -1), "", apigpu.Internal},
		{"another part", apigpu.Chunk{Offset: 2, Length: 2}, part("bytes 0-1/10", content[:2]), "", apigpu.Internal},
		{"cut", apigpu.Chunk{Offset: 2, Length: 4}, serve(content, "x", 1), "", apigpu.Unavailable},
		{"too short", apigpu.Chunk{Offset: 2, Length: 4}, part("bytes 2-5/10", content[2:4]), "", apigpu.Unavailable},
		{"too long", apigpu.Chunk{Offset: 2, Length: 2}, part("bytes 2-3/10", content), "", apigpu.Unavailable},
		{"empty", apigpu.Chunk{Offset: 2}, serve(content, "x", -1), "", apigpu.InvalidRequest},
		{"too big", apigpu.Chunk{Length: apigpu.MaxChunk + 1}, serve(content, "x", -1), "", apigpu.InvalidRequest},
		{"not ready", apigpu.Chunk{Length: 1}, problem(http.StatusConflict, apigpu.NotReady), "", apigpu.NotReady},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := clientOf(t, tt.answer).Chunk(t.Context(), "job_1", tt.chunk)
			if tt.code != "" {
				wantCode(t, err, tt.code)
			} else if err != nil {
				t.Error(err)
			}
			equal(t, string(got), tt.want)
		})
	}
}

func TestThumbnail(t *testing.T) {
	t.Parallel()
	const picture = "\xff\xd8\xff\xe0 a picture"
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
		code   apigpu.Code
	}{
		{"there", plain([]byte(picture)), picture, ""},
		{"none", problem(http.StatusNotFound, apigpu.NotFound), "", apigpu.NotFound},
		{"no picture", plain([]byte("<html>")), "", apigpu.Internal},
		{"too long", plain(append([]byte(picture), make([]byte, apigpu.MaxThumbnail)...)), "", apigpu.Internal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := clientOf(t, tt.answer).Thumbnail(t.Context(), "job_1")
			if tt.code != "" {
				wantCode(t, err, tt.code)
			} else if err != nil {
				t.Error(err)
			}
			equal(t, string(got), tt.want)
		})
	}
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 5-9/20", "bytes 0-0/*", "bytes 9-5/20", "bytes */20", "items 1-2/3", "bytes -1-2/3", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, last, ok := contentRange(s)
		if ok && (first < 0 || last < first) {
			t.Errorf("%q gives %d-%d", s, first, last)
		}
	})
}

func FuzzHealth(f *testing.F) {
	f.Add([]byte(`{"status":"ok","uptime":1e308,"workers":{"ready":1}}`))
	f.Add([]byte(`{"status":1}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if h, ok := healthIn(raw); ok && h.Status == "" {
			t.Error("health without a status")
		}
	})
}
