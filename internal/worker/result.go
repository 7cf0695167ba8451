package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/crash"
	"github.com/api-gpu/api-gpu/internal/ffmpeg"
)

// seal checks the result and shows what it is.
func (w *Worker) seal(ctx context.Context, j *job, in ffmpeg.Probe, a ffmpeg.Abilities, report ffmpeg.Report) error {
	path := filepath.Join(j.dir, ffmpeg.OutputFile)
	out, err := w.cfg.Tools.Verify(ctx, path, in, report, w.cfg.Limits)
	if err != nil {
		return err
	}
	manifest, err := manifestOf(ctx, path)
	if err != nil {
		return err
	}
	width, height := out.Display()
	video := apigpu.Video{
		Bytes: manifest.Length, SHA256: manifest.SHA256, Duration: out.Duration.Seconds(),
		Width: width, Height: height, FPS: out.Video.AvgRate.Float(), Codec: out.Video.Codec,
	}
	if len(out.Audio) > 0 {
		video.Audio = out.Audio[0].Codec
	}
	crash.Point("worker.seal")
	j.mu.Lock()
	j.manifest = manifest
	j.mu.Unlock()
	j.change(func(shown *apigpu.Job) {
		shown.Video = &video
		shown.Warnings = append(append(shown.Warnings, ffmpeg.Notes(in, a)...), report.Warnings(in, out)...)
	})
	return nil
}

// manifestOf reads a file once and returns its chunks and its digest.
func manifestOf(ctx context.Context, path string) (m apigpu.Manifest, err error) {
	file, err := os.Open(path)
	if err != nil {
		return m, err
	}
	defer file.Close()
	whole, buf := sha256.New(), make([]byte, apigpu.MaxChunk)
	for ctx.Err() == nil {
		n, err := io.ReadFull(file, buf)
		if n > 0 {
			sum := sha256.Sum256(buf[:n])
			m.Chunks = append(m.Chunks, apigpu.Chunk{Offset: m.Length, Length: int64(n), SHA256: hex.EncodeToString(sum[:])})
			m.Length += int64(n)
			whole.Write(buf[:n])
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			m.SHA256 = hex.EncodeToString(whole.Sum(nil))
			return m, nil
		case err != nil:
			return m, fmt.Errorf("read result: %w", err)
		}
	}
	return m, context.Cause(ctx)
}
