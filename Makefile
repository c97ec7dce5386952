# Everything happens in .venv, which the first command makes; PYTHON chooses the interpreter it is made with.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Many tests wait for what takes its time, so one more than there are processors.
WORKERS ?= $(shell n=$$(nproc); echo $$((n < 4 ? n + 1 : 4)))
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help run test demo lint types check bench soak clean

help: ## show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 16

run: $(VENV)/.installed ## install and run the host (ARGS="-c supervisor.ini")
	$(BIN)/zapvisor run $(ARGS)

test: $(VENV)/.test ## install and run all tests
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)

demo: $(VENV)/.test ## a host and three instances on a WhatsApp of this machine's own (ARGS=--once ends by itself)
	$(BIN)/python -m tests.demo $(ARGS)

check: lint types ## lint, format and types

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

bench: $(VENV)/.test ## measure, each figure beside its baseline
	$(BIN)/python -m bench $(ARGS)

soak: $(VENV)/.test ## random faults for ten minutes: nothing lost, nothing leaked (ARGS="--instances 200 --minutes 60")
	$(BIN)/python -m bench.soak $(ARGS)

clean: ## remove the environment and what tools left behind
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml
	$(PIP) install --editable .
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml
	$(PIP) install --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.dev: $(BIN)/python pyproject.toml
	$(PIP) install --editable '.[dev]'
	@touch $@ $(VENV)/.test $(VENV)/.installed
