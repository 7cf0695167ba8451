package fleet

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
)

// An instance with our label and no live row ends after two complete
// listings; one of another fleet, or of none, is never touched.
func TestStrays(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ours := r.fake.Add(gpu.Instance{Label: Label("us", "lost"), Running: true})
	for _, label := range []string{"", "mine", "ag1.us2.x", "ag1.us.other.x", "ag2.us.x", "AG1.us.x"} {
		r.fake.Add(gpu.Instance{Label: label, Running: true})
	}
	r.clock.Advance(lag)
	r.tick()
	r.calls(providertest.Destroy, 0) // one listing proves nothing
	r.clock.Advance(time.Second)
	r.fake.ScriptList(providertest.ListStep{Incomplete: true}, providertest.ListStep{Err: errors.New("503")})
	for range 2 {
		r.tick()
		r.clock.Advance(time.Second)
	}
	r.calls(providertest.Destroy, 0) // an incomplete one neither
	r.fake.ScriptDestroy(providertest.DestroyStep{Ignored: true})
	r.tick()
	r.calls(providertest.Destroy, 1)
	for range 4 { // it is still listed, and its end not asked for in a storm
		r.tick()
		r.clock.Advance(500 * time.Millisecond)
	}
	r.calls(providertest.Destroy, 1)
	r.pass(time.Minute, 5*time.Second)
	for _, c := range r.fake.Calls(providertest.Destroy) {
		if c.ID != ours {
			t.Errorf("destroyed %s", c.ID)
		}
	}
	r.exist(6)
}

// What another process has adopted since the listing is no stray.
func TestStrayIsAskedForOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	label := Label("us", "lost")
	id := r.fake.Add(gpu.Instance{Label: label, Running: true})
	r.clock.Advance(lag)
	r.tick()
	r.ok(r.save(t.Context(), with(creating(label), func(i *Instance) { i.Deadline = in(time.Hour) })))
	r.ok(r.apply(t.Context(), Action{Kind: Destroy, ID: id, Reason: "x"}))
	r.calls(providertest.Destroy, 0)
}

// An incomplete listing never makes anything gone, however often it comes.
func TestIncompleteListings(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, row := r.rented()
	for range 60 {
		r.fake.ScriptList(providertest.ListStep{Incomplete: true, Hide: []string{row.Label}})
	}
	r.pass(unusedFor-time.Minute, 5*time.Second)
	r.want(gpu.Ready, "")
	r.calls(providertest.Create, 1)
}

// Two processes on one database: the second is standby until the lease of the
// first runs out, and then the first can do nothing any more.
func TestStandby(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := r.process
	r.tick()
	second := r.start()
	r.process = second
	r.submit()
	for range 3 {
		r.tick()
		r.clock.Advance(4 * time.Second)
	}
	r.calls(providertest.Offers, 0)
	if second.Leading() || !first.Leading() {
		t.Fatalf("leading: first %t, second %t", first.Leading(), second.Leading())
	}
	if _, err := second.update(t.Context(), "x", func(*Instance) bool { return true }); !errors.Is(err, errStandby) {
		t.Errorf("a standby wrote: %v", err)
	}
	r.clock.Advance(4 * time.Second) // 16 s after the first's last word
	if first.Leading() {
		t.Error("the first leads after its lease ran out")
	}
	r.until("ready", r.has(gpu.Ready))
	if !second.Leading() || second.epoch <= first.epoch {
		t.Errorf("the second leads %t, epoch %d after %d", second.Leading(), second.epoch, first.epoch)
	}
	// The first wakes up in the middle of what it was about to do.
	label := r.rows()[0].Label
	for what, err := range map[string]error{
		"rent":    first.rent(t.Context(), Action{Offers: []Choice{{Offer: cheap}}}),
		"destroy": first.destroy(t.Context(), Action{Label: label, Reason: "x"}),
		"observe": first.observe(t.Context()),
	} {
		if !errors.Is(err, errStandby) {
			t.Errorf("%s: %v, want standby", what, err)
		}
	}
	r.calls(providertest.Create, 1)
	r.calls(providertest.Destroy, 0)
	r.want(gpu.Ready, "")
	r.process = first
	r.tick()
	if first.Leading() {
		t.Error("the first leads again while the second does")
	}
	first.forget(nil)
	r.process = second
	r.ok(second.release(t.Context()))
	r.process = first
	r.tick() // no need to wait for the lease to run out
	if !first.Leading() {
		t.Error("a lease that was given back is not taken")
	}
	second.forget(nil)
}

// Epochs rise across databases too: a worker follows the newest orchestrator,
// though its database was restored or begun anew.
func TestEpochOutlivesTheDatabase(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.tick()
	before := r.epoch
	r.exec(`UPDATE fleet SET epoch = 1, holder = '', lease_until = 0`)
	r.restart()
	r.tick()
	if r.epoch <= before {
		t.Errorf("epoch %d follows %d", r.epoch, before)
	}
	r.exec(`UPDATE fleet SET epoch = $1, lease_until = 0`, millis(in(1000*time.Hour)))
	r.restart()
	r.tick()
	if r.epoch != millis(in(1000*time.Hour))+1 {
		t.Errorf("epoch %d after a clock that was ahead", r.epoch)
	}
}

