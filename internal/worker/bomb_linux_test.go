package worker

import (
	"bytes"
	"testing"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/test/need"
)

// A video that takes more memory than there is for it ends its own job, with
// a code that tells, and leaves nothing; the worker goes on with the next.
func TestBombEndsItsOwnJob(t *testing.T) {
	need.Long(t)
	need.FFmpeg(t)
	t.Parallel()
	b := realBench(t, func(cfg *Config) { cfg.Tools.Memory = 300 << 20 })
	bomb, err := run("-f", "lavfi", "-i", "color=black:s=3840x2160:r=5:d=1", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p",
		"-f", "mp4", "-movflags", "frag_keyframe+empty_moov", "pipe:1")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		id    string
		video []byte
		want  apigpu.Code // empty: it succeeds
	}{{"job_1", bomb, apigpu.EncoderFailed}, {"job_2", black(t), ""}} {
		b.assign(t, c.id, pushed(1))
		if _, err := b.client.PushInput(t.Context(), c.id, 1, 0, int64(len(c.video)), bytes.NewReader(c.video)); err != nil {
			t.Fatal(err)
		}
		j := b.final(t, c.id)
		if c.want == "" && j.Status != apigpu.Succeeded || c.want != "" && (j.Error == nil || j.Error.Code != c.want) {
			t.Errorf("%s: %s %v, want %s", c.id, j.Status, j.Error, c.want)
		}
		if c.want == "" {
			continue
		}
		if left := names(t, b.dir); len(left) != 0 {
			t.Errorf("%s left behind: %q", c.id, left)
		}
	}
}
