# Two commands on a bare machine: `make run` and `make test`. Locked versions; nothing is set up twice.
#
#   make run HARNESS=other.yaml ARGS="--trials 1" EXTRAS="anthropic openai"

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test test-fast test-nightly browser publish-servers lint bench faults hostile hosts clean

HARNESS ?= harness.yaml
ARGS ?=
EXTRAS ?=

BIN := .venv/bin
# A stamp is newer than the lock when the environment holds what the lock says. One for each set of extras.
RUN_ENV := .venv/.run$(subst $(eval ) ,,$(addprefix -,$(sort $(EXTRAS))))
TEST_ENV := .venv/.test
# `make run` only adds (--inexact), so that it takes nothing away from `make test`.
RUN_SYNC := --inexact --no-dev $(addprefix --extra ,$(EXTRAS)) $(if $(filter local,$(EXTRAS)),--group weights)
TEST_SYNC := --inexact --extra local --extra openai --extra anthropic

# They mostly wait, so that three at once share two cores; those that need the machine to themselves come last.
DOCKER_TESTS := $(filter-out tests/unit/ tests/publish/ tests/sinks/ tests/bench/ tests/cgroup2/,$(sort $(dir $(wildcard tests/*/test_*.py))))

# The user's uv, else one of our own: the versions are the lock's either way.
define SYNC
uv=uv; \
if ! uv --version >/dev/null 2>&1; then \
  uv=.cache/uv/bin/uv; \
  if ! $$uv --version >/dev/null 2>&1; then \
    for python in python3 python3.14 python3.13 python3.12 python3.11 none; do \
      $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
    done; \
    if [ "$$python" = none ]; then \
      echo "error: no Python 3.11 or newer, and no uv; install one: https://docs.astral.sh/uv/" >&2; exit 4; \
    fi; \
    $$python -m venv .cache/uv || { echo "error: install python3-venv, or uv" >&2; exit 4; }; \
    .cache/uv/bin/pip install -q --disable-pip-version-check 'uv>=0.9'; \
  fi; \
fi; \
$$uv sync -q --frozen
endef

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' Makefile | sed -E 's/:[^#]*## */\t/' | expand -t 15

$(RUN_ENV): pyproject.toml uv.lock
	@echo "environment: installing the locked packages into .venv"
	@$(SYNC) $(RUN_SYNC)
	@touch $@

$(TEST_ENV): pyproject.toml uv.lock
	@echo "environment: installing the locked packages and the development tools into .venv"
	@$(SYNC) $(TEST_SYNC)
	@touch $@ .venv/.run

run: $(RUN_ENV) ## set up what is missing, then run HARNESS (default harness.yaml) with ARGS
	@$(BIN)/bakeoff setup $(HARNESS)
	@$(BIN)/bakeoff run $(HARNESS) $(ARGS)

test: $(TEST_ENV) ## every test; starts Docker where none answers
	@$(BIN)/bakeoff setup
	$(BIN)/pytest tests/unit --numprocesses 3 $(ARGS)
	$(BIN)/pytest tests/publish tests/sinks --numprocesses 3 --dist loadfile $(ARGS)
	$(BIN)/pytest $(DOCKER_TESTS) -m "not alone and not nightly" --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)
	$(BIN)/pytest $(DOCKER_TESTS) -m alone $(ARGS)

test-fast: $(TEST_ENV) ## the fast tests that need no Docker, in under a minute
	$(BIN)/pytest tests/unit -m "not docker and not slow" --numprocesses 2 $(ARGS)

test-nightly: $(TEST_ENV) ## the tests that wait for ten minutes
	@$(BIN)/bakeoff setup
	$(BIN)/pytest $(DOCKER_TESTS) -m nightly $(ARGS)

test-cgroup2: $(TEST_ENV) ## faults and limits on cgroup v2 (CGROUPS=1: v1), also under systemd and without root, in emulated machines
	@$(BIN)/bakeoff setup
	$(BIN)/pytest tests/cgroup2 $(ARGS)

browser: ## Chromium for the tests of report.html, which skip without it, and in CI fail
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { \
	  echo "browser: installing chromium"; apt-get -qq update; \
	  DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends chromium >/dev/null; \
	}

publish-servers: $(TEST_ENV) ## MLflow and Phoenix for the tests of publishing, which make them too when they are missing
	@$(BIN)/python -m tests.publish.servers

lint: $(TEST_ENV) ## ruff, mypy, and which room may import which
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(TEST_ENV) ## what a trial costs beside a bare `docker run`
	@$(BIN)/bakeoff setup
	$(BIN)/python -m tests.bench.bench $(ARGS)

faults: $(TEST_ENV) ## every fault, ten times each, for real: the confusion table; 1 when any is blamed wrongly
	@$(BIN)/bakeoff setup
	$(BIN)/python -m tests.faults.campaign $(ARGS)

hostile: $(TEST_ENV) ## every hostile deed, for real, beside honest neighbours; 1 when one gained, harmed or was not contained
	@$(BIN)/bakeoff setup
	$(BIN)/python -m tests.hostile.campaign $(ARGS)

hosts: $(TEST_ENV) ## every engine that people have, for real: the table engine x check; 1 when one does not hold
	@$(BIN)/bakeoff setup
	$(BIN)/python -m tests.hosts.campaign $(ARGS)

clean: ## the environment and caches here; run directories stay
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
