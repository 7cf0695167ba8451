package queue_test

import (
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/db/dbtest"
	"github.com/api-gpu/api-gpu/internal/queue"
)

func BenchmarkSubmit(b *testing.B) {
	q := queue.New(dbtest.SQLite(b), time.Now)
	for b.Loop() {
		if _, err := q.Submit(b.Context(), draft()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkClaim(b *testing.B) {
	q := queue.New(dbtest.SQLite(b), time.Now)
	j, err := q.Submit(b.Context(), draft())
	if err != nil {
		b.Fatal(err)
	}
	for n := 0; b.Loop(); n++ {
		if _, err := q.Claim(b.Context(), j.ID, "box", n); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if j, err = q.Submit(b.Context(), draft()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
