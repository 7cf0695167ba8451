// Package httpapi is the transport of the jobs API, written once: it decodes
// requests, waits, and encodes answers over the interface Jobs. The
// orchestrator implements Jobs with its queue, the worker in memory.
package httpapi

import (
	"context"
	"io"
	"time"

	"github.com/api-gpu/api-gpu"
)

// Caller is who asks, as its key says.
type Caller struct {
	// Name is the name of the key; jobs belong to it.
	Name string
	// Admin sees every job and reaches what steers the server.
	Admin bool
}

// MayUse reports whether the caller may see a job that client made. A caller
// without a name, which is nobody, may see none.
func (c Caller) MayUse(client string) bool {
	return c.Admin || c.Name != "" && c.Name == client
}

// Submission is a request for a job. Its spec is cleaned and valid.
type Submission struct {
	Spec apigpu.CaptionSpec
	// Upload names a video received with the request; empty when the spec
	// has an address.
	Upload string
	// Subtitle holds the bytes of a subtitle file received with the request,
	// or given as text; nil when the spec has an address.
	Subtitle []byte
	// Fonts are font files received with the request, not yet looked at.
	Fonts [][]byte

	// WebhookURL is called at the end of the job; empty for none.
	WebhookURL string
	// Base is the address under which the client reached the server, for
	// links in what is sent to WebhookURL; empty where it is not known.
	Base string
	// Key is the Idempotency-Key of the request; empty for none.
	Key string
}

// Filter selects jobs of a listing, newest first.
type Filter struct {
	Status apigpu.Status // empty: any
	Since  time.Time     // created at or after; zero: any
	Cursor string        // after this job of an earlier page
	Limit  int           // 1 to 100
}

// Video is the finished result of a job.
type Video struct {
	Content io.ReadSeekCloser
	// SHA256 is that of the whole file, in hex: its ETag.
	SHA256   string
	ModTime  time.Time
	Filename string
}

// Jobs is what the jobs API serves. Errors are *apigpu.Error; a job that the
// caller may not see is JobNotFound, like one that never was. All methods are
// safe for concurrent use.
//
// The jobs it returns lack video_url and links, which depend on how the server
// was reached: this package adds them.
type Jobs interface {
	// Receive stores the bytes of an uploaded video and names them. The name
	// must be handed to Submit or to Discard.
	Receive(ctx context.Context, who Caller, r io.Reader) (upload string, err error)

	// Discard frees what Receive stored. Nothing happens for a name that
	// Submit has taken over, or that is not known.
	Discard(upload string)

	// Submit checks the subtitles and records a job that goes on whatever
	// becomes of the caller. An error means that nothing was recorded.
	//
	// A submission with a key that the caller used in the last 24 hours, for a
	// job that still exists, is replayed: that job is returned as it is, and
	// nothing is fetched, checked or taken over. IdempotencyMismatch when
	// that job was asked for in other words.
	Submit(ctx context.Context, who Caller, s Submission) (job apigpu.Job, replayed bool, err error)

	// Validate tells what Submit would find out, and records nothing. A
	// submission without a video is looked at for its subtitles alone. With
	// cues they are part of the answer.
	Validate(ctx context.Context, who Caller, s Submission, cues bool) (apigpu.Validation, error)

	// Preview draws what Submit would make, one frame or nine, and records
	// nothing. PreviewUnavailable where nothing is there that draws; no machine
	// is rented for it.
	Preview(ctx context.Context, who Caller, s Submission, ask apigpu.PreviewAsk) (apigpu.Preview, error)

	// Job returns a job as it is.
	Job(ctx context.Context, who Caller, id string) (apigpu.Job, error)

	// Wait returns the job once its revision is above after, or as it is
	// when ctx ends: the end of ctx is no error.
	Wait(ctx context.Context, who Caller, id string, after int64) (apigpu.Job, error)

	// List returns the jobs that the caller may see, newest first, and the
	// cursor of the next page ("" on the last).
	List(ctx context.Context, who Caller, f Filter) ([]apigpu.Job, string, error)

	// Cancel asks for the end of a job. A queued job is canceled when it
	// returns; a running one soon after. Canceling a job that has ended is
	// Conflict.
	Cancel(ctx context.Context, who Caller, id string) (apigpu.Job, error)

	// Delete forgets a job that has ended, and its files. One that has not
	// is canceled first, and is Conflict until its end.
	Delete(ctx context.Context, who Caller, id string) error

	// Video opens the result. NotReady before the job succeeded, Gone after
	// the result's end, and the job's own error when it failed.
	Video(ctx context.Context, who Caller, id string) (Video, error)

	// Thumbnail opens the thumbnail of a result. NoThumbnail where none was
	// asked for, or none could be made; else as Video.
	Thumbnail(ctx context.Context, who Caller, id string) (Video, error)
}

// NoThumbnail is why a job has no thumbnail.
func NoThumbnail(cause error) *apigpu.Error {
	return apigpu.E(apigpu.NotFound, cause, "This job has no thumbnail.").WithHint("Ask for one by output.thumbnail, a time in seconds.")
}
