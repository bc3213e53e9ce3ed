# Everything lives in .venv; remove that folder and the next target makes it anew.
#
#   make demo    segment two real pictures with a network that kzoo trained (needs no torch)
#   make test    lint, type check, tests
#   make lint    ruff and mypy alone
#   make long    the tests that take longer than 20 s each
#   make bench   the benchmarks of tools/
#   make wheel   dist/kzoo-*.whl
#   make clean   remove build outputs and caches (.venv and runs/ stay)

VENV := .venv
BIN := $(VENV)/bin

# The first interpreter on PATH that is one of ours. `make PYTHON=/path/to/python3.11 ...` names another.
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
	$$p -c '$(SUPPORTED)' 2>/dev/null && echo $$p && break; done)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint bench long wheel clean

demo: $(VENV)/.installed-demo
	$(BIN)/kzoo demo

test: lint
	$(BIN)/python -m pytest -m "not long" -n 2 --dist loadfile

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

long: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m long

bench: $(VENV)/.installed-bench
	@set -e; for tool in tools/bench_*.py; do echo "== $$tool"; $(BIN)/python "$$tool"; done

wheel: $(VENV)/.installed-dev
	rm -rf dist
	$(BIN)/python -m build --wheel --outdir dist

clean:
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache
	find kzoo tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is written last, so that an interrupted step is done again.
$(VENV)/.created:
	@test -n "$(PYTHON)" || { \
		echo "No Python 3.11, 3.12 or 3.13 is on PATH. Install one (Debian: apt-get install python3 python3-venv)," \
			"or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c '$(SUPPORTED)' || { \
		echo "kzoo needs Python 3.11, 3.12 or 3.13; PYTHON=$(PYTHON) is another version, or does not run." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments: its venv or ensurepip module is missing." \
			"Install it (Debian: apt-get install python3-venv), then run make again." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed-%: pyproject.toml constraints.txt $(VENV)/.created
	@echo "Installing kzoo[$*] into $(VENV) (the first time takes a few minutes) ..."
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$*]'
	@touch $@
