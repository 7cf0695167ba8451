#!/bin/sh
# Copies programs, with all that the dynamic linker loads for them and with the
# licences of the packages that these come from, into a folder that becomes an
# image without a system around it: closure.sh FOLDER /usr/bin/PROGRAM…
# Names of the packages are left in FOLDER.packages.
set -eu
to=$1
shift
mkdir -p "$to"
: >"$to.files"
for program in "$@"; do
	echo "$program" >>"$to.files"
	# "libx.so.1 => /path/libx.so.1 (0x…)", and the linker itself: "/lib64/ld-… (0x…)".
	if ldd "$program" >"$to.ldd" 2>/dev/null; then
		if grep 'not found' "$to.ldd" >&2; then exit 1; fi # "!" before it would end nothing
		grep -o '/[^ ]*' "$to.ldd" >>"$to.files"
	fi # else it is static
done
sort -u -o "$to.files" "$to.files"
: >"$to.owners"
while read -r file; do
	# Under the name by which it is loaded: Debian's alternatives are links.
	cp -L --parents "$file" "$to"
	dpkg -S "$file" "$(realpath "$file")" >>"$to.owners" 2>/dev/null || true
done <"$to.files"
sed 's/: .*//' "$to.owners" | sort -u >"$to.packages"
while read -r package; do
	doc=/usr/share/doc/${package%%:*}/copyright
	[ ! -e "$doc" ] || cp -L --parents "$doc" "$to"
done <"$to.packages"
