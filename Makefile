# Headgate. `make help` lists the targets; `make demo` and `make test` need Python 3.11 to 3.13, make and git only.
SHELL := /bin/sh
VENV  := .venv/bin
SEEDS ?= 20000
KILLS ?= 30
UV    ?= uv
PEERS := $(or $(CONNECTOR_PEERS),$(CURDIR)/.venv-connector-peers)
# When make began: what it installs first is part of the time to the first result.
BEGAN := $(shell date +%s)
.DEFAULT_GOAL := help
.PHONY: help setup demo dev test lint types check simulate chaos fleet fuzz peers test-peers bench docs lock lock-jars clean

help: ## this list
	@if [ -t 1 ]; then bold='\033[1m' plain='\033[0m'; fi; \
	awk -F ':.*## ' -v b="$$bold" -v p="$$plain" '/^[a-z-]+:.*## / { printf "  %s%-10s%s %s\n", b, $$1, p, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.installed-embedded ## .venv with a working .venv/bin/headgate
	@:

demo: setup ## everything on this machine: a real Kafka, events, runs, results; CHECK=1 verifies and stops
	@DEMO_BEGAN=$(BEGAN) exec $(VENV)/python tools/demo.py $(if $(CHECK),--check)

dev: setup ## headgate dev on examples/webshop; PATHS=… for other workflows
	@exec $(VENV)/headgate dev $(or $(PATHS),examples/webshop)

test: check ## all checks and all tests
	@$(VENV)/python -m pytest $(ARGS)

peers: .venv/.installed-dev ## what connectors are tested against of others, as far as package registries have it
	@tools/connector_peers.sh $(ARGS)

test-peers: .venv/.installed-dev ## connectors against programs of others: installs them, says what cannot be had
	@tools/connector_peers.sh system && CONNECTOR_PEERS=$(PEERS) FEED_CORPUS=$(PEERS)/feeds/tests \
	$(VENV)/python -m pytest tests/peers $(ARGS)

check: lint types ## ruff, mypy, import contracts

lint: .venv/.installed-dev ## ruff and the import contracts
	@$(VENV)/ruff format --check --quiet . && $(VENV)/ruff check --quiet . && $(VENV)/lint-imports --no-cache --no-logo

types: .venv/.installed-dev ## mypy, strict
	@$(VENV)/mypy

simulate: .venv/.installed-dev ## seeded simulation of pump, engine and runtime; SEEDS=20000
	@$(VENV)/python -m tests.simulation --seeds $(SEEDS)

chaos: .venv/.installed-dev ## kill -9 of workers and broker under load, also at named points; KILLS=30 or MINUTES=15
	@$(VENV)/python -m tests.e2e.chaos $(if $(MINUTES),--minutes $(MINUTES),--kills $(KILLS)) $(ARGS)

fleet: .venv/.installed-dev ## kill -9 of processes of connectors of all kinds, frozen owners, a broker away; MINUTES=3
	@CONNECTOR_PEERS=$(PEERS) $(VENV)/python -m tests.e2e.fleet --minutes $(or $(MINUTES),3) $(ARGS)

fuzz: .venv/.installed-dev ## hostile inputs for all parsers of what strangers send; COUNT=1000000 SEED=1 ARGS="--only sse"
	@$(VENV)/python -m tests.fuzz --count $(or $(COUNT),1000000) --seed $(or $(SEED),1) $(ARGS)

bench: .venv/.installed-dev ## events to results, with peers in the same run; ARGS=all for all benchmarks, ARGS=--help says more
	@$(VENV)/python -m benchmarks $(ARGS)

docs: .venv/.installed-dev ## generate docs/reference from the code
	@$(VENV)/python tools/docs.py

lock: ## pin all dependencies anew with uv; commit the result
	@UV="$(UV)" tools/lock.sh

lock-jars: .venv/.installed-dev ## pin the jars of the embedded Kafka anew; commit the result
	@$(VENV)/python tools/jars.py

clean: ## remove the environment and all caches of the tools; data of `headgate dev` stays
	@rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

.venv/.installed-embedded: requirements-embedded.txt pyproject.toml tools/setup.sh
	@tools/setup.sh requirements-embedded.txt && touch $@

# The lock of development holds all of the other one.
.venv/.installed-dev: requirements-dev.txt pyproject.toml tools/setup.sh
	@tools/setup.sh requirements-dev.txt && touch $@ .venv/.installed-embedded
