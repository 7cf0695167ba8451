package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/api-gpu/api-gpu"
)

// Download writes the video of a finished job to w, from its first byte to
// its last, and verifies its length and SHA-256 against job.Video. After a
// cut it goes on where it was. The bytes in w count for something only when
// the error is nil: write to a temporary file and rename it then.
//
// The code of the error is NotReady for a job without a video, Conflict when
// the server has another video than the job tells of, and ResultLost when the
// bytes are not those of the video. An error of w comes back wrapped.
func (c *Client) Download(ctx context.Context, job apigpu.Job, w io.Writer) error {
	if job.Video == nil {
		return apigpu.E(apigpu.NotReady, nil, "The job has no video.").WithJob(job.ID)
	}
	d := download{c: c, job: job, to: w, sum: sha256.New()}
	again := patience{pace: c.pace}
	for d.have < job.Video.Bytes {
		before := d.have
		err := d.fetch(ctx)
		switch {
		case err == nil:
			continue // nothing is missing: the loop ends
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errWrite), !apigpu.AsError(err).Retryable:
			return err
		}
		if err := again.rest(ctx, err, d.have > before); err != nil {
			return err
		}
	}
	if sum := hex.EncodeToString(d.sum.Sum(nil)); !strings.EqualFold(sum, job.Video.SHA256) {
		return apigpu.E(apigpu.ResultLost, nil, "The video arrived damaged: its SHA-256 is not that of the job.").WithJob(job.ID)
	}
	return nil
}

// download is the state of one Download.
type download struct {
	c    *Client
	job  apigpu.Job
	to   io.Writer
	sum  hash.Hash
	have int64 // bytes written to to
}

// errWrite marks an error of the writer: no new try mends it.
var errWrite = errors.New("write video")

// fetch makes one request for what is missing and writes what comes of it. A
// nil error means that nothing is missing any more.
func (d *download) fetch(ctx context.Context) error {
	resp, err := d.c.send(ctx, videoCall(d.job, d.have, d.c.pace))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	etag := strings.Trim(strings.TrimPrefix(resp.Header.Get("ETag"), "W/"), `"`)
	if etag != "" && !strings.EqualFold(etag, d.job.Video.SHA256) {
		return apigpu.E(apigpu.Conflict, nil, "The server has another video for this job by now.").WithJob(d.job.ID)
	}
	body := io.Reader(resp.Body)
	if resp.StatusCode == http.StatusPartialContent {
		if start, _, ok := contentRange(resp.Header.Get("Content-Range")); !ok || start != d.have {
			return apigpu.E(apigpu.Internal, nil, "The server at %s sends another part than was asked for.", d.c.host())
		}
	} else if _, err := io.CopyN(io.Discard, body, d.have); err != nil { // the whole again
		return d.c.lost(ctx, err)
	}
	return d.copy(ctx, body)
}

// copy writes the rest of the video. A server that sends more than the job
// tells of is not believed; one that sends less is asked again.
func (d *download) copy(ctx context.Context, body io.Reader) error {
	buf := make([]byte, 256<<10)
	for {
		n, err := body.Read(buf)
		if int64(n) > d.job.Video.Bytes-d.have {
			e := apigpu.E(apigpu.ResultLost, nil, "The server sends more than the %d bytes of the video.", d.job.Video.Bytes)
			e.Retryable = false
			return e.WithJob(d.job.ID)
		}
		if _, err := d.to.Write(buf[:n]); err != nil {
			return fmt.Errorf("%w: %w", errWrite, err)
		}
		d.sum.Write(buf[:n]) // never fails: see hash.Hash
		d.have += int64(n)
		switch {
		case errors.Is(err, io.EOF) && d.have == d.job.Video.Bytes:
			return nil
		case err != nil:
			return d.c.lost(ctx, err)
		}
	}
}

// videoCall asks for the video from an offset on, as long as it is still the
// same one (RFC 9110, section 13.1.5).
func videoCall(job apigpu.Job, from int64, p pace) call {
	k := call{
		method: http.MethodGet, path: []string{"jobs", job.ID, "video"}, silence: p.answer,
		header: videoHeader(),
	}
	if from > 0 {
		k.header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		k.header.Set("If-Range", `"`+job.Video.SHA256+`"`)
	}
	return k
}

// videoHeader asks for the bytes as they are: offsets mean nothing in what a
// proxy has compressed.
func videoHeader() http.Header {
	return http.Header{"Accept": {"video/mp4, application/problem+json"}, "Accept-Encoding": {"identity"}}
}

// contentRange reads "bytes 5-9/20": the first and the last byte of a part.
func contentRange(s string) (first, last int64, ok bool) {
	span, ok := strings.CutPrefix(s, "bytes ")
	if !ok {
		return 0, 0, false
	}
	span, _, _ = strings.Cut(span, "/")
	from, to, _ := strings.Cut(span, "-")
	first, err1 := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	return first, last, err1 == nil && err2 == nil && 0 <= first && first <= last
}
