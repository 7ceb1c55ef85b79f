# A fresh machine needs Python 3.11 or newer, git, make and bash; everything else goes into .venv.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test test-newest test-lowest test-matrix test-distributed test-events test-ui test-fab images chromium reliability bench bench-export soak lint style types docs build constraints clean

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
LOWEST := .venv-lowest
DISTRIBUTED := .venv-distributed
FAB := .venv-fab

# A worker for each core, which takes over what another has not begun.
PARALLEL := --numprocesses logical --maxprocesses 4 --dist worksteal

# While one suite waits for an Airflow to start, and one environment for its packages, the other has the core. Each prints in one piece, and the failure of
# one leaves the others running. The make of macOS cannot hold back what is printed.
SIDE_BY_SIDE := --jobs=3 --keep-going $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

# The first that is new enough; PYTHON=... on the command line chooses another.
PYTHON = $(shell for python in python3.11 python3 python3.12 python3.13; do \
	"$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo "$$python" && break; done)

# What installs, and what builds from source: pinned as well, so that a release of theirs breaks nothing here.
INSTALLERS := editables hatchling setuptools uv

# What is missing of Debian's packages: with sudo, unless it is root that asks.
apt-install = as_root=; (( UID == 0 )) || as_root=sudo; $$as_root apt-get update --quiet; \
	$$as_root apt-get install --quiet --yes --no-install-recommends $(1)

# What the caller's shell has set for other projects stays out. Only where packages come from is the caller's to say.
SOURCES := UV_INDEX% %_INDEX %_INDEX_URL %_FIND_LINKS %_CERT %_CERTS %_TLS %_PROXY %_HOST %_TIMEOUT \
	%_RETRIES %_CACHE_DIR %_OFFLINE %_CONFIG_FILE
unexport $(filter-out $(SOURCES), $(filter PIP_% UV_%, $(.VARIABLES)))
unexport $(filter AIRFLOW% _AIRFLOW% CONDA_% VIRTUAL_ENV%, $(.VARIABLES))
# The certificates of the machine, as pip does: a company's proxy may bring its own.
export UV_SYSTEM_CERTS ?= 1
# Without bytecode every process would compile all of Airflow again.
unexport PYTHONDONTWRITEBYTECODE PYTHONHOME PYTHONPATH PYTHONWARNINGS MYPYPATH

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' Makefile

demo: $(INSTALLED) ## Run an example DAG in a real Airflow against the simulator (or Retell, with a key); DAG=campaign
	@$(BIN)/python scripts/demo.py $(DAG)

test: $(BIN)/uv ## Check style and types, and run all tests on the newest and on the oldest Airflow, side by side
	@echo "Style, types and both suites are on their way; each is shown when it is over."
	@$(MAKE) --no-print-directory $(SIDE_BY_SIDE) BEFORE_TESTS=style style types test-newest test-lowest

# The environments are made at the same time, but no test begins before style is checked, which takes a second.
types test-newest test-lowest: | $(BEFORE_TESTS)

test-newest: $(INSTALLED) ## Run all tests on the newest Airflow and dependencies
	$(BIN)/pytest $(PARALLEL)

test-lowest: $(LOWEST)/installed ## Run the tests that need no Airflow stack on the oldest Airflow and dependencies
	@# The oldest versions warn of much that is none of this package's doing.
	AIRFLOW_HOME="$(CURDIR)/.airflow/lowest" $(LOWEST)/bin/python -m pytest -W default \
		-o cache_dir=.airflow/lowest/pytest_cache $(PARALLEL)

test-matrix: $(INSTALLED) ## Run the tests on every Airflow, Python and dependencies, and write docs/versions.md (an hour)
	$(BIN)/python scripts/version_matrix.py

test-distributed: $(DISTRIBUTED)/installed ## Kill a worker and a triggerer: PostgreSQL, Celery, Redis (Debian, Ubuntu)
	@ls /usr/lib/postgresql/*/bin/postgres "$$(command -v redis-server)" >/dev/null 2>&1 || \
		{ $(call apt-install,postgresql redis-server); }
	AIRFLOW_HOME="$(CURDIR)/.airflow/tests" $(DISTRIBUTED)/bin/python -m pytest -rP -m distributed \
		tests/test_distributed.py

test-events: $(INSTALLED) ## Kill and freeze triggerers while 500 people call, then ten minutes of faults (EVENTS_MINUTES=...)
	AIRFLOW_HOME="$(CURDIR)/.airflow/tests" $(BIN)/python -m pytest -rP -m events tests/test_events_stack.py

test-ui: $(INSTALLED) chromium ## Walk the way of a new user through Airflow's pages in a headless browser (ten minutes)
	AIRFLOW_HOME="$(CURDIR)/.airflow/tests" $(BIN)/python -m pytest -m ui tests/test_ui.py tests/test_page_ui.py

test-fab: $(FAB)/installed ## Test who may see and do what on the page with FAB, in an environment of its own
	AIRFLOW_HOME="$(CURDIR)/.airflow/fab" $(FAB)/bin/python -m pytest -W default tests/test_page_fab.py

images: $(INSTALLED) chromium ## Walk the same way, and keep what is seen in docs/images
	$(BIN)/python scripts/new_user.py
	PYTHONPATH=tests $(BIN)/python scripts/page_walk.py

chromium:
	@command -v "$${CHROMIUM:-chromium}" >/dev/null || { $(call apt-install,chromium fonts-inter); }

reliability: $(INSTALLED) ## Measure every fault on a real Airflow, and write docs/reliability.md (half an hour)
	AIRFLOW_HOME="$(CURDIR)/.airflow/tests" $(BIN)/python -m pytest -m reliability tests/test_fault_matrix.py

bench: $(INSTALLED) ## Measure what waiting costs, and write benchmarks/README.md (PARTS="imports ..." measures some)
	PYTHONPATH=scripts $(BIN)/python -m benchmarks $(PARTS)

soak: $(INSTALLED) ## Wait for a thousand calls among random faults for ten minutes (MINUTES=..., SEED=...)
	PYTHONPATH=scripts $(BIN)/python -m benchmarks.soak --minutes $(or $(MINUTES),10) --seed $(or $(SEED),1)

bench-export: $(INSTALLED) ## Measure the export of 100,000 calls, and write benchmarks/export.md (some minutes)
	AIRFLOW_HOME="$(CURDIR)/.airflow/bench" $(BIN)/python benchmarks/export.py --write

lint: style types ## Check style and types

style: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(INSTALLED)
	$(BIN)/mypy

docs: $(INSTALLED) ## Build the documentation as a site into docs/_site/, warnings as errors
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env --conf-dir docs . docs/_site

build: $(INSTALLED) ## Build sdist and wheel into dist/, and check them as the package index does
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

constraints: $(BIN)/uv ## Pin the newest versions of everything in constraints.txt, the oldest in constraints-lowest.txt
	$(BIN)/uv pip compile --quiet --upgrade --python-version 3.11 --no-header --no-annotate --no-emit-index-url \
		--output-file constraints-lowest.txt lowest.in
	printf '%s\n' $(INSTALLERS) | $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
		--no-header --no-annotate --no-emit-index-url --group dev --group distributed --group fab \
		--output-file constraints.txt pyproject.toml -

clean: ## Remove all that was made here
	rm -rf $(VENV) $(LOWEST) $(DISTRIBUTED) $(FAB) .airflow dist docs/_site .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/uv:
	@if [[ -z "$(PYTHON)" ]]; then \
		echo "Python 3.11 or newer is needed, with its venv module (Debian, Ubuntu: apt install python3-venv)." >&2; \
		exit 1; \
	fi
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv

$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/uv
	$(BIN)/uv pip install --quiet --exact --python $(BIN)/python --constraint constraints.txt \
		--build-constraint constraints.txt --group dev --editable . uv
	touch $@

$(LOWEST)/installed: pyproject.toml constraints-lowest.txt | $(BIN)/uv
	$(PYTHON) -m venv --clear $(LOWEST)
	$(BIN)/uv pip install --quiet --exact --python $(LOWEST)/bin/python --constraint constraints-lowest.txt \
		--build-constraint constraints.txt blockbuster hypothesis phonenumbers pytest pytest-xdist retell-sdk tzdata \
		uv --editable .
	touch $@

$(DISTRIBUTED)/installed: pyproject.toml constraints.txt | $(BIN)/uv
	$(PYTHON) -m venv --clear $(DISTRIBUTED)
	$(BIN)/uv pip install --quiet --exact --python $(DISTRIBUTED)/bin/python --constraint constraints.txt \
		--build-constraint constraints.txt --group dev --group distributed --editable . uv
	touch $@

$(FAB)/installed: pyproject.toml constraints.txt | $(BIN)/uv
	$(PYTHON) -m venv --clear $(FAB)
	$(BIN)/uv pip install --quiet --exact --python $(FAB)/bin/python --constraint constraints.txt \
		--build-constraint constraints.txt --group fab blockbuster hypothesis phonenumbers pytest retell-sdk \
		tzdata uv --editable .
	touch $@
