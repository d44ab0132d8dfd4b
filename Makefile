# A fresh machine needs Python 3.11 and make; everything else goes into .venv.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## Celery chains completed by outside work, in about a minute (SERVE=1: you approve)
	$(BIN)/python -m examples.demo

test: $(VENV)/.dev ## The tests, on servers of their own; ARGS are handed to pytest
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.dev ## ruff, mypy, import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

clean: ## Remove the environment and what the tools leave behind
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* .hypothesis \
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
