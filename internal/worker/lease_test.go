package worker

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/api-gpu/api-gpu"
)

func expired(l *lease) bool {
	synctest.Wait()
	select {
	case <-l.expired:
		return true
	default:
		return false
	}
}

func TestLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLease(10*time.Minute, 5*time.Minute, nil)
		time.Sleep(15*time.Minute - time.Second)
		if expired(l) {
			t.Fatal("before the first renewal it lives for lease + boot timeout")
		}
		if err := l.renew(apigpu.LeaseRequest{Epoch: 3, TTLSeconds: 60}); err != nil {
			t.Fatal(err)
		}
		for range 5 { // each renewal counts from its arrival
			time.Sleep(59 * time.Second)
			if err := l.renew(apigpu.LeaseRequest{Epoch: 3, TTLSeconds: 60}); err != nil || expired(l) {
				t.Fatal(err)
			}
		}
		wantCode(t, l.renew(apigpu.LeaseRequest{Epoch: 2, TTLSeconds: 3600}), apigpu.StaleEpoch)
		for _, ttl := range []float64{0, -1, 24*3600 + 1, 1e300, -1e300} {
			wantCode(t, l.renew(apigpu.LeaseRequest{Epoch: 9, TTLSeconds: ttl}), apigpu.InvalidRequest)
		}
		if err := l.renew(apigpu.LeaseRequest{Epoch: 3, TTLSeconds: 60}); err != nil {
			t.Fatalf("a refused renewal moved the epoch: %v", err)
		}
		time.Sleep(61 * time.Second)
		if !expired(l) {
			t.Fatal("it outlived its lease")
		}
		// The program is about to end: a renewal must not count on it.
		wantCode(t, l.renew(apigpu.LeaseRequest{Epoch: 4, TTLSeconds: 60}), apigpu.Unavailable)
		l.close()
	})
}

func TestNoLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLease(0, time.Minute, nil)
		if err := l.renew(apigpu.LeaseRequest{Epoch: 2, TTLSeconds: 1}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1000 * time.Hour)
		if expired(l) {
			t.Error("without a lease nothing ends")
		}
		wantCode(t, l.renew(apigpu.LeaseRequest{Epoch: 1, TTLSeconds: 1}), apigpu.StaleEpoch)
		l.close()
	})
}

func TestLeaseClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLease(time.Minute, 0, nil)
		l.close()
		time.Sleep(time.Hour)
		if expired(l) {
			t.Error("a closed lease ran out")
		}
	})
}

// Where another process holds the switch, it is told of what is accepted, and
// nothing is accepted of which it cannot be told.
func TestRenewalIsPassedOn(t *testing.T) {
	t.Parallel()
	var told []time.Duration
	var fault error
	l := newLease(0, 0, func(ttl time.Duration) error { told = append(told, ttl); return fault })
	for _, r := range []apigpu.LeaseRequest{{Epoch: 3, TTLSeconds: 60}, {Epoch: 4, TTLSeconds: 1.5}} {
		if err := l.renew(r); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, l.renew(apigpu.LeaseRequest{Epoch: 3, TTLSeconds: 3600}), apigpu.StaleEpoch)
	wantCode(t, l.renew(apigpu.LeaseRequest{Epoch: 4, TTLSeconds: -1}), apigpu.InvalidRequest)
	if want := []time.Duration{time.Minute, 1500 * time.Millisecond}; !slices.Equal(told, want) {
		t.Errorf("told of %v, want %v", told, want)
	}
	fault = errors.New("broken pipe")
	wantCode(t, l.renew(apigpu.LeaseRequest{Epoch: 5, TTLSeconds: 60}), apigpu.Unavailable)
	fault = nil
	if err := l.renew(apigpu.LeaseRequest{Epoch: 4, TTLSeconds: 60}); err != nil {
		t.Errorf("a renewal that failed moved the epoch: %v", err)
	}
}

func TestPutLease(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.assign(t, "job_1", pushed(2))
	reply, err := b.client.Lease(t.Context(), apigpu.LeaseRequest{Epoch: 5, TTLSeconds: 60})
	if err != nil {
		t.Fatal(err)
	}
	if !reply.Ready || len(reply.Jobs) != 1 || reply.Jobs[0].ID != "job_1" || reply.Jobs[0].Attempt != 2 || reply.Worker.Encoder != "libx264" {
		t.Errorf("%+v", reply)
	}
	_, err = b.client.Lease(t.Context(), apigpu.LeaseRequest{Epoch: 4, TTLSeconds: 60})
	wantCode(t, err, apigpu.StaleEpoch)
}
