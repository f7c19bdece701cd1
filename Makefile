# Everything runs in a virtual environment of its own; both first targets work on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint bench soundness docs clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,lint]'
	touch $(STAMP)

demo: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python examples/demo.py runs/demo

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports

bench: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/pgd.py

soundness: $(STAMP)
	cd tests && OMP_NUM_THREADS=1 ../$(BIN)/python -m certificates.soundness 10000

docs: $(STAMP)
	$(BIN)/python tools/messages.py > docs/messages.md

clean:
	rm -rf $(VENV) runs build dist