func TestLoadIdentity(t *testing.T) {
	t.Parallel()
	d := engineOf(t)(t)()
	one, err := LoadIdentity(t.Context(), d, "", "")
	if err != nil || len(one.ID) != 12 || len(one.Secret) != 32 {
		t.Fatalf("%+v, %v", one, err)
	}
	two, err := LoadIdentity(t.Context(), d, "", "")
	if err != nil || two.ID != one.ID || string(two.Secret) != string(one.Secret) {
		t.Errorf("another identity: %+v, %v", two, err)
	}
	three, err := LoadIdentity(t.Context(), d, "mine", "root")
	if err != nil || three.ID != "mine" || string(three.Secret) != "root" {
		t.Errorf("overridden: %+v, %v", three, err)
	}
	for _, bad := range []string{"a.b", "a b", "ä", strings.Repeat("a", 41)} {
		if _, err := LoadIdentity(t.Context(), d, bad, ""); err == nil {
			t.Errorf("FLEET=%q is accepted", bad)
		}
	}
}

// Rows of another provider are none of this one's business: it cannot know
// whether they exist.
func TestOtherProvider(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.tick()
	r.ok(r.save(t.Context(), with(ready("ag1.us.elsewhere"), func(i *Instance) { i.ContactAt = time.Time{} })))
	r.exec(`UPDATE instances SET provider = 'elsewhere'`)
	r.pass(5*time.Minute, 10*time.Second)
	r.want(gpu.Ready, "")
	r.calls(providertest.Destroy, 0)
	r.submit()
	r.until("another is ready", func() bool {
		rows, err := r.live(t.Context())
		return err == nil && len(rows) == 1 && rows[0].State == gpu.Ready
	})
}

// permanentRig is a rig with one worker that somebody else runs.
func permanentRig(t *testing.T) (*rig, string) {
	t.Helper()
	r := newRig(t, func(_ *Config, m *providertest.FakeConfig) { m.Traits = gpu.Traits{Permanent: true} })
	const label = "static.one"
	r.fake.Add(gpu.Instance{ID: label, Label: label, Running: true, Address: r.workers.address(label), Slots: 1})
	r.clock.Advance(time.Second)
	return r, label
}

func TestPermanent(t *testing.T) {
	t.Parallel()
	r, label := permanentRig(t)
	r.workers.set(label, true, "")
	r.tick()
	r.want(gpu.Booting, "it is configured")
	r.workers.set(label, false, "")
	r.clock.Advance(time.Second)
	r.tick()
	r.want(gpu.Ready, "its worker proved")
	r.submit()
	r.pass(20*time.Minute, time.Minute) // neither idle nor late
	r.want(gpu.Ready, "")
	r.workers.set(label, true, "")
	r.pass(2*time.Minute, 10*time.Second)
	r.want(gpu.Ready, "")
	r.pass(2*time.Minute, 10*time.Second)
	r.want(gpu.Booting, "its worker does not answer")
	if free, err := r.Slots(t.Context()); err != nil || len(free) != 0 {
		t.Errorf("slots of a silent worker: %v, %v", free, err)
	}
	r.workers.set(label, false, "")
	r.pass(10*time.Second, time.Second)
	r.want(gpu.Ready, "")
	r.calls(providertest.Create, 0)
	r.calls(providertest.Offers, 0)
	r.calls(providertest.Destroy, 0)
	r.fake.Vanish(label) // taken out of the configuration
	r.until("gone", r.has(gpu.Gone))
}

// A restart judges no worker by the time that we were away.
func TestPermanentAfterRestart(t *testing.T) {
	t.Parallel()
	r, label := permanentRig(t)
	r.pass(2*time.Second, time.Second)
	r.want(gpu.Ready, "")
	r.clock.Advance(time.Hour)
	r.restart()
	r.workers.set(label, true, "")
	r.pass(time.Minute, 10*time.Second)
	r.want(gpu.Ready, "")
}

// A process that dies at any point leaves nothing that the next does not
// adopt or destroy, creates nothing without a row, and nothing twice.
func TestCrash(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		begin func(r *rig) // up to where the points are counted
		end   func(r *rig) // what must be so in the end
	}{
		{"renting", func(r *rig) {
			r.submit()
			r.tick() // looks for offers
		}, func(r *rig) {
			r.until("ready", r.has(gpu.Ready))
		}},
		{"an ambiguous create", func(r *rig) {
			r.fake.ScriptCreate(providertest.CreateStep{Err: errors.New("EOF"), Took: true})
			r.submit()
			r.tick()
		}, func(r *rig) {
			r.until("ready", r.has(gpu.Ready))
		}},
		{"destroying", func(r *rig) {
			j := r.submit()
			r.pass(boot+10*time.Second, 10*time.Second)
			r.want(gpu.Ready, "")
			r.cancel(j)
			r.tick()
			r.clock.Advance(policy.IdleTimeout)
		}, func(r *rig) {
			r.until("destroyed", func() bool { return r.fake.Exist() == 0 })
		}},
		{"a stray", func(r *rig) {
			r.fake.Add(gpu.Instance{Label: Label("us", "lost"), Running: true})
			r.clock.Advance(lag)
			r.tick()
			r.clock.Advance(time.Second)
		}, func(r *rig) {
			r.until("destroyed", func() bool { return r.fake.Exist() == 0 })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			points := 0
			for alive := false; !alive; {
				points++
				t.Run(fmt.Sprint(points), func(t *testing.T) { alive = crashAt(t, int64(points), c.begin, c.end) })
				if points > 200 || t.Failed() {
					t.Fatalf("stopped at point %d", points)
				}
			}
			if points < 8 {
				t.Errorf("only %d points: the test has lost its teeth", points)
			}
		})
	}
}

