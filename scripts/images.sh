#!/usr/bin/env bash
# Builds both images with the Docker engine that can be reached, and runs them:
# the main job between the containers, a stop in mid-job, a redeploy with and
# without its volume, a rental on a simulated Vast.ai whose machine is the
# worker's container, and a thousand jobs on half a core and 512 MB. Prints the
# size of each layer and what was measured, and removes what it made.
#
#   DOCKER        the client (docker)
#   BUILD_FLAGS   more words for docker build, such as other base images:
#                 --build-arg DEBIAN_IMAGE=mirror.example.com/debian:bookworm-slim
#   BUILD_PROCS   compilers at once (2)
#   PARTS         which parts to run, in this order (sizes job stop redeploy rent crowd; redeploy wants stop, and that wants job, before it);
#                 memory compiles the orchestrator in a container of 1 GB, which takes minutes
#   GO_IMAGE      what memory compiles with (golang:1.26-bookworm)
#   KEEP=1        leaves the images
set -euo pipefail
cd "$(dirname "$0")/.."

readonly docker=${DOCKER:-docker}
# A release, so that what it rents by default is named.
readonly version=v0.0.1
# One name for all that is made here, so that it can be removed.
readonly us=api-gpu-test-$$
readonly orchestrator_image=$us/orchestrator:$version full_image=$us/orchestrator-full:$version worker_image=$us/worker:$version
# What the orchestrator is told to rent when it is built, as the Action of a fork does.
readonly linked=registry.example.com/fork/api-gpu-worker:$version
# What a container can do without, all of which a cautious operator takes from it.
readonly bare=(--read-only --cap-drop ALL --security-opt no-new-privileges)
root=$PWD
work= # a folder of ours, once there is something to do
market=
export DOCKER_BUILDKIT=1

say() { printf 'images: %s\n' "$*"; }

fail() {
	printf 'images: %s\n' "$*" >&2
	exit 1
}

