package worker

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/test/need"
)

func sumOfBytes(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// TestFontsSentToJob gives a job its fonts after it was assigned: it waits for
// them, and draws with them. A file that is none never reaches libass.
func TestFontsSentToJob(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	file, junk := need.Wonder(t), []byte("no font")
	b := realBench(t, nil)
	spec := apigpu.CaptionSpec{}
	spec.Style.Font.Family = "Wonder Type"
	video := black(t)
	b.assign(t, "job_1", apigpu.Assignment{
		Attempt: 1, Spec: spec, Subtitle: []byte(oneCue), Push: true, DeadlineSeconds: 60, Fonts: []string{sumOfBytes(file)},
	})
	push := func(sum string, b2 []byte, attempt int) error {
		return b.client.PushFont(t.Context(), "job_1", attempt, sum, b2)
	}
	wantCode(t, push(sumOfBytes(junk), junk, 1), apigpu.Conflict)
	wantCode(t, push(sumOfBytes(file), junk, 1), apigpu.InvalidRequest)
	wantCode(t, push(sumOfBytes(file), file, 2), apigpu.StaleAttempt)
	if _, err := b.client.PushInput(t.Context(), "job_1", 1, 0, int64(len(video)), bytes.NewReader(video)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it may be repeated
		if err := push(sumOfBytes(file), file, 1); err != nil && apigpu.CodeOf(err) != apigpu.Conflict {
			t.Fatal(err)
		}
	}
	if j := b.final(t, "job_1"); j.Status != apigpu.Succeeded || !slices.Equal(j.Captions.Fonts, []string{"Wonder Type"}) || len(j.Warnings) > 0 {
		t.Errorf("%s %v %+v %v", j.Status, j.Error, j.Captions, j.Warnings)
	}
	b.assign(t, "job_2", apigpu.Assignment{
		Attempt: 1, Spec: spec, Subtitle: []byte(oneCue), Push: true, DeadlineSeconds: 60, Fonts: []string{sumOfBytes(junk)},
	})
	wantCode(t, b.client.PushFont(t.Context(), "job_2", 1, sumOfBytes(junk), junk), apigpu.FontUnreadable)
	if left, _ := os.ReadDir(b.dir); len(left) != 2 {
		t.Errorf("%d folders", len(left))
	}
}

// TestFontsSentToWorker sends fonts with a request that a worker alone answers.
func TestFontsSentToWorker(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	file := need.Wonder(t)
	b := realBench(t, nil)
	ask := func(font []byte) (apigpu.Job, error) {
		r := client.Request{
			Video:    &client.File{Name: "a.mp4", Content: bytes.NewReader(black(t))},
			Subtitle: &client.File{Name: "a.srt", Content: strings.NewReader(oneCue)},
			Fonts:    []client.File{{Name: "../w.ttf", Content: bytes.NewReader(font)}},
			Wait:     time.Minute,
		}
		r.Spec.Style.Font.Family = "Wonder Type"
		return b.client.Caption(t.Context(), r)
	}
	if j, err := ask(file); err != nil || !slices.Equal(j.Captions.Fonts, []string{"Wonder Type"}) {
		t.Errorf("%+v %v", j.Captions, err)
	}
	if _, err := ask([]byte("no font")); apigpu.CodeOf(err) != apigpu.FontUnreadable {
		t.Errorf("junk: %v", err)
	}
}
