package trial

import (
	"slices"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

const s = time.Second

// good is a machine that did what we rely on.
func good() Observed {
	return Observed{
		Created: Accepted, Answered: s, Listed: 3 * s, Running: 60 * s, Address: 62 * s, Heard: 65 * s, Ready: 70 * s, Done: 80 * s,
		Renewed: 82 * s, Lease: 60 * s, Absent: 150 * s, Gone: 161 * s, Complete: 100, Statuses: []string{"scheduling", "loading", "running"},
		After: []string{"running"}, Encoder: gpuEncoder, GPU: "RTX 3060", RequireGPU: true, Lag: 90 * s, Estimate: gpu.Dollar / 100,
		Charge: &gpu.Charge{GPU: gpu.Dollar / 100, Down: gpu.Dollar / 1000}, Pulled: 200e6,
	}
}

// The names of the behaviours, as they are in judge.go.
const (
	bCreate  = "a create is answered with the id"
	bVisible = "a new instance is listed within 1m30s"
	bList    = "listings are complete, and say so"
	bPrice   = "the price is that of the offer"
	bEnv     = "env as an object, and args, reach the image's own entrypoint"
	bPort    = `"-p 3334:3334" in env opens a port that listings tell`
	bEncoder = "NVIDIA_DRIVER_CAPABILITIES brings the encoder (NVENC)"
	bJob     = "a job runs: a clip is pushed, captioned and fetched"
	bEnd     = "a machine ends itself (DELETE with CONTAINER_ID and CONTAINER_API_KEY)"
	bWords   = "what listings call a machine that ends itself"
	bDestroy = "DELETE with the account's key ends a machine"
	bBill    = "the bill is no more than was measured"
	bPull    = "whether the download of the image is charged"
	bUnits   = "unit of inet_up and inet_down"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(o *Observed)
		want   map[string]Result // those that are not as of a good one
	}{
		"good": {func(*Observed) {}, nil},
		"nothing was rented": {func(o *Observed) { *o = Observed{Lag: 90 * s} }, map[string]Result{
			bCreate: NotSeen, bVisible: NotSeen, bList: NotSeen, bPrice: NotSeen, bEnv: NotSeen, bPort: NotSeen, bEncoder: NotSeen,
			bJob: NotSeen, bEnd: NotSeen, bWords: NotSeen, bBill: NotSeen, bPull: NotSeen,
		}},
		"a create without an answer": {func(o *Observed) {
			*o = Observed{Created: Ambiguous, Answered: 120 * s, Lag: 90 * s, Destroyed: true, Gone: 220 * s}
		}, map[string]Result{
			bCreate: Fail, bVisible: NotSeen, bList: NotSeen, bPrice: NotSeen, bEnv: NotSeen, bPort: NotSeen, bEncoder: NotSeen,
			bJob: NotSeen, bEnd: NotSeen, bWords: NotSeen, bDestroy: Pass, bBill: NotSeen, bPull: NotSeen,
		}},
		"made in a stopped state":   {func(o *Observed) { o.Created = Stopped }, map[string]Result{bCreate: Fail}},
		"listed late":               {func(o *Observed) { o.Listed = 92 * s }, map[string]Result{bVisible: Fail}},
		"listed before the answer":  {func(o *Observed) { o.Listed = s / 2 }, nil},
		"never listed":              {func(o *Observed) { o.Listed = 0 }, map[string]Result{bVisible: NotSeen, bPrice: NotSeen}},
		"some listings not whole":   {func(o *Observed) { o.Incomplete = 7 }, nil},
		"no listing whole":          {func(o *Observed) { o.Complete, o.Incomplete = 0, 7 }, map[string]Result{bList: Fail}},
		"a whole listing lied":      {func(o *Observed) { o.Flickers = 1 }, map[string]Result{bList: Fail}},
		"dearer":                    {func(o *Observed) { o.Dearer = "it costs more" }, map[string]Result{bPrice: Fail}},
		"a CPU":                     {func(o *Observed) { o.Encoder = "libx264" }, map[string]Result{bEncoder: Fail}},
		"a CPU, which is all right": {func(o *Observed) { o.Encoder, o.RequireGPU = "libx264", false }, map[string]Result{bEncoder: NotSeen}},
		"no encoder": {func(o *Observed) { o.Ready, o.Encoder, o.Unfit, o.Done = 0, "", "no font", 0 }, map[string]Result{
			bEncoder: Fail, bJob: NotSeen,
		}},
		"the job failed": {func(o *Observed) { o.Done, o.JobFault = 0, "the result is short" }, map[string]Result{bJob: Fail}},
		// Ctrl-C is nobody's fault.
		"broken off before an answer": {func(o *Observed) {
			o.Heard, o.Ready, o.Done, o.Renewed, o.Encoder, o.Destroyed, o.After = 0, 0, 0, 0, "", true, nil
		}, map[string]Result{bEnv: NotSeen, bPort: NotSeen, bEncoder: NotSeen, bJob: NotSeen, bEnd: NotSeen, bWords: NotSeen, bDestroy: Pass}},
		"broken off before an encoder": {func(o *Observed) {
			o.Ready, o.Done, o.Encoder, o.Destroyed, o.After = 0, 0, "", true, nil
		}, map[string]Result{bEncoder: NotSeen, bJob: NotSeen, bEnd: NotSeen, bWords: NotSeen, bDestroy: Pass}},
		"broken off in the job": {func(o *Observed) { o.Done, o.Destroyed, o.After = 0, true, nil },
			map[string]Result{bJob: NotSeen, bEnd: NotSeen, bWords: NotSeen, bDestroy: Pass}},
		"no port": {func(o *Observed) {
			o.Address, o.Heard, o.Ready, o.Done, o.Renewed, o.Encoder = 0, 0, 0, 0, 0, ""
			o.GivenUp, o.Destroyed, o.After = "it runs and has no address after 2m0s", true, nil
		}, map[string]Result{bEnv: NotSeen, bPort: Fail, bEncoder: NotSeen, bJob: NotSeen, bEnd: NotSeen, bWords: NotSeen, bDestroy: Pass}},
		"a port that leads nowhere": {func(o *Observed) {
			o.Heard, o.Ready, o.Done, o.Renewed, o.Encoder, o.Destroyed, o.After = 0, 0, 0, 0, "", true, nil
			o.GivenUp = "it has not answered for 3m0s"
		}, map[string]Result{bEnv: NotSeen, bPort: Fail, bEncoder: NotSeen, bJob: NotSeen, bEnd: NotSeen, bWords: NotSeen, bDestroy: Pass}},
		"it did not end itself": {func(o *Observed) { o.Destroyed, o.Absent, o.After = true, 0, []string{"running", "exited"} }, map[string]Result{
			bEnd: Fail, bWords: NotSeen, bDestroy: Pass,
		}},
		"nor by us": {func(o *Observed) {
			o.Destroyed, o.Absent, o.Gone, o.Refused, o.After = true, 0, 0, "refused", []string{"exited"}
		}, map[string]Result{bEnd: Fail, bWords: NotSeen, bDestroy: Fail}},
		"ended by us before its lease ran out": {func(o *Observed) { o.Destroyed, o.Absent, o.After = true, 0, nil }, map[string]Result{
			bEnd: NotSeen, bWords: NotSeen, bDestroy: Pass,
		}},
		"gone before its lease ran out": {func(o *Observed) { o.Absent, o.After = 140*s, nil }, map[string]Result{bEnd: NotSeen, bWords: NotSeen}},
		"a bill that is not there":      {func(o *Observed) { o.Charge = nil }, map[string]Result{bBill: NotSeen, bPull: NotSeen}},
		"a bill that is higher":         {func(o *Observed) { o.Charge = &gpu.Charge{GPU: gpu.Dollar / 10} }, map[string]Result{bBill: Fail}},
		"an image that costs nothing":   {func(o *Observed) { o.Pulled = 0 }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := good()
			c.change(&o)
			var failed []string
			for _, v := range Judge(o) {
				want, changed := c.want[v.Behaviour]
				if !changed {
					want = map[string]Result{bDestroy: NotSeen, bUnits: NotSeen}[v.Behaviour]
					if want == "" {
						want = Pass
					}
				}
				if v.Result != want || v.Detail == "" {
					t.Errorf("%s: %s (%s), want %s", v.Behaviour, v.Result, v.Detail, want)
				}
				if want == Fail {
					failed = append(failed, v.Behaviour)
				}
			}
			if got := Failed(Judge(o)); !slices.Equal(got, failed) {
				t.Errorf("failed: %q, want %q", got, failed)
			}
		})
	}
}

// What the worker must hand back is looked at: the clip itself is no result.
func TestLook(t *testing.T) {
	t.Parallel()
	for name, result := range map[string][]byte{"the clip": clip, "no video": []byte("hello"), "nothing": nil} {
		if err := look(result); err == nil {
			t.Errorf("%s passed", name)
		}
	}
	other := append(slices.Clone(clip), 0, 0, 0, 8, 'f', 'r', 'e', 'e') // another file of the same picture
	if err := look(other); err != nil {
		t.Error(err)
	}
}
