# The orchestrator: runs on a small server without a GPU. Its state (database,
# results) is in /app/data: mount a volume there, or it is lost with the
# container. It holds no worker: it rents some (VAST_API_KEY), or uses those that
# run elsewhere (PROVIDER=static).
#
#   --target slim   the default: the program and a shell
#   --target full   with FFmpeg and fonts
#
# With --build-arg BINARY=release --build-arg VERSION=v0.1.0 --build-arg SHA256=…
# nothing is compiled: the program is that of the release, whose archive must have
# this sum, as SHA256SUMS of the release has it.
ARG GO_IMAGE=golang:1.26-bookworm
ARG DEBIAN_IMAGE=debian:bookworm-slim
ARG BUSYBOX_IMAGE=busybox:1.37
ARG BINARY=build

# Compiles on the machine that builds, for the one that is to run it.
FROM --platform=$BUILDPLATFORM $GO_IMAGE AS build
ARG GOPROXY
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY *.go ./
COPY client client
COPY cmd cmd
COPY internal internal
ARG VERSION=devel
# What is rented unless VAST_WORKER_IMAGE says another. Without it: the published
# image, where VERSION is a release.
ARG WORKER_IMAGE=
ARG TARGETOS=linux
ARG TARGETARCH
# One package at a time, by one thread: all of it then fits into 1 GB of memory,
# of which SQLite alone takes most. More is faster where there is more.
ARG BUILD_PROCS=1
RUN export CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH GOMAXPROCS=$BUILD_PROCS GOGC=50 GOMEMLIMIT=800MiB \
 && go build -p $BUILD_PROCS -trimpath -buildvcs=false \
      -ldflags "-s -w -X github.com/api-gpu/api-gpu.version=${VERSION} -X main.workerImage=${WORKER_IMAGE}" \
      -o /out/bin/ ./cmd/orchestrator
COPY LICENSE /out/doc/
COPY scripts/notices.sh scripts/
RUN bash scripts/notices.sh go ./cmd/orchestrator >/out/doc/NOTICES-go.txt

FROM --platform=$BUILDPLATFORM $DEBIAN_IMAGE AS certificates
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/*

FROM certificates AS release
RUN apt-get update \
 && apt-get install -y --no-install-recommends curl \
 && rm -rf /var/lib/apt/lists/*
ARG VERSION=devel
ARG SHA256=
ARG RELEASES=https://github.com/api-gpu/api-gpu/releases/download
ARG TARGETARCH
RUN name=api-gpu-$VERSION-linux-$TARGETARCH \
 && curl -fsSL -o /tmp/archive "$RELEASES/$VERSION/$name.tar.gz" \
 && echo "$SHA256  /tmp/archive" | sha256sum -c - \
 && tar -x -C /tmp -f /tmp/archive \
 && install -D -t /out/bin "/tmp/$name/orchestrator" \
 && install -D -m 0644 -t /out/doc "/tmp/$name/LICENSE" "/tmp/$name/NOTICES-go.txt"

FROM $BINARY AS binary

# What every system has: roots of trust for https, and the names of users.
FROM certificates AS files
RUN install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /files/etc/ssl/certs/ca-certificates.crt \
 && install -D -m 0644 /usr/share/doc/ca-certificates/copyright /files/usr/share/doc/ca-certificates/copyright \
 && printf '%s\n' root:x:0:0:root:/root:/bin/sh api-gpu:x:10001:10001::/app:/bin/sh >/files/etc/passwd \
 && printf '%s\n' root:x:0: api-gpu:x:10001: >/files/etc/group \
 && mkdir /data

# BusyBox comes without its licence, which wants to come with it.
FROM certificates AS busybox-notices
COPY scripts/notices.sh /build/
RUN mkdir /doc && bash /build/notices.sh busybox /usr/share/common-licenses/GPL-2 >/doc/NOTICES-busybox.txt

FROM $BUSYBOX_IMAGE AS busybox

# FFmpeg and what it loads, out of a whole Debian.
FROM $DEBIAN_IMAGE AS debian-ffmpeg
RUN apt-get update \
 && apt-get install -y --no-install-recommends busybox-static ffmpeg fonts-noto-core \
 && rm -rf /var/lib/apt/lists/*
COPY docker/closure.sh scripts/notices.sh /build/
RUN sh /build/closure.sh /ffmpeg /usr/bin/ffmpeg /usr/bin/ffprobe /usr/bin/fc-cache /bin/busybox \
 && cp -a --parents /etc/fonts /usr/share/fontconfig /usr/share/fonts/truetype/dejavu /usr/share/doc/fonts-*/copyright /usr/share/common-licenses /ffmpeg \
 && chroot /ffmpeg /bin/busybox --install /bin \
 && mkdir -m 1777 /ffmpeg/tmp \
 && mkdir -p /doc /fonts && cp -a --parents /usr/share/fonts/truetype/noto /fonts \
 && bash /build/notices.sh debian $(cat /ffmpeg.packages) fontconfig-config fonts-dejavu-core fonts-noto-core >/doc/NOTICES-debian.txt \
 && chroot /ffmpeg /usr/bin/ffmpeg -v error -f lavfi -i color=size=64x64:duration=0.1 -c:v libx264 -f null -

