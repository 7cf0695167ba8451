package fleet

import (
	"fmt"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
)

// How long a machine that boots may go on without news, each from what it did
// last. BOOT_TIMEOUT bounds all of it.
const (
	// noNews: the provider says nothing new about it. A download of an image
	// that goes on is told of every few seconds.
	noNews = 3 * time.Minute
	// noAddress: its container runs, and its port is not open to the outside:
	// as a rule the offer had no port to give.
	noAddress = 2 * time.Minute
	// noAnswer: nobody answers at its address who knows the key of the link.
	noAnswer = 3 * time.Minute
	// unfitFor: its worker answers and cannot encode. A proof takes seconds,
	// and one that failed is not tried again.
	unfitFor = time.Minute
	// refusedFor: its worker does not take us for its orchestrator.
	refusedFor = 30 * time.Second

	// Once so many boots are remembered, one that takes learnedTimes their mean
	// is given up, but for one in a few hundred never too soon (boot times are
	// about log-normal, sigma 0.5). learnedLeast is where a shorter deadline no
	// longer pays on a market with bad hosts.
	learnedBoots = 5
	learnedTimes = 4
	learnedLeast = 4 * time.Minute
)

// Blame is on whom it is that an instance ended; empty for nobody.
type Blame string

// Whom an end is blamed on.
const (
	// BlameMachine: the machine, its network or its owner. Remembered in hosts.
	BlameMachine Blame = "machine"
	// BlameImage: our image, or the login to its registry.
	BlameImage Blame = "image"
	// BlameOperator: a setting of ours.
	BlameOperator Blame = "operator"
)

// limit is a moment at which an instance that boots is given up.
type limit struct {
	at     time.Time
	reason string
	blame  Blame
}

// endBoot says why an instance that boots must go now, or nothing and when
// that may change.
func endBoot(p Policy, w World, in Instance, now time.Time) (a Action, due time.Time) {
	if a = hopeless(p, w, in, now); a.Reason != "" {
		return a, due
	}
	settled := w.Since.Add(settleIn)
	for _, l := range bootLimits(p, w, in) {
		l.at = latest(l.at, settled)
		if !now.Before(l.at) {
			return Action{Reason: l.reason, Blame: l.blame}, time.Time{}
		}
		if due.IsZero() || l.at.Before(due) {
			due = l.at
		}
	}
	return a, due
}

// hopeless is the end of an instance for which no waiting is of use.
func hopeless(p Policy, w World, in Instance, now time.Time) Action {
	price, _ := overpriced(p, in)
	switch {
	case in.Fault == gpu.FaultImage:
		return Action{Reason: "it cannot start the image: " + in.Message, Blame: BlameImage}
	case in.Fault != "":
		return Action{Reason: "its machine cannot start it: " + in.Message, Blame: BlameMachine}
	case w.Exited[in.Label] && now.After(in.Deadline): // while we were away: then it must end itself
		return Action{Reason: "its worker ended"}
	case w.Exited[in.Label]:
		return Action{Reason: "its worker ended", Blame: BlameMachine}
	case price != "":
		return Action{Reason: price, Blame: BlameMachine}
	case in.older():
		return Action{Reason: otherVersion(in.Worker.API), Blame: BlameOperator}
	case noGPU(p, in.Worker):
		return Action{Reason: onlyCPU(in.Worker), Blame: BlameMachine}
	}
	return Action{}
}

// bootLimits are the moments at which an instance that boots is given up, the
// weightiest reason first. Time during which we, or the provider's API, were
// away is not counted against it.
func bootLimits(p Policy, w World, in Instance) (limits []limit) {
	add := func(at time.Time, blame Blame, format string, args ...any) {
		limits = append(limits, limit{at, fmt.Sprintf(format, args...), blame})
	}
	seen := latest(w.Since, w.Reachable)
	heard := !in.HeardAt.IsZero() && !in.ContactAt.Before(in.HeardAt)
	switch r, refused := w.Refused[in.Label]; {
	case refused && r.Code == apigpu.AddressNotAllowed:
		add(latest(r.Since, w.Since).Add(refusedFor), BlameOperator, "its worker refuses the address of this server: %s", r.Message)
	case w.Blind && !heard: // nothing but the clock can be judged
	case in.Address == "" && in.StartedAt.IsZero():
		add(latest(latest(in.StateSince, in.MessageAt), seen).Add(noNews), BlameMachine, "no news of its start for %s%s", noNews, lastly(in))
	case in.Address == "":
		add(latest(in.StartedAt, seen).Add(noAddress), BlameMachine, "it runs and has no address after %s", noAddress)
	case !heard:
		add(latest(latest(in.AddressAt, in.ContactAt), seen).Add(noAnswer), blameUnheard(refused), "no answer at its address for %s", noAnswer)
	case !in.ReadyAt.IsZero():
		add(latest(in.StateSince, w.Since).Add(unfitFor), BlameMachine, "no longer ready: %s", in.Reason)
	default:
		add(latest(in.HeardAt, w.Since).Add(unfitFor), BlameMachine, "its worker takes no job: %s", in.Reason)
	}
	if !in.ReadyAt.IsZero() {
		add(in.Deadline, BlameMachine, "no longer ready: %s", in.Reason)
		return limits
	}
	add(in.Deadline, BlameMachine, "not ready within %s", in.Deadline.Sub(in.CreatedAt).Round(time.Second))
	if usual, ok := w.Hosts.patience(); ok {
		add(latest(in.CreatedAt.Add(usual), seen), BlameMachine, "not ready within %s, and others are much sooner", usual)
	}
	return limits
}

