# The worker: burns captions in, on a machine with an NVIDIA GPU or without.
# What changes least comes first: a machine that has pulled an earlier version
# pulls the last layer only.
ARG GO_IMAGE=golang:1.26-bookworm
ARG DEBIAN_IMAGE=debian:bookworm-slim

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
ARG TARGETOS=linux
ARG TARGETARCH
RUN export CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
 && go build -trimpath -buildvcs=false \
      -ldflags "-s -w -X github.com/api-gpu/api-gpu.version=${VERSION}" \
      -o /out/bin/ ./cmd/worker
COPY LICENSE /out/doc/
COPY scripts/notices.sh scripts/
RUN bash scripts/notices.sh go ./cmd/worker >/out/doc/NOTICES-go.txt

FROM $DEBIAN_IMAGE AS worker
# Debian's ffmpeg holds NVENC and NVDEC; the driver's libraries come from the
# host. Its NVENC asks for driver 470.57.02 or newer.
#
# LLVM, z3 and Mesa's drivers draw for screens, and are loaded only then: without
# them the image is a third smaller. That FFmpeg has all that we ask it for, and
# still encodes, is proven here.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates ffmpeg \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* /usr/lib/*/libLLVM* /usr/lib/*/libz3.so* /usr/lib/*/dri \
 && ffmpeg -hide_banner -encoders >/tmp/has && ffmpeg -hide_banner -filters >>/tmp/has \
 && ffmpeg -hide_banner -decoders >>/tmp/has && ffmpeg -hide_banner -hwaccels >>/tmp/has \
 && for part in h264_nvenc hevc_nvenc libx264 aac h264_cuvid hevc_cuvid cuda overlay_cuda scale_cuda hwupload_cuda ass; do \
      grep -qw "$part" /tmp/has || { echo "this FFmpeg lacks $part" >&2; exit 1; }; \
    done \
 && ffmpeg -v error -f lavfi -i color=size=64x64:duration=0.1 -c:v libx264 -f null - \
 && rm /tmp/has
RUN apt-get update \
 && apt-get install -y --no-install-recommends fonts-noto-core \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
# Chinese, Japanese, Korean and emoji: FONTS= leaves them out. Emoji are there
# twice: as pictures in colour, which the worker lays over the video by itself,
# and in outline (style.emoji: mono), which is all that libass draws.
ARG FONTS="fonts-noto-cjk fonts-noto-color-emoji fonts-symbola"
RUN if [ -n "$FONTS" ]; then \
      apt-get update \
   && apt-get install -y --no-install-recommends $FONTS \
   && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*; \
    fi
COPY scripts/notices.sh /tmp/
# What the fonts hold, for Fontconfig: it is good while the times of the folders
# are what they were, and a registry keeps whole seconds of them.
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin worker \
 && find /usr/share/fonts /usr/local/share/fonts -type d -exec touch -d @0 {} + \
 && fc-cache -f \
 && mkdir -p /usr/share/doc/api-gpu \
 && bash /tmp/notices.sh debian >/usr/share/doc/api-gpu/NOTICES-debian.txt \
 && rm /tmp/notices.sh
# What the NVIDIA container runtime puts into the container: video is the
# encoder, compute is CUDA, utility is nvidia-smi. It refuses to start without
# SESSION_TOKEN and X_API_KEY.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,video,utility \
    APP_ENV=production \
    PORT=3334
WORKDIR /home/worker
EXPOSE 3334
ENTRYPOINT ["worker"]
COPY --from=build /out/doc /usr/share/doc/api-gpu
COPY --from=build /out/bin /usr/local/bin
USER 10001:10001
ARG VERSION=devel
ARG REVISION=
ARG SOURCE=https://github.com/api-gpu/api-gpu
LABEL org.opencontainers.image.title="api-gpu worker" \
      org.opencontainers.image.description="Burns captions into videos with FFmpeg, on an NVIDIA GPU or without" \
      org.opencontainers.image.licenses="MIT AND GPL-2.0-or-later AND OFL-1.1" \
      org.opencontainers.image.documentation="https://github.com/api-gpu/api-gpu#readme" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="$SOURCE"
