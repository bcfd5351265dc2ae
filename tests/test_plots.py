"""Figures: units on every axis, one colour a policy, intervals drawn, nothing global touched."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

import profiles
from experiments import plots
from experiments.compare import compare
from experiments.config import load_scenario
from experiments.figures import figures_of, save
from experiments.plots_profile import profile_figure
from experiments.style import PALETTE, looks

SCENARIO = """
name = "plotted"
[workload]
requests = 120_000
arrivals = { process = "poisson", rate_per_s = 1200.0 }
[[workload.tiers]]
name = "all"
slo = { percentile = 99, ms = 10.0 }
[service]
model = { base_ms = 2.0, per_request_ms = 0.35, max_batch_size = 32 }
[policies.waits]
kind = "size_or_timeout"
max_batch_size = 32
max_wait_ms = 5.0
[policies.single]
kind = "greedy"
max_batch_size = 1
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    path = tmp_path_factory.mktemp("plots") / "plotted.toml"
    path.write_text(SCENARIO)
    return compare(load_scenario(path))


def drawn_lines(axes):
    return {line.get_label(): line for line in axes.get_lines() if line.get_label()[0] != "_"}


def test_a_comparison_has_the_five_figures(found):
    names = ["latency", "batch-sizes", "padding", "queue-depth", "load"]
    assert list(figures_of(found)) == names


def test_every_axis_says_its_unit(found):
    for name, figure in figures_of(found).items():
        words = [text.get_text() for text in figure.texts]
        words += [a.get_xlabel() for a in figure.axes] + [a.get_ylabel() for a in figure.axes]
        together = " ".join(words)
        units = {
            "latency": ("ms", "requests slower"),
            "batch-sizes": ("requests", "%"),
            "padding": ("%",),
            "queue-depth": ("s", "requests"),
            "load": ("ms", "share of the largest possible rate"),
        }[name]
        assert all(unit in together for unit in units), (name, together)


def test_the_latency_curve_crosses_one_percent_at_the_p99(found):
    axes = found.plot.latency_ecdf()
    assert axes.get_xscale() == axes.get_yscale() == "log"
    label = next(label for label in drawn_lines(axes) if label.startswith("greedy"))
    line = drawn_lines(axes)[label]
    at = np.interp(-0.01, -line.get_ydata(), line.get_xdata())
    assert at == pytest.approx(found.outcome("greedy").value("latency_ms.p99"), rel=0.01)
    low, high = axes.get_ylim()
    assert low < 0.01 < high


def test_an_unstable_policy_stands_in_the_legend_without_a_curve(found):
    lines = drawn_lines(found.plot.latency_ecdf())
    assert len(lines["single   unstable"].get_xdata()) == 0


def test_a_policy_has_one_colour_in_all_figures(found):
    look = looks(o.policy for o in found.outcomes)
    latency = {k.split()[0]: v for k, v in drawn_lines(found.plot.latency_ecdf()).items()}
    load = drawn_lines(found.load_curve.plot.latency_against("load"))
    sizes = {a.get_title(loc="left"): a.patches[0] for a in found.plot.batch_sizes()}
    for name, style in look.items():
        colour = mpl.colors.to_rgba(style["color"])
        assert mpl.colors.to_rgba(latency[name].get_color()) == colour
        assert mpl.colors.to_rgba(load[name].get_color()) == colour
        assert sizes[name].get_facecolor() == colour


def test_colours_are_distinct_and_dashes_tell_the_rest_apart():
    styles = [tuple(map(str, style.values())) for style in looks("abcdefghijklmnop").values()]
    assert len(set(styles)) == 2 * len(PALETTE)


def test_batch_shares_add_up_to_100_percent(found):
    for axes in found.plot.batch_sizes():
        assert sum(bar.get_height() for bar in axes.patches) == pytest.approx(100.0)


def test_stable_policies_share_the_scale_of_queue_depth(found):
    panels = {axes.get_title(loc="left"): axes for axes in found.plot.queue_depth()}
    assert panels["waits"].get_ylim() == panels["greedy"].get_ylim()
    assert panels["single"].get_ylim()[1] > 100 * panels["greedy"].get_ylim()[1]
    assert [text.get_text() for text in panels["single"].texts] == ["unstable"]


def test_a_load_curve_draws_intervals_and_points_to_where_it_is_unstable(found):
    axes = found.load_curve.plot.latency_against("load", "mean")
    assert len(axes.collections) == 5
    dotted = [line for line in axes.get_lines() if line.get_label().startswith("_child")]
    ends = [tuple(line.get_xdata()) for line in dotted if len(line.get_xdata()) == 2]
    assert (0.1, 0.2) in ends


def test_an_unknown_key_of_a_sweep_names_those_that_there_are(found):
    with pytest.raises(
        KeyError, match=r"'servers' was not swept: there is workload\.arrivals\.load"
    ):
        found.load_curve.plot.latency_against("servers")


def test_a_figure_can_be_drawn_into_given_axes(found):
    from matplotlib.figure import Figure

    left, right = Figure().subplots(1, 2)
    assert found.plot.latency_ecdf(left) is left
    assert found.plot.padding(right) is right


def test_drawing_leaves_the_users_settings_and_figures_alone(found):
    from matplotlib import pyplot as plt

    before, drawn = dict(mpl.rcParams), plt.get_fignums()
    figures_of(found)
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == drawn


def test_the_same_result_gives_the_same_files(found, tmp_path):
    for name in ("one", "two"):
        save(plots.padding(found.outcomes).figure, tmp_path / name)
    for kind in ("png", "svg"):
        first, second = (tmp_path / f"{name}.{kind}" for name in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("name", ["jasper-a100-fp16", "bert-base-a100-tensorrt-fp16"])
def test_a_profile_has_one_line_a_length(name):
    profile = profiles.load(name)
    left, right = profile_figure(profile).axes
    assert len(drawn_lines(left)) == len(profile.length)
    heights = [line.get_ydata().max() for line in right.get_lines()]
    best = (profile.batch_size / (profile.latency_ns[:, 0] / 1e9)).max()
    assert max(heights) == pytest.approx(best)
