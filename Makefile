# Every command of the project: people and continuous integration call these and nothing else.
# They need make and Python 3.11 or newer, and keep to a virtual environment of their own.

VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo
PYTHONS := python3 python3.13 python3.12 python3.11 python

# Tests and benchmarks on real scenes skip, and say so, where this folder is not there.
ifndef HYPERSHARP_DATA
ifneq ($(wildcard ../shared/data/scenes),)
export HYPERSHARP_DATA := $(abspath ../shared/data)
endif
endif

.DELETE_ON_ERROR:
.PHONY: help demo test check bench docs

help:
	@echo "make demo   sharpen a real scene into the folder $(DEMO)/"
	@echo "make test   run the tests"
	@echo "make check  lint, types, import rules"
	@echo "make bench  slow tests, speed and memory"
	@echo "make docs   the documents that are generated"

demo: $(VENV)/.demo
	$(BIN)/python examples/demo.py $(DEMO)

test: $(VENV)/.dev
	$(BIN)/python -m pytest

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow || test $$? -eq 5 # 5: there is none at present
	set -e; for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script; done

docs: $(VENV)/.dev
	{ printf '# Networks\n\nMade by `make docs` from the records of the networks; do not edit.\n\n'; \
	  $(BIN)/hypersharp models --markdown; } > docs/models.md

# The stamps make a second call free; a change of pyproject.toml installs again.
$(VENV)/.dev $(VENV)/.demo: $(VENV)/.%: pyproject.toml | $(VENV)/pyvenv.cfg
	@echo "installing hypersharp[$*] into $(VENV), once"
	@$(BIN)/python -m pip install --quiet --editable '.[$*]'
	@touch $@

$(VENV)/pyvenv.cfg:
	@for python in $(PYTHONS); do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "$$python -m venv $(VENV)"; exec $$python -m venv $(VENV); \
	  fi; \
	done; \
	echo "hypersharp needs Python 3.11 or newer; none of these is one: $(PYTHONS). Install it and run make again." >&2; \
	exit 1
