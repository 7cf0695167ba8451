package blob

import (
	"context"
	"errors"
	"fmt"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
)

// Promises are what the rows of jobs say about our room, in bytes: what they
// were promised outlives any process.
type Promises struct {
	Queued  int64 // for the results of jobs that wait
	Running int64 // for the results of jobs that run
	Kept    int64 // results that are here, whichever process stored them
	Spare   int64 // of those, what may go before its time
	// Least is the smallest promise to a job that waits; 0 without one.
	Least int64
}

// MinRoom is what a small result takes, in bytes: where not even that fits,
// nothing new is begun.
const MinRoom = 16 << 20

const (
	// promisesFor is how old the figures of the rows may be where there is
	// plenty of room, so that not every request asks for them.
	promisesFor = time.Second
	// plenty is more than other processes promise in that time, in bytes.
	plenty = 1 << 30
	// measureGap is how often a refusal may measure the folder anew.
	measureGap = 10 * time.Second
	// maxEvictions bounds the rounds in which one request makes room.
	maxEvictions = 20
)

// before says whose promises come before those who ask for room.
type before int

const (
	beforeNew    before = iota // everybody's: who asks is new
	beforeWaiter               // those of running jobs: who asks has a promise, and waits
)

// Hold is room that is promised to somebody in this process. It ends with
// Release, or with Settle. Its methods are safe for concurrent use.
type Hold struct {
	store *Store
	// Guarded by store.mu.
	size    int64 // bytes beyond what a row promises to the same one
	written int64 // bytes that are on the volume already
	over    bool
}

// Reserve promises n bytes to somebody new, or refuses with StorageFull. It
// gives nothing away that a row promises, and makes room by removing results
// that may go before their time. The promise is in the memory of this process:
// until Settle, it ends with the process.
//
// Against Options.MaxBytes count all objects, what the rows promise, and what
// is held; against Options.MinFree the last two, but for the bytes that were
// written already.
func (s *Store) Reserve(ctx context.Context, n int64) (*Hold, error) {
	h := &Hold{store: s}
	if err := s.take(ctx, h, n, 0, beforeNew); err != nil {
		return nil, err
	}
	return h, nil
}

// ReserveResult is Reserve for a result: of a running job, to which its row
// promises own of the n bytes already, or of one that is about to run, where
// own is 0. Promises to the other jobs that wait do not count: they have cost
// nothing yet.
func (s *Store) ReserveResult(ctx context.Context, n, own int64) (*Hold, error) {
	h := &Hold{store: s}
	if err := s.take(ctx, h, n, own, beforeWaiter); err != nil {
		return nil, err
	}
	return h, nil
}

// Wrote tells that n bytes of what is held are on the volume.
func (h *Hold) Wrote(n int64) {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	if !h.over {
		h.written += n
		h.store.written += n
	}
}

// Settle hands the promise over to a row that was committed.
func (h *Hold) Settle() { h.end(h.store.opts.Promised != nil) }

// Release ends the promise: it is kept, or given up. After Settle, or a second
// time, it does nothing.
func (h *Hold) Release() { h.end(false) }

func (h *Hold) end(settled bool) {
	s := h.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.over {
		return
	}
	h.over = true
	s.written -= h.written
	if settled {
		s.settled += h.size // counts until the rows are read again
	} else {
		s.reserved -= h.size
	}
}

// take adds n bytes to a hold, of which the row promises own already.
func (s *Store) take(ctx context.Context, h *Hold, n, own int64, b before) error {
	if n < 0 {
		return fmt.Errorf("reserve room: %d bytes", n)
	}
	short, err := s.try(ctx, h, n, own, b, time.Now().Add(-promisesFor), plenty)
	if err != nil || short == 0 {
		return err
	}
	// It is refused, or nearly: only by figures that are true now.
	if short, err = s.try(ctx, h, n, own, b, time.Now(), 0); err != nil || short == 0 {
		return err
	}
	s.evicting.Lock() // one makes room at a time, and the next finds it
	defer s.evicting.Unlock()
	if err := s.measureAfter(ctx, measureGap); err != nil {
		return err
	}
	if short > s.spare() { // nothing goes for what would be refused all the same
		return full(n)
	}
	for range maxEvictions {
		if short, err = s.try(ctx, h, n, own, b, time.Now(), 0); err != nil || short == 0 {
			return err
		}
		if removed, err := s.evict(ctx, short); err != nil || removed == 0 {
			return errors.Join(full(n), err)
		}
	}
	return full(n)
}

// spare is how many bytes eviction could make room for, as far as is known.
func (s *Store) spare() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.promises.Spare
}

