# Short verbs; what they do stands in scripts/, images/ and servers/. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

MODULES := . images scripts/schemas servers/internal/scrub/gitleaks

# A setting of the environment, else of .env as compose reads it, else the default.
setting = $(or $($(1)),$(shell sed -n 's/^$(1)=//p' .env 2>/dev/null | tail -n 1),$(2))
export BULKHEAD_PORT := $(call setting,BULKHEAD_PORT,4000)
export BULKHEAD_SECRETS := $(call setting,BULKHEAD_SECRETS,./secrets)
export BULKHEAD_POLICY := $(call setting,BULKHEAD_POLICY,./agents/policy.yaml)
export BULKHEAD_LOCK := $(call setting,BULKHEAD_LOCK,./agents/tools.lock.json)
export BULKHEAD_WORKSPACE := $(call setting,BULKHEAD_WORKSPACE,./agents/workspace)
export BULKHEAD_POLICIES := $(call setting,BULKHEAD_POLICIES,./agents/policies)
export BULKHEAD_LOGS := $(call setting,BULKHEAD_LOGS,./agents/workspace/logs)
export BULKHEAD_LOG_SOURCES := $(call setting,BULKHEAD_LOG_SOURCES,./servers/logs/sources.yaml)
export EGRESS_POLICY := $(call setting,EGRESS_POLICY,./servers/egress/policy.yaml)
export RELEASE VERIFY_KEY MESSAGE MODEL MODEL_URL

# The toolchain of a release: another one makes other bits of the same source.
pinned-go = $(shell sed -n 's/^toolchain //p' go.mod)

.PHONY: help
help: ## list the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

.PHONY: up
up: needs-engine $(if $(RELEASE),secrets,images) ## start the bundle: built from here, or RELEASE=DIR [VERIFY_KEY=FILE], verified and by digest
	@scripts/up
	@scripts/endpoint

.PHONY: down
down: ## stop the bundle; the audit log stays (docker compose down --volumes removes it too)
	docker compose --profile '*' down

.PHONY: demo
demo: needs-engine secrets ## a story in a bundle of its own, without internet and without a model; JSON=1 for machines
	@cd images && go run . load >&2
	@go run ./servers/e2e/demo $(if $(JSON),-json)

.PHONY: agent
agent: needs-engine ## one turn of an agent in the bundle: NAME=image-linter MESSAGE='nginx:1.25' [MODEL=PROVIDER/MODEL] [MODEL_URL=…]; needs DOCKER_AGENT_IMAGE
	@scripts/agent "$(NAME)" "$$MESSAGE"

.PHONY: images
images: needs-engine secrets ## build every image into the engine, and tell compose their ids in .env
	@cd images && go run . load

.PHONY: release
release: export GOTOOLCHAIN = $(pinned-go)
release: ## make a release of this commit: REGISTRY=… [VERSION=…] [BASE=REF@DIGEST] [COSIGN_KEY=…]; without a key, by the workflow's identity
	@: $(or $(REGISTRY),$(error say where the images go: make release REGISTRY=ghcr.io/somebody/bulkhead))
	@scripts/images build $(if $(VERSION),--version "$(VERSION)") $(if $(BASE),--base "$(BASE)")
	@scripts/images publish --registry "$(REGISTRY)"
	@scripts/images sign $(if $(COSIGN_KEY),--key "$(COSIGN_KEY)")

.PHONY: verify-release
verify-release: ## rebuild RELEASE (default images/dist) from its commit, and compare every digest
	@scripts/images rebuild $(if $(RELEASE),--release "$(RELEASE)")

.PHONY: secrets
secrets: ## make the tokens that are missing
	@scripts/secrets

.PHONY: lock
lock: ## write agents/tools.lock.json from what the servers say of themselves; review the change
	@scripts/lock >agents/tools.lock.json.new && mv agents/tools.lock.json.new agents/tools.lock.json

.PHONY: schemas
schemas: ## write servers/kubernetes/schemas.txt from the modules of Kubernetes; review the change
	@cd scripts/schemas && go run .

.PHONY: test
test: ## all tests that this machine can run
	@scripts/test

.PHONY: prove
prove: needs-engine ## start a bundle of its own, attack it from inside and from outside, and print what it claims and what happened; FORMAT=json|markdown
	@go run ./servers/e2e/prove -format $(or $(FORMAT),text)

.PHONY: lint
lint: ## linters, and whether the lock file and go.mod are up to date
	@scripts/lint $(MODULES)

.PHONY: bench
bench: ## the pipeline beside bare mcp-go and net/http alone; scrub beside gitleaks; logs; terraform and kubernetes on what is large; every binary's start to first answer, and memory at rest
	@go test -run '^$$' -bench Pipeline -benchtime 1x ./servers/internal/mcpserver
	@go test -run '^$$' -bench . -benchtime 10x ./servers/internal/scrub
	@cd servers/internal/scrub/gitleaks && go test -run '^$$' -bench . -benchtime 10x .
	@go test -run '^$$' -bench Logs -benchtime 3x ./servers/logs -logs.bytes 1073741824
	@GOMAXPROCS=1 go test -run '^$$' -bench Estate -benchtime 5x ./servers/terraform
	@go test -run '^$$' -bench Manifests -benchtime 1x ./servers/e2e/processes
	@go test -run '^$$' -bench Processes -benchtime 1x ./servers/e2e/processes

.PHONY: bench-gateway
bench-gateway: ## a call through the gateway beside the direct call to the same server and a bare mcp-go proxy; a log of ten million records
	@go test -run '^$$' -bench Gateway -benchtime 1x ./servers/e2e/processes
	@go test -run '^$$' -bench Large -benchtime 1x ./servers/internal/audit -audit.records 10000000

.PHONY: bench-egress
bench-egress: ## what it costs to go through egress: streams against the same direct, connections, and the memory of idle tunnels
	@go test -run '^$$' -bench Egress -benchtime 1x ./servers/e2e/processes

.PHONY: conformance
conformance: ## the protocol's own conformance suite and inspector against every server; needs npm
	@scripts/conformance

.PHONY: soak
soak: ## what takes hours: SOAKCALLS (1000000) calls to one server, KILLS (1000) of who writes the audit log, a log of LOGBYTES (10 GiB), and fuzzing for FUZZTIME (10m; or a count, 2000x) each target
	go test -count=1 -v -timeout 2h -run '^TestSoak$$' ./servers/internal/mcpserver -soak-calls $(or $(SOAKCALLS),1000000)
	go test -count=1 -v -timeout 1h -run '^TestKill$$' ./servers/internal/audit -audit.kills $(or $(KILLS),1000)
	go test -count=1 -v -timeout 1h -run '^TestBigFile$$' ./servers/logs -logs.bytes $(or $(LOGBYTES),10737418240)
	@scripts/soak $(or $(FUZZTIME),10m)

.PHONY: needs-engine
needs-engine:
	@scripts/needs-engine
