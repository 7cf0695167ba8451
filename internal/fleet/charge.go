package fleet

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/crash"
	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// settleMost bounds the instances that one round settles.
const settleMost = 20

// unsettled is the condition of rows whose cost is not written yet. It says
// twice what it says, and the + stands before other columns, so that SQLite finds
// them by instances_open and not among all that are gone.
const unsettled = `state = 'gone' AND permanent = 0 AND cost_state = '' AND cost_state <> 'final'`

// unbilled is the condition of rows whose bill is not here yet, by the same
// index.
const unbilled = `state = 'gone' AND permanent = 0 AND cost_state = 'estimated' AND cost_state <> 'final'`

// settle writes what the instances cost that are gone, by our own measure, and
// who bears it.
func (f *Fleet) settle(ctx context.Context) error {
	if !f.cfg.Policy.paid() {
		return nil
	}
	labels, err := db.Column[string](ctx, f.cfg.DB.Read(), `SELECT label FROM instances WHERE `+unsettled+`
		AND provider = $1 ORDER BY +state_since LIMIT $2`, f.cfg.Provider.Name(), settleMost)
	if err != nil {
		return fmt.Errorf("find instances to settle: %w", err)
	}
	for _, label := range labels {
		err = errors.Join(err, f.close(ctx, label, func(_ context.Context, _ *sql.Tx, in *Instance, attempts []queue.Attempt) ([]Charge, bool, error) {
			if in.State != gpu.Gone || in.CostState != "" {
				return nil, false, nil
			}
			if in.EndedAt = in.end(); !in.existed() {
				in.EndedAt = at(0)
			}
			usd, parts := Cost(*in, attempts, f.cfg.Now())
			in.CostUSD, in.CostState = usd, Estimated
			if neverWas(*in) {
				in.CostState = Final
			}
			return parts, true, nil
		}))
		crash.Point("fleet.settled")
	}
	return err
}

// neverWas reports whether a gone instance was definitely refused: no bill will
// come for it.
func neverWas(in Instance) bool { return !in.existed() && in.AbsentSince.IsZero() }

// accounting decides what an instance cost, and its parts; or that nothing
// changes. It sets the cost and its state in the row.
type accounting func(context.Context, *sql.Tx, *Instance, []queue.Attempt) (parts []Charge, changed bool, err error)

// close writes the cost of an instance, its parts, and those of the jobs that
// bear them, in one transaction.
func (f *Fleet) close(ctx context.Context, label string, decide accounting) error {
	var told []string
	var usd gpu.USD
	err := f.fenced(ctx, func(tx *sql.Tx) error {
		told = nil
		rows, err := query(ctx, tx, selectOne, label)
		if err != nil || len(rows) == 0 {
			return err
		}
		in := rows[0]
		attempts, err := f.cfg.Queue.AttemptsOn(ctx, tx, label)
		if err != nil {
			return err
		}
		parts, changed, err := decide(ctx, tx, &in, attempts)
		if err != nil || !changed {
			return err
		}
		usd = in.CostUSD
		if err := f.put(ctx, tx, in); err != nil {
			return err
		}
		if err := writeCharges(ctx, tx, label, in.CostState, parts); err != nil {
			return err
		}
		told, err = f.costJobs(ctx, tx, attempts)
		return err
	})
	if err != nil {
		return fmt.Errorf("close the account of %s: %w", label, err)
	}
	f.cfg.Queue.Tell(told...)
	f.cfg.Log.DebugContext(ctx, "account closed", "instance", label, "cost", usd.String())
	return nil
}

