package fleet

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/db/dbtest"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
	"github.com/api-gpu/api-gpu/test/need"
)

// fullLedger is a rig whose database stops taking writes, and takes them again.
type fullLedger struct {
	*rig
	fill, drain func()
}

// fullLedgers are the ways in which that happens: a volume that is really
// full, and, where none may be mounted, triggers that refuse each write.
func fullLedgers(t *testing.T, do func(t *testing.T, l fullLedger), change ...func(*Config, *providertest.FakeConfig)) {
	t.Run("full volume", func(t *testing.T) {
		t.Parallel()
		volume := need.Volume(t, 8<<20, 100)
		template, err := os.ReadFile(strings.TrimPrefix(dbtest.URL(t), "sqlite:"))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(volume.Dir, "test.db")
		if err := os.WriteFile(path, template, 0o600); err != nil {
			t.Fatal(err)
		}
		r := newRigOn(t, dbtest.Open(t, "sqlite:"+path), change...)
		fill := func() {
			volume.Fill(0)
			for range 10000 { // until also the log that is there already has no room
				if _, err := r.db.Read().Exec("SELECT 1"); err != nil {
					t.Fatal(err)
				}
				if err := r.queue.Note(t.Context(), fmt.Sprint(time.Now())); err != nil {
					return
				}
			}
			t.Fatal("the volume does not get full")
		}
		do(t, fullLedger{r, fill, volume.Drain})
	})
	t.Run("no write", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, change...)
		each := func(statement string) func() {
			return func() {
				for _, table := range []string{"fleet", "instances", "jobs"} {
					for _, verb := range []string{"INSERT", "UPDATE", "DELETE"} {
						r.exec(fmt.Sprintf(statement, verb+table, verb, table))
					}
				}
			}
		}
		do(t, fullLedger{
			r, each(`CREATE TRIGGER no%[1]s BEFORE %[2]s ON %[3]s BEGIN SELECT RAISE(ABORT, 'no room'); END`),
			each(`DROP TRIGGER no%[1]s -- %[2]s %[3]s`),
		})
	})
}

// An idle machine goes though the ledger takes no writes, its end is asked for
// in no storm, and the ledger tells of it once it can.
func TestFullLedgerDestroysTheIdle(t *testing.T) {
	t.Parallel()
	fullLedgers(t, func(t *testing.T, l fullLedger) {
		j, row := l.rented()
		l.submit() // what Note has to write to
		l.tick()
		run, err := l.queue.Claim(t.Context(), j.ID, row.Label, 0)
		l.ok(err)
		l.tick()
		l.fake.ScriptDestroy(providertest.DestroyStep{Ignored: true}, providertest.DestroyStep{Ignored: true})
		l.ok(l.queue.Fail(t.Context(), run.Lease(), nil))
		l.fill()
		l.pass(policy.IdleTimeout-5*time.Second, 5*time.Second)
		l.exist(1)
		l.pass(time.Minute, time.Second)
		l.exist(0)
		if n := len(l.fake.Calls(providertest.Destroy)); n < 3 || n > 21 {
			t.Errorf("%d calls of destroy in a minute", n)
		}
		l.want(gpu.Ready, "")
		l.calls(providertest.Create, 1) // a job waits, and nothing is rented for it
		l.drain()
		l.until("gone", func() bool { return l.row(row.Label).State == gpu.Gone })
	})
}

// A machine whose job runs is not taken for silent: its answers could not be
// noted. Once they can, it goes on.
func TestFullLedgerKeepsTheBusy(t *testing.T) {
	t.Parallel()
	fullLedgers(t, func(t *testing.T, l fullLedger) {
		j, row := l.rented()
		l.submit()
		_, err := l.queue.Claim(t.Context(), j.ID, row.Label, 0)
		l.ok(err)
		l.tick()
		l.fill()
		l.pass(10*time.Minute, 5*time.Second)
		l.calls(providertest.Destroy, 0)
		l.drain()
		l.pass(time.Minute, 5*time.Second)
		l.calls(providertest.Destroy, 0)
		l.want(gpu.Ready, "")
	})
}

