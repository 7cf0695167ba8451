#!/usr/bin/env bash
# The main job from end to end on this machine: builds the programs, makes a
# short video with sound and a subtitle file, starts a simulated Vast.ai (see
# bin/vastsim) and an orchestrator that rents there, has the captions burnt in
# by what it rents, which is a worker process, checks the result, that the
# machine was given back and what it cost, and stops everything that it
# started. Leaves demo/sample.mp4, demo/sample.srt and demo/captioned.mp4.
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
market_log=$work/vastsim.log
truth=$work/truth.json
orchestrator=
market=

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

# end PID ends a program, and reports failure when that takes more than a
# minute.
end() {
	local tries
	[[ -n "$1" ]] || return 0
	kill -TERM "$1" 2>/dev/null || true
	for ((tries = 0; tries < 600; tries++)); do
		kill -0 "$1" 2>/dev/null || return 0
		sleep 0.1
	done
	return 1
}

# stop ends the orchestrator, then the marketplace with all that it runs.
stop() {
	end "$orchestrator" || return 1
	orchestrator=
	end "$market" || return 1
	market=
}

cleanup() {
	local status=$? pid
	trap - EXIT
	stop || status=1
	for pid in $(leftovers); do
		kill -KILL "$pid" 2>/dev/null || true
	done
	if ((status != 0)) && [[ -s "$log" ]]; then
		printf 'demo: failed; the end of the logs:\n' >&2
		tail -n 20 "$market_log" >&2
		tail -n 40 "$log" >&2
	fi
	rm -rf "$work"
	exit "$status"
}
# Both are read from the moment at which their programs are started.
: >"$log" >"$market_log"
: >"$work/market.env"
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

# clean runs a program with settings of its own: those of whoever runs this,
# and the .env of the checkout, stay out.
clean() {
	cd "$work"
	exec env -i PATH="$PATH" HOME="${HOME:-/}" TMPDIR="$work" LANG=C.UTF-8 "$@"
}

# start_market runs the marketplace on a free port. Somebody else rents there
# too. Sets VAST_API_URL and VAST_API_KEY, as it prints them.
start_market() {
	local tries
	echo '{"instances": [{"label": "somebody-else"}]}' >"$work/scenario.json"
	(clean VASTSIM_PORT=0 VASTSIM_WORKER="$root/bin/worker" VASTSIM_SCENARIO="$work/scenario.json" \
		"$root/bin/vastsim" >"$work/market.env" 2>"$market_log") &
	market=$!
	for ((tries = 0; tries < 300; tries++)); do
		kill -0 "$market" 2>/dev/null || fail "the marketplace did not start: $(cat "$market_log")"
		if grep -q '^VAST_API_KEY=.' "$work/market.env"; then
			VAST_API_URL=$(sed -n 's/^VAST_API_URL=//p' "$work/market.env")
			VAST_API_KEY=$(sed -n 's/^VAST_API_KEY=//p' "$work/market.env")
			return 0
		fi
		sleep 0.1
	done
	fail "the marketplace does not answer after 30 s"
}

