"""Figures of a tuning: what was searched and what was judged, told apart, with units."""

from __future__ import annotations

import math
from dataclasses import replace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from tuned_by_hand import as_capacity, over_loads, renamed, run, trial, with_objectives

from experiments.figures import figures_of, write_figures
from experiments.style import BASELINE_LOOKS
from experiments.tune.importance import importance_of
from experiments.tune.plots import in_rounds, running_best


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return run(tmp_path_factory.mktemp("figures"))


def line_called(axes, start):
    return next(line for line in axes.get_lines() if str(line.get_label()).startswith(start))


def marks(axes, shape):
    """How many points have a marker of that shape, legend entries excluded."""
    return sum(np.size(m.get_xdata()) for m in axes.get_lines() if m.get_marker() == shape)


def offsets(axes, label):
    """Points of a scatter by its label."""
    known = {c.get_label(): c.get_offsets() for c in axes.collections}
    return np.asarray(known.get(label, np.empty((0, 2))))


def grid(value=lambda size, wait: float(size) + wait, **more):
    """A dense grid of tried settings of a policy with a size and a wait."""
    places = [(s, w) for s in (4, 5, 6, 7, 8, 9, 10) for w in (0.5, 0.7, 1.0, 1.4, 2.0)]
    return tuple(
        trial("queue_depth_wait", k, value(s, w), max_batch_size=s, max_wait_ms=w,
              **{key: give(k) for key, give in more.items()})
        for k, (s, w) in enumerate(places)
    )  # fmt: skip


def test_a_run_gets_the_figures_that_it_has_data_for(found, tmp_path):
    written = write_figures(found, tmp_path)
    names = ["history", "importance", "surface", "load"]
    assert written == [f"{name}.{kind}" for name in names for kind in ("png", "svg")]
    assert all((tmp_path / name).stat().st_size > 5_000 for name in written)


def test_panels_are_drawn_on_given_axes(found):
    own = plt.Figure().subplots(2, 1)
    count = len(found.plot.importance())
    assert found.plot.importance(ax=own[:count]) == list(own[:count])
    with pytest.raises(ValueError, match="one axes for each panel"):
        found.plot.importance(ax=plt.Figure().subplots(1, count + 1))


def test_several_objectives_add_a_front_and_several_loads_regret(found):
    two = with_objectives(found, "mean", "busy")
    two = replace(two, tried=tuple(trial("greedy", k, (8.0, 0.9)) for k in range(3)))
    assert "front" in figures_of(two)
    assert "front" not in figures_of(found)
    assert "regret" in figures_of(over_loads(found, (0.3, 0.6), {}))


def test_every_axis_says_its_unit(found):
    units = {
        "history": ("trial", ", ms"),
        "importance": ("%",),
        "surface": ("requests", ", ms"),
        "load": ("share of the largest possible rate", ", ms"),
    }
    for name, drawn in figures_of(found).items():
        words = [text for a in drawn.axes for text in (a.get_xlabel(), a.get_ylabel())]
        assert all(unit in " ".join(words) for unit in units[name]), (name, words)


def test_drawing_leaves_the_settings_of_matplotlib_alone(found):
    before = dict(mpl.rcParams)
    found.plot.history()
    found.plot.surface()
    assert dict(mpl.rcParams) == before


def test_the_best_line_ends_at_the_best_feasible_trial(found):
    feasible = [t.score.values[0] for t in found.tried if t.score.feasible]
    best = line_called(found.plot.history(), "best so far").get_ydata()
    known = best[np.isfinite(best)]
    assert known[-1] == min(feasible)
    assert (np.diff(known) <= 0).all()
    assert len(best) == len(found.tried)


