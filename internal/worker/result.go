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

// seal shows what the result is.
func (w *Worker) seal(ctx context.Context, j *job, r rendered) error {
	manifest, err := manifestOf(ctx, filepath.Join(j.dir, ffmpeg.OutputFile))
	if err != nil {
		return err
	}
	width, height := r.out.Display()
	video := apigpu.Video{
		Bytes: manifest.Length, SHA256: manifest.SHA256, Duration: r.out.Duration.Seconds(),
		Width: width, Height: height, FPS: r.out.Video.AvgRate.Float(), Codec: r.out.Video.Codec, HDR: r.out.Video.HDR(),
	}
	if len(r.out.Audio) > 0 {
		video.Audio = r.out.Audio[0].Codec
	}
	warnings := append(ffmpeg.Notes(r.want, r.in, r.able), r.report.Warnings(r.in, r.out)...)
	warnings = append(warnings, w.thumbnail(ctx, j, r)...)
	crash.Point("worker.seal")
	j.mu.Lock()
	j.manifest = manifest
	j.mu.Unlock()
	j.change(func(shown *apigpu.Job) {
		shown.Video = &video
		shown.Warnings = append(shown.Warnings, warnings...)
	})
	return nil
}

// sumOf is the SHA-256 of a small file, in hex.
func sumOf(path string) (string, error) {
	content, err := os.ReadFile(path)
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:]), err
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