# start runs the orchestrator on a free port. Sets address.
start() {
	local tries
	(clean APP_ENV=development HOST=127.0.0.1 PORT=0 X_API_KEY="$API_GPU_KEY" \
		VAST_API_URL="$VAST_API_URL" VAST_API_KEY="$VAST_API_KEY" VAST_WORKER_IMAGE=api-gpu-worker:demo REQUIRE_GPU=false \
		QUEUE_TTL=2m JOB_TIMEOUT=5m DISK_FREE_MIN=64MiB \
		"$root/bin/orchestrator" >"$log" 2>&1) &
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

# holds EXPRESSION reports whether arithmetic with decimals holds.
holds() { awk "BEGIN { exit !($1) }"; }

check_result() {
	local got
	got=$(field "$result" v codec_name)/$(field "$result" a codec_name)
	[[ "$got" == h264/aac ]] || fail "the result is $got, not h264/aac"
	got=$(field "$result" v width)x$(field "$result" v height)
	[[ "$got" == "$size" ]] || fail "the picture is $got, not $size"
	got=$(field "$result" v duration)
	holds "($got - $seconds) * $fps <= 1 && ($seconds - $got) * $fps <= 1" || fail "the result lasts $got s, not $seconds s"
	local cue pause
	cue=$(likeness "$cue_at") pause=$(likeness "$pause_at")
	holds "$pause > 0.9 && $cue < $pause - 0.1" ||
		fail "the captions are not in the picture: likeness $cue at $cue_at s, $pause at $pause_at s"
	say "checked: h264 and aac, $size, $got s; captions at $cue_at s (likeness to the source $cue) and none at $pause_at s ($pause)"
}

# logged MESSAGE FIELD prints a field of the first such line in the log of the
# orchestrator: one word, or text in quotes.
logged() {
	local line
	line=$(grep -m 1 -E -- "msg=\"?$1\"? " "$log") || return 0
	sed -nE "s/.* $2=(\"([^\"]*)\"|([^ \"]+)).*/\2\3/p" <<<"$line"
}

# since FROM TO prints the seconds between two such lines.
since() {
	local from to
	from=$(logged_at "$1") to=$(logged_at "$2")
	awk -v a="${from:-0}" -v b="${to:-0}" 'BEGIN { d = b - a; if (d < 0) d += 86400; printf "%.1f", d }'
}

# logged_at MESSAGE prints the second of the day of that line.
logged_at() {
	{ grep -m 1 -E -- "msg=\"?$1\"? " "$log" || true; } | sed -nE 's/^time=[^T]*T([0-9]+):([0-9]+):([0-9.]+).*/\1 \2 \3/p' |
		awk '{ print $1 * 3600 + $2 * 60 + $3 }'
}

# ours FIELD prints a field of what was rented by us, one line each, as the
# marketplace has it: alive, total_nanodollars.
ours() {
	awk -v want="\"$1\":" '
		$1 == "\"label\":" { mine = $2 ~ /^"ag1\./ }
		$1 == want && mine { gsub(/[",]/, "", $2); print $2 }
	' "$truth"
}

# see_destroyed waits until the marketplace has nothing of ours any more.
see_destroyed() {
	local tries
	for ((tries = 0; tries < 300; tries++)); do
		curl -sf -o "$truth" "$VAST_API_URL/sim/truth" || fail "the marketplace does not answer"
		[[ -n "$(ours alive)" ]] || fail "nothing was rented"
		if ! ours alive | grep -q true; then
			return 0
		fi
		sleep 0.1
	done
	fail "what was rented is still alive 30 s after the job"
}

# tell prints what happened, by the log of the orchestrator.
tell() {
	local why
	why=$(logged renting why)
	say "offers seen: $(logged offers seen)"
	say "chosen: offer $(logged renting offer), $(logged renting hourly) an hour: ${why:-the cheapest}"
	say "rented $(since 'job queued' renting) s after the job came, because $(logged renting reason); ready after $(since renting 'worker is ready') s"
}

# check_bill checks what is left, and prints what it cost.
check_bill() {
	local bill own
	grep -q '"label": "somebody-else"' "$truth" && [[ "$(grep -c '"alive": true' "$truth")" == 1 ]] || fail "somebody else's machine was touched"
	grep -q '"broken": \[\]' "$truth" || fail "a rule of the API was broken: $(sed -n '/"broken"/,$p' "$truth")"
	bill=$(ours total_nanodollars | awk '{ sum += $1 } END { printf "%.6f", sum / 1e9 }')
	holds "$bill > 0 && $bill < 0.01" || fail "it cost \$$bill"
	say "destroyed $(since 'attempt ended' destroying) s after its work, $(logged destroying reason); nothing of ours is left, somebody else's machine is"
	own=$(curl -sf -H "X-API-Key: $API_GPU_KEY" "http://$address/jobs?limit=1" | grep -o '"cost_usd": *[0-9.e-]*' | head -n 1 | grep -o '[0-9.e-]*$' |
		awk '{ printf "%.6f", $1 }' || true)
	say "cost: \$$bill by the bill of the marketplace${own:+; \$$own for the job by our own account, so far}"
}

say "building"
make --no-print-directory -s build
say "making a sample of $seconds s"
make_sample

API_GPU_KEY=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
export API_GPU_KEY
start_market
say "a simulated Vast.ai on $VAST_API_URL"
start
say "orchestrator on http://$address"
API_GPU_URL="http://$address" "$root/bin/api-gpu" caption "$video" "$subtitles" -o "$result" --force
tell
check_result
see_destroyed
check_bill

stop || fail "the programs do not stop"
[[ -z "$(leftovers)" ]] || fail "still running: $(leftovers | tr '\n' ' ')"
say "all stopped"
say "done: demo/captioned.mp4"