// writeCharges replaces the parts of what an instance cost.
func writeCharges(ctx context.Context, tx *sql.Tx, label string, state CostState, parts []Charge) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM charges WHERE label = $1`, label); err != nil {
		return fmt.Errorf("write charges: %w", err)
	}
	for _, c := range parts {
		_, err := tx.ExecContext(ctx, `INSERT INTO charges (label, job_id, attempt, kind, usd, state) VALUES ($1, $2, $3, $4, $5, $6)`,
			label, c.JobID, c.Attempt, string(c.Kind), int64(c.USD), string(state))
		if err != nil {
			return fmt.Errorf("write charges: %w", err)
		}
	}
	return nil
}

// readCharges reads the parts of what an instance cost.
func readCharges(ctx context.Context, from reader, label string) (parts []Charge, err error) {
	rows, err := from.QueryContext(ctx, `SELECT job_id, attempt, kind, usd FROM charges WHERE label = $1 ORDER BY job_id, attempt, kind`, label)
	if err != nil {
		return nil, fmt.Errorf("read charges: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var c Charge
		if err := rows.Scan(&c.JobID, &c.Attempt, &c.Kind, &c.USD); err != nil {
			return nil, fmt.Errorf("read charges: %w", err)
		}
		parts = append(parts, c)
	}
	return parts, rows.Err()
}

// costJobs writes what the jobs of these attempts cost by now.
func (f *Fleet) costJobs(ctx context.Context, tx *sql.Tx, attempts []queue.Attempt) ([]string, error) {
	costs := map[string]queue.Cost{}
	for _, a := range attempts {
		if _, done := costs[a.JobID]; done {
			continue
		}
		cost, err := f.jobCost(ctx, tx, a.JobID, "", 0)
		if err != nil {
			return nil, err
		}
		costs[a.JobID] = cost
	}
	return f.cfg.Queue.SetCost(ctx, tx, costs)
}

// jobCost is what a job cost until now: its parts of the instances that are
// settled, and of the others what they come to now. up is how many bytes its
// open attempt on an instance brought out, which its row does not say yet.
func (f *Fleet) jobCost(ctx context.Context, from queue.Reader, id, instance string, up int64) (cost queue.Cost, err error) {
	attempts, err := f.cfg.Queue.AttemptsOf(ctx, from, id)
	if err != nil {
		return cost, err
	}
	labels := map[string]bool{}
	for _, a := range attempts {
		labels[a.Instance] = true
	}
	cost.State = apigpu.CostFinal
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		rows, err := query(ctx, from, selectOne, label)
		if err != nil {
			return cost, err
		}
		if len(rows) == 0 {
			continue
		}
		in := rows[0]
		if in.CostState != Final {
			cost.State = apigpu.CostEstimated
		}
		parts, err := f.partsOf(ctx, from, in, func(a *queue.Attempt) {
			if a.JobID == id && a.EndedAt.IsZero() && label == instance {
				a.Up = max(a.Up, up)
			}
		})
		if err != nil {
			return cost, err
		}
		for _, c := range parts {
			if c.JobID == id {
				cost.USD += c.USD
			}
		}
	}
	if len(labels) == 0 {
		cost.State = ""
	}
	return cost, nil
}

// partsOf is what an instance comes to by now: as it is written, or as it would
// be.
func (f *Fleet) partsOf(ctx context.Context, from queue.Reader, in Instance, change func(*queue.Attempt)) ([]Charge, error) {
	if in.CostState != "" {
		return readCharges(ctx, from, in.Label)
	}
	attempts, err := f.cfg.Queue.AttemptsOn(ctx, from, in.Label)
	if err != nil {
		return nil, err
	}
	for n := range attempts {
		change(&attempts[n])
	}
	_, parts := Cost(in, attempts, f.cfg.Now())
	return parts, nil
}

// CostOf is what a running job cost until now, if it brings up bytes home: for
// its answer. Its shares may change while its machine is there. There is none
// where machines cost nothing.
func (f *Fleet) CostOf(ctx context.Context, j queue.Job, up int64) (queue.Cost, error) {
	if !f.cfg.Policy.paid() {
		return queue.Cost{}, nil
	}
	return f.jobCost(ctx, f.cfg.DB.Read(), j.ID, j.Instance, up)
}

// ShowCost writes what a job cost that has ended, for those who ask before its
// machine is gone.
func (f *Fleet) ShowCost(ctx context.Context, id string) error {
	if !f.cfg.Policy.paid() {
		return nil
	}
	var told []string
	err := f.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		cost, err := f.jobCost(ctx, tx, id, "", 0)
		if err != nil {
			return err
		}
		told, err = f.cfg.Queue.SetCost(ctx, tx, map[string]queue.Cost{id: cost})
		return err
	})
	if err != nil {
		return fmt.Errorf("record cost: %w", err)
	}
	f.cfg.Queue.Tell(told...)
	return nil
}
