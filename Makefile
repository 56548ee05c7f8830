# Shortcuts. All targets work in .venv, which is made again when it is missing or out of date.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
STORE ?= $(MLFLOW_TRACKING_URI)
REAL_STORE := sqlite:///real/mlflow.db
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := true
export NO_ALBUMENTATIONS_UPDATE := 1
export PYTHONDONTWRITEBYTECODE :=  # else each process of the tests compiles them, and this project, again

# A folder that was moved or copied has an environment whose scripts still run the code of the old place.
MADE_IN := $(shell cat $(READY) 2>/dev/null)
ifneq ($(MADE_IN),)
ifneq ($(MADE_IN),$(CURDIR))
.PHONY: $(READY)
endif
endif

.PHONY: help setup demo test test-all lint format gpu-check real ui clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(READY): pyproject.toml requirements.txt python_env.yaml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { version="$$($(PYTHON) --version 2>/dev/null)"; echo "expected Python 3.11 or newer, but $(PYTHON) is $${version:-not installed}; name one that is: make PYTHON=<interpreter> setup"; exit 2; }
	@made_in="$$(cat $@ 2>/dev/null)"; if [ -n "$$made_in" ] && [ "$$made_in" != "$(CURDIR)" ]; then rm -rf .venv; fi
	@echo "making the environment in .venv: a few minutes and about 7 GB, once"
	@quiet="$$(test -t 2 || echo --quiet)"; \
	if command -v uv >/dev/null; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) .venv && uv pip install $$quiet --compile-bytecode --python $(BIN)/python -e '.[dev]'; \
	else \
	  $(PYTHON) -m venv .venv && { $(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip || true; } \
	  && $(BIN)/python -m pip install $$quiet --disable-pip-version-check --no-compile -e '.[dev]' \
	  && echo "compiling what was installed: half a minute" && { $(BIN)/python -m compileall -q -j 0 -x '/tests?/' .venv/lib > /dev/null || true; }; \
	fi
	@$(BIN)/python tools/link_environment.py || true
	@echo "$(CURDIR)" > $@

setup: $(READY) ## make the environment in .venv

demo: $(READY) ## run the whole study on generated data and print the report
	@source $(BIN)/activate && if python tools/link_environment.py; then mlflow run .; else mlflow run . --env-manager local; fi
	@echo "Compare the runs: make ui, or make ui PORT=5001"

test: $(READY) ## run the fast tests, one process per core: two to three minutes on two
	@$(BIN)/python -m pytest -q -m "not slow and not long" -n auto --dist loadscope --no-loadscope-reorder

test-all: $(READY) ## lint, and run every test in three processes; those on real images need MEDTRANSFER_REALDATA=<folder>
	@log="$$(mktemp)"; $(MAKE) --no-print-directory lint > "$$log" 2>&1 & lint=$$!; \
	$(BIN)/python -m pytest -q --durations=20 -n 3 --dist loadscope --no-loadscope-reorder; tested=$$?; \
	wait $$lint; linted=$$?; cat "$$log"; rm "$$log"; exit $$((tested || linted))

lint: $(READY) ## ruff, mypy and the import layers
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && PYTHONPATH=src $(BIN)/lint-imports --no-cache

format: $(READY) ## format, and fix what ruff can fix
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

gpu-check: $(READY) ## check training and scoring on this machine's GPU: correctness and speed, as a table and gpu-check.json
	@PYTHONPATH=src $(BIN)/python benchmarks/gpu.py --out gpu-check.json

real: ## run the study on real images: make real REALDATA=<folder with acdc, covid_qu_ex, idrid, imagenette>
	@test -n "$(REALDATA)" || { echo "expected REALDATA=<folder with acdc, covid_qu_ex, idrid and imagenette>; see docs/how-to/real-data.md"; exit 2; }
	@$(MAKE) --no-print-directory $(READY) && mkdir -p real
	@REALDATA="$$(realpath "$(REALDATA)")" MLFLOW_TRACKING_URI=$(REAL_STORE) $(BIN)/medtransfer demo --params configs/real.yaml
	@echo "Compare the runs: make ui STORE=$(REAL_STORE)"

ui: $(READY) ## open the tracking store in the MLflow UI, on this machine only: make ui PORT=5001 STORE=sqlite:///real/mlflow.db
	@MLFLOW_TRACKING_URI="$(STORE)" $(BIN)/medtransfer ui $(if $(PORT),--port $(PORT)) || { ended=$$?; [ $$ended -eq 130 ] || exit $$ended; }

clean: ## remove caches; data, checkpoints and the store are kept
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info && find src tests -name __pycache__ -prune -exec rm -rf {} +
