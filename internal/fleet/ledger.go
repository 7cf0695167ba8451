package fleet

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/db"
)

const instanceColumns = `label, provider, provider_id, state, reason, ambiguous, permanent, address, slots, hourly_usd, worker,
	created_at, state_since, deadline, asked_at, end_asked_at, ready_at, contact_at, idle_since, absent_since,
	terms, message, fault, started_at, message_at, lease_until, ended_at, reserved_until, reserved_down, reserved_up, cost_usd, cost_state,
	blame, listed_usd, address_at, heard_at`

// selectLive reads the rows that are not gone, oldest first. Those of another
// provider than ours are none of its business: it could not tell whether they
// exist. The + keeps SQLite from walking through all rows there ever were in
// the order of an index.
const selectLive = `SELECT ` + instanceColumns + ` FROM instances WHERE state <> 'gone' AND provider = $1 ORDER BY +created_at, label`

func (f *Fleet) live(ctx context.Context) ([]Instance, error) {
	return query(ctx, f.cfg.DB.Read(), selectLive, f.cfg.Provider.Name())
}

// others counts the rows of other providers that are not gone.
func (f *Fleet) others(ctx context.Context) (n int, err error) {
	err = f.cfg.DB.Read().QueryRowContext(ctx, `SELECT count(*) FROM instances
		WHERE state <> 'gone' AND permanent = 0 AND provider <> $1`, f.cfg.Provider.Name()).Scan(&n)
	return n, err
}

const selectOne = `SELECT ` + instanceColumns + ` FROM instances WHERE label = $1`

func (f *Fleet) instance(ctx context.Context, label string) (Instance, error) {
	rows, err := query(ctx, f.cfg.DB.Read(), selectOne, label)
	if err != nil {
		return Instance{}, err
	}
	if len(rows) == 0 {
		return Instance{}, apigpu.E(apigpu.GPULost, nil, "The machine is not known.")
	}
	return rows[0], nil
}

// reader is a pool or a transaction.
type reader interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func query(ctx context.Context, from reader, statement string, args ...any) ([]Instance, error) {
	rows, err := from.QueryContext(ctx, statement, args...)
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
		in                                                                            Instance
		worker, terms                                                                 string
		started, message, leaseUntil, ended, reserved, address, heard                 int64
		ambiguous, permanent                                                          int
		created, since, deadline, asked, endAsked, ready, contact, idleSince, absence int64
	)
	err := rows.Scan(&in.Label, &in.Provider, &in.ProviderID, &in.State, &in.Reason, &ambiguous, &permanent, &in.Address, &in.Slots,
		&in.HourlyUSD, &worker, &created, &since, &deadline, &asked, &endAsked, &ready, &contact, &idleSince, &absence,
		&terms, &in.Message, &in.Fault, &started, &message, &leaseUntil, &ended, &reserved, &in.ReservedDown, &in.ReservedUp, &in.CostUSD, &in.CostState,
		&in.Blame, &in.ListedUSD, &address, &heard)
	if err != nil {
		return Instance{}, err
	}
	in.Ambiguous, in.Permanent = ambiguous != 0, permanent != 0
	in.CreatedAt, in.StateSince, in.Deadline, in.AskedAt = at(created), at(since), at(deadline), at(asked)
	in.EndAskedAt, in.ReadyAt, in.ContactAt, in.IdleSince, in.AbsentSince = at(endAsked), at(ready), at(contact), at(idleSince), at(absence)
	in.AddressAt, in.HeardAt = at(address), at(heard)
	in.StartedAt, in.MessageAt, in.LeaseUntil, in.EndedAt, in.ReservedUntil = at(started), at(message), at(leaseUntil), at(ended), at(reserved)
	if err := json.Unmarshal([]byte(terms), &in.Terms); err != nil {
		in.Terms = Terms{} // as below
	}
	if err := json.Unmarshal([]byte(worker), &in.Worker); err != nil {
		// Another version wrote it. The worker's next answer says it anew, and
		// until then no other row is held up by this one.
		in.Worker = apigpu.WorkerInfo{}
	}
	return in, nil
}

// save writes rows in full, under the fleet lease: rows that nobody else
// writes yet. All others go through update.
func (f *Fleet) save(ctx context.Context, rows ...Instance) error {
	return f.fenced(ctx, func(tx *sql.Tx) error { return f.putAll(ctx, tx, rows) })
}

