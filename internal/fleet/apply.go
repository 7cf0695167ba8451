package fleet

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/api-gpu/api-gpu/internal/crash"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/link"
)

// Bounds of one call to the provider. A create gets long: cutting it short
// would leave open whether it took.
const (
	listTimeout    = 30 * time.Second
	createTimeout  = 2 * time.Minute
	destroyTimeout = 30 * time.Second
)

// maxCreates bounds the offers that one round tries: after so many that others
// took, the list is worth nothing.
const maxCreates = 5

// apply does one action.
func (f *Fleet) apply(ctx context.Context, a Action) error {
	switch a.Kind {
	case Search:
		return f.search(ctx)
	case Rent:
		return f.rent(ctx, a)
	case Destroy:
		if a.Label == "" {
			return f.destroyStray(ctx, a)
		}
		if a.Blame == BlameImage {
			a.Blame = f.judgeImage(ctx, a.Label)
		}
		return f.destroy(ctx, a)
	}
	return fmt.Errorf("unknown action %q", a.Kind)
}

func (f *Fleet) search(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	list, err := f.cfg.Provider.Offers(ctx)
	if err := f.heed(ctx, Search, err); err != nil {
		return fmt.Errorf("search offers: %w", err)
	}
	if err != nil {
		return nil // heeded
	}
	f.found(ctx, list)
	poke(f.wake)
	return nil
}

// found keeps what a search found, whoever it was made for: to search once more
// for the job that was just asked about would take its turn again.
func (f *Fleet) found(ctx context.Context, list []gpu.Offer) {
	f.cfg.Log.InfoContext(ctx, "offers", "seen", len(list))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.offers = offers{list, f.cfg.Now()}
	f.priced(list, f.offers.at)
}

// rent creates one instance: the intent is committed first, under a label of
// its own for every try, and each create is called once.
func (f *Fleet) rent(ctx context.Context, a Action) error {
	f.mu.Lock()
	f.offers = offers{} // taken or refused: they are stale
	f.mu.Unlock()
	image, ok := f.image(ctx)
	if !ok {
		return nil // a stop tells
	}
	for _, offer := range a.Offers[:min(len(a.Offers), maxCreates)] {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// What was done since the plan may have taken seconds, and the job that
		// waited may be canceled.
		if waiting, _, err := f.cfg.Queue.Load(ctx); err != nil || waiting == 0 {
			return err
		}
		err := f.create(ctx, offer, image, a.Reason)
		if !errors.Is(err, gpu.ErrOfferGone) && !errors.Is(err, gpu.ErrNoCapacity) {
			return err
		}
	}
	return nil
}

// create rents one offer. The error is the provider's, if it is one of those
// after which another offer may do; others are heeded.
func (f *Fleet) create(ctx context.Context, offer Choice, image, reason string) error {
	now := f.cfg.Now()
	in := Instance{
		Label: Label(f.cfg.Identity.ID, newName(now)), State: gpu.Planned, Reason: reason, Slots: max(1, offer.Slots),
		HourlyUSD: offer.HourlyUSD, Terms: TermsOf(offer.Offer), CreatedAt: now, StateSince: now, Deadline: now.Add(f.cfg.Policy.BootTimeout),
	}
	in.Terms.Image, in.Terms.Settings, in.Terms.Why = image, f.cfg.Settings, reason+": "+offer.Why
	env, err := f.workerEnv(in)
	if err != nil {
		return err
	}
	if in.Terms.PullBytes, err = f.pulls(ctx); err != nil { // no reason not to rent
		f.cfg.Log.WarnContext(ctx, "what the image's download costs is not known", "instance", in.Label, "error", err)
	}
	if err := f.intend(ctx, &in, offer.Reserve); err != nil {
		return fmt.Errorf("record intent: %w", err)
	}
	if stood := f.cfg.Now().Sub(now); stood >= plannedFor {
		// What was decided is old, and the deadline with it. The row goes as one
		// that was never asked for.
		return fmt.Errorf("%s passed between the intent and the create call of %s", stood, in.Label)
	}
	asked := f.cfg.Now()
	wanted, err := f.update(ctx, in.Label, func(row *Instance) bool {
		if row.State != gpu.Planned {
			return false // its end was asked for meanwhile
		}
		row.State, row.AskedAt = gpu.Creating, asked
		return true
	})
	if err != nil {
		return fmt.Errorf("record create: %w", err)
	}
	if !wanted {
		return nil
	}
	f.cfg.Log.InfoContext(ctx, "renting", "instance", in.Label, "offer", offer.ID, "gpu", offer.GPU, "country", offer.Country,
		"hourly", offer.HourlyUSD.String(), "why", offer.Why, "image", image, "reason", reason)

	// What the provider answers must be recorded though the process is told
	// to stop.
	ctx = context.WithoutCancel(ctx)
	call, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	crash.Point("fleet.create")
	f.asking(in.Label)
	defer f.asking("")
	id, createErr := f.cfg.Provider.Create(call, gpu.Request{Label: in.Label, Offer: offer.Offer, Image: image, Env: env})
	crash.Point("fleet.created")
	_, err = f.update(ctx, in.Label, func(row *Instance) bool {
		*row = created(*row, id, createErr, f.cfg.Now())
		return true
	})
	poke(f.wake)
	switch heeded := f.heed(ctx, Rent, createErr); {
	case createErr == nil:
		f.unstop(ctx, stopFunds, stopAuth)
	case heeded != nil:
		err = errors.Join(heeded, err)
	case errors.Is(createErr, gpu.ErrOfferGone), errors.Is(createErr, gpu.ErrNoCapacity):
		err = errors.Join(createErr, err)
	}
	return err
}

