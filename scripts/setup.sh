#!/usr/bin/env bash
# Installs what make demo and make test need and this machine lacks. It names
# it, and asks on a terminal unless YES=1 or CI is set. Where nothing is
# missing it does nothing, and needs no network.
set -euo pipefail

# Go 1.21 is the first that fetches the version named in go.mod by itself.
readonly go_least=21

packages=() # names in Debian and Ubuntu
reasons=()  # what each is for

# lacks PACKAGE REASON notes a package.
lacks() {
	packages+=("$1")
	reasons+=("$1: $2")
}

# has_font reports whether a font file of one of these names is where the
# programs look for fonts; see internal/font.
has_font() {
	local dir name names=()
	for name in "$@"; do
		names+=(-o -name "$name")
	done
	for dir in /usr/share/fonts /usr/local/share/fonts /System/Library/Fonts /Library/Fonts "${HOME:-/}/.fonts" "${HOME:-/}/.local/share/fonts"; do
		if [[ -d "$dir" ]] && find -L "$dir" \( "${names[@]:1}" \) -print -quit 2>/dev/null | grep -q .; then
			return 0
		fi
	done
	return 1
}

# need_fonts asks for those of the worker's image, so that captions look here as
# they do there. Without one captions are drawn all the same, but for what only
# that one has: make test on a system without apt-get skips or fails there.
need_fonts() {
	has_font NotoSansArabic-Bold.ttf || lacks fonts-noto-core "captions are drawn with it: Latin, Cyrillic, Greek, Arabic, Hebrew, Devanagari, Thai and more"
	has_font 'NotoSansCJK-Bold.ttc' 'NotoSansCJK*.ttc' || lacks fonts-noto-cjk "captions in Chinese, Japanese and Korean"
	has_font NotoColorEmoji.ttf || lacks fonts-noto-color-emoji "emoji in colour"
	has_font 'Symbola*.?tf' || lacks fonts-symbola "emoji in outline"
}

# has_cc reports whether the race detector can be linked.
has_cc() {
	local cc=${CC:-gcc}
	command -v "$cc" >/dev/null && echo '#include <stdlib.h>' | "$cc" -E - >/dev/null 2>&1
}

# has_postgres reports whether the tests can run a PostgreSQL of their own;
# Debian keeps its programs out of PATH.
has_postgres() {
	command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}

need_go() {
	local version
	if ! command -v go >/dev/null; then
		echo "setup: Go is missing: install it from https://go.dev/dl/ (Go 1.$go_least or newer), then try again" >&2
		return 1
	fi
	version=$(GOTOOLCHAIN=local go env GOVERSION)
	if [[ "$version" =~ ^go1\.([0-9]+) ]] && ((BASH_REMATCH[1] < go_least)); then
		echo "setup: $version is too old: install Go 1.$go_least or newer from https://go.dev/dl/, then try again" >&2
		return 1
	fi
}

# only_fonts reports whether nothing but fonts is missing, and one of them is
# here that captions can be drawn with.
only_fonts() {
	local package
	for package in "${packages[@]}"; do
		[[ "$package" == fonts-* ]] || return 1
	done
	has_font 'NotoSans-*.?tf' 'NotoSans\[*.ttf' DejaVuSans-Bold.ttf LiberationSans-Bold.ttf 'Arial Bold.ttf'
}

# agreed asks on a terminal; elsewhere nobody could answer.
agreed() {
	local answer
	if [[ "${YES:-}" == 1 || -n "${CI:-}" ]]; then
		return 0
	fi
	if [[ ! -t 0 ]]; then
		echo "setup: not on a terminal: going on without asking"
		return 0
	fi
	read -r -p "setup: install with apt-get? [Y/n] " answer
	[[ -z "$answer" || "$answer" == [yY]* ]]
}

# without_cluster runs a command while Debian's packages of PostgreSQL make no
# database cluster and start none: the tests run their own, in a temporary
# folder, and only while they run.
without_cluster() {
	local dir=/etc/postgresql-common/createcluster.d status=0
	as_root mkdir -p "$dir"
	echo 'create_main_cluster = false' | as_root tee "$dir/api-gpu-setup.conf" >/dev/null
	"$@" || status=$?
	as_root rm -f "$dir/api-gpu-setup.conf"
	return "$status"
}

# as_root runs a command as root; install_packages made sure that it can.
as_root() {
	if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

install_packages() {
	local install=(as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${packages[@]}")
	if ((EUID != 0)) && ! command -v sudo >/dev/null; then
		echo "setup: neither root nor sudo: have these installed: ${packages[*]}" >&2
		return 1
	fi
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update
	if [[ " ${packages[*]} " == *" postgresql "* ]]; then
		without_cluster "${install[@]}"
	else
		"${install[@]}"
	fi
}

main() {
	need_go
	if ! command -v ffmpeg >/dev/null || ! command -v ffprobe >/dev/null; then
		lacks ffmpeg "does the work on the video"
	fi
	need_fonts
	has_cc || { lacks gcc "the race detector of make test" && lacks libc6-dev "the race detector of make test"; }
	command -v curl >/dev/null || lacks curl "runs the commands of the README in make test"
	has_postgres || lacks postgresql "the second database of make test, run by the tests themselves"
	if [[ -d /etc/apt && ! -e /etc/ssl/certs/ca-certificates.crt ]]; then
		lacks ca-certificates "downloads of Go modules"
	fi
	((${#packages[@]} > 0)) || return 0

	echo "setup: missing here:"
	printf '  %s\n' "${reasons[@]}"
	if ! command -v apt-get >/dev/null; then
		echo "setup: install these with your system's package manager, then try again: ffmpeg (with libx264 and libass), the fonts Noto Sans, Noto Sans CJK and Noto Color Emoji, Symbola, a C compiler, curl, the server of PostgreSQL" >&2
		echo "setup: with Homebrew: brew install ffmpeg postgresql && brew install --cask font-noto-sans font-noto-sans-arabic font-noto-sans-cjk font-noto-color-emoji" >&2
		echo "setup: on Fedora: dnf install ffmpeg-free google-noto-sans-fonts google-noto-sans-arabic-fonts google-noto-sans-cjk-fonts google-noto-color-emoji-fonts gdouros-symbola-fonts postgresql-server gcc curl" >&2
		only_fonts && return 0 # what needs one skips, and captions are drawn without it
		return 1
	fi
	agreed || { echo "setup: nothing installed" >&2 && return 1; }
	install_packages
}

main
