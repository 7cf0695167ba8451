package fleet

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
	"github.com/api-gpu/api-gpu/internal/queue"
)

func TestSplitLabel(t *testing.T) {
	t.Parallel()
	for label, want := range map[string][2]string{
		Label("us", "01kaqk3m00000000000000000z"): {"us", "01kaqk3m00000000000000000z"},
		"ag1.a-b_C9.x": {"a-b_C9", "x"},
		"":             {}, "us": {}, "ag1": {}, "ag1.": {}, "ag1.us": {}, "ag1.us.": {}, "ag1..x": {}, "ag1.us.a.b": {},
		"ag2.us.x": {}, " ag1.us.x": {}, "AG1.us.x": {}, "ag1.u s.x": {}, "ag1.$(reboot).x": {}, "ag1." + strings.Repeat("x", 41) + ".y": {},
	} {
		of, name, ok := SplitLabel(label)
		if ok != (want[0] != "") || ok && (of != want[0] || name != want[1]) {
			t.Errorf("%q is %q, %q, %v", label, of, name, ok)
		}
		if ok && (!Ours(of, label) || Ours(of+"x", label)) {
			t.Errorf("%q is not of %q alone", label, of)
		}
	}
	born := time.Date(2026, 11, 25, 12, 0, 0, 5e6, time.UTC)
	if got := Born(Label("us", newName(born))); !got.Equal(born) {
		t.Errorf("born at %s, not %s", got, born)
	}
	for _, label := range []string{"ag1.us.x", "ag1.us." + strings.Repeat("!", 26), "elsewhere"} {
		if got := Born(label); !got.IsZero() {
			t.Errorf("%q was born at %s", label, got)
		}
	}
	if got := SweepCommand("vast", "a b; reboot"); got != "" {
		t.Errorf("a name that is none: %s", got)
	}
}

