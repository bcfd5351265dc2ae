"""Scenarios of models that generate: read, refused in one sentence, compared, shown."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rich.console import Console
from rich.measure import Measurement
from typer.testing import CliRunner

from experiments.cli import app
from experiments.config import load_scenario as load_batches
from experiments.config import token_scenario_names
from experiments.iteration import compare, load_scenario, simulate
from experiments.iteration.saturation import saturation_per_s
from experiments.iteration.terminal import result_table
from experiments.sentences import ScenarioError
from policies.iteration import VllmLike
from sim.iteration import kernel

FEW = ["workload.requests=1500"]

SMALL = """
name = "small"

[workload]
requests = 3000
arrivals = { process = "poisson", rate_per_s = 20.0 }
prompts = { distribution = "uniform", min = 10, max = 100 }
outputs = { distribution = "uniform", min = 1, max = 40 }

[[workload.tiers]]
name = "people"
share = 0.5
slo = { ttft_ms = 200, tpot_ms = 30, percentile = 95 }

[[workload.tiers]]
name = "jobs"
share = 0.5
outputs = { constant = 60 }

[engine]
max_num_seqs = 16
max_model_len = 256
memory = { blocks = 110 }

[engine.times]
fixed_ms = 5
prefill_token_us = 50
sequence_us = 300

[policies.vllm]
kind = "vllm_like"
max_num_batched_tokens = 128

[policies.urgent]
kind = "vllm_like"
max_num_batched_tokens = 128
by_priority = true

[policies.whole]
kind = "request_level"
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def invoke(*words):
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "100"})


@pytest.mark.parametrize("name", token_scenario_names())
def test_shipped_scenarios_are_drawn_and_their_rates_are_what_they_say(name):
    scenario = load_scenario(name, ["workload.requests=20000"])
    workload, serving = scenario.draw()
    assert len(workload) == 20_000
    assert workload.prompt.min() >= 1
    assert workload.output.min() >= 1
    assert not serving.too_long(workload).any()
    again, _ = scenario.draw()
    assert np.array_equal(workload.arrival_ns, again.arrival_ns)
    assert np.array_equal(workload.output, again.output)
    other, _ = scenario.draw(1)
    assert not np.array_equal(workload.output, other.output)


def test_lengths_are_those_of_the_published_hours():
    for name, prompt, output in (("chat", 1154.7, 211.1), ("code", 2047.8, 27.9)):
        scenario = load_scenario(name)
        pmf = scenario.workload.lengths.pmf()
        assert pmf.mean == pytest.approx(prompt, abs=0.1)
        assert scenario.outputs[0].pmf().mean == pytest.approx(output, abs=0.1)


def test_one_seed_changes_one_thing(small):
    first, _ = load_scenario(small).draw()
    other, _ = load_scenario(small, ["seeds.lengths=99"]).draw()
    assert np.array_equal(first.arrival_ns, other.arrival_ns)
    assert np.array_equal(first.tier, other.tier)
    assert not np.array_equal(first.prompt, other.prompt)
    assert not np.array_equal(first.output, other.output)


def test_tiers_have_outputs_and_targets_of_their_own(small):
    scenario = load_scenario(small)
    workload, _ = scenario.draw()
    assert set(workload.output[workload.tier == 1]) == {60}
    assert workload.output[workload.tier == 0].max() == 40
    assert [each.any for each in scenario.targets] == [True, False]


def test_a_trace_gives_arrivals_prompts_and_outputs(tmp_path, small):
    rows = ["at,read,written", "0.5,10,3", "0.75,20,1", "2,30,7"]
    (tmp_path / "log.csv").write_text("\n".join(rows))
    text = SMALL.split("[[workload.tiers]]", maxsplit=1)[0] + SMALL[SMALL.index("[engine]") :]
    text = text.replace("requests = 3000\n", "")
    arrivals = '{ process = "trace", file = "log.csv", columns = { arrival_s = "at" } }'
    text = text.replace('{ process = "poisson", rate_per_s = 20.0 }', arrivals)
    text = text.replace('{ distribution = "uniform", min = 10, max = 100 }', '{ column = "read" }')
    text = text.replace('{ distribution = "uniform", min = 1, max = 40 }', '{ column = "written" }')
    small.write_text(text)
    workload, _ = load_scenario(small).draw()
    assert workload.arrival_ns.tolist() == [0, 250_000_000, 1_500_000_000]
    assert workload.prompt.tolist() == [10, 20, 30]
    assert workload.output.tolist() == [3, 1, 7]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("engine.max_num_seq=3", "unknown key engine.max_num_seq = 3; did you mean"),
        ("workload.arrivals.load=0.5", "depends on the rule"),
        ('workload.arrivals={process="closed",clients=3,think_ms=1}', "open process"),
        ('workload.arrivals={process="poisson",load=0.5}', "rate_per_s"),
        ("policies.vllm.max_num_batched_tokens=8", "max_num_batched_tokens >= max_num_seqs"),
        ("policies.vllm.kind=vlm_like", "did you mean vllm_like?"),
        ("policies.vllm.watermark=1.5", "0 <= watermark < 1"),
        ("engine.memory.gib=3", "give exactly one of blocks and gib"),
        ('engine.preemption="swap"', "kv_bytes_per_token"),
        ('engine.noise={kind="profile"}', "needs a profile"),
        ("engine.times.fixed_ms=-1", "engine.times.fixed_ms"),
        ("workload.outputs.max=0", "workload.outputs.max"),
        ("workload.tiers.0.slo={percentile=95}", "ttft_ms"),
    ],
)
def test_what_is_wrong_is_one_sentence_with_the_key(small, setting, said):
    with pytest.raises(ScenarioError) as told:
        load_scenario(small, [setting])
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_a_missing_profile_is_told_by_key(small):
    small.write_text(SMALL.replace("[engine.times]\nfixed_ms = 5", "[engine.times_]\nfixed_ms = 5"))
    with pytest.raises(ScenarioError, match="times"):
        load_scenario(small)


def test_urgent_tiers_gain_and_the_others_pay(small):
    found = compare(small, ["vllm", "urgent"])
    plain, urgent = found.outcome("vllm"), found.outcome("urgent")
    first = "ttft_ms.mean"
    assert urgent.value(first, "people") < plain.value(first, "people")
    assert urgent.value(first, "jobs") >= plain.value(first, "jobs")
    assert found.difference("urgent", "vllm", first) or found.difference("vllm", "urgent", first)


def test_both_engines_find_the_same(small):
    a = compare(small, engine="kernel", policies=["vllm", "whole"])
    b = compare(small, engine="simpy", policies=["vllm", "whole"])
    first, second = a.to_dict(), b.to_dict()
    for told in (first, second):
        told.pop("engine"), told.pop("seconds")
    assert first == second


def test_a_rule_that_cannot_keep_up_has_no_latency(small):
    scenario = load_scenario(small, ["workload.arrivals.rate_per_s=200", *FEW])
    found = compare(scenario, ["vllm"])
    outcome = found.outcome("vllm")
    assert not outcome.stable
    assert outcome.value("latency_ms.mean") is None
    assert "unstable" in found.verdict
    assert found.best is None


def test_saturation_is_what_a_full_engine_does(small):
    scenario = load_scenario(
        small,
        ["workload.tiers=[{name='all'}]", "workload.outputs.min=40", "engine.memory.blocks=999"],
    )
    draw = scenario.draw()
    found = saturation_per_s(VllmLike(), [draw], kernel.run)
    work = draw[0]
    # With 16 in the batch an iteration decodes 16 and reads prompts as often as one begins.
    each_ms = work.output.mean() / 16 * (5 + 16 * 0.3) + work.prompt.mean() * 0.05
    assert found == pytest.approx(1000 / each_ms, rel=0.03)


def test_results_are_frames_json_html_and_figures(small):
    found = compare(small)
    frame = found.to_frame()
    assert list(frame.index) == ["vllm", "urgent", "whole"]
    assert frame.loc["vllm", "output_tokens_per_s"] > 0
    assert frame.loc["vllm", "ttft_ms_mean_low"] < frame.loc["vllm", "ttft_ms_mean"]
    assert found.to_frame(by_tier=True).index.names == ["policy", "tier"]
    assert "NaN" not in found.to_json()
    assert json.loads(found.to_json())["kind"] == "iterations"
    assert "<table>" in found._repr_html_()
    for name in ("ttft", "tpot", "latency", "trade_off"):
        axes = getattr(found.plot, name)()
        assert axes.get_xlabel()
    assert len(found.plot.over_time("vllm")) == 3


def test_one_rule_alone_says_what_share_keeps_its_targets(small):
    found = simulate(small)
    assert [o.policy for o in found.outcomes] == ["vllm"]
    assert "keeps the targets of" in found.verdict


def test_the_command_prints_tables_and_writes_a_run(small, tmp_path):
    out = tmp_path / "runs"
    found = invoke("compare", small, "--out", out, "--records")
    assert found.exit_code == 0, found.output
    assert "TTFT" in found.output
    assert all(len(line) <= 100 for line in found.output.splitlines() if "runs" not in line)
    folder = out / "small" / "compare-1"
    assert {"result.json", "manifest.json", "ttft.png"} <= {path.name for path in folder.iterdir()}
    assert list(folder.glob("requests-vllm-0.*"))
    told = json.loads((folder / "manifest.json").read_text())
    assert told["status"] == "complete"
    assert told["hash"] == load_scenario(small).hash
    alone = invoke("simulate", small, "--policy", "whole", "--json", "--out", out)
    assert alone.exit_code == 0
    assert list(json.loads(alone.stdout)["policies"]) == ["whole"]


def test_commands_that_do_not_know_tokens_say_who_does():
    with pytest.raises(ScenarioError, match="token by token"):
        load_batches("chat")


def test_lists_name_scenarios_and_rules_of_iterations():
    told = json.loads(invoke("scenarios", "--json").stdout)
    assert [each["name"] for each in told["generating"]] == token_scenario_names()
    rules = json.loads(invoke("policies", "--json").stdout)["iterations"]
    assert {"request_level", "continuous", "vllm_like"} <= {each["kind"] for each in rules}


PUBLISHED = """TIMESTAMP,ContextTokens,GeneratedTokens\r
2023-11-16 18:15:46.6805900,374,44\r
2023-11-16 18:15:50.9951690,396,109\r
2023-11-16 18:15:51.2224670,879,55"""
"""How the files of AzureLLMInferenceTrace 2023 are written (their first lines)."""


def test_a_trace_as_it_was_published_is_replayed_without_a_word_changed(tmp_path):
    (tmp_path / "conv.csv").write_text(PUBLISHED, newline="")
    scenario = load_scenario(
        "chat",
        [
            "workload.requests=3",
            f'workload.arrivals={{process = "trace", file = "{tmp_path / "conv.csv"}", '
            'columns = {arrival_s = "TIMESTAMP"}}',
            'workload.prompts={column = "ContextTokens"}',
            'workload.outputs={column = "GeneratedTokens"}',
        ],
    )
    workload, _ = scenario.draw()
    assert workload.arrival_ns.tolist() == [0, 4_314_579_000, 4_541_877_000]
    assert workload.prompt.tolist() == [374, 396, 879]
    assert workload.output.tolist() == [44, 109, 55]


@pytest.mark.parametrize("width", [100, 80])
def test_a_table_that_is_too_wide_loses_intervals_of_tails_and_then_middles_of_names(small, width):
    rules = {"a_rule_with_a_name_that_is_rather_long": VllmLike(), "b" * 40: VllmLike(4)}
    found = compare(small, rules)
    console = Console(width=width)
    with console.capture() as captured:
        console.print(result_table(found, width))
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= width
    drawn = result_table(found, width)
    assert Measurement.get(Console(width=999), console.options, drawn).maximum <= width
    assert any("\N{HORIZONTAL ELLIPSIS}" in line for line in lines)