// asking notes the label whose create call is under way; empty for none.
func (f *Fleet) asking(label string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.creating = label
}

// created is the row after the create call ended.
func created(row Instance, id string, err error, now time.Time) Instance {
	row.AskedAt = now
	if row.State != gpu.Creating { // a listing was faster
		if id != "" {
			row.ProviderID = id
		}
		return row
	}
	switch {
	case err == nil:
		row.ProviderID, row.State, row.StateSince, row.Reason = id, gpu.Booting, now, "the provider accepted"
	case errors.Is(err, gpu.ErrPartial) && id != "":
		// It exists, costs money, and never runs: it goes at once.
		row.ProviderID, row.State, row.StateSince, row.Reason, row.Blame = id, gpu.Destroying, now, err.Error(), BlameMachine
	case gpu.IsAmbiguous(err):
		row.Ambiguous, row.Reason = true, "the create call ended without an answer"
	default:
		row.State, row.StateSince, row.Reason = gpu.Gone, now, err.Error()
	}
	return row
}

// workerEnv is what an instance's worker is told.
func (f *Fleet) workerEnv(in Instance) (map[string]string, error) {
	creds, err := f.credentials(in.Label)
	if err != nil {
		return nil, err
	}
	return f.cfg.Policy.workerEnv(f.cfg.Identity, creds, in, f.cfg.Env)
}

// workerEnv is what the worker of an instance is told, beside more.
func (p Policy) workerEnv(id Identity, creds link.Credentials, in Instance, more map[string]string) (env map[string]string, err error) {
	env = map[string]string{
		"SESSION_TOKEN": creds.Token, "X_API_KEY": creds.Key,
		"LEASE": p.Lease.String(), "BOOT_TIMEOUT": p.BootTimeout.String(),
		"END_BY": strconv.FormatInt(in.CreatedAt.Add(p.firstLease()).Unix(), 10),
	}
	maps.Copy(env, more)
	if p.Traits.Pinned {
		if env["TLS_SEED"], err = link.Seed(id.Secret, in.Label); err != nil {
			return nil, err
		}
	}
	return env, nil
}

// destroyStray ends an instance that no live row knows. The ledger is asked
// once more, under the fleet lease: what another process has adopted since the
// listing is no stray.
func (f *Fleet) destroyStray(ctx context.Context, a Action) error {
	now := f.cfg.Now()
	f.mu.Lock()
	s, ok := f.strays[a.ID]
	s.asked = now
	if ok {
		f.strays[a.ID] = s
	}
	f.mu.Unlock()
	known := false
	fence := f.fenced
	if a.Unrecorded {
		fence = f.ends
	}
	err := fence(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM instances
			WHERE label = $1 AND state <> 'gone' AND provider_id IN ($2, ''))`, s.label, a.ID).Scan(&known)
	})
	if err != nil || known || !ok {
		return err
	}
	f.cfg.Log.WarnContext(ctx, "destroying a stray", "instance", s.label, "id", a.ID, "reason", a.Reason)
	return f.callDestroy(ctx, a.ID)
}

func (f *Fleet) callDestroy(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), destroyTimeout)
	defer cancel()
	crash.Point("fleet.destroy")
	if err := f.cfg.Provider.Destroy(ctx, id); err != nil {
		return fmt.Errorf("destroy %s: %w", id, err)
	}
	crash.Point("fleet.destroyed")
	poke(f.wake)
	return nil
}

func newName(now time.Time) string {
	return strings.ToLower(ulid.MustNew(ulid.Timestamp(now), rand.Reader).String())
}
