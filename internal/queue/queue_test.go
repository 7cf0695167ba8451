package queue_test

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/db/dbtest"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
	"github.com/api-gpu/api-gpu/internal/queue"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// Times of the drafts in these tests.
const (
	waitFor = time.Hour
	runFor  = 10 * time.Minute
	keepFor = 24 * time.Hour
)

// bench is a queue on a database of its own, in virtual time.
type bench struct {
	*testing.T
	*queue.Queue
	db     *db.DB
	clock  *providertest.Clock
	reopen func() *db.DB
}

func newBench(t *testing.T, e dbtest.Engine) *bench {
	t.Helper()
	open := e(t)
	d, clock := open(), providertest.NewClock(noon)
	return &bench{t, queue.New(d, clock.Now), d, clock, open}
}

func draft() queue.Draft {
	return queue.Draft{
		Client:   "ann",
		Spec:     apigpu.CaptionSpec{URLVideo: "https://example.com/a.mp4", Output: apigpu.Output{Quality: apigpu.High, Filename: "a.mp4"}},
		Subtitle: []byte("1\n"), Captions: apigpu.Captions{Format: "srt", CuesIn: 1, CuesUsed: 1},
		WaitFor: waitFor, RunFor: runFor, KeepFor: keepFor,
	}
}

func (b *bench) ok(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) want(err error, code apigpu.Code) {
	b.Helper()
	if got := apigpu.CodeOf(err); got != code {
		b.Errorf("error is %v, want code %q", err, code)
	}
}

func (b *bench) submit(change ...func(*queue.Draft)) queue.Job {
	b.Helper()
	d := draft()
	for _, c := range change {
		c(&d)
	}
	j, err := b.Submit(b.Context(), d)
	b.ok(err)
	b.clock.Advance(time.Millisecond) // ids of one millisecond have no order
	return j
}

func (b *bench) claim(id string) queue.Job {
	b.Helper()
	j, err := b.Claim(b.Context(), id, "box-"+id, 0)
	b.ok(err)
	return j
}

func (b *bench) running() queue.Job { b.Helper(); return b.claim(b.submit().ID) }

func (b *bench) get(id string) queue.Job {
	b.Helper()
	j, err := b.Job(b.Context(), id)
	b.ok(err)
	return j
}

func (b *bench) is(id string, s apigpu.Status) queue.Job {
	b.Helper()
	j := b.get(id)
	if j.Status != s {
		b.Errorf("job is %s, want %s", j.Status, s)
	}
	return j
}

// diff compares what is stored of two jobs: the cause of an error is not.
func diff(want, got queue.Job) string {
	return cmp.Diff(want, got, cmpopts.IgnoreUnexported(apigpu.Error{}))
}

func outcome(id string) queue.Outcome {
	return queue.Outcome{Video: apigpu.Video{Bytes: 7, SHA256: "00"}, Result: "results/" + id, Warnings: []apigpu.Warning{{Code: "late"}}}
}

func why() *apigpu.Error { return apigpu.E(apigpu.GPULost, nil, "The machine went away.") }

// exercise is the conformance suite: every engine passes it.
func exercise(t *testing.T, e dbtest.Engine) {
	for _, c := range []struct {
		name string
		run  func(*bench)
	}{
		{"submit and read", submitAndRead},
		{"list", list},
		{"too many open", tooManyOpen},
		{"next", next},
		{"backlog", backlog},
		{"speeds", speeds},
		{"position", position},
		{"noted", noted},
		{"subtitle goes with its job", deletedSubtitle},
		{"claim once", claimOnce},
		{"slot is unique", slotIsUnique},
		{"claim refuses", claimRefuses},
		{"fence", fence},
		{"take over", takeOver},
		{"take over once", takeOverOnce},
		{"release", release},
		{"requeue", requeue},
		{"refuse", refuse},
		{"requeue limits", requeueLimits},
		{"requeue after cancel", requeueAfterCancel},
		{"waiting stands still while it runs", waitingStandsStill},
		{"cancel", cancel},
		{"expire", expire},
		{"report", report},
		{"complete", complete},
		{"revision rises", revisionRises},
		{"wait", wait},
		{"wait across processes", waitAcross},
		{"follow", follow},
		{"shift", shift},
		{"orphan", orphan},
		{"odd names", oddNames},
		{"final", final},
		{"watch", watch},
		{"delete", deleteEnded},
		{"prune", prune},
		{"load", load},
		{"idle stays idle", idleStaysIdle},
		{"note", note},
		{"survives reopening", survives},
		{"impossible rows", impossibleRows},
		{"damaged rows", damagedRows},
		{"once", once},
		{"once, at once", onceAtOnce},
		{"once ends", onceEnds},
		{"webhook is due", webhookIsDue},
		{"webhook lease", webhookLease},
		{"webhook order", webhookOrder},
		{"attempts are closed", attemptsAreClosed},
		{"attempts move with the clock", attemptsMove},
		{"claim on a condition", claimIf},
		{"cost", cost},
		{"asks", asks},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(newBench(t, e))
		})
	}
}

