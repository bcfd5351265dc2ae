"""The model of known cost: what it costs, and what it logs."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

from experiments.export.setting import Costs
from experiments.stacks.calibrate import cost_ns
from experiments.stacks.model_files import logged, put_model
from experiments.stacks.slow_model import SlowModel

COSTS = Costs(
    np.array([[1_000, 5_000, 6_000], [3_000, 7_000, 9_000]]),
    np.array([10, 20, 40]),
    np.array([10]),
    np.array([1.0]),
)


@pytest.fixture
def model(tmp_path):
    put_model(tmp_path, COSTS)
    found = SlowModel(tmp_path)
    yield found
    found.close()


@pytest.mark.parametrize("size", range(1, 6))
@pytest.mark.parametrize("longest", [1, 10, 13, 20, 39, 40])
def test_its_cost_is_that_of_the_simulator(model, size, longest):
    assert model.cost_ns(size, longest) == cost_ns(COSTS, size, longest)


def test_a_length_beyond_the_table_costs_as_its_end(model):
    assert model.cost_ns(2, 1_000) == 9_000


def test_a_batch_takes_no_less_than_its_cost_and_is_logged(model, tmp_path):
    assert model.run([7, 8], [10, 40]) == [7, 8]
    assert asyncio.run(model.run_async([9], [10])) == [9]
    first, second = logged(tmp_path)
    assert (first.identities, second.identities) == ((7, 8), (9,))
    assert first.end_ns - first.begin_ns >= 9_000
    assert second.end_ns - second.begin_ns >= 1_000
    assert second.begin_ns >= first.end_ns


def test_a_line_that_is_not_whole_is_passed_over(model, tmp_path):
    model.run([1], [10])
    (log,) = tmp_path.glob("batches-*.jsonl")
    with log.open("a") as file:
        file.write(json.dumps({"t0": 1, "t1": 2, "ids": [5]}))  # ended in the middle
    assert [each.identities for each in logged(tmp_path)] == [(1,)]


def test_it_needs_nothing_but_the_standard_library(tmp_path):
    """It is copied into environments that have nothing of this project."""
    import ast
    import sys

    put_model(tmp_path, COSTS)
    tree = ast.parse((tmp_path / "slow_model.py").read_text())
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= set(sys.stdlib_module_names)
