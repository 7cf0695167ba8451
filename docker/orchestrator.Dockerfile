# The orchestrator: runs on a small server without a GPU. Its state (database,
# results) is in /app/data: mount a volume there, or it is lost with the
# container. PROVIDER=static uses workers that run elsewhere; this image holds
# no worker.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false \
      -ldflags "-s -w -X github.com/api-gpu/api-gpu.version=${VERSION}" \
      -o /out/ ./cmd/orchestrator

FROM debian:bookworm-slim
# Downloads over https need the roots of trust, and nothing else is needed.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --no-create-home --home-dir /app --shell /usr/sbin/nologin api-gpu \
 && install -d -o api-gpu -g api-gpu /app /app/data
COPY --from=build /out/orchestrator /usr/local/bin/orchestrator
USER 10001:10001
WORKDIR /app
ENV APP_ENV=production PORT=3000
EXPOSE 3000
# It answers within a second of its start; the rest is for a slow disk.
HEALTHCHECK --interval=15s --timeout=6s --start-period=30s --retries=3 CMD ["orchestrator", "health"]
ENTRYPOINT ["orchestrator"]