// try adds n bytes to a hold if they fit and leave room for margin more, by
// figures of the rows no older than asOf. Otherwise it returns how many bytes
// are missing.
func (s *Store) try(ctx context.Context, h *Hold, n, own int64, b before, asOf time.Time, margin int64) (short int64, err error) {
	if err := s.readPromises(ctx, asOf); err != nil {
		return 0, err
	}
	free, err := s.Free()
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.figures(free, own, b)
	if short := shortage(n, f, s.opts); short > -margin {
		return max(short, 1), nil
	}
	more := max(0, n-own)
	h.size += more
	s.reserved += more
	return 0, nil
}

// figures are what decides whether there is room, in bytes.
type figures struct {
	used     int64 // by objects
	promised int64 // by rows, and by holds
	written  int64 // of what is promised: on the volume already
	free     int64 // on the volume
}

// figures gathers what decides for one that asks. The caller holds s.mu.
func (s *Store) figures(free, own int64, b before) figures {
	f := figures{used: max(s.used, s.promises.Kept), written: s.written, free: free, promised: s.reserved + max(0, s.promises.Running-own)}
	if b == beforeNew {
		f.promised += s.promises.Queued
	}
	return f
}

// shortage is how many bytes are missing for n more; 0 or less where they fit,
// and then the room that is left. n is not negative.
func shortage(n int64, f figures, opts Options) int64 {
	left := f.free - opts.MinFree - (f.promised - f.written)
	if opts.MaxBytes > 0 {
		left = min(left, opts.MaxBytes-f.used-f.promised)
	}
	return n - left
}

func full(n int64) error {
	return apigpu.E(apigpu.StorageFull, nil, "The storage of this server has no room for %d more bytes.", n)
}

// readPromises asks the rows, unless that was done since asOf. What was settled
// before is in their answer.
func (s *Store) readPromises(ctx context.Context, asOf time.Time) error {
	if s.opts.Promised == nil {
		return nil
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	s.mu.Lock()
	settled, fresh := s.settled, !s.readAt.Before(asOf)
	s.mu.Unlock()
	if fresh {
		return nil
	}
	began := time.Now()
	p, err := s.opts.Promised(ctx)
	if err != nil {
		return fmt.Errorf("read promises: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.promises, s.readAt = p, began
	s.reserved -= settled
	s.settled -= settled
	return nil
}

// evict removes results that may go before their time, of need bytes at least
// where there are as many. Their rows know nothing of them any more before the
// files go; a file that cannot be removed is the sweep's.
func (s *Store) evict(ctx context.Context, need int64) (removed int, err error) {
	s.mu.Lock()
	spare := s.promises.Spare
	s.mu.Unlock()
	if s.opts.Evict == nil || spare == 0 { // the rows say that nothing may go
		return 0, nil
	}
	keys, err := s.opts.Evict(ctx, need, s.isRead)
	if err != nil {
		return 0, fmt.Errorf("evict: %w", err)
	}
	ctx = context.WithoutCancel(ctx) // no row names them any more
	for _, key := range keys {
		err = errors.Join(err, s.Delete(ctx, key))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evicted += int64(len(keys))
	return len(keys), err
}

// Room is how full the store is, in bytes.
type Room struct {
	Used     int64 // by results and uploads
	Promised int64 // to jobs and uploads that go on
	Free     int64 // on the volume, what is left alone included
	Limit    int64 // of used and promised together; 0 without one
	Evicted  int64 // results removed before their time by this process
	// Full says that nothing new is accepted: not even a small result fits,
	// even after what may go has gone.
	Full bool
	// Stuck says that no job which waits could start.
	Stuck bool
}

// Room measures, by figures of at most a second ago, and changes nothing.
func (s *Store) Room(ctx context.Context) (Room, error) {
	return s.room(ctx, time.Now().Add(-promisesFor))
}

// room is Room by figures of the rows no older than asOf.
func (s *Store) room(ctx context.Context, asOf time.Time) (Room, error) {
	if err := s.readPromises(ctx, asOf); err != nil {
		return Room{}, err
	}
	free, err := s.Free()
	if err != nil {
		return Room{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all, waiter := s.figures(free, 0, beforeNew), s.figures(free, 0, beforeWaiter)
	least := s.promises.Least
	if least == 0 {
		least = MinRoom
	}
	return Room{
		Used: all.used, Promised: all.promised, Free: free, Limit: s.opts.MaxBytes, Evicted: s.evicted,
		Full:  shortage(MinRoom, all, s.opts) > s.promises.Spare,
		Stuck: shortage(least, waiter, s.opts) > s.promises.Spare,
	}, nil
}

// Roomy says why nothing new would fit: StorageFull.
func (s *Store) Roomy(ctx context.Context) error {
	room, err := s.Room(ctx)
	if err == nil && room.Full { // refused by figures that are true now
		room, err = s.room(ctx, time.Now())
	}
	if err == nil && room.Full {
		err = full(MinRoom)
	}
	return err
}
