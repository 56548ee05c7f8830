# Shortcuts. All targets work in .venv, which is made again when it is missing or out of date.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
STORE ?= sqlite:///$(CURDIR)/mlflow.db
REAL_STORE := sqlite:///$(CURDIR)/real/mlflow.db
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := true
export NO_ALBUMENTATIONS_UPDATE := 1

.PHONY: help setup demo test test-all lint format real ui clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(READY): pyproject.toml requirements.txt python_env.yaml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { version="$$($(PYTHON) --version 2>/dev/null)"; echo "expected Python 3.11 or newer, but $(PYTHON) is $${version:-not installed}; name one that is: make PYTHON=<interpreter> setup"; exit 2; }
	@echo "making the environment in .venv: a few minutes and about 7 GB, once"
	@if command -v uv >/dev/null; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) .venv && uv pip install --quiet --compile-bytecode --python $(BIN)/python -e '.[dev]'; \
	else \
	  $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'; \
	fi
	@$(BIN)/python tools/link_environment.py || true
	@touch $@

setup: $(READY) ## make the environment in .venv

demo: $(READY) ## run the whole study on generated data and print the report
	@source $(BIN)/activate && if python tools/link_environment.py; then mlflow run .; else mlflow run . --env-manager local; fi
	@echo "Compare the runs: make ui, then open http://127.0.0.1:5000/#/experiments?workflowType=machine_learning"

test: $(READY) ## run the fast tests
	@$(BIN)/python -m pytest -q -m "not slow" -n 2 --dist loadscope

test-all: $(READY) lint ## lint, and run every test in two processes; those on real images need MEDTRANSFER_REALDATA=<folder>
	@$(BIN)/python -m pytest -q --durations=15 -n 2 --dist loadscope --no-loadscope-reorder

lint: $(READY) ## ruff, mypy and the import layers
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && PYTHONPATH=src $(BIN)/lint-imports --no-cache

format: $(READY) ## format, and fix what ruff can fix
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

real: ## run the study on real images: make real REALDATA=<folder with acdc, covid_qu_ex, idrid, imagenette>
	@test -n "$(REALDATA)" || { echo "expected REALDATA=<folder with acdc, covid_qu_ex, idrid and imagenette>; see docs/how-to/real-data.md"; exit 2; }
	@$(MAKE) --no-print-directory $(READY) && mkdir -p real
	@REALDATA="$(abspath $(REALDATA))" MLFLOW_TRACKING_URI=$(REAL_STORE) $(BIN)/medtransfer demo --params configs/real.yaml
	@echo "Compare the runs: make ui STORE=$(REAL_STORE), then open http://127.0.0.1:5000/#/experiments?workflowType=machine_learning"

ui: $(READY) ## open the embedded store in the MLflow UI, on this machine only
	@$(BIN)/mlflow ui --host 127.0.0.1 --port 5000 --backend-store-uri $(STORE)

clean: ## remove caches; data, checkpoints and the store are kept
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info && find src tests -name __pycache__ -prune -exec rm -rf {} +