def test_an_infeasible_trial_is_hollow_and_never_the_best(found):
    tried = (
        trial("greedy", 0, 9.0), trial("greedy", 1, 2.0, feasible=False), trial("greedy", 2, 8.0),
    )  # fmt: skip
    axes = replace(found, tried=tried).plot.history()
    assert list(line_called(axes, "best so far").get_ydata()) == [9.0, 9.0, 8.0]
    hollow = [m for m in axes.get_lines() if m.get_markerfacecolor() == "none"]
    assert [list(m.get_ydata()) for m in hollow if m.get_marker() == "o"] == [[2.0]]


def test_where_more_is_better_the_best_line_rises():
    tried = [trial("greedy", k, value) for k, value in enumerate((3.0, 5.0, 4.0))]
    assert list(running_best(tried, 0, -1.0)) == [3.0, 5.0, 5.0]
    assert list(running_best(tried, 0, 1.0)) == [3.0, 3.0, 3.0]


def test_unstable_trials_are_ticks_at_the_upper_edge(found):
    lost = sum(t.score.values is None for t in found.tried)
    axes = found.plot.history()
    assert lost > 5
    assert marks(axes, "|") == lost


def test_trials_far_beyond_the_best_are_arrows_at_the_edge(found):
    tried = (trial("greedy", 0, 8.0), trial("greedy", 1, 9.0), trial("greedy", 2, 800.0))
    axes = replace(found, tried=tried).plot.history()
    assert marks(axes, "^") == 1
    assert axes.get_ylim()[1] < 100.0
    assert marks(found.plot.history(), "^") == 0


def test_the_band_of_the_winner_is_its_judged_interval(found):
    worth = found.winner.worth[0]
    axes = found.plot.history()
    assert line_called(axes, "winner, judged").get_ydata()[0] == worth.value
    bands = [patch.get_extents().transformed(axes.transData.inverted()) for patch in axes.patches]
    assert [(b.y0, b.y1) for b in bands] == [pytest.approx((worth.low, worth.high))]


def test_without_a_winner_there_is_no_band(found):
    axes = replace(found, winner=None).plot.history()
    assert not axes.patches


def test_a_search_in_which_nothing_keeps_up_has_no_scale_of_values(found):
    lost = tuple(t for t in found.tried if t.score.values is None)
    axes = replace(found, tried=lost, winner=None).plot.history()
    assert not len(axes.get_yticks())
    assert [text.get_text() for text in axes.texts] == ["no trial has a value"]
    assert len(found.plot.history().get_yticks())


def test_policies_take_turns_in_the_history():
    tried = [trial("a", k, 1.0) for k in range(10)] + [trial("b", k, 1.0) for k in range(9)]
    order = [(t.setting.name, t.place) for t in in_rounds(tried)]
    first = [("a", k) for k in range(8)] + [("b", k) for k in range(8)]
    assert order == [*first, ("a", 8), ("a", 9), ("b", 8)]


def test_a_policy_has_one_colour_in_every_figure(found):
    legend = found.plot.history().get_legend()
    dots = dict(zip((t.get_text() for t in legend.get_texts()), legend.legend_handles, strict=True))
    of_greedy = next(dot for text, dot in dots.items() if text.startswith("greedy"))
    assert of_greedy.get_color() == BASELINE_LOOKS["greedy"][0]
    assert found.winner.setting.name == "greedy"
    winner = line_called(found.plot.load(), f"{found.winner.name} (winner)")
    assert winner.get_color() == of_greedy.get_color()


def test_legends_are_sorted_best_first(found):
    tried = (
        trial("lost", 0, None), trial("bad", 0, 1.0, feasible=False), trial("slow", 0, 9.0),
        trial("fast", 0, 7.0),
    )  # fmt: skip
    axes = replace(found, tried=tried).plot.history()
    texts = [text.get_text().split("   ") for text in axes.get_legend().get_texts()]
    assert texts[:2] == [["fast", "7"], ["slow", "9"]]
    assert ["bad", "none feasible"] in texts
    assert ["lost", "none"] in texts
    loads = [text.get_text() for text in found.plot.load().get_legend().get_texts()]
    assert [text.split()[0] for text in loads[-2:]] == ["greedy", "balanced_cap"]


