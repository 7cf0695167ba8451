#!/usr/bin/env bash
# Runs go test with the race detector and without mercy: what is missing on
# this machine fails, and long tests run. Arguments go to go test. The last
# line of its output is "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")/.."
# Go asks git for the version of what tests build, and fails in a checkout
# that belongs to somebody else, as it does in many containers.
export GOFLAGS="${GOFLAGS:-} -buildvcs=false"

go -C tools build -o ../bin/tools/ ./testsum
# They read files outside of their module, of which Go's cache of results does not know.
go -C tools test -count=1 ./...

# What was C, in SQLite and beneath it, is left out of what the race detector
# looks at: it is not ours, talks to itself under its own locks, and looking at
# it takes more than half of the time of all that works with a database. Its
# driver, to which we hand our memory, is looked at.
unwatched=()
for package in modernc.org/sqlite/lib modernc.org/libc/... modernc.org/memory; do
	unwatched+=("-gcflags=$package=-race=false")
done

# The longest packages begin first: one of them mostly waits, beside all others.
arguments=()
for argument in "$@"; do
	[[ "$argument" != ./... ]] || arguments+=(./test/e2e ./internal/fleet)
	arguments+=("$argument")
done

# The simulation of the fleet comes once more where everything runs, and its
# tests on PostgreSQL: with the race detector, which takes ten times as long, it
# plays 500 schedules, and here all of them. That takes up to four minutes on two
# idle cores; it has what the others leave, since the longest of them mostly wait.
simulation=$(mktemp)
trap 'rm -f "$simulation"' EXIT
tests() {
	local status=0 simulating=
	if [[ " $* " == *" ./... "* ]]; then
		STRICT=1 nice -n 10 go test -json -timeout 25m -run '^(TestSimulation|TestCrashPoints|TestMutants|TestMutantFence|TestFound|TestPostgres)$' \
			./internal/fleet >"$simulation" 2>&1 &
		simulating=$!
		trap 'kill $simulating 2>/dev/null || true' EXIT
	fi
	STRICT=1 go test -race "${unwatched[@]}" -json "${arguments[@]}" || status=1
	if [[ -n "$simulating" ]]; then
		wait "$simulating" || status=1
		cat "$simulation"
	fi
	return $status
}
# The exit status of both counts: testsum says what failed, go test that it did.
tests "$@" 2>&1 | bin/tools/testsum
