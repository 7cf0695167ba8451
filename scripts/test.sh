#!/usr/bin/env bash
# Runs go test with the race detector and without mercy: what is missing on
# this machine fails, and long tests run. Arguments go to go test. The last
# line of its output is "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")/.."

go -C tools build -buildvcs=false -o ../bin/tools/ ./testsum
# The exit status of both counts: testsum says what failed, go test that it did.
STRICT=1 go test -race -json "$@" 2>&1 | bin/tools/testsum
