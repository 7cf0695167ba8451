package fleet

import (
	"slices"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// Slot is room for one job on one instance.
type Slot struct {
	Instance string
	Number   int
}

// Assignment puts a job on a slot.
type Assignment struct {
	JobID string
	Slot  Slot
}

// Assign decides which waiting job gets which free slot: oldest job first,
// instances in the order of their labels, so that the same ones fill up and
// the others fall idle. A job whose waiting is over, or whose cancel was
// asked for, gets none.
func Assign(jobs []queue.Job, free []Slot, now time.Time) []Assignment {
	waiting := slices.DeleteFunc(slices.Clone(jobs), func(j queue.Job) bool {
		return j.Status != apigpu.Queued || j.CancelRequested || !j.WaitingUntil.After(now)
	})
	slices.SortStableFunc(waiting, func(a, b queue.Job) int {
		if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	n := min(len(waiting), len(free))
	out := make([]Assignment, n)
	for i := range n {
		out[i] = Assignment{JobID: waiting[i].ID, Slot: free[i]}
	}
	return out
}

// freeSlots lists the slots of ready instances that no running job holds.
func freeSlots(instances []Instance, running []queue.Job) []Slot {
	taken := map[Slot]bool{}
	for _, j := range running {
		taken[Slot{j.Instance, j.Slot}] = true
	}
	var free []Slot
	for _, in := range instances {
		if in.State != gpu.Ready || in.older() {
			continue
		}
		for n := range in.Slots {
			if s := (Slot{in.Label, n}); !taken[s] {
				free = append(free, s)
			}
		}
	}
	slices.SortFunc(free, func(a, b Slot) int {
		if c := strings.Compare(a.Instance, b.Instance); c != 0 {
			return c
		}
		return a.Number - b.Number
	})
	return free
}