def importance_with(value):
    rng = np.random.default_rng(3)
    rows = [(int(a), int(b)) for a, b in zip(rng.permutation(40), rng.permutation(40), strict=True)]
    tried = [
        trial("p", k, float(value(a, b, rng)), decides=a, idle=b) for k, (a, b) in enumerate(rows)
    ]
    return importance_of("p", tried, 0, 1.0)


def test_the_number_that_decides_is_important_and_the_idle_one_is_not():
    one = importance_with(lambda a, b, rng: a)
    assert one.shares["decides"] > max(0.7, one.chance["decides"])
    assert one.shares["idle"] <= one.chance["idle"]
    assert sum(one.shares.values()) == pytest.approx(1.0)
    assert (one.settings, one.top, one.best, one.worst) == (40, 5, 0.0, 39.0)


def test_of_an_objective_that_is_pure_luck_no_number_is_beyond_chance():
    one = importance_with(lambda a, b, rng: rng.random())
    assert all(one.shares[key] <= one.chance[key] for key in one.shares)


def test_more_is_better_turns_the_importances_round():
    tried = [trial("p", k, float(k % 20), up=k % 20, other=k // 20) for k in range(40)]
    assert importance_of("p", tried, 0, -1.0).best == 19.0
    assert importance_of("p", tried, 0, 1.0).best == 0.0


def test_few_settings_few_feasible_ones_or_one_number_have_no_importances():
    few = [trial("p", k, float(k), a=k, b=k % 3) for k in range(19)]
    assert importance_of("p", few, 0, 1.0) is None
    bad = [trial("p", k, float(k), feasible=k < 4, a=k, b=k % 3) for k in range(40)]
    assert importance_of("p", bad, 0, 1.0) is None
    single = [trial("p", k, float(k), a=k, b=1) for k in range(40)]
    assert importance_of("p", single, 0, 1.0) is None


def test_the_number_of_each_tier_has_an_importance_of_its_own():
    tried = [
        trial("priority", k, float(k // 20), max_batch_size=[k % 20, k // 20]) for k in range(40)
    ]
    one = importance_of("priority", tried, 0, 1.0, ["online", "offline"])
    assert list(one.shares) == ["max_batch_size of offline", "max_batch_size of online"]
    assert one.shares["max_batch_size of offline"] > 0.7
    alone = importance_of("priority", tried, 0, 1.0)
    assert alone is None or "max_batch_size: first" in alone.shares


def test_a_tuning_without_importances_says_what_would_give_them(found):
    with pytest.raises(ValueError, match=r"^no policy was tried often enough to say which of its "
                       r"numbers matters: give more trials, as tune\.trials = 500$"):  # fmt: skip
        replace(found, tried=found.tried[:9]).plot.importance()


def test_the_surface_tells_feasible_infeasible_and_unstable_by_shape(found):
    axes = found.plot.surface()
    own = [t for t in found.tried if t.setting.name == "queue_depth_wait"]
    good = sum(t.score.feasible for t in own)
    lost = sum(t.score.values is None for t in own)
    assert len(offsets(axes, "feasible")) == good > 0
    assert len(offsets(axes, "cannot keep up")) == lost > 0
    assert len(offsets(axes, "breaks a constraint")) == len(own) - good - lost > 0
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_lines_of_equal_objective_need_enough_close_settings_and_no_other_number(found):
    def lines(tried):
        axes = replace(found, tried=tried).plot.surface()
        return [c for c in axes.collections if type(c).__name__ == "TriContourSet"]

    assert len(lines(grid())) == 1
    assert not lines(grid()[:20])
    assert not lines(grid(other=lambda k: k % 3))
    assert not lines(grid(value=lambda size, wait: 7.0 + 0.001 * size))


def test_no_line_crosses_a_gap_in_which_nothing_was_tried(found):
    def vertices(sizes):
        tried = tuple(
            trial("queue_depth_wait", k, 8.0 + size / 15, max_batch_size=size, max_wait_ms=wait)
            for k, (size, wait) in enumerate((s, w) for s in sizes for w in (0.5, 0.7, 1.0, 1.4))
        )
        axes = replace(found, tried=tried).plot.surface()
        drawn = [c for c in axes.collections if type(c).__name__ == "TriContourSet"]
        return sum(len(path.vertices) for c in drawn for path in c.get_paths())

    assert vertices([4, 5, 6, 60, 61, 62]) == 0
    assert vertices([4, 6, 10, 16, 25, 40, 60, 70]) > 0


def test_no_wait_stands_at_a_tick_of_its_own(found):
    tried = (
        trial("queue_depth_wait", 0, 8.0, max_batch_size=4, max_wait_ms=0.0),
        trial("queue_depth_wait", 1, 9.0, max_batch_size=8, max_wait_ms=0.5),
        trial("queue_depth_wait", 2, 9.5, max_batch_size=8, max_wait_ms=5.0),
    )
    axes = replace(found, tried=tried).plot.surface()
    ticks = dict(
        zip((t.get_text() for t in axes.get_yticklabels()), axes.get_yticks(), strict=True)
    )
    lowest = offsets(axes, "feasible")[:, 1].min()
    assert ticks["0"] == lowest < 0.5


def test_the_winner_is_ringed_where_it_is_of_the_policy(found):
    table = {"kind": "queue_depth_wait", "max_batch_size": 8, "max_wait_ms": 1.0}
    winner = replace(
        found.winner,
        setting=replace(found.winner.setting, name="queue_depth_wait", table=table),
    )
    ringed = replace(found, winner=winner, tried=grid()).plot.surface()
    assert offsets(ringed, "winner").tolist() == [[8.0, 1.0]]
    assert not len(offsets(replace(found, tried=grid()).plot.surface(), "winner"))


def test_a_policy_without_both_numbers_has_no_surface(found):
    with pytest.raises(ValueError, match=r"^greedy has not both max_batch_size and max_wait_ms; "
                       r"there are queue_depth_wait$"):  # fmt: skip
        found.plot.surface("greedy")


def test_the_load_figure_marks_where_each_becomes_unstable(found):
    axes = found.plot.load()
    places = sorted(float(m.get_xdata()[0]) for m in axes.get_lines() if m.get_marker() == "v")
    shown = set(found.load_curve.policies)
    limits = sorted(one.unstable_above for one in found.judged if one.name in shown)
    assert places == limits
    assert "mean latency" in axes.get_ylabel()


def test_the_load_figure_agrees_with_the_limits_where_other_loads_are_tuned_for(tmp_path):
    loads = ["tune.loads=[0.3, 0.5]", "tune.trials=16", "tune.replications=1"]
    found = run(tmp_path, loads)
    limits = {one.name: one.unstable_above for one in found.judged}
    told = [
        (step.settings[found.load_curve.keys[0]], outcome.policy, outcome.stable)
        for step in found.load_curve.steps
        for outcome in step.outcomes
    ]
    assert any(limits[name] < 0.95 for name in found.load_curve.policies)
    assert all(stable == (load < limits[name]) for load, name, stable in told)


def test_the_latency_target_is_drawn_only_for_its_percentile(found):
    def targets(axes):
        return [text.get_text() for text in axes.texts if text.get_text().startswith("SLO")]

    assert targets(found.plot.load("mean")) == []
    assert targets(found.plot.load("p90")) == ["SLO 14 ms"]


def test_without_a_curve_over_loads_there_is_no_figure_of_it(found):
    bare = replace(found, load_curve=None)
    assert "load" not in figures_of(bare)
    sentence = (
        r"^there is no curve over loads: tune with load_curve=True, open arrivals and at least one "
        r"feasible setting$"
    )
    with pytest.raises(ValueError, match=sentence):
        bare.plot.load()


def test_the_front_has_intervals_in_both_directions(found):
    two = with_objectives(found, "mean", "busy")
    tried = tuple(trial("greedy", k, (8.0 + k, 0.9), feasible=k < 3) for k in range(5))
    axes = replace(two, tried=tried).plot.front()
    assert len(line_called(axes, "3 feasible trials").get_xdata()) == 3
    by_name = {str(c.get_label()): c for c in axes.containers}
    winner = by_name[f"{found.winner.name} (winner)"]
    assert winner.has_xerr
    assert winner.has_yerr
    assert winner.lines[0].get_marker() == "*"
    assert {"greedy", "snap", "balanced_cap"} <= {name.split()[0] for name in by_name}
    assert "%" in axes.get_ylabel()
    assert not any(name.startswith("queue_depth_wait") for name in by_name), "it is unstable"
    known = with_objectives(found, "busy", "batch_size")
    axes = replace(known, tried=tried).plot.front()
    assert found.of("queue_depth_wait").outcomes[0].value("utilisation") is not None
    assert not any(str(c.get_label()).startswith("queue_depth_wait") for c in axes.containers)


def test_three_objectives_have_a_panel_a_pair(found):
    three = with_objectives(found, "mean", "busy", "batch_size")
    tried = tuple(trial("greedy", k, (8.0, 0.9, 4.0)) for k in range(3))
    assert len(replace(three, tried=tried).plot.fronts()) == 3
    panels = plt.Figure().subplots(1, 3)
    assert replace(three, tried=tried).plot.fronts(panels) == list(panels)


def test_one_objective_has_no_front(found):
    with pytest.raises(ValueError, match=r"^a front needs two objectives: give them as "
                       r'tune\.objective = \["mean", "busy"\]$'):  # fmt: skip
        found.plot.front()


def test_regret_has_a_gap_where_a_setting_is_unstable(found):
    regret = {found.winner.name: [0.05, 0.0, 0.01], "greedy": [0.0, 0.02, math.inf]}
    axes = over_loads(found, (0.3, 0.5, 0.7), regret).plot.regret()
    assert list(line_called(axes, found.winner.name).get_ydata()) == pytest.approx([5.0, 0.0, 1.0])
    assert math.isnan(line_called(axes, "greedy").get_ydata()[2])
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts[0] == f"{found.winner.name} (winner)   5 %"
    assert "greedy   unstable" in texts


def test_regret_needs_several_loads(found):
    with pytest.raises(ValueError, match=r"^regret is over several loads: give tune\.loads = "
                       r"\[0\.3, 0\.5, 0\.7\]$"):  # fmt: skip
        found.plot.regret()


def test_a_figure_is_drawn_on_the_axes_that_are_given(found):
    from experiments.style import figure

    left, right = figure(8, 3).subplots(1, 2)
    assert found.plot.history(ax=left) is left
    assert found.plot.surface(ax=right) is right


def test_a_capacity_is_judged_in_requests_per_second(found):
    rates = {
        found.winner.name: (800.0, 790.0, 812.0, "slo"),
        "greedy": (700.0, 690.0, 705.0, "slo"),
    }
    axes = as_capacity(found, rates).plot.history()
    assert axes.get_ylabel().endswith("requests/s")
    assert line_called(axes, "winner, judged").get_ydata()[0] == 800.0


def test_a_notebook_shows_a_table_and_the_verdict_escaped(found):
    text = renamed(found, "snap", "<b>snap</b>")._repr_html_()
    assert "<b>" not in text
    assert "&lt;b&gt;snap&lt;/b&gt;" in text
    assert text.count("<tr>") == len(found.judged) + 1
    assert replace(found, verdict="a < b")._repr_html_().endswith("<p>a &lt; b</p>")
