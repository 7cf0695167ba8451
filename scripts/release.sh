#!/usr/bin/env bash
# Builds what a release publishes, into dist/: an archive for each system, with
# the licences of what is linked in; beside it lists of that (CycloneDX);
# SHA256SUMS; and NOTES.md, which is this version's section of CHANGELOG.md.
#
#   scripts/release.sh v0.1.0           build it (from a commit; no tag is made)
#   scripts/release.sh --notes v0.1.0   print the notes only
#
#   DIST       where to (dist)
#   PLATFORMS  what is built, as system/architecture:program,program…
#   SBOM=0     leaves the lists out, whose maker is fetched from the Go module proxy
set -euo pipefail
cd "$(dirname "$0")/.."

# Servers run Linux; the client is wanted where people sit.
readonly platforms=${PLATFORMS:-"linux/amd64:orchestrator,api-gpu,worker,vastsim linux/arm64:orchestrator,api-gpu,worker,vastsim
	darwin/amd64:api-gpu darwin/arm64:api-gpu windows/amd64:api-gpu"}
readonly dist=${DIST:-dist}
readonly sbom_tool=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0

fail() {
	printf 'release: %s\n' "$*" >&2
	exit 1
}

# section NAME prints that of the changelog, without its heading.
section() {
	awk -v want="[$1]" '
		/^## / { inside = $2 == want; next }
		inside { print }
	' CHANGELOG.md
}

# notes VERSION prints its section. A version to try has none of its own, as a
# rule: it is what is not released yet.
notes() {
	local text
	text=$(section "${1#v}")
	if [[ "$1" == *-* && "$text" != *[![:space:]]* ]]; then text=$(section Unreleased); fi
	[[ "$text" == *[![:space:]]* ]] || fail "CHANGELOG.md has no section \"## [${1#v}]\": name it so before the tag is set"
	sed -e '/./,$!d' <<<"$text"
}

# archive VERSION SYSTEM ARCHITECTURE PROGRAMS builds one.
archive() {
	local version=$1 system=$2 arch=$3 suffix='' program name dir packages=()
	name=api-gpu-$version-$system-$arch
	dir=$work/$name
	mkdir -p "$dir"
	[[ "$system" != windows ]] || suffix=.exe
	for program in ${4//,/ }; do
		packages+=("./cmd/$program")
		CGO_ENABLED=0 GOOS=$system GOARCH=$arch go build -trimpath -buildvcs=false -ldflags "-s -w -X github.com/api-gpu/api-gpu.version=$version" \
			-o "$dir/$program$suffix" "./cmd/$program"
		if [[ "${SBOM:-1}" == 1 ]]; then
			"$work/sbom" bin -json -output "$dist/$name.$program.cdx.json" -version "$version" "$dir/$program$suffix" 2>/dev/null
		fi
	done
	cp LICENSE README.md CHANGELOG.md "$dir"
	[[ "$system" != linux ]] || cp .env.example "$dir" # of the orchestrator
	GOOS=$system GOARCH=$arch scripts/notices.sh go "${packages[@]}" >"$dir/NOTICES-go.txt"
	# The same commit makes the same bytes, whoever builds it.
	tar -C "$work" --sort=name --mtime="@$made" --owner=0 --group=0 --numeric-owner --mode=u+w,go-w -c "$name" | gzip -9n >"$dist/$name.tar.gz"
	echo "release: $dist/$name.tar.gz"
}

if [[ "${1:-}" == --notes ]]; then
	notes "${2:?say which version}"
	exit
fi
version=${1:?say which version, such as v0.1.0}
[[ "$version" =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-(alpha|beta|rc)\.?[0-9]+)?$ ]] || fail "$version is no version such as v0.1.0 or v0.2.0-rc.1"
mkdir -p "$dist"
rm -f "$dist"/api-gpu-*.tar.gz "$dist"/api-gpu-*.cdx.json "$dist/SHA256SUMS" "$dist/NOTES.md"
notes "$version" >"$dist/NOTES.md"
made=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
work=$(mktemp -d "${TMPDIR:-/tmp}/api-gpu-release.XXXXXX")
trap 'rm -rf "$work"' EXIT
if [[ "${SBOM:-1}" == 1 ]]; then
	GOBIN=$work go install -buildvcs=false "$sbom_tool"
	mv "$work/cyclonedx-gomod" "$work/sbom"
fi
for entry in $platforms; do
	target=${entry%%:*}
	archive "$version" "${target%%/*}" "${target##*/}" "${entry#*:}"
done
(cd "$dist" && sha256sum api-gpu-* >SHA256SUMS)
echo "release: $(wc -l <"$dist/SHA256SUMS") files of $version in $dist/"
