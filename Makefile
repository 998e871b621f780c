# `make` alone lists the targets. Variables to set on the command line:
#   PYTHON   the interpreter to build the environment with    make PYTHON=python3.12 test
#   VENV     where the environment lies
#   EXTRAS   which extras it holds                            make EXTRAS=test,offline,plot,peft test
#   ARGS     what to hand on to pytest                        make test ARGS='tests/unit -k lerp'
#   WORKERS  processes that run the tests                     make WORKERS=8 test
#   OUT      where the demo writes
#   TRIES    how often each run is killed                     make survive TRIES=50

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= test,offline,plot
ARGS ?=
WORKERS ?= 2
OUT ?= output/demo
TRIES ?= 200

# One stamp for the interpreter and one for what is installed. The version is part of the first
# one's name, so an environment of another Python is built anew instead of being used silently.
PYVER := $(shell $(PYTHON) -c 'import platform; print(platform.python_version())' 2>/dev/null)
MADE := $(VENV)/.made-with-$(PYVER)
INSTALLED := $(VENV)/.installed-$(EXTRAS)
RUN := $(VENV)/bin/python

export TOKENIZERS_PARALLELISM := false

# Tests on real data run where the GLUE files are at hand, and are skipped elsewhere.
ifneq ($(wildcard ../shared/glue),)
export AGWM_GLUE_DIR ?= $(abspath ../shared/glue)
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv demo test lint docs dist survive bench clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

venv: $(INSTALLED) ## Create the environment, pinned by constraints.txt

demo: $(INSTALLED) ## From labelled rows to a model in use, without network
	HF_HUB_OFFLINE=1 $(RUN) examples/demo.py --output-dir $(OUT)

# One thread: the models of the tests are tiny, and threads that wait for a busy core cost tenfold.
test: $(INSTALLED) ## Run the tests
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: $(INSTALLED) ## Check style, formatting and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

# A warning is an error: a page that no list of contents names, a link that leads nowhere, a wrong docstring.
# Outputs of tutorials are kept in build/notebooks for as long as agwm and the pinned versions stay as they are.
docs: $(VENV)/.installed-docs ## Build the documentation site: build/docs/index.html
	rm -rf build/docs build/doctrees
	$(RUN) -m sphinx -W --keep-going -b html -c docs -d build/doctrees . build/docs

# The wheel is built from the sdist, so a build that works shows that the sdist is whole.
dist: $(VENV)/.installed-dist ## Build and check the sdist and the wheel: dist/
	rm -rf dist agwm.egg-info/SOURCES.txt
	$(RUN) -m build --no-isolation
	$(RUN) -m twine check --strict dist/*

survive: $(INSTALLED) ## Kill runs and damage their files at random: docs/reliability.md
	OMP_NUM_THREADS=1 $(RUN) -m benchmarks.survival --tries $(TRIES)

bench: $(INSTALLED) ## Measure time, memory and fidelity of a search step beside vanilla and stock Betty
	$(RUN) -m benchmarks

clean: ## Remove the environment, caches and build output
	@if [ -e $(VENV)/pyvenv.cfg ]; then rm -rf $(VENV); fi
	rm -rf build dist agwm.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find agwm tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

$(MADE):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || { \
	  echo "No usable Python: expected 3.10 to 3.13, got '$(PYVER)' from '$(PYTHON)'. Set PYTHON=python3.11." >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# betty-ml's metadata exclude Python 3.11 and newer, on which it runs: hence the extra, and the flag for it.
$(VENV)/.installed-%: setup.cfg setup.py constraints.txt $(MADE)
	$(RUN) -m pip install --ignore-requires-python -c constraints.txt -e '.[betty,$*]'
	@touch $@