func submitAndRead(b *bench) {
	j := b.submit(func(d *queue.Draft) {
		d.Upload, d.Push = "uploads/1", true
		d.Warnings = []apigpu.Warning{{Code: "mended", Message: "a line end"}}
		d.Spec.HeadersVideo = map[string]string{"Authorization": "x"}
	})
	if !strings.HasPrefix(j.ID, "job_") || len(j.ID) != len("job_")+26 {
		b.Errorf("id is %q", j.ID)
	}
	position := 1
	want := queue.Job{
		Job: apigpu.Job{
			ID: j.ID, Object: "job", Operation: apigpu.CaptionOperation, Status: apigpu.Queued, Phase: apigpu.WaitingGPU,
			QueuePosition: &position, Revision: 1, CreatedAt: noon, Filename: "a.mp4",
			ExpiresAt: noon.Add(waitFor + runFor + keepFor), LinkUntil: noon.Add(waitFor + 10*runFor + keepFor), // ten attempts
			Captions: &apigpu.Captions{Format: "srt", CuesIn: 1, CuesUsed: 1},
			Warnings: []apigpu.Warning{{Code: "mended", Message: "a line end"}},
		},
		Client: "ann", Upload: "uploads/1", Push: true, RunFor: runFor, KeepFor: keepFor, WaitingUntil: noon.Add(waitFor),
	}
	want.Spec = draft().Spec
	want.Spec.HeadersVideo = map[string]string{"Authorization": "x"}
	if d := diff(want, b.get(j.ID)); d != "" {
		b.Errorf("job (-want +got):\n%s", d)
	}
	text, err := b.Subtitle(b.Context(), j.ID)
	if err != nil || string(text) != "1\n" {
		b.Errorf("subtitle %q, %v", text, err)
	}
	_, err = b.Job(b.Context(), "job_none")
	b.want(err, apigpu.JobNotFound)
	_, err = b.Subtitle(b.Context(), "job_none")
	b.want(err, apigpu.JobNotFound)
}

