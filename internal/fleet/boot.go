package fleet

import (
	"fmt"
	"time"
)

func endBoot(w World, in Instance, now time.Time) (a Action, due time.Time) {
	last := latest(in.Deadline, w.Since.Add(settleIn))
	switch {
	case w.Exited[in.Label]:
		return Action{Reason: "its worker ended"}, due
	case now.Before(last):
		return a, last
	case !in.ReadyAt.IsZero():
		return Action{Reason: "no longer ready: " + in.Reason}, due
	}
	return Action{Reason: fmt.Sprintf("not ready within %s", in.Deadline.Sub(in.CreatedAt).Round(time.Second))}, due
}
