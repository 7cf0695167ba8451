package queue_test

import (
	"database/sql"
	"slices"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/blob"
	"github.com/api-gpu/api-gpu/internal/db/dbtest"
	"github.com/api-gpu/api-gpu/internal/queue"
)

func TestRoom(t *testing.T) {
	for name, e := range dbtest.Engines {
		for what, run := range map[string]func(*bench){
			"promised": promised, "evict": evict, "evict spares": evictSpares, "spent": spentKeys,
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				t.Parallel()
				run(newBench(t, e))
			})
		}
	}
}

func room(n int64) func(*queue.Draft) { return func(d *queue.Draft) { d.Room = n } }

// stored ends a running job with a result of so many bytes.
func (b *bench) stored(j queue.Job, bytes int64) string {
	b.Helper()
	o := outcome(j.ID)
	o.Video.Bytes = bytes
	b.ok(b.Complete(b.Context(), j.Lease(), o))
	return o.Result
}

// promised: what open jobs were promised is in their rows, and so is what kept
// results take, whichever process asks.
func promised(b *bench) {
	check := func(want blob.Promises) {
		b.Helper()
		for _, q := range []*queue.Queue{b.Queue, queue.New(b.reopen(), b.clock.Now)} {
			if got, err := q.Promised(b.Context()); err != nil || got != want {
				b.Errorf("promised %+v, want %+v: %v", got, want, err)
			}
		}
	}
	check(blob.Promises{})
	one, two, three := b.submit(room(100)), b.submit(room(20)), b.submit(room(3))
	if one.Room != 100 || one.Evicted {
		b.Errorf("%+v", one)
	}
	check(blob.Promises{Queued: 123, Least: 3})
	running := b.claim(one.ID)
	check(blob.Promises{Queued: 23, Running: 100, Least: 3})
	b.claim(two.ID)
	check(blob.Promises{Queued: 3, Running: 120, Least: 3})
	_, err := b.Cancel(b.Context(), three.ID)
	b.ok(err)
	check(blob.Promises{Running: 120})
	b.stored(running, 77)
	check(blob.Promises{Running: 20, Kept: 77})
	b.clock.Advance(keepFor/2 + time.Millisecond)
	check(blob.Promises{Running: 20, Kept: 77, Spare: 77})
	b.clock.Advance(keepFor / 2)
	_, err = b.Prune(b.Context())
	b.ok(err)
	check(blob.Promises{Running: 20})
}

// evict takes the oldest first, as many as are needed, and never one before
// half of its time has passed.
func evict(b *bench) {
	var keys, ids []string
	for range 4 {
		j := b.running()
		ids, keys = append(ids, j.ID), append(keys, b.stored(j, 100))
		b.clock.Advance(time.Hour)
	}
	nobody := func(string) bool { return false }
	take := func(need int64, want ...string) {
		b.Helper()
		got, err := b.Evict(b.Context(), need, nobody)
		if err != nil || !slices.Equal(got, want) {
			b.Errorf("evicted %v, want %v: %v", got, want, err)
		}
	}
	take(1000)
	b.clock.Advance(keepFor/2 - 2*time.Hour) // the first two are past half of their time, the third just at it
	take(1, keys[0])
	got := b.is(ids[0], apigpu.Succeeded)
	if got.Result != "" || !got.Evicted || got.ExpiresAt.After(b.clock.Now()) || got.Revision != 4 {
		b.Errorf("evicted as %+v", got)
	}
	if files, err := b.Files(b.Context()); err != nil || files[keys[0]] || !files[keys[1]] {
		b.Errorf("files are %v, %v", files, err)
	}
	b.clock.Advance(time.Millisecond)
	take(101, keys[1], keys[2])
	take(1)
	take(0)
	b.clock.Advance(keepFor)
	if spent, err := b.Prune(b.Context()); err != nil || !slices.Equal(spent, keys[3:]) {
		b.Errorf("pruned %v, %v", spent, err)
	}
}

// evictSpares passes over what is in use, and counts a result of unknown size
// as little.
func evictSpares(b *bench) {
	a, c := b.running(), b.running()
	first, second := b.stored(a, 0), b.stored(c, 50)
	b.clock.Advance(keepFor - time.Minute)
	got, err := b.Evict(b.Context(), 10, func(key string) bool { return key == first })
	if err != nil || !slices.Equal(got, []string{second}) {
		b.Errorf("evicted %v, %v", got, err)
	}
	got, err = b.Evict(b.Context(), 10, func(string) bool { return false })
	if err != nil || !slices.Equal(got, []string{first}) {
		b.Errorf("evicted %v, %v", got, err)
	}
}

// spentKeys are those that Prune takes, told without a write.
func spentKeys(b *bench) {
	j := b.claim(b.submit(func(d *queue.Draft) { d.Upload = "up" }).ID)
	key := b.stored(j, 5)
	b.clock.Advance(keepFor)
	spent, err := b.Spent(b.Context())
	b.ok(err)
	pruned, err := b.Prune(b.Context())
	b.ok(err)
	slices.Sort(spent)
	slices.Sort(pruned)
	if want := []string{key, "up"}; !slices.Equal(spent, want) || !slices.Equal(pruned, want) {
		b.Errorf("spent %v, pruned %v", spent, pruned)
	}
	if spent, err = b.Spent(b.Context()); err != nil || len(spent) != 0 {
		b.Errorf("then %v, %v", spent, err)
	}
}

// BenchmarkPromised asks a table of 4096 open jobs and as many kept results.
func BenchmarkPromised(b *testing.B) {
	d := dbtest.SQLite(b)
	q := queue.New(d, time.Now)
	for range 2 {
		one := draft()
		one.Subtitle, one.Room = make([]byte, 10000), 1000
		if _, err := q.Submit(b.Context(), one); err != nil {
			b.Fatal(err)
		}
	}
	open, err := q.Next(b.Context(), 2)
	if err != nil {
		b.Fatal(err)
	}
	j, err := q.Claim(b.Context(), open[0].ID, "box", 0)
	if err == nil {
		err = q.Complete(b.Context(), j.Lease(), queue.Outcome{Result: "r", Video: apigpu.Video{Bytes: 1000}})
	}
	if err != nil {
		b.Fatal(err)
	}
	err = d.Tx(b.Context(), func(tx *sql.Tx) error { // each time as many again, in one commit
		for range 12 {
			for _, statement := range []string{
				`CREATE TEMP TABLE more AS SELECT * FROM jobs`, `UPDATE more SET id = hex(randomblob(16))`,
				`INSERT INTO jobs SELECT * FROM more`, `DROP TABLE more`,
			} {
				if _, err := tx.Exec(statement); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if p, err := q.Promised(b.Context()); err != nil || p.Queued != 4096*1000 || p.Kept != 4096*1000 {
			b.Fatal(p, err)
		}
	}
}
