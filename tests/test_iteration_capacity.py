"""Capacities of models that generate: rates that keep what tiers are promised, and replicas."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments.cli import app
from experiments.iteration import capacity as jobs
from experiments.iteration import load_scenario
from experiments.iteration.capacity import Contest, capacity
from experiments.iteration.capacity_rate import at_pace, check, needed, promises_of
from experiments.iteration.compare import compare, driver
from experiments.iteration.saturation import (
    cut_up,
    of_backlog,
    part_of,
    saturation,
    saturation_per_s,
)
from experiments.parallel import Interrupted
from experiments.sentences import ScenarioError
from policies.iteration import ShortestPromptFirst, VllmLike
from sim.iteration import kernel

TIERS = Path(__file__).parent / "data" / "two_tiers_of_tokens.toml"


@pytest.fixture(scope="module")
def found():
    return capacity(TIERS, ["vllm", "urgent", "whole"])


def test_rates_are_those_at_which_every_tier_keeps_its_promise(found):
    scenario = load_scenario(TIERS)
    workload, serving = scenario.draw()
    promises = promises_of(["people", "jobs"], scenario.targets)
    for name in ("vllm", "urgent"):
        limit = found.of(name).limit
        assert 0.0 < limit.low <= limit.value <= limit.high <= limit.saturation_per_s

        def kept(rate, rule=scenario.policies[name]):
            trace = kernel.run(rule, at_pace(workload, rate / 12.0), serving)
            return check(rate, [trace], promises, scenario.targets)

        assert kept(limit.value).point <= 0.0
        assert kept(limit.low).surely <= 0.0
        above = min(rate for rate in found.of(name).course.rates if rate > limit.value)
        assert above <= 1.0051 * limit.value
        assert kept(above).point > 0.0


def test_shares_are_those_of_a_count_by_hand(found):
    scenario = load_scenario(TIERS)
    workload, serving = scenario.draw()
    trace = kernel.run(scenario.policies["vllm"], workload, serving)
    promises = promises_of(["people", "jobs"], scenario.targets)
    seen = check(12.0, [trace], promises, scenario.targets)
    mine = np.arange(len(trace)) >= len(trace) // 10
    mine &= trace.tier == 0
    first = trace.instant_ns(trace.token_step[trace.offset[:-1]]) - trace.arrival_ns
    last = trace.instant_ns(trace.token_step[trace.offset[1:] - 1]) - trace.arrival_ns
    pace = (last - first) / np.maximum(trace.output - 1, 1)
    late = (first > 150e6) | (pace > 30e6)
    assert seen.tiers[0].missed.value == pytest.approx(late[mine].mean(), abs=2e-3)
    assert seen.tiers[0].by["ttft"] == pytest.approx((first > 150e6)[mine].mean(), abs=2e-3)
    assert set(seen.tiers[1].by) == {"latency"}


def test_whole_batches_take_least_and_what_limits_them_is_said(found):
    assert found.of("whole").value < 0.5 * found.of("vllm").value
    assert found.tied[0] == found.best != "whole"
    assert found.of("vllm").limited_by == "ttft"
    assert found.of("vllm").limit.tier == "people"
    assert f"{found.best} " in found.verdict
    gap = next(one for one in found.differences if one.policy == "whole")
    assert gap.per_s.verdict == "lower"


def test_the_same_seeds_find_the_same(found):
    again = capacity(TIERS, ["vllm", "urgent", "whole"]).to_dict()
    first = found.to_dict()
    for told in (first, again):
        told.pop("seconds")
    assert first == again


def test_without_targets_capacity_is_saturation():
    free = load_scenario(TIERS, ["workload.tiers=[{name='all'}]"])
    found = capacity(free, ["vllm", "whole"])
    one = found.of("vllm")
    assert one.limited_by == "saturation"
    assert one.limit.low < one.value < one.limit.high
    assert one.value == pytest.approx(
        saturation_per_s(VllmLike(), [free.draw()], kernel.run), rel=0.1
    )
    assert "when requests never run out" in found.verdict
    assert found.plot()[0].get_xlabel()


def test_saturation_does_not_depend_on_the_order_in_which_requests_are_taken():
    scenario = load_scenario(
        "chat",
        ["workload.requests=3000", "engine.max_num_seqs=24", "workload.outputs={constant=8}"],
    )
    draws = [scenario.draw()]
    run = driver("kernel")
    first = saturation(VllmLike(max_num_batched_tokens=512), draws, run)
    short = saturation(ShortestPromptFirst(max_num_batched_tokens=512), draws, run)
    assert short.requests.value == pytest.approx(first.requests.value, rel=0.02)
    # Counted in the middle of a backlog alone the long prompts would be left out.
    naive = middle_of_a_backlog(ShortestPromptFirst(max_num_batched_tokens=512), draws[0])
    assert naive > 1.05 * short.requests.value
    rule = ShortestPromptFirst(max_num_batched_tokens=512)
    told = compare(scenario, {"short": rule}).outcome("short").measures.saturation_per_s
    assert told == pytest.approx(short.requests.value, rel=0.03)


def middle_of_a_backlog(rule, draw):
    """Requests per second, from those that are done between a fifth and nine tenths of it."""
    workload, serving = draw
    backlog = replace(workload, arrival_ns=np.zeros(len(workload), dtype=np.int64))
    trace = kernel.run(rule, backlog, serving)
    done_ns = np.sort(trace.instant_ns(trace.finished[trace.served]))
    low, high = int(0.2 * len(done_ns)), int(0.9 * len(done_ns))
    return (high - low) / ((done_ns[high] - done_ns[low]) / 1e9)


def test_backlogs_are_different_requests_and_few_where_there_are_few():
    draws = [load_scenario(TIERS).draw()]
    parts = cut_up(draws, 10)
    assert [len(part) for part, _ in parts] == [500] * 10
    short = [load_scenario(TIERS, ["workload.requests=150"]).draw()]
    assert [len(part) for part, _ in cut_up(short, 10)] == [75, 75]
    assert saturation(VllmLike(), [load_scenario(TIERS).draw()], kernel.run).tokens.low > 0.0


def test_replicas_are_counted_on_thinned_streams():
    found = capacity(TIERS, ["vllm"], rate_per_s=70.0)
    fleet = found.of("vllm").fleet
    scenario = load_scenario(TIERS)
    contest = Contest(scenario, [scenario.draw()], driver("kernel"))
    assert fleet.servers >= fleet.least
    assert contest.keep(scenario.policies["vllm"], contest.draws, 70.0, fleet.servers)
    assert not contest.keep(scenario.policies["vllm"], contest.draws, 70.0, fleet.servers - 1)
    assert "thinned" in found.verdict
    assert f"{fleet.servers} replicas" in found.verdict


def test_replicas_are_enough_only_where_promises_are_surely_kept(found):
    scenario = load_scenario(TIERS)
    contest = Contest(scenario, [scenario.draw()], driver("kernel"))
    rule, limit = scenario.policies["vllm"], found.of("vllm").limit
    assert limit.low < limit.value
    assert contest.keep(rule, contest.draws, limit.low, 1)
    assert not contest.keep(rule, contest.draws, limit.value, 1)


def test_a_backlog_counts_until_its_last_request_is_admitted():
    workload, serving = load_scenario(TIERS).draw()
    part = part_of(workload, 0, 40)
    worked = of_backlog(VllmLike(), part, serving, kernel.run)
    at_once = replace(part, arrival_ns=np.zeros(40, dtype=np.int64))
    trace = kernel.run(VllmLike(), at_once, serving)
    assert worked.seconds == trace.steps["start_ns"][trace.admitted.max()] / 1e9
    there = trace.instant_ns(trace.token_step) <= worked.seconds * 1e9
    each = np.add.reduceat(there, trace.offset[:-1])
    assert worked.tokens == each.sum() < part.output.sum()
    assert worked.requests == pytest.approx((each / part.output).sum())
    assert 20 < worked.requests < 39


def test_replicas_share_out_every_request_evenly():
    scenario = load_scenario(TIERS)
    contest = Contest(scenario, [scenario.draw()], driver("kernel"))
    workload, _ = contest.draws[0]
    parts = contest.split(workload, 3, 0)
    assert sum(len(part) for part in parts) == len(workload)
    arrivals = np.sort(np.concatenate([part.arrival_ns for part in parts]))
    assert np.array_equal(arrivals, workload.arrival_ns)
    assert all(abs(len(part) - len(workload) / 3) < 4 * math.sqrt(len(workload)) for part in parts)


def test_a_short_run_says_how_many_requests_it_needs():
    scenario = load_scenario(TIERS, ["workload.requests=1000"])
    found = capacity(scenario, ["vllm"])
    one = found.of("vllm")
    assert one.value is None
    assert one.limit.needs == 4500
    assert "--set workload.requests=4500" in found.verdict
    enough = [load_scenario(TIERS, ["workload.requests=4600"]).draw()]
    assert needed(enough, promises_of(["people", "jobs"], scenario.targets)) is None


def test_a_target_that_no_rate_keeps_is_said_with_how_near_it_came():
    scenario = load_scenario(TIERS, ["workload.tiers.people.slo.tpot_ms=1"])
    found = capacity(scenario, ["vllm"], rate_per_s=20.0)
    one = found.of("vllm")
    assert one.limit.bound == "nothing"
    assert one.fleet.servers is None
    assert "keeps it at no rate: at most" in found.verdict
    assert found.best is None
    json.loads(found.to_json())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"rate_per_s": 0.0}, "rate = 0: must be a positive number"),
        ({"rate_per_s": math.inf}, "must be a positive number"),
        ({"max_replicas": 0}, "max_replicas = 0: must be at least 1"),
        ({"policies": ["vlm"]}, "did you mean vllm?"),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments, said):
    with pytest.raises(ScenarioError, match=said.replace("?", r"\?")):
        capacity(TIERS, **arguments)


def test_ctrl_c_keeps_what_is_done(monkeypatch):
    done = capacity(TIERS, ["vllm"]).capacities

    def stopped(*_):
        raise Interrupted(list(done))

    monkeypatch.setattr(jobs, "in_threads", stopped)
    found = capacity(TIERS)
    assert found.interrupted
    assert [one.policy for one in found.capacities] == ["vllm"]


def test_the_command_prints_a_table_and_writes_a_run(tmp_path):
    words = ["capacity", TIERS, "--policy", "vllm", "--policy", "urgent", "--rate", 50]
    told = CliRunner().invoke(
        app, [str(word) for word in [*words, "--out", tmp_path]], env={"COLUMNS": "100"}
    )
    assert told.exit_code == 0, told.output
    assert "capacity" in told.output
    assert "replicas" in told.output
    folder = tmp_path / "two_tiers" / "capacity-1"
    assert {"result.json", "manifest.json", "capacity.png"} <= {p.name for p in folder.iterdir()}
    result = json.loads((folder / "result.json").read_text())
    assert result["kind"] == "iterations-capacity"
    assert result["policies"]["vllm"]["bound"] == "targets"
    assert result["policies"]["vllm"]["replicas"]["split"] == "evenly at random"
    frame = capacity(TIERS, ["vllm"]).to_frame()
    assert (
        frame.loc["vllm", "capacity_per_s"] == result["policies"]["vllm"]["capacity_per_s"]["value"]
    )
