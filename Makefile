# ClubOS Booking. `make demo` and `make test` need nothing but Python 3.11 or newer (with venv) and make; they set up the rest.
# `make help` lists everything. PYTHON=/path/to/python chooses the interpreter, ARGS="..." is handed on to the command.

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-check test test-all bench rules sim sim-teeth lint lock clean

VENV := .venv
PY := $(VENV)/bin/python
CLUBOS := $(VENV)/bin/clubos
STAMP := $(VENV)/.installed
ARGS ?=
TEST_PROCESSES ?= 3
DEMO_START_S ?= 60

help: ## list these commands
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

# The stamp names the lock, the project file and the folder it was installed for, so that one installation serves until one of them
# changes; it is written last, so that an interrupted installation is taken up again.
setup: ## make the virtual environment from the hashed lock (done by the others when needed)
	@wanted="$$(cat requirements/dev.txt pyproject.toml | cksum) $(CURDIR)"; \
	if [ -f $(STAMP) ] && [ "$$(cat $(STAMP))" = "$$wanted" ] && $(PY) -c '' 2>/dev/null; then exit 0; fi; \
	found=""; old=""; bare=""; \
	for name in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python); do \
		command -v "$$name" >/dev/null 2>&1 || continue; \
		"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { old="$$old $$name"; continue; }; \
		"$$name" -c 'import ensurepip, sqlite3, ssl, venv' 2>/dev/null || { bare="$$bare $$name"; continue; }; \
		found="$$name"; break; \
	done; \
	if [ -z "$$found" ] && [ -n "$$bare" ]; then \
		echo "Python is here ($${bare# }), but without what makes virtual environments (venv, ensurepip, sqlite3 and ssl)." >&2; \
		echo "Please install the missing package, on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; \
	fi; \
	if [ -z "$$found" ]; then \
		if [ -n "$$old" ]; then echo "Python here is older than 3.11 ($${old# }), which is too old." >&2; \
		else echo "There is no Python here$(if $(PYTHON), by the name of $(PYTHON)) that can be run." >&2; fi; \
		echo "Please install Python 3.11 or newer with venv, on Debian and Ubuntu: apt-get install python3 python3-venv" >&2; exit 1; \
	fi; \
	if ! $(PY) -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { [ -f $(STAMP) ] && ! grep -qF " $(CURDIR)" $(STAMP); }; then \
		echo "Making the virtual environment $(VENV) with $$found ..."; \
		"$$found" -m venv --clear $(VENV) || exit 1; \
	fi; \
	rm -f $(STAMP); \
	echo "Installing the locked packages (once, about a minute) ..."; \
	$(PY) -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/dev.txt \
		&& $(PY) -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e . \
		|| { echo "The packages could not be installed; the lines above say why. Nothing outside $(VENV) was changed." >&2; exit 1; }; \
	echo "$$wanted" > $(STAMP)

demo: setup ## start hub, sites, broker and emulators; prints addresses and sign-ins; Ctrl-C stops it
	@$(CLUBOS) demo $(ARGS)

demo-check: setup ## walk a booking through the running demo (start `make demo` beside it)
	@$(CLUBOS) demo-check $(ARGS)

# Tests start some hundred Python processes; where bytecode is switched off each of them would compile all that it imports.
COMPILED := PYTHONDONTWRITEBYTECODE=
# The books of the tests of every day are in memory where there is room for them: thousands of them, flushed at every sale, are a third of
# the time. The slow tests keep theirs on a disk.
SHM := /dev/shm
SHM_FREE_KIB := 2000000
IN_MEMORY = $(shell [ -w $(SHM) ] && [ "$$(df -Pk $(SHM) | awk 'NR == 2 {print $$4}')" -gt $(SHM_FREE_KIB) ] && echo TMPDIR=$(SHM))

test: setup ## the tests of every day (at most 5 minutes)
	@$(COMPILED) $(IN_MEMORY) $(PY) -m pytest -m "not slow" -n $(TEST_PROCESSES) --dist loadfile $(ARGS)

test-all: setup lint ## the slow tests (browser, chaos, schemathesis, wheel), the rules, the demo and its check (at most 30 minutes)
	@$(COMPILED) $(PY) -m pytest -m slow $(ARGS)
	@$(CLUBOS) rules
	@rm -f build/demo.json; \
	$(CLUBOS) demo & demo=$$!; \
	trap 'kill -TERM $$demo 2>/dev/null; wait $$demo' EXIT; \
	waited=0; \
	until [ -f build/demo.json ]; do \
		kill -0 $$demo 2>/dev/null || { echo "The demo stopped before it served." >&2; exit 1; }; \
		[ $$waited -lt $(DEMO_START_S) ] || { echo "The demo did not serve within $(DEMO_START_S) s." >&2; exit 1; }; \
		sleep 1; waited=$$((waited + 1)); \
	done; \
	$(CLUBOS) demo-check

bench: setup ## measure against the bars; writes build/bench.json
	@$(CLUBOS) bench $(ARGS)

rules: setup ## every named rule of the protocol with the tests that hold it; guards are taken away and must be missed
	@$(CLUBOS) rules $(ARGS)

# What a simulated day may be asked by name: DAYS=n plays so many of the seeds from 1 on, SEED=n that one step by step. A failing day is
# made short with SEED=n ARGS="--shrink"; ARGS="--without guard" plays days with a guard of the ledger gone; ARGS="--help" lists the rest.
SEED ?=
DAYS ?=
sim: setup ## site-days under faults, by seed (2,000; DAYS=n as many as wanted; SEED=n one, step by step); writes build/sim.json
	@$(PY) -m tests.simulation $(if $(SEED),--seed '$(SEED)') $(if $(DAYS),--days '$(DAYS)') $(ARGS)

sim-teeth: setup ## takes every guard (or those in ARGS) away in turn: the simulation must miss it; writes build/teeth.json
	@$(PY) -m tests.simulation.teeth $(ARGS)

lint: setup ## ruff
	@$(PY) -m ruff check .

# uv reads pyproject.toml and writes names, versions and hashes only: no address of an index, no path, so that every index will do.
lock: ## write requirements/*.txt anew from pyproject.toml (needs uv)
	@uv="$$(command -v uv || { [ -x $(VENV)/bin/uv ] && echo $(VENV)/bin/uv; })"; \
	[ -n "$$uv" ] || { echo "make lock needs uv. Install it, for instance into $(VENV): $(PY) -m pip install uv" >&2; exit 1; }; \
	compile() { \
		file=$$1; shift; \
		"$$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate $(ARGS) \
			"$$@" pyproject.toml --output-file "requirements/$$file.txt" && echo "requirements/$$file.txt"; \
	}; \
	compile dev --extra site --extra hub --extra demo --extra dev \
		&& compile site --extra site --constraint requirements/dev.txt \
		&& compile hub --extra hub --constraint requirements/dev.txt

clean: ## remove everything that make has made
	@rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
