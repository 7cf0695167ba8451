package dispatch

import (
	"bytes"
	"database/sql"
	"runtime"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// another is a second process on the same database: its own connections, its
// own queue, fleet and dispatcher, which run until the test ends.
func (b *bench) another() (*Dispatcher, *fleet.Fleet) {
	b.t.Helper()
	database := b.open()
	fc, dc := b.fleets, b.cfg
	clock := db.NewClock(b.now, b.elapsed)
	fc.DB, fc.Queue, fc.Clock = database, queue.New(database, clock.Now), clock
	dc.Queue, dc.Fleet, dc.Now = fc.Queue, fleet.New(fc), clock.Now
	background(b.t, dc.Fleet.Run)
	d := New(dc)
	background(b.t, d.Run)
	return d, dc.Fleet
}

// Two processes on PostgreSQL share one slot: both drive jobs, also the one
// that does not lead the fleet, and each job runs once.
func sharedByTwo(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.instance()
	_, other := b.another()
	b.driveAll(1) // nobody else could have
	if !b.fleet.Leading() || other.Leading() || !other.MayDrive() {
		t.Errorf("leading: %t and %t", b.fleet.Leading(), other.Leading())
	}
	b.start()
	b.driveAll(6)
}

// driveAll submits some jobs, and waits until each has ended well at once.
func (b *bench) driveAll(n int) {
	b.t.Helper()
	var jobs []queue.Job
	for range n {
		jobs = append(jobs, b.submit(nil))
	}
	for _, j := range jobs {
		done := b.final(j.ID)
		b.wantResult(done)
		if done.Attempt != 1 || done.Blamed != 0 {
			b.t.Errorf("attempt %d, blamed %d", done.Attempt, done.Blamed)
		}
	}
}

// The second process on SQLite stands by: it drives nothing, and nothing that
// would be its to take over either. Once the first has gone it goes on.
func TestStandby(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.worker.set(func() { b.worker.hold = true })
	claimed := b.claimedByTheDead(nil)
	waiting := b.submit(nil)
	b.shift.Add(int64(queue.LeaseFor)) // long past the fleet lease, too: it is renewed
	b.until(waiting.ID, func(queue.Job) bool { return b.fleet.Leading() })
	_, other := b.another()
	time.Sleep(2 * tick) // it must do nothing, however often it looks
	if other.MayDrive() || other.Leading() {
		t.Error("the standby may act")
	}
	for _, was := range []queue.Job{claimed, waiting} {
		if j, err := b.queue.Job(t.Context(), was.ID); err != nil || j.Status == apigpu.Running && j.Owner != claimed.Owner || was.ID == waiting.ID && j.Status != apigpu.Queued {
			t.Errorf("the standby made a job %s: %v", j.Status, err)
		}
	}
	b.stopFleet()
	b.until(claimed.ID, func(j queue.Job) bool { return j.Owner != claimed.Owner })
	b.worker.letGo()
	for _, was := range []queue.Job{claimed, waiting} {
		j := b.final(was.ID)
		b.wantResult(j)
		if j.Attempt != 1 || j.Blamed != 0 {
			t.Errorf("attempt %d, blamed %d", j.Attempt, j.Blamed)
		}
	}
}

// The clock is set by an hour, either way, in mid-job: its driver goes on.
func TestClockIsSet(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil)
			b.worker.set(func() { b.worker.hold = true })
			b.start()
			job := b.submit(func(d *queue.Draft) { d.RunFor = 10 * time.Minute })
			running := b.until(job.ID, func(j queue.Job) bool { return j.Progress > 0 })
			waiting := b.submit(func(d *queue.Draft) { d.WaitFor = 10 * time.Minute })
			b.shift.Add(int64(settleIn)) // from here on, what is over expires
			b.set.Add(int64(by))
			if b.fleets.DB.Dialect() == db.PostgreSQL { // all must know of it before deadlines are moved
				time.Sleep(2 * tick)
				b.shift.Add(int64(2 * db.ClockGap))
			}
			moved := b.until(job.ID, func(j queue.Job) bool { return !j.RunningUntil.Equal(running.RunningUntil) })
			if off := moved.RunningUntil.Sub(running.RunningUntil.Add(by)).Abs(); off > time.Second {
				t.Errorf("it ran until %s, and runs until %s", running.RunningUntil, moved.RunningUntil)
			}
			b.until(job.ID, func(j queue.Job) bool { return j.LeaseUntil.Sub(b.now()).Abs() <= queue.LeaseFor })
			b.worker.letGo()
			for _, id := range []string{job.ID, waiting.ID} {
				j := b.final(id)
				b.wantResult(j)
				if j.Attempt != 1 || j.Blamed != 0 {
					t.Errorf("attempt %d, blamed %d", j.Attempt, j.Blamed)
				}
			}
			if rows, err := b.fleet.Instances(t.Context()); err != nil || len(rows) != 1 || rows[0].State != gpu.Ready {
				t.Errorf("instances %+v, %v", rows, err)
			}
		})
	}
}

