# Pixelmill: each target sets up what it needs, once, in VENV.
PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.pixelmill-$(shell cksum < pyproject.toml | cut -d' ' -f1)
PYTEST := $(BIN)/python -m pytest
# Two processes that take a file each, in order: the folders that take longest come first. Fixtures of a file are made once.
TOGETHER ?= -n 2 --dist loadfile --no-loadscope-reorder

# On each interpreter: what depends on the language and on the libraries, and real runs by an installed command. How a run
# is killed and resumed is the same on all of them, and is tested on one.
PYTHONS ?= 3.11 3.12 3.13
ON_EACH := tests/workers tests/pipelines tests/contracts tests/test_install.py tests/jobs/test_collisions.py tests/jobs/test_api.py

.PHONY: demo demo-ct docs test test-slow test-all test-pythons test-on-each lint format setup benchmark zoo clean help

help: ## what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(STAMP):
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@rm -f $(VENV)/.pixelmill-*
	@touch $@

setup: $(STAMP) ## the environment and nothing else

demo: $(STAMP) ## embed an archive made from bundled photographs and look at the result
	$(BIN)/pixelmill demo demo-output

demo-ct: $(STAMP) ## index, ingest, show, pretrain on and embed a CT archive of phantoms with every defect
	$(BIN)/pixelmill ct demo demo-ct-output

test: $(STAMP) lint ## the whole suite but for what takes minutes
	$(PYTEST) -m "not slow" $(TOGETHER)

test-slow: $(STAMP) ## what takes minutes: many random kills, many models, a million names
	$(PYTEST) -m slow

test-all: $(STAMP) ## everything
	$(PYTEST)

test-pythons: $(PYTHONS:%=test-python-%) ## the floors and some runs on every Python of PYTHONS that is here, in a VENV-VERSION of 6 GB each

test-python-%:
	@found=python$*; $$found -c '' 2>/dev/null || found="$$(pyenv prefix $* 2>/dev/null)/bin/python"; \
	if $$found -c '' 2>/dev/null; then $(MAKE) VENV=$(VENV)-$* PYTHON=$$found test-on-each; \
	else echo "Python $*: is not here, skipped"; fi

test-on-each: $(STAMP)
	$(BIN)/python --version
	$(PYTEST) -m "not slow" $(TOGETHER) $(ON_EACH)

lint: $(STAMP) ## ruff, types, and the three floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd .types && $(abspath $(BIN))/lint-imports --no-logo ../pyproject.toml
	$(BIN)/basedpyright --pythonpath $(abspath $(BIN))/python

format: $(STAMP) ## rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP) ## the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

benchmark: $(STAMP) ## the table of the README
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[benchmarks]'
	$(BIN)/python -m benchmarks

zoo: $(STAMP) ## how each checkpoint of the zoo was made
	$(BIN)/python -m benchmarks.zoo

clean: ## remove what the targets made, but not the environment
	rm -rf demo-output demo-ct-output site build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
