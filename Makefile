# Everything a person or a machine does with sipkit, one line each. Needs only Python 3.11 to 3.13 and make.
.DEFAULT_GOAL := help
.PHONY: help lab demo test lint nbval notebooks bench soak live-check clean

# The first Python of a supported version; `make PYTHON=... lab` decides otherwise.
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,\
	$(shell $(p) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) and print("$(p)")' 2>/dev/null)))
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=
# Browsers and measurements take all of two cores; of the other tests many wait, so there is a third process for them.
IN_TIME := tests/browser tests/test_bench.py
TESTED = $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder --durations=10
# What pytest says of a part in which no test was chosen (ARGS="-k pins").
NONE := 5
# In a container one is root, and JupyterLab wants to be told that this is meant.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

# Only `make lab` and `make live-check` may talk to Vonage. Whatever .env says, no other target can place a call
# that costs money.
demo test nbval notebooks bench soak: export SIPKIT_MODE := sandbox
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

lab: $(READY) ## open JupyterLab on the first lesson (ARGS=--no-browser is handed on)
	$(BIN)/jupyter lab $(AS_ROOT) --LabApp.default_url=/lab/tree/notebooks/00-check-your-setup.ipynb $(ARGS)

demo: $(READY) ## the whole call without a browser, each step proven, then the measured figures
	$(BIN)/sipkit demo $(ARGS)

test: $(READY) ## lint, types and walls beside strict nbval of all lessons, then every test
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint nbval
	$(TESTED) -n 2 $(IN_TIME) $(ARGS) || [ $$? -eq $(NONE) ]
	$(TESTED) -n 3 $(IN_TIME:%=--ignore=%) $(ARGS) || [ $$? -eq $(NONE) ]

nbval: $(READY) ## run every lesson and compare what it shows with what is stored
	$(BIN)/python -m pytest -n 2 --dist loadscope --nbval --nbval-current-env --nbval-cell-timeout=60 \
		--nbval-sanitize-with=tests/nbval_sanitize.cfg notebooks

lint: $(READY) ## ruff, format, mypy --strict and the walls
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

notebooks: $(READY) ## run every lesson and store its outputs, in the one way that reviews well
	$(BIN)/python tools/build_notebooks.py $(ARGS)

bench: $(READY) ## measure the figures the README states (some minutes)
	$(BIN)/python bench/run.py $(ARGS)

soak: $(READY) ## kill -9 under load and strange requests, by the thousand (some minutes; not part of test)
	$(BIN)/python soak/kills.py
	$(BIN)/python soak/fuzz.py

live-check: $(READY) ## the doctor, then one short call with whatever .env holds; live it asks first, and is billed
	$(BIN)/python -m sipkit.live_check

clean: ## remove .venv, the data folder and caches (a data folder in use stays)
	@for state in .sipkit/server.json .sipkit/sandbox/sandbox.json; do \
		pid=$$(sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' "$$state" 2>/dev/null); \
		if [ -n "$$pid" ] && kill -0 "$$pid" 2>/dev/null; then \
			echo ".sipkit stays: process $$pid uses it. Shut the notebooks down, then make clean again."; keep=1; \
		fi; \
	done; [ -n "$$keep" ] || rm -rf .sipkit
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	find . -name __pycache__ -prune -exec rm -rf {} + -o -name .ipynb_checkpoints -prune -exec rm -rf {} +

# The build backend is installed first and pinned too, so that nothing is ever built with an unknown version.
$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "sipkit needs Python 3.11, 3.12 or 3.13: install one, or say make PYTHON=/path/to/it"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "This Python cannot make environments; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet -c constraints.txt pip hatchling editables
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation -e '.[test]'
	@touch $@
