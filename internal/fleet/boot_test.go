package fleet

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
)

// A boot of one minute at noon, as TestEndBoot sees it.
func TestEndBoot(t *testing.T) {
	t.Parallel()
	type change = func(*Instance)
	blamed := func(b Blame, reason string) Action { return Action{Reason: reason, Blame: b} }
	machine := func(reason string) Action { return blamed(BlameMachine, reason) }
	refused := func(code apigpu.Code, since time.Time) World {
		return World{Refused: map[string]Refusal{"a": {Code: code, Message: "This worker does not answer 192.0.2.1.", Since: since}}}
	}
	learned := World{Hosts: Hosts{{Machine, "m"}: {Boots: 9, MeanBoot: 10 * time.Second, NotedAt: noon}}}
	p := policy
	p.RequireGPU, p.MaxPrice = true, gpu.Dollar/2
	heard := func(i *Instance) {
		i.Address, i.AddressAt, i.ContactAt, i.HeardAt = "x", ago(time.Minute), noon, ago(time.Second)
	}
	for _, c := range []struct {
		name  string
		world World
		is    change
		want  Action
		due   time.Duration // from noon; where it stays
	}{
		{"nothing said: until it is too long", World{}, func(*Instance) {}, Action{}, 2 * time.Minute},
		{"no news", World{}, func(i *Instance) { i.StateSince = ago(3 * time.Minute) }, machine("no news of its start for 3m0s"), 0},
		{"no news since its last words", World{}, func(i *Instance) {
			i.StateSince, i.MessageAt, i.Message = ago(4*time.Minute), ago(3*time.Minute), "Pulling fs layer"
		}, machine("no news of its start for 3m0s: Pulling fs layer"), 0},
		{"news of a long download", World{}, func(i *Instance) { i.StateSince, i.MessageAt = ago(4*time.Minute), ago(time.Second) }, Action{}, 3*time.Minute - time.Second},
		{"no news while the provider told none", World{Reachable: ago(time.Minute)}, func(i *Instance) { i.StateSince = ago(4 * time.Minute) }, Action{}, 2 * time.Minute},
		{"no news while nothing is told", World{Blind: true}, func(i *Instance) { i.StateSince = ago(4 * time.Minute) }, Action{}, 4 * time.Minute},
		{"the hard cap while nothing is told", World{Blind: true}, func(i *Instance) { i.Deadline = noon }, machine("not ready within 1m0s"), 0},
		{"no news right after a start of ours", World{Since: ago(time.Second)}, func(i *Instance) { i.StateSince = ago(time.Hour) }, Action{}, 3*time.Minute - time.Second},
		{"it runs and has no address yet", World{}, func(i *Instance) { i.StartedAt = ago(time.Minute) }, Action{}, time.Minute},
		{"it runs and has no address", World{}, func(i *Instance) { i.StartedAt, i.MessageAt = ago(2*time.Minute), noon }, machine("it runs and has no address after 2m0s"), 0},
		{"nobody answers yet", World{}, func(i *Instance) { i.Address, i.AddressAt = "x", ago(time.Minute) }, Action{}, 2 * time.Minute},
		{"nobody answers", World{}, func(i *Instance) { i.Address, i.AddressAt = "x", ago(3*time.Minute) }, machine("no answer at its address for 3m0s"), 0},
		{"nobody answered while we were away", World{Since: ago(time.Minute)}, func(i *Instance) { i.Address, i.AddressAt = "x", ago(time.Hour) }, Action{}, 2 * time.Minute},
		{"who answers refuses our key", refused(apigpu.InvalidSession, ago(time.Minute)), func(i *Instance) { i.Address, i.AddressAt = "x", ago(3*time.Minute) },
			blamed(BlameOperator, "no answer at its address for 3m0s"), 0},
		{"it refuses our address", refused(apigpu.AddressNotAllowed, ago(30*time.Second)), func(i *Instance) { i.Address, i.AddressAt = "x", ago(31*time.Second) },
			blamed(BlameOperator, "its worker refuses the address of this server: This worker does not answer 192.0.2.1."), 0},
		{"it has just refused our address", refused(apigpu.AddressNotAllowed, ago(time.Second)), func(i *Instance) { i.Address, i.AddressAt = "x", ago(time.Minute) }, Action{}, 29 * time.Second},
		{"it is proving its encoder", World{}, heard, Action{}, 59 * time.Second},
		{"it proved none", World{}, func(i *Instance) { heard(i); i.HeardAt, i.Reason = ago(time.Minute), "no encoder" }, machine("its worker takes no job: no encoder"), 0},
		{"it proved a CPU", World{}, func(i *Instance) { heard(i); i.Worker.Encoder = "libx264" }, machine("its worker proved libx264 only, and a GPU is required"), 0},
		{"it proved a GPU, and lacks something else", World{}, func(i *Instance) { heard(i); i.Worker.Encoder = "h264_nvenc" }, Action{}, 59 * time.Second},
		{"another version", World{}, func(i *Instance) { heard(i); i.Worker.API = apigpu.APIVersion + 1 },
			blamed(BlameOperator, otherVersion(apigpu.APIVersion+1)), 0},
		{"a fault of the machine", World{Exited: map[string]bool{"a": true}}, func(i *Instance) { i.Fault, i.Message = gpu.FaultMachine, "OCI runtime" },
			machine("its machine cannot start it: OCI runtime"), 0},
		{"a fault of the image", World{Exited: map[string]bool{"a": true}}, func(i *Instance) { i.Fault, i.Message = gpu.FaultImage, "manifest unknown" },
			blamed(BlameImage, "it cannot start the image: manifest unknown"), 0},
		{"it ended", World{Exited: map[string]bool{"a": true}}, func(*Instance) {}, machine("its worker ended"), 0},
		{"it ended while we were away", World{Exited: map[string]bool{"a": true}}, func(i *Instance) { i.Deadline = ago(time.Hour) }, blamed("", "its worker ended"), 0},
		{"dearer than offered", World{}, func(i *Instance) { i.HourlyUSD, i.ListedUSD = gpu.Dollar/10, gpu.Dollar/8 },
			machine("it costs $0.125000 an hour: it was offered for $0.100000"), 0},
		{"dearer than allowed", World{}, func(i *Instance) { i.HourlyUSD, i.ListedUSD = gpu.Dollar/2, gpu.Dollar/2+gpu.Dollar/10 },
			machine("it costs $0.600000 an hour: at most $0.500000 is allowed"), 0},
		{"dearer by rounding", World{}, func(i *Instance) { i.HourlyUSD, i.ListedUSD = gpu.Dollar/5, gpu.Dollar/5+gpu.Dollar/100 }, Action{}, 2 * time.Minute},
		{"the bound was lowered since", World{}, func(i *Instance) { i.HourlyUSD, i.ListedUSD = gpu.Dollar, gpu.Dollar }, Action{}, 2 * time.Minute},
		{"others are sooner", learned, func(i *Instance) { i.CreatedAt, i.StateSince = ago(4*time.Minute), ago(time.Second) },
			machine("not ready within 4m0s, and others are much sooner"), 0},
		{"others are sooner, and it has time yet", learned, func(i *Instance) { i.CreatedAt, i.MessageAt = ago(4*time.Minute-time.Second), noon }, Action{}, time.Second},
		{"ready once: what others took is no matter", learned, func(i *Instance) {
			heard(i)
			i.ReadyAt, i.CreatedAt, i.StateSince = ago(time.Minute), ago(5*time.Minute), ago(time.Second)
		}, Action{}, 59 * time.Second},
	} {
		in := with(booting("a"), c.is)
		got, due := endBoot(p, c.world, in, noon)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if want := noon.Add(c.due); got.Reason == "" && !due.Equal(want) || got.Reason != "" && !due.IsZero() {
			t.Errorf("%s: looked at again in %s, want %s", c.name, due.Sub(noon), c.due)
		}
	}
}

