package fleet

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

func waitingJob(id string, created time.Time) queue.Job {
	return queue.Job{Job: apigpu.Job{ID: id, Status: apigpu.Queued, CreatedAt: created}, WaitingUntil: in(time.Hour)}
}

func TestAssign(t *testing.T) {
	t.Parallel()
	one, two := Slot{"a", 0}, Slot{"b", 0}
	old, young := waitingJob("z", ago(2*time.Second)), waitingJob("a", ago(time.Second))
	late := waitingJob("late", ago(time.Hour))
	late.WaitingUntil = noon
	canceled := waitingJob("canceled", ago(time.Hour))
	canceled.CancelRequested = true
	runs := waitingJob("runs", ago(time.Hour))
	runs.Status = apigpu.Running
	for _, c := range []struct {
		name string
		jobs []queue.Job
		free []Slot
		want []Assignment
	}{
		{"nothing", nil, nil, []Assignment{}},
		{"the oldest first", []queue.Job{young, old}, []Slot{one}, []Assignment{{"z", one}}},
		{"each its own", []queue.Job{young, old}, []Slot{one, two}, []Assignment{{"z", one}, {"a", two}}},
		{"more slots than jobs", []queue.Job{young}, []Slot{one, two}, []Assignment{{"a", one}}},
		{"only those that may start", []queue.Job{late, canceled, runs, young}, []Slot{one, two}, []Assignment{{"a", one}}},
		{"the same moment: by id", []queue.Job{waitingJob("q", noon), waitingJob("p", noon)}, []Slot{one}, []Assignment{{"p", one}}},
	} {
		before := slices.Clone(c.jobs)
		if diff := cmp.Diff(c.want, Assign(c.jobs, c.free, noon)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		for n := range before {
			if before[n].ID != c.jobs[n].ID {
				t.Errorf("%s: the jobs of the caller were moved", c.name)
			}
		}
	}
}

func TestFreeSlots(t *testing.T) {
	t.Parallel()
	slots := func(i Instance, n int) Instance { i.Slots = n; return i }
	runs := func(instance string, slot int, s apigpu.Status) queue.Job {
		return queue.Job{Job: apigpu.Job{Status: s}, Instance: instance, Slot: slot}
	}
	got := freeSlots(
		[]Instance{slots(ready("b"), 1), slots(ready("a"), 3), slots(booting("c"), 4), slots(with(ready("d"), func(i *Instance) { i.State = gpu.Destroying }), 1),
			slots(with(ready("e"), func(i *Instance) { i.Worker.API = apigpu.APIVersion + 1 }), 2)},
		[]queue.Job{runs("a", 1, apigpu.Running), runs("a", 7, apigpu.Running), runs("", 0, apigpu.Queued)})
	want := []Slot{{"a", 0}, {"a", 2}, {"b", 0}}
	if !slices.Equal(got, want) {
		t.Errorf("free are %v, want %v", got, want)
	}
}

func TestAnswered(t *testing.T) {
	t.Parallel()
	info := apigpu.WorkerInfo{API: apigpu.APIVersion, Encoder: "h264_nvenc", Slots: 2, Load: 3}
	fit := apigpu.LeaseReply{Ready: true, Worker: info}
	unfit := apigpu.LeaseReply{Reason: "no encoder", Worker: info}
	foreign := apigpu.LeaseReply{Ready: true, Worker: info}
	foreign.Worker.API++
	cpu := apigpu.LeaseReply{Ready: true, Worker: info}
	cpu.Worker.Encoder = "libx264"
	p := policy
	p.RequireGPU = true
	heard := func(r apigpu.LeaseReply) func(*Instance) {
		return func(i *Instance) {
			i.ContactAt, i.HeardAt, i.Worker, i.Slots = noon, noon, r.Worker, 2
			i.Worker.Load = 0
		}
	}
	state := func(s gpu.State, reason string) func(*Instance) {
		return func(i *Instance) {
			if i.State == gpu.Ready && s == gpu.Booting { // it has as long again
				i.Deadline = in(policy.BootTimeout)
			}
			i.State, i.StateSince, i.Reason = s, noon, reason
		}
	}
	for _, c := range []struct {
		name  string
		row   Instance
		reply apigpu.LeaseReply
		want  []func(*Instance)
	}{
		{"the first proof", booting("a"), fit, []func(*Instance){heard(fit), state(gpu.Ready, "its worker proved h264_nvenc"),
			func(i *Instance) { i.ReadyAt, i.IdleSince = noon, noon }}},
		{"again after silence: the first proof stays", with(ready("a"), func(i *Instance) { i.State = gpu.Booting }), fit,
			[]func(*Instance){heard(fit), state(gpu.Ready, "its worker proved h264_nvenc"), func(i *Instance) { i.IdleSince = noon }}},
		{"not yet", booting("a"), unfit, []func(*Instance){heard(unfit), func(i *Instance) { i.Reason = "no encoder" }}},
		{"another version", booting("a"), foreign, []func(*Instance){heard(foreign), func(i *Instance) {
			i.Reason = otherVersion(apigpu.APIVersion + 1)
		}}},
		{"a CPU where a GPU is required", booting("a"), cpu, []func(*Instance){heard(cpu), func(i *Instance) {
			i.Reason = "its worker proved libx264 only, and a GPU is required"
		}}},
		{"a CPU that works since none was required", with(ready("a"), func(i *Instance) { i.IdleSince = time.Time{} }), cpu, []func(*Instance){heard(cpu)}},
		{"a CPU that is idle", ready("a"), cpu, []func(*Instance){heard(cpu), state(gpu.Booting, "its worker proved libx264 only, and a GPU is required")}},
		{"at work, and of a later version", with(ready("a"), func(i *Instance) { i.IdleSince = time.Time{} }), foreign,
			[]func(*Instance){heard(foreign), state(gpu.Booting, otherVersion(foreign.Worker.API))}},
		{"a renewal", ready("a"), fit, []func(*Instance){heard(fit)}},
		{"no longer", ready("a"), unfit, []func(*Instance){heard(unfit), state(gpu.Booting, "no encoder")}},
		{"too late", with(ready("a"), func(i *Instance) { i.State = gpu.Destroying }), fit, nil},
		{"far too late", with(ready("a"), func(i *Instance) { i.State = gpu.Gone }), fit, nil},
	} {
		want := c.row
		for _, change := range c.want {
			change(&want)
		}
		if diff := cmp.Diff(want, answered(c.row, c.reply, p, noon)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestCreated(t *testing.T) {
	t.Parallel()
	asked := Instance{Label: "a", State: gpu.Creating, StateSince: ago(time.Minute), AskedAt: ago(time.Minute), Reason: "a job waits"}
	for _, c := range []struct {
		name string
		row  Instance
		id   string
		err  error
		want func(*Instance)
	}{
		{"accepted", asked, "7", nil, func(i *Instance) {
			i.State, i.ProviderID, i.StateSince, i.Reason = gpu.Booting, "7", noon, "the provider accepted"
		}},
		{"refused", asked, "", fmt.Errorf("no money: %w", gpu.ErrRefused), func(i *Instance) {
			i.State, i.StateSince, i.Reason = gpu.Gone, noon, "no money: refused"
		}},
		{"the offer is gone", asked, "", gpu.ErrOfferGone, func(i *Instance) { i.State, i.StateSince, i.Reason = gpu.Gone, noon, "the offer is gone" }},
		{"created and stopped", asked, "7", gpu.ErrPartial, func(i *Instance) {
			i.State, i.ProviderID, i.StateSince, i.Reason, i.Blame = gpu.Destroying, "7", noon, "created, but it does not run", BlameMachine
		}},
		{"nobody knows", asked, "", errors.New("EOF"), func(i *Instance) { i.Ambiguous, i.Reason = true, "the create call ended without an answer" }},
		{"a listing was faster", with(asked, func(i *Instance) { i.State = gpu.Ready }), "7", nil, func(i *Instance) { i.ProviderID = "7" }},
		{"a listing was faster than an error", with(asked, func(i *Instance) { i.State, i.ProviderID = gpu.Booting, "7" }), "", errors.New("EOF"), func(*Instance) {}},
		{"it must go already", with(asked, func(i *Instance) { i.State = gpu.Destroying }), "7", nil, func(i *Instance) { i.ProviderID = "7" }},
	} {
		want := with(c.row, c.want)
		want.AskedAt = noon
		if diff := cmp.Diff(want, created(c.row, c.id, c.err, noon)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}
