"""Figures of a load test, and what is predicted of the very same requests."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from loads_by_hand import NO_FLOOR, driven_of, rule_of, scenario_in

from experiments.loading.asking import Wanted, at_load, drawn
from experiments.loading.floor import Floor, together
from experiments.loading.judging import judged
from experiments.loading.outcome import Cell, Fate, Loaded
from experiments.loading.predict import Rule, simulated
from experiments.loading.seen import FIGURES, PARTS, Seen
from experiments.loading.sending import Answers
from experiments.loading.shown import loaded_tables
from experiments.loading.window import Window, condition_of, seen_of
from experiments.loading.words import verdict_of
from policies.greedy import Greedy
from policies.size_or_timeout import SizeOrTimeout
from sim import kernel
from sim.metrics import measure
from sim.trace import SERVED

MS = 1_000_000


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    file = tmp_path_factory.mktemp("load") / "small.toml"
    return scenario_in(file)


def answers_of(latency_ns, status=None, late_ns=0, content=()):
    count = len(latency_ns)
    planned = np.arange(count, dtype=np.int64) * MS
    given = np.full(count, 200, dtype=np.int16) if status is None else np.array(status, np.int16)
    done = np.where(given > 0, planned + np.asarray(latency_ns), -1)
    return Answers(planned, planned + late_ns, done, given, content)


def told(waited_ms, service_ms, size):
    said = {"waited_ms": waited_ms, "service_ms": service_ms, "batch_size": size, "length": 5}
    return json.dumps({"parameters": said, "outputs": []}).encode()


def seen(latency_ms, fate=None, tier=None, size=None, wait_ms=None, service_ms=None):
    count = len(latency_ms)
    none = np.full(count, -1, dtype=np.int64)
    return Seen(
        np.zeros(count, np.int8) if tier is None else np.array(tier, np.int8),
        np.zeros(count, np.int8) if fate is None else np.array(fate, np.int8),
        np.array(latency_ms, dtype=np.int64) * MS,
        none if wait_ms is None else np.array(wait_ms) * MS,
        none if service_ms is None else np.array(service_ms) * MS,
        none if size is None else np.array(size, dtype=np.int64),
    )


def test_the_first_tenth_is_the_warm_up():
    one = seen([1000] * 10 + [5] * 90)
    assert one.figures()["mean_ms"] == 5.0
    assert one.counts()["served"] == 90


def test_batches_are_counted_by_the_sizes_that_their_requests_tell():
    """Of 4, 4, 4, 4 and 1 and 1: three batches of six requests."""
    one = seen([9] * 6, size=[4, 4, 4, 4, 1, 1], wait_ms=[1] * 6, service_ms=[5] * 6)
    found = one.figures()
    assert found["mean_batch"] == pytest.approx(2.0)
    assert (found["wait_mean_ms"], found["service_mean_ms"], found["rest_p50_ms"]) == (1, 5, 3)
    assert math.isnan(seen([9] * 6).figures()["mean_batch"])


def test_figures_are_of_the_served_of_a_tier():
    one = seen([10, 20, 30, 40], fate=[0, 1, 0, 0], tier=[0, 0, 1, 1])
    assert one.figures(0)["mean_ms"] == 10.0
    assert one.figures(1)["mean_ms"] == 35.0
    assert one.counts(0) == {
        "served": 1, "rejected": 1, "expired": 0, "unavailable": 0, "failed": 0,
    }  # fmt: skip


def test_statuses_are_fates_and_answers_say_how_they_were_served():
    from sim.workload import Workload

    status = [200, 429, 504, 503, 500, 0]
    content = [told(1.5, 4.25, 3), *[b"{}"] * 5]
    workload = Workload(np.full(6, 5, dtype=np.int32), np.arange(6) * MS)
    found = seen_of(workload, answers_of([9 * MS] * 6, status, content=content))
    assert found.fate.tolist() == [0, 1, 2, 3, 4, 4]
    assert found.latency_ns.tolist() == [9 * MS] * 5 + [-1]
    assert (found.wait_ns[0], found.service_ns[0], found.size[0]) == (1_500_000, 4_250_000, 3)
    assert found.size[1:].tolist() == [-1] * 5


@pytest.mark.parametrize(
    ("late_ms", "said"),
    [
        ([0.1] * 200, ""),
        ([0.1] * 150 + [3.0] * 50, "the load generator was 3 ms late at p99, above 0.5 ms"),
        ([0.1] * 199 + [70.0], "the load generator stood still for 70 ms"),
    ],
)
def test_a_window_counts_where_the_generator_kept_to_its_plan(late_ms, said):
    late_ns = (np.array(late_ms) * MS).astype(np.int64)
    found = condition_of(answers_of(np.full(200, 9 * MS), late_ns=late_ns), 5 * MS)
    assert found.rejected == said


def test_a_window_of_slow_requests_bears_a_later_generator():
    late_ns = np.full(200, 3 * MS)
    assert not condition_of(answers_of(np.full(200, 9 * MS), late_ns=late_ns), 50 * MS).rejected


def test_requests_that_were_not_sent_are_told():
    answers = answers_of(np.full(10, MS))
    answers.sent_ns[7:] = -1
    assert condition_of(answers, MS).rejected.startswith("3 requests were not sent")


def test_without_a_floor_the_prediction_is_the_simulators_own_run(scenario):
    workload = drawn(scenario, 0)
    rule = rule_of(scenario)
    found = simulated(rule, scenario, workload, NO_FLOOR, 2)
    trace = kernel.run(scenario.policies["waits"], workload, scenario.draw(2)[1])
    assert np.array_equal(found.latency_ns, trace.finish_ns - trace.arrival_ns)
    assert np.array_equal(found.wait_ns, trace.start_ns - trace.arrival_ns)
    assert np.array_equal(found.size, trace.batch_size[trace.batch])
    own = measure(trace, scenario.draw(2)[1], tail=1).overall
    assert found.figures()["mean_ms"] == pytest.approx(own.latency_ms["mean"].value)


def test_the_floor_is_added_to_each_request_and_its_turnaround_to_each_batch(scenario):
    workload, rule = drawn(scenario, 0), rule_of(scenario)
    plain = simulated(rule, scenario, workload, NO_FLOOR, 0)
    rest = Floor(None, "live", np.full(5, 2 * MS))
    assert np.array_equal(
        simulated(rule, scenario, workload, rest, 0).latency_ns, plain.latency_ns + 2 * MS
    )
    slower = Floor(
        None, "server", np.zeros(1, np.int64), np.full(9, MS), np.ones(9, dtype=np.int64)
    )
    assert slower.turnaround_ns(3).tolist() == [MS] * 3
    found = simulated(rule, scenario, workload, slower, 0)
    assert found.figures()["service_mean_ms"] > plain.figures()["service_mean_ms"] + 0.8
    assert found.figures()["wait_mean_ms"] > plain.figures()["wait_mean_ms"]


def test_the_turnaround_of_a_batch_grows_with_its_size_by_a_line_through_means():
    size = np.repeat([1, 2, 4], 200)
    cost = 500 + 100 * (size - 1)
    cost[::100] += 90_000  # a machine that stalls now and then is no cost of every batch
    floor = Floor(0.5, "server", cost, cost, size)
    assert floor.turnaround_ns(5).tolist() == [500, 600, 700, 800, 900]
    falling = Floor(0.5, "server", cost, 900 - 100 * size, size)
    assert len(set(falling.turnaround_ns(5).tolist())) == 1
    assert NO_FLOOR.turnaround_ns(2).tolist() == [0, 0]


def test_a_full_queue_is_predicted_as_the_server_has_it(scenario):
    workload = drawn(at_load(scenario, 3.0, Wanted(requests=1000)), 0)
    found = simulated(rule_of(scenario, capacity=5), scenario, workload, NO_FLOOR, 0)
    own = scenario.draw()[1]
    trace = kernel.run(
        scenario.policies["waits"], workload, type(own)(own.service_ns, own.length_edges,
                                                        capacity=5, noise=own.noise)
    )  # fmt: skip
    assert (found.fate == 1).sum() == (trace.status != SERVED).sum() > 300


def test_floors_that_were_disturbed_do_not_count_where_others_do():
    calm = Floor(0.5, "server", np.array([1]), np.array([10]), np.array([2]))
    wild = Floor(0.5, "server", np.array([9]), np.array([90]), np.array([2]), calm=False)
    assert together([wild, calm, calm]).rest_ns.tolist() == [1, 1]
    assert together([wild]).rest_ns.tolist() == [9]


def test_a_server_that_is_the_simulator_is_near_in_every_figure(scenario):
    found = judged(driven_of(scenario, rule_of(scenario)))
    for figure in FIGURES:
        cell = found.cell(None, "all", figure)
        assert cell.near, cell
        assert cell.low <= cell.predicted_mean <= cell.high
    assert "p99 is within 10 % of its prediction in 1 of 1." in verdict_of(found)


def test_a_server_that_is_slower_is_off_and_the_verdict_says_so(scenario):
    found = judged(driven_of(scenario, rule_of(scenario), lambda ns: ns * 3 // 2))
    cell = found.cell(None, "all", "p99_ms")
    assert not cell.near
    assert cell.error == pytest.approx(-1 / 3, abs=0.1)
    assert "p99 is within 10 % of its prediction in 0 of 1; not (-3" in verdict_of(found)


def test_an_slo_is_kept_or_missed_with_its_interval(scenario):
    fast = judged(driven_of(scenario, rule_of(scenario)))
    assert fast.fate(None, "all").kept
    assert not fast.missed
    slow = judged(driven_of(scenario, rule_of(scenario), lambda ns: ns * 4))
    fate = slow.fate(None, "all")
    assert fate.within["low"] < fate.within["value"] < 0.9
    assert slow.missed == (fate,)
    assert "The SLO is missed" in verdict_of(slow)


def test_without_a_rule_nothing_is_predicted_and_that_is_said(scenario):
    found = judged(driven_of(scenario, None))
    assert found.rule is None
    assert found.cell(None, "all", "p99_ms").error is None
    assert "Nothing is predicted: name the server's rule with --policy" in verdict_of(found)


def test_a_result_is_the_same_after_its_file(scenario):
    found = judged(driven_of(scenario, rule_of(scenario)))
    again = Loaded.of(json.loads(found.to_json()))
    assert again.to_json() == found.to_json()


def test_a_percentile_is_refused_where_windows_are_too_short_for_its_interval(scenario):
    (overall,) = judged(driven_of(scenario, rule_of(scenario))).estimates
    assert overall["p50_ms"]["low"] < overall["p50_ms"]["value"] < overall["p50_ms"]["high"]
    assert overall["p99_ms"] == {"value": None, "needs": 100_000}


def test_of_several_tries_the_last_that_kept_to_its_plan_counts(scenario):
    driven = driven_of(scenario, rule_of(scenario), repeats=1)
    (good,) = driven.windows
    late = good.condition.__class__(9.0, 80.0, "the load generator stood still for 80 ms")
    worse = good.condition.__class__(9.0, 90.0, "the load generator stood still for 90 ms")

    def window(attempt, condition):
        return Window(None, 0, attempt, good.workload, good.answers, good.seen, condition)

    driven.windows = [window(0, worse), window(1, late), window(2, good.condition)]
    assert driven.counting(None)[0].attempt == 2
    driven.windows = driven.windows[:2]
    assert driven.counting(None)[0].attempt == 1
    assert "One window had no try in which the generator kept to its plan" in verdict_of(
        judged(driven)
    )


def test_what_is_printed_fits_a_hundred_columns(scenario):
    from io import StringIO

    from rich.console import Console

    screen = Console(file=StringIO(), width=100)
    for part in loaded_tables(judged(driven_of(scenario, rule_of(scenario)))):
        screen.print(part)
    text = screen.file.getvalue()
    assert "…" not in text
    assert "p99, ms" in text
    assert max(map(len, text.splitlines())) <= 100


def test_refusals_are_told_with_their_own_latency():
    counts = {"served": 10, "rejected": 90, "expired": 0, "unavailable": 0, "failed": 0}
    fate = Fate(10.0, "all", 100.0, 10.0, counts, {}, {"p50": 0.31, "p99": 1.2}, None, 100.0, {},
                None, None)  # fmt: skip
    cells = tuple(Cell(10.0, "all", figure, (1.0,)) for figure in (*FIGURES, *PARTS))
    found = Loaded({}, {}, {}, (), (), cells, (), (fate,), ())
    assert verdict_of(found) == (
        "Of the requests at load 10 90.0 % found the queue full (429); they were told so within "
        "0.31 ms (median), 1.2 ms (p99)."
    )


def test_a_policy_of_another_server_is_no_part_of_a_rule(scenario):
    """The rule's own policy is simulated, whatever else the scenario has."""
    workload = drawn(scenario, 0)
    table = {"kind": "greedy"}
    other = simulated(Rule("greedy", Greedy(), table), scenario, workload, NO_FLOOR, 0)
    mine = simulated(rule_of(scenario), scenario, workload, NO_FLOOR, 0)
    assert isinstance(scenario.policies["waits"], SizeOrTimeout)
    assert other.figures()["wait_mean_ms"] < mine.figures()["wait_mean_ms"]
