package fleet

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/api-gpu/api-gpu/internal/db"
)

// free reports whether it costs nothing to try again what a stop is about: then
// a new holder of the fleet lease does so with the next job. Whoever added
// credit has often started the server anew. What only a machine can show costs
// one, and a server that crashes again and again must not rent one each time.
func (s stopped) free() bool {
	return s.steady || s.Code == stopFunds || s.Code == stopAuth
}

// resume is what a new holder takes over of the stops that were kept.
func resume(kept map[string]stopped, now time.Time) map[string]stopped {
	for code, s := range kept {
		if s.free() && s.Until.After(now) {
			s.Until = now
			kept[code] = s
		}
	}
	return kept
}

// keepTimeout bounds the writing of a stop.
const keepTimeout = 10 * time.Second

// keep writes what is known of a stop now, or that it is over. What cannot be
// written holds in memory all the same.
func (f *Fleet) keep(ctx context.Context, code string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTimeout)
	defer cancel()
	err := f.fenced(ctx, func(tx *sql.Tx) error {
		f.mu.Lock() // inside: the last to write has the last word
		s, known := f.stops[code]
		f.mu.Unlock()
		if !known {
			_, err := tx.ExecContext(ctx, `DELETE FROM stops WHERE provider = $1 AND code = $2`, f.cfg.Provider.Name(), code)
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO stops (provider, code, settings, reason, detail, since, until, tries, listing, steady)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
			ON CONFLICT (provider, code) DO UPDATE SET settings = $3, reason = $4, detail = $5, since = $6, until = $7, tries = $8, listing = $9, steady = $10`,
			f.cfg.Provider.Name(), code, f.cfg.Settings, db.Text(s.Reason), db.Text(s.Detail), millis(s.since), millis(s.Until), s.tries, flag(s.listing), flag(s.steady))
		return err
	})
	if err != nil && !errors.Is(err, errStandby) {
		f.cfg.Log.WarnContext(ctx, "what stops renting is not recorded", "code", code, "error", err)
	}
}

// takeStops is what a new holder begins with. What came under other settings is
// forgotten: whoever changed them has mended something.
func (f *Fleet) takeStops(ctx context.Context, tx *sql.Tx) (map[string]stopped, error) {
	_, err := tx.ExecContext(ctx, `DELETE FROM stops WHERE provider = $1 AND settings <> $2`, f.cfg.Provider.Name(), f.cfg.Settings)
	if err != nil {
		return nil, fmt.Errorf("forget stops: %w", err)
	}
	return f.readStops(ctx, tx)
}

func (f *Fleet) readStops(ctx context.Context, from reader) (map[string]stopped, error) {
	rows, err := from.QueryContext(ctx, `SELECT code, reason, detail, since, until, tries, listing, steady FROM stops WHERE provider = $1`, f.cfg.Provider.Name())
	if err != nil {
		return nil, fmt.Errorf("read stops: %w", err)
	}
	defer rows.Close()
	all := map[string]stopped{}
	for rows.Next() {
		var s stopped
		var since, until int64
		var listing, steady int
		if err := rows.Scan(&s.Code, &s.Reason, &s.Detail, &since, &until, &s.tries, &listing, &steady); err != nil {
			return nil, fmt.Errorf("read stops: %w", err)
		}
		s.since, s.Until, s.listing, s.steady = at(since), at(until), listing != 0, steady != 0
		all[s.Code] = s
	}
	return all, rows.Err()
}

// KeptStops are what stops renting as the database has it, by code, for who is
// no Fleet: as the process found it that leads, or was the last to. Those that
// came under other settings (Config.Settings) are not among them: a server with
// these forgets them. Nor are those that each round finds anew (budget, ledger).
func KeptStops(ctx context.Context, d *db.DB, provider, settings string) (all []Stop, err error) {
	rows, err := d.Read().QueryContext(ctx, `SELECT code, reason, detail, until FROM stops WHERE provider = $1 AND settings = $2 ORDER BY code`, provider, settings)
	if err != nil {
		return nil, fmt.Errorf("read stops: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var s Stop
		var until int64
		if err := rows.Scan(&s.Code, &s.Reason, &s.Detail, &until); err != nil {
			return nil, fmt.Errorf("read stops: %w", err)
		}
		s.Until = at(until)
		all = append(all, s)
	}
	return all, rows.Err()
}

// followStops shows, in a process that does not lead, what stops the one that
// does.
func (f *Fleet) followStops(ctx context.Context) error {
	kept, err := f.readStops(ctx, f.cfg.DB.Read())
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.epoch == 0 { // else it began to lead meanwhile
		f.stops, f.ledgerStops = kept, nil
	}
	return nil
}
