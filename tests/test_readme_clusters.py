"""What the README says of mixed traffic, diagnosis, clusters and models that generate."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from experiments.compare import sweep
from experiments.config import load_scenario
from experiments.diagnose import diagnose_scenario
from experiments.iteration import compare as compare_rules
from experiments.iteration import load_scenario as load_token_scenario
from experiments.rules import policy_of
from experiments.tune.course import JUDGING
from sim import kernel
from sim.metrics import measure

README = (Path(__file__).parent.parent / "README.md").read_text()
SETTINGS = {
    "tuned headroom": {
        "kind": "headroom",
        "max_block_ms": 190.0,
        "reserved": 0.84,
        "max_batch_size": [16, 11],
        "max_fill_ms": 95.0,
    },
    "tuned priority_fill": {"kind": "priority_fill", "max_batch_size": 9, "max_wait_ms": 61.0},
    "tuned priority": {"kind": "priority", "max_batch_size": [5, 8], "max_wait_ms": [53.0, 2.4]},
    "priority": {"kind": "priority"},
    "priority_fill, 10 ms": {"kind": "priority_fill", "max_batch_size": 16, "max_wait_ms": 10.0},
}
"""Settings of the table of ``mixed_sla``, as the tuner's table shows them: rounded."""


def block(name):
    """The text block that stands behind a comment."""
    return re.search(rf"<!-- {name}: [^\n]* -->\n```text\n(.*?)```", README, re.DOTALL)[1]


def numbers(line):
    return [float(one) for one in re.findall(r"-?\d+(?:\.\d+)?", line)]


@pytest.fixture(scope="module")
def mixed():
    scenario = load_scenario("mixed_sla")
    return scenario, [scenario.draw(JUDGING + place) for place in range(4)]


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_table_of_mixed_traffic_is_what_its_settings_do(setting, mixed):
    _, draws = mixed
    rule = policy_of(SETTINGS[setting])
    found = measure([kernel.run(rule, *draw) for draw in draws], draws[0][1])
    (line,) = (row for row in block("mixed_sla").splitlines() if row.startswith(f" {setting}  "))
    offline, _, of_bound, _, p99, _ = numbers(line.removeprefix(f" {setting}"))
    assert found.group("offline").throughput_per_s.value == pytest.approx(offline, rel=0.005)
    assert found.group("interactive").latency_ms["p99"].value == pytest.approx(p99, rel=0.01)
    assert of_bound == pytest.approx(100 * offline / 77.41, abs=0.2)


def test_the_winner_keeps_200_ms_and_nine_tenths_of_the_bound():
    rows = {name: numbers(row.removeprefix(f" {name}")) for name in SETTINGS
            for row in block("mixed_sla").splitlines() if row.startswith(f" {name}  ")}  # fmt: skip
    offline, _, of_bound, around, p99, interval = rows["tuned headroom"]
    assert p99 + interval < 200
    assert of_bound - around > 90
    assert all(rows[name][4] > 200 for name in ("priority", "priority_fill, 10 ms"))
    assert offline > rows["tuned priority_fill"][0] > rows["tuned priority"][0]


def test_the_diagnosis_is_the_one_that_is_shown():
    found = diagnose_scenario(load_scenario("recommender"))
    shown = block("recommender")
    verdict, table = shown.split("\n\n", 1)
    assert " ".join(verdict.split()) == found.verdict
    rows = [row[3:] for row in table.splitlines() if re.match(r" [1-9] ", row)]
    assert len(rows) == 4
    for row, remedy in zip(rows, found.remedies, strict=False):
        assert row.startswith(remedy.what)
        p99, _, _, gone = numbers(row.removeprefix(remedy.what))
        assert p99 == pytest.approx(remedy.value_ms, rel=0.02)
        assert gone == pytest.approx(100 * remedy.share, abs=0.5)


def test_the_sweep_over_routers_is_the_one_that_is_shown():
    routers = ["round_robin", "random", "power_of_two", "least_loaded"]
    found = sweep(
        "cluster_8", {"service.cluster.router": routers}, ["snap", "length_bucketed", "greedy"]
    )
    rows = {line.split()[1]: line.split()[2:] for line in block("cluster_8").splitlines()[2:]}
    for step, router in zip(found.steps, routers, strict=True):
        for outcome, said in zip(step.outcomes, rows[router], strict=False):
            value = outcome.estimate("latency_ms.p99").value
            assert (said == "unstable") == (value is None), router
            if value is not None:
                assert value == pytest.approx(float(said), rel=0.01)


def rows_of_chat():
    return {row.split()[0]: row for row in block("chat").splitlines()[3:]}


def check_rows_of_chat(found):
    rows = rows_of_chat()
    names = ("ttft_ms.mean", "ttft_ms.p99", "tpot_ms.mean", "itl_ms.p99", "latency_ms.mean")
    for outcome in found.outcomes:
        said = numbers(rows[outcome.policy].removeprefix(f" {outcome.policy}"))
        if not outcome.stable:
            assert "unstable" in rows[outcome.policy]
            continue
        for name, value in zip(names, said[0:10:2], strict=True):
            assert outcome.value(name) == pytest.approx(value, rel=0.03), (outcome.policy, name)
        assert 100 * outcome.value("slo_attainment") == pytest.approx(said[10], abs=0.2)
    assert found.best == "shortest_prompt_first"


def test_the_table_of_a_model_that_generates_has_what_the_text_is_about():
    assert list(rows_of_chat()) == list(load_token_scenario("chat").policies)
    found = compare_rules("chat", ["vllm_like", "chunked_512", "shortest_prompt_first"])
    check_rows_of_chat(found)
    first, gap = "ttft_ms.mean", "itl_ms.p99"
    whole, pieces = found.outcome("vllm_like"), found.outcome("chunked_512")
    assert whole.value(gap) / pieces.value(gap) == pytest.approx(6, abs=0.5)
    assert pieces.value(first) / whole.value(first) == pytest.approx(4 / 3, abs=0.07)


@pytest.mark.slow
def test_the_table_of_a_model_that_generates_is_that_of_the_shipped_scenario():
    check_rows_of_chat(compare_rules("chat"))
