package fleet

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"

	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/gpu"
)

// keepHosts is how long a host is remembered of which nothing was heard: what
// it did counts as good as nothing then.
const keepHosts = 12 * halfLife

// event is what an instance tells about its machine.
type event string

const (
	booted event = "booted" // its worker became ready for the first time
	failed event = "failed" // it ended, and its machine is to blame
	served event = "served" // it was ready, and ended because we wanted it
)

// eventOf is what a change of a row tells about the machine. Each change tells
// one thing at most, and tells it once: by the transaction that makes it.
func eventOf(before, after Instance) (event, bool) {
	over := func(s gpu.State) bool { return s == gpu.Destroying || s == gpu.Gone }
	switch {
	case after.Permanent:
	case before.Blame == "" && after.Blame == BlameMachine:
		return failed, true
	case before.ReadyAt.IsZero() && !after.ReadyAt.IsZero():
		return booted, true
	case !over(before.State) && over(after.State) && after.Blame == "" && !after.ReadyAt.IsZero():
		return served, true
	}
	return "", false
}

// remember notes in hosts what a change of a row tells.
func (f *Fleet) remember(ctx context.Context, tx *sql.Tx, before, after Instance) error {
	e, ok := eventOf(before, after)
	keys := keysOf(after.Terms.HostID, after.Terms.MachineID)
	f.mu.Lock()
	since := f.since
	f.mu.Unlock()
	// A boot during which we were away took less than it seems.
	if !ok || len(keys) == 0 || e == booted && after.CreatedAt.Before(since) {
		return nil
	}
	hosts, err := readHosts(ctx, tx, f.cfg.Provider.Name())
	if err != nil {
		return err
	}
	now := f.cfg.Now()
	hosts.note(after, e, now)
	for _, key := range keys {
		if err := f.putHost(ctx, tx, key, hosts[key]); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM hosts WHERE noted_at < $1`, millis(now.Add(-keepHosts)))
	if err != nil {
		return fmt.Errorf("forget hosts: %w", err)
	}
	return nil
}

// note adds an event to the memory of the machine of an instance, and of its
// owner.
func (h Hosts) note(in Instance, e event, now time.Time) {
	first := true // the machine begins a row of failures
	keys := keysOf(in.Terms.HostID, in.Terms.MachineID)
	for n := len(keys) - 1; n >= 0; n-- { // the machine before its owner
		key := keys[n]
		host := h[key]
		host.Failures, host.Boots = host.faded(now)
		switch e {
		case booted:
			took := in.ReadyAt.Sub(in.CreatedAt)
			host.MeanBoot = time.Duration((float64(host.MeanBoot)*host.Boots + float64(took)) / (host.Boots + 1)).Round(time.Millisecond)
			host.Boots++
		case served:
			host.InARow, host.BlockedUntil = 0, time.Time{}
		case failed:
			host = host.failed(key.Kind, in.Reason, first, now)
			first = host.InARow == 1
		}
		host.NotedAt = now
		h[key] = host
	}
}

// failed is a host after one more failure. An owner is judged by how many
// machines fail: first tells that this one has not just failed before.
func (h Host) failed(kind HostKind, reason string, first bool, now time.Time) Host {
	if now.Sub(h.FailedAt) > halfLife { // too long ago to be one row
		h.InARow = 0
	}
	h.Failures++
	h.Reason, h.FailedAt = reason, now
	most := machineRow
	if kind == Owner {
		if !first {
			return h
		}
		most = ownerRow
	}
	h.InARow++
	if h.InARow >= most {
		h.BlockedUntil = now.Add(min(blockFirst<<min(h.InARow-most, 10), blockMost))
	}
	return h
}

// readHosts reads what is remembered of the hosts of a provider.
func readHosts(ctx context.Context, from reader, provider string) (Hosts, error) {
	rows, err := from.QueryContext(ctx, `SELECT kind, id, failures, boots, boot_ms, in_a_row, reason, failed_at, blocked_until, noted_at
		FROM hosts WHERE provider = $1`, provider)
	if err != nil {
		return nil, fmt.Errorf("read hosts: %w", err)
	}
	defer rows.Close()
	hosts := Hosts{}
	for rows.Next() {
		var key HostKey
		var h Host
		var mean, failedAt, blocked, noted int64
		if err := rows.Scan(&key.Kind, &key.ID, &h.Failures, &h.Boots, &mean, &h.InARow, &h.Reason, &failedAt, &blocked, &noted); err != nil {
			return nil, fmt.Errorf("read hosts: %w", err)
		}
		h.MeanBoot = time.Duration(mean) * time.Millisecond
		h.FailedAt, h.BlockedUntil, h.NotedAt = at(failedAt), at(blocked), at(noted)
		hosts[key] = h
	}
	return hosts, rows.Err()
}

func (f *Fleet) putHost(ctx context.Context, tx *sql.Tx, key HostKey, h Host) error {
	round := func(x float64) float64 { return math.Round(x*1e6) / 1e6 } // far below what matters
	_, err := tx.ExecContext(ctx, `
		INSERT INTO hosts (provider, kind, id, failures, boots, boot_ms, in_a_row, reason, failed_at, blocked_until, noted_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		ON CONFLICT (provider, kind, id) DO UPDATE SET failures = $4, boots = $5, boot_ms = $6, in_a_row = $7, reason = $8,
			failed_at = $9, blocked_until = $10, noted_at = $11`,
		f.cfg.Provider.Name(), key.Kind, db.Text(key.ID), round(h.Failures), round(h.Boots), h.MeanBoot.Milliseconds(), h.InARow, db.Text(h.Reason),
		millis(h.FailedAt), millis(h.BlockedUntil), millis(h.NotedAt))
	if err != nil {
		return fmt.Errorf("write host %s: %w", key.ID, err)
	}
	return nil
}
