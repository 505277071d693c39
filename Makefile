# `make` lists the targets. PYTHON chooses the interpreter the environment is made with (3.11 or 3.12).
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DATA   ?= ../shared/data
STAMP  := $(VENV)/.installed
# The GPU check: the Python its wheels are for, and the one there that has torch.
GPU_PYTHON     ?= 3.12
GPU_PYTHON_BIN ?= python3
GPU_WHEELS     := .gpu-wheels
GPU_PACKAGES   := $(CURDIR)/.gpu-packages

.DEFAULT_GOAL := help
.PHONY: help setup run test test-slow lint format bench gpu-wheels gpu-check train-compact connect-compact constraints clean

help:            ## List the targets
	@grep -hE '^[a-z-]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

setup: $(STAMP)  ## Create the environment with every pinned dependency
$(STAMP): pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[clap,train,dev]'
	@touch $@

run: setup       ## Start the service with the sample gallery in it, at http://127.0.0.1:8080
	$(BIN)/isthmus demo

test: setup      ## Run the tests
	$(BIN)/python -m pytest -q

test-slow: setup ## Run the heavier checks too
	$(BIN)/python -m pytest -q -m 'slow or not slow'

lint: setup      ## Lint, types and import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup    ## Rewrite the sources in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup     ## Run every benchmark, quickly
	for file in benchmarks/[a-z]*.py; do $(BIN)/python $$file --quick; done

gpu-wheels:      ## Download what gpu-check needs on a machine without a network, for Python GPU_PYTHON
	$(PYTHON) benchmarks/gpu_check/wheels.py fetch $(GPU_WHEELS) --python $(GPU_PYTHON)

gpu-check:       ## Measure what only a GPU can tell, in eight minutes, with the torch of GPU_PYTHON_BIN
	$(GPU_PYTHON_BIN) benchmarks/gpu_check/wheels.py install $(GPU_WHEELS) $(GPU_PACKAGES)
	PYTHONPATH=$(GPU_PACKAGES) $(GPU_PYTHON_BIN) benchmarks/gpu.py --json

train-compact: setup  ## Train the compact bundle anew from DATA
	$(BIN)/python -m training.compact --data $(DATA) --output connectors/bundles/compact

connect-compact: setup  ## Make its connectors, curves and report anew; its encoders stay
	$(BIN)/python -m training.compact --data $(DATA) --output connectors/bundles/compact --connect

constraints:     ## Resolve every dependency anew into constraints.txt (needs uv)
	uv pip compile pyproject.toml --all-extras --python-version 3.11 --no-annotate --no-header \
		--constraint constraints.in -o constraints.txt

clean:           ## Remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
