package queue_test

import (
	"flag"
	"log"
	"testing"

	"go.uber.org/goleak"

	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/db/dbtest"
)

func TestMain(m *testing.M) {
	// Each step is a commit to the disk: fewer runs than rapid's 100 unless
	// the command line asks for more.
	if err := flag.Set("rapid.checks", "5"); err != nil {
		log.Fatal(err)
	}
	goleak.VerifyTestMain(m)
}

// engine is a database that can be opened as often as two processes would.
type engine func(t testing.TB) (open func() *db.DB)

// engines are the databases that must behave alike: another one is a line.
var engines = map[string]engine{
	"sqlite": func(t testing.TB) func() *db.DB {
		url := dbtest.URL(t)
		return func() *db.DB { return dbtest.Open(t, url) }
	},
}

func TestQueue(t *testing.T) {
	for name, e := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			exercise(t, e)
		})
	}
}
