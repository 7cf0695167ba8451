package fleet

import (
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/db/dbtest"
)

// A proof is of one marketplace, and the last one counts.
func TestProof(t *testing.T) {
	t.Parallel()
	for name, engine := range dbtest.Engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := engine(t)()
			const market = "https://market.example"
			if at, ok, err := Proof(t.Context(), d, market); ok || err != nil || !at.IsZero() {
				t.Errorf("before: %v %v %v", at, ok, err)
			}
			first := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			for _, at := range []time.Time{first, first.Add(time.Hour)} {
				if err := KeepProof(t.Context(), d, market, at, "a machine was gone 12 s after its lease\x00"); err != nil {
					t.Fatal(err)
				}
				if got, ok, err := Proof(t.Context(), d, market); !ok || err != nil || !got.Equal(at) {
					t.Errorf("got %v %v %v, want %v", got, ok, err, at)
				}
			}
			if _, ok, err := Proof(t.Context(), d, "http://127.0.0.1:3399"); ok || err != nil {
				t.Errorf("of another market: %v %v", ok, err)
			}
		})
	}
}
