package fleet

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/api-gpu/api-gpu"
)

const instanceColumns = `label, provider, provider_id, state, reason, ambiguous, permanent, address, slots, hourly_usd, worker,
	created_at, state_since, deadline, asked_at, ready_at, contact_at, idle_since, absent_since`

// live returns the rows that are not gone, oldest first.
func (f *Fleet) live(ctx context.Context) ([]Instance, error) {
	return f.query(ctx, `SELECT `+instanceColumns+` FROM instances WHERE state <> 'gone' ORDER BY created_at, label`)
}

func (f *Fleet) instance(ctx context.Context, label string) (Instance, error) {
	rows, err := f.query(ctx, `SELECT `+instanceColumns+` FROM instances WHERE label = $1`, label)
	if err != nil {
		return Instance{}, err
	}
	if len(rows) == 0 {
		return Instance{}, apigpu.E(apigpu.GPULost, nil, "The machine is not known.")
	}
	return rows[0], nil
}

func (f *Fleet) query(ctx context.Context, statement string, args ...any) ([]Instance, error) {
	rows, err := f.cfg.DB.Read().QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, fmt.Errorf("read instances: %w", err)
	}
	defer rows.Close()
	var out []Instance
	for rows.Next() {
		in, err := scanInstance(rows)
		if err != nil {
			return nil, fmt.Errorf("read instances: %w", err)
		}
		out = append(out, in)
	}
	return out, rows.Err()
}

func scanInstance(rows *sql.Rows) (Instance, error) {
	var (
		in                                                                  Instance
		worker                                                              string
		ambiguous, permanent                                                int
		created, since, deadline, asked, ready, contact, idleSince, absence int64
	)
	err := rows.Scan(&in.Label, &in.Provider, &in.ProviderID, &in.State, &in.Reason, &ambiguous, &permanent, &in.Address, &in.Slots,
		&in.HourlyUSD, &worker, &created, &since, &deadline, &asked, &ready, &contact, &idleSince, &absence)
	if err != nil {
		return Instance{}, err
	}
	in.Ambiguous, in.Permanent = ambiguous != 0, permanent != 0
	in.CreatedAt, in.StateSince, in.Deadline, in.AskedAt = at(created), at(since), at(deadline), at(asked)
	in.ReadyAt, in.ContactAt, in.IdleSince, in.AbsentSince = at(ready), at(contact), at(idleSince), at(absence)
	return in, json.Unmarshal([]byte(worker), &in.Worker)
}

// save writes rows in full, under the fleet lease.
func (f *Fleet) save(ctx context.Context, rows ...Instance) error {
	if len(rows) == 0 {
		return nil
	}
	return f.fenced(ctx, func(tx *sql.Tx) error {
		for _, in := range rows {
			if err := f.put(ctx, tx, in); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *Fleet) put(ctx context.Context, tx *sql.Tx, in Instance) error {
	worker, err := json.Marshal(in.Worker)
	if err != nil {
		return fmt.Errorf("encode worker: %w", err)
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO instances (`+instanceColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
		ON CONFLICT (label) DO UPDATE SET provider_id = $3, state = $4, reason = $5, ambiguous = $6, permanent = $7, address = $8,
			slots = $9, hourly_usd = $10, worker = $11, state_since = $13, deadline = $14, asked_at = $15, ready_at = $16,
			contact_at = $17, idle_since = $18, absent_since = $19`,
		in.Label, f.cfg.Provider.Name(), in.ProviderID, in.State, in.Reason, flag(in.Ambiguous), flag(in.Permanent), in.Address, in.Slots,
		int64(in.HourlyUSD), string(worker), millis(in.CreatedAt), millis(in.StateSince), millis(in.Deadline), millis(in.AskedAt),
		millis(in.ReadyAt), millis(in.ContactAt), millis(in.IdleSince), millis(in.AbsentSince))
	if err != nil {
		return fmt.Errorf("write instance %s: %w", in.Label, err)
	}
	return nil
}

// update changes one row that is in one of the wanted states, reading it in
// the same transaction. It reports whether it did.
func (f *Fleet) update(ctx context.Context, label string, change func(*Instance) bool) (changed bool, err error) {
	err = f.fenced(ctx, func(tx *sql.Tx) error {
		changed = false
		rows, err := tx.QueryContext(ctx, `SELECT `+instanceColumns+` FROM instances WHERE label = $1`, label)
		if err != nil {
			return err
		}
		defer rows.Close()
		if !rows.Next() {
			return rows.Err()
		}
		in, err := scanInstance(rows)
		if err != nil {
			return err
		}
		rows.Close()
		if changed = change(&in); !changed {
			return nil
		}
		return f.put(ctx, tx, in)
	})
	if err == nil && changed {
		poke(f.changed)
	}
	return changed, err
}

// failedBoots counts the latest instances that ended without ever being
// ready, and says when the last of them did.
func (f *Fleet) failedBoots(ctx context.Context) (n int, last time.Time, err error) {
	rows, err := f.query(ctx, `SELECT `+instanceColumns+` FROM instances WHERE state IN ('destroying', 'gone') AND permanent = 0
		ORDER BY created_at DESC, label DESC LIMIT 8`)
	for _, in := range rows {
		if !in.ReadyAt.IsZero() {
			break
		}
		n++
		last = latest(last, in.StateSince)
	}
	return n, last, err
}

// errStandby: another process holds the fleet lease.
var errStandby = errors.New("another process holds the fleet lease")

// fenced runs a transaction that takes effect only while this process holds
// the fleet lease: the epoch is read in the same transaction.
func (f *Fleet) fenced(ctx context.Context, do func(tx *sql.Tx) error) error {
	f.mu.Lock()
	epoch := f.epoch
	f.mu.Unlock()
	return f.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		var current int64
		var holder string
		if err := tx.QueryRowContext(ctx, `SELECT epoch, holder FROM fleet WHERE one = 1`).Scan(&current, &holder); err != nil {
			return fmt.Errorf("read fleet lease: %w", err)
		}
		if epoch == 0 || current != epoch || holder != f.holder {
			return errStandby
		}
		return do(tx)
	})
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