// On machines that cost nothing, each job says whether it needs a GPU.
func TestGPUIsNotRequiredOfFreeMachines(t *testing.T) {
	t.Parallel()
	p := policy
	cpu := apigpu.WorkerInfo{Encoder: "libx264"}
	if noGPU(p, cpu) {
		t.Error("a GPU is required though nobody requires one")
	}
	p.RequireGPU = true
	if !noGPU(p, cpu) || noGPU(p, apigpu.WorkerInfo{}) || noGPU(p, apigpu.WorkerInfo{Encoder: gpuEncoder}) {
		t.Error("of a rented machine a GPU is required, once its proof is known")
	}
	if p.Traits.Free = true; noGPU(p, cpu) {
		t.Error("a free machine is turned away")
	}
}

func TestDrains(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		api, ours int
		want      bool
	}{{1, 1, false}, {0, 1, false}, {1, 2, true}, {1, 3, false}, {3, 2, false}} {
		if got := drains(c.api, c.ours); got != c.want {
			t.Errorf("a worker of version %d under version %d: %t", c.api, c.ours, got)
		}
	}
}

// What a ready machine ends for, and on whom it is.
func TestEndReadyBlames(t *testing.T) {
	t.Parallel()
	busy := map[string]int{"a": 1}
	exited := map[string]bool{"a": true}
	p := policy
	p.MaxPrice = gpu.Dollar
	silent := func(i *Instance) { i.ContactAt = ago(p.Silence) }
	dear := func(usd gpu.USD) func(*Instance) {
		return func(i *Instance) { i.HourlyUSD, i.ListedUSD = gpu.Dollar/10, usd }
	}
	old := func(i *Instance) { i.Worker.API = apigpu.APIVersion + 1 }
	for _, c := range []struct {
		name  string
		world World
		is    func(*Instance)
		want  Action
	}{
		{"it ended at work", World{Exited: exited, Busy: busy}, func(*Instance) {}, Action{Reason: "its worker ended", Blame: BlameMachine}},
		{"it ended idle: who knows by whom", World{Exited: exited}, func(*Instance) {}, Action{Reason: "its worker ended"}},
		{"its lease ran out while we were away", World{Exited: exited, Busy: busy}, func(i *Instance) { i.ContactAt = ago(p.Lease) }, Action{Reason: "its worker ended"}},
		{"silent", World{Busy: busy}, silent, Action{Reason: "no answer for 3m0s", Blame: BlameMachine}},
		{"not silent: it refuses us", World{Busy: busy, Refused: map[string]Refusal{"a": {Code: apigpu.AddressNotAllowed, Message: "No."}}}, silent,
			Action{Reason: "its worker refuses this server for 3m0s: No.", Blame: BlameOperator}},
		{"dearer, at work", World{Busy: busy}, dear(gpu.Dollar / 2), Action{}},
		{"dearer", World{Waiting: 1}, dear(gpu.Dollar / 2), Action{Reason: "it costs $0.500000 an hour: it was offered for $0.100000", Blame: BlameMachine, IfIdle: true}},
		{"dearer than allowed, at work", World{Busy: busy}, dear(2 * gpu.Dollar), Action{Reason: "it costs $2.000000 an hour: at most $1.000000 is allowed", Blame: BlameMachine}},
		{"dearer than allowed by no more than is rounded", World{Waiting: 1}, func(i *Instance) { i.HourlyUSD, i.ListedUSD = gpu.Dollar, gpu.Dollar*1004/1000 }, Action{}},
		{"of another version, at work", World{Busy: busy}, old, Action{}},
		{"of another version", World{Waiting: 1}, old, Action{Reason: otherVersion(apigpu.APIVersion + 1), IfIdle: true}},
	} {
		got, _ := endReady(p, c.world, with(ready("a"), c.is), noon)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestVanished(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		is   Instance
		want Blame
	}{
		{"while it booted", with(booting("a"), func(i *Instance) { i.AbsentSince = noon }), BlameMachine},
		{"while it booted and we were away", with(booting("a"), func(i *Instance) { i.AbsentSince = in(time.Hour) }), ""},
		{"at work", with(ready("a"), func(i *Instance) { i.IdleSince, i.AbsentSince = time.Time{}, noon }), BlameMachine},
		{"idle", with(ready("a"), func(i *Instance) { i.AbsentSince = noon }), ""},
		{"at work, after its lease", with(ready("a"), func(i *Instance) {
			i.IdleSince, i.AbsentSince, i.ContactAt = time.Time{}, noon, ago(policy.Lease)
		}), ""},
		{"never seen", creating("a"), ""},
		{"as we asked", with(ready("a"), func(i *Instance) { i.State = gpu.Destroying }), ""},
	} {
		if got := vanished(c.is, policy); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