// The orchestrator is away for eight minutes in mid-job: the next goes on with
// the same attempt, though every lease has run out.
func TestAway(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.worker.set(func() { b.worker.hold = true })
	claimed := b.claimedByTheDead(func(d *queue.Draft) { d.RunFor = 5 * time.Minute })
	b.shift.Add(int64(8 * time.Minute)) // past its running deadline, too
	b.start()
	b.until(claimed.ID, func(j queue.Job) bool { return j.Owner != claimed.Owner })
	b.worker.letGo()
	j := b.final(claimed.ID)
	b.wantResult(j)
	if j.Attempt != 1 || j.Blamed != 0 {
		t.Errorf("attempt %d, blamed %d", j.Attempt, j.Blamed)
	}
}

// claimedByTheDead is a job that runs on the worker, and whose driver is gone.
func (b *bench) claimedByTheDead(edit func(*queue.Draft)) queue.Job {
	b.t.Helper()
	job := b.submit(edit)
	claimed, err := b.queue.Claim(b.t.Context(), job.ID, b.instance(), 0)
	if err != nil {
		b.t.Fatal(err)
	}
	c, err := b.fleet.Client(b.t.Context(), claimed.Instance)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := c.Assign(b.t.Context(), job.ID, assignment(claimed, []byte(subtitle), false, false, time.Minute)); err != nil {
		b.t.Fatal(err)
	}
	return claimed
}

// The database of an hour ago is put back, in which a job still runs that has
// ended since: it is done once more, under the attempt that the row knows or a
// later one, and its result is whole, though that of the first time is there.
func TestRestored(t *testing.T) {
	t.Parallel()
	for name, kept := range map[string]bool{"its worker forgot it": false, "its worker has it still": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil)
			b.worker.set(func() { b.worker.hold = true })
			b.start()
			job := b.submit(nil)
			backup := b.until(job.ID, func(j queue.Job) bool { return j.Progress > 0 })
			held := b.worker.held(job.ID)
			b.worker.letGo()
			first := b.final(job.ID)
			b.wantResult(first)
			for b.worker.held(job.ID) != nil { // its delete comes after the end of the job
				runtime.Gosched()
			}
			b.worker.set(func() {
				if kept {
					b.worker.jobs[job.ID] = held
				} else { // and makes other bytes of the same video
					b.worker.result = noise(len(b.worker.result))
				}
			})
			b.restore(backup)
			second := b.final(job.ID)
			b.wantResult(second)
			if second.Blamed != 0 || kept != (second.Attempt == 1) {
				t.Errorf("attempt %d, blamed %d", second.Attempt, second.Blamed)
			}
			content, _, err := b.blob.Open(t.Context(), first.Result)
			if err != nil {
				t.Fatalf("the first result: %v", err)
			}
			defer content.Close()
			var got bytes.Buffer
			if _, err := got.ReadFrom(content); err != nil || got.Len() != len(b.worker.result) {
				t.Errorf("the first result has %d bytes now, %v", got.Len(), err)
			}
		})
	}
}

// restore puts the row of a running job back as it was.
func (b *bench) restore(was queue.Job) {
	b.t.Helper()
	err := b.fleets.DB.Tx(b.t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`UPDATE jobs SET status = 'running', phase = $1, progress = $2, video = NULL, error = NULL, stats = '{}', result = '', finished_at = NULL,
			started_at = $3, running_until = $4, attempt = $5, owner = $6, lease_until = $4, instance = $7, slot = $8 WHERE id = $9`,
			was.Phase, was.Progress, db.Millis(*was.StartedAt), db.Millis(b.now()), was.Attempt, was.Owner, was.Instance, was.Slot, was.ID)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
}
