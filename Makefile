# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin

# Stacks whose parsers exclude one another: each is installed beside the project alone.
STACKS = ray kserve mlserver bentoml
ray_needs = "ray[serve]==2.60.0"
kserve_needs = "kserve==0.21.0" "kubernetes==37.0.1"
mlserver_needs = "mlserver==1.7.1" "uvloop<0.22"
bentoml_needs = "bentoml==1.4.39"

.PHONY: demo test test-all test-stacks $(STACKS:%=test-stack-%) check bench bench-tune clean
.DEFAULT_GOAL := demo

$(VENV)/ready: pyproject.toml constraints.txt
	test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: $(VENV)/ready
	$(RUN)/batchwright compare bert
	$(RUN)/batchwright compare speech
	$(RUN)/batchwright tune bert
	$(RUN)/batchwright export bert --to triton --to ray --nearest

test: $(VENV)/ready
	$(RUN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-all: $(VENV)/ready test-stacks
	$(RUN)/python -m pytest -n 2 --dist worksteal

test-stacks: $(STACKS:%=test-stack-%)

$(STACKS:%=test-stack-%): test-stack-%: $(VENV)-%/ready
	$(VENV)-$*/bin/python -m pytest -q $(wildcard tests/test_export_$**.py)

$(VENV)-%/ready: pyproject.toml Makefile
	test -x $(VENV)-$*/bin/python || $(PYTHON) -m venv $(VENV)-$*
	$(VENV)-$*/bin/python -m pip install --quiet --disable-pip-version-check \
		-e . pytest hypothesis jsonschema $($*_needs)
	touch $@

check: $(VENV)/ready
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy

bench: $(VENV)/ready
	$(RUN)/python -m experiments.bench
	$(RUN)/python -m experiments.bench_tune --skip-time

bench-tune: $(VENV)/ready
	$(RUN)/python -m experiments.bench_tune --skip-time

clean:
	rm -rf $(VENV) $(STACKS:%=$(VENV)-%) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
