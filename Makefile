# Everything runs in a virtual environment of its own; both first targets work on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-all test-pythons lint numbers bench soundness docs docs-full clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,lint]'
	touch $(STAMP)

demo: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python examples/demo.py runs/demo

# The tests of every change, and the examples in docstrings.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow"

# The slow tests too, with the share of lines that run (its floor stands in pyproject.toml); nightly.
test-all: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --cov --cov-report=term:skip-covered

# The tests under every Python from 3.11 that is installed, each in an environment of its own.
test-pythons:
	@for version in 3.11 3.12 3.13; do \
	  if python$$version --version > /dev/null 2>&1; then \
	    echo "== Python $$version"; \
	    $(MAKE) test PYTHON=python$$version VENV=.venv-$$version || exit 1; \
	  else echo "== Python $$version is not installed: not run"; fi; \
	done

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/python tools/bare_numbers.py
	$(BIN)/python tools/measured.py --check

# The measured numbers of README, pages and docstrings, written anew from docs/evidence.
numbers: $(STAMP)
	$(BIN)/python tools/measured.py

bench: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/pgd.py

soundness: $(STAMP)
	cd tests && OMP_NUM_THREADS=1 ../$(BIN)/python -m certificates.soundness 10000

# The site in site/, without a network once its packages are installed; a warning is an error, and so is a dead link or what axe-core finds.
docs: $(STAMP) $(VENV)/.docs
	$(BIN)/sphinx-build -W --keep-going -q -b html docs site
	$(BIN)/python tools/check_site.py site

$(VENV)/.docs: pyproject.toml constraints.txt $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

# The pages that are made from the code: run after the code changed.
docs-full: $(STAMP) $(VENV)/.docs
	$(BIN)/python tools/messages.py > docs/messages.md
	$(BIN)/python tools/choose.py > docs/choose.md
	$(BIN)/python tools/cheat_sheet.py > docs/cheat_sheet.md
	$(BIN)/python tools/error_pages.py
	$(BIN)/python tools/notebooks.py
	$(BIN)/epsball chapter run all --out runs/chapter
	$(BIN)/python tools/gallery.py runs/chapter

clean:
	rm -rf $(VENV) runs build dist site docs/api
