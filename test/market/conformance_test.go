package market

import (
	"sync"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
)

// TestConformance holds the adapter and the market together against the
// contract of gpu.Provider.
func TestConformance(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	rigs := map[gpu.Provider]*rig{}
	var last *rig // the subtests run one after another
	fresh := func(t *testing.T) gpu.Provider {
		r := newRig(t, "")
		t.Cleanup(r.unbroken)
		mu.Lock()
		defer mu.Unlock()
		rigs[r.Provider], last = r, r
		return r.Provider
	}
	providertest.Run(t, fresh, providertest.Options{
		Step: time.Second,
		Pass: func(d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			last.Advance(d)
		},
		Settle: time.Minute,
		Env:    map[string]string{"SESSION_TOKEN": "token", "X_API_KEY": "key"},
		Reopen: func(_ *testing.T, p gpu.Provider) gpu.Provider {
			mu.Lock()
			defer mu.Unlock()
			return rigs[p].open()
		},
	})
}
