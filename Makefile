# `make demo` and `make test` do all set-up themselves.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.codiff-installed

.PHONY: demo test setup lint types check clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev,eval,photo,provenance,train,web]"
	touch $@

demo: setup
	$(BIN)/codiff generate --text "This man has a long beard. He is in his sixties." --mask examples/mask-long-beard.png \
		--sketch examples/sketch-long-beard.png --count 4 --steps 25 --influences --out out/demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

test: lint types
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest

clean:
	rm -rf $(VENV) build dist *.egg-info out
