#!/usr/bin/env bash
# Writes what the documents say of the program, and what it says itself: the
# table of settings into README.md, the tables of costs into docs/COSTS.md, those of styles into
# docs/CAPTIONS.md.
set -euo pipefail
cd "$(dirname "$0")/.."

text=$(mktemp)
new=$(mktemp)
trap 'rm -f "$text" "$new"' EXIT

# between FILE MARK COMMAND writes what the orchestrator's command prints
# between the marks of a file.
between() {
	CGO_ENABLED=0 go run -buildvcs=false ./cmd/orchestrator "$3" >"$text"
	awk -v text="$text" -v mark="$2" '
		$0 == "<!-- " mark " -->" { print; while ((getline line < text) > 0) print line; skip = 1; next }
		$0 == "<!-- /" mark " -->" { skip = 0; seen = 1 }
		!skip { print }
		END { exit !seen }
	' "$1" >"$new"
	cat "$new" >"$1"
}

between README.md settings config
between docs/COSTS.md costs costs
between docs/CAPTIONS.md styles styles
