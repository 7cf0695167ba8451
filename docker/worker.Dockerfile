# The worker: burns captions in, on a machine with an NVIDIA GPU or without.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false \
      -ldflags "-s -w -X github.com/api-gpu/api-gpu.version=${VERSION}" \
      -o /out/ ./cmd/worker

FROM debian:bookworm-slim
# Debian's ffmpeg holds NVENC and NVDEC; the driver's libraries come from the
# host. Its NVENC asks for driver 470.57.02 or newer.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates ffmpeg fonts-noto-core \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home --shell /usr/sbin/nologin worker
COPY --from=build /out/worker /usr/local/bin/worker
# What the NVIDIA container runtime puts into the container: video is the
# encoder, compute is CUDA, utility is nvidia-smi.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,video,utility
USER 10001:10001
WORKDIR /home/worker
# It refuses to start without SESSION_TOKEN and X_API_KEY.
ENV APP_ENV=production PORT=3334
EXPOSE 3334
ENTRYPOINT ["worker"]
