# Two commands matter: `make demo` (see it work) and `make test` (run everything). Both do all of the set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# How many run tests at the same time; auto: one more than there are cores, but not many (tests/conftest.py).
WORKERS ?= auto

.DEFAULT_GOAL := help
.PHONY: help demo test check bench bench-short container soak fuzz golden format clean

help:  ## List the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

$(BIN)/python:
	@deploy/packages python
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml
	@echo "installing modicum into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[agent,broker,collector,export,review,dev]'
	@touch $@

demo: $(VENV)/.installed  ## Record a desktop for a minute, send it, archive it, read it back
	@deploy/packages demo
	@$(BIN)/python -m benches.demo

test: $(VENV)/.installed  ## Run all tests (installs Xvfb, mosquitto, ... when it may)
	@deploy/packages test
	@$(BIN)/python -m pytest -n $(WORKERS)

check: $(VENV)/.installed  ## ruff and mypy --strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(VENV)/.installed  ## Measure events, screens, the budget and the collector against their peers (some minutes)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@$(BIN)/python -m benches.events
	@$(BIN)/python -m benches.screens
	@$(BIN)/python -m benches.budget --households 200
	@$(BIN)/python -m benches.transport

bench-short: $(VENV)/.installed  ## A short form of each bench, held against benches/baseline.json
	@deploy/packages test
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench,portable]'
	@$(BIN)/python -m benches.short --check --out build/benches

container: $(VENV)/.installed  ## Build the collector's container with podman, and have it archive a real agent's chunk
	@deploy/packages test
	@podman build -f deploy/collector/Containerfile -t modicum-collector .
	@MODICUM_CONTAINER=podman $(BIN)/python -m pytest tests/integration/test_container.py

soak: $(VENV)/.installed  ## An hour of recording: memory, descriptors and threads stay flat; longer forms of other tests
	@deploy/packages test
	@MODICUM_SOAK=4 MODICUM_SOAK_S=3600 $(BIN)/python -m pytest -s tests/integration/test_soak.py \
		tests/integration/test_agent_daemons.py tests/transport/test_spool_model.py

fuzz: $(VENV)/.installed  ## Fuzz every decoder for ten minutes each
	@$(BIN)/python -m tests.fuzz.run all --seconds 600 --corpus .fuzz

golden: $(VENV)/.installed  ## Write the golden vectors of a new format version
	@$(BIN)/python -m tests.golden.write

format: $(VENV)/.installed  ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:  ## Remove what the commands above made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
