package queue

import (
	"context"
	"crypto/rand"
	"database/sql"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/api-gpu/api-gpu/internal/db"
)

// How often a waiter looks at the row by itself: news from other processes
// comes only while Follow runs, and may be lost then too.
const (
	pollGap      = time.Second
	pollFollowed = 15 * time.Second
)

// reach is who is told of a change.
type reach string

const (
	nobody reach = ""
	tell   reach = "t" // who waits for the job
	spread reach = "s" // and who watches the queue
)

// anyJob stands for all jobs. It is told where more than manyNews changed.
const (
	anyJob   = "*"
	manyNews = 100
)

// news tells waiters that jobs changed. Losing a message loses nothing.
type news struct {
	self     string // this process, in what it tells others
	followed atomic.Bool

	mu       sync.Mutex
	jobs     map[string]map[chan struct{}]bool
	watchers []chan struct{}
}

func newNews() *news {
	return &news{self: rand.Text(), jobs: map[string]map[chan struct{}]bool{}}
}

// Follow hears what other processes change, until ctx ends: then a wait ends
// as soon as the change is committed (PostgreSQL) or within a second of it
// (SQLite).
func (q *Queue) Follow(ctx context.Context, log *slog.Logger) {
	q.news.followed.Store(true)
	defer q.news.followed.Store(false)
	q.db.Listen(ctx, log, q.news.hear)
}

// notify tells other processes what tx changed.
func (q *Queue) notify(ctx context.Context, tx *sql.Tx, how reach, ids []string) error {
	if how == nobody {
		return nil
	}
	if len(ids) > manyNews {
		ids = []string{anyJob}
	}
	for _, id := range ids {
		if err := q.db.Notify(ctx, tx, q.news.self+" "+string(how)+" "+id); err != nil {
			return err
		}
	}
	return nil
}

// hear passes on what another process told, and leaves out what was our own:
// that was told here at once.
func (n *news) hear(message string) {
	self, rest, _ := strings.Cut(message, " ")
	how, id, _ := strings.Cut(rest, " ")
	switch {
	case message == db.Anything || id == anyJob && self != n.self:
		n.all()
	case self == n.self:
	case reach(how) == tell:
		n.tell(id)
	case reach(how) == spread:
		n.spread(id)
	}
}

// all wakes everybody.
func (n *news) all() {
	n.mu.Lock()
	ids := slices.Collect(maps.Keys(n.jobs))
	n.mu.Unlock()
	n.spread(append(ids, anyJob)...)
}

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
	gap := pollGap
	if q.news.followed.Load() {
		gap = pollFollowed
	}
	tick := time.NewTicker(gap)
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
