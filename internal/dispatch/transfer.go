package dispatch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/blob"
	"github.com/api-gpu/api-gpu/internal/crash"
	"github.com/api-gpu/api-gpu/internal/fetch"
	"github.com/api-gpu/api-gpu/internal/pause"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// maxPushes bounds how often in a row a push is begun again without bringing
// the worker further.
const maxPushes = 8

// pushVideo streams the video from our store, or from its source, to the
// worker. A cut stream goes on where the worker says it ended.
func (d *driver) pushVideo(ctx context.Context, worker *client.Client) error {
	var version fetch.Info
	var best int64
	for try := 1; ; try++ {
		from, err := d.pushOnce(ctx, worker, &version)
		if from > best {
			try, best = 1, from
		}
		if err == nil || ctx.Err() != nil || try == maxPushes || !pushAgain(err) {
			return err
		}
		if apigpu.CodeOf(err) == apigpu.Conflict && d.endedThere(ctx, worker) {
			return nil // follow learns how
		}
		d.log.DebugContext(ctx, "push cut", "error", err)
		if !pause.For(ctx, min(retryMin<<try, retryMax)) {
			return context.Cause(ctx)
		}
	}
}

// endedThere reports whether the worker has ended the job: it takes no more of
// its video then.
func (d *driver) endedThere(ctx context.Context, worker *client.Client) bool {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	held, err := worker.Job(ctx, d.job.ID, 0)
	return err == nil && held.Status.Final()
}

// pushAgain reports whether a push failed on the way and not at its source.
func pushAgain(err error) bool {
	code := apigpu.CodeOf(err)
	return code == apigpu.Unavailable || code == apigpu.Conflict || errors.Is(err, errChanged)
}

var errChanged = errors.New("the source changed while it was read")

// pushOnce pushes what the worker lacks, and returns how much it had before.
func (d *driver) pushOnce(ctx context.Context, worker *client.Client, version *fetch.Info) (from int64, err error) {
	var state apigpu.InputState
	err = d.retry(ctx, func(ctx context.Context) (err error) {
		state, err = worker.Input(ctx, d.job.ID)
		return lostIfUnknown(err)
	})
	from = state.Received
	if err != nil || state.Size >= 0 && state.Received == state.Size { // it has all of it
		return from, err
	}
	source, size, err := d.openVideo(ctx, state.Received, version)
	if errors.Is(err, errChanged) {
		source, size, err = d.openVideo(ctx, 0, version)
		state.Received = 0
	}
	if err != nil {
		return from, err
	}
	defer source.Close()
	counted := &watchedReader{r: source}
	crash.Point("dispatch.push")
	_, err = worker.PushInput(ctx, d.job.ID, d.job.Attempt, state.Received, size, counted)
	d.pushed = max(d.pushed, state.Received) + counted.n // what it had may be of a driver before us
	crash.Point("dispatch.pushed")
	if counted.err != nil { // the source's fault, whatever the call says
		return from, counted.err
	}
	return from, lostIfUnknown(err)
}

// openVideo opens the job's video at an offset: the uploaded file, or its
// source on the network.
func (d *driver) openVideo(ctx context.Context, offset int64, version *fetch.Info) (io.ReadCloser, int64, error) {
	if d.job.Upload == "" {
		source, info, err := d.cfg.Fetch.Open(ctx, d.job.Spec.URLVideo, d.job.Spec.HeadersVideo, offset)
		if errors.Is(err, fetch.ErrNoRange) || errors.Is(err, fetch.ErrChanged) {
			return nil, 0, errChanged
		}
		if err != nil {
			return nil, 0, err
		}
		if offset > 0 && !version.Same(info) {
			return nil, 0, errors.Join(errChanged, source.Close())
		}
		*version = info
		return source, info.Size, nil
	}
	file, object, err := d.cfg.Blob.Open(ctx, d.job.Upload)
	if err != nil {
		return nil, 0, apigpu.E(apigpu.Internal, err, "The uploaded video is gone.")
	}
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return nil, 0, errors.Join(fmt.Errorf("seek upload: %w", err), file.Close())
	}
	return file, object.Size, nil
}

// watchedReader keeps an error that is not the end.
type watchedReader struct {
	r   io.Reader
	n   int64 // bytes so far
	err error
}

func (w *watchedReader) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.n += int64(n)
	crash.Point("dispatch.push.read")
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

// bringHome stores the result chunk by chunk and commits it when it is whole:
// length and SHA-256 are checked against the worker's manifest.
func (d *driver) bringHome(ctx context.Context, worker *client.Client, done apigpu.Job) (queue.Outcome, error) {
	began := d.cfg.Fleet.Elapsed()
	var manifest apigpu.Manifest
	err := d.retry(ctx, func(ctx context.Context) (err error) {
		manifest, err = worker.Manifest(ctx, d.job.ID)
		return lostIfUnknown(err)
	})
	crash.Point("dispatch.manifest")
	if err != nil {
		return queue.Outcome{}, err
	}
	if err := believable(manifest); err != nil {
		return queue.Outcome{}, err
	}
	d.size = manifest.Length
	if err := d.store(ctx, worker, manifest); err != nil {
		return queue.Outcome{}, err
	}
	stats := done.Stats
	stats.UploadMS, stats.Worker = (d.cfg.Fleet.Elapsed() - began).Milliseconds(), d.job.Instance
	video := apigpu.Video{}
	if done.Video != nil {
		video = *done.Video
	}
	video.Bytes, video.SHA256 = manifest.Length, manifest.SHA256
	warnings := append(done.Warnings, d.bringThumbnail(ctx, worker, done)...)
	return queue.Outcome{Video: video, Captions: done.Captions, Stats: stats, Warnings: warnings, Result: d.resultKey()}, nil
}

