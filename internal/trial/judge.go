package trial

import (
	"fmt"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// Result is what a run shows about a behaviour.
type Result string

// The results.
const (
	Pass    Result = "pass"
	Fail    Result = "FAIL"
	NotSeen Result = "not seen"
)

// Verdict is what a run shows about one behaviour that we rely on.
type Verdict struct {
	Behaviour string
	Result    Result
	Detail    string
}

// gpuEncoder is that of a GPU, as workers name it.
const gpuEncoder = "h264_nvenc"

// Judge says of each behaviour what was seen of it. It is a pure function.
func Judge(o Observed) []Verdict {
	return []Verdict{
		judgeCreate(o), judgeVisible(o), judgeListings(o), judgePrice(o),
		judgeEnv(o), judgePort(o), judgeEncoder(o), judgeJob(o),
		judgeEnd(o), judgeWords(o), judgeDestroy(o), judgeCharges(o), judgePull(o),
		{"unit of inet_up and inet_down", NotSeen, "no rental can show it: taken as Mbit/s, the slower reading"},
	}
}

// Failed are the behaviours that were seen to be otherwise.
func Failed(all []Verdict) (names []string) {
	for _, v := range all {
		if v.Result == Fail {
			names = append(names, v.Behaviour)
		}
	}
	return names
}

// about makes a verdict.
func about(behaviour string) func(r Result, format string, args ...any) Verdict {
	return func(r Result, format string, args ...any) Verdict {
		return Verdict{behaviour, r, fmt.Sprintf(format, args...)}
	}
}

func judgeCreate(o Observed) Verdict {
	say := about("a create is answered with the id")
	switch o.Created {
	case Accepted:
		return say(Pass, "after %s", short(o.Answered))
	case Ambiguous:
		return say(Fail, "nobody knows what became of it")
	case Stopped:
		return say(Fail, "it was made in a stopped state, though cancel_unavail was sent")
	}
	return say(NotSeen, "nothing was rented")
}

func judgeVisible(o Observed) Verdict {
	say := about(fmt.Sprintf("a new instance is listed within %s", short(o.Lag)))
	switch lag := o.Listed - o.Answered; {
	case o.Created == NotCreated:
		return say(NotSeen, "nothing was rented")
	case o.Listed == 0 && o.Complete == 0:
		return say(NotSeen, "no listing came whole")
	case o.Listed == 0:
		return say(NotSeen, "no listing had it")
	case lag > o.Lag:
		return say(Fail, "after %s", short(lag))
	default:
		return say(Pass, "%s after the create was answered, or sooner", short(max(lag, 0)))
	}
}

func judgeListings(o Observed) Verdict {
	say := about("listings are complete, and say so")
	all, more := o.Complete+o.Incomplete, ""
	if o.Unanswered > 0 {
		more = fmt.Sprintf("; %d did not come", o.Unanswered)
	}
	switch {
	case all == 0:
		return say(NotSeen, "none came%s", more)
	case o.Flickers > 0:
		return say(Fail, "%d of %d that said they were complete lacked an instance that was there", o.Flickers, o.Complete)
	case o.Complete == 0:
		return say(Fail, "none of %d was%s", all, more)
	case o.Incomplete > 0:
		return say(Pass, "%d of %d were not complete, and said so%s", o.Incomplete, all, more)
	}
	return say(Pass, "all %d%s", all, more)
}

func judgePrice(o Observed) Verdict {
	say := about("the price is that of the offer")
	switch {
	case o.Listed == 0:
		return say(NotSeen, "no listing had it")
	case o.Dearer != "":
		return say(Fail, "%s", o.Dearer)
	}
	return say(Pass, "as listed")
}

func judgeEnv(o Observed) Verdict {
	say := about("env as an object, and args, reach the image's own entrypoint")
	switch {
	case o.Heard > 0: // with a key that it can only have from there
		return say(Pass, "the worker has the key of the link, and our credentials")
	case o.Running == 0:
		return say(NotSeen, "no container ran")
	case o.Address == 0:
		return say(NotSeen, "it had no address")
	}
	return say(NotSeen, "nobody answered: the port may be closed, or the worker not started")
}

func judgePort(o Observed) Verdict {
	say := about(`"-p 3334:3334" in env opens a port that listings tell`)
	switch {
	case o.Heard > 0:
		return say(Pass, "the address was told %s after the container ran", short(max(o.Address-o.Running, 0)))
	case o.Address > 0 && o.GivenUp == "":
		return say(NotSeen, "a port was told, and it was broken off before anybody answered there")
	case o.Address > 0:
		return say(Fail, "a port was told, and no worker of ours answers there")
	case o.Running > 0 && o.GivenUp != "":
		return say(Fail, "%s", o.GivenUp)
	}
	return say(NotSeen, "no container ran")
}

func judgeEncoder(o Observed) Verdict {
	say := about("NVIDIA_DRIVER_CAPABILITIES brings the encoder (NVENC)")
	switch {
	case o.Ready > 0 && o.Encoder == gpuEncoder:
		return say(Pass, "%s proven on %s", o.Encoder, o.GPU)
	case o.Ready > 0 && !o.RequireGPU:
		return say(NotSeen, "proven was %s, and REQUIRE_GPU is off", o.Encoder)
	case o.Heard > 0 && o.Encoder != "":
		return say(Fail, "proven was %s only", o.Encoder)
	case o.Heard > 0 && o.Unfit+o.GivenUp == "":
		return say(NotSeen, "it was broken off before one was proven")
	case o.Heard > 0:
		return say(Fail, "no encoder was proven: %s", orElse(o.Unfit, o.GivenUp))
	}
	return say(NotSeen, "no worker answered")
}

func judgeJob(o Observed) Verdict {
	say := about("a job runs: a clip is pushed, captioned and fetched")
	switch {
	case o.Done > 0:
		return say(Pass, "%s after the encoder was proven", short(o.Done-o.Ready))
	case o.JobFault != "":
		return say(Fail, "%s", o.JobFault)
	case o.Ready > 0:
		return say(NotSeen, "it was broken off before the job was done")
	}
	return say(NotSeen, "no worker was ready")
}

// judgeEnd is on what all of renting rests.
func judgeEnd(o Observed) Verdict {
	say := about("a machine ends itself (DELETE with CONTAINER_ID and CONTAINER_API_KEY)")
	over := o.Renewed + o.Lease
	switch {
	case o.EndedItself():
		return say(Pass, "it was gone at most %s after its lease", short(o.Absent-over))
	case o.Renewed == 0:
		return say(NotSeen, "no worker had a lease")
	case o.Absent > 0 && o.Absent < over && !o.Destroyed:
		return say(NotSeen, "it was gone before its lease had run out: somebody else ended it")
	case o.Destroyed && o.Absent >= over:
		return say(NotSeen, "it was listed no more after its lease, but that was not proven before its end was asked for")
	case o.Destroyed && len(o.After) == 0:
		return say(NotSeen, "its end was asked for before anybody had seen whether it does")
	}
	return say(Fail, "it was still there after its lease; listed as %s", words(o.After))
}

func judgeWords(o Observed) Verdict {
	say := about("what listings call a machine that ends itself")
	switch {
	case !o.EndedItself():
		return say(NotSeen, "none did")
	case len(o.After) == 0:
		return say(Pass, "it was in no listing any more")
	}
	return say(Pass, "%s, then absent", words(o.After))
}

func judgeDestroy(o Observed) Verdict {
	say := about("DELETE with the account's key ends a machine")
	switch {
	case !o.Destroyed:
		return say(NotSeen, "it was not needed")
	case o.Gone > 0:
		return say(Pass, "it was gone %s after the create call", short(o.Gone))
	case o.Refused != "":
		return say(Fail, "%s", o.Refused)
	}
	return say(Fail, "its absence was not proven")
}

// judgeCharges holds the bill against our measure: half as much again is more
// than listings can be late by.
func judgeCharges(o Observed) Verdict {
	say := about("the bill is no more than was measured")
	if o.Charge == nil {
		return say(NotSeen, "%s", orElse(o.ChargeFault, "it was not there in time"))
	}
	c := *o.Charge
	detail := fmt.Sprintf("%s, and %s were estimated (GPU %s, disk %s, traffic %s)", c.Total(), o.Estimate, c.GPU, c.Disk, c.Down+c.Up)
	if work := c.Total() - c.Down; work > o.Estimate+o.Estimate/2+gpu.Dollar/1000 {
		return say(Fail, "%s", detail)
	}
	return say(Pass, "%s", detail)
}

// leastPull is what a bill must have beyond the job to be taken for an image:
// ours has some 250 MB, and the link and what failed are below this.
const leastPull = 5e6

func judgePull(o Observed) Verdict {
	say := about("whether the download of the image is charged")
	switch {
	case o.Charge == nil:
		return say(NotSeen, "%s", orElse(o.ChargeFault, "the bill was not there in time"))
	case o.Pulled >= leastPull:
		return say(Pass, "it is: %.0f MB more than the job moved", float64(o.Pulled)/1e6)
	}
	return say(Pass, "it is not, or the machine had the image")
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// words are states in their order.
func words(states []string) string {
	if len(states) == 0 {
		return "nothing"
	}
	return strings.Join(states, ", then ")
}

// short is a time to a tenth of a second.
func short(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }
