"""The commands as functions for notebooks: results that show, tabulate and draw themselves."""

from __future__ import annotations

import inspect
import json
from importlib import import_module

import matplotlib.pyplot as plt
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.capacity import capacity
from experiments.compare import compare
from experiments.config import load_scenario
from experiments.diagnose import diagnose
from experiments.diagnosis.errors import DiagnosisError
from experiments.export import export
from experiments.export.contract import ExportError, NotExpressible
from experiments.iteration import compare as compare_rules
from experiments.iteration import load_scenario as load_rules
from experiments.iteration.tune import tune as tune_rules
from experiments.sentences import ScenarioError
from experiments.simulate import simulate
from experiments.sweep import sweep
from experiments.tune import tune
from experiments.validation import Validation
from policies import Greedy
from sim import kernel

COMMANDS = ("simulate", "compare", "sweep", "tune", "capacity", "validate", "diagnose", "export")
SMALL = ["workload.requests=20000"]
TUNED = [
    "workload.requests=20000", "tune.trials=4", 'tune.objective="mean"', 'tune.policies=["snap"]',
]  # fmt: skip
VALIDATED = "docs/validate-bert-t4.json"


def validated(root):
    return Validation.of(json.loads((root / VALIDATED).read_text()))


@pytest.fixture(scope="module")
def bert():
    return load_scenario("bert", SMALL)


@pytest.fixture(scope="module")
def found(bert):
    return compare(bert, ["greedy", "length_bucketed"], load_curve=False)


@pytest.fixture(scope="module")
def mixed():
    return compare("mixed_sla", ["priority", "headroom"], load_curve=False)


@pytest.fixture(scope="module")
def diagnosis():
    return diagnose(load_scenario("recommender", SMALL))


@pytest.fixture(scope="module")
def results(found, mixed, diagnosis, bert, request):
    return {
        "comparison": found,
        "tiers": mixed,
        "simulation": simulate(bert, "greedy"),
        "sweep": sweep("bert", {"service.servers": [1, 2]}, ["snap"], settings=SMALL),
        "diagnosis": diagnosis,
        "capacity": capacity(bert, ["snap"]),
        "tuning": tune(load_scenario("staircase_pow2", TUNED), load_curve=False),
        "validation": validated(request.config.rootpath),
    }  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_a_function_of_its_own_module(command):
    function = getattr(import_module(f"experiments.{command}"), command)
    assert inspect.isfunction(function)
    text = inspect.getdoc(function)
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    for name, parameter in signature.parameters.items():
        assert parameter.annotation is not inspect.Parameter.empty, name
        assert f"{name}:" in text, f"{name} is not described"


def test_settings_are_given_as_on_the_command_line():
    short = ["workload.requests=2000", "workload.arrivals.load=0.4"]
    found = compare("greedy", ["greedy"], load_curve=False, settings=short)
    assert (found.scenario["requests"], found.scenario["load"]) == (2_000, pytest.approx(0.4))
    assert simulate("greedy", settings=short).scenario == found.scenario
    assert compare_rules("chat", ["vllm_like"], settings=short[:1]).scenario["requests"] == 2_000


def test_trials_are_given_as_on_the_command_line():
    for search in (tune, tune_rules):
        with pytest.raises(ScenarioError, match=r"tune\.trials = 0 must be"):
            search("bert" if search is tune else "chat", trials=0)


def test_settings_of_a_scenario_that_is_loaded_come_too_late():
    for run, loaded in ((compare, load_scenario("bert")), (compare_rules, load_rules("chat"))):
        with pytest.raises(ScenarioError, match=r"loaded, and run\.replications=2 comes too late"):
            run(loaded, settings=["run.replications=2"])
    with pytest.raises(ScenarioError, match=r"bert is loaded, and tune\.trials=9 comes too late"):
        tune(load_scenario("bert"), trials=9)


def test_every_result_shows_and_tabulates_itself(results):
    for name, result in results.items():
        assert result._repr_html_().startswith("<table>"), name
        assert len(result.to_frame()), name
        assert json.loads(result.to_json()), name


def test_every_result_prints_as_its_verdict(results):
    for name, result in results.items():
        text = repr(result)
        assert text.startswith(f"<{type(result).__name__} of "), name
        assert text.endswith(f": {result.verdict}>"), name
        assert len(text) < 3000, name


def test_every_figure_of_a_result_is_described_and_takes_axes(results):
    for name, result in results.items():
        drawers = inspect.getmembers(result.plot, inspect.ismethod)
        drawers = [(key, one) for key, one in drawers if not key.startswith("_")]
        assert drawers, name
        for key, draw in drawers:
            assert inspect.getdoc(draw), (name, key)
            assert "ax" in inspect.signature(draw).parameters, (name, key)


def test_figures_draw_on_the_axes_that_they_are_given(found, mixed, diagnosis):
    _, axes = plt.subplots(2, 4)
    one = iter(axes.flat)
    drawers = (
        found.plot.latency_ecdf, found.plot.padding, found.plot.differences, mixed.plot.tiers,
        diagnosis.plot.stages, diagnosis.plot.remedies,
    )  # fmt: skip
    for draw in drawers:
        own = next(one)
        assert draw(ax=own) is own
    plt.close("all")


