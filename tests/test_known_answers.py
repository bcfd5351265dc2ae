"""The ten scenarios with a known answer: what they are, and that their answers still hold."""

from __future__ import annotations

import json
import math

import pytest

from experiments.bench_pairs import Pair, PairRow
from experiments.bench_tune import Recommended, Row, summary_of
from experiments.contest import driver
from experiments.known_answers import KNOWN_ANSWERS, KnownAnswer, known_answer
from experiments.plain import dumps
from experiments.sentences import ScenarioError
from experiments.true_value import Worth, limits_of, order_of, regret_of, worth_of
from experiments.truth import Stage, answer_of, exact_mean, find_truth, grid_of
from experiments.tune.contestants import Setting
from experiments.tune.goal import goal_of
from sim.metrics import measure

SHORT = 20_000
GREEDY = {"kind": "greedy"}

every_scenario = pytest.mark.parametrize("known", KNOWN_ANSWERS, ids=lambda known: known.name)


def greedy(known: KnownAnswer) -> Setting:
    """The rule that has no number."""
    return Setting("greedy", GREEDY, known.scenario().servers)


def test_four_have_staircases_two_several_servers_two_padding_one_clumps_one_power() -> None:
    scenarios = [known.scenario() for known in KNOWN_ANSWERS]
    assert len({scenario.name for scenario in scenarios}) == 10
    arrivals = [s.spec.workload.arrivals for s in scenarios]
    assert sum(known.base.startswith("staircase") for known in KNOWN_ANSWERS) == 4
    assert sum(scenario.servers > 1 for scenario in scenarios) == 2
    assert sum(scenario.profile is not None for scenario in scenarios) == 2
    assert sum(one is not None and one.process == "clumped" for one in arrivals) == 1
    assert sum(scenario.spec.tune.power is not None for scenario in scenarios) == 1
    assert sum(known.limited for known in KNOWN_ANSWERS) == 4


@every_scenario
def test_the_answer_is_of_the_scenario_as_it_is(known: KnownAnswer) -> None:
    truth = answer_of(known)
    goal, keys = goal_of(known.scenario()), {one.key for one in grid_of(known.scenario())}
    assert truth.settings == len(keys) > 5_000
    assert truth.best.key in keys
    assert truth.worth.excess(goal) == 0.0
    assert regret_of(truth.greedy, truth.worth, goal) > 0.03, "there is something to tune"


def test_a_scenario_that_has_changed_asks_for_a_new_answer() -> None:
    known = known_answer("clumped")
    changed = known._replace(settings=(*known.settings, "workload.arrivals.load=0.11"))
    with pytest.raises(ScenarioError) as error:
        answer_of(changed)
    assert str(error.value) == (
        "clumped has changed since its answer was found: run python -m experiments.truth "
        "--scenario clumped"
    )


def test_requests_trials_and_seeds_are_no_part_of_the_question() -> None:
    known = known_answer("clumped")
    assert known._replace(requests=1_000, trials=3).fingerprint() == known.fingerprint()


def test_every_seed_changes_all_random_numbers() -> None:
    known = known_answer("padding_text")
    seeds = [known.scenario(seed).seeds for seed in (None, 0, 1)]
    for name in ("arrivals", "lengths", "service", "timeouts", "tuner"):
        assert len({getattr(one, name) for one in seeds}) == 3


@pytest.mark.parametrize("name", ["pow2_mean", "two_servers", "power", "padding_speech"])
def test_the_lean_numbers_are_those_of_every_other_report(name: str) -> None:
    known = known_answer(name)
    scenario = known.scenario(requests=120_000)
    goal, draw = goal_of(scenario), scenario.draw()
    setting = answer_of(known).best
    lean = worth_of(goal, setting, draw, driver("kernel"))
    trace = driver("kernel")(setting.policy, *draw)
    full = measure(trace, draw[1], shares=goal.shares)
    assert lean.value == pytest.approx(goal.values(full, setting.servers)[0].value, rel=1e-12)
    for limited, constraint in zip(lean.limited, goal.constraints, strict=True):
        reported = constraint.measure.estimate(full, setting.servers).value
        assert limited == pytest.approx(reported, rel=1e-12)


def test_a_coarse_search_of_the_whole_space_finds_the_same_answer() -> None:
    known = known_answer("pow2_mean")
    coarse = find_truth(known, [Stage(2_000, 60, 0.05, 7), Stage(300_000, 1, 0.0, 8)])
    truth = answer_of(known)
    assert coarse.worth.value == pytest.approx(truth.worth.value, rel=0.01)
    assert coarse.best.table["kind"] == truth.best.table["kind"] == "snap"


