package fleet

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/db"
)

// proofKind is the kind of a proof that a rented machine ends itself when its
// lease is not renewed. It is one of a marketplace, by the base of its API: what
// a simulated one showed says nothing of the real one.
func proofKind(market string) string { return "ends itself at " + strings.TrimRight(market, "/") }

// Proof is when it was last shown that a machine which is rented from a
// marketplace ends itself when nobody renews its lease; ok is false where it
// never was. market is the base URL of its API (VAST_API_URL).
func Proof(ctx context.Context, d *db.DB, market string) (at time.Time, ok bool, err error) {
	var ms int64
	err = d.Read().QueryRowContext(ctx, `SELECT at FROM proofs WHERE kind = $1`, proofKind(market)).Scan(&ms)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, false, nil
	}
	if err != nil {
		return time.Time{}, false, fmt.Errorf("read proof: %w", err)
	}
	return db.Time(ms), true, nil
}

// KeepProof records that it was shown at that time, and how. It may be called
// beside a running server, which looks again from time to time.
func KeepProof(ctx context.Context, d *db.DB, market string, at time.Time, detail string) error {
	err := d.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO proofs (kind, at, detail) VALUES ($1, $2, $3)
			ON CONFLICT (kind) DO UPDATE SET at = $2, detail = $3`, db.Text(proofKind(market)), db.Millis(at), db.Text(detail))
		return err
	})
	if err != nil {
		return fmt.Errorf("keep proof: %w", err)
	}
	return nil
}

const (
	// unprovenIdle is how long a rented machine is kept without work at most, as
	// long as nobody has seen that one ends itself: what stands idle when its
	// server dies must not stand there for long.
	unprovenIdle = time.Minute
	// proofGap is how often a server looks whether that was shown meanwhile.
	proofGap = 30 * time.Second
)

// capsIdle tells whether a policy keeps idle machines for so long that it must
// be shown before that they end themselves.
func (p Policy) capsIdle() bool { return p.ProofOf != "" && p.IdleTimeout > unprovenIdle }

// idleFor is how long an instance without work is kept.
func (p Policy) idleFor(w World) time.Duration {
	if w.Unproven {
		return min(p.IdleTimeout, unprovenIdle)
	}
	return p.IdleTimeout
}

// proof is what was read of a proof, and when.
type proof struct {
	looked time.Time
	ok     bool
}

// unproven reports whether idle machines are kept for unprovenIdle at most,
// since it was never shown that they end themselves. Where that cannot be read
// it was not. It is said in the log when it changes.
func (f *Fleet) unproven(ctx context.Context) bool {
	if !f.cfg.Policy.capsIdle() {
		return false
	}
	now := f.cfg.Now()
	f.mu.Lock()
	last := f.proof
	f.mu.Unlock()
	if last.ok || !last.looked.IsZero() && now.Sub(last.looked).Abs() < proofGap {
		return !last.ok
	}
	at, ok, err := Proof(ctx, f.cfg.DB, f.cfg.Policy.ProofOf)
	if err != nil {
		return true // the round meets the same, and tells
	}
	f.mu.Lock()
	f.proof = proof{now, ok}
	f.mu.Unlock()
	switch {
	case ok:
		f.cfg.Log.InfoContext(ctx, "idle machines are kept for IDLE_TIMEOUT: it was shown that they end themselves", "idle_timeout", f.cfg.Policy.IdleTimeout, "shown_at", at)
	case last.looked.IsZero():
		f.cfg.Log.WarnContext(ctx, Unproven(f.cfg.Policy.IdleTimeout))
	}
	return !ok
}

// IdleCapped says, for the operator, that idle machines go sooner than
// IDLE_TIMEOUT says, why, and what to do; empty where they do not.
func (f *Fleet) IdleCapped(ctx context.Context) string {
	if !f.unproven(ctx) {
		return ""
	}
	return Unproven(f.cfg.Policy.IdleTimeout)
}

// Unproven says, for the operator, that idle machines go sooner than an
// IDLE_TIMEOUT says, as long as nobody has shown that they end themselves; empty
// of one that is short enough.
func Unproven(idle time.Duration) string {
	if idle <= unprovenIdle {
		return ""
	}
	return fmt.Sprintf("idle machines go after %s, not after IDLE_TIMEOUT=%s: nobody has shown yet that they end themselves when this server dies; "+
		"run orchestrator doctor --live=50, or set ALLOW_UNPROVEN_KEEPALIVE=1", unprovenIdle, idle)
}
