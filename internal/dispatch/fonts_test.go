package dispatch

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// Fonts go to the worker before the video, each once, and again where the
// worker did not answer.
func TestFontsArePushed(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	var keys, sums []string
	for _, text := range []string{"one", "two", "one"} { // the last is another's of the same bytes
		raw := sha256.Sum256([]byte(text))
		sum := hex.EncodeToString(raw[:])
		key := queue.FontKey(sum, strings.Repeat("x", len(keys)+1))
		if _, err := b.blob.Receive(t.Context(), key, strings.NewReader(text), 1<<20); err != nil {
			t.Fatal(err)
		}
		if keys = append(keys, key); !slices.Contains(sums, sum) {
			sums = append(sums, sum)
		}
	}
	video := b.upload([]byte("a video"))
	var mu sync.Mutex
	var came []string
	b.worker.onRequest(func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case r.Method == http.MethodPut && path.Base(path.Dir(r.URL.Path)) == "fonts":
			content, err := io.ReadAll(r.Body)
			raw := sha256.Sum256(content)
			sum := hex.EncodeToString(raw[:])
			if came = append(came, sum); len(came) == 1 {
				httpapi.WriteError(w, apigpu.E(apigpu.Unavailable, nil, "in a moment"))
				return true
			}
			if err != nil || sum != path.Base(r.URL.Path) || r.URL.Query().Get("attempt") != "1" {
				t.Errorf("%s: %q %v", r.URL, content, err)
			}
			httpapi.WriteJSON(w, http.StatusOK, struct{}{})
			return true
		case r.Method == http.MethodPut && path.Base(r.URL.Path) == "input" && len(came) < 3:
			t.Errorf("the video came after %d fonts", len(came))
		}
		return false
	})
	b.start()
	j := b.final(b.submit(func(d *queue.Draft) { d.Spec.URLVideo, d.Upload, d.Fonts = "", video, keys }).ID)
	b.wantResult(j)
	mu.Lock()
	defer mu.Unlock()
	if want := []string{sums[0], sums[0], sums[1]}; !slices.Equal(came, want) {
		t.Errorf("fonts %q, want %q", came, want)
	}
	if !bytes.Contains(b.worker.messages, []byte(sums[1])) || !slices.Equal(b.worker.assignments[0].Fonts, sums) {
		t.Errorf("assigned with %q", b.worker.assignments[0].Fonts)
	}
}