def test_what_was_measured_agrees_with_theory_and_no_rule_beats_the_optimum() -> None:
    truth = answer_of(known_answer("pow2_mean"))
    assert truth.exact == pytest.approx(truth.worth.value, rel=0.003)
    assert truth.optimum is not None
    assert 0.98 * truth.worth.value < truth.optimum < truth.worth.value


def test_theory_says_nothing_of_timers_and_percentiles() -> None:
    known = known_answer("pow2_mean")
    goal = goal_of(known.scenario())
    timed = {"kind": "size_or_timeout", "max_batch_size": 8, "max_wait_ms": 1.0}
    assert exact_mean(known.scenario(), Setting("timed", timed, 1), goal) is None
    percentile = known_answer("pow2_p99")
    found = exact_mean(percentile.scenario(), greedy(percentile), goal_of(percentile.scenario()))
    assert found is None


def test_a_bad_setting_has_a_regret_above_one_per_cent() -> None:
    known = known_answer("four_servers")
    scenario = known.scenario(requests=SHORT)
    goal, draw, run = goal_of(scenario), scenario.draw(), driver("kernel")
    best = worth_of(goal, answer_of(known).best, draw, run)
    assert regret_of(worth_of(goal, greedy(known), draw, run), best, goal) > 0.3
    assert regret_of(best, best, goal) == 0.0


def test_the_limits_come_first_and_slack_forgives_a_little() -> None:
    goal = goal_of(known_answer("two_servers").scenario())
    assert limits_of(goal) == (8.3,)
    keeps, nearly, breaks = Worth(6.0, (8.3,)), Worth(5.0, (8.4,)), Worth(4.0, (9.0,))
    assert sorted([breaks, nearly, keeps], key=order_of(goal)) == [keeps, nearly, breaks]
    assert sorted([breaks, nearly, keeps], key=order_of(goal, 0.05)) == [nearly, keeps, breaks]


def row(*found: tuple[float, float]) -> Row:
    """A row of searches with these regrets and excesses."""
    known = known_answer("power")
    runs = [Recommended(k, {}, regret, excess, 1.0) for k, (regret, excess) in enumerate(found)]
    return Row(known, answer_of(known), tuple(runs))


def test_a_row_passes_within_one_per_cent_on_average_and_only_with_its_limits_kept() -> None:
    assert row((0.0, 0.0), (0.018, 0.0)).passes
    assert not row((0.0, 0.0), (0.03, 0.0)).passes
    assert not row((0.0, 0.0), (0.0, 0.001)).passes
    assert not row((0.0, 0.0), (math.inf, 0.0)).passes


def test_a_search_that_finds_nothing_is_said_and_does_not_pass() -> None:
    found = row((0.004, 0.0), (0.0, 0.0))
    lost = found._replace(runs=(*found.runs, Recommended(2, None, math.inf, 0.0, 1.0)))
    assert found.words == ("0.20 %", "0.40 %")
    assert lost.words == ("0.20 %, 1 found nothing", "0.40 %")
    assert found.passes
    assert not lost.passes


def test_a_setting_that_seems_better_than_the_best_does_not_make_up_for_a_bad_one() -> None:
    assert row((-0.02, 0.0), (0.03, 0.0)).regret == pytest.approx(0.015)


def test_the_summary_counts_scenarios_searches_and_broken_limits() -> None:
    assert summary_of([row((0.0, 0.0), (0.0, 0.01)), row((0.001, 0.0), (0.015, 0.0))]) == (
        "1 of 2 scenarios are within 1 % of the best on average without breaking a limit; 3 of 4 "
        "searches are; 1 of 4 recommended settings break a limit."
    )


def test_a_pair_is_written_as_plain_json() -> None:
    one = Setting("greedy", GREEDY, 1)
    pair = Pair("a", one, one, 0.025, "tie", "wrong")
    assert json.loads(dumps(pair.to_dict())) == {
        "scenario": "a",
        "better": GREEDY,
        "worse": GREEDY,
        "gap": 0.025,
        "judged": "tie",
        "by_search": "wrong",
    }


def test_pairs_are_counted_by_their_gaps() -> None:
    one = Setting("greedy", GREEDY, 1)
    pairs = [
        Pair("a", one, one, 0.025, "wrong", "wrong"),
        Pair("a", one, one, 0.029, "tie", "wrong"),
        Pair("a", one, one, 0.5, "right", "right"),
    ]
    rows = {row.gap: row[1:] for row in PairRow.of(pairs)}
    assert rows["2 to 3 %"] == (2, 1, 1, 2)
    assert rows["6 % and more"] == (1, 0, 0, 0)
    assert rows["all"] == (3, 1, 1, 2)
