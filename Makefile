# `make demo` and `make test` do all set-up themselves.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.codiff-installed

.PHONY: demo test setup browser lint types clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev,eval,photo,provenance,train,web]"
	touch $@

demo: setup
	$(BIN)/codiff generate --text "This man has a long beard. He is in his sixties." --mask examples/mask-long-beard.png \
		--sketch examples/sketch-long-beard.png --count 4 --steps 25 --influences --out out/demo
	@echo "to paint, write and see for yourself in a page: $(BIN)/codiff web"

# Tests of pages need a browser; without one they are skipped. It is installed where that is allowed without asking.
browser:
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do \
		command -v $$name >/dev/null && exit 0; \
	done; \
	if [ "$$(id -u)" = 0 ]; then apt="apt-get"; else apt="sudo -n apt-get"; fi; \
	(command -v apt-get && $$apt update -qq && $$apt install -y -qq chromium) >/dev/null 2>&1 \
		|| echo "tests of pages are skipped without Chromium: apt-get install chromium"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

test: browser lint types
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest

clean:
	rm -rf $(VENV) build dist *.egg-info out
