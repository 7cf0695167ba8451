package worker

import (
	"sync"
	"time"

	"github.com/api-gpu/api-gpu"
)

// lease is the dead man's switch: unless it is renewed in time, expired is
// closed. It runs on the monotonic clock. Without a first allowance there is
// no switch, and only epochs are fenced.
type lease struct {
	expired chan struct{}
	renewed func(ttl time.Duration) error // told of each renewal; may be nil

	mu    sync.Mutex
	epoch int64
	timer *time.Timer // nil without a switch
}

// newLease returns a lease that is first good for allowance + boot.
func newLease(allowance, boot time.Duration, renewed func(ttl time.Duration) error) *lease {
	l := &lease{expired: make(chan struct{}), renewed: renewed}
	if allowance > 0 {
		l.timer = time.AfterFunc(allowance+boot, sync.OnceFunc(func() { close(l.expired) }))
	}
	return l
}

// renew accepts a renewal of the newest epoch seen, or a newer one.
func (l *lease) renew(r apigpu.LeaseRequest) error {
	ttl := time.Duration(r.TTLSeconds * float64(time.Second))
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case r.Epoch < l.epoch:
		return apigpu.E(apigpu.StaleEpoch, nil, "Epoch %d is over: this worker follows epoch %d.", r.Epoch, l.epoch)
	case ttl <= 0 || ttl > apigpu.MaxLease:
		return apigpu.E(apigpu.InvalidRequest, nil, "ttl_seconds must be above 0 and at most %d.", int(apigpu.MaxLease.Seconds())).WithField("ttl_seconds")
	}
	if l.renewed != nil {
		if err := l.renewed(ttl); err != nil {
			return apigpu.E(apigpu.Unavailable, err, "The lease of this worker cannot be extended: it ends.")
		}
	}
	if l.timer != nil {
		if !l.timer.Stop() { // it has fired, or the worker is closed: this machine ends
			return apigpu.E(apigpu.Unavailable, nil, "The lease of this worker has run out: it ends.")
		}
		l.timer.Reset(ttl)
	}
	l.epoch = r.Epoch
	return nil
}

func (l *lease) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
}
