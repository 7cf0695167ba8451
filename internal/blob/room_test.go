package blob

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	apigpu "github.com/api-gpu/api-gpu"
)

func limited(t testing.TB, opts Options) *Store {
	t.Helper()
	s, err := Open(t.TempDir(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func receive(t testing.TB, s *Store, key string, size int) {
	t.Helper()
	if _, err := s.Receive(t.Context(), key, strings.NewReader(strings.Repeat("x", size)), 1<<30); err != nil {
		t.Fatal(err)
	}
}

func TestShortage(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		n    int64
		f    figures
		opts Options
		want int64
	}{
		"no bound":             {n: 10, f: figures{free: 10}, want: 0},
		"room is left":         {n: 10, f: figures{free: 15}, want: -5},
		"volume full":          {n: 10, f: figures{free: 9}, want: 1},
		"promised already":     {n: 10, f: figures{free: 10, promised: 1}, want: 1},
		"promised and written": {n: 10, f: figures{free: 10, promised: 4, written: 4}, want: 0},
		"leaves enough free":   {n: 10, f: figures{free: 15}, opts: Options{MinFree: 5}, want: 0},
		"leaves too little":    {n: 10, f: figures{free: 15}, opts: Options{MinFree: 6}, want: 1},
		"just below the max":   {n: 10, f: figures{used: 5, promised: 5, free: 99}, opts: Options{MaxBytes: 20}, want: 0},
		"above the max":        {n: 10, f: figures{used: 5, promised: 6, free: 99}, opts: Options{MaxBytes: 20}, want: 1},
		"written is no less":   {n: 10, f: figures{used: 5, promised: 6, written: 6, free: 99}, opts: Options{MaxBytes: 20}, want: 1},
		"the max is the less":  {n: 10, f: figures{used: 30, free: 99}, opts: Options{MaxBytes: 20}, want: 20},
		"nothing":              {n: 0, f: figures{free: 1}, want: -1},
	} {
		if got := shortage(tc.n, tc.f, tc.opts); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}

func TestReserve(t *testing.T) {
	t.Parallel()
	s := limited(t, Options{MaxBytes: 100})
	hold, err := s.Reserve(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Reserve(t.Context(), 60)
	wantCode(t, err, apigpu.StorageFull)
	hold.Wrote(60)
	hold.Release()
	hold.Release() // no more than once
	hold.Settle()
	hold.Wrote(60)
	if _, err := s.Reserve(t.Context(), -1); err == nil {
		t.Error("reserved less than nothing")
	}
	receive(t, s, "k", 50)
	_, err = s.Reserve(t.Context(), 60)
	wantCode(t, err, apigpu.StorageFull)
	if s.reserved != 0 || s.written != 0 || s.settled != 0 {
		t.Errorf("%d bytes are promised to nobody, %d written, %d settled", s.reserved, s.written, s.settled)
	}
}

// The sum of the objects holds without a walk: through publishes, duplicates,
// deletes and a restart, and whatever another process did is met by the next
// measurement.
func TestUsedIsKept(t *testing.T) {
	t.Parallel()
	s := limited(t, Options{})
	const descriptions = 3 * 200 // no more than that beside the bytes
	want := func(n int64) {
		t.Helper()
		if s.used < n || s.used > n+descriptions {
			t.Errorf("used is %d, want %d", s.used, n)
		}
	}
	receive(t, s, "a", 1000)
	receive(t, s, "a", 1000) // the same again
	receive(t, s, "b", 2000)
	file := content(500)
	p := partial(t, s, "p")
	m := cut(file, 100)
	write(t, p, file, m.Chunks...)
	want(3000)
	if _, err := p.Commit(t.Context(), m, "c"); err != nil {
		t.Fatal(err)
	}
	want(3500)
	for range 2 {
		if err := s.Delete(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
	}
	want(1500)
	other := open(t, s.root)
	if other.used < 1500 {
		t.Errorf("another process finds %d", other.used)
	}
	receive(t, other, "d", 4000)
	want(1500)
	if err := s.Measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(5500)
}

// rows are what the queue would say, and how it would evict.
type rows struct {
	mu       sync.Mutex
	promises Promises
	old      []string // keys that may go, oldest first
	size     int64    // of each
	asked    atomic.Int64
}

func (r *rows) promised(context.Context) (Promises, error) {
	r.asked.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.promises
	p.Spare = int64(len(r.old)) * r.size
	return p, nil
}

func (r *rows) evict(_ context.Context, need int64, busy func(string) bool) (keys []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.old = slices.DeleteFunc(r.old, func(key string) bool {
		if need <= 0 || busy(key) {
			return false
		}
		need -= r.size
		keys = append(keys, key)
		return true
	})
	return keys, nil
}

func (r *rows) set(change func(*Promises)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.promises)
}

// Who comes before whom: a new job yields to all, a result to those that run.
func TestPromisesOfRows(t *testing.T) {
	t.Parallel()
	r := &rows{promises: Promises{Queued: 30, Running: 20, Kept: 10}}
	s := limited(t, Options{MaxBytes: 100, Promised: r.promised})
	for name, tc := range map[string]struct {
		take func(n int64) (*Hold, error)
		most int64
	}{
		"a new job":           {func(n int64) (*Hold, error) { return s.Reserve(t.Context(), n) }, 40},
		"a job that waits":    {func(n int64) (*Hold, error) { return s.ReserveResult(t.Context(), n, 0) }, 70},
		"a result":            {func(n int64) (*Hold, error) { return s.ReserveResult(t.Context(), n, 15) }, 85},
		"a result, all of it": {func(n int64) (*Hold, error) { return s.ReserveResult(t.Context(), n, 99) }, 90},
	} {
		hold, err := tc.take(tc.most)
		if err != nil {
			t.Errorf("%s: no room for %d: %v", name, tc.most, err)
			continue
		}
		hold.Release()
		_, err = tc.take(tc.most + 1)
		wantCode(t, err, apigpu.StorageFull)
	}
}

// Many that come at once never count on the same bytes, before, while and
// after their rows are written.
func TestPromisesAtOnce(t *testing.T) {
	t.Parallel()
	r := &rows{}
	s := limited(t, Options{MaxBytes: 1000, Promised: r.promised})
	var accepted atomic.Int64
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			hold, err := s.Reserve(t.Context(), 100)
			if err != nil {
				wantCode(t, err, apigpu.StorageFull)
				return
			}
			defer hold.Release()
			accepted.Add(1)
			r.set(func(p *Promises) { p.Queued += 100 })
			hold.Settle()
		})
	}
	all.Wait()
	if n := accepted.Load(); n > 10 || n < 1 { // fewer where a row was read before its hold ended
		t.Errorf("%d were accepted where 10 fit", n)
	}
	for accepted.Load() < 10 { // one after another all the room is given
		hold, err := s.Reserve(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		r.set(func(p *Promises) { p.Queued += 100 })
		hold.Settle()
		accepted.Add(1)
	}
	_, err := s.Reserve(t.Context(), 1)
	wantCode(t, err, apigpu.StorageFull)
	// Another process finds the same in the rows.
	other, err := Open(s.root, s.opts)
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.Reserve(t.Context(), 1)
	wantCode(t, err, apigpu.StorageFull)
	if s.reserved != 0 {
		t.Errorf("%d bytes are held by nobody", s.reserved)
	}
}

// Where there is plenty of room the rows are not asked at each request.
func TestRowsAreNotAskedEachTime(t *testing.T) {
	t.Parallel()
	r := &rows{}
	s := limited(t, Options{Promised: r.promised})
	if free, err := s.Free(); err != nil || free < 2*plenty {
		return // rightly, on a small volume they are
	}
	for range 1000 {
		hold, err := s.Reserve(t.Context(), 1000)
		if err != nil {
			t.Fatal(err)
		}
		hold.Settle()
	}
	if n := r.asked.Load(); n > 500 {
		t.Errorf("asked %d times", n)
	}
}

func TestEviction(t *testing.T) {
	t.Parallel()
	r := &rows{old: []string{"read", "a", "b", "c"}, size: 100}
	s := limited(t, Options{MaxBytes: 1000, Promised: r.promised, Evict: r.evict})
	for _, key := range []string{"read", "a", "b", "c", "young"} {
		receive(t, s, key, 100)
	}
	content, _, err := s.Open(t.Context(), "read")
	if err != nil {
		t.Fatal(err)
	}
	hold, err := s.Reserve(t.Context(), 650) // 150 more than there are
	if err != nil {
		t.Fatal(err)
	}
	there := func(want ...string) {
		t.Helper()
		var keys []string
		for key, err := range s.Keys(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, key)
		}
		slices.Sort(keys)
		if !slices.Equal(keys, want) {
			t.Errorf("there remain %v, want %v", keys, want)
		}
	}
	there("c", "read", "young")
	if room, err := s.Room(t.Context()); err != nil || room.Evicted != 2 || room.Used != 300 || room.Promised != 650 || room.Limit != 1000 {
		t.Errorf("%+v, %v", room, err)
	}
	_, err = s.Reserve(t.Context(), 900) // never
	wantCode(t, err, apigpu.StorageFull)
	there("c", "read", "young") // nothing goes for what has no room all the same
	if b, err := io.ReadAll(content); err != nil || len(b) != 100 {
		t.Errorf("read %d bytes, %v", len(b), err)
	}
	hold.Release()
	if err := errors.Join(content.Close(), content.Close()); err == nil {
		t.Error("closed twice without a word")
	}
	hold, err = s.Reserve(t.Context(), 900)
	if err != nil {
		t.Fatal(err)
	}
	there("young")
	hold.Release()
}

// An upload that says its size is refused before a byte is read; one that does
// not, when it has grown too large. Either leaves nothing.
func TestUploadsReserve(t *testing.T) {
	t.Parallel()
	s := limited(t, Options{MaxBytes: 1 << 20})
	said := &sized{Reader: strings.NewReader("x"), size: 1<<20 + 1}
	_, err := s.Receive(t.Context(), "said", said, 1<<30)
	wantCode(t, err, apigpu.StorageFull)
	if said.Len() != 1 {
		t.Error("it was read")
	}
	for _, size := range []int64{-1, 0, 1 << 19} { // unknown, and lies
		_, err = s.Receive(t.Context(), "unsaid", &sized{strings.NewReader(strings.Repeat("x", 1<<20+1)), size}, 1<<30)
		wantCode(t, err, apigpu.StorageFull)
		if _, err := s.Receive(t.Context(), "fits", &sized{strings.NewReader(strings.Repeat("x", 1<<20)), size}, 1<<30); err != nil {
			t.Errorf("size %d: %v", size, err)
		}
		if err := s.Delete(t.Context(), "fits"); err != nil {
			t.Fatal(err)
		}
	}
	if usage, err := s.Usage(t.Context()); err != nil || usage != 0 || s.used != 0 || s.reserved != 0 || s.written != 0 {
		t.Errorf("%d bytes are left, used %d, reserved %d, written %d: %v", usage, s.used, s.reserved, s.written, err)
	}
	// While one is received, its room is nobody else's.
	hold := make(chan struct{})
	slow, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := s.Receive(context.WithoutCancel(t.Context()), "slow", struct {
			io.Reader
			Sized
		}{slow, &sized{nil, 1 << 19}}, 1<<30)
		close(hold)
		done <- err
	}()
	if _, err := w.Write([]byte("x")); err != nil { // it was read: room was reserved before
		t.Fatal(err)
	}
	_, err = s.Reserve(t.Context(), 1<<19+1)
	wantCode(t, err, apigpu.StorageFull)
	if err := errors.Join(w.Close(), <-done); err != nil {
		t.Error(err)
	}
	<-hold
	if s.reserved != 0 || s.written != 0 {
		t.Errorf("%d reserved, %d written", s.reserved, s.written)
	}
}

type sized struct {
	*strings.Reader
	size int64
}

func (s *sized) Size() int64 { return s.size }
