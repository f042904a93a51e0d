# Everything works from a fresh clone on a machine with Python 3.11+ and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# Tests start hundreds of Python processes: what is compiled once is kept, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup drill test test-slowest test-quick chaos exhaustive detection check audit format docs site lockmap up down bench bench-quick clean

help:  ## Show the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## Make the virtual environment and install (skipped when nothing changed).

# Only a change of what is installed installs again; the code itself is used from where it lies.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Squizzle needs Python 3.11 or newer; run make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing (once; the next time starts at once) ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

SCENARIO ?= all
SCALE    ?= 1

drill: $(STAMP)  ## Play every disaster on an embedded PostgreSQL and recover from it (SCENARIO=..., SCALE=...).
	@$(BIN)/squizzle drill --scenario $(SCENARIO) --scale $(SCALE)

# Three processes, a file each at a time: servers and files are theirs alone. Two processors have time for the third one while
# the others wait for servers and clocks.
# In the order of folders, so that the slow drills come first and neither waits for them at the end.
test: $(STAMP)  ## Run all tests.
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-slowest: $(STAMP)  ## Run all tests and list the slowest (tests/README.md).
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --durations=40

test-quick: $(STAMP)  ## Run the tests that need no server.
	@$(BIN)/python -m pytest tests/unit

SEED ?=

chaos: $(STAMP)  ## Kill, break and damage everywhere, and write docs/reliability.md: 20 minutes (SEED=... repeats a run).
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED))

exhaustive: $(STAMP)  ## Every change and its way back, every server, every planted defect: minutes (tests/README.md).
	@$(BIN)/python -m pytest -m exhaustive --durations=10 tests/integration tests/flows tests/browser

detection: $(STAMP)  ## Plant every defect alone in a rehearsal, and write docs/detection.md.
	@$(BIN)/python -m pytest -m exhaustive tests/integration/rehearsal/test_planted_defects.py

check: $(STAMP)  ## ruff, mypy, import-linter, codespell, licences.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/codespell
	@$(BIN)/python -m dependencies

audit: $(STAMP)  ## Ask whether anybody has warned of what is installed; says so where no service is reached.
	@$(BIN)/python -m dependencies.advisories $(VENV)/audit

format: $(STAMP)  ## Format the code.
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(STAMP)  ## Render the pages that come from the code: rules, settings, command line, blocks, deployments.
	@$(BIN)/python -m handbook

site: $(STAMP)  ## Build docs/ as a site in build/site; a link between pages that leads nowhere is an error.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt sphinx myst-parser furo
	@$(BIN)/sphinx-build -q -W --keep-going -d build/doctrees docs build/site && echo "build/site/index.html"

lockmap: $(STAMP)  ## Measure which locks PostgreSQL takes, on every server at hand (docs/lock-map.md).
	@$(BIN)/python -m lockmap

up: $(STAMP)  ## Start PostgreSQL with a fleet, Prefect with its UI and a worker, and deploy everything (docs/tour.md).
	@$(BIN)/python -m sandbox up

down: $(STAMP)  ## Stop exactly what `make up` started.
	@$(BIN)/python -m sandbox down

bench: $(STAMP)  ## Run the benchmarks on a quiet machine, and write docs/benchmarks.md: at most 30 minutes.
	@$(BIN)/python -m bench --publish

bench-quick: $(STAMP)  ## Run the benchmarks in small, to see that they run: 3 minutes (page in .squizzle/bench).
	@$(BIN)/python -m bench --quick --into .squizzle/bench

clean:  ## Remove the virtual environment and what drills left here (not the embedded servers' folder).
	rm -rf $(VENV) .squizzle build *.egg-info