// What boots for too long goes, though the ledger could not even be told its
// id; so does a stray.
func TestFullLedgerDestroysWhatNeverWorked(t *testing.T) {
	t.Parallel()
	fullLedgers(t, func(t *testing.T, l fullLedger) {
		l.submit()
		l.fake.ScriptCreate(providertest.CreateStep{Boot: 1000 * time.Hour})
		l.until("booting", l.has(gpu.Booting))
		l.exec(`UPDATE instances SET provider_id = ''`)
		l.fill()
		l.fake.Add(gpu.Instance{Label: Label("us", "lost"), Running: true})
		l.exist(2)
		l.pass(policy.BootTimeout+time.Minute, 10*time.Second)
		l.exist(0)
		l.drain()
	})
}

// A stop that destroys is not held up either.
func TestFullLedgerDestroysAtTheEnd(t *testing.T) {
	t.Parallel()
	fullLedgers(t, func(t *testing.T, l fullLedger) {
		j, _ := l.rented()
		l.submit()
		l.tick()
		l.fill()
		l.clock.Advance(leaseFor) // it must be renewed, and cannot be
		if _, err := l.destroyRound(t.Context()); err == nil {
			t.Error("nobody is told")
		}
		l.exist(0)
		l.drain()
		l.cancel(j)
	})
}

// What its operator wants gone goes, though a job runs on it and nothing can be
// written down: by who leads, and by who could not renew its lease for that. The
// job runs again once there is room.
func TestFullLedgerEndsWhatIsWished(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]time.Duration{"leading": 0, "no longer": leaseFor + 5*time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fullLedgers(t, func(t *testing.T, l fullLedger) {
				j, row := l.rented()
				l.submit() // what Note has to write to
				l.tick()
				_, err := l.queue.Claim(t.Context(), j.ID, row.Label, 0)
				l.ok(err)
				l.tick()
				l.fake.ScriptDestroy(providertest.DestroyStep{Ignored: true})
				l.fill()
				l.pass(away, 5*time.Second)
				if l.Leading() != (away == 0) {
					t.Errorf("leading: %t", l.Leading())
				}
				ended, err := l.End(t.Context(), row.ProviderID)
				l.ok(err)
				if len(ended) != 1 || ended[0].State != gpu.Destroying {
					t.Errorf("it says %+v", ended)
				}
				l.exist(1) // the provider was asked, and did nothing
				l.pass(2*retryDestroy, time.Second)
				l.exist(0)
				l.drain()
				l.tick()
				if got := l.row(row.Label); got.State != gpu.Destroying || got.Reason != wished {
					t.Errorf("it is %s: %s", got.State, got.Reason)
				}
				l.until("gone", func() bool { return l.row(row.Label).State == gpu.Gone })
			})
		})
	}
}

// A process that starts on a full ledger cannot take the lease, and still ends
// what must go once the lease of the one before it has run out, not sooner.
func TestFullLedgerAfterARestart(t *testing.T) {
	t.Parallel()
	fullLedgers(t, func(t *testing.T, l fullLedger) {
		j, row := l.rented()
		l.submit()
		l.cancel(j)
		l.tick()
		l.fill()
		first := l.process
		l.process = l.start()
		l.tick()
		if first.Leading() && len(l.fake.Calls(providertest.Destroy)) > 0 {
			t.Error("it destroys while another holds the lease")
		}
		l.contacts.Wait()
		l.pass(policy.IdleTimeout+leaseFor+settleIn, 5*time.Second)
		l.exist(0)
		l.drain()
		l.until("gone", func() bool { return l.row(row.Label).State == gpu.Gone })
	})
}

// Another process took the lease while there was room: who had it before ends
// nothing.
func TestFullLedgerIsFenced(t *testing.T) {
	t.Parallel()
	fullLedgers(t, func(t *testing.T, l fullLedger) {
		_, row := l.rented()
		l.submit()
		first := l.process
		l.clock.Advance(leaseFor + time.Second)
		l.process = l.start()
		l.tick()
		l.fill()
		if err := first.destroy(t.Context(), Action{Label: row.Label, Reason: "x"}); err == nil {
			t.Error("it did")
		}
		_, _ = first.destroyRound(t.Context())
		l.calls(providertest.Destroy, 0)
		l.drain()
	})
}
