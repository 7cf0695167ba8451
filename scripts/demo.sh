#!/usr/bin/env bash
# The main job from end to end on this machine: builds the programs, makes a
# short video with sound and a subtitle file, starts an orchestrator that runs
# a worker of its own, has the captions burnt in, checks the result, and stops
# everything that it started. Leaves demo/sample.mp4, demo/sample.srt and
# demo/captioned.mp4.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly seconds=8 fps=30 size=640x360
readonly cue_at=2 pause_at=5 # a second with a caption, and one without

root=$PWD
video=$root/demo/sample.mp4
subtitles=$root/demo/sample.srt
result=$root/demo/captioned.mp4
work=$(mktemp -d "${TMPDIR:-/tmp}/api-gpu-demo.XXXXXX")
log=$work/orchestrator.log
orchestrator=

say() { printf 'demo: %s\n' "$*"; }

fail() {
	printf 'demo: %s\n' "$*" >&2
	exit 1
}

# leftovers lists processes of ours that still run: all of them, and nobody
# else, have the work folder in their environment.
leftovers() {
	[[ -d /proc/self ]] || return 0
	grep -lsF -- "$work" /proc/[0-9]*/environ | cut -d/ -f3 || true
}

# stop ends the orchestrator, which ends its workers. It reports failure when
# that takes more than a minute.
stop() {
	local tries
	[[ -n "$orchestrator" ]] || return 0
	kill -TERM "$orchestrator" 2>/dev/null || true
	for ((tries = 0; tries < 600; tries++)); do
		if ! kill -0 "$orchestrator" 2>/dev/null; then
			orchestrator=
			return 0
		fi
		sleep 0.1
	done
	return 1
}

cleanup() {
	local status=$? pid
	trap - EXIT
	stop || status=1
	for pid in $(leftovers); do
		kill -KILL "$pid" 2>/dev/null || true
	done
	if ((status != 0)) && [[ -s "$log" ]]; then
		printf 'demo: failed; the end of the log:\n' >&2
		tail -n 40 "$log" >&2
	fi
	rm -rf "$work"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

make_sample() {
	mkdir -p "$root/demo"
	ffmpeg -v error -y -f lavfi -i "testsrc2=size=$size:rate=$fps:duration=$seconds" \
		-f lavfi -i "sine=frequency=440:duration=$seconds" \
		-c:v libx264 -preset veryfast -pix_fmt yuv420p -c:a aac "$video"
	cat >"$subtitles" <<-'SRT'
		1
		00:00:00,500 --> 00:00:03,500
		Olá! Você não está só.

		2
		00:00:06,000 --> 00:00:07,500
		Ça marche: naïve café,
		<i>Größe</i> & señor.
	SRT
}

# start runs the orchestrator on a free port, with settings of its own: those
# of whoever runs this, and the .env of the checkout, stay out. Sets address.
start() {
	local tries
	(
		cd "$work"
		exec env -i PATH="$PATH" HOME="${HOME:-/}" TMPDIR="$work" LANG=C.UTF-8 \
			APP_ENV=development HOST=127.0.0.1 PORT=0 X_API_KEY="$API_GPU_KEY" \
			PROVIDER=local LOCAL_DIR="$work/local" SHUTDOWN=destroy QUEUE_TTL=2m JOB_TIMEOUT=5m DISK_FREE_MIN=64MiB \
			"$root/bin/orchestrator" >"$log" 2>&1
	) &
	orchestrator=$!
	for ((tries = 0; tries < 300; tries++)); do
		kill -0 "$orchestrator" 2>/dev/null || fail "the orchestrator did not start"
		address=$(sed -n 's/.*msg=listening address=\([^ ]*\).*/\1/p' "$log")
		if [[ -n "$address" ]] && PORT=${address##*:} "$root/bin/orchestrator" health >/dev/null 2>&1; then
			return 0
		fi
		sleep 0.1
	done
	fail "the orchestrator is not healthy after 30 s"
}

# field FILE STREAM NAME prints one field of a stream.
field() {
	ffprobe -v error -select_streams "$2:0" -show_entries "stream=$3" -of default=noprint_wrappers=1:nokey=1 "$1"
}

# likeness SECOND prints how alike source and result are at that second where
# captions stand, in the middle of the lowest sixth: from 0 to 1 (SSIM). Measured
# here: 0.74 with a caption, 0.996 without.
likeness() {
	local part='crop=iw/2:ih/6:iw/4:ih*5/6'
	ffmpeg -v info -nostats -ss "$1" -i "$video" -ss "$1" -i "$result" -frames:v 1 \
		-lavfi "[0:v]${part}[a];[1:v]${part}[b];[a][b]ssim" -f null - 2>&1 | sed -n 's/.*SSIM.*All:\([0-9.]*\).*/\1/p'
}

# truth EXPRESSION reports whether arithmetic with decimals holds.
truth() { awk "BEGIN { exit !($1) }"; }

check_result() {
	local got
	got=$(field "$result" v codec_name)/$(field "$result" a codec_name)
	[[ "$got" == h264/aac ]] || fail "the result is $got, not h264/aac"
	got=$(field "$result" v width)x$(field "$result" v height)
	[[ "$got" == "$size" ]] || fail "the picture is $got, not $size"
	got=$(field "$result" v duration)
	truth "($got - $seconds) * $fps <= 1 && ($seconds - $got) * $fps <= 1" || fail "the result lasts $got s, not $seconds s"
	local cue pause
	cue=$(likeness "$cue_at") pause=$(likeness "$pause_at")
	truth "$pause > 0.9 && $cue < $pause - 0.1" ||
		fail "the captions are not in the picture: likeness $cue at $cue_at s, $pause at $pause_at s"
	say "checked: h264 and aac, $size, $got s; captions at $cue_at s (likeness to the source $cue) and none at $pause_at s ($pause)"
}

say "building"
make --no-print-directory -s build
say "making a sample of $seconds s"
make_sample

API_GPU_KEY=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
export API_GPU_KEY
start
say "orchestrator on http://$address"
API_GPU_URL="http://$address" "$root/bin/api-gpu" caption "$video" "$subtitles" -o "$result" --force
check_result

stop || fail "the orchestrator does not stop"
[[ -z "$(leftovers)" ]] || fail "still running: $(leftovers | tr '\n' ' ')"
say "all stopped"
say "done: demo/captioned.mp4"
