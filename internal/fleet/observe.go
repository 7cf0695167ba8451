package fleet

import (
	"slices"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// plannedFor bounds the time from the intent to the create call, which follow
// one another in one process.
const plannedFor = 30 * time.Second

// Sighting is what one listing says about the ledger: the rows to change, in
// full, and what has no row.
type Sighting struct {
	Changed []Instance
	Exited  map[string]bool
	// Strays carry our label and are in no live row, by provider id: those
	// without a row, and twins of an instance that has one.
	Strays map[string]string
}

// Observe compares the ledger with a listing and moves rows passively: what
// exists is found by its label, and what complete listings lack is gone. It
// decides nothing about money. since is when this process began to act.
func Observe(fleetID string, t gpu.Traits, rows []Instance, s gpu.Snapshot, p Policy, since, now time.Time) Sighting {
	out := Sighting{Exited: map[string]bool{}, Strays: map[string]string{}}
	unknown := map[string][]gpu.Instance{} // by label
	for _, in := range s.Instances {
		label := labelOf(rows, in)
		unknown[label] = append(unknown[label], in)
	}
	for _, row := range rows {
		seen, twins, ok := pick(row, unknown[row.Label], s.Complete)
		unknown[row.Label] = twins
		if ok && !seen.Running {
			out.Exited[row.Label] = true
		}
		next := row
		switch {
		case ok:
			next = seenAt(found(row, seen, p, now), seen, s.Began)
		case s.Complete, row.State == gpu.Planned:
			next = missedAt(missing(row, t, s.Began, since, now))
		}
		if next != row {
			out.Changed = append(out.Changed, next)
		}
	}
	for label, list := range unknown {
		for _, in := range list {
			switch {
			case t.Permanent:
				out.Changed = append(out.Changed, permanent(in, now))
			case Ours(fleetID, label):
				out.Strays[in.ID] = label
			}
		}
	}
	return out
}

// labelOf is the label of a listed instance. Right after its creation most of
// what a provider shows of an instance may be missing, its label too: then the
// id tells whose it is, where the provider's answer to the create named it.
func labelOf(rows []Instance, in gpu.Instance) string {
	if in.Label != "" || in.ID == "" {
		return in.Label
	}
	for _, row := range rows {
		if row.ProviderID == in.ID {
			return row.Label
		}
	}
	return ""
}

// pick finds the instance of a row among those that carry its label. There may
// be twins: a create that something on the way sent twice. The id that we know
// stays the one, unless a complete listing lacks it.
func pick(row Instance, listed []gpu.Instance, complete bool) (seen gpu.Instance, twins []gpu.Instance, ok bool) {
	best := slices.IndexFunc(listed, func(in gpu.Instance) bool { return in.ID == row.ProviderID })
	if best < 0 && (complete || row.ProviderID == "") {
		best = slices.IndexFunc(listed, func(in gpu.Instance) bool { return in.Running })
		if best < 0 && len(listed) > 0 {
			best = 0
		}
	}
	if best < 0 {
		return seen, listed, false
	}
	return listed[best], slices.Delete(slices.Clone(listed), best, best+1), true
}

// found applies what a listing says about an instance that it has.
func found(row Instance, seen gpu.Instance, p Policy, now time.Time) Instance {
	if row.ProviderID != "" && row.ProviderID != seen.ID {
		row = p.twin(row)
	}
	row.ProviderID, row.AbsentSince = seen.ID, time.Time{}
	if seen.Address != "" && seen.Address != row.Address {
		row.Address, row.AddressAt = seen.Address, now
	}
	if seen.HourlyUSD > 0 {
		row.ListedUSD = seen.HourlyUSD
	}
	if seen.Slots > 0 && row.ContactAt.IsZero() { // its worker knows better
		row.Slots = seen.Slots
	}
	if row.State == gpu.Creating {
		row.State, row.Reason, row.StateSince, row.Ambiguous = gpu.Booting, "it is listed", now, false
		row.Deadline = row.CreatedAt.Add(p.BootTimeout)
	}
	if row.State == gpu.Booting && !row.Permanent {
		row = said(row, seen, now)
	}
	return row
}

// twin is the row of an instance whose twin takes its place: to that nobody may
// have spoken yet, so that it lives by its own first lease.
func (p Policy) twin(row Instance) Instance {
	row.HeardAt = time.Time{}
	if !row.LeaseUntil.IsZero() { // of a machine that is paid for
		row.LeaseUntil = latest(row.LeaseUntil, row.CreatedAt.Add(p.BootTimeout+p.firstLease()))
		row.ReservedUntil = latest(row.ReservedUntil, row.leaseEnd())
	}
	return row
}

// said notes what the provider says of the start of an instance: its message,
// or where it has none its word for the state.
func said(row Instance, seen gpu.Instance, now time.Time) Instance {
	message := seen.Message
	if message == "" {
		message = seen.Status
	}
	if message != "" && message != row.Message {
		row.Message, row.MessageAt = message, now
	}
	row.Fault = seen.Fault
	return row
}

// missing applies a complete listing that lacks an instance: it is gone after
// two of them, the first begun no earlier than the listing lag after the
// create was asked for, the second no earlier than the absence gap after the
// first. Of one that no listing ever had the lag counts from since too: where
// the clock was set while nobody ran, nobody knows how long ago it was asked
// for.
func missing(row Instance, t gpu.Traits, began, since, now time.Time) Instance {
	asked := latest(row.CreatedAt, row.AskedAt)
	if !row.listed() {
		asked = latest(asked, since)
	}
	switch {
	case row.State == gpu.Planned:
		// Nothing was asked of the provider, and whoever would have is gone.
		// No listing need prove that.
		if began.After(row.StateSince.Add(plannedFor)) {
			row.State, row.Reason, row.StateSince = gpu.Gone, "it was never asked for", now
		}
	case began.Before(asked.Add(t.ListingLag)):
	case row.AbsentSince.IsZero():
		row.AbsentSince = began
	case began.After(row.AbsentSince) && !began.Before(row.AbsentSince.Add(t.AbsenceGap)):
		if row.State != gpu.Destroying {
			row.Reason = "the provider no longer lists it"
		}
		row.State, row.StateSince, row.Ambiguous = gpu.Gone, now, false
	}
	return row
}

// listed reports whether any listing had it, as far as its row tells.
func (in Instance) listed() bool {
	return in.Address != "" || in.ListedUSD != 0 || !in.MessageAt.IsZero() || !in.StartedAt.IsZero()
}

// permanent is the row of an instance that was there before us.
func permanent(in gpu.Instance, now time.Time) Instance {
	return Instance{
		Label: in.Label, ProviderID: in.ID, State: gpu.Booting, Reason: "it is configured", Permanent: true,
		Address: in.Address, Slots: max(1, in.Slots), CreatedAt: now, StateSince: now,
		Deadline: now.AddDate(100, 0, 0), // it has none that would end it
	}
}
