# Everything runs in .venv beside this file; nothing else on the machine is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PARALLEL ?= 2
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
LAB_SOURCES := $(wildcard labextension/src/*.ts* labextension/src/*/*.ts* labextension/widgets.mjs labextension/style/* labextension/schema/*)

.PHONY: help demo lab labextension test test-browser lint types check sentiment bench report clean \
  cluster-build cluster-up cluster-down test-cluster test-cluster-all demo-cluster demo-serve

help:  ## Print this list
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: $(VENV)/.demo  ## Install, then run the digits notebook as a pipeline on this machine (no cluster, no account)
	@echo "== examples/digits/digits.ipynb: the pipeline"
	$(BIN)/nbkube show examples/digits/digits.ipynb
	@echo "== running it: each step in a process of its own"
	$(BIN)/nbkube run examples/digits/digits.ipynb
	@echo "== the same in JupyterLab (needs node 20 once, to build the panel):  make lab"
	@echo "== run it again and nothing is executed:  $(BIN)/nbkube run examples/digits/digits.ipynb"

lab: $(VENV)/.lab nbkube/labextension/package.json  ## Start JupyterLab with the extension on the examples
	@mkdir -p $(VENV)/share/jupyter/labextensions
	@rm -rf $(VENV)/share/jupyter/labextensions/nbkube
	@ln -s $(CURDIR)/nbkube/labextension $(VENV)/share/jupyter/labextensions/nbkube
	$(BIN)/jupyter lab --ServerApp.root_dir=$(CURDIR)/examples $(LAB_ARGS)

labextension: nbkube/labextension/package.json  ## Build the JupyterLab extension (needs node 20 or newer)

nbkube/labextension/package.json: labextension/node_modules/.yarn-state.yml labextension/package.json labextension/tsconfig.json $(LAB_SOURCES)
	cd labextension && PATH="$(CURDIR)/$(BIN):$$PATH" jlpm build:prod
	@touch $@

labextension/node_modules/.yarn-state.yml: labextension/package.json labextension/yarn.lock | $(VENV)/.lab
	@command -v node >/dev/null || { echo "The panel in JupyterLab is built with node 20 or newer, which is not installed. All else works without it."; exit 1; }
	@echo "== fetching what the extension is built with: a few minutes, once (labextension/install.log)"
	cd labextension && PATH="$(CURDIR)/$(BIN):$$PATH" jlpm install --immutable > install.log
	@touch $@

test: $(VENV)/.test  ## Install what the tests need and run them all
	$(BIN)/python -m pytest -n $(PARALLEL) -m "not cluster" $(PYTEST_ARGS)

cluster-build: $(VENV)/.test  ## Build the Kubernetes test bench (Linux, root, Go; half an hour, once)
	$(BIN)/python -m tests.cluster build

cluster-up: $(VENV)/.test  ## Start the bench: a real node with registry, S3 servers and Argo
	$(BIN)/python -m tests.cluster up

cluster-down: $(VENV)/.test  ## Stop the bench and remove all it made
	$(BIN)/python -m tests.cluster down

test-cluster: $(VENV)/.test  ## Run the tests that need the bench; it is started, and stopped again if it was
	$(BIN)/python -m pytest -m "cluster and not slow and not faults" tests/cluster $(PYTEST_ARGS)

test-cluster-all: $(VENV)/.test  ## Run also those that take long or break parts of the bench (about an hour)
	$(BIN)/python -m pytest -m cluster tests/cluster $(PYTEST_ARGS)

demo-serve: $(VENV)/.serve  ## Run the digits notebook, serve the model it has made, ask it, measure it, stop it
	cd examples/digits && $(CURDIR)/$(BIN)/nbkube run digits.ipynb
	cd examples/digits && $(CURDIR)/$(BIN)/nbkube serve digits --detach
	cd examples/digits && $(CURDIR)/$(BIN)/nbkube predict digits
	cd examples/digits && $(CURDIR)/$(BIN)/nbkube endpoints bench digits --rate 100 --seconds 5
	@echo "== another split of the images makes version 2: a fifth of the requests for it, then back"
	cd examples/digits && $(CURDIR)/$(BIN)/nbkube run digits.ipynb -q -p seed=8
	cd examples/digits && $(CURDIR)/$(BIN)/nbkube endpoints canary digits 2 20
	cd examples/digits && $(CURDIR)/$(BIN)/nbkube endpoints rollback digits
	cd examples/digits && $(CURDIR)/$(BIN)/nbkube endpoints stop digits

demo-cluster: cluster-up  ## Run the digits notebook on the bench
	$(BIN)/python -m tests.cluster demo -- $(BIN)/nbkube run examples/digits/digits.ipynb --engine argo --profile bench

test-browser: $(VENV)/.test nbkube/labextension/package.json  ## Test the JupyterLab extension in Chromium
	NBKUBE_REQUIRE_BROWSER=1 $(BIN)/python -m pytest -m browser tests/browser $(PYTEST_ARGS)

test-faults: $(VENV)/.test  ## Kill, race, damage, fill the disk: up to 10 minutes; SOAK=1 does it at full size
	FAULTS=1 $(BIN)/python -m pytest -n $(PARALLEL) -m "faults and not cluster" $(PYTEST_ARGS)

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
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist labextension/lib labextension/node_modules nbkube/labextension

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "nbkube needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "== creating $(VENV)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --upgrade pip

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	@echo "== installing nbkube and what the examples use"
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[examples]'
	@touch $@

$(VENV)/.serve: pyproject.toml | $(VENV)/.demo
	@echo "== installing what serving uses"
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[examples,serve]'
	@touch $@

$(VENV)/.lab: pyproject.toml | $(VENV)/bin/python
	@echo "== installing nbkube, JupyterLab and what the examples use"
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[lab,examples]' 'jupyter-builder>=1.2,<2'
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	@echo "== installing nbkube and what the tests use (TensorFlow included: about 2 GB on disk)"
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[test]' 'jupyter-builder>=1.2,<2'
	@touch $@ $(VENV)/.demo $(VENV)/.lab $(VENV)/.serve
