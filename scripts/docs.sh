#!/usr/bin/env bash
# Writes the table of settings, made from the struct that the orchestrator
# reads, between the marks in README.md.
set -euo pipefail
cd "$(dirname "$0")/.."

table=$(mktemp)
new=$(mktemp)
trap 'rm -f "$table" "$new"' EXIT
CGO_ENABLED=0 go run -buildvcs=false ./cmd/orchestrator config >"$table"
awk -v table="$table" '
	/^<!-- settings -->$/ { print; while ((getline line < table) > 0) print line; skip = 1; next }
	/^<!-- \/settings -->$/ { skip = 0; seen = 1 }
	!skip { print }
	END { exit !seen }
' README.md >"$new"
cat "$new" >README.md
