"""Tables of a tuning: who won, by how much, what holds; never wider than the terminal."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console
from tuned_by_hand import as_capacity, over_loads, renamed, run, with_objectives

from experiments.tune.shown import (
    judged_table,
    loads_table,
    numbers,
    settings_table,
    shortened,
)
from sim.intervals import Estimate


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return run(tmp_path_factory.mktemp("shown"))


def lines_of(drawn, width=100):
    """The lines that a terminal shows; a narrower one would cut them."""
    text = io.StringIO()
    Console(file=text, width=width).print(drawn)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def row_of(drawn, name, width=100):
    """The row of a setting, by its whole name."""
    return next(line for line in lines_of(drawn, width) if line.split()[:1] == [name])


def head_of(drawn):
    """The heads of the columns, each in one line."""
    return [str(column.header).replace("\n", " ") for column in drawn.columns]


def with_estimate(one, estimate):
    return replace(one, objectives=((estimate,),))


def changed(found, name, **changes):
    return renamed(found, name, name, **changes)


def test_the_winner_comes_first_and_is_starred(found):
    lines = lines_of(judged_table(found))
    rule = next(k for k, line in enumerate(lines) if "───" in line)
    assert lines[rule + 1].split()[:2] == [found.winner.name, "*"]
    assert sum("*" in line.split()[1:2] for line in lines) == 1
    assert "* winner" in "\n".join(lines)


def test_the_winner_is_bold_and_green_and_the_unstable_red(found):
    drawn = judged_table(found)
    names = [str(cell).split()[0] for cell in drawn.columns[0].cells]
    styles = dict(zip(names, (row.style for row in drawn.rows), strict=True))
    assert styles[found.winner.name] == "bold green"
    assert styles["queue_depth_wait"] == "red"
    assert styles["greedy"] == ""


def test_finalists_come_before_baselines_and_those_before_present_settings(found):
    names = [line.split()[0] for line in lines_of(judged_table(found)) if line.strip()]
    order = ("tuned_greedy", "tuned_queue_depth_wait", "snap", "queue_depth_wait", "optimal")
    places = [names.index(name) for name in order]
    assert places == sorted(places)


def test_a_gap_is_paired_with_a_sign_and_a_tie_is_marked(found):
    drawn = judged_table(found)
    gap = found.of("greedy").against(found.winner)
    assert gap.verdict == "higher"
    assert f"+{gap.value:.1f} ± " in row_of(drawn, "greedy")
    ties = [
        one.name
        for one in found.judged
        if one is not found.winner and one.stable and one.against(found.winner).verdict == "tie"
    ]
    assert ties
    assert all(re.search(r" = .* tie ", row_of(drawn, name)) for name in ties)
    assert " = " not in row_of(drawn, "greedy")


def test_an_unstable_setting_says_so_and_has_no_figures(found):
    cells = row_of(judged_table(found), "queue_depth_wait").split()
    limit = found.of("queue_depth_wait").unstable_above
    assert cells == ["queue_depth_wait", "unstable", "unstable", f"{limit:.2f}"]


def with_target(found, ms, name="greedy"):
    """Another SLO, which one setting breaks."""
    target = found.goal.constraints[0]
    target = replace(target, tier=target.tier._replace(slo_ns=round(ms * 1e6)))
    goal = replace(found.goal, constraints=(target,))
    return replace(changed(found, name, violations={target.title: 0.4}), goal=goal)


def test_a_broken_constraint_is_told_from_one_that_is_only_not_sure(found):
    estimate = found.goal.constraints[0].measure.estimate(
        found.of("greedy").outcomes[0].measures, 1
    )
    between = round((estimate.value + estimate.high) / 2, 3)
    assert estimate.value < between < estimate.high
    row = row_of(judged_table(with_target(found, between)), "greedy")
    assert f"p90 <= {between:g} ms?" in row
    assert "p90 > 5 ms" in row_of(judged_table(with_target(found, 5.0)), "greedy")
    assert "holds" in row_of(judged_table(found), "greedy")


def test_an_slo_that_is_missed_by_refusals_does_not_claim_to_be_late(found):
    row = row_of(judged_table(with_target(found, 1000.0)), "greedy")
    assert "refused" in row
    assert "p90" not in row


def test_a_goal_without_constraints_has_no_column_of_them(found):
    free = replace(found, goal=replace(found.goal, constraints=()))
    assert "constraints" not in head_of(judged_table(free))
    assert "constraints" in head_of(judged_table(found))


def test_a_measure_that_is_the_objective_has_one_column(found):
    assert "busy %" in head_of(judged_table(found))
    two = with_objectives(found, "mean", "busy")
    heads = head_of(judged_table(two))
    assert "busy" in heads
    assert "busy %" not in heads
    assert f"{two.winner.worth[1].value:.4f} ± " in row_of(judged_table(two), found.winner.name)


def twelve(found):
    """Twelve finalists with long names that begin and end alike, and wide figures."""
    wide = Estimate(123.4, 123.3, 123.5, 10, sections=tuple(123.4 + k / 50 for k in range(10)))
    names = [
        f"tuned_{kind}_of_the_service_that_reads_reviews_{k}_with_short_waits"
        for kind in ("size_or_timeout", "length_bucketed", "nearest_lengths")
        for k in range(4)
    ]
    added = tuple(
        with_estimate(replace(found.of("tuned_queue_depth_wait"), name=name), wide)
        for name in names
    )
    return replace(found, judged=(*found.judged, *added))


@pytest.mark.parametrize("width", [100, 80, 60])
def test_twelve_policies_with_long_names_fit_any_width(found, width):
    many = twelve(found)
    for drawn in (judged_table(many, width), settings_table(many, width)):
        lines = lines_of(drawn, 400)
        assert max(map(len, lines)) <= width
    rows = [str(cell) for cell in judged_table(many, width).columns[0].cells]
    assert len(set(rows)) == len(rows) == len(many.judged)
    figures = [str(c) for col in judged_table(many, width).columns[1:] for c in col.cells]
    assert not any("…" in text for text in figures)
    cut = lines_of(judged_table(many, width), width)
    assert cut == lines_of(judged_table(many, width), 400), "the terminal cuts nothing"


def test_the_control_of_the_width_is_wider_without_a_limit(found):
    many = twelve(found)
    names = [one.name for one in many.judged]
    assert max(map(len, names)) > 60
    assert shortened(names, 100) == names


def test_least_important_columns_go_first_on_a_narrow_terminal(found):
    wide, narrow = head_of(judged_table(found)), head_of(judged_table(found, 80))
    assert "mean batch" in wide
    assert "mean batch" not in narrow
    assert "constraints" in narrow
    assert "against winner" in narrow


def test_more_than_a_hundred_columns_are_never_used(found):
    assert lines_of(judged_table(twelve(found), 300), 300) == lines_of(
        judged_table(twelve(found), 100), 300
    )


def test_shortened_names_stay_different_and_keep_both_ends():
    names = ["tuned_size_or_timeout", "tuned_size_or_timeout_2", "greedy"]
    short = shortened(names, 12)
    assert short[0].startswith("tuned_")
    assert short[1].endswith("_2")
    assert short[2] == "greedy"
    alike = shortened([f"aaaaaaaaaa{k}bbbbbbbbbb" for k in range(12)], 9)
    assert len(set(alike)) == 12
    assert max(map(len, alike)) <= 9


def test_settings_are_in_the_words_of_a_scenario(found):
    rows = lines_of(settings_table(found))
    assert any(line.split() == ["tuned_greedy", "*", "greedy", "max_batch_size=8"] for line in rows)
    assert not any(line.startswith("snap") for line in rows), "only the winner and finalists"


def test_without_a_winner_and_finalists_there_is_no_table_of_settings(found):
    rest = tuple(one for one in found.judged if one.role != "tuned")
    nobody = replace(found, judged=rest, winner=None)
    assert settings_table(nobody) is None
    assert "winner" not in "\n".join(lines_of(judged_table(nobody))[3:])


def test_a_long_list_is_cut_and_says_how_long_it_is(found):
    setting = replace(
        found.winner.setting,
        table={"kind": "length_bucketed", "boundaries": [*range(10, 100, 10)]}, servers=4,
    )  # fmt: skip
    text = numbers(replace(found.winner, setting=setting))
    assert text == "boundaries=[10,20,30,40,50,…(9)], servers=4"


def test_a_rule_without_numbers_has_nothing_to_set(found):
    assert numbers(found.of("greedy")) == "nothing to set"


def test_one_load_has_no_table_of_loads(found):
    assert loads_table(found) is None


def test_each_load_has_a_column_and_the_worst_regret_stands_last(found):
    regret = {found.winner.name: [0.05, 0.0, 0.12], "greedy": [0.0, 0.02, 0.3]}
    many = over_loads(found, (0.3, 0.5, 0.7), regret)
    assert "mean of loads: geometric" in "\n".join(lines_of(judged_table(many)))
    assert "geometric" not in "\n".join(lines_of(judged_table(found)))
    drawn = loads_table(many)
    assert head_of(drawn) == ["setting", "0.3", "0.5", "0.7", "worst regret %"]
    value = f"{found.winner.worth[0].value:.4g}"
    expected = [found.winner.name, "*", value, value, value, "12"]
    assert row_of(drawn, found.winner.name).split() == expected
    assert row_of(drawn, "greedy").split()[-1] == "30"
    assert row_of(drawn, "snap").split()[-1] == "-", "it keeps up nowhere"
    shown = [line.split()[0] for line in lines_of(drawn) if line.strip()]
    assert "tuned_queue_depth_wait" not in shown


def test_the_best_for_one_load_stands_beside_the_winner(found):
    many = renamed(over_loads(found, (0.3, 0.5), {}), "tuned_queue_depth_wait", "best_at_0.3")
    assert row_of(loads_table(many), "best_at_0.3")


def test_an_unstable_load_is_named_in_its_cell(found):
    many = over_loads(found, (0.3, 0.5), {})
    bad = found.of("queue_depth_wait").outcomes[0]
    one = many.of("greedy")
    many = changed(many, "greedy", outcomes=(one.outcomes[0], bad))
    assert row_of(loads_table(many), "greedy").split()[2] == "unstable"
    assert row_of(judged_table(many), "greedy").split()[1] == "unstable"


@pytest.mark.parametrize("width", [100, 80])
def test_twenty_loads_are_thinned_and_the_title_says_so(found, width):
    loads = tuple((k + 1) / 25 for k in range(20))
    many = over_loads(found, loads, {found.winner.name: [0.01] * 20})
    lines = lines_of(loads_table(many, width), 400)
    assert max(map(len, lines)) <= width
    shown, total = re.search(r"(\d+) of (\d+) loads", lines[0]).groups()
    assert total == "20"
    assert 5 <= int(shown) < 20
    heads = head_of(loads_table(many, width))
    assert (heads[1], heads[-2]) == ("0.04", "0.8"), "the first and the last load stay"
    assert len(heads) == int(shown) + 2


def test_a_capacity_shows_the_rate_with_its_interval_and_what_binds(found):
    rates = {
        found.winner.name: (1803.0, 1790.0, 1812.0, "slo"),
        "greedy": (1700.0, 1690.0, 1705.0, "stability"),
    }
    drawn = judged_table(as_capacity(found, rates))
    row = row_of(drawn, found.winner.name)
    assert re.search(r"1,803\s+1,790 to 1,812\s+all\s+13\.9", row)
    assert "stability" in row_of(drawn, "greedy")
    assert "-103" in row_of(drawn, "greedy")
    assert re.search(r"none\s+no rate", row_of(drawn, "snap"))
    assert "p99, ms" not in head_of(drawn)
