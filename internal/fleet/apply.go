package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// Bounds of one call to the provider. A create gets long: cutting it short
// would leave open whether it took.
const (
	listTimeout    = 30 * time.Second
	createTimeout  = 2 * time.Minute
	destroyTimeout = 30 * time.Second
)

// apply does one action.
func (f *Fleet) apply(ctx context.Context, a Action) error {
	switch a.Kind {
	case Search:
		return f.search(ctx)
	case Rent:
		return f.rent(ctx, a)
	case Destroy:
		if a.Label == "" {
			f.cfg.Log.WarnContext(ctx, "stray instance destroyed", "id", a.ID, "reason", a.Reason)
			return f.callDestroy(ctx, a.ID)
		}
		return f.destroy(ctx, a.Label, a.Reason)
	}
	return fmt.Errorf("unknown action %q", a.Kind)
}

func (f *Fleet) search(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	list, err := f.cfg.Provider.Offers(ctx)
	if err != nil {
		return fmt.Errorf("search offers: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.offers = offers{list, f.cfg.Now()}
	poke(f.wake)
	return nil
}

// rent creates one instance: the intent is committed first, under a label of
// its own for every try, and each create is called once.
func (f *Fleet) rent(ctx context.Context, a Action) error {
	f.mu.Lock()
	f.offers = offers{} // taken or refused: they are stale
	f.mu.Unlock()
	for _, offer := range a.Offers {
		err := f.create(ctx, offer, a.Reason)
		if !errors.Is(err, gpu.ErrOfferGone) {
			return err
		}
	}
	return nil
}

func (f *Fleet) create(ctx context.Context, offer gpu.Offer, reason string) error {
	now := f.cfg.Now()
	in := Instance{
		Label: Label(f.cfg.Identity.ID, newName(now)), State: gpu.Planned, Reason: reason, Slots: max(1, offer.Slots),
		HourlyUSD: offer.HourlyUSD, CreatedAt: now, StateSince: now, Deadline: now.Add(f.cfg.Policy.BootTimeout),
	}
	env, err := f.workerEnv(in.Label)
	if err != nil {
		return err
	}
	if err := f.save(ctx, in); err != nil {
		return fmt.Errorf("record intent: %w", err)
	}
	in.State, in.AskedAt = gpu.Creating, f.cfg.Now()
	if err := f.save(ctx, in); err != nil {
		return fmt.Errorf("record create: %w", err)
	}
	f.cfg.Log.InfoContext(ctx, "renting", "instance", in.Label, "offer", offer.ID, "hourly", offer.HourlyUSD.String(), "reason", reason)

	// What the provider answers must be recorded though the process is told
	// to stop.
	ctx = context.WithoutCancel(ctx)
	call, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	id, createErr := f.cfg.Provider.Create(call, gpu.Request{Label: in.Label, Offer: offer, Env: env})
	_, err = f.update(ctx, in.Label, func(row *Instance) bool {
		*row = created(*row, id, createErr, f.cfg.Now())
		return true
	})
	poke(f.wake)
	return errors.Join(createErr, err)
}

// created is the row after the create call ended.
func created(row Instance, id string, err error, now time.Time) Instance {
	if row.State != gpu.Creating { // a listing was faster
		if id != "" {
			row.ProviderID = id
		}
		return row
	}
	row.AskedAt = now
	switch {
	case err == nil:
		row.ProviderID, row.State, row.StateSince, row.Reason = id, gpu.Booting, now, "the provider accepted"
	case gpu.IsAmbiguous(err):
		row.Ambiguous, row.Reason = true, "the create call ended without an answer"
	default:
		row.State, row.StateSince, row.Reason = gpu.Gone, now, err.Error()
	}
	return row
}

// workerEnv is what an instance's worker is told.
func (f *Fleet) workerEnv(label string) (map[string]string, error) {
	creds, err := f.credentials(label)
	if err != nil {
		return nil, err
	}
	env := map[string]string{
		"SESSION_TOKEN": creds.Token, "X_API_KEY": creds.Key,
		"LEASE": f.cfg.Policy.Lease.String(), "BOOT_TIMEOUT": f.cfg.Policy.BootTimeout.String(),
	}
	for k, v := range f.cfg.Env {
		env[k] = v
	}
	return env, nil
}

// destroy records that an instance must go, and asks for it. It names the id
// from the ledger and waits for no listing; the loop asks again until
// complete listings lack it.
func (f *Fleet) destroy(ctx context.Context, label, reason string) error {
	var id string
	now := f.cfg.Now()
	changed, err := f.update(ctx, label, func(row *Instance) bool {
		if row.Permanent || row.State == gpu.Gone {
			return false
		}
		if row.State != gpu.Destroying {
			row.State, row.StateSince, row.Reason = gpu.Destroying, now, reason
			f.cfg.Log.InfoContext(ctx, "destroying", "instance", label, "reason", reason)
		}
		row.AskedAt, id = now, row.ProviderID
		return true
	})
	if err != nil || !changed || id == "" {
		return err
	}
	return f.callDestroy(ctx, id)
}

func (f *Fleet) callDestroy(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), destroyTimeout)
	defer cancel()
	if err := f.cfg.Provider.Destroy(ctx, id); err != nil {
		return fmt.Errorf("destroy %s: %w", id, err)
	}
	poke(f.wake)
	return nil
}

func newName(now time.Time) string {
	return strings.ToLower(ulid.MustNew(ulid.Timestamp(now), rand.Reader).String())
}
