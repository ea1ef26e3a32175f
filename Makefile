# ferry: `make` shows what there is to do.

GOOS     := $(shell go env GOOS)
GOARCH   := $(shell go env GOARCH)
VERSION  ?= v0.1.0
FUZZTIME ?= 1m
EXECUTOR := bin/executor_ferry_$(GOOS)_$(GOARCH)
SOURCE   := bin/source_ferry_$(GOOS)_$(GOARCH)

# The same flags everywhere: others would compile every dependency again.
BUILD := CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'
TOOL  := go tool -modfile=internal/tools/go.mod

# Packages whose tests start clusters. They take the whole machine, so one runs after another.
CLUSTERS := ./internal/testenv ./internal/testenv/fleet ./internal/testenv/truth ./internal/helm ./internal/cluster ./internal/layout ./cmd/ferry

.DEFAULT_GOAL := help
.PHONY: help build test test-short testenv soak bench measure replay lint fix generate demo pictures release

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the plugins, their index and the terminal program into bin/
	@mkdir -p bin
	@$(BUILD) -o $(EXECUTOR) ./cmd/executor/ferry
	@$(BUILD) -o $(SOURCE) ./cmd/source/ferry
	@$(BUILD) -o bin/ferry ./cmd/ferry
	@bin/ferry index build --binaries bin --url-base "file://$(CURDIR)/bin" --output bin/index.yaml

testenv: ## build Kubernetes, Flux and what else the tests and the demo run, once, into a cache
	@go run ./internal/testenv/build
	@go run ./internal/githubtest/fetch

test: testenv build ## run all tests, the fast ones first
	go vet ./...
	go test -short ./...
	go test -count=1 ./blueprints ./internal/app/config
	cd internal/hosttest && go test -count=1 ./...
	go test -count=1 ./internal/measure
	go test -count=1 -p 1 -timeout 15m $(CLUSTERS)

test-short: build ## run the tests that need no cluster
	go test -short ./...

soak: testenv build ## run what takes long: race detector, fuzzing (FUZZTIME=1m a target), clusters several times, all measures of the source
	go test -race -short ./...
	@set -e; grep -rl --include=*_test.go '^func Fuzz' internal blueprints | xargs -n1 dirname | sort -u | while read -r dir; do \
	  for target in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go | cut -c6-); do \
	    go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x ./$$dir; \
	  done; \
	done
	go test -count=3 -p 1 -timeout 60m $(CLUSTERS)
	$(MAKE) measure ARGS=-full

bench: testenv build ## measure, and print a table
	@go run ./internal/bench

measure: build ## measure the source against a GitHub stand-in with a faster clock, and print a table: ARGS='-full -seed 1 -only kills'
	@go run ./internal/githubtest/fetch
	@CGO_ENABLED=0 go build -trimpath -o bin/hub ./internal/githubtest/hub
	@cd internal/measure/peers && CGO_ENABLED=0 go build -trimpath -o ../../../bin/peers .
	@go run ./internal/measure $(ARGS)

replay: ## hold plans against what people did: REPO=DIR ROOTS='clusters/staging clusters/production' [LIMIT=commits] [SKIP=between]
	@go run ./internal/replay -repo '$(REPO)' -roots '$(ROOTS)' -limit $(or $(LIMIT),0) -skip $(or $(SKIP),0)

lint: ## check style and likely mistakes
	$(TOOL) golangci-lint run ./...

fix: ## format, and apply what the linter can mend
	go fix ./...
	$(TOOL) golangci-lint run --fix ./...

generate: ## write the blueprints' schema and the golden files again
	go test ./internal/blueprint ./blueprints -update
	cd internal/hosttest && go test -count=1 -run TestGolden . -update

demo: testenv build ## try ferry: two clusters with Flux, a repository, and a chat
	@bin/ferry demo

pictures: testenv build ## draw what the README shows again: Slack's blocks, and a conversation with the demo
	go test -count=1 -run TestWriteMessages ./blueprints
	cd internal/hosttest && go test -count=1 -run TestPictures . -update
	go run ./internal/pictures

release: ## build the release's files into dist/
	$(TOOL) goreleaser release --snapshot --clean
