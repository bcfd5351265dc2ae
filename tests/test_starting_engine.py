"""``batchwright init`` from a log with prompts and answers: a scenario with an ``[engine]``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments.cli import app
from experiments.config import load_scenario as load_plain
from experiments.init import init
from experiments.iteration.config import load_scenario
from experiments.sentences import ScenarioError

NS = 1_000_000_000


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(one) for one in arguments])


def log_file(requests=3_000, groups=1, tiers=False, longest=3_000):
    rng = np.random.default_rng(7)
    times = np.repeat(np.cumsum(rng.exponential(0.3, requests // groups)), groups)
    prompt = np.rint(rng.lognormal(6.0, 1.0, len(times)).clip(1, longest)).astype(int)
    rows = [
        f"{1762156800 + t:.4f},{p},{2 * p},u{p % 40}" for t, p in zip(times, prompt, strict=True)
    ]
    rows = [f"{row},{'free' if k % 4 else 'paid'}" for k, row in enumerate(rows)] if tiers else rows
    header = "created,prompt_tokens,completion_tokens,user" + ",tier" * tiers
    Path("log.csv").write_text("\n".join([header, *rows]) + "\n")
    return times - times[0], prompt


def test_arrivals_prompts_and_answers_are_those_of_the_log(run):
    _, prompt = log_file()
    done = run("init", "a", "--from-log", "log.csv", "--slo", "p98=700")
    assert done.exit_code == 0, done.output
    scenario = load_scenario("a.toml")
    assert scenario.offered_rate_per_s == pytest.approx(1 / 0.3, rel=0.05)
    workload, _ = scenario.draw()
    assert workload.prompt.mean() == pytest.approx(prompt.mean(), rel=0.03)
    assert workload.output.mean() == pytest.approx(2 * prompt.mean(), rel=0.03)
    (target,) = scenario.targets
    assert (target.percent, target.ttft_ns) == (98, 700_000_000)
    assert scenario.engine.longest >= 3 * prompt.max()


def test_the_engine_is_that_of_the_shipped_scenario_and_is_called_an_assumption(run):
    log_file()
    told = run("init", "a", "--from-log", "log.csv").stdout
    assert "[engine] is an assumption" in told
    assert "Read: arrival from created (in s), length from prompt_tokens, output from" in told
    assert load_scenario("a.toml").times == load_scenario("chat").times
    text = Path("a.toml").read_text()
    assert "# An assumption, and every figure depends on it" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("longest", [3_000, 30_000])
def test_the_next_step_runs(run, longest):
    log_file(longest=longest)
    step = run("init", "a", "--from-log", "log.csv").stdout.strip().splitlines()[-1]
    assert step == "next: batchwright compare a.toml"
    done = run("compare", "a.toml", "--set", "workload.requests=1500")
    assert done.exit_code == 0, done.output
    assert "vllm_8192" in done.stdout


def test_a_replay_keeps_pairs_and_tiers(run):
    times, prompt = log_file(tiers=True)
    assert run("init", "a", "--from-log", "log.csv", "--arrivals", "trace").exit_code == 0
    workload, _ = load_scenario("a.toml").draw()
    assert workload.arrival_ns / NS == pytest.approx(times, abs=2e-4)
    assert workload.prompt.tolist() == prompt.tolist()
    assert workload.output.tolist() == (2 * prompt).tolist()
    assert [tier.name for tier in workload.tiers] == ["paid", "free"]
    assert workload.tier[:5].tolist() == [0, 1, 1, 1, 0]


def test_groups_are_played_again_until_there_are_enough(run):
    log_file(groups=5)
    done = run("init", "a", "--from-log", "log.csv")
    assert "3,000 requests are too few for a p99 with an interval" in done.stdout
    workload, _ = load_scenario("a.toml").draw()
    assert len(workload) == 120_000
    assert (workload.output == 2 * workload.prompt).all()
    assert load_scenario("a.toml").facts(120_000, 1)["recorded_requests"] == 3_000


def test_with_a_profile_of_one_pass_answers_are_left_out(run):
    log_file()
    profile = ("--profile", "bert-base-t4-tensorrt-fp16")
    assert run("init", "a", "--from-log", "log.csv", *profile).exit_code == 0
    assert load_plain("a.toml").profile.name == "bert-base-t4-tensorrt-fp16"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--load", "0.5"), "--load 0.5 is of models with one pass"),
        (("--servers", "2"), "--servers 2 is of models with one pass"),
        (("--lengths", "imdb"), "--lengths cannot be given with a log that has prompts"),
    ],
)
def test_options_of_other_models_are_refused_and_nothing_is_written(run, arguments, says):
    log_file(300)
    done = run("init", "a", "--from-log", "log.csv", *arguments)
    assert done.exit_code == 2
    assert says in done.stderr
    assert [path.name for path in Path().iterdir()] == ["log.csv"]


def test_init_is_a_function_that_writes_what_the_command_writes(run):
    log_file()
    assert run("init", "one", "--from-log", "log.csv", "--slo", "700").exit_code == 0
    made = init("two.toml", from_log="log.csv", slo=700)
    same = Path("one.toml").read_text().replace('"one', '"two').replace(" one.toml", " two.toml")
    assert made.path.read_text() == same
    assert "Read: arrival from created (in s)" in str(made)
    plain = init("c", from_log="log.csv", profile="bert-base-t4-tensorrt-fp16", slo="p95=40")
    assert plain.path == Path("c.toml")
    assert load_plain(plain.path).tiers[0].percentile == 95
    assert "<li>Read: arrival" in plain._repr_html_()
    with pytest.raises(ScenarioError, match="is there already"):
        init("two.toml", from_log="log.csv")


def test_nothing_is_overwritten(run):
    log_file(groups=5)
    Path("a.requests.csv").write_text("mine")
    done = run("init", "a", "--from-log", "log.csv")
    assert "a.requests.csv is there already; give another FILE, or --force" in done.stderr
    assert not Path("a.toml").exists()
    assert Path("a.requests.csv").read_text() == "mine"
