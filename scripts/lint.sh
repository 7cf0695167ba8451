#!/usr/bin/env bash
# Looks for faults without running anything: format, vet, staticcheck, actionlint
# (their versions are pinned in tools/go.mod), and the syntax of the scripts.
set -euo pipefail
cd "$(dirname "$0")/.."
# As make build does, so that both share what is compiled.
export CGO_ENABLED=0
# Go asks git for the version, and fails in a checkout of somebody else's.
export GOFLAGS="${GOFLAGS:-} -buildvcs=false"

unformatted=$(gofmt -l .)
if [[ -n "$unformatted" ]]; then
	printf 'lint: gofmt -w would change:\n%s\n' "$unformatted" >&2
	exit 1
fi
for script in scripts/*.sh docker/*.sh .ci/run; do
	bash -n "$script"
done
go vet -tags soak ./... # the tests of make soak too
go -C tools vet ./...
go -C tools build -o ../bin/tools/ honnef.co/go/tools/cmd/staticcheck github.com/rhysd/actionlint/cmd/actionlint
bin/tools/staticcheck -tags soak ./...
(cd tools && ../bin/tools/staticcheck ./...)
# Without the helpers that it would find on some machines and not on others.
bin/tools/actionlint -shellcheck= -pyflakes= .github/workflows/*.yml
echo "lint: no fault found"
