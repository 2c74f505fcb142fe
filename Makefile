# Everything comes from the Go module proxy: only Go, make and a shell are needed.

SHELL   := /bin/sh
NODES   ?= 1
NAME    ?=
FUZZTIME ?= 10m
CHAOS   ?=
VERSIONS ?= 1.30 1.33 1.36@1.35 1.36 1.37
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
DATE    ?= $(shell git log -1 --format=%cI 2>/dev/null || echo unknown)

LDFLAGS       = -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)
CONTROLPLANE  = go -C test/controlplane run ./cmd/controlplane
GOLANGCI_LINT = go tool -modfile=$(CURDIR)/hack/tools/golangci-lint/go.mod golangci-lint
OAPI_CODEGEN  = go tool -modfile=$(CURDIR)/hack/tools/oapi-codegen/go.mod oapi-codegen

# The modules that hold code of this repository.
MODULES = . test test/controlplane hack/release

# What has no clock, no network and no terminal: quick enough for the race detector.
PURE = ./pkg/engine ./pkg/finalize ./pkg/offboard ./internal/console

# What takes longest of the end-to-end tests, the longest first. Each package is tested once.
LONGEST = ./e2e/unstick ./e2e/hibernate ./e2e ./e2e/console ./e2e/restore ./chaos

GOVULNCHECK = v1.9.0

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this help
	@awk 'BEGIN { FS = ":.*## " } /^[a-z0-9-]+:.*## / { printf "  %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/kubectl-castai
	CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o bin/kubectl-castai ./cmd/kubectl-castai

.PHONY: demo
demo: build living controlplane ## Fill a cluster with Cast AI, take it out again, and count
	@go -C test run ./demo

.PHONY: test
test: test-unit test-controlplane test-e2e test-samples ## Run all tests

.PHONY: test-unit
test-unit: ## Test the plugin's packages
	go test ./...
	@if command -v $$(go env CC) >/dev/null; then CGO_ENABLED=1 go test -race $(PURE); \
	else echo "The race detector needs a C compiler, and $$(go env CC) is not there: go test -race did not run."; fi

.PHONY: mutants
mutants: ## Break each safety rule and expect a unit test to go red (SAMPLE=5 SEED=7 for some of them)
	go run ./hack/mutants -sample=$(or $(SAMPLE),0) -seed=$(or $(SEED),1)

.PHONY: vulnerabilities
vulnerabilities: ## Look for known vulnerabilities in what the plugin calls
	go run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK) ./...

.PHONY: test-controlplane
test-controlplane: controlplane ## Test the control plane that the other tests run against
	go -C test/controlplane test -timeout 20m ./...

.PHONY: living
living: ## Build bin/castai-living, the controllers that live in tests
	CGO_ENABLED=0 go -C test build -trimpath -ldflags "-s -w" -o ../bin/castai-living ./living/cmd/living

.PHONY: alive
alive: build living controlplane ## Take a living Cast AI out at every moment of what goes on in it (ALIVE=all SEED=)
	ALIVE=$(or $(ALIVE),all) SEED=$(SEED) go -C test test -count=1 -v -timeout 6h ./e2e/alive

.PHONY: interference
interference: ## Make up what tenants and kubelets may write, for long (CASES=60 SEED=)
	FOOTPRINT_CASES=$(or $(CASES),60) FOOTPRINT_SEED=$(SEED) go test -count=1 -v -timeout 2h ./pkg/ownership -run TestNonInterference

.PHONY: attack
attack: build controlplane ## Let tenants, kubelets and a second person act during an offboarding (ATTACK=all SEED=)
	ATTACK=$(or $(ATTACK),all) SEED=$(SEED) go -C test test -count=1 -v -timeout 1h ./e2e/attack

.PHONY: test-e2e
test-e2e: build controlplane ## Test the built plugin against real control planes
	@# Three packages at a time: they wait more than they work. The longest begin first, so that none is left to the
	@# end alone. Of make alive and make attack there are samples.
	go -C test test -p 3 -timeout 30m $(LONGEST) $$(go -C test list ./... | grep -vE "/e2e/(alive|attack)")

