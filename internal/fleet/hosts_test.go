package fleet

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// on is an instance on a machine, as it ends.
func on(owner, machine, reason string) Instance {
	return Instance{CreatedAt: noon, ReadyAt: in(time.Minute), Reason: reason, Terms: Terms{HostID: owner, MachineID: machine}}
}

func offerOf(owner, machine string) gpu.Offer { return gpu.Offer{HostID: owner, MachineID: machine} }

// The more is known of a machine, the less counts what is usual; and what it
// did fades.
func TestFails(t *testing.T) {
	t.Parallel()
	h := Hosts{}
	unknown := h.Fails(offerOf("o", "m"), noon)
	if unknown != priorFails {
		t.Errorf("of an unknown machine: %v", unknown)
	}
	for range 20 {
		h.note(on("good", "g", ""), booted, noon)
	}
	h.note(on("bad", "b", "x"), failed, noon)
	later := in(time.Hour)
	good, sibling := h.Fails(offerOf("good", "g"), later), h.Fails(offerOf("good", "g2"), later)
	bad, cousin := h.Fails(offerOf("bad", "b"), later), h.Fails(offerOf("bad", "b2"), later)
	if !(0 < good && good < sibling && sibling < unknown && unknown < cousin && cousin < bad && bad < 1) {
		t.Errorf("good %v, of the same owner %v, unknown %v, of a bad one's owner %v, bad %v", good, sibling, unknown, cousin, bad)
	}
	month := h.Fails(offerOf("bad", "b"), in(30*24*time.Hour))
	if !(unknown < month && month < bad) {
		t.Errorf("a month later %v of %v", month, bad)
	}
	if just := h.Fails(offerOf("bad", "b"), in(time.Minute)); just != shunned {
		t.Errorf("right after a failure: %v", just)
	}
	if got := h.Fails(gpu.Offer{}, noon); got != priorFails {
		t.Errorf("of an offer that names no host: %v", got)
	}
}

// A machine that fails twice in a row is left alone for an hour, then for
// longer; one good end forgives it.
func TestMachineIsBlocked(t *testing.T) {
	t.Parallel()
	h := Hosts{}
	o := offerOf("", "m")
	now := noon
	for n, want := range []time.Duration{0, 1, 2, 4, 8, 16, 24, 24} {
		h.note(on("", "m", "it burns"), failed, now)
		until, why := h.Blocked(o, now)
		if want == 0 && !until.IsZero() || want > 0 && until.Sub(now) != want*time.Hour {
			t.Errorf("after %d failures until %s, want %d h", n+1, until, want)
		}
		if want > 0 && why != fmt.Sprintf("machine m failed %d times in a row, lastly: it burns", n+1) {
			t.Errorf("because %s", why)
		}
		now = now.Add(want*time.Hour + time.Second)
		if until, why := h.Blocked(o, now); !until.IsZero() || why != "" {
			t.Errorf("blocked after its time, until %s: %s", until, why)
		}
	}
	h.note(on("", "m", "idle"), served, now)
	h.note(on("", "m", "it burns"), failed, now)
	if until, _ := h.Blocked(o, now); !until.IsZero() {
		t.Error("the row of failures goes on over a good end")
	}
	h.note(on("", "m", "it burns"), failed, now.Add(halfLife+time.Second))
	if until, _ := h.Blocked(o, now.Add(halfLife+time.Second)); !until.IsZero() {
		t.Error("the row of failures goes on over a week")
	}
	if until, _ := h.Blocked(offerOf("", ""), now); !until.IsZero() {
		t.Error("an offer that names no host is blocked")
	}
}

// An owner is judged by how many machines fail, not by how often one does.
func TestOwnerIsBlocked(t *testing.T) {
	t.Parallel()
	h := Hosts{}
	for range 5 {
		h.note(on("o", "m1", "x"), failed, noon)
	}
	h.note(on("o", "m2", "x"), failed, noon)
	fine := offerOf("o", "m9")
	if until, _ := h.Blocked(fine, noon); !until.IsZero() {
		t.Error("blocked for two machines")
	}
	h.note(on("o", "m3", "no port"), failed, noon)
	until, why := h.Blocked(fine, noon)
	if until.Sub(noon) != blockFirst || why != "3 machines of host o failed in a row, lastly: no port" {
		t.Errorf("blocked until %s: %s", until, why)
	}
	if until, _ := h.Blocked(offerOf("other", "m10"), noon); !until.IsZero() {
		t.Error("another owner is blocked too")
	}
	if _, why := h.Blocked(offerOf("o", "m1"), noon); !strings.Contains(why, "machine m1 failed 5 times") {
		t.Errorf("of two reasons the one that lasts is told, not: %s", why)
	}
	h.note(on("o", "m4", ""), served, noon)
	if until, _ := h.Blocked(fine, noon); !until.IsZero() {
		t.Error("a good end does not forgive the owner")
	}
}

