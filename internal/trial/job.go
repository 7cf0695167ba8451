package trial

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/blob"
	"github.com/api-gpu/api-gpu/internal/mp4"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// clip is a test picture of 2 s with a tone, 320 by 180 pixels: ffmpeg -f lavfi -i
// testsrc2=s=320x180:r=25:d=2 -f lavfi -i sine=f=440:d=2 -c:v libx264 -crf 40 -c:a aac.
//
//go:embed clip.mp4
var clip []byte

const (
	clipWidth, clipHeight = 320, 180
	clipLength            = 2 * time.Second
	clipSlack             = 200 * time.Millisecond
	subtitles             = "1\n00:00:00,200 --> 00:00:01,800\napi-gpu was here\n"
	jobID                 = "trial"
	// maxResult bounds the result that is fetched, in bytes.
	maxResult = 32 << 20
	pollJob   = 5 * time.Second
)

// Ask is what the job may take, for the reserve: two minutes are ample.
func Ask() queue.Ask { return queue.Ask{Run: 2 * time.Minute, Size: int64(len(clip)), Room: 1 << 20} }

// caption burns a caption into the clip on a worker, fetches the result and
// looks at it. moved is the size of the result.
func caption(ctx context.Context, c *client.Client, requireGPU bool, within time.Duration) (moved int64, err error) {
	_, err = c.Assign(ctx, jobID, apigpu.Assignment{
		Attempt: 1, Spec: apigpu.CaptionSpec{Output: apigpu.Output{Quality: apigpu.Balanced}}, Subtitle: []byte(subtitles), Push: true,
		DeadlineSeconds: within.Seconds(), RequireGPU: requireGPU,
	})
	if err != nil {
		return 0, fmt.Errorf("give it the job: %w", err)
	}
	if _, err := c.PushInput(ctx, jobID, 1, 0, int64(len(clip)), bytes.NewReader(clip)); err != nil {
		return 0, fmt.Errorf("push the clip: %w", err)
	}
	job, err := c.Job(ctx, jobID, pollJob)
	for ; err == nil && !job.Status.Final(); job, err = c.Job(ctx, jobID, pollJob) {
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("follow the job: %w", err)
	case job.Error != nil:
		return 0, fmt.Errorf("the job ended as %s: %w", job.Status, job.Error)
	case job.Status != apigpu.Succeeded:
		return 0, fmt.Errorf("the job ended as %s", job.Status)
	case job.Captions == nil || job.Captions.CuesUsed != 1:
		return 0, errors.New("the worker says that it showed no caption")
	}
	result, err := fetch(ctx, c)
	if err != nil {
		return 0, err
	}
	return int64(len(result)), look(result)
}

// fetch gets the result whole, checked against its manifest.
func fetch(ctx context.Context, c *client.Client) ([]byte, error) {
	m, err := c.Manifest(ctx, jobID)
	if err == nil {
		err = blob.CheckManifest(m)
	}
	if err == nil && m.Length > maxResult {
		err = fmt.Errorf("a result of %d bytes", m.Length)
	}
	if err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	whole := make([]byte, m.Length)
	for _, chunk := range m.Chunks {
		part, err := c.Chunk(ctx, jobID, chunk)
		if err != nil {
			return nil, fmt.Errorf("fetch the result: %w", err)
		}
		copy(whole[chunk.Offset:], part)
	}
	if sum := sha256.Sum256(whole); hex.EncodeToString(sum[:]) != strings.ToLower(m.SHA256) {
		return nil, errors.New("the result is not what its worker described")
	}
	return whole, nil
}

// look checks that the result is the clip in size and length, drawn anew.
func look(result []byte) error {
	info, err := mp4.Parse(bytes.NewReader(result), int64(len(result)))
	switch {
	case err != nil:
		return fmt.Errorf("the result cannot be read: %w", err)
	case bytes.Equal(result, clip):
		return errors.New("the result is the clip itself, without its caption")
	case info.Width != clipWidth || info.Height != clipHeight || (info.Duration-clipLength).Abs() > clipSlack:
		return fmt.Errorf("the result has %d by %d pixels and lasts %s, not %d by %d and %s",
			info.Width, info.Height, info.Duration, clipWidth, clipHeight, clipLength)
	}
	return nil
}
