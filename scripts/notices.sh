#!/usr/bin/env bash
# Prints what the licences of others want to be told, for the images and the
# archives of a release.
#
#   scripts/notices.sh go ./cmd/orchestrator …   modules that are linked in, each with its licence, from the module cache
#   scripts/notices.sh debian [PACKAGE…]         Debian packages (default: all that are installed), each with its source
#   scripts/notices.sh busybox GPL-2             BusyBox, with the text of its licence, which is in that file
set -euo pipefail

# The text of each licence of a module lies beside its go.mod. A module
# without one is a fault: nobody allowed us to pass it on.
notices_go() {
	local modules name dir files file
	modules=$(go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}	{{.Dir}}{{end}}{{end}}' "$@" | sort -u)
	echo "Linked into $*: Go's standard library and these modules."
	cut -f 1 <<<"$modules" | sed 's/^/  /'
	licence "Go" "$(go env GOROOT)/LICENSE"
	while IFS=$'\t' read -r name dir; do
		files=$(find "$dir" -maxdepth 1 -type f \( -iname 'licen[sc]e*' -o -iname 'copying*' -o -iname 'notice*' \) | sort)
		[[ -n "$files" ]] || { echo "notices: $name has no licence" >&2 && return 1; }
		while read -r file; do
			licence "$name" "$file"
		done <<<"$files"
	done <<<"$modules"
}

licence() { # NAME FILE
	printf '\n%s\n%s: %s\n\n' "--------------------------------------------------------------------------------" "$1" "${2##*/}"
	cat "$2"
}

notices_debian() {
	cat <<-'TEXT'
		Debian packages
		===============

		These are in this image as Debian built them, at most with files left out. The
		licence of each is in /usr/share/doc/PACKAGE/copyright; the texts that it names
		by /usr/share/common-licenses are at https://www.debian.org/legal/licenses/.

		FFmpeg is under the GNU General Public License, version 2 or later, as Debian
		configures it (--enable-gpl), and so is x264, which it links. The fonts named
		Noto are under the SIL Open Font License 1.1, DejaVu and Symbola under free
		licences of their own.
		api-gpu runs FFmpeg as a program of its own and links none of it.

		Source. Each package's complete source is that of the source package and version
		named below: in Debian's snapshot archive, under SOURCE and VERSION, or by
		"apt-get source SOURCE=VERSION" on the Debian release of this image. Whoever
		publishes this image offers to anybody, for three years from its publication,
		that source on a medium for no more than the cost of sending it; ask where
		the label org.opencontainers.image.source of this image leads.

		package version, source version
	TEXT
	dpkg-query -W -f '${binary:Package} ${Version}, ${source:Package} ${source:Version}\n' "$@" | sort
}

notices_busybox() {
	cat <<-'TEXT'
		BusyBox
		=======

		The shell of this image, and all programs beside it but api-gpu's, are BusyBox:
		those of the official image of that name, unchanged ("busybox" tells the version).
		It is under the GNU General Public License, version 2. api-gpu links none of it.

		Source. The project publishes that of each version at busybox.net. Whoever
		publishes this image offers to anybody, for three years from its publication,
		that source on a medium for no more than the cost of sending it; ask where the
		label org.opencontainers.image.source of this image leads.
	TEXT
	licence "BusyBox" "$1"
}

what=${1:-}
shift || true
case "$what" in
go) notices_go "$@" ;;
debian) notices_debian "$@" ;;
busybox) notices_busybox "$@" ;;
*)
	echo "notices: say go, debian or busybox" >&2
	exit 2
	;;
esac
