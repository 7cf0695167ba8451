package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/crash"
	"github.com/api-gpu/api-gpu/internal/font"
	"github.com/api-gpu/api-gpu/internal/gpu"
)

// Times of the lease that every worker is given.
const (
	renewGap       = 15 * time.Second       // to a worker that is ready
	bootGap        = 250 * time.Millisecond // to one that boots: each try is one connection
	contactTimeout = 10 * time.Second
)

// contactAll renews the lease of every instance that is due, each on its own:
// one that hangs holds up nobody.
func (f *Fleet) contactAll(ctx context.Context, rows []Instance) {
	for _, in := range rows {
		if in.Address == "" || in.State != gpu.Booting && in.State != gpu.Ready {
			continue
		}
		if f.startContact(in) {
			f.spawn(func() {
				defer f.endContact(in.Label)
				f.contact(ctx, in)
			})
		}
	}
}

// startContact reports whether a contact is due and none is under way.
func (f *Fleet) startContact(in Instance) bool {
	gap := renewGap
	if in.State == gpu.Booting {
		gap = bootGap
	}
	now := f.cfg.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calling[in.Label] || now.Sub(f.asked[in.Label]) < gap {
		return false
	}
	f.calling[in.Label], f.asked[in.Label] = true, now
	return true
}

func (f *Fleet) endContact(label string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.calling, label)
}

// contact renews one lease and records the answer: it is the proof of life,
// and the first proof that the worker can encode.
func (f *Fleet) contact(ctx context.Context, in Instance) { f.renew(ctx, in, f.cfg.Policy.Lease) }

// renew is contact with a lease of any length. It reports whether the ledger
// allowed it to be sent.
func (f *Fleet) renew(ctx context.Context, in Instance, ttl time.Duration) (allowed bool) {
	c, err := f.clientOf(in)
	if err != nil {
		f.cfg.Log.ErrorContext(ctx, "worker cannot be addressed", "instance", in.Label, "error", err)
		return true
	}
	f.mu.Lock()
	epoch := f.epoch
	f.mu.Unlock()
	began := f.cfg.Now()
	if !f.mayRenew(ctx, in, ttl) {
		return false
	}
	if stood := f.cfg.Now().Sub(began); stood.Abs() >= contactTimeout {
		return true // what was noted is old: a worker would live for longer
	}
	reply, err := lease(ctx, c, apigpu.LeaseRequest{Epoch: epoch, TTLSeconds: ttl.Seconds()})
	crash.Point("fleet.contact")
	if err != nil {
		f.silent(ctx, in, err)
		return true
	}
	f.refuses(in.Label, nil)
	now := f.cfg.Now()
	news := false
	_, err = f.update(ctx, in.Label, func(row *Instance) bool {
		before := *row
		*row = answered(before, reply, f.cfg.Policy, now)
		news = row.State != before.State || row.Worker.API != before.Worker.API
		return *row != before
	})
	switch {
	case err != nil:
		f.cfg.Log.WarnContext(ctx, "worker's answer not recorded", "instance", in.Label, "error", err)
	case news && reply.Ready && reply.Worker.API != apigpu.APIVersion:
		f.wrongVersion(ctx, in, reply.Worker)
	case news && reply.Ready:
		f.unstop(ctx, stopEgress, stopImage, stopVersion)
		// A free one has the fonts of its own machine, which its owner knows.
		if mine := font.Image().Hash(); f.cfg.Policy.paid() && reply.Worker.Fonts != "" && reply.Worker.Fonts != mine {
			f.cfg.Log.WarnContext(ctx, "worker has other fonts than this version's image: what is said of characters that no font has may be wrong",
				"instance", in.Label, "fonts", reply.Worker.Fonts, "image", mine)
		}
		f.cfg.Log.InfoContext(ctx, "worker is ready", "instance", in.Label, "encoder", reply.Worker.Encoder, "gpu", reply.Worker.GPU)
		poke(f.wake)
	case !reply.Ready:
		f.cfg.Log.DebugContext(ctx, "worker is not ready", "instance", in.Label, "reason", reply.Reason)
	}
	return true
}

func lease(ctx context.Context, c *client.Client, req apigpu.LeaseRequest) (apigpu.LeaseReply, error) {
	ctx, cancel := context.WithTimeout(ctx, contactTimeout)
	defer cancel()
	return c.Lease(ctx, req)
}

