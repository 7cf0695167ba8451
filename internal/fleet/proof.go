package fleet

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/api-gpu/api-gpu/internal/db"
)

// proofKind is the kind of a proof that a rented machine ends itself when its
// lease is not renewed. It is one of a marketplace, by the base of its API: what
// a simulated one showed says nothing of the real one.
func proofKind(market string) string { return "ends itself at " + market }

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
