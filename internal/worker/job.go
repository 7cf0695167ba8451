package worker

import (
	"context"
	"sync"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// Names in the work folder.
const (
	jobDirPrefix = "job_"
	uploadPrefix = "upload_"
	proofDir     = "proof"
)

// job is one attempt of one job, in memory. Its folder is its own; input and
// output have fixed names in it.
type job struct {
	id         string
	attempt    int
	client     string
	spec       apigpu.CaptionSpec
	document   caption.Document
	requireGPU bool
	dir        string
	uploaded   bool // the video is in dir already
	fonts      *fontFiles
	input      *input // pushed video; nil when it is fetched
	keepFor    time.Duration

	ctx   context.Context // of the whole attempt; it ends with stop
	stop  context.CancelCauseFunc
	ended chan struct{} // closed when nothing of it runs any more

	news     *news
	mu       sync.Mutex
	shown    apigpu.Job
	manifest apigpu.Manifest
}

// public returns the job as it is shown.
func (j *job) public() apigpu.Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	shown := j.shown
	shown.ETASeconds = eta(shown, time.Now())
	return shown
}

// change shows something new of the job, unless it has ended.
func (j *job) change(do func(*apigpu.Job)) {
	j.mu.Lock()
	defer func() {
		j.mu.Unlock()
		j.news.wake()
	}()
	if j.shown.Status.Final() {
		return
	}
	do(&j.shown)
	j.shown.Revision++
}

// wait returns the job once its revision is above after, or as it is when ctx
// ends.
func (j *job) wait(ctx context.Context, after int64) apigpu.Job {
	for {
		woken := j.news.next()
		shown := j.public()
		if shown.Revision > after {
			return shown
		}
		select {
		case <-woken:
		case <-ctx.Done():
			return shown
		}
	}
}

// eta guesses the seconds until the end: as fast as so far.
func eta(j apigpu.Job, now time.Time) *float64 {
	if j.Status != apigpu.Running || j.StartedAt == nil || j.Progress < 2 {
		return nil
	}
	left := max(0, now.Sub(*j.StartedAt).Seconds()*(100-j.Progress)/j.Progress)
	return &left
}

// news wakes all who wait, each time something changed.
type news struct {
	mu sync.Mutex
	ch chan struct{}
}

func newNews() *news { return &news{ch: make(chan struct{})} }

// next returns a channel that is closed at the next wake.
func (n *news) next() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ch
}

func (n *news) wake() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.ch)
	n.ch = make(chan struct{})
}
