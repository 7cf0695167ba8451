package fleet

import (
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/db/dbtest"
	"github.com/api-gpu/api-gpu/internal/gpu"
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

// TestPostgres runs the tests of this package once more, on PostgreSQL: first
// those that lean on transactions, and the rest where there is time.
func TestPostgres(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"Life": TestLife, "IdleLosesToClaim": TestIdleLosesToClaim, "ObserveKeepsAnswers": TestObserveKeepsAnswers, "Strays": TestStrays,
		"Standby": TestStandby, "Epoch": TestEpochOutlivesTheDatabase, "LoadIdentity": TestLoadIdentity, "Run": TestRun,
		"ClockIsSet": TestClockIsSet, "LostUpdates": TestLostUpdates, "LeaseIsKept": TestLeaseIsKeptWhileWriting, "GoodMachineIsRemembered": TestGoodMachineIsRemembered,
		"MachineDiesAtWork": TestMachineDiesAtWork, "EndWhileItIsCreated": TestEndWhileItIsCreated, "EndOfAnIntent": TestEndOfAnIntent,
		"CostOfAJob": TestCostOfAJob, "ClaimsShareABudget": TestClaimsShareABudget,
	} {
		t.Run(name, test)
	}
	if raced { // all of it comes without: see scripts/test.sh
		return
	}
	for name, test := range map[string]func(*testing.T){
		"NothingWaits": TestNothingWaits, "Refused": TestRefused, "OfferGone": TestOfferGone, "Ambiguous": TestAmbiguous, "Twin": TestTwin,
		"Ends": TestEnds, "Vanishes": TestVanishes, "DestroyIsRepeated": TestDestroyIsRepeated, "SilenceOfOurOwn": TestSilenceOfOurOwn,
		"Outage": TestOutage, "Forgets": TestForgets, "Explains": TestExplains, "StrayIsAskedForOnce": TestStrayIsAskedForOnce,
		"IncompleteListings": TestIncompleteListings, "OtherProvider": TestOtherProvider, "Permanent": TestPermanent,
		"PermanentAfterRestart": TestPermanentAfterRestart, "Crash": TestCrash, "DestroyAtEnd": TestDestroyAtEnd, "RunTends": TestRunTends,
		"BadMachines": TestBadMachines, "BootAcrossRestart": TestBootAcrossRestart, "EgressMismatch": TestEgressMismatch, "ImageErrors": TestImageErrors,
		"FailedBootsInARow": TestFailedBootsInARow, "NoRunaway": TestNoRunaway, "AmbiguousIsCapacity": TestAmbiguousIsCapacity,
		"Away": TestAway, "AwayBeyondLease": TestAwayBeyondLease, "Restored": TestRestored,
		"CostOfNoJob": TestCostOfNoJob, "CostOfTwoAttempts": TestCostOfTwoAttempts, "DayBudget": TestDayBudget, "Midnight": TestMidnight,
		"BudgetEndsIdle": TestBudgetEndsIdle, "JobBudget": TestJobBudget, "ClockIsSetBackWhileAway": TestClockIsSetBackWhileAway,
		"ClockIsSetBackBehindCreates": TestClockIsSetBackBehindCreates, "DamagedRecordsHoldUpNoEnd": TestDamagedRecordsHoldUpNoEnd,
		"EndOfAnIntentOfOurs": TestEndOfAnIntentOfOurs, "ShortJobLeavesNothingReserved": TestShortJobLeavesNothingReserved, "Free": TestFree, "CrashWithMoney": TestCrashWithMoney,
	} {
		t.Run(name, func(t *testing.T) { need.Long(t); test(t) })
	}
}

// What two change of one row at the same time is both kept.
func TestLostUpdates(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, row := r.rented()
	const each = 20
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for range each {
				_, err := r.update(t.Context(), row.Label, func(in *Instance) bool { in.HourlyUSD++; return true })
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got := r.row(row.Label).HourlyUSD - row.HourlyUSD; got != 2*each {
		t.Errorf("%d of %d changes are kept", got, 2*each)
	}
}

// Whoever writes under the fleet lease keeps it until the write is committed,
// though its time runs out meanwhile: the next holder sees what was written.
func TestLeaseIsKeptWhileWriting(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.tick()
	first, second := r.process, r.start()
	took := make(chan error, 1)
	err := first.fenced(t.Context(), func(tx *sql.Tx) error {
		r.clock.Advance(2 * leaseFor)
		go func() {
			_, err := second.hold(t.Context())
			took <- err
		}()
		select {
		case err := <-took:
			return errors.Join(errors.New("the lease was taken in the middle of a write"), err)
		case <-time.After(200 * time.Millisecond):
		}
		return first.put(t.Context(), tx, with(creating("ag1.us.late"), func(i *Instance) { i.Deadline = in(time.Hour) }))
	})
	r.ok(err)
	r.ok(<-took)
	if !second.Leading() || r.row("ag1.us.late").State != gpu.Creating {
		t.Error("the next holder does not lead, or the write is lost")
	}
	if err := first.save(t.Context(), creating("ag1.us.later")); !errors.Is(err, errStandby) {
		t.Errorf("the first writes still: %v", err)
	}
}

// What each round asks of the ledger is found by an index, however many
// machines there ever were.
func TestRoundsWalkNoHistory(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t)
	for _, find := range []struct{ name, statement string }{
		{"instances_live", strings.ReplaceAll(selectLive, "$1", "'x'")},
		{"instances_open", `SELECT label FROM instances WHERE ` + unsettled + ` AND provider = 'x' ORDER BY +state_since LIMIT 20`},
		{"instances_open", `SELECT label FROM instances WHERE ` + unbilled + ` AND +state_since > 1`},
	} {
		name, statement := find.name, find.statement
		plan, err := d.Read().QueryContext(t.Context(), `EXPLAIN QUERY PLAN `+statement)
		if err != nil {
			t.Fatal(err)
		}
		var told string
		for plan.Next() {
			var id, parent, unused int
			var detail string
			if err := plan.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			told += detail + "\n"
		}
		if err := errors.Join(plan.Err(), plan.Close()); err != nil || !strings.Contains(told, "INDEX "+name) {
			t.Errorf("%s is found by %v%s", name, err, told)
		}
	}
}
