#!/usr/bin/env bash
# Looks for what shows once in many runs: all tests ROUNDS times in random
# order with the race detector, then every fuzz target for FUZZTIME.
set -euo pipefail
cd "$(dirname "$0")/.."

for ((round = 1; round <= ${ROUNDS:-10}; round++)); do
	echo "soak: round $round of ${ROUNDS:-10}"
	scripts/test.sh -count 1 -shuffle on -timeout 20m ./...
done
while read -r package; do
	while read -r target; do
		echo "soak: $package $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-30s}" "$package"
	done < <(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true)
done < <(go list ./...)
echo "soak: no fault found"