func list(b *bench) {
	var ids []string
	for n := range 6 {
		b.clock.Advance(time.Second)
		ids = append(ids, b.submit(func(d *queue.Draft) { d.Client = []string{"ann", "bob"}[n%2] }).ID)
	}
	b.claim(ids[0])
	for _, c := range []struct {
		name   string
		filter queue.Filter
		want   []int // of ids
	}{
		{"newest first", queue.Filter{Limit: 10}, []int{5, 4, 3, 2, 1, 0}},
		{"limit", queue.Filter{Limit: 2}, []int{5, 4}},
		{"cursor", queue.Filter{Before: ids[4], Limit: 2}, []int{3, 2}},
		{"cursor at the end", queue.Filter{Before: ids[0], Limit: 2}, nil},
		{"client", queue.Filter{Client: "bob", Limit: 10}, []int{5, 3, 1}},
		{"status", queue.Filter{Status: apigpu.Running, Limit: 10}, []int{0}},
		{"since", queue.Filter{Since: b.get(ids[4]).CreatedAt, Limit: 10}, []int{5, 4}},
		{"all at once", queue.Filter{Client: "ann", Status: apigpu.Queued, Since: noon, Before: ids[4], Limit: 10}, []int{2}},
		{"nobody's", queue.Filter{Client: "ann' OR 1=1 --", Limit: 10}, nil},
	} {
		jobs, err := b.List(b.Context(), c.filter)
		b.ok(err)
		var got []int
		for _, j := range jobs {
			got = append(got, slices.Index(ids, j.ID))
		}
		if !slices.Equal(got, c.want) {
			b.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func position(b *bench) {
	first, second := b.submit(), b.submit()
	if p := b.get(second.ID).QueuePosition; p == nil || *p != 2 {
		b.Errorf("position of the second is %v", p)
	}
	b.claim(first.ID)
	if p := b.get(first.ID).QueuePosition; p != nil {
		b.Errorf("position of a running job is %d", *p)
	}
	if p := b.get(second.ID).QueuePosition; p == nil || *p != 1 {
		b.Errorf("position of the next is %v", p)
	}
}

func load(b *bench) {
	one, two := b.submit(), b.submit()
	b.submit(func(d *queue.Draft) { d.WaitFor = time.Second })
	ended := b.submit()
	_, err := b.Cancel(b.Context(), ended.ID)
	b.ok(err)
	b.submit()
	for n, j := range []queue.Job{one, two} {
		_, err := b.Claim(b.Context(), j.ID, "box", n)
		b.ok(err)
	}
	b.clock.Advance(time.Second)
	waiting, busy, err := b.Load(b.Context())
	b.ok(err)
	if waiting != 1 || len(busy) != 1 || busy["box"] != 2 {
		b.Errorf("waiting %d, busy %v; want 1 that can still be claimed, 2 on box", waiting, busy)
	}
	queued, running, err := b.Counts(b.Context())
	if err != nil || queued != 2 || running != 2 {
		b.Errorf("counts %d, %d, %v", queued, running, err)
	}
	for instance, want := range map[string]bool{"box": true, "other": false} {
		b.ok(b.db.Tx(b.Context(), func(tx *sql.Tx) error {
			got, err := b.Busy(b.Context(), tx, instance)
			if got != want {
				b.Errorf("busy %s is %t", instance, got)
			}
			return err
		}))
	}
}

// idleStaysIdle: who has found an instance idle may end it before another
// claims a job for it, in any process.
func idleStaysIdle(b *bench) {
	j := b.submit()
	other := queue.New(b.reopen(), b.clock.Now)
	claimed := make(chan error, 1)
	b.ok(b.db.Tx(b.Context(), func(tx *sql.Tx) error {
		busy, err := b.Busy(b.Context(), tx, "box")
		if busy {
			b.Error("nothing runs there")
		}
		go func() {
			_, err := other.Claim(context.WithoutCancel(b.Context()), j.ID, "box", 0)
			claimed <- err
		}()
		select {
		case err := <-claimed:
			b.Errorf("claimed in the middle of the decision: %v", err)
			claimed <- err
		case <-time.After(200 * time.Millisecond):
		}
		return err
	}))
	b.ok(within(b, 20*time.Second, claimed))
}

func note(b *bench) {
	waiting, run := b.submit(), b.running()
	b.ok(b.Note(b.Context(), "a worker is starting"))
	b.ok(b.Note(b.Context(), "a worker is starting"))
	if got := b.get(waiting.ID); got.PhaseNote != "a worker is starting" || got.Revision != 2 {
		b.Errorf("note %q, revision %d", got.PhaseNote, got.Revision)
	}
	if got := b.claim(waiting.ID); got.PhaseNote != "" {
		b.Errorf("a running job waits for %q", got.PhaseNote)
	}
	if got := b.get(run.ID); got.PhaseNote != "" || got.Revision != run.Revision {
		b.Errorf("a running job was told %q", got.PhaseNote)
	}
}

func survives(b *bench) {
	j := b.running()
	before := b.get(j.ID)
	b.ok(b.db.Close())
	again := queue.New(b.reopen(), b.clock.Now)
	after, err := again.Job(b.Context(), j.ID)
	b.ok(err)
	if d := diff(before, after); d != "" {
		b.Errorf("after reopening:\n%s", d)
	}
	b.ok(again.Complete(b.Context(), j.Lease(), outcome(j.ID)))
}

// damagedRows: a row that cannot be read holds up no other, and can be ended.
func damagedRows(b *bench) {
	waiting, running, sound := b.submit(), b.running(), b.submit()
	b.ok(b.db.Tx(b.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(b.Context(), `UPDATE jobs SET spec = '{"url_video": 1}', warnings = '?' WHERE id IN ($1, $2)`, waiting.ID, running.ID)
		return err
	}))
	open, err := b.List(b.Context(), queue.Filter{Limit: 10})
	if b.ok(err); len(open) != 3 {
		b.Fatalf("%d jobs are open", len(open))
	}
	for _, j := range open {
		if damaged := j.ID != sound.ID; damaged != (j.Damaged != nil) {
			b.Errorf("%s is damaged: %v", j.ID, j.Damaged)
		}
		if j.Damaged != nil {
			b.ok(b.Condemn(b.Context(), j.ID))
		}
	}
	for _, id := range []string{waiting.ID, running.ID} {
		if j := b.get(id); j.Status != apigpu.Failed || j.Error.Code != apigpu.Internal || j.Damaged == nil {
			b.Errorf("%s is %s, %v", id, j.Status, j.Error)
		}
	}
	b.want(b.Heartbeat(b.Context(), running.Lease()), apigpu.StaleAttempt)
	b.ok(b.Condemn(b.Context(), waiting.ID)) // again
	b.claim(sound.ID)
}

// oddNames: an id is what a stranger wrote into a URL.
func oddNames(b *bench) {
	for _, id := range []string{"job_\x00", "\xff", "job_é", "'", ""} {
		_, err := b.Job(b.Context(), id)
		b.want(err, apigpu.JobNotFound)
		_, err = b.Subtitle(b.Context(), id)
		b.want(err, apigpu.JobNotFound)
		_, err = b.Cancel(b.Context(), id)
		b.want(err, apigpu.JobNotFound)
		_, err = b.List(b.Context(), queue.Filter{Client: id, Before: id, Limit: 1})
		b.ok(err)
	}
	odd := apigpu.E(apigpu.GPULost, nil, "It said \x00 and \xff.")
	got, err := b.Requeue(b.Context(), b.running().Lease(), queue.Setback{Why: odd})
	b.ok(err)
	if got.PhaseNote != "It said \uFFFD and \uFFFD." {
		b.Errorf("told %q", got.PhaseNote)
	}
}

// impossibleRows: the table itself refuses what no code may write.
func impossibleRows(b *bench) {
	waiting, run, ended := b.submit(), b.running(), b.running()
	b.complete(ended)
	other := b.running()
	for _, c := range []struct{ name, id, set string }{
		{"unknown status", waiting.ID, `status = 'lost'`},
		{"running without an owner", waiting.ID, `status = 'running'`},
		{"running without a lease", run.ID, `lease_until = NULL`},
		{"running without an end", run.ID, `running_until = NULL`},
		{"running nowhere", run.ID, `instance = NULL`},
		{"running without a slot", run.ID, `slot = NULL`},
		{"queued with an owner", run.ID, `status = 'queued'`},
		{"owner of a job that waits", waiting.ID, `owner = 'me'`},
		{"lease of a job that ended", ended.ID, `lease_until = 1`},
		{"succeeded without a video", ended.ID, `video = NULL`},
		{"ended without an end", ended.ID, `finished_at = NULL`},
		{"failed without a reason", ended.ID, `status = 'failed', video = NULL`},
		{"reason without a failure", ended.ID, `error = '{}'`},
		{"a video before the end", waiting.ID, `video = '{}'`},
		{"an end before the end", run.ID, `finished_at = 1`},
		{"waiting without an end", waiting.ID, `waiting_until = NULL`},
		{"two jobs on a slot", other.ID, `instance = '` + run.Instance + `', slot = 0`},
	} {
		err := b.db.Tx(b.Context(), func(tx *sql.Tx) error {
			result, err := tx.ExecContext(b.Context(), `UPDATE jobs SET `+c.set+` WHERE id = $1`, c.id)
			if err != nil {
				return err
			}
			if n, _ := result.RowsAffected(); n != 1 {
				b.Errorf("%s: %d rows", c.name, n)
			}
			return errAccepted
		})
		if err == nil || errors.Is(err, errAccepted) || !strings.Contains(strings.ToLower(err.Error()), "constraint") {
			b.Errorf("%s: %v", c.name, err)
		}
	}
}

var errAccepted = errors.New("the row was accepted")
