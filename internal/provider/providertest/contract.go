package providertest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// words: what a provider says of itself is there, and does not change.
func words(b *bench) {
	if name := b.p.Name(); name == "" || name != b.p.Name() {
		b.Errorf("Name is %q, then %q", name, b.p.Name())
	}
	traits := b.p.Traits()
	if traits != b.p.Traits() {
		b.Errorf("Traits changed from %+v to %+v", traits, b.p.Traits())
	}
	if traits.ListingLag < 0 || traits.AbsenceGap < 0 {
		b.Errorf("Traits %+v hold a negative time", traits)
	}
	first, second := b.list(b.p), b.list(b.p)
	if second.Began.Before(first.Began) {
		b.Errorf("a later listing began at %v, before %v", second.Began, first.Began)
	}
}

// life: an instance is listed under its label with what was asked for, and
// absent after its end.
func life(b *bench) {
	req := b.request()
	if req.Offer.Slots < 1 || req.Offer.HourlyUSD < 0 {
		b.Errorf("offer %+v has no slot, or a negative price", req.Offer)
	}
	if b.p.Traits().Free && req.Offer.HourlyUSD != 0 {
		b.Errorf("offer %+v of a free provider has a price", req.Offer)
	}
	id := b.create(req)
	i := b.ready(b.p, req.Label)
	if i.ID != id {
		b.Errorf("Create returned id %q; listed is %q", id, i.ID)
	}
	if i.Slots != req.Offer.Slots || i.HourlyUSD < 0 || i.Status == "" {
		b.Errorf("listed is %+v; want %d slots, a price and a status", i, req.Offer.Slots)
	}
	b.destroy(b.p, id)
	b.gone(b.p, req.Label)
}

// destroyTwice: asking again is no error, before the end and after it.
func destroyTwice(b *bench) {
	req := b.request()
	id := b.create(req)
	b.destroy(b.p, id)
	b.destroy(b.p, id)
	b.gone(b.p, req.Label)
	b.destroy(b.p, id)
}

// destroyUnknown: an id of nothing is accepted; ids that mean something
// elsewhere (a path, a pattern, nothing at all) reach no other instance.
func destroyUnknown(b *bench) {
	req := b.request()
	b.create(req)
	before := b.ready(b.p, req.Label)
	b.destroy(b.p, b.opts.UnknownID)
	for _, id := range []string{"", ".", "..", "/", "*", "%", "../" + before.ID, before.ID + "/", before.ID + "/..", "0 OR 1=1"} {
		// nil and an error are both right: such an id is nobody's.
		_ = b.p.Destroy(b.ctx(), id)
	}
	if after := b.ready(b.p, req.Label); after != before {
		b.Errorf("destroying other ids changed %+v to %+v", before, after)
	}
}

// unknownOffer: an offer that is not there is refused for certain, and
// nothing comes of it.
func unknownOffer(b *bench) {
	req := b.request()
	req.Offer.ID = b.opts.UnknownID
	if id, err := b.p.Create(b.ctx(), req); !definite(err) {
		b.Errorf("Create of an unknown offer returned %q, %v; want a definite refusal", id, err)
	}
	b.opts.Pass(b.p.Traits().ListingLag)
	b.gone(b.p, req.Label)
}

// contextEnded: under a context that ended each call returns promptly and
// tells no lie: no refusal of what was created, no short list called complete.
func contextEnded(b *bench) {
	alive := b.request()
	b.create(alive)
	b.ready(b.p, alive.Label)
	late := b.request()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	began := time.Now()

	id, createErr := b.p.Create(ended, late)
	snapshot, listErr := b.p.Instances(ended)
	_, offersErr := b.p.Offers(ended)
	destroyErr := b.p.Destroy(ended, b.opts.UnknownID)

	if took := time.Since(began); took > callTimeout/3 {
		b.Errorf("four calls under an ended context took %v", took)
	}
	if listErr == nil && snapshot.Complete && len(under(snapshot, alive.Label)) != 1 {
		b.Errorf("a listing under an ended context claims to be complete and lacks %q", alive.Label)
	}
	for verb, err := range map[Verb]error{Instances: listErr, Offers: offersErr, Destroy: destroyErr} {
		if err != nil && !isContextEnd(err) {
			b.Errorf("%s under an ended context: %v; want the context's error", verb, err)
		}
	}
	switch {
	case createErr == nil:
		if i := b.ready(b.p, late.Label); i.ID != id {
			b.Errorf("Create returned id %q; listed is %q", id, i.ID)
		}
	case definite(createErr):
		b.opts.Pass(b.p.Traits().ListingLag)
		b.gone(b.p, late.Label)
	case !isContextEnd(createErr):
		b.Errorf("Create under an ended context: %v; want the context's error", createErr)
	default:
		// It may come yet: the clean-up shall see it.
		b.opts.Pass(b.p.Traits().ListingLag)
	}
}