// blameUnheard: whoever answers with the key of the link and refuses us is no
// bad machine.
func blameUnheard(refused bool) Blame {
	if refused {
		return BlameOperator
	}
	return BlameMachine
}

// lastly quotes the provider's last word.
func lastly(in Instance) string {
	if in.Message == "" {
		return ""
	}
	return ": " + in.Message
}

// patience is how long a boot is waited for by what others took; not ok while
// too little is known.
func (h Hosts) patience() (d time.Duration, ok bool) {
	mean, boots := h.overall()
	if boots < learnedBoots {
		return 0, false
	}
	return max(learnedTimes*mean, learnedLeast).Round(time.Second), true
}

// overpriced says how an instance costs more than it was rented for, or nothing;
// and whether that is more than any may cost. Providers round, and compute the
// price of a disk by a month of another length, or of another size: to send a
// machine away for that would be to send all of them away.
func overpriced(p Policy, in Instance) (reason string, forbidden bool) {
	rounding := max(in.HourlyUSD/20, gpu.Dollar/200)
	switch {
	case in.ListedUSD <= in.HourlyUSD+gpu.Dollar/1e6:
		return "", false
	case p.MaxPrice > 0 && in.ListedUSD > p.MaxPrice+rounding:
		return fmt.Sprintf("it costs %s an hour: at most %s is allowed", in.ListedUSD, p.MaxPrice), true
	case in.HourlyUSD > 0 && in.ListedUSD > in.HourlyUSD+rounding:
		return fmt.Sprintf("it costs %s an hour: it was offered for %s", in.ListedUSD, in.HourlyUSD), false
	}
	return "", false
}

// gpuEncoder is the encoder of a GPU: the only one whose proof makes a rented
// machine fit where a GPU is required.
const gpuEncoder = "h264_nvenc"

// noGPU reports whether a worker has proven an encoder that a rented machine is
// not paid for. On machines that cost nothing each job says so for itself.
func noGPU(p Policy, worker apigpu.WorkerInfo) bool {
	return p.RequireGPU && !p.Traits.Free && worker.Encoder != "" && worker.Encoder != gpuEncoder
}

func onlyCPU(worker apigpu.WorkerInfo) string {
	return "its worker proved " + worker.Encoder + " only, and a GPU is required"
}

// older reports whether the worker is known to speak another API than ours. It
// gets no job. One of the version before finishes those that it has.
func (in Instance) older() bool { return in.Worker.API != 0 && in.Worker.API != apigpu.APIVersion }

func otherVersion(api int) string {
	return fmt.Sprintf("its worker speaks version %d of the API between them, this server version %d", api, apigpu.APIVersion)
}

// drains reports whether a worker of this API version may finish what it has:
// that before ours, as an orchestrator that is replaced leaves it.
func drains(api, ours int) bool { return api > 0 && api == ours-1 }

// vanished is on whom it is that an instance went without being asked to. One
// whose lease ran out ended itself, as it must; one without a job may have been
// ended by anybody.
func vanished(before Instance, p Policy) Blame {
	switch {
	case before.Permanent || before.Ambiguous:
		return ""
	case before.State == gpu.Booting && before.ReadyAt.IsZero() && before.AbsentSince.Before(before.Deadline):
		return BlameMachine
	case before.State != gpu.Ready || !before.IdleSince.IsZero():
		return ""
	case before.AbsentSince.Sub(before.ContactAt) < p.Lease:
		return BlameMachine
	}
	return ""
}
