# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin

.PHONY: demo test test-all check bench clean
.DEFAULT_GOAL := demo

$(VENV)/ready: pyproject.toml constraints.txt
	test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: $(VENV)/ready
	$(RUN)/batchwright compare bert
	$(RUN)/batchwright compare speech

test: $(VENV)/ready
	$(RUN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-all: $(VENV)/ready
	$(RUN)/python -m pytest -n 2 --dist worksteal

check: $(VENV)/ready
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy

bench: $(VENV)/ready
	$(RUN)/python -m experiments.bench

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
