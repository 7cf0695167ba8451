package fleet

import (
	"context"
	"errors"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
)

var errLost = errors.New("connection reset by peer")

// simLatency is how long a call of the provider takes as a rule. Every create
// then has a millisecond of its own, which is what orders labels.
const simLatency = 20 * time.Millisecond

// armed are the faults to come.
type armed struct {
	creates  []providertest.CreateStep
	destroys []providertest.DestroyStep
	lists    []listFault
	slow     []time.Duration // the next calls take that long
	// outage is the error of all calls until outageEnd, listDown that of
	// listings only, createDown that of searches and creates.
	outage, listDown, createDown          error
	outageEnd, listDownEnd, createDownEnd time.Duration
	// blind hides one instance from complete listings, for less than the gap
	// between two that are believed.
	blip string
	// mismatch: workers see another address than ours until then.
	mismatch time.Duration
	blipEnd  time.Duration
	restart  [2]time.Duration // when a dead process comes back; 0 is not
	bills    []billFault
}

// listFault is what is wrong with one listing.
type listFault struct {
	err        error
	incomplete bool // and nothing of it is there
	doubled    bool
}

// liar is the provider as one process sees it.
type liar struct {
	w *world
	p *orchestrator
}

var (
	_ gpu.Provider = liar{}
	_ gpu.Biller   = liar{}
)

func (m liar) Name() string { return "fake" }

func (m liar) Traits() gpu.Traits { return m.w.traits() }

// call is the way of each call to the provider and back, on which the process
// may die or be suspended: before it is sent, and before the answer is here.
func (m liar) call(down error, end time.Duration, do func() error) error {
	w, p := m.w, m.p
	if err := p.point(); err != nil {
		return err
	}
	p.waits(w.latency())
	if calm := w.clock.Elapsed() - p.began; calm > driveBeat {
		w.disturbed() // nothing was decided meanwhile
	}
	p.speak() // what takes long ends while something else is under way
	if p.dead {
		return errDead
	}
	err := w.outage()
	if err == nil && w.clock.Elapsed() < end {
		err = down
	}
	if err == nil {
		w.look()
		err = do()
	}
	if died := p.point(); died != nil {
		return died
	}
	return err
}

// latency is how long the next call takes. The fleet gives up after half a
// minute, but for a create.
func (w *world) latency() time.Duration {
	if len(w.armed.slow) == 0 {
		return simLatency
	}
	latency := w.armed.slow[0]
	w.armed.slow = w.armed.slow[1:]
	return latency
}

// outage is why no call gets through now, if none does.
func (w *world) outage() error {
	if w.clock.Elapsed() < w.armed.outageEnd {
		return w.armed.outage
	}
	return nil
}

func (m liar) Offers(ctx context.Context) (offers []gpu.Offer, err error) {
	a := &m.w.armed
	err = m.call(a.createDown, a.createDownEnd, func() error {
		offers, err = m.w.fake.Offers(ctx)
		return err
	})
	return offers, err
}

func (m liar) Create(ctx context.Context, req gpu.Request) (id string, err error) {
	w := m.w
	a := &w.armed
	err = m.call(a.createDown, a.createDownEnd, func() error {
		w.checkCreate(m.p, req)
		if len(a.creates) > 0 {
			w.fake.ScriptCreate(a.creates[0])
			w.history.boots[req.Label], w.history.delays[req.Label] = a.creates[0].Boot, a.creates[0].Delay
			a.creates = a.creates[1:]
		}
		w.logf("%8s create %s", w.clock.Elapsed(), req.Label)
		id, err = w.fake.Create(ctx, req)
		w.newBoxes()
		if err != nil && w.lack == blindRetry && gpu.IsAmbiguous(err) {
			w.checkCreate(m.p, req)
			id, err = w.fake.Create(ctx, req)
			w.newBoxes()
		}
		return err
	})
	if errors.Is(err, errDead) {
		id = ""
	}
	return id, err
}

func (m liar) Instances(ctx context.Context) (s gpu.Snapshot, err error) {
	w := m.w
	a := &w.armed
	err = m.call(a.listDown, a.listDownEnd, func() error {
		if s, err = w.fake.Instances(ctx); err != nil {
			return err
		}
		for i := range s.Instances {
			if b := w.boxes[s.Instances[i].ID]; b != nil && s.Instances[i].Address != "" {
				s.Instances[i].Address = b.address()
			}
		}
		if w.clock.Elapsed() < a.blipEnd {
			s.Instances = without(s.Instances, a.blip)
		}
		if len(a.lists) > 0 {
			f := a.lists[0]
			a.lists = a.lists[1:]
			switch {
			case f.err != nil:
				return f.err
			case f.incomplete:
				s.Instances, s.Complete = nil, false
			case f.doubled:
				s.Instances = append(s.Instances, s.Instances...)
			}
		}
		if w.lack == completeRule {
			s.Complete = true
		}
		if w.lack == foreignRule {
			for i := range s.Instances {
				if !Ours(w.fleet.ID, s.Instances[i].Label) {
					s.Instances[i].Label = Label(w.fleet.ID, "x"+s.Instances[i].ID)
				}
			}
		}
		return nil
	})
	m.p.listFailed = err != nil
	if err != nil {
		s = gpu.Snapshot{}
	}
	return s, err
}

func without(list []gpu.Instance, id string) (out []gpu.Instance) {
	for _, in := range list {
		if in.ID != id {
			out = append(out, in)
		}
	}
	return out
}

func (m liar) Destroy(ctx context.Context, id string) (err error) {
	w := m.w
	a := &w.armed
	return m.call(nil, 0, func() error {
		w.checkDestroy(m.p, id)
		if len(a.destroys) > 0 {
			w.fake.ScriptDestroy(a.destroys[0])
			a.destroys = a.destroys[1:]
			w.disturbed()
		}
		w.logf("%8s destroy %s", w.clock.Elapsed(), id)
		return w.fake.Destroy(ctx, id)
	})
}

// traits are those that the fleet is told: the true ones, unless a safety is
// missing.
func (w *world) traits() gpu.Traits {
	t := simPolicy.Traits
	switch w.lack {
	case listingLag:
		t.ListingLag = 0
	case absenceGap:
		t.AbsenceGap = time.Second
	}
	return t
}
