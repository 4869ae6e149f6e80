# Two commands: `make demo` runs the main job, `make test` runs the tests.
# Both make a virtual environment with locked versions first; when nothing changed, that is instant.
# Three lanes of tests: `test-fast` starts no server and trains little, `test` is what must hold before a change
# lands, `test-all` has the long runs too. A test's markers say which lane it is in.

SHELL := /bin/sh
VENV := .venv
PY := $(VENV)/bin/python
CONSILIUM := $(VENV)/bin/consilium
PYTHON ?= $(shell command -v python3.11 || command -v python3 || command -v python)
STUDY ?= ham10000

# Three workers, a thread each, since many tests wait; what shares a federation or a file stays in one of them.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -q --numprocesses 3 --dist loadgroup --no-loadscope-reorder

.PHONY: demo up lab test tests test-fast test-all check docs bench-peers clean

demo: $(VENV)/.installed
	@$(CONSILIUM) demo --study $(STUDY) $(if $(DATA),--data "$(DATA)") $(if $(BUDGET),--budget $(BUDGET))

test: $(VENV)/.installed
	@$(MAKE) --no-print-directory --jobs=2 check tests

tests: $(VENV)/.installed
	@$(PYTEST) -m 'not slow'

test-fast: $(VENV)/.installed
	@$(PYTEST) -m 'not slow and not servers and not thorough'

test-all: check
	@$(PYTEST)

check: $(VENV)/.installed
	@$(VENV)/bin/ruff check -q . && $(VENV)/bin/ruff format -q --check . && $(VENV)/bin/mypy

up: $(VENV)/.installed
	@$(CONSILIUM) up $(if $(FOLLOW),--follow $(FOLLOW))

lab: $(VENV)/.installed
	@$(CONSILIUM) lab $(if $(FOLLOW),--follow $(FOLLOW))

# The documentation as a site, in build/site; it ends at the first warning.
docs: $(VENV)/.installed
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict -q

# Environments of other people's secure aggregation, for `python -m benchmarks.secret_sharing`.
bench-peers:
	@"$(PYTHON)" -m venv .bench/flower && .bench/flower/bin/python -m pip install -qq --disable-pip-version-check 'flwr>=1.41,<1.42' numpy
	@"$(PYTHON)" -m venv .bench/tenseal && .bench/tenseal/bin/python -m pip install -qq --disable-pip-version-check 'tenseal==0.3.18' numpy

$(VENV)/.installed: pyproject.toml constraints.txt
	@"$(or $(PYTHON),python3.11)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
	  echo "Consilium needs Python 3.11 (PySyft's pins allow no newer one). Install it, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing into $(VENV), once: this takes some minutes."
	@"$(PYTHON)" -m venv $(VENV)
	@$(PY) -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .bench runs federation_state build *.egg-info