FROM $DEBIAN_IMAGE AS debian-fonts
# Chinese, Japanese, Korean and emoji weigh nearly as much as FFmpeg: FONTS= leaves
# them out. Emoji are there twice: in colour, and in outline, as the worker has them.
ARG FONTS="fonts-noto-cjk fonts-noto-color-emoji fonts-symbola"
COPY scripts/notices.sh /build/
RUN mkdir -p /more/usr/share/fonts /more/usr/share/doc/api-gpu \
 && if [ -n "$FONTS" ]; then \
      apt-get update \
   && apt-get install -y --no-install-recommends $FONTS \
   && cp -a /usr/share/fonts/. /more/usr/share/fonts/ \
   && cp -a --parents /usr/share/doc/fonts-*/copyright /more \
   && bash /build/notices.sh debian $FONTS >/more/usr/share/doc/api-gpu/NOTICES-fonts.txt; \
    fi

FROM scratch AS base
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    APP_ENV=production \
    PORT=3000
WORKDIR /app
EXPOSE 3000
# It answers within a second of its start; the rest is for a slow disk.
HEALTHCHECK --interval=15s --timeout=6s --start-period=30s --retries=3 CMD ["orchestrator", "health"]
ENTRYPOINT ["orchestrator"]
LABEL org.opencontainers.image.title="api-gpu orchestrator" \
      org.opencontainers.image.description="Takes requests for captions, keeps the queue, rents a GPU while there is work" \
      org.opencontainers.image.documentation="https://github.com/api-gpu/api-gpu#readme"

FROM base AS full
COPY --from=debian-ffmpeg /ffmpeg /
COPY --from=debian-ffmpeg /fonts /
COPY --from=debian-fonts /more /
# What the fonts hold: without this Fontconfig reads all of them for each video,
# for user 10001 has no place to keep it. It is good while the times of the
# folders are what they were, and a registry keeps whole seconds of them.
RUN mkdir -p /var/cache/fontconfig \
 && find /usr/share/fonts -type d -exec touch -d @0 {} + \
 && fc-cache -f
COPY --from=files /files /
# A volume that is new takes its owner from here.
COPY --from=files --chown=10001:10001 /data /app/data
COPY --from=debian-ffmpeg /doc /usr/share/doc/api-gpu
COPY --from=binary /out/doc /usr/share/doc/api-gpu
COPY --from=binary /out/bin /usr/local/bin
USER 10001:10001
ARG VERSION=devel
ARG REVISION=
ARG SOURCE=https://github.com/api-gpu/api-gpu
LABEL org.opencontainers.image.licenses="MIT AND GPL-2.0-or-later AND OFL-1.1" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="$SOURCE"

FROM base AS slim
COPY --from=busybox / /
COPY --from=files /files /
COPY --from=files --chown=10001:10001 /data /app/data
COPY --from=busybox-notices /doc /usr/share/doc/api-gpu
COPY --from=binary /out/doc /usr/share/doc/api-gpu
COPY --from=binary /out/bin /usr/local/bin
USER 10001:10001
ARG VERSION=devel
ARG REVISION=
ARG SOURCE=https://github.com/api-gpu/api-gpu
LABEL org.opencontainers.image.licenses="MIT AND GPL-2.0-only" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="$SOURCE"