def test_panels_are_drawn_on_one_axes_each(found, request):
    many = len(found.outcomes)
    whole, axes = plt.subplots(1, many)
    assert found.plot.batch_sizes(axes) == list(axes)
    assert found.plot.queue_depth(ax=axes) == list(axes)
    assert axes[0].get_xlabel() == "time, s"
    assert not whole.texts
    live = validated(request.config.rootpath)
    _, axes = plt.subplots(1, len(live.loads))
    assert live.plot.ecdf(axes) == list(axes)
    plt.close("all")


def test_too_few_axes_are_refused(found):
    axes = Figure().add_subplot()
    message = r"`one axes for each panel` must hold, but got \(axes=1, panels=4\)"
    with pytest.raises(ValueError, match=message):
        found.plot.batch_sizes(axes)


def test_a_frame_by_tier_has_a_row_a_policy_and_tier(mixed):
    frame = mixed.to_frame(by_tier=True)
    tier = mixed.outcome("priority").measures.group("offline")
    row = frame.loc["priority", "offline"]
    assert row["throughput_per_s"] == tier.throughput_per_s.value
    assert len(frame) == 2 * len(mixed.outcomes)
    assert ">offline<" in mixed._repr_html_()


def test_differences_are_those_of_the_comparison_the_fastest_on_top(found):
    axes = found.plot.differences("greedy", "mean")
    names = [label.get_text() for label in axes.get_yticklabels()]
    values = [found.difference(name, "greedy", "mean").ms.value for name in names]
    assert values == sorted(values, reverse=True)
    dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert [dot.get_xdata()[0] for dot in dots] == values


def test_a_difference_that_was_not_computed_is_refused_with_those_that_were(found):
    with pytest.raises(ValueError, match="no difference of p50 against greedy; there is mean"):
        found.plot.differences("greedy", "p50")


def test_tiers_are_drawn_where_they_stand_under_the_bound(mixed):
    axes = mixed.plot.tiers()
    dots = {c.get_label(): c.lines[0].get_xydata()[0] for c in axes.containers}
    assert set(dots) == {"priority", "headroom"}  # one queue for all serves no caption
    for name, (x, y) in dots.items():
        group = mixed.outcome(name).measures.group
        assert x == group("interactive").latency_ms["p99"].value
        assert y == group("offline").throughput_per_s.value
    assert any(text.get_text().startswith("no rule above 77") for text in axes.texts)


def test_tiers_without_a_backlog_are_refused(found):
    with pytest.raises(ValueError, match="there is nothing to draw"):
        found.plot.tiers()


def test_a_sweep_over_names_draws_them_side_by_side_and_crosses_the_unstable():
    routers = ["round_robin", "least_loaded"]
    loads = sweep("cluster_8", {"service.cluster.router": routers}, ["snap"])
    axes = loads.plot.latency_against("router")
    assert [label.get_text() for label in axes.get_xticklabels()] == routers
    crosses = {
        line.get_color(): list(line.get_xdata())
        for line in axes.get_lines()
        if line.get_marker() == "x"
    }
    assert all(len(places) == 1 for places in crosses.values())
    assert all(-0.5 < places[0] < 0.5 for places in crosses.values())


def test_a_diagnosis_draws_each_change_that_serves_everybody(diagnosis):
    axes = diagnosis.plot.remedies()
    served = [one for one in diagnosis.remedies if one.value_ms < diagnosis.lost_ms]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [one.what for one in served][::-1]
    assert [bar.get_width() for bar in axes.patches] == [one.value_ms for one in served][::-1]
    frame = diagnosis.to_frame()
    assert list(frame.index) == [one.what for one in diagnosis.remedies]
    assert isinstance(diagnosis.plot.stages(), Axes)


def test_a_diagnosis_takes_scenarios_and_traces_and_says_what_goes_with_which(bert):
    trace = kernel.run(Greedy(), *bert.draw())
    assert diagnose(bert, policy="greedy").value_ms == diagnose(trace).value_ms
    with pytest.raises(DiagnosisError, match="must be a policy"):
        diagnose(trace, policy="greedy")
    with pytest.raises(DiagnosisError, match="give the name of a policy"):
        diagnose(bert, policy=Greedy())


def test_a_result_is_exported_with_its_evidence(bert, found, tmp_path):
    got = export(found, "triton", "greedy", scenario=bert, folder=tmp_path)
    text = (tmp_path / "config.pbtxt").read_text()
    assert text == got.files["config.pbtxt"]
    assert got.exact
    assert f"scenario bert (hash {bert.hash[:12]})" in text.replace("\n#  ", "")
    assert "Command: Python compare bert" in text
    shown = got._repr_html_()
    assert "<b>config.pbtxt</b>" in shown
    assert "Not the policy" not in shown
    assert all(note.split(",")[0] in shown for note in got.notes)
    nearly = export(found, "triton", "length_bucketed", nearest=True, scenario=bert)
    assert nearly._repr_html_().startswith("<p><b>Not the policy that was simulated")
    with pytest.raises(NotExpressible, match="triton"):
        export(found, "triton", "length_bucketed", scenario=bert)


def test_a_result_is_exported_with_no_other_scenario_than_its_own(found):
    with pytest.raises(ExportError, match="with settings of its own: give the scenario"):
        export(found, "triton")
    with pytest.raises(ExportError, match="must be the scenario of the result"):
        export(found, "triton", scenario=load_scenario("bert"))
