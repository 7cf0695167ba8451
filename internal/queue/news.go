package queue

import (
	"context"
	"sync"
	"time"
)

// pollGap is how often a waiter looks at the row by itself: news comes from
// this process only, and another may share the database.
const pollGap = time.Second

// news tells waiters that jobs changed. Losing a message loses nothing.
type news struct {
	mu       sync.Mutex
	jobs     map[string]map[chan struct{}]bool
	watchers []chan struct{}
}

func newNews() *news { return &news{jobs: map[string]map[chan struct{}]bool{}} }

// spread wakes whoever waits for one of these jobs, and every watcher.
func (n *news) spread(ids ...string) {
	if len(ids) == 0 {
		return
	}
	n.tell(ids...)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, ch := range n.watchers {
		poke(ch)
	}
}

// tell wakes whoever waits for one of these jobs.
func (n *news) tell(ids ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range ids {
		for ch := range n.jobs[id] {
			poke(ch)
		}
	}
}

func (n *news) subscribe(id string) (ch chan struct{}, cancel func()) {
	ch = make(chan struct{}, 1)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.jobs[id] == nil {
		n.jobs[id] = map[chan struct{}]bool{}
	}
	n.jobs[id][ch] = true
	return ch, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.jobs[id], ch)
		if len(n.jobs[id]) == 0 {
			delete(n.jobs, id)
		}
	}
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // it is awake already
	}
}

// Watch returns a channel that is poked whenever a job is submitted, starts,
// ends, goes back to the queue, or is asked to end: all that decisions depend
// on, which progress and heartbeats are not. It is poked for as long as the
// queue lives.
func (q *Queue) Watch() <-chan struct{} {
	ch := make(chan struct{}, 1)
	q.news.mu.Lock()
	defer q.news.mu.Unlock()
	q.news.watchers = append(q.news.watchers, ch)
	return ch
}

// Wait returns the job once its revision is above after, or as it is when ctx
// ends; the end of ctx is no error. A job that is deleted meanwhile is
// JobNotFound.
func (q *Queue) Wait(ctx context.Context, id string, after int64) (Job, error) {
	changed, cancel := q.news.subscribe(id)
	defer cancel()
	tick := time.NewTicker(pollGap)
	defer tick.Stop()
	for {
		// The read must not fail because the wait is over.
		j, err := q.Job(context.WithoutCancel(ctx), id)
		if err != nil || j.Revision > after || ctx.Err() != nil {
			return j, err
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// Revision of a job that no job has: Wait with it returns at once.
const anyRevision = 0

// Final waits until the job has ended, or returns it as it is when ctx ends.
func (q *Queue) Final(ctx context.Context, id string) (Job, error) {
	j, err := q.Wait(ctx, id, anyRevision)
	for err == nil && !j.Status.Final() && ctx.Err() == nil {
		j, err = q.Wait(ctx, id, j.Revision)
	}
	return j, err
}