cleanup() {
	local status=$? name
	trap - EXIT
	if ((status != 0)); then
		for name in $($docker ps -a --format '{{.Names}}' --filter "label=$us"); do
			printf 'images: failed; the end of the log of %s:\n' "$name" >&2
			$docker logs --tail 25 "$name" >&2 || true
		done
		tail -n 20 "$work"/*.log >&2 2>/dev/null || true
	fi
	if [[ -n "$market" ]]; then
		kill -TERM "$market" 2>/dev/null || true
		wait "$market" 2>/dev/null || true
	fi
	remove container "$($docker ps -aq --filter "label=$us")"
	remove volume "$($docker volume ls -q --filter "label=$us")"
	remove network "$($docker network ls -q --filter "label=$us")"
	if [[ "${KEEP:-}" != 1 ]]; then
		remove image "$($docker images -q --filter "reference=$us/*")"
	fi
	rm -rf "$work"
	exit "$status"
}

# remove KIND NAMES… removes what there is of these.
remove() {
	local kind=$1 force=()
	[[ "$kind" == network ]] || force=(-f)
	[[ -z "$2" ]] || $docker "$kind" rm "${force[@]}" $2 >/dev/null || true
}

now() { date +%s.%N; }

# since START prints seconds.
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f", b - a }'; }

# wait_for WHAT COMMAND… repeats a command until it succeeds, for five minutes.
wait_for() {
	local what=$1 tries
	shift
	for ((tries = 0; tries < 3000; tries++)); do
		if "$@" >/dev/null 2>&1; then return 0; fi
		sleep 0.1
	done
	fail "never: $what"
}

build() {
	local common=(--build-arg "VERSION=$version" --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || true)" ${BUILD_FLAGS:-})
	local start
	start=$(now)
	say "building the orchestrator"
	$docker build -q "${common[@]}" --build-arg "BUILD_PROCS=${BUILD_PROCS:-2}" --build-arg "WORKER_IMAGE=$linked" \
		-f docker/orchestrator.Dockerfile -t "$orchestrator_image" . >/dev/null
	say "built in $(since "$start") s; building it with FFmpeg, and the worker"
	$docker build -q "${common[@]}" --build-arg "BUILD_PROCS=${BUILD_PROCS:-2}" --build-arg "WORKER_IMAGE=$linked" \
		-f docker/orchestrator.Dockerfile --target full -t "$full_image" . >/dev/null
	$docker build -q "${common[@]}" -f docker/worker.Dockerfile -t "$worker_image" . >/dev/null
	say "all built after $(since "$start") s"
}

# in_image IMAGE PROGRAM ARGUMENTS… runs a program of an image.
in_image() {
	local image=$1 program=$2
	shift 2
	$docker run --rm --label "$us" --entrypoint "$program" "$image" "$@"
}

part_sizes() {
	local name image
	go -C tools build -o ../bin/tools/ ./layers
	for name in orchestrator orchestrator-full worker; do
		image=$us/$name:$version
		printf '\n%s\n\n' "$name"
		$docker save "$image" | bin/tools/layers
	done
	echo
	for image in "$orchestrator_image" "$full_image" "$worker_image"; do
		[[ "$(in_image "$image" sh -c 'id -u')" == 10001 ]] || fail "$image does not run as 10001, or has no shell"
		in_image "$image" sh -c 'test -s /usr/share/doc/api-gpu/LICENSE && test -s /usr/share/doc/api-gpu/NOTICES-go.txt' || fail "$image lacks notices"
		[[ "$($docker image inspect -f '{{.Config.Volumes}}' "$image")" == 'map[]' ]] || fail "$image has a volume"
		[[ "$($docker image inspect -f '{{index .Config.Labels "org.opencontainers.image.version"}}' "$image")" == "$version" ]] || fail "$image lacks its labels"
	done
	in_image "$orchestrator_image" sh -c 'grep -q "GNU GENERAL PUBLIC LICENSE" /usr/share/doc/api-gpu/NOTICES-busybox.txt' || fail "the licence of BusyBox is missing"
	for image in "$full_image" "$worker_image"; do
		in_image "$image" sh -c 'test -s /usr/share/doc/api-gpu/NOTICES-debian.txt && test -s /usr/share/doc/ffmpeg/copyright' || fail "$image lacks notices of Debian"
		in_image "$image" ffprobe -v error -version >/dev/null
		draws "$image"
	done
	[[ "$(in_image "$orchestrator_image" orchestrator --version)" == *"$version"* ]] || fail "the orchestrator does not tell its version"
	in_image "$worker_image" worker selftest >"$work/selftest.json" || fail "the worker's self-test fails"
	say "the worker's self-test passes: $(tr -d '\n' <"$work/selftest.json" | tr -s ' ')"
}

# draws IMAGE draws letters of many scripts, and fails where no font has one. Not
# even a user whom the image does not know, and who can write nothing, is slowed
# down by fonts of which nobody knows what they hold: neither in the image as it
# was built, nor as a registry hands it out, with times in whole seconds.
draws() {
	local container image log
	container=$($docker create --label "$us" "$1")
	$docker export "$container" | $docker import - "$us/flat:$version" >/dev/null
	for image in "$1" "$us/flat:$version"; do
		log=$($docker run --rm --label "$us" "${bare[@]}" --tmpfs /tmp --user 1234:1234 --entrypoint sh "$image" -c "printf '1\n00:00:00,000 --> 00:00:02,000\nOlá Здравствуйте 你好 こんにちは 안녕 😀 🚀 नमस्ते שלום\n' >/tmp/all.srt &&
			ffmpeg -v verbose -f lavfi -i color=size=320x180:duration=0.1 -vf subtitles=/tmp/all.srt -f null -" 2>&1) || fail "$image draws no captions: $log"
		[[ "$log" == *fontselect* && "$log" != *"not found in "* && "$log" != *"failed to find any fallback"* && "$log" != *Fontconfig* ]] ||
			fail "$image lacks letters, or knows its fonts badly: $(grep -i 'glyph\|font' <<<"$log")"
	done
}

# sample NAME SECONDS SIZE makes a video and its subtitles, with the worker's
# FFmpeg, unless they are there.
sample() {
	[[ ! -e "$work/$1.mp4" ]] || return 0
	$docker run --rm --label "$us" --entrypoint ffmpeg "$worker_image" -v error -f lavfi -i "testsrc2=size=$3:rate=30:duration=$2" \
		-f lavfi -i "sine=frequency=440:duration=$2" -c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac -movflags frag_keyframe+empty_moov -f mp4 - >"$work/$1.mp4"
	printf '1\n00:00:00,500 --> 00:00:03,500\nOlá! Você não está só.\n' >"$work/$1.srt"
}

# start NAME IMAGE ARGUMENTS… runs a container, without waiting.
start() {
	local name=$us-$1 image=$2
	shift 2
	$docker run -d --label "$us" --name "$name" "$@" "$image" >/dev/null
}

# start_worker runs a worker that nobody reaches but the other containers.
start_worker() {
	start worker "$worker_image" "${bare[@]}" --tmpfs /tmp --network "$us" --network-alias worker -e SESSION_TOKEN=token -e X_API_KEY=key
}

# start_orchestrator NAME ARGUMENTS… runs one on the volume, with that worker.
start_orchestrator() {
	local name=$1
	shift
	start "$name" "$orchestrator_image" "${bare[@]}" --network "$us" -p 127.0.0.1::3000 -v "$us:/app/data" -e X_API_KEY="$API_GPU_KEY" -e PROVIDER=static \
		-e WORKER_URL=http://worker:3334 -e WORKER_TOKEN=token -e WORKER_KEY=key -e DISK_FREE_MIN=64MiB "$@"
}

# address NAME prints where an orchestrator is reached.
address() { echo "http://$($docker port "$us-$1" 3000/tcp | head -n 1)"; }

# healthy NAME STATUS tells whether it answers so.
healthy() { curl -sf -m 5 "$(address "$1")/health" | tr -d ' \n' | grep -q "\"status\":\"$2\""; }

# ask NAME SAMPLE asks an orchestrator for captions, and prints the job.
ask() {
	curl -sf -H "X-API-Key: $API_GPU_KEY" -H 'Prefer: respond-async' -F "video=@$work/$2.mp4" -F "srt=@$work/$2.srt" "$(address "$1")/video/caption" |
		grep -o 'job_[0-9A-Z]*' | head -n 1
}

# job NAME ID prints a job.
job() { curl -sf -H "X-API-Key: $API_GPU_KEY" "$(address "$1")/jobs/$2"; }

# is NAME ID FIELD VALUE tells whether a job has that in a field.
is() { job "$1" "$2" | tr -d ' \n' | grep -q "\"$3\":\"$4\""; }

part_job() {
	local begun
	sample short 8 640x360
	begun=$(now)
	start_worker
	start_orchestrator one
	wait_for "the orchestrator answers" healthy one ok
	say "docker run until /health says ok, with a worker started beside it: $(since "$begun") s"
	begun=$(now)
	API_GPU_URL=$(address one) bin/api-gpu caption "$work/short.mp4" "$work/short.srt" -o "$work/captioned.mp4" >"$work/client.log" 2>&1 || fail "the job fails"
	say "the job between the two containers took $(since "$begun") s"
	$docker run -i --rm --label "$us" --entrypoint ffprobe "$worker_image" -v error -show_entries stream=codec_name,width -of csv=p=0 - <"$work/captioned.mp4" |
		tr '\n' ' ' | grep -q 'h264,640 aac' || fail "the result is no H.264 and AAC of that size"
	[[ "$($docker exec "$us-one" sh -c 'stat -c %u /app/data/api-gpu.db')" == 10001 ]] || fail "the database is not the program's own"
	wait_for "Docker's own check says healthy" sh -c "$docker inspect -f '{{.State.Health.Status}}' $us-one | grep -qx healthy"
}

part_stop() {
	local id end
	sample long 60 1280x720
	id=$(ask one long)
	wait_for "the job runs" is one "$id" phase rendering
	end=$(now)
	$docker stop "$us-one" >/dev/null
	say "docker stop of the orchestrator in mid-job took $(since "$end") s"
	end=$(now)
	$docker start "$us-one" >/dev/null
	wait_for "it answers again" healthy one ok
	say "docker start until /health says ok: $(since "$end") s"
	wait_for "the job goes on and succeeds" is one "$id" status succeeded
	job one "$id" | tr -d ' \n' | grep -q '"attempt":1[,}]' || fail "the job began again: $(job one "$id")"
	say "the job went on and succeeded, at its first attempt"
	id=$(ask one long)
	wait_for "the job runs" is one "$id" phase rendering
	$docker stop "$us-worker" >/dev/null
	$docker start "$us-worker" >/dev/null
	wait_for "the job runs again and succeeds" is one "$id" status succeeded
	say "docker stop of the worker in mid-job: the job ran again and succeeded"
}

part_redeploy() {
	local id late end
	id=$(ask one long)
	wait_for "the job runs" is one "$id" phase rendering
	start_orchestrator two
	wait_for "the second stands by" healthy two standby
	healthy one ok || fail "the first does not lead any more"
	late=$(ask two short)
	end=$(now)
	$docker rm -f "$($docker stop "$us-one")" >/dev/null
	wait_for "the second leads" healthy two ok
	say "a second container on the same volume stood by, and led $(since "$end") s after docker stop of the first began"
	wait_for "the running job succeeds" is two "$id" status succeeded
	wait_for "the job that the second took succeeds" is two "$late" status succeeded
	[[ "$(curl -sf -H "X-API-Key: $API_GPU_KEY" "$(address two)/jobs?limit=100" | grep -o '"id": *"job_[0-9A-Z]*"' | sort -u | wc -l)" -ge 5 ]] ||
		fail "jobs were lost"
	say "both jobs succeeded, and no earlier one is lost"
	$docker rm -f "$us-two" >/dev/null
}

# worker_program writes a program that vastsim takes for its worker: it runs the
# worker's container, and removes it at its own end, however that comes.
worker_program() {
	cat >"$work/worker" <<-SCRIPT
		#!/bin/bash
		export PATH=$PATH HOME=${HOME:-/} ${DOCKER_HOST:+DOCKER_HOST=$DOCKER_HOST}
		# Everything of the machine's environment, but for what is the host's.
		env | grep -v '^\(PATH\|HOME\|TMPDIR\|PWD\|OLDPWD\|SHLVL\|_\|DOCKER_HOST\|WORK_DIR\)=' >"\$PWD/env"
		id=\$($docker run -d --label $us --network host --user $(id -u):$(id -g) -v "\$PWD:\$PWD" --env-file "\$PWD/env" $worker_image) || exit 1
		setsid bash -c "while kill -0 \$\$; do sleep 0.1; done; $docker rm -f \$id" >/dev/null 2>&1 &
		exec $docker logs -f "\$id" 2>&1
	SCRIPT
	chmod +x "$work/worker"
}

start_market() {
	worker_program
	env VASTSIM_PORT=0 VASTSIM_WORKER="$work/worker" bin/vastsim >"$work/market.env" 2>"$work/market.log" &
	market=$!
	wait_for "the marketplace answers" grep -q '^VAST_API_KEY=.' "$work/market.env"
}

# start_renter NAME ARGUMENTS… runs an orchestrator that rents there.
start_renter() {
	local name=$1
	shift
	start "$name" "$orchestrator_image" --network host --env-file "$work/market.env" -e HOST=127.0.0.1 -e PORT="$port" -e X_API_KEY="$API_GPU_KEY" \
		-e REQUIRE_GPU=false -e LEASE=1m -e BOOT_TIMEOUT=1m -e DISK_FREE_MIN=64MiB "$@"
	wait_for "the orchestrator answers" curl -sf "http://127.0.0.1:$port/health"
}

truth() { curl -sf "$(sed -n 's/^VAST_API_URL=//p' "$work/market.env")/sim/truth" | tr -d ' \n'; }

none_rented() {
	local now
	now=$(truth) && [[ "$now" != *'"alive":true'* ]]
}

part_rent() {
	local id end
	sample short 8 640x360
	sample long 60 1280x720
	port=$(free_port)
	start_market
	# A redeploy that forgot the volume.
	start_renter bare
	curl -sf "http://127.0.0.1:$port/health" | grep -q 'nothing is rented' || fail "without a volume /health does not say that nothing is rented"
	id=$(ask_at "http://127.0.0.1:$port" short)
	sleep 10
	! truth | grep -q '"label":"ag1' || fail "it rented without a volume"
	curl -sf -H "X-API-Key: $API_GPU_KEY" "http://127.0.0.1:$port/jobs/$id" | grep -q queued || fail "the job does not wait"
	say "without a volume: /health says so, and nothing is rented"
	$docker rm -f "$us-bare" >/dev/null
	sleep 2 # the next does not know when this one last asked the marketplace, which wants a second between
	# With it; the volume is used up by what comes next.
	start_renter renter -v "$us-rent:/app/data"
	API_GPU_URL=http://127.0.0.1:$port bin/api-gpu caption "$work/short.mp4" "$work/short.srt" -o "$work/rented.mp4" >"$work/client.log" 2>&1 || fail "the rented job fails"
	$docker logs "$us-renter" 2>&1 | grep -q "machines are rented with $linked " || fail "it does not rent the image that was linked in"
	wait_for "the machine is given back" none_rented
	say "the job ran on a rented machine, which was the worker's container, and was given back; the image was $linked"
	# And the end of an orchestrator that never comes back.
	ask_at "http://127.0.0.1:$port" long >/dev/null
	wait_for "a machine is rented and works" sh -c "curl -sf -H 'X-API-Key: $API_GPU_KEY' http://127.0.0.1:$port/jobs | grep -q rendering"
	end=$(now)
	$docker rm -f "$us-renter" >/dev/null
	wait_for "the machine ends itself" none_rented
	say "an orchestrator that was removed with its state: the machine ended itself after $(since "$end") s, with a lease of 60 s"
	truth | grep -q '"broken":\[\]' || fail "a rule of the marketplace was broken"
}

free_port() {
	local try
	for ((try = 21000 + RANDOM % 20000; ; try++)); do
		if ! (exec 3<>"/dev/tcp/127.0.0.1/$try") 2>/dev/null; then
			echo "$try"
			return
		fi
	done
}

# ask_at URL SAMPLE is ask of an orchestrator at an address.
ask_at() {
	curl -sf -H "X-API-Key: $API_GPU_KEY" -H 'Prefer: respond-async' -F "video=@$work/$2.mp4" -F "srt=@$work/$2.srt" "$1/video/caption" |
		grep -o 'job_[0-9A-Z]*' | head -n 1
}

readonly crowd=1000

part_crowd() {
	local url slowest memory begun
	sample tiny 1 64x64
	start crowd "$orchestrator_image" --memory 512m --memory-swap 512m --cpus 0.5 -p 127.0.0.1::3000 -v "$us-crowd:/app/data" \
		-e X_API_KEY="$API_GPU_KEY" -e PROVIDER=static -e WORKER_URL=http://127.0.0.1:9 -e DISK_FREE_MIN=64MiB -e STORAGE_MAX=200GiB
	wait_for "it answers" curl -sf "$(address crowd)/health"
	url=$(address crowd)
	begun=$(now)
	export API_GPU_KEY work url
	seq "$crowd" | xargs -P 4 -n 1 sh -c 'curl -sf -o /dev/null -H "X-API-Key: $API_GPU_KEY" -H "Prefer: respond-async" -F "video=@$work/tiny.mp4" -F "srt=@$work/tiny.srt" "$url/video/caption"'
	say "$crowd jobs were taken in $(since "$begun") s, on half a core and 512 MB"
	curl -sf "$url/health" | tr -d ' \n' | grep -q "\"queued\":$crowd[,}]" || fail "they do not all wait: $(curl -sf "$url/health")"
	slowest=$(for path in health jobs health jobs health jobs health jobs health jobs; do
		curl -sf -o /dev/null -w '%{time_total}\n' -H "X-API-Key: $API_GPU_KEY" "$url/$path"
	done | sort -n | tail -n 1)
	memory=$($docker exec "$us-crowd" sh -c 'awk "/^VmRSS|^VmHWM/ { print \$2 / 1024 }" /proc/1/status' | tr '\n' ' ')
	say "while they wait: memory of the program at most and now, in MiB: $memory; the slowest of ten answers took $slowest s"
	awk -v list="$memory" 'BEGIN { split(list, m, " "); exit !(m[1] > 0 && m[1] < 100) }' || fail "it takes more than 100 MiB"
	awk -v s="$slowest" 'BEGIN { exit !(s < 5) }' || fail "it is slow"
	$docker rm -f "$us-crowd" >/dev/null
}

# part_memory compiles as the Dockerfile does, from nothing, and prints how much
# memory that took at most, but for what the kernel keeps of files.
part_memory() {
	local settings begun peak
	settings=$(sed -n 's/^RUN export \(.*GOMEMLIMIT=[^ ]*\).*/\1/p' docker/orchestrator.Dockerfile)
	[[ -n "$settings" ]] || fail "the Dockerfile bounds no memory"
	begun=$(now)
	peak=$($docker run --rm --label "$us" --memory 1g --memory-swap 1g -v "$root:/src:ro" -v "$(go env GOMODCACHE):/go/pkg/mod:ro" -w /src \
		-e BUILD_PROCS=1 -e TARGETOS=linux -e TARGETARCH="$(go env GOARCH)" -e GOPROXY=off "${GO_IMAGE:-golang:1.26-bookworm}" bash -c "
			export $settings
			go build -p \$BUILD_PROCS -trimpath -buildvcs=false -ldflags '-s -w' -o /tmp/orchestrator ./cmd/orchestrator &
			stat=/sys/fs/cgroup/memory/memory.stat field=total_rss
			[ -e \$stat ] || stat=/sys/fs/cgroup/memory.stat field=anon
			peak=0
			while kill -0 \$! 2>/dev/null; do
				while read -r name value; do
					if [[ \$name == \$field ]] && ((value > peak)); then peak=\$value; fi
				done <\$stat
				sleep 0.1
			done
			wait \$! && echo \$peak")
	say "the orchestrator compiles in a container of 1 GB: $((peak / 1000000)) MB at most, $(since "$begun") s"
}

if ! $docker info >/dev/null 2>&1; then
	say "no Docker engine can be reached: nothing was built or run (docker-engine in test/need/skips.txt)"
	exit 0
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/api-gpu-images.XXXXXX")
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
API_GPU_KEY=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
export API_GPU_KEY
make --no-print-directory -s build
build
$docker network create --label "$us" "$us" >/dev/null
for volume in "$us" "$us-rent" "$us-crowd"; do
	$docker volume create --label "$us" "$volume" >/dev/null
done
for part in ${PARTS:-sizes job stop redeploy rent crowd}; do
	"part_$part"
done
say "done: no fault found"