// crashAt kills the process at a point of two rounds, and looks at what the
// next makes of it. It reports whether there was no such point.
func crashAt(t *testing.T, point int64, begin, end func(*rig)) (alive bool) {
	r := newRig(t)
	r.fake.OnCall(func(call providertest.Call) { r.point() })
	begin(r)
	r.left.Store(point)
	alive = r.tick()
	if alive {
		r.clock.Advance(time.Second)
		alive = r.tick()
	}
	r.committed()
	r.restart()
	began := r.clock.Now()
	r.pass(2*time.Minute, 10*time.Second) // all must be known within it
	for _, rec := range r.fake.Records() {
		if !rec.Exists(r.clock.Now()) {
			continue
		}
		if row := r.row(rec.Label); row.State == gpu.Gone || row.ProviderID != rec.ID {
			t.Errorf("%s after the restart %s is not known: %+v", r.clock.Now().Sub(began), rec.Label, row)
		}
	}
	end(r)
	labels := map[string]bool{}
	for _, call := range r.fake.Calls(providertest.Create) {
		if labels[call.Label] {
			t.Errorf("created twice: %s", call.Label)
		}
		labels[call.Label] = true
	}
	if r.fake.Exist() > 1 {
		t.Errorf("%d instances exist for one job", r.fake.Exist())
	}
	return alive
}

// What only renting needs to know cannot be read: nothing is rented, and what is
// idle goes all the same.
func TestDamagedRecordsHoldUpNoEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	j, _ := r.rented()
	r.cancel(j)
	r.exec(`ALTER TABLE hosts RENAME TO hosts_away`)
	r.pass(policy.IdleTimeout+time.Minute, 5*time.Second)
	r.exist(0)
	r.submit()
	r.pass(time.Minute, 5*time.Second)
	r.calls(providertest.Create, 1)
	r.exec(`ALTER TABLE hosts_away RENAME TO hosts`)
	r.until("rented", func() bool { return len(r.fake.Calls(providertest.Create)) == 2 })
}

// Nobody can read what jobs there are: what is asked to end is asked again,
// strays go, and so does what boots for too long; what works or may work stays.
func TestUnreadQueueHoldsUpNoEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config, _ *providertest.FakeConfig) { c.Policy.MaxGPUs = 5 })
	j, row := r.rented()
	run, err := r.queue.Claim(t.Context(), j.ID, row.Label, 0)
	r.ok(err)
	again, slow := r.twin(row), row
	slow.Label, slow.ProviderID, slow.State, slow.ReadyAt, slow.Address = row.Label+"slow", "", gpu.Booting, time.Time{}, ""
	slow.ProviderID, err = r.fake.Create(t.Context(), gpu.Request{Label: slow.Label, Offer: cheap})
	r.ok(err)
	again.State = gpu.Destroying
	slow.CreatedAt, slow.StateSince, slow.Deadline = r.clock.Now(), r.clock.Now(), r.clock.Now().Add(time.Minute)
	r.workers.set(slow.Label, true, "")
	r.ok(r.save(t.Context(), again, slow))
	_, err = r.fake.Create(t.Context(), gpu.Request{Label: row.Label + "stray", Offer: cheap})
	r.ok(err)
	r.exist(4)
	r.exec(`ALTER TABLE jobs RENAME TO jobs_away`)
	r.pass(policy.IdleTimeout+2*time.Minute, 5*time.Second)
	r.exist(1)
	r.exec(`ALTER TABLE jobs_away RENAME TO jobs`)
	r.tick()
	if got := r.row(run.Instance); got.State != gpu.Ready || !got.IdleSince.IsZero() {
		t.Errorf("the one that works: %+v", got)
	}
}

// A lease that this process holds already orphans none of its own jobs.
func TestOwnLeaseOrphansNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	j, row := r.rented()
	run, err := r.queue.Claim(t.Context(), j.ID, row.Label, 0)
	r.ok(err)
	r.mu.Lock()
	r.epoch = 0 // as tend has it that began before the loop took the lease
	r.mu.Unlock()
	held, err := r.hold(t.Context())
	r.ok(err)
	if got := r.job(j.ID); !held || !got.LeaseUntil.Equal(run.LeaseUntil) {
		t.Errorf("held %t; the job's lease ended %s, ends %s", held, run.LeaseUntil, got.LeaseUntil)
	}
}
