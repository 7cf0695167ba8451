package fleet

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/db"
)

// leaseFor is how long the holder of the fleet lease may be silent. It is
// renewed every leaseFor/3.
const leaseFor = 15 * time.Second

// lastLease is the fleet lease as it was found, and when by Elapsed.
type lastLease struct {
	holder string
	until  int64
	at     time.Duration
}

// Identity is who a fleet is, kept in the database.
type Identity struct {
	ID     string // part of every label
	Secret []byte // root secret: workers' credentials and link signatures derive from it
}

var fleetID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,40}$`)

// LoadIdentity returns the fleet's identity, made once. id and secret override
// what the database has where they are given (FLEET, GPU_API_KEY): then even
// a lost database still knows its machines.
func LoadIdentity(ctx context.Context, d *db.DB, id, secret string) (Identity, error) {
	var storedID, storedSecret string
	err := d.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO fleet (one, id, secret, epoch, holder, lease_until) VALUES (1, $1, $2, 0, '', 0)
			ON CONFLICT (one) DO NOTHING`, strings.ToLower(rand.Text()[:12]), hex.EncodeToString(randomBytes(32)))
		if err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT id, secret FROM fleet WHERE one = 1`).Scan(&storedID, &storedSecret)
	})
	if err != nil {
		return Identity{}, fmt.Errorf("load fleet identity: %w", err)
	}
	return identityOf(storedID, storedSecret, id, secret)
}

// ReadIdentity is LoadIdentity for who looks on: it makes none.
func ReadIdentity(ctx context.Context, d *db.DB, id, secret string) (Identity, error) {
	var storedID, storedSecret string
	err := d.Read().QueryRowContext(ctx, `SELECT id, secret FROM fleet WHERE one = 1`).Scan(&storedID, &storedSecret)
	if errors.Is(err, sql.ErrNoRows) {
		return Identity{}, errors.New("no server has ever run on this database")
	}
	if err != nil {
		return Identity{}, fmt.Errorf("read fleet identity: %w", err)
	}
	return identityOf(storedID, storedSecret, id, secret)
}

// identityOf is what is stored, but for what is given.
func identityOf(storedID, storedSecret, id, secret string) (Identity, error) {
	root, err := hex.DecodeString(storedSecret)
	if err != nil {
		return Identity{}, errors.New("load fleet identity: the stored secret is not hex")
	}
	if id != "" {
		storedID = id
	}
	if err := CheckID(storedID); err != nil {
		return Identity{}, err
	}
	if secret != "" {
		root = []byte(secret)
	}
	return Identity{ID: storedID, Secret: root}, nil
}

// CheckID reports what is wrong with the name of a fleet.
func CheckID(id string) error {
	if !fleetID.MatchString(id) {
		return errors.New("FLEET: must be 1 to 40 letters, digits, _ or -: it is part of every label")
	}
	return nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // crypto/rand never fails since Go 1.24: it ends the program instead
	return b
}

// newHolder names this fleet in the lease: its process first, whose jobs it
// drives.
func newHolder(process string) string { return process + "." + rand.Text() }

// hold takes or renews the fleet lease. A new holder raises the epoch, which
// fences the one before. The epoch is at least the time in milliseconds, so
// that workers, which remember the highest they heard, also follow a database
// that was restored or begun anew.
func (f *Fleet) hold(ctx context.Context) (bool, error) {
	if err := f.followClock(ctx); err != nil {
		return false, err
	}
	now := f.cfg.Now()
	f.mu.Lock()
	before := f.epoch
	fresh := before != 0 && now.Before(f.renewAt)
	f.mu.Unlock()
	if before == 0 && !f.Steady() {
		return false, nil
	}
	if fresh {
		return true, nil // each write checks the row itself: this only saves one
	}
	var epoch int64
	var by time.Duration
	var kept map[string]stopped
	handed := false // the lease was given back, perhaps just now
	err := f.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		var last string
		var until int64
		if err := tx.QueryRowContext(ctx, `SELECT holder, lease_until FROM fleet WHERE one = 1`+f.cfg.DB.ForUpdate()).Scan(&last, &until); err != nil {
			return err
		}
		handed = last != "" && last != f.holder && until == 0
		err := tx.QueryRowContext(ctx, `
			UPDATE fleet SET epoch = CASE WHEN holder = $1 THEN epoch WHEN epoch >= $3 THEN epoch + 1 ELSE $3 END, holder = $1, lease_until = $2
			WHERE one = 1 AND (holder = $1 OR lease_until <= $3 OR $4 = 1) RETURNING epoch`,
			f.holder, millis(now.Add(leaseFor)), millis(now), flag(f.abandoned(last, until))).Scan(&epoch)
		if err != nil || epoch == before {
			return err
		}
		if err = f.orphan(ctx, tx, last); err != nil {
			return err
		}
		if by, err = f.pullBack(ctx, tx, now); err != nil {
			return err
		}
		kept, err = f.takeStops(ctx, tx)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		epoch, err = 0, nil
	}
	if err != nil {
		return false, fmt.Errorf("hold fleet lease: %w", err)
	}
	if f.cfg.Rest != nil && handed && epoch != 0 {
		// Its holder may have called the provider a moment ago. One that died kept
		// the lease for longer than any such time.
		f.cfg.Rest()
	}
	if f.held(epoch, now, kept) {
		f.announce(ctx, epoch)
	}
	if by != 0 {
		f.cfg.Log.WarnContext(ctx, "the clock was set back while nobody led: all open deadlines are moved with it", "by", by.Round(time.Second))
	}
	return epoch != 0, nil
}

// abandoned reports whether the lease of another holder has not been renewed
// for twice its length by our own measure, whatever the clock shows: it was set
// back after that holder had died, and the lease would last for hours.
func (f *Fleet) abandoned(holder string, until int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := lastLease{holder, until, f.Elapsed()}
	if f.other.holder == holder && f.other.until == until {
		return seen.at-f.other.at > 2*leaseFor
	}
	f.other = seen
	return false
}

// orphan lets the jobs of the holder before us be taken over at once: it is
// gone. On SQLite only the holder drives jobs, so that all of them are.
func (f *Fleet) orphan(ctx context.Context, tx *sql.Tx, last string) error {
	process, _, _ := strings.Cut(last, ".")
	switch {
	case last == f.holder: // tend and the loop took it at once
		return nil
	case f.cfg.DB.Dialect() == db.SQLite:
		process = ""
	case process == "" || process == f.cfg.Queue.Process(): // there was none; or it was us
		return nil
	}
	return f.cfg.Queue.Orphan(ctx, tx, process)
}

// held notes the outcome of hold and reports whether we are a new holder. Who
// comes back after its lease ran out was away, suspended or stuck: then, too,
// the silence of others is our own.
func (f *Fleet) held(epoch int64, now time.Time, kept map[string]stopped) (fresh bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fresh = epoch != 0 && epoch != f.epoch
	if fresh || now.After(f.heldUntil) {
		f.since = now
	}
	if fresh && kept != nil {
		f.stops = resume(kept, now)
	}
	f.epoch, f.renewAt, f.heldUntil = epoch, now.Add(leaseFor/3), now.Add(leaseFor)
	return fresh
}

func (f *Fleet) announce(ctx context.Context, epoch int64) {
	f.cfg.Log.InfoContext(ctx, "fleet lease held", "epoch", epoch)
	switch n, err := f.others(ctx); {
	case err != nil:
		f.cfg.Log.WarnContext(ctx, "instances of other providers not counted", "error", err)
	case n > 0:
		f.cfg.Log.WarnContext(ctx, "instances of another provider may still run; start with that provider to end them", "instances", n)
	}
}

// release gives the lease back, so that the next process need not wait.
func (f *Fleet) release(ctx context.Context) error {
	f.mu.Lock()
	f.epoch = 0
	f.mu.Unlock()
	return f.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE fleet SET lease_until = 0 WHERE one = 1 AND holder = $1`, f.holder)
		return err
	})
}
