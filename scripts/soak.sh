#!/usr/bin/env bash
# Looks for what shows once in many runs: all tests ROUNDS times in random
# order with the race detector, then each program killed KILLS times in a row,
# then SCHEDULES of the simulation that nobody has seen before, then every fuzz
# target for FUZZTIME.
set -euo pipefail
cd "$(dirname "$0")/.."

# Of the simulation alone: the rounds play as many as make test does.
schedules="${SCHEDULES:-1000000}"
unset SCHEDULES

for ((round = 1; round <= ${ROUNDS:-10}; round++)); do
	echo "soak: round $round of ${ROUNDS:-10}"
	scripts/test.sh -count 1 -shuffle on -timeout 20m ./...
done
echo "soak: ${KILLS:-200} kills of each program, then a kill at every point in every scenario"
KILLS="${KILLS:-200}" CRASH_ALL=1 scripts/test.sh -tags soak -count 1 -timeout 120m -run 'TestKillLoop|TestCrashAnywhere|TestVast' ./test/e2e
seed=$((SRANDOM >> 1))
echo "soak: $schedules schedules of the simulation from SEED=$seed"
SCHEDULES="$schedules" SEED="$seed" go test -count 1 -timeout 0 -v -run '^TestSimulation$' ./internal/fleet
while read -r package; do
	while read -r target; do
		echo "soak: $package $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-30s}" "$package"
	done < <(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true)
done < <(go list ./...)
echo "soak: no fault found"