func (f *Fleet) putAll(ctx context.Context, tx *sql.Tx, rows []Instance) error {
	for _, in := range rows {
		if err := f.put(ctx, tx, in); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fleet) put(ctx context.Context, tx *sql.Tx, in Instance) error {
	worker, err := json.Marshal(in.Worker)
	if err != nil {
		return fmt.Errorf("encode worker: %w", err)
	}
	terms, err := json.Marshal(in.Terms)
	if err != nil {
		return fmt.Errorf("encode terms: %w", err)
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO instances (`+instanceColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
			$21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36)
		ON CONFLICT (label) DO UPDATE SET provider_id = $3, state = $4, reason = $5, ambiguous = $6, permanent = $7, address = $8,
			slots = $9, hourly_usd = $10, worker = $11, state_since = $13, deadline = $14, asked_at = $15, end_asked_at = $16,
			ready_at = $17, contact_at = $18, idle_since = $19, absent_since = $20,
			terms = $21, message = $22, fault = $23, started_at = $24, message_at = $25, lease_until = $26, ended_at = $27,
			reserved_until = $28, reserved_down = $29, reserved_up = $30, cost_usd = $31, cost_state = $32,
			blame = $33, listed_usd = $34, address_at = $35, heard_at = $36`,
		in.Label, f.cfg.Provider.Name(), db.Text(in.ProviderID), in.State, db.Text(in.Reason), flag(in.Ambiguous), flag(in.Permanent), db.Text(in.Address), in.Slots,
		int64(in.HourlyUSD), string(worker), millis(in.CreatedAt), millis(in.StateSince), millis(in.Deadline), millis(in.AskedAt),
		millis(in.EndAskedAt), millis(in.ReadyAt), millis(in.ContactAt), millis(in.IdleSince), millis(in.AbsentSince),
		string(terms), db.Text(in.Message), in.Fault, millis(in.StartedAt), millis(in.MessageAt), millis(in.LeaseUntil), millis(in.EndedAt),
		millis(in.ReservedUntil), in.ReservedDown, in.ReservedUp, int64(in.CostUSD), in.CostState,
		in.Blame, int64(in.ListedUSD), millis(in.AddressAt), millis(in.HeardAt))
	if err != nil {
		return fmt.Errorf("write instance %s: %w", in.Label, err)
	}
	return nil
}

// update changes one row, reading it in the same transaction, so that nothing
// another wrote is lost. It reports whether change did.
func (f *Fleet) update(ctx context.Context, label string, change func(*Instance) bool) (changed bool, err error) {
	return f.updateIf(ctx, label, func(_ *sql.Tx, row *Instance) (bool, error) { return change(row), nil })
}

// updateIf is update for a change that must look at more than the row.
func (f *Fleet) updateIf(ctx context.Context, label string, change func(*sql.Tx, *Instance) (bool, error)) (changed bool, err error) {
	err = f.fenced(ctx, func(tx *sql.Tx) error {
		changed = false // the transaction may run again
		rows, err := query(ctx, tx, selectOne, label)
		if err != nil || len(rows) == 0 {
			return err
		}
		before := rows[0]
		if changed, err = change(tx, &rows[0]); err != nil || !changed {
			return err
		}
		if err := f.put(ctx, tx, rows[0]); err != nil {
			return err
		}
		return f.remember(ctx, tx, before, rows[0])
	})
	changed = changed && err == nil
	if changed {
		poke(f.changed)
	}
	return changed, err
}

// failedBoots counts the latest instances that a machine, or the image, kept
// from ever being ready, and says when the last of them ended. Those that were
// given up for other reasons, or were never created, say nothing.
func (f *Fleet) failedBoots(ctx context.Context) (n int, last time.Time, err error) {
	rows, err := query(ctx, f.cfg.DB.Read(), `SELECT `+instanceColumns+` FROM instances
		WHERE state IN ('destroying', 'gone') AND permanent = 0 AND (ready_at > 0 OR blame IN ('machine', 'image'))
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

// createdLately says when the last instances were asked for, oldest first:
// what Plan looks at to bound their number.
func (f *Fleet) createdLately(ctx context.Context, now time.Time) (times []time.Time, err error) {
	all, err := db.Column[int64](ctx, f.cfg.DB.Read(), `SELECT created_at FROM instances WHERE permanent = 0 AND created_at > $1 ORDER BY created_at`,
		millis(now.Add(-createSpan)))
	if err != nil {
		return nil, fmt.Errorf("read times of creates: %w", err)
	}
	for _, ms := range all {
		times = append(times, at(ms))
	}
	return times, nil
}

// errStandby: another process holds the fleet lease.
var errStandby = errors.New("another process holds the fleet lease")

// fenced runs a transaction that takes effect only while this process holds
// the fleet lease: the epoch is read in the same transaction. The row is kept
// as it is until the end: nobody takes the lease in between, and on PostgreSQL
// too all that is written to the ledger is written one after another, so that
// a row which was read may be written.
func (f *Fleet) fenced(ctx context.Context, do func(tx *sql.Tx) error) error {
	f.mu.Lock()
	epoch := f.epoch
	f.mu.Unlock()
	return f.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		var current int64
		var holder string
		if err := tx.QueryRowContext(ctx, `SELECT epoch, holder FROM fleet WHERE one = 1`+f.cfg.DB.ForUpdate()).Scan(&current, &holder); err != nil {
			return fmt.Errorf("read fleet lease: %w", err)
		}
		if epoch == 0 || current != epoch || holder != f.holder {
			return errStandby
		}
		return do(tx)
	})
}

// millis is how a time is stored here: never is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return db.Millis(t)
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return db.Time(ms)
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
