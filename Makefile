# make demo            set up .venv and run the benchmark on a generated data set
# make demo DATA=DIR   the same on a MovieLens folder
# make test            set up .venv and run the tests, but for those that take long
# make slow            the others
# make check           all tests, linter and types
# make docs            the documentation, into build/docs
# make release-check   what a release needs: sdist, wheel, metadata, documentation, one version

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := .ci/constraints.txt
DATA ?=

.PHONY: demo test slow check lint docs release-check clean

demo: $(VENV)/.installed
	$(BIN)/llmtokens benchmark $(if $(DATA),--data "$(DATA)")

PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test: $(VENV)/.installed
	$(PYTEST) -m 'not slow'

slow: $(VENV)/.installed
	$(PYTEST) -m slow

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests/typed_use.py

check: test slow lint

docs: $(VENV)/.installed
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -q -b html docs build/docs
	@echo 'open build/docs/index.html'

release-check: $(VENV)/.installed docs
	rm -rf build/dist
	$(BIN)/python -m build --outdir build/dist .
	$(BIN)/python -m twine check --strict build/dist/*
	$(BIN)/python -m pytest tests/test_release.py

# torch first and on its own: it is by far the largest, and a CPU build will do
$(VENV)/.installed: setup.cfg pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "llmtokens needs Python 3.11 or newer; run make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[images,offline,openvino,plots,distributed,serve,training,docs,dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
