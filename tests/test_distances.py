"""How far policies are from the best possible, as frames and figures."""

import numpy as np
import pytest

from experiments.compare import compare
from experiments.config import load_scenario
from experiments.distances import distances, exact_distances, rule_tables
from experiments.optimum import best_possible
from experiments.plots_optimum import above_optimum, takes
from experiments.style import panels


@pytest.fixture(scope="module")
def steps():
    return load_scenario("staircase_pow2", ["workload.requests=60000"])


def test_greedy_and_snap_are_as_far_above_the_optimum_as_the_scenario_says(steps):
    found = exact_distances(steps, [0.7])
    assert found.loc[0.7, "optimal_ms"] == pytest.approx(9.433380451, rel=1e-8)
    assert found.loc[0.7, "greedy"] == pytest.approx(0.83, abs=0.005)
    assert found.loc[0.7, "snap"] == pytest.approx(0.02, abs=0.003)


def test_a_rule_that_cannot_keep_up_is_infinitely_far(tmp_path):
    path = tmp_path / "worse.toml"  # a full batch is slower than two of one
    path.write_text(
        'name = "worse"\nworkload.requests = 1000\n'
        'workload.arrivals = { process = "poisson", load = 0.5 }\n'
        'service.model.table_ms = [1.0, 3.0]\npolicies.greedy.kind = "greedy"\n'
    )
    found = exact_distances(load_scenario(path), [0.5, 0.9])
    assert np.isfinite(found.loc[0.5, "greedy"])
    assert found.loc[0.9, "greedy"] == np.inf
    line = {one.get_label(): one for one in above_optimum(found).get_lines()}["greedy"]
    assert list(line.get_xdata()) == [0.5]


def test_a_run_of_the_optimal_rule_is_at_its_exact_mean(steps):
    best = load_scenario("staircase_pow2", ["policies.best={ kind = 'optimal' }"])
    found = distances(compare(best, load_curve=False), best)
    assert found.index[0] == "best"
    row = found.loc["best"]
    assert row["exact"]
    assert row["low"] < row["floor_ms"] < row["high"]
    assert found.loc["greedy", "above"] == pytest.approx(0.83, abs=0.02)


def test_where_the_optimum_is_not_known_a_bound_stands_there():
    bert = load_scenario("bert", ["workload.requests=20000"])
    found = distances(compare(bert, ["greedy"], load_curve=False), bert)
    assert not found["exact"].any()
    assert found.loc["greedy", "floor_ms"] == best_possible(bert, "mean").value_ms
    with pytest.raises(ValueError, match="the optimum of bert is not known: long requests take"):
        exact_distances(bert, [0.5])


def test_tables_are_drawn_as_steps_and_hold_beyond_their_end(steps):
    left, right = panels(2)
    tables = rule_tables(steps, 0.7)
    takes(tables, left, most=40)
    lines = {line.get_label(): line.get_ydata() for line in left.get_lines()}
    assert list(lines) == ["optimal", "snap", "greedy"]
    assert lines["greedy"].tolist() == [*range(33), *[32] * 8]
    assert lines["snap"].tolist()[17:24] == [16] * 7
    assert lines["optimal"][7] == 0  # it waits for the eighth
    assert left.figure is right.figure
