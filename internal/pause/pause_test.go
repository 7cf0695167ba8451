package pause

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			ends, pause time.Duration
			took        time.Duration
			want        bool
		}{
			"all of it":        {time.Hour, time.Minute, time.Minute, true},
			"until ctx ends":   {time.Second, time.Minute, time.Second, false},
			"nothing":          {time.Hour, 0, 0, true},
			"in the past":      {time.Hour, -time.Hour, 0, true},
			"ctx ended before": {-time.Second, time.Minute, 0, false},
			"ended, nothing":   {-time.Second, 0, 0, false},
		} {
			began := time.Now()
			ctx, cancel := context.WithDeadline(t.Context(), began.Add(c.ends))
			if got := For(ctx, c.pause); got != c.want || time.Since(began) != c.took {
				t.Errorf("%s: %v after %s, want %v after %s", name, got, time.Since(began), c.want, c.took)
			}
			cancel()
		}
	})
}
