package db_test

import (
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
)

// A clock that is set goes on as before until it is followed, and one that
// runs a little wrong is followed by itself.
func TestClock(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	source := providertest.NewClock(noon)
	c := db.NewClock(source.Now, source.Elapsed)
	shows := func(what string, now time.Time, jump time.Duration) {
		t.Helper()
		if got := c.Now(); !got.Equal(now) || c.Jump() != jump {
			t.Errorf("%s: it shows %s, jump %s; want %s, %s", what, got.UTC(), c.Jump(), now, jump)
		}
	}
	source.Advance(time.Hour)
	shows("time passed", noon.Add(time.Hour), 0)
	for range 100 {
		source.Set(db.MaxDrift)
		shows("it runs wrong", source.Now(), 0)
	}
	for _, by := range []time.Duration{db.MaxDrift + 1, -10 * time.Hour} {
		before := source.Now()
		source.Set(by)
		shows("it was set", before, by)
		source.Advance(time.Minute)
		shows("it was set a minute ago", before.Add(time.Minute), by)
		c.Follow(by)
		shows("it is followed", source.Now(), 0)
	}
	source.Set(time.Hour)
	source.Set(-time.Hour)
	shows("it was set, and set back", source.Now(), 0)
}

// A look at the clocks during which the process stands still finds no jump.
func TestClockOfASleeper(t *testing.T) {
	t.Parallel()
	source := providertest.NewClock(time.Unix(1, 0))
	sleeps := 3
	c := db.NewClock(func() time.Time {
		now := source.Now()
		if sleeps > 0 {
			sleeps--
			source.Advance(time.Minute)
		}
		return now
	}, source.Elapsed)
	sleeps = 3
	if by := c.Jump(); by != 0 {
		t.Errorf("jump %s", by)
	}
	sleeps = 3
	if now := c.Now(); !now.Equal(source.Now()) {
		t.Errorf("it shows %s at %s", now, source.Now())
	}
}