.PHONY: test-samples
test-samples: build living controlplane ## Run one moment of make alive and three cases of make attack (SEED=)
	ALIVE=1 ATTACK=1 SEED=$(SEED) go -C test test -timeout 10m \
		-run 'TestInstalling$$|TestTenants$$|TestArrivals$$|TestForgedMark$$' ./e2e/alive ./e2e/attack

.PHONY: bench
bench: build living controlplane ## Measure speed side by side and write docs/benchmarks.md (half an hour and more)
	go -C test run ./bench

.PHONY: fuzz
fuzz: ## Fuzz each parser (FUZZTIME=10m)
	@grep -rlE '^func Fuzz' --include=*_test.go pkg internal | while read -r file; do \
	  for target in $$(sed -nE 's/^func (Fuzz[A-Za-z]+)\(.*/\1/p' $$file); do \
	    echo "fuzz $$target" && go test ./$$(dirname $$file) -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -parallel 1 || exit 1; \
	  done; \
	done

.PHONY: test-versions
test-versions: build living ## Run the demo and the end-to-end tests on several versions of Kubernetes (VERSIONS="1.30 1.36@1.35")
	go -C test run ./cmd/versions $(VERSIONS)

.PHONY: chaos
chaos: build controlplane ## Disturb offboardings in every way, and count (CHAOS="-samples=-1 -together=10": every fault at every request)
	@go -C test run ./cmd/chaos $(CHAOS)

.PHONY: chaos-all
chaos-all: build controlplane ## Try every fault at the console and every step of a pause
	CASTAI_CHAOS=all go -C test test -count=1 -timeout 90m ./console ./e2e/hibernate

.PHONY: lint
lint: ## Run the linters, look for files that are out of date, and check the commits
	@hack/commits.sh
	@for m in $(MODULES); do \
	  echo "lint $$m" && (cd $$m && $(GOLANGCI_LINT) run --allow-serial-runners --config $(CURDIR)/.golangci.yaml ./... && go mod tidy -diff) || exit 1; \
	done

.PHONY: generate
generate: ## Write the files that are made from others
	$(OAPI_CODEGEN) -config internal/castai/oapi-codegen.yaml -o internal/castai/api.gen.go internal/castai/openapi.yaml
	$(OAPI_CODEGEN) -config test/fakecastai/contract/oapi-codegen.yaml -o test/fakecastai/contract/server.gen.go internal/castai/openapi.yaml
	go -C test run ./cmd/schema ..
	go -C test run ./cmd/reference ..

.PHONY: pictures
pictures: build controlplane ## Draw what the plugin shows on a terminal, into docs/pictures
	go -C test run ./cmd/pictures ../bin ../docs/pictures

.PHONY: controlplane
controlplane: ## Build the binaries of the control plane, unless they are cached
	@$(CONTROLPLANE) build

.PHONY: cluster
cluster: ## Start a cluster and leave it running (NAME=castai-test NODES=1)
	@$(CONTROLPLANE) up --nodes=$(NODES) $(NAME)

.PHONY: cluster-list
cluster-list: ## List the clusters that are running
	@$(CONTROLPLANE) list

.PHONY: cluster-down
cluster-down: ## Stop a cluster and remove its data (NAME=..., or all of them)
	@$(CONTROLPLANE) down $(or $(NAME),--all)

.PHONY: fakecastai
fakecastai: ## Run a stand-in of the Cast AI API (FAKE="--kubeconfig=... --delay=2s")
	go -C test run ./fakecastai/cmd/fakecastai $(FAKE)

.PHONY: dist
dist: ## Build a release into dist/, without publishing it, and measure it
	hack/snapshot.sh
	@$(MAKE) --no-print-directory krew-local
	@bin/release measure dist

.PHONY: krew-local
krew-local: ## Make a krew manifest of the archives in dist/, and show how to install it
	@go build -C hack/release -o ../../bin/release .
	@manifest=$$(bin/release krew krew/castai.yaml dist) && \
	  echo "kubectl krew install --manifest=$$manifest --archive=$$(ls dist/*_$$(go env GOOS)_$$(go env GOARCH).*[zp])"

.PHONY: dist-check
dist-check: controlplane dist ## Install the archives as krew does, run one through kubectl, and build all again elsewhere
	go -C hack/release test -tags=dist -count=1 ./...
	hack/reproducible.sh

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin dist coverage.out