// bringThumbnail stores the picture beside the result, where one was asked for.
// A job does not fail for want of it, and is not held up for long.
func (d *driver) bringThumbnail(ctx context.Context, worker *client.Client, done apigpu.Job) []apigpu.Warning {
	failed := func(w apigpu.Warning) bool { return w.Code == apigpu.ThumbnailFailed }
	if d.job.Spec.Output.Thumbnail == nil || slices.ContainsFunc(done.Warnings, failed) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*callTimeout)
	defer cancel()
	err := d.retry(ctx, func(ctx context.Context) error {
		picture, err := worker.Thumbnail(ctx, d.job.ID)
		if err != nil {
			return err
		}
		_, err = d.cfg.Blob.Receive(ctx, queue.ThumbnailOf(d.resultKey()), bytes.NewReader(picture), apigpu.MaxThumbnail)
		return err
	})
	if err == nil {
		return nil
	}
	d.log.WarnContext(ctx, "no thumbnail", "error", err)
	return []apigpu.Warning{{Code: apigpu.ThumbnailFailed, Message: "The thumbnail could not be brought home."}}
}

// maxResult bounds a result, in bytes: what a worker's FFmpeg stops at
// (ffmpeg.DefaultLimits), and room for the index before it.
const maxResult = 9 << 30

// believable refuses a manifest before its bytes are fetched: room is
// reserved for the length that it names, and its chunks must not be more.
func believable(m apigpu.Manifest) error {
	err := blob.CheckManifest(m)
	if err == nil && m.Length > maxResult {
		err = fmt.Errorf("a result of %d bytes", m.Length)
	}
	if err != nil {
		return apigpu.E(apigpu.ResultLost, err, "The result is not what its worker described.")
	}
	return nil
}

// The keys hold the attempt: what an earlier one left is never mixed in.
func (d *driver) partialKey() string { return fmt.Sprintf("%s.%d", d.job.ID, d.job.Attempt) }
func (d *driver) resultKey() string  { return d.partialKey() + ".mp4" }

// store tries until the result is here. A full disk, or a source that gives
// nothing, is waited out for ResultGrace: then the machine is worth more than
// its result.
func (d *driver) store(ctx context.Context, worker *client.Client, m apigpu.Manifest) error {
	wait, patience := retryMin, d.cfg.Fleet.Elapsed()+d.cfg.ResultGrace
	for {
		stored, err := d.storeOnce(ctx, worker, m)
		if stored > 0 {
			wait, patience = retryMin, d.cfg.Fleet.Elapsed()+d.cfg.ResultGrace
		}
		code := apigpu.CodeOf(err)
		switch {
		case err == nil, ctx.Err() != nil, code == apigpu.GPULost, code == apigpu.ResultLost:
			return err
		case d.cfg.Fleet.Elapsed() >= patience:
			return apigpu.E(apigpu.ResultLost, err, "The result could not be stored.")
		}
		d.log.WarnContext(ctx, "result not stored yet", "error", err)
		if !pause.For(ctx, wait) {
			return context.Cause(ctx)
		}
		wait = min(2*wait, retryMax)
	}
}

// storeOnce fetches the chunks that are missing, and commits. It reports how
// many bytes it stored.
func (d *driver) storeOnce(ctx context.Context, worker *client.Client, m apigpu.Manifest) (stored int64, err error) {
	hold, err := d.cfg.Blob.ReserveResult(ctx, m.Length, d.job.Room)
	if err != nil {
		return 0, err
	}
	defer hold.Release()
	partial, err := d.cfg.Blob.Partial(ctx, d.partialKey())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, partial.Close()) }()
	have := map[apigpu.Chunk]bool{}
	var at int64
	for _, c := range partial.Have() {
		have[c] = true
		at += c.Length
	}
	hold.Wrote(at)
	for _, c := range m.Chunks {
		if have[c] {
			continue
		}
		data, err := d.fetchChunk(ctx, worker, c)
		if err != nil {
			return stored, err
		}
		if err := partial.WriteChunk(ctx, c, data); err != nil {
			return stored, err
		}
		hold.Wrote(c.Length)
		stored += c.Length
		d.report.home(ctx, at+stored, m.Length)
	}
	_, err = partial.Commit(ctx, m, d.resultKey())
	crash.Point("dispatch.stored")
	if apigpu.CodeOf(err) == apigpu.Conflict { // waiting mends nothing: see blob.Partial.Commit
		return stored, apigpu.E(apigpu.ResultLost, err, "The result is not what its worker described.")
	}
	return stored, err
}

func (d *driver) fetchChunk(ctx context.Context, worker *client.Client, c apigpu.Chunk) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // 8 MiB at 140 KiB/s
	defer cancel()
	data, err := worker.Chunk(ctx, d.job.ID, c)
	crash.Point("dispatch.chunk")
	if err == nil {
		d.heard()
	}
	return data, lostIfUnknown(err)
}
