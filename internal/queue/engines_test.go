package queue_test

import (
	"flag"
	"log"
	"testing"

	"go.uber.org/goleak"

	"github.com/api-gpu/api-gpu/internal/db/dbtest"
	"github.com/api-gpu/api-gpu/test/need"
)

func TestMain(m *testing.M) {
	// Each step is a commit: fewer runs than rapid's 100 unless
	// the command line asks for more.
	if err := flag.Set("rapid.checks", "5"); err != nil {
		log.Fatal(err)
	}
	need.Parallel(12) // PostgreSQL makes them wait for a database each
	goleak.VerifyTestMain(m)
}

func TestQueue(t *testing.T) {
	for name, e := range dbtest.Engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			exercise(t, e)
		})
	}
}
