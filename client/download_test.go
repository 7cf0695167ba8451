package client

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
)

func finishedJob(content []byte) apigpu.Job {
	sum := sha256.Sum256(content)
	j := job(9, apigpu.Succeeded)
	j.Video = &apigpu.Video{Bytes: int64(len(content)), SHA256: hex.EncodeToString(sum[:])}
	return j
}

// serve sends a part of content as http.ServeContent would, breaking off
// after limit bytes of it; limit -1 sends all.
func serve(content []byte, etag string, limit int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"`+etag+`"`)
		w.Header().Set("Content-Type", "video/mp4")
		if limit >= 0 {
			w = &breaking{w, limit}
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}
}

type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	if len(p) > b.left {
		_, _ = b.ResponseWriter.Write(p[:b.left])
		cut(b.ResponseWriter)
	}
	b.left -= len(p)
	return b.ResponseWriter.Write(p)
}

// plain sends content without any sign of what it is, ranges ignored.
func plain(content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) }
}

// part answers with a Content-Range of its own invention.
func part(contentRange string, content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Range", contentRange)
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(content)
	}
}

func TestDownload(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("captions!"), 100_000)
	wanted := finishedJob(content)
	sum := wanted.Video.SHA256
	other := bytes.Repeat([]byte("otherness"), 100_000)
	const half = 500_000
	for _, tt := range []struct {
		name  string
		steps []http.HandlerFunc
		code  apigpu.Code
	}{
		{"whole", []http.HandlerFunc{serve(content, sum, -1)}, ""},
		{"resumed twice", []http.HandlerFunc{serve(content, sum, half), serve(content, sum, 10), page(502), serve(content, sum, -1)}, ""},
		{"resumed where ranges are ignored", []http.HandlerFunc{serve(content, sum, half), plain(content)}, ""},
		{"always cut at the same place", append([]http.HandlerFunc{serve(content, sum, half)}, slices.Repeat([]http.HandlerFunc{serve(content, sum, 0)}, hurried().tries+1)...), apigpu.Unavailable},
		{"too long", []http.HandlerFunc{plain(append(slices.Clone(content), 'x'))}, apigpu.ResultLost},
		{"other bytes", []http.HandlerFunc{plain(other)}, apigpu.ResultLost},
		{"other video", []http.HandlerFunc{serve(other, "abc", -1)}, apigpu.Conflict},
		{"other video after a cut", []http.HandlerFunc{serve(content, sum, half), serve(other, "abc", -1)}, apigpu.Conflict},
		{"gone", []http.HandlerFunc{problem(http.StatusGone, apigpu.Gone)}, apigpu.Gone},
		{"another part", append([]http.HandlerFunc{serve(content, sum, half)}, slices.Repeat([]http.HandlerFunc{part("bytes 0-9/900000", content[:10])}, hurried().tries+1)...), apigpu.Internal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &script{t: t, steps: tt.steps}
			var got bytes.Buffer
			err := clientOf(t, s.ServeHTTP).Download(t.Context(), wanted, &got)
			if tt.code != "" {
				wantCode(t, err, tt.code)
			} else if err != nil || !bytes.Equal(got.Bytes(), content) {
				t.Errorf("got %d bytes, %v", got.Len(), err)
			}
			if len(s.asked) != len(tt.steps) {
				t.Errorf("%d requests, want %d", len(s.asked), len(tt.steps))
			}
		})
	}
}

func TestDownloadAsksForTheRest(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("v"), 100_000)
	wanted := finishedJob(content)
	first := serve(content, wanted.Video.SHA256, 70_000)
	var ranges []string
	var received int64
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		ranges = append(ranges, r.Header.Get("Range")+" "+r.Header.Get("If-Range"))
		if len(ranges) == 1 {
			first(w, r)
			return
		}
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &received); err != nil {
			t.Error(err)
		}
		serve(content, wanted.Video.SHA256, -1)(w, r)
	})
	if err := c.Download(t.Context(), wanted, io.Discard); err != nil {
		t.Fatal(err)
	}
	want := []string{" ", fmt.Sprintf(`bytes=%d- "%s"`, received, wanted.Video.SHA256)}
	equal(t, ranges, want)
	if received < 1 || received > 70_000 {
		t.Errorf("went on at %d, and 70000 bytes were sent", received)
	}
}

func TestDownloadWithoutAVideo(t *testing.T) {
	t.Parallel()
	c := clientOf(t, func(http.ResponseWriter, *http.Request) { t.Error("the server was asked") })
	wantCode(t, c.Download(t.Context(), job(1, apigpu.Running), io.Discard), apigpu.NotReady)
}

type fullDisk struct{ err error }

func (f fullDisk) Write([]byte) (int, error) { return 0, f.err }

func TestDownloadToAFullDisk(t *testing.T) {
	t.Parallel()
	content := []byte("video")
	wanted := finishedJob(content)
	s := &script{t: t, steps: []http.HandlerFunc{serve(content, wanted.Video.SHA256, -1)}}
	full := errors.New("no space left")
	if err := clientOf(t, s.ServeHTTP).Download(t.Context(), wanted, fullDisk{full}); !errors.Is(err, full) {
		t.Errorf("error %v, want %v", err, full)
	}
}