func TestBootIsLearned(t *testing.T) {
	t.Parallel()
	h := Hosts{}
	if got := h.Boot(offerOf("o", "m")); got != priorBoot {
		t.Errorf("at first %s", got)
	}
	took := func(owner, machine string, d time.Duration) {
		in := on(owner, machine, "")
		in.ReadyAt = in.CreatedAt.Add(d)
		h.note(in, booted, noon)
	}
	for range 10 {
		took("swift", "s", 20*time.Second)
	}
	own, sibling, other := h.Boot(offerOf("swift", "s")), h.Boot(offerOf("swift", "s2")), h.Boot(offerOf("", ""))
	if !(20*time.Second < own && own < sibling && sibling < other && other < priorBoot) {
		t.Errorf("its own %s, of the same owner %s, any %s", own, sibling, other)
	}
	if m := h[HostKey{Machine, "s"}]; m.MeanBoot != 20*time.Second || m.Boots != 10 {
		t.Errorf("remembered %+v", m)
	}
	took("slow", "z", 5*time.Minute)
	if slow := h.Boot(offerOf("slow", "z")); slow < 2*time.Minute {
		t.Errorf("a slow one %s", slow)
	}
}

func TestPatience(t *testing.T) {
	t.Parallel()
	h := Hosts{{Machine, "a"}: {Boots: 3, MeanBoot: time.Minute}, {Owner, "o"}: {Boots: 9, MeanBoot: time.Hour}}
	if d, ok := h.patience(); ok {
		t.Errorf("%s is learned from three boots", d)
	}
	h[HostKey{Machine, "b"}] = Host{Boots: 3, MeanBoot: 2 * time.Minute}
	if d, ok := h.patience(); !ok || d != 6*time.Minute {
		t.Errorf("patience is %s, %t", d, ok)
	}
	h[HostKey{Machine, "b"}] = Host{Boots: 300, MeanBoot: 5 * time.Second}
	if d, ok := h.patience(); !ok || d != learnedLeast {
		t.Errorf("patience with swift ones is %s, %t", d, ok)
	}
}

// What is remembered fades by half in a week.
func TestFaded(t *testing.T) {
	t.Parallel()
	h := Host{Failures: 4, Boots: 8, NotedAt: noon}
	for weeks, want := range []float64{1, 0.5, 0.25} {
		f, b := h.faded(noon.Add(time.Duration(weeks) * halfLife))
		if math.Abs(f-4*want) > 1e-9 || math.Abs(b-8*want) > 1e-9 {
			t.Errorf("after %d weeks %v and %v", weeks, f, b)
		}
	}
	if f, _ := h.faded(ago(time.Hour)); f != 4 {
		t.Errorf("before it was noted: %v", f)
	}
}

func TestEventOf(t *testing.T) {
	t.Parallel()
	boots := booting("a")
	works := ready("a")
	end := func(i Instance, s gpu.State, b Blame) Instance { i.State, i.Blame = s, b; return i }
	for _, c := range []struct {
		name          string
		before, after Instance
		want          event
	}{
		{"nothing", boots, boots, ""},
		{"ready", boots, works, booted},
		{"ready again", with(works, func(i *Instance) { i.State = gpu.Booting }), works, ""},
		{"a boot that failed", boots, end(boots, gpu.Destroying, BlameMachine), failed},
		{"a boot that nobody is blamed for", boots, end(boots, gpu.Destroying, ""), ""},
		{"a boot that our image is blamed for", boots, end(boots, gpu.Destroying, BlameImage), ""},
		{"a boot that we are blamed for", boots, end(boots, gpu.Destroying, BlameOperator), ""},
		{"told once", end(boots, gpu.Destroying, BlameMachine), end(boots, gpu.Gone, BlameMachine), ""},
		{"idle", works, end(works, gpu.Destroying, ""), served},
		{"idle, and gone", end(works, gpu.Destroying, ""), end(works, gpu.Gone, ""), ""},
		{"gone at work", works, end(works, gpu.Gone, BlameMachine), failed},
		{"permanent", with(boots, func(i *Instance) { i.Permanent = true }), with(works, func(i *Instance) { i.Permanent = true }), ""},
	} {
		if got, _ := eventOf(c.before, c.after); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
