package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// All is asked at once, and what does not answer holds up nothing: neither what
// ends when it is told to, nor what does not.
func TestExamineIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		began := time.Now()
		d := Examine(t.Context(), Facts{Provider: "vast", Version: "v1", Time: began}, Questions{
			Instances: func(ctx context.Context) (gpu.Snapshot, error) {
				<-ctx.Done()
				return gpu.Snapshot{}, ctx.Err()
			},
			Credit: func(context.Context) (gpu.USD, error) {
				<-let
				return 0, nil
			},
			Database: func(context.Context) (Database, error) {
				time.Sleep(15 * time.Second)
				return Database{Engine: "sqlite", Schema: 1, Known: 1}, nil
			},
			Clock: func() (time.Duration, bool) { return 0, false },
		})
		if took := time.Since(began); took > Whole {
			t.Errorf("it took %s", took)
		}
		for name, want := range map[string]string{"account": "no answer in time", "credit": "no answer in time", "database": "can be read and written"} {
			if got := named(t, d.Checks, name); !strings.Contains(got.Message, want) {
				t.Errorf("%+v, want %q", got, want)
			}
		}
		if d.Version != "v1" || !d.Time.Equal(began) || d.Failed() != 2 {
			t.Errorf("%+v", d)
		}
		close(let)
	})
}

// A caller who goes away is not waited for.
func TestExamineEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d := Examine(ctx, Facts{}, Questions{Database: func(ctx context.Context) (Database, error) { <-ctx.Done(); return Database{}, ctx.Err() }})
	if got := named(t, d.Checks, "database"); got.Status != apigpu.CheckFailed {
		t.Errorf("%+v", got)
	}
}

// No secret is told, whoever repeats it.
func TestExamineKeepsSecrets(t *testing.T) {
	t.Parallel()
	f := Facts{Provider: "vast", Faults: []string{"HOST=account-key is odd"}, Secrets: []string{"account-key", "x", ""}}
	d := Examine(t.Context(), f, Questions{
		Instances: func(context.Context) (gpu.Snapshot, error) {
			return gpu.Snapshot{}, errors.New("who is account-key?")
		},
	})
	unread := Unread(f, "PORT=account-key")
	if text := fmt.Sprint(d, unread); strings.Contains(text, "account-key") || strings.Count(text, "[redacted]") != 3 {
		t.Error(text)
	}
	if unread.Failed() != 1 || len(unread.Checks) != len(Names()) {
		t.Errorf("%+v", unread)
	}
}
