package dispatch

import (
	"cmp"
	"context"

	"github.com/api-gpu/api-gpu/internal/blob"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// Of the queued jobs, one round looks at so many more than there are slots,
// and at so many without room: each look asks the volume.
const (
	spareLooks = 8
	maxRefused = 8
)

// haveRoom leaves out the queued jobs whose results could not be kept: what
// cannot be must not be rendered, again and again. A small one may go before a
// large one that waits for room. That is told once, until all have room again.
// The room of those that are left is held until release, so that no two of them
// count on the same.
func (d *Dispatcher) haveRoom(ctx context.Context, queued []queue.Job, slots int) (out []queue.Job, release func()) {
	var holds []*blob.Hold
	refused := 0
	for _, j := range queued {
		if len(holds) == slots+spareLooks || refused == maxRefused {
			break
		}
		hold, err := d.cfg.Blob.ReserveResult(ctx, cmp.Or(j.Room, blob.MinRoom), 0)
		if err == nil {
			out, holds = append(out, j), append(holds, hold)
			continue
		}
		if refused++; !d.full {
			d.full = true
			d.cfg.Log.WarnContext(ctx, "no job is started", "job", j.ID, "error", err)
		}
	}
	d.full = d.full && refused > 0
	return out, func() {
		for _, hold := range holds {
			hold.Release()
		}
	}
}
