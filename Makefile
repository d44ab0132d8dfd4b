# A fresh machine needs Python 3.11 and make; everything else goes into .venv.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

# The oldest Celery that is supported, in an environment of its own.
OLDEST := 5.6
OLDEST_VENV := .venv-celery-$(OLDEST)
PEERS := tests/benchmarks/peers
PEERS_VENV := .venv-peers
# What touches Celery, with a worker. (None of it needs Hypothesis, which its plugin loads last.)
OLDEST_TESTS := $(foreach t,hooks park signals attempts timeouts ends eager,tests/test_$(t).py) \
	-k 'not thousand' -p no:hypothesispytest

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-oldest soak bench bench-peers lint clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## Celery chains completed by outside work, in about a minute (SERVE=1: you approve)
	$(BIN)/python -m examples.demo

test: $(VENV)/.dev ## Every test, on servers of its own, in two processes; ARGS are handed to pytest
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

test-oldest: $(OLDEST_VENV)/.dev ## What touches Celery, with the oldest Celery that is supported
	$(OLDEST_VENV)/bin/python -m pytest $(OLDEST_TESTS)

soak: $(VENV)/.dev ## Kills and restarts everything for MINUTES=10, then a ledger of every job (SEED repeats)
	$(BIN)/python -m tests.soak $(or $(MINUTES),10) $(SEED)

bench: $(VENV)/.dev ## What things cost, measured side by side (SIZE=10m; ARGS name one, or --help)
	$(BIN)/python -m tests.benchmarks $(if $(SIZE),--size $(SIZE)) $(ARGS)

bench-peers: $(VENV)/.dev $(PEERS_VENV)/.installed ## What peers take for the same, beside us; ARGS=--help
	$(BIN)/python -m tests.benchmarks.peers $(ARGS)

lint: $(VENV)/.dev ## ruff, mypy, import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

clean: ## Remove the environment and what the tools leave behind
	rm -rf $(VENV) $(OLDEST_VENV) $(PEERS_VENV) build dist htmlcov .coverage .coverage.* .hypothesis \
		.import_linter_cache .mypy_cache .pytest_cache .ruff_cache

# pip knows dependency groups from 25.1 on, which is newer than Python 3.11's own.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable . --group demo
	touch $@

# The dev group includes the demo's.
$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $(VENV)/.demo $@

$(OLDEST_VENV)/.dev: pyproject.toml
	$(PYTHON) -m venv $(OLDEST_VENV)
	$(OLDEST_VENV)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(OLDEST_VENV)/bin/python -m pip install --quiet --editable . --group test 'celery==$(OLDEST).*'
	touch $@

# What cannot be installed is told and left out.
$(PEERS_VENV)/.installed: $(PEERS)/requirements.txt $(PEERS)/package.json $(PEERS)/installing.py
	$(PYTHON) -m venv $(PEERS_VENV)
	$(PEERS_VENV)/bin/python $(PEERS)/installing.py $(PEERS_VENV)
	touch $@
