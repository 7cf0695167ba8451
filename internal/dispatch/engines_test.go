package dispatch

import (
	"strings"
	"testing"

	"github.com/api-gpu/api-gpu/internal/db/dbtest"
	"github.com/api-gpu/api-gpu/test/need"
)

// onPostgres begins the names of the tests that run once more there.
const onPostgres = "TestPostgres/"

// engineOf returns the engine that a test runs on.
func engineOf(t testing.TB) dbtest.Engine {
	if strings.HasPrefix(t.Name(), onPostgres) {
		return dbtest.Engines["postgres"]
	}
	return dbtest.Engines["sqlite"]
}

// TestPostgres runs those tests of this package once more, on PostgreSQL, that
// depend on what is written when and by whom.
func TestPostgres(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"HappyPath": TestHappyPath, "TakeOver": TestTakeOver, "ShutdownHandsBack": TestShutdownHandsBack, "Share": sharedByTwo,
		"ClockIsSet": TestClockIsSet,
	} {
		t.Run(name, test)
	}
	for name, test := range map[string]func(*testing.T){
		"Cancel": TestCancel, "Deadline": TestDeadline, "WorkerForgets": TestWorkerForgets, "JobFails": TestJobFails,
		"TakeOverAfterDeadline": TestTakeOverAfterDeadline, "TakeOverOfCanceled": TestTakeOverOfCanceled, "TakeOverOfLost": TestTakeOverOfLost,
		"StaleDriver": TestStaleDriverLeavesWorkerAlone, "Upload": TestUploadIsPushedAndResumed, "Away": TestAway, "Restored": TestRestored,
	} {
		t.Run(name, func(t *testing.T) { need.Long(t); test(t) })
	}
}
