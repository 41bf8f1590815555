# Everything runs in .venv beside this file; nothing else on the machine is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PARALLEL ?= 2
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint types check sentiment bench report clean \
  cluster-build cluster-up cluster-down test-cluster demo-cluster

help:  ## Print this list
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: $(VENV)/.demo  ## Install, then run the digits notebook as a pipeline on this machine (no cluster, no account)
	@echo "== examples/digits/digits.ipynb: the pipeline"
	$(BIN)/nbkube show examples/digits/digits.ipynb
	@echo "== running it: each step in a process of its own"
	$(BIN)/nbkube run examples/digits/digits.ipynb
	@echo "== run it again and nothing is executed:  $(BIN)/nbkube run examples/digits/digits.ipynb"

test: $(VENV)/.test  ## Install what the tests need and run them all
	$(BIN)/python -m pytest -n $(PARALLEL) -m "not cluster" $(PYTEST_ARGS)

cluster-build: $(VENV)/.test  ## Build the Kubernetes test bench (Linux, root, Go; half an hour, once)
	$(BIN)/python -m tests.cluster build

cluster-up: $(VENV)/.test  ## Start the bench: a real node with registry, S3 servers and Argo
	$(BIN)/python -m tests.cluster up

cluster-down: $(VENV)/.test  ## Stop the bench and remove all it made
	$(BIN)/python -m tests.cluster down

test-cluster: $(VENV)/.test  ## Run the tests that need the bench; it is started, and stopped again if it was
	$(BIN)/python -m pytest -m cluster tests/cluster $(PYTEST_ARGS)

demo-cluster: cluster-up  ## Run the digits notebook on the bench
	$(BIN)/python -m tests.cluster demo -- $(BIN)/nbkube run examples/digits/digits.ipynb --engine argo --profile bench

lint: $(VENV)/.test  ## Style, formatting and the order of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.test  ## Check the types of the package and of its tests
	$(BIN)/mypy

check: lint types test  ## lint, types and test

sentiment: $(VENV)/.test  ## Train on all 50,000 movie reviews; needs DATA=folder-or-file-with-aclImdb_v1.tar.gz
	$(BIN)/python -m tests.benchmarks.sentiment $(DATA)

bench: $(VENV)/.test  ## Run the benchmarks and print medians and ratios
	$(BIN)/python -m tests.benchmarks

clean:  ## Remove the virtual environment and caches of the tools
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "nbkube needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "== creating $(VENV)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --upgrade pip

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	@echo "== installing nbkube and what the examples use"
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[examples]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	@echo "== installing nbkube and what the tests use (TensorFlow included: about 2 GB on disk)"
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[test]'
	@touch $@ $(VENV)/.demo
