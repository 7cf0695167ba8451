package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/font"
)

// sentFonts is the folder of fonts that came with a job, within its own. They
// get names of ours there, and none is there that our own reader refused.
const sentFonts = "sent-fonts"

// fontFiles are the fonts that come with a job.
type fontFiles struct {
	dir   string
	whole chan struct{} // closed when all are here

	mu      sync.Mutex
	sums    []string // those that are to come
	arrived map[string]bool
}

// newFontFiles waits for files of these sums.
func newFontFiles(jobDir string, sums []string) *fontFiles {
	f := &fontFiles{dir: filepath.Join(jobDir, sentFonts), whole: make(chan struct{}), sums: sums, arrived: map[string]bool{}}
	if len(sums) == 0 {
		close(f.whole)
	}
	return f
}

// checkFontSums refuses what are no sums of files.
func checkFontSums(sums []string) error {
	for i, sum := range sums {
		if raw, err := hex.DecodeString(sum); err != nil || len(raw) != sha256.Size || slices.Contains(sums[:i], sum) {
			return apigpu.E(apigpu.InvalidRequest, nil, "fonts must be different SHA-256 sums in hex.").WithField("fonts")
		}
	}
	// Those that came with the job, and those of the family that it names.
	if len(sums) > apigpu.MaxJobFonts+apigpu.MaxFonts {
		return apigpu.E(apigpu.InvalidRequest, nil, "There are more than %d fonts.", apigpu.MaxJobFonts+apigpu.MaxFonts).WithField("fonts")
	}
	return nil
}

// keep takes a file. One that is here already is left as it is.
func (f *fontFiles) keep(sum string, b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := slices.Index(f.sums, sum)
	if n < 0 {
		return apigpu.E(apigpu.Conflict, nil, "This job has no such font.")
	}
	if f.arrived[sum] {
		return nil
	}
	if got := sha256.Sum256(b); hex.EncodeToString(got[:]) != sum {
		return apigpu.E(apigpu.InvalidRequest, nil, "The font has another sum than was said.")
	}
	if _, err := font.Check(b); err != nil {
		return err
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("make fonts folder: %w", err)
	}
	if err := os.WriteFile(f.path(n), b, 0o600); err != nil {
		return fmt.Errorf("write font: %w", err)
	}
	f.arrived[sum] = true
	if len(f.arrived) == len(f.sums) {
		close(f.whole)
	}
	return nil
}

func (f *fontFiles) path(n int) string { return filepath.Join(f.dir, strconv.Itoa(n)+".font") }

// with waits until all files are here, and returns a set that has them too.
func (f *fontFiles) with(ctx context.Context, fonts *font.Set) (*font.Set, error) {
	if f == nil || len(f.sums) == 0 || fonts == nil { // a text track needs none
		return fonts, nil
	}
	select {
	case <-f.whole:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	paths := make([]string, len(f.sums))
	for n := range paths {
		paths[n] = f.path(n)
	}
	return fonts.With(paths...)
}

// bringFonts takes the fonts of a request that came here itself.
func (j *job) bringFonts(files [][]byte) error {
	var sums []string
	bytes := map[string][]byte{}
	for _, b := range files {
		sum := sha256.Sum256(b)
		name := hex.EncodeToString(sum[:])
		if bytes[name] == nil {
			sums = append(sums, name)
		}
		bytes[name] = b
	}
	j.fonts = newFontFiles(j.dir, sums)
	for _, sum := range sums {
		if err := j.fonts.keep(sum, bytes[sum]); err != nil {
			return apigpu.AsError(err).WithField("font")
		}
	}
	return nil
}

func (w *Worker) pushFont(rw http.ResponseWriter, r *http.Request) (any, error) {
	j, err := w.find(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	attempt, err := strconv.Atoi(r.URL.Query().Get("attempt"))
	switch {
	case err != nil:
		return nil, apigpu.E(apigpu.InvalidRequest, err, "attempt must be a whole number.")
	case attempt != j.attempt:
		return nil, apigpu.E(apigpu.StaleAttempt, nil, "This worker has attempt %d.", j.attempt)
	case j.public().Status.Final():
		return nil, apigpu.E(apigpu.Conflict, nil, "The job has ended.")
	}
	b, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, apigpu.MaxFont))
	if err != nil {
		return nil, apigpu.E(apigpu.InvalidRequest, err, "The font ended before it was complete, or has more than %d bytes.", apigpu.MaxFont)
	}
	return struct{}{}, j.fonts.keep(r.PathValue("sum"), b)
}