// othersUntouched: the end of one instance leaves its neighbour as it was.
func othersUntouched(b *bench) {
	one, other := b.request(), b.request()
	id := b.create(one)
	b.create(other)
	b.ready(b.p, one.Label)
	before := b.ready(b.p, other.Label)
	b.destroy(b.p, id)
	b.gone(b.p, one.Label)
	if after := b.ready(b.p, other.Label); after != before {
		b.Errorf("destroying %q changed %+v to %+v", one.Label, before, after)
	}
}

// concurrent: calls at the same time make one instance a label, each with an
// id of its own. Run it under the race detector.
func concurrent(b *bench) {
	var reqs []gpu.Request
	for range parallel {
		reqs = append(reqs, b.request())
	}
	ids := make([]string, parallel)
	ctx := b.ctx()
	together(reqs, func(n int, req gpu.Request) {
		id, err := b.p.Create(ctx, req)
		if err != nil {
			b.Errorf("Create: %v", err)
		}
		ids[n] = id
		if _, err := b.p.Instances(ctx); err != nil {
			b.Errorf("Instances: %v", err)
		}
		if _, err := b.p.Offers(ctx); err != nil {
			b.Errorf("Offers: %v", err)
		}
	})
	distinct := slices.Compact(slices.Sorted(slices.Values(ids)))
	if len(distinct) != parallel {
		b.Fatalf("%d creates returned the ids %q", parallel, ids)
	}
	for n, req := range reqs {
		if i := b.ready(b.p, req.Label); i.ID != ids[n] {
			b.Errorf("label %q is listed with id %q; want %q", req.Label, i.ID, ids[n])
		}
	}
	together(reqs, func(n int, _ gpu.Request) {
		// Twice at the same time, from two sides.
		err := errors.Join(b.p.Destroy(ctx, ids[n]), b.p.Destroy(ctx, ids[(n+1)%parallel]))
		if err != nil {
			b.Errorf("Destroy: %v", err)
		}
	})
	for _, req := range reqs {
		b.gone(b.p, req.Label)
	}
}

// together runs do for all requests at the same time and waits for all.
func together(reqs []gpu.Request, do func(n int, req gpu.Request)) {
	var all sync.WaitGroup
	for n, req := range reqs {
		all.Go(func() { do(n, req) })
	}
	all.Wait()
}

// restart: a second value over the same state sees the same instance, and can
// end it.
func restart(b *bench) {
	if b.opts.Reopen == nil {
		return
	}
	req := b.request()
	b.create(req)
	before := b.ready(b.p, req.Label)
	again := b.opts.Reopen(b.T, b.p)
	if after := b.ready(again, req.Label); after != before {
		b.Errorf("before the restart listed was %+v, after it %+v", before, after)
	}
	b.destroy(again, before.ID)
	b.gone(again, req.Label)
	b.gone(b.p, req.Label)
}

// permanent: what is there stays there, and nothing comes.
func permanent(b *bench) {
	before := b.list(b.p)
	if !before.Complete || len(before.Instances) == 0 {
		b.Fatalf("listed is %+v; want a complete listing of at least one", before)
	}
	seen := map[string]bool{}
	for _, i := range before.Instances {
		if i.ID == "" || i.Label == "" || i.Address == "" || i.Slots < 1 || !i.Running || seen[i.Label] {
			b.Errorf("instance %+v lacks something, or its label is there twice", i)
		}
		seen[i.Label] = true
		b.destroy(b.p, i.ID)
	}
	b.destroy(b.p, b.opts.UnknownID)
	if offers, err := b.p.Offers(b.ctx()); err != nil || len(offers) != 0 {
		b.Errorf("Offers returned %v, %v; want none", offers, err)
	}
	if id, err := b.p.Create(b.ctx(), gpu.Request{Label: "conformance"}); !errors.Is(err, gpu.ErrNoCapacity) {
		b.Errorf("Create returned %q, %v; want ErrNoCapacity", id, err)
	}
	if after := b.list(b.p); !slices.Equal(after.Instances, before.Instances) {
		b.Errorf("listed was %+v, then %+v", before.Instances, after.Instances)
	}
	if b.opts.Reopen == nil {
		return
	}
	if after := b.list(b.opts.Reopen(b.T, b.p)); !slices.Equal(after.Instances, before.Instances) {
		b.Errorf("before the restart listed was %+v, after it %+v", before.Instances, after.Instances)
	}
}
