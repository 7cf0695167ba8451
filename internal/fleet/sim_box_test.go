package fleet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/link"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
)

// box is an instance and the worker on it.
type box struct {
	id, label string
	creds     link.Credentials
	starts    time.Time // its worker program
	until     time.Time // its lease; zero before it started
	tryAgain  time.Time // it wants to end itself, and could not
	epoch     int64     // the highest that it heard
	heard     bool
	silent    time.Time // nobody reaches it until then
	unfit     time.Time // it cannot encode until then
	work      map[string]*work
	blinked   bool  // a listing lacked it once
	dead      bool  // from the beginning
	old       bool  // it was there when an older database was put back
	down, up  int64 // bytes that its jobs moved
}

// work is a job on a worker.
type work struct {
	attempt int
	done    time.Time
}

// newBoxes gives each new instance its worker.
func (w *world) newBoxes() {
	for _, r := range w.records() {
		if w.boxes[r.ID] != nil || !Ours(w.fleet.ID, r.Label) {
			continue
		}
		b := &box{id: r.ID, label: r.Label, work: map[string]*work{}, starts: r.Created.Add(boot), dead: !r.Running}
		if step := w.history.boots[r.Label]; step != 0 {
			b.starts = r.Created.Add(step)
		}
		b.until = b.starts.Add(simPolicy.BootTimeout + simPolicy.Lease)
		b.creds, _ = link.Derive(w.fleet.Secret, r.Label)
		w.boxes[r.ID] = b
	}
}

// records are all instances there ever were, by the provider's truth.
func (w *world) records() []providertest.Record {
	w.truth = w.fake.Records()
	return w.truth
}

// record is the truth about one instance.
func (w *world) record(id string) (r providertest.Record, ok bool) {
	n := slices.IndexFunc(w.records(), func(r providertest.Record) bool { return r.ID == id })
	if n < 0 {
		return r, false
	}
	return w.truth[n], true
}

func (b *box) address() string { return "https://box-" + b.id + ":3334" }

// runs reports whether the worker program runs at this moment.
func (b *box) runs(w *world) bool {
	r, ok := w.record(b.id)
	return ok && r.Running && r.Exists(w.now()) && !w.now().Before(b.starts)
}

// nextEnd returns the first worker that ends itself until a moment, and when.
func (w *world) nextEnd(end time.Duration) (due time.Duration, first *box) {
	due = end
	if w.lack == deadMansSwitch {
		return due, nil
	}
	for _, r := range w.records() {
		b := w.boxes[r.ID]
		if b == nil || !r.Running || !r.Ended.IsZero() {
			continue
		}
		at := max(latest(b.until, b.tryAgain).Sub(noon), w.clock.Elapsed())
		if at < due && !noon.Add(at).Before(b.starts) {
			due, first = at, b
		}
	}
	return due, first
}

// endItself is the dead man's switch. It tries for ever.
func (b *box) endItself(w *world) {
	if !b.runs(w) {
		b.tryAgain = w.now().Add(simRetry)
		return
	}
	w.logf("%8s box %s ends itself", w.clock.Elapsed(), b.id)
	if w.outage() != nil || w.fake.Destroy(w.ctx, b.id) != nil {
		b.tryAgain = w.now().Add(simRetry)
	}
}

// box returns the one that answers at an address now, or nil.
func (w *world) reach(address string) *box {
	id, _, _ := strings.Cut(strings.TrimPrefix(address, "https://box-"), ":")
	b := w.boxes[id]
	if b == nil || !b.runs(w) || w.now().Before(b.silent) {
		return nil
	}
	return b
}

// wire carries what one process says to the workers.
type wire struct {
	w *world
	p *orchestrator
}

// RoundTrip implements http.RoundTripper: PUT /lease, as a worker answers it.
func (c wire) RoundTrip(req *http.Request) (*http.Response, error) {
	began := c.w.clock.Elapsed()
	if err := c.p.point(); err != nil {
		return nil, err
	}
	if c.w.clock.Elapsed()-began >= contactTimeout {
		return nil, errLost // its sender has given up
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	b := c.w.reach(req.URL.Scheme + "://" + req.URL.Host)
	if b == nil {
		return nil, errLost
	}
	status, reply := b.lease(c.p, req, body)
	if err := c.p.point(); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(reply)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(raw)), ContentLength: int64(len(raw)),
	}, nil
}

// lease renews the lease of a worker.
func (b *box) lease(p *orchestrator, req *http.Request, body []byte) (status int, reply any) {
	w := p.w
	var ask apigpu.LeaseRequest
	refuse := func(status int, code apigpu.Code) (int, any) {
		return status, apigpu.Problem{Status: status, Code: code, Title: string(code)}
	}
	switch err := json.Unmarshal(body, &ask); {
	case err != nil || req.Method != http.MethodPut || req.URL.Path != "/lease":
		return refuse(http.StatusNotFound, apigpu.NotFound)
	case req.Header.Get("X-Session-Token") != b.creds.Token || req.Header.Get("X-API-Key") != b.creds.Key:
		w.fault("17 link", "%s was sent the keys of another", b.label)
		return refuse(http.StatusForbidden, apigpu.Forbidden)
	case w.clock.Elapsed() < w.armed.mismatch:
		return refuse(http.StatusForbidden, apigpu.AddressNotAllowed)
	case ask.Epoch < b.epoch:
		return refuse(http.StatusConflict, apigpu.StaleEpoch)
	case !w.now().Before(b.until): // this machine ends
		return refuse(http.StatusServiceUnavailable, apigpu.Unavailable)
	}
	b.until, b.epoch, b.heard = w.now().Add(time.Duration(ask.TTLSeconds*float64(time.Second))), ask.Epoch, true
	w.checkTTL(p, b, time.Duration(ask.TTLSeconds*float64(time.Second)))
	b.old = false // what it may cost is known anew
	w.granted(b)
	r := apigpu.LeaseReply{Ready: !w.now().Before(b.unfit), Worker: apigpu.WorkerInfo{API: apigpu.APIVersion, Encoder: "h264_nvenc", Slots: 1}}
	if !r.Ready {
		r.Reason = "no encoder"
	}
	for id, k := range b.work {
		r.Jobs = append(r.Jobs, apigpu.HeldJob{ID: id, Attempt: k.attempt, Status: apigpu.Running})
	}
	slices.SortFunc(r.Jobs, func(a, b apigpu.HeldJob) int { return strings.Compare(a.ID, b.ID) })
	return http.StatusOK, r
}

func (b *box) String() string { return fmt.Sprintf("%s (%s)", b.id, b.label) }
