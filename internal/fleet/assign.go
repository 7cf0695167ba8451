package fleet

import (
	"cmp"
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
// slots in the order of freeSlots. A job whose waiting is over, or whose cancel was
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

// freeSlots lists the slots of ready instances that no running job holds. Those
// of instances that work already come first, since they are paid for anyway,
// then the cheapest, then the oldest: the same ones fill up, and the dear ones
// fall idle and go.
func freeSlots(instances []Instance, running []queue.Job) []Slot {
	taken, busy, price := map[Slot]bool{}, map[string]int{}, map[string]gpu.USD{}
	for _, j := range running {
		taken[Slot{j.Instance, j.Slot}] = true
		busy[j.Instance] = 1
	}
	var free []Slot
	for _, in := range instances {
		if in.State != gpu.Ready || in.older() {
			continue
		}
		price[in.Label] = in.HourlyUSD
		for n := range in.Slots {
			if s := (Slot{in.Label, n}); !taken[s] {
				free = append(free, s)
			}
		}
	}
	slices.SortFunc(free, func(a, b Slot) int {
		return cmp.Or(cmp.Compare(busy[b.Instance], busy[a.Instance]), cmp.Compare(price[a.Instance], price[b.Instance]),
			strings.Compare(a.Instance, b.Instance), cmp.Compare(a.Number, b.Number))
	})
	return free
}