// answered is the row after an authenticated answer.
func answered(row Instance, reply apigpu.LeaseReply, p Policy, now time.Time) Instance {
	if row.State != gpu.Booting && row.State != gpu.Ready {
		return row
	}
	if row.HeardAt.IsZero() {
		row.HeardAt = now
		// It lives by this lease now, no longer by the longer first one. Where
		// that was never noted, nothing is.
		if until := now.Add(p.Lease + contactTimeout + leaseStep); until.Before(row.LeaseUntil) {
			row.LeaseUntil = until
		}
	}
	row = runsFor(row, reply.UptimeSeconds, now)
	row.ContactAt, row.Worker = now, reply.Worker
	row.Worker.Load = 0 // changes with every answer, and nobody decides by it
	if reply.Worker.Slots > 0 {
		row.Slots = reply.Worker.Slots
	}
	fit := reply.Ready && !row.older() && !noGPU(p, reply.Worker)
	switch {
	case row.State == gpu.Booting && fit:
		row.State, row.StateSince, row.Reason, row.IdleSince = gpu.Ready, now, "its worker proved "+reply.Worker.Encoder, now
		if row.ReadyAt.IsZero() {
			row.ReadyAt = now
		}
	case row.State == gpu.Booting:
		row.Reason = unfit(row, reply)
	case reply.Ready && row.IdleSince.IsZero() && (!row.older() || drains(reply.Worker.API, apigpu.APIVersion)):
		// It was rented under other settings, or by the version before this
		// one, and works: it finishes.
	case !fit: // another program took its place, or it was started anew
		row.State, row.StateSince, row.HeardAt, row.Reason = gpu.Booting, now, now, unfit(row, reply)
		row.Deadline = latest(row.Deadline, now.Add(p.BootTimeout)) // that of its boot may be long past
	}
	return row
}

// unfit says why a worker that answers gets no job.
func unfit(row Instance, reply apigpu.LeaseReply) string {
	switch {
	case row.older():
		return otherVersion(reply.Worker.API)
	case reply.Ready:
		return onlyCPU(reply.Worker)
	}
	return reply.Reason
}

// wrongVersion stops renting where the image that we rent with holds a worker
// that speaks another API: the next machine would be no better. One that was
// rented with other settings says nothing of that.
func (f *Fleet) wrongVersion(ctx context.Context, in Instance, worker apigpu.WorkerInfo) {
	if f.rentedSo(in) {
		f.stop(ctx, stopped{Stop: Stop{
			Code: stopVersion, Reason: "the image of the workers is that of another version of this program",
			Detail: fmt.Sprintf("its version is %q, and %s: set VAST_WORKER_IMAGE to the image of this release", worker.Version, otherVersion(worker.API)),
		}}, stopHold)
	}
}

// rentedSo reports whether an instance was rented with the settings that hold
// now, by whichever process.
func (f *Fleet) rentedSo(in Instance) bool {
	return !in.Permanent && in.Terms.Settings == f.cfg.Settings
}

// tell logs why a contact failed. A worker that answers and refuses will do so
// until somebody mends the settings: that is said aloud, once.
func (f *Fleet) tell(ctx context.Context, in Instance, cause error) {
	if !f.refuses(in.Label, refusalIn(cause)) {
		f.cfg.Log.DebugContext(ctx, "worker did not answer", "instance", in.Label, "error", cause)
		return
	}
	f.cfg.Log.WarnContext(ctx, "worker refuses us", "instance", in.Label, "error", cause)
	if apigpu.CodeOf(cause) == apigpu.AddressNotAllowed && f.rentedSo(in) {
		f.stop(ctx, stopped{Stop: Stop{
			Code: stopEgress, Reason: "a new worker does not answer the address from which this server reaches it",
			Detail: fmt.Sprintf("its answer: %s EGRESS_IPS allows %s: set it to the addresses from which this server reaches the internet, or to nothing",
				apigpu.AsError(cause).Message, f.cfg.Env["ALLOWED_IPS"]),
		}}, stopHold)
	}
}

// refusalIn returns the refusal that err is, or nil.
func refusalIn(err error) *apigpu.Error {
	switch apigpu.CodeOf(err) {
	case apigpu.Unauthorized, apigpu.Forbidden, apigpu.InvalidSession, apigpu.AddressNotAllowed, apigpu.InvalidRequest:
		return apigpu.AsError(err)
	}
	return nil
}

// refuses notes how the last contact with a worker ended, why being nil where
// it was no refusal, and reports whether that is a refusal and news.
func (f *Fleet) refuses(label string, why *apigpu.Error) (news bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if why == nil {
		delete(f.refused, label)
		return false
	}
	before, known := f.refused[label]
	news = !known || before.why.Code != why.Code
	since := before.since
	if news {
		since = f.cfg.Now()
	}
	f.refused[label] = refused{why, since}
	return news
}

// refused is why a worker refused the last contact, and since when it does.
type refused struct {
	why   *apigpu.Error
	since time.Time
}

// Refusal is what Plan knows of a worker that refuses us.
type Refusal struct {
	Code    apigpu.Code
	Message string
	Since   time.Time
}

// silent notes that a worker did not answer. One that is permanent goes back
// to booting, and gets no job until it answers; Plan ends the others.
func (f *Fleet) silent(ctx context.Context, in Instance, cause error) {
	if ctx.Err() != nil {
		return
	}
	f.tell(ctx, in, cause)
	f.mu.Lock()
	since := f.since
	f.mu.Unlock()
	now := f.cfg.Now()
	if !in.Permanent || in.State != gpu.Ready {
		return
	}
	_, err := f.update(ctx, in.Label, func(row *Instance) bool {
		if row.State != gpu.Ready || now.Sub(latest(row.ContactAt, since)) < f.cfg.Policy.Silence {
			return false
		}
		row.State, row.StateSince, row.Reason = gpu.Booting, now, "its worker does not answer"
		return true
	})
	if err != nil {
		f.cfg.Log.WarnContext(ctx, "worker's silence not recorded", "instance", in.Label, "error", err)
	}
}
