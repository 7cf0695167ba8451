# Everything that is done with this repository. `make` alone lists it.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Targets install packages, take ports and share folders: one after another.
.NOTPARALLEL:

GO      ?= go
IMAGE   ?= api-gpu-worker
# What is rented is amd64, whatever the machine that builds the worker's image.
PLATFORM ?= linux/amd64
TARGET   ?= slim
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
# How long each fuzz target and how often each test runs in make soak, how often
# in a row each program is killed, and how many schedules are simulated.
FUZZTIME ?= 30s
ROUNDS   ?= 10
KILLS    ?= 200
SCHEDULES ?= 1000000
# The account's key at make dev-vast, which is on loopback and holds play money.
VASTSIM_KEY ?= play-money

# The version is said here: Go's own stamping fails in a checkout that belongs
# to somebody else, as it does in many containers.
LDFLAGS = -X github.com/api-gpu/api-gpu.version=$(VERSION)
BUILD   = CGO_ENABLED=0 $(GO) build -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/
# The longest package, test/e2e, takes about eight minutes beside all others on two cores;
# where a Docker engine is, test/images compiles the programs in it from nothing.
TEST_TIMEOUT = 20m

##@ Use

.PHONY: help
help: ## List what can be done
	@awk -F ':.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  %-28s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: ## Install what is missing; name it and ask first (YES=1 does not ask)
	@scripts/setup.sh

.PHONY: demo
demo: setup ## Rent a (simulated) GPU, caption a sample video on it, and give it back
	@scripts/demo.sh

.PHONY: build
build: ## Build all programs into bin/
	$(BUILD) ./cmd/...

.PHONY: build-orchestrator
build-orchestrator: ## Build bin/orchestrator
	$(BUILD) ./cmd/orchestrator

.PHONY: build-worker
build-worker: ## Build bin/worker
	$(BUILD) ./cmd/worker

##@ Develop

.PHONY: dev-orchestrator
dev-orchestrator: build-orchestrator ## Run an orchestrator on localhost:3000 with the worker on localhost:3334
	PROVIDER=static WORKER_URL=http://localhost:3334 ALLOW_PRIVATE_HOSTS=localhost,127.0.0.1 bin/orchestrator

.PHONY: dev-worker
dev-worker: build-worker ## Run a worker on localhost:3334
	APP_ENV=development HOST=127.0.0.1 PORT=3334 bin/worker

.PHONY: dev-vast
dev-vast: build-worker ## Run a simulated Vast.ai on localhost:3399 that rents out worker processes
	$(BUILD) ./cmd/vastsim
	@echo 'An orchestrator that rents there: make dev-orchestrator-vast, or bin/orchestrator with these settings:'
	@printf '%s\n' VAST_WORKER_IMAGE=api-gpu-worker:dev REQUIRE_GPU=false
	@VASTSIM_KEY=$(VASTSIM_KEY) bin/vastsim

.PHONY: dev-orchestrator-vast
dev-orchestrator-vast: build-orchestrator ## Run an orchestrator on localhost:3000 that rents at make dev-vast
	PROVIDER=vast VAST_API_URL=http://127.0.0.1:3399 VAST_API_KEY=$(VASTSIM_KEY) VAST_WORKER_IMAGE=api-gpu-worker:dev REQUIRE_GPU=false \
		ALLOW_PRIVATE_HOSTS=localhost,127.0.0.1 bin/orchestrator

.PHONY: test
test: setup ## Run all tests, the long ones too; a missing need fails
	@scripts/test.sh -timeout $(TEST_TIMEOUT) ./...

.PHONY: lint
lint: ## Look for faults without running anything
	@scripts/lint.sh

.PHONY: check
check: setup lint demo test ## What CI runs: lint, demo, test

.PHONY: docs
docs: ## Write the tables that the program knows into README.md and docs
	@scripts/docs.sh

.PHONY: docs-pictures
docs-pictures: ## Draw the pictures of presets, for the guide and to compare with
	STRICT=1 $(GO) test ./internal/render -run 'TestPresets|TestPicturesOfTheGuide' -count 1 -update

.PHONY: bench
bench: ## Measure
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: load
load: setup ## Measure what the orchestrator bears: 200 jobs a second, 1000 event streams (takes 4 minutes)
	LOAD=full $(GO) test -count=1 -v -timeout 15m ./test/load

.PHONY: soak
soak: setup ## Run the tests ROUNDS times in random order, kill each program KILLS times, simulate SCHEDULES, fuzz each target for FUZZTIME
	@ROUNDS=$(ROUNDS) KILLS=$(KILLS) SCHEDULES=$(SCHEDULES) FUZZTIME=$(FUZZTIME) scripts/soak.sh

##@ Images and releases

# Docker before version 23 builds without BuildKit unless it is told.
export DOCKER_BUILDKIT = 1

# What an image says of itself.
DOCKER_ARGS = --build-arg VERSION=$(VERSION) --build-arg REVISION=$(shell git rev-parse HEAD 2>/dev/null)

.PHONY: docker-build-orchestrator
docker-build-orchestrator: ## Build the image of the orchestrator (TARGET=full: with FFmpeg and fonts)
	docker build -f docker/orchestrator.Dockerfile $(DOCKER_ARGS) --target $(TARGET) -t api-gpu-orchestrator .

.PHONY: docker-build-worker
docker-build-worker: ## Build the image of the worker (IMAGE=you/api-gpu-worker:tag PLATFORM=linux/amd64)
	docker build --platform $(PLATFORM) -f docker/worker.Dockerfile $(DOCKER_ARGS) -t $(IMAGE) .

.PHONY: docker-push-worker
docker-push-worker: ## Push it (IMAGE=you/api-gpu-worker:tag)
	@[[ "$(IMAGE)" == */* ]] || { echo 'say where to: make docker-push-worker IMAGE=you/api-gpu-worker:tag' >&2; exit 2; }
	docker push $(IMAGE)

.PHONY: docker-test
docker-test: ## Build both images, run them together, and measure them (needs a Docker engine)
	@scripts/images.sh

.PHONY: release
release: ## Build what a release publishes into dist/ (VERSION=v0.1.0)
	@scripts/release.sh $(VERSION)
