# The only door: `make run` and `make test` work on a machine with Python 3.11 or newer and nothing else but make.
SHELL := /bin/sh
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
ARGS ?=
DATA_DIR ?= .data
SOAK_ROUNDS ?= 20
SOAK_SECONDS ?= 20

# the first Python >= 3.11 that can build a virtual environment; PYTHON=... overrides
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  command -v $$p >/dev/null 2>&1 && \
  $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)

# an environment of another checkout (a copied or moved folder) is built again
ifneq ($(shell cat $(VENV)/.home 2>/dev/null),$(CURDIR))
STALE := stale
endif

.PHONY: help setup setup-dev run test soak lint types bench bench-validation docs definitions package lock format e2e clean stale compiled
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' Makefile

setup: $(VENV)/.runtime compiled ## build .venv from the pinned requirements and install the server into it
setup-dev: $(VENV)/.dev compiled ## the same with the tools that tests and checks need

$(VENV)/.home: $(STALE)
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer with the venv module was found." \
	  "Install one (Debian, Ubuntu: apt install python3-venv) or name it: make PYTHON=/path/to/python3.11 setup" >&2; exit 1; }
	@echo "building $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv --clear $(VENV)
	@printf '%s' "$(CURDIR)" > $@

$(VENV)/.runtime: $(VENV)/.home requirements.txt pyproject.toml
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.txt
	@touch $@

# Compiled here so that no start pays for it, not even where Python may not write (PYTHONDONTWRITEBYTECODE).
compiled: $(VENV)/.runtime
	@$(PY) -m compileall -q fhirserver $(wildcard adapters)

run: setup ## start MongoDB and the server; a new data folder (DATA_DIR=.data) gets the demo clinic
	@exec $(BIN)/fhirserver serve --demo --data-dir "$(DATA_DIR)" $(ARGS)

test: setup-dev package ## run the tests (ARGS="-k patient" for some)
	@exec $(PY) -m pytest -n auto $(ARGS)

package: setup-dev
	@$(PY) -m tests.kit.package >/dev/null || test -z "$$CI$$FHIRSERVER_CI"

soak: setup-dev ## kill server and database under load, many times (SOAK_ROUNDS=20 SOAK_SECONDS=20)
	@SOAK_ROUNDS=$(SOAK_ROUNDS) SOAK_SECONDS=$(SOAK_SECONDS) $(PY) -m pytest -n 0 tests/e2e/test_audit_crash.py $(ARGS)

lint: setup-dev ## style, formatting and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache

types: setup-dev ## static types
	@$(BIN)/mypy

format: setup-dev ## mend what ruff can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup-dev ## measure against a server of its own; JSON in bench-results/
	@exec $(PY) -m tests.benchmarks $(ARGS)

bench-validation: setup-dev package ## measure validation beside fhir.resources (ratios within one run)
	@exec $(PY) -m tests.benchmarks.validation $(ARGS)

e2e: setup-dev package ## only the end-to-end tests
	@exec $(PY) -m pytest tests/e2e $(ARGS)

docs: setup ## write the generated reference pages again
	@$(PY) -m fhirserver.cli.reference docs/reference
	@$(PY) -m tests.conformance.coverage docs/reference

definitions: setup-dev ## distil the R4 definitions again into fhirserver/r4/tables
	@$(PY) -m fhirserver.r4.distil "$$($(PY) -m tests.kit.package)"

# Pins with the hashes of all platforms' files; no index and no host is written into the files.
COMPILE = $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-emit-index-url \
  --no-emit-trusted-host --no-emit-find-links --no-emit-options --extra embedded --extra build
lock: setup-dev ## resolve requirements*.txt again from pyproject.toml (ARGS=--upgrade for newer versions)
	@$(COMPILE) $(ARGS) -o requirements.txt pyproject.toml
	@$(COMPILE) $(ARGS) --extra dev -c requirements.txt -o requirements-dev.txt pyproject.toml
	@! grep -n '://' requirements.txt requirements-dev.txt

clean: ## remove the environment and caches, not the data folder
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