// What an instance costs at most is what it costs until it ends by itself: a
// minute is allowed for that.
func TestExposure(t *testing.T) {
	t.Parallel()
	const hour = gpu.Dollar * 36 / 100
	p := Policy{BootTimeout: 10 * time.Minute, Lease: 5 * time.Minute}
	at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
	usd := func(minutes int) gpu.USD { return hour * gpu.USD(minutes) / 60 }
	rented := Instance{
		Label: "ag1.us.x", ProviderID: "1", State: gpu.Booting, HourlyUSD: hour, CreatedAt: noon,
		Terms: Terms{GPUHourlyUSD: hour, DownUSD: gpu.Dollar / 100, UpUSD: gpu.Dollar / 50},
	}
	ran := []queue.Attempt{{JobID: "job_1", Number: 1, StartedAt: noon, EndedAt: at(1), Down: 1e8}}
	for name, c := range map[string]struct {
		change   func(*Instance)
		attempts []queue.Attempt
		want     Exposure
	}{
		"not started":  {func(*Instance) {}, nil, Exposure{Reserved: usd(1), Worst: usd(16), EndsBy: at(17), Unprotected: true}},
		"nobody knows": {func(i *Instance) { i.ProviderID = "" }, nil, Exposure{Reserved: usd(1), Worst: usd(16), EndsBy: at(17), Unprotected: true}},
		"a disk": {func(i *Instance) { i.HourlyUSD, i.Terms.DiskHourlyUSD = 2*hour, hour }, nil,
			Exposure{Spent: usd(1), Reserved: usd(1), Worst: usd(17 + 16), EndsBy: at(17), Unprotected: true}},
		"started": {func(i *Instance) { i.StartedAt = at(1) }, nil, Exposure{Reserved: usd(1), Worst: usd(16), EndsBy: at(17), Unprotected: true}},
		"started at once": {func(i *Instance) { i.StartedAt, i.LeaseUntil = noon, at(15) }, nil,
			Exposure{Spent: usd(1), Worst: usd(16), EndsBy: at(16), Unprotected: true}},
		"ready":                     {func(i *Instance) { i.StartedAt, i.ContactAt, i.LeaseUntil = noon, noon, at(6) }, nil, Exposure{Spent: usd(1), Worst: usd(7), EndsBy: at(7)}},
		"ready, and no lease noted": {func(i *Instance) { i.StartedAt, i.ContactAt = noon, noon }, nil, Exposure{Spent: usd(1), Worst: usd(6), EndsBy: at(6)}},
		"overdue":                   {func(i *Instance) { i.StartedAt, i.ContactAt, i.LeaseUntil = noon, noon, at(-9) }, nil, Exposure{Spent: usd(1), Worst: usd(1), EndsBy: at(1)}},
		"reserved": {func(i *Instance) {
			i.StartedAt, i.ContactAt, i.LeaseUntil, i.ReservedUntil, i.ReservedDown, i.ReservedUp = noon, noon, at(6), at(11), 1e9, 5e8
		}, nil, Exposure{Spent: usd(1), Reserved: usd(10) + gpu.Dollar/50, Worst: usd(7) + gpu.Dollar/50, EndsBy: at(7)}},
		"an image": {func(i *Instance) {
			i.StartedAt, i.ContactAt, i.LeaseUntil, i.ReservedDown, i.Terms.PullBytes = noon, noon, at(6), 1e9, 1e8
		}, nil, Exposure{Spent: usd(1) + gpu.Dollar/1000, Reserved: gpu.Dollar/100 - gpu.Dollar/1000, Worst: usd(7) + gpu.Dollar/100, EndsBy: at(7)}},
		"a job ran": {func(i *Instance) {
			i.StartedAt, i.ContactAt, i.LeaseUntil, i.ReservedUntil, i.ReservedDown = noon, noon, at(6), at(11), 1e8
		}, ran, Exposure{Spent: usd(1) + gpu.Dollar/1000, Reserved: usd(10), Worst: usd(7) + gpu.Dollar/1000, EndsBy: at(7)}},
		"configured": {func(i *Instance) { i.Permanent = true }, nil, Exposure{}},
	} {
		in := rented
		c.change(&in)
		if got := exposed(p, in, c.attempts, at(1)); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// What is reserved before the create is enough until a worker that nobody speaks
// to has ended its machine, whenever that started within its time to boot.
func TestReserveCoversLateStart(t *testing.T) {
	t.Parallel()
	p := Policy{BootTimeout: 10 * time.Minute, Lease: 5 * time.Minute}
	rented := Instance{ProviderID: "1", State: gpu.Booting, HourlyUSD: gpu.Dollar, CreatedAt: noon, Terms: Terms{GPUHourlyUSD: gpu.Dollar * 9 / 10, DiskHourlyUSD: gpu.Dollar / 10}}
	rented, _ = p.booked(rented, queue.Ask{})
	for at := time.Duration(0); at <= p.BootTimeout; at += time.Minute {
		for _, started := range []bool{false, true} {
			in, now := rented, noon.Add(at)
			if started {
				in.StartedAt = now
			}
			if e := exposed(p, in, nil, now.Add(time.Second)); e.Worst > e.Spent+e.Reserved || e.EndsBy.After(in.ReservedUntil.Add(time.Second)) {
				t.Errorf("after %s, started %t: it ends by %s and may cost %s; %s are spent and %s reserved until %s", at, started, e.EndsBy, e.Worst, e.Spent, e.Reserved, in.ReservedUntil)
			}
		}
	}
}

// Of what is gone, the ledger's cost counts; of two days, the part of each.
func TestSpentIn(t *testing.T) {
	t.Parallel()
	at := func(hours int) time.Time { return noon.Add(time.Duration(hours) * time.Hour) }
	in := Instance{
		State: gpu.Gone, ProviderID: "1", HourlyUSD: gpu.Dollar, Terms: Terms{GPUHourlyUSD: gpu.Dollar, DownUSD: gpu.Dollar},
		CreatedAt: noon, StartedAt: noon, ReadyAt: noon, StateSince: at(3), EndedAt: at(2),
	}
	ran := []queue.Attempt{{JobID: "job_1", Number: 1, StartedAt: at(1), EndedAt: at(2), Down: 1e9}}
	for name, c := range map[string]struct {
		from, now int
		want      gpu.USD
	}{
		"all of it": {-1, 5, 3 * gpu.Dollar}, "its first half": {-1, 1, 2 * gpu.Dollar}, "its second": {1, 5, 2 * gpu.Dollar}, "after": {3, 5, 0},
	} {
		if got := spentIn(in, ran, at(c.from), at(c.now)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	in.CostUSD, in.CostState = 7, Final
	if got := spentIn(in, nil, at(-1), at(5)); got != 7 {
		t.Errorf("the ledger says 7, not %d", got)
	}
}

// Instances of other fleets are known to the one who leads, complete listings
// forget them, and nothing touches them.
func TestForeignInstancesAreReported(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.fake.Add(gpu.Instance{Label: "ag1.them.x", HourlyUSD: 5, Running: true})
	r.fake.Add(gpu.Instance{Label: "ag1.usurper.x", Running: true})
	r.fake.Add(gpu.Instance{Label: "notebook", Running: true})
	labels := func() (out []string) {
		report, err := r.Report(r.Context())
		r.ok(err)
		for _, x := range report.Foreign {
			out = append(out, x.Label)
		}
		return out
	}
	r.pass(lag+2*time.Second, time.Second)
	if got := labels(); !slices.Equal(got, []string{"ag1.them.x", "ag1.usurper.x"}) {
		t.Errorf("foreign are %q", got)
	}
	r.fake.ScriptList(providertest.ListStep{Incomplete: true, Hide: []string{"ag1.them.x"}})
	r.pass(time.Second, time.Second)
	if got := labels(); len(got) != 2 {
		t.Errorf("a listing with holes took one away: %q", got)
	}
	r.fake.Vanish("ag1.them.x")
	r.pass(10*time.Second, time.Second)
	if got := labels(); !slices.Equal(got, []string{"ag1.usurper.x"}) {
		t.Errorf("foreign are %q", got)
	}
	r.pass(time.Minute, time.Second)
	r.calls(providertest.Destroy, 0)
}

// An end that is asked for while the create call is under way is not lost, and
// what comes to exist after all ends.
func TestEndWhileItIsCreated(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.fake.OnCall(func(c providertest.Call) {
		if c.Verb != providertest.Create || c.Err != nil {
			return
		}
		r.fake.OnCall(nil)
		other := r.start() // another process, which does not lead
		ended, err := other.End(t.Context(), c.Label)
		if err != nil || len(ended) != 1 || ended[0].State != gpu.Destroying {
			t.Errorf("ended %+v, %v", ended, err)
		}
	})
	j := r.submit()
	r.until("created", func() bool { return len(r.fake.Calls(providertest.Create)) > 0 })
	r.cancel(j)
	first := r.rows()[0]
	r.until("gone", func() bool { return r.row(first.Label).State == gpu.Gone })
	r.exist(0)
	if in := r.row(first.Label); in.Reason != wished {
		t.Errorf("it went because %q", in.Reason)
	}
}

// A job whose machine somebody ended is told what it waits for now, not what
// became of its machine.
func TestNoteAfterAnEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config, _ *providertest.FakeConfig) { c.Policy.MaxGPUs = 1 })
	j, row := r.rented()
	run, err := r.queue.Claim(t.Context(), j.ID, row.Label, 0)
	r.ok(err)
	_, err = r.End(t.Context(), row.Label)
	r.ok(err)
	_, err = r.Client(t.Context(), row.Label)
	_, err = r.queue.Requeue(t.Context(), run.Lease(), queue.Setback{Why: apigpu.AsError(err)})
	r.ok(err)
	told := func(want string) {
		t.Helper()
		r.tick()
		j, err := r.queue.Job(t.Context(), j.ID)
		r.ok(err)
		if !strings.HasPrefix(j.PhaseNote, want) {
			t.Errorf("the job is told %q", j.PhaseNote)
		}
	}
	told("earlier workers are ending, and no further one")
	r.until("another", func() bool { return len(r.fake.Calls(providertest.Create)) == 2 })
	told("a worker is starting")
}

// The intent is in the hands of who leads: who looks on asks again later.
func TestEndOfAnIntent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.tick() // it leads
	in := Instance{Label: Label("us", "x"), State: gpu.Planned, Slots: 1, CreatedAt: r.clock.Now(), StateSince: r.clock.Now(), Deadline: r.clock.Now().Add(time.Hour)}
	r.ok(r.save(r.Context(), in))
	_, err := r.start().End(r.Context(), in.Label)
	if e := apigpu.AsError(err); e == nil || e.Code != apigpu.Unavailable || e.RetryAfter == 0 || r.row(in.Label).State != gpu.Planned {
		t.Errorf("error %v, row %+v", err, r.row(in.Label))
	}
}

// An end that is asked for between the intent and the create call is not lost:
// nothing is created.
func TestEndOfAnIntentOfOurs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	now, asked := r.cfg.Now, false
	r.cfg.Now = func() time.Time {
		rows := r.rows()
		if !asked && len(rows) == 1 && rows[0].State == gpu.Planned {
			asked = true
			_, err := r.End(r.Context(), "")
			r.ok(err)
		}
		return now()
	}
	j := r.submit()
	r.until("its end is asked for", func() bool { return asked })
	r.cancel(j)
	r.until("gone", func() bool { return r.row(r.rows()[0].Label).State == gpu.Gone })
	if in := r.rows()[0]; in.Reason != wished {
		t.Errorf("it went because %q", in.Reason)
	}
	r.calls(providertest.Create, 0)
}
