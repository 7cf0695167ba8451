package fleet

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/queue"
)

// Speeds are learned from so many jobs, and looked up again after so long.
const (
	speedJobs = 50
	speedsFor = time.Minute
)

// speedsKept is what was learned of speeds, and when.
type speedsKept struct {
	speeds Speeds
	at     time.Time
}

// demand adds to the world what the open jobs take. Where none waits nobody
// asks.
func (f *Fleet) demand(ctx context.Context, w *World) error {
	traits := f.cfg.Policy.Traits
	w.Speeds.Free = traits.Free
	if w.Waiting == 0 || traits.Permanent {
		return nil
	}
	var err error
	if w.Speeds, err = f.speeds(ctx); err != nil {
		return err
	}
	queued, running, err := f.cfg.Queue.Backlog(ctx, backlogMost)
	if err != nil {
		return err
	}
	for _, n := range queued {
		w.Backlog = append(w.Backlog, estimate(n, w.Speeds))
	}
	now := f.cfg.Now()
	w.Left = map[string][]time.Duration{}
	for _, n := range running {
		w.Left[n.Instance] = append(w.Left[n.Instance], left(n, estimate(n, w.Speeds), now))
	}
	w.Unused, w.UnusedAt, err = f.unused(ctx)
	return err
}

// speeds is how fast the latest jobs were rendered, as known a minute ago at
// the earliest.
func (f *Fleet) speeds(ctx context.Context) (Speeds, error) {
	now := f.cfg.Now()
	f.mu.Lock()
	kept := f.speedsKept
	f.mu.Unlock()
	if age := now.Sub(kept.at); age >= 0 && age < speedsFor {
		return kept.speeds, nil
	}
	latest, err := f.cfg.Queue.Speeds(ctx, speedJobs)
	if err != nil {
		return Speeds{}, err
	}
	models, err := f.models(ctx, latest)
	if err != nil {
		return Speeds{}, err
	}
	kept = speedsKept{speedsOf(latest, models, f.cfg.Policy.Traits.Free), now}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.speedsKept = kept
	return kept.speeds, nil
}

// models is the GPU of each instance that did one of these jobs, as its offer
// named it.
func (f *Fleet) models(ctx context.Context, jobs []queue.Speed) (map[string]string, error) {
	models := map[string]string{}
	for _, j := range jobs {
		if _, known := models[j.Instance]; known {
			continue
		}
		rows, err := query(ctx, f.cfg.DB.Read(), selectOne, j.Instance)
		if err != nil {
			return nil, err
		}
		if len(rows) > 0 && rows[0].Terms.GPU != "" {
			models[j.Instance] = rows[0].Terms.GPU
		}
	}
	return models, nil
}

// unused counts the latest instances that ended because no waiting job was
// given to them, or none that a budget allows, and says when the last of them
// did: whatever it was that the rental did not foresee, the next would go alike.
func (f *Fleet) unused(ctx context.Context) (n int, last time.Time, err error) {
	rows, err := f.cfg.DB.Read().QueryContext(ctx, `SELECT reason, state_since FROM instances
		WHERE state IN ('destroying', 'gone') AND permanent = 0 AND ready_at <> 0 ORDER BY created_at DESC, label DESC LIMIT 8`)
	if err != nil {
		return 0, last, fmt.Errorf("read unused instances: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var reason string
		var since int64
		if err := rows.Scan(&reason, &since); err != nil {
			return 0, last, fmt.Errorf("read unused instances: %w", err)
		}
		if reason != unused && !strings.HasPrefix(reason, overBudget) {
			break
		}
		n++
		last = latest(last, at(since))
	}
	return n, last, rows.Err()
}
