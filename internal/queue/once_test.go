package queue_test

import (
	"sync"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

var key = queue.Once{Key: "order 7", Digest: "d1"}

func (b *bench) submitOnce(o queue.Once) (queue.Job, bool) {
	b.Helper()
	j, replayed, err := b.SubmitOnce(b.Context(), draft(), o)
	b.ok(err)
	return j, replayed
}

func once(b *bench) {
	first, replayed := b.submitOnce(key)
	if replayed {
		b.Error("the first is a repetition")
	}
	again, replayed := b.submitOnce(key)
	if !replayed || again.ID != first.ID {
		b.Errorf("the second: %s, replayed %v; want %s", again.ID, replayed, first.ID)
	}
	if j, found, err := b.Repeated(b.Context(), "ann", key); err != nil || !found || j.ID != first.ID {
		b.Errorf("looked up: %s, %v, %v", j.ID, found, err)
	}
	// Whatever became of the job since.
	b.ok(b.Fail(b.Context(), b.claim(first.ID).Lease(), why()))
	if failed, replayed := b.submitOnce(key); !replayed || failed.Status != apigpu.Failed {
		b.Errorf("after its end: %s, replayed %v", failed.Status, replayed)
	}
	other := queue.Once{Key: key.Key, Digest: "d2"}
	_, _, err := b.SubmitOnce(b.Context(), draft(), other)
	b.want(err, apigpu.IdempotencyMismatch)
	if named := apigpu.AsError(err).JobID; named != first.ID {
		b.Errorf("the mismatch names job %q", named)
	}
	_, _, err = b.Repeated(b.Context(), "ann", other)
	b.want(err, apigpu.IdempotencyMismatch)
	// Keys belong to their client, and no key to nobody.
	bobs := draft()
	bobs.Client = "bob"
	if j, replayed, err := b.SubmitOnce(b.Context(), bobs, key); err != nil || replayed || j.ID == first.ID {
		b.Errorf("another client's: %v, %v", replayed, err)
	}
	for range 2 {
		if _, replayed := b.submitOnce(queue.Once{}); replayed {
			b.Error("requests without a key joined")
		}
	}
}

// Of many at once, in two processes, one records.
func onceAtOnce(b *bench) {
	queues := []*queue.Queue{b.Queue, queue.New(b.reopen(), b.clock.Now)}
	const clients = 10
	ids, replays := make(chan string, clients), make(chan bool, clients)
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			<-begin
			j, replayed, err := queues[i%2].SubmitOnce(b.Context(), draft(), key)
			if err != nil {
				b.Error(err)
			}
			ids <- j.ID
			replays <- replayed
		})
	}
	close(begin)
	wg.Wait()
	first, recorded := <-ids, 0
	for range clients - 1 {
		if id := <-ids; id != first {
			b.Errorf("jobs %s and %s", first, id)
		}
	}
	for range clients {
		if !<-replays {
			recorded++
		}
	}
	if recorded != 1 {
		b.Errorf("%d recorded a job", recorded)
	}
	if jobs, err := b.List(b.Context(), queue.Filter{Limit: 100}); err != nil || len(jobs) != 1 {
		b.Errorf("%d jobs, %v", len(jobs), err)
	}
}

func onceEnds(b *bench) {
	first, _ := b.submitOnce(key)
	b.clock.Advance(queue.OnceFor - time.Second)
	if j, replayed := b.submitOnce(key); !replayed || j.ID != first.ID {
		b.Error("forgotten too early")
	}
	b.clock.Advance(time.Second)
	if _, found, err := b.Repeated(b.Context(), "ann", key); found || err != nil {
		b.Errorf("found after its time: %v", err)
	}
	second, replayed, err := b.SubmitOnce(b.Context(), draft(), queue.Once{Key: key.Key, Digest: "d2"})
	b.ok(err)
	if replayed || second.ID == first.ID {
		b.Error("remembered for too long")
	}
	// Who deletes the job takes the key back.
	_, err = b.Cancel(b.Context(), second.ID)
	b.ok(err)
	_, err = b.Delete(b.Context(), second.ID)
	b.ok(err)
	if third, replayed := b.submitOnce(key); replayed || third.ID == second.ID {
		b.Error("a deleted job holds its key")
	}
}
