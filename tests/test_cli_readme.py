"""What the README says: its numbers, its Python, its commands and its scenario."""

from __future__ import annotations

import json
import re
from contextlib import chdir
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

import profiles
from experiments.bench_tune import short_table
from experiments.cli import app
from experiments.config import load_scenario
from experiments.validation.markdown import markdown_table
from experiments.validation.result import Validation
from profiles.latency import latency_at

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
ROW = re.compile(
    r"^ (\w+)(?: [*=])? +([\d.]+) ± ([\d.]+) +([\d.]+) ± ([\d.]+) +([\d.]+) ± ([\d.]+)"
    r" +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)$",
    re.MULTILINE,
)
LIVE = {
    "BERT tiny, one CPU core": "bert-tiny-cpu",
    "MiniLM, one CPU core": "minilm-cpu",
    "wav2vec 2.0, one CPU core": "wav2vec2-cpu",
    "BERT-base on a T4, emulated": "bert-t4",
}
"""Rows of the table of live runs, and whose they are."""
SHARES = ("slo_attainment", "utilisation", "useful_fraction", "mean_batch_size", "padding_waste")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def flat():
    """The text with its lines joined."""
    return " ".join(README.split())


def quotes():
    """The verdicts that are quoted, in order."""
    found = re.findall(r"(?:^> .*\n)+", README, re.MULTILINE)
    return [" ".join(line[2:] for line in quote.splitlines()) for quote in found]


PYTHON = dict(zip(("compare", "tune", "validate", "own_policy"), blocks("python"), strict=True))


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Runs a block of Python, once; gives what it named."""

    @cache
    def run(name):
        named = {"__name__": "readme"}
        with chdir(tmp_path_factory.mktemp(name)):
            exec(compile(PYTHON[name], "README.md", "exec"), named)
        return named

    return run


@pytest.fixture(scope="module")
def bert(ran):
    return ran("compare")["found"]


@pytest.fixture(scope="module")
def tuned(ran):
    return ran("tune")["best"]


def test_the_two_commands_stand_at_the_top():
    first = re.search(r"^```sh\n(.*?)```", README, re.DOTALL | re.MULTILINE)
    assert [line.split("#")[0].strip() for line in first[1].splitlines()] == [
        "make demo",
        "make test",
    ]


def test_the_table_is_that_of_the_shipped_scenario(bert):
    rows = ROW.findall(README)
    assert [row[0] for row in rows] == [o.policy for o in bert.outcomes]
    for name, *numbers in rows:
        outcome = bert.outcome(name)
        for key, (value, half) in zip(
            ("mean", "p50", "p99"), zip(numbers[0:6:2], numbers[1:6:2], strict=True), strict=True
        ):
            found = outcome.estimate(f"latency_ms.{key}")
            assert float(value) == pytest.approx(found.value, rel=0.03), (name, key)
            assert float(half) == pytest.approx((found.high - found.low) / 2, rel=0.5, abs=0.05)
        for key, value in zip(SHARES, numbers[6:], strict=True):
            scale = 1 if key == "mean_batch_size" else 100
            assert float(value) == pytest.approx(scale * outcome.value(key), abs=0.3), (name, key)


def test_the_quoted_verdicts_are_the_verdicts(bert, tuned):
    pattern = re.compile(r"\d+(?:[\d,]*\d)?(?:\.\d+)?")
    for quoted, verdict in zip(quotes(), (bert.verdict, tuned.verdict), strict=True):
        assert pattern.sub("#", quoted) == pattern.sub("#", verdict)
        for said, true in zip(pattern.findall(quoted), pattern.findall(verdict), strict=True):
            wanted = float(true.replace(",", ""))
            assert float(said.replace(",", "")) == pytest.approx(wanted, rel=0.05), (said, true)


def test_what_the_text_says_of_tuning_is_so(tuned):
    assert tuned.winner.feasible
    assert tuned.winner.worth[0].high < 20
    assert tuned.winner.worth[0].value < 0.93 * tuned.of("length_bucketed").worth[0].value


def test_what_the_text_concludes_is_so(bert):
    assert min(o.value("utilisation") for o in bert.outcomes) > 0.9
    waits, greedy = (
        bert.outcome(name).value("latency_ms.mean") for name in ("size_or_timeout", "greedy")
    )
    assert waits / greedy == pytest.approx(1.5, abs=0.1)


def test_the_table_of_known_answers_is_that_of_the_last_benchmark():
    kept = json.loads((ROOT / "docs" / "bench-tune.json").read_text())
    assert short_table(kept["scenarios"]) in README
    runs = [run for one in kept["scenarios"] for run in one["runs"]]
    near = sum(one["near"] for one in kept["scenarios"])
    limited = [run for run in runs if run["table"] is not None]
    assert f"{near} of the {len(runs)} searches end within 1 % of the best" in flat()
    assert sum(run["excess"] > 0 for run in limited) == 0
    assert "none breaks its limit" in flat()


@pytest.mark.parametrize("name", PYTHON)
def test_the_python_runs(name, ran):
    assert len(ran(name)) > 1, "it names something"


def test_the_scenario_is_one(tmp_path):
    (block,) = blocks("toml")
    path = tmp_path / "mine.toml"
    path.write_text(block)
    scenario = load_scenario(path)
    assert scenario.name == "mine"
    assert list(scenario.policies) == ["triton_like"]


def test_every_command_exists():
    (block,) = (b for b in blocks("sh") if "batchwright scenarios" in b)
    for line in block.splitlines():
        words = line.split("#")[0].split()
        command = words[1:3] if words[1] == "profile" else words[1:2]
        result = CliRunner().invoke(app, [*command, "--help"])
        assert result.exit_code == 0, line
        for option in (word for word in words if word.startswith("--")):
            assert option in re.sub(r"\x1b\[[0-9;]*m", "", result.stdout), line


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_number_of_profiles_is_right():
    published = len(list((ROOT / "profiles" / "published").glob("*.json")))
    assert f"{published} published latency tables" in README
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert f"{published} published GPU latency profiles" in changes
    assert len(profiles.names()) - published == 3
    assert "Three profiles were [measured on a CPU]" in README


def test_what_the_text_says_of_batches_on_cpu_and_gpu_is_so():
    for name, gain in (("minilm-cpu-fp32", 1.5), ("bert-base-a100-pytorch-eager-fp16", 16)):
        profile = profiles.load(name)
        times = [latency_at(profile, size, 64) for size in (1, 16)]
        assert 16 * times[0] / times[1] == pytest.approx(gain, rel=0.05)


def test_the_table_of_live_runs_is_that_of_the_kept_validations():
    kept = {
        name: Validation.of(json.loads((ROOT / "docs" / f"validate-{stem}.json").read_text()))
        for name, stem in LIVE.items()
    }
    assert markdown_table(kept) in README
    for validation in kept.values():
        assert not validation.no_claim
    inside = [f"{one.coverage.share:.0%}".replace("%", " %") for one in kept.values()]
    said = re.search(r"Inside their 90 % intervals are (.*?) of the emulated T4", flat())
    assert re.findall(r"\d+ %", said[1]) == inside
