# Short verbs; what they do stands in scripts/, images/ and servers/. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

COMPOSE := docker compose
MODULES := . images

.PHONY: help
help: ## list the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

.PHONY: up
up: needs-engine images ## build the images, make the secrets, start the bundle, and say how to reach it
	@$(COMPOSE) up --detach --wait --wait-timeout 90 || { $(COMPOSE) ps --all; $(COMPOSE) logs --tail 5; exit 1; }
	@scripts/endpoint

.PHONY: down
down: ## stop the bundle; the audit log stays (docker volume rm bulkhead_audit ends it)
	$(COMPOSE) down

.PHONY: demo
demo: ## show the running bundle at work, without internet and without a model
	@go run ./servers/e2e/demo

.PHONY: images
images: needs-engine secrets ## build every image into the engine, and tell compose their ids in .env
	@cd images && go run . load

.PHONY: secrets
secrets: ## make the tokens that are missing
	@scripts/secrets

.PHONY: lock
lock: ## write agents/tools.lock.json from what the servers say of themselves; review the change
	@scripts/lock >agents/tools.lock.json.new && mv agents/tools.lock.json.new agents/tools.lock.json

.PHONY: test
test: ## all tests that this machine can run
	@scripts/test

.PHONY: lint
lint: ## linters, and whether the lock file and go.mod are up to date
	@scripts/lint $(MODULES)

.PHONY: bench
bench: ## ratios, from one run: the pipeline beside bare mcp-go and net/http alone
	@go test -run '^$$' -bench Pipeline -benchtime 1x ./servers/internal/mcpserver

.PHONY: conformance
conformance: ## the protocol's own conformance suite and inspector against every server; needs npm
	@scripts/conformance

.PHONY: soak
soak: ## what takes long: SOAKCALLS calls to one server, and fuzzing for FUZZTIME each target
	go test -count=1 -v -timeout 2h -run '^TestSoak$$' ./servers/internal/mcpserver -soak-calls $(or $(SOAKCALLS),1000000)
	@scripts/soak $(or $(FUZZTIME),10m)

.PHONY: needs-engine
needs-engine:
	@scripts/needs-engine
