"""MLPerf's LoadGen as driver and judge: its numbers rebuilt, and a live server under it."""

from __future__ import annotations

import json
import math
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments.cli import app
from experiments.mlperf import judging
from experiments.mlperf.early_stopping import (
    EarlyStopping,
    early_stopping,
    least_queries,
    percentile_of,
)
from experiments.mlperf.load import read_log

INSTALLED = find_spec("mlperf_loadgen") is not None
FAKE = Path(__file__).parent / "fake_loadgen"

SCENARIO = """
name = "judged"
[workload]
requests = 2000
arrivals = {{ process = "poisson", rate_per_s = 400 }}
lengths = {{ constant = 10 }}
[[workload.tiers]]
name = "all"
slo = {{ percentile = 99, ms = {target} }}
[service]
model = {{ base_ms = 2.0, per_request_ms = 0.2, max_batch_size = 16 }}
[policies.greedy]
kind = "greedy"
[policies.waits]
kind = "size_or_timeout"
max_batch_size = 16
max_wait_ms = 2
"""


def test_queries_that_early_stopping_asks_for_are_loadgens():
    """Numbers of MLPerf's early_stopping.cc; 17 late of 700 need 2,225 more, as 6.0.17 printed."""
    late = (0, 1, 2, 5, 10, 17, 20, 50)
    needed = [459, 662, 838, 1307, 2010, 700 + 2225, 3304, 6898]
    assert [least_queries(count) for count in late] == needed
    assert least_queries(0, 90.0) == 44


@pytest.mark.parametrize("percentile", [50, 80, 90])
def test_one_query_less_is_not_enough(percentile):
    def probability(late, queries):
        share = 1 - percentile / 100
        return sum(
            math.comb(queries, k) * share**k * (1 - share) ** (queries - k) for k in range(late + 1)
        )

    for late in range(6):
        needed = least_queries(late, percentile)
        assert probability(late, needed) <= 0.01 < probability(late, needed - 1)


def test_the_verdict_counts_late_queries():
    latency_ns = np.arange(1, 839)
    assert early_stopping(latency_ns, 836, 99.0) == EarlyStopping(838, 2, 838)
    assert early_stopping(latency_ns, 836, 99.0).met
    assert early_stopping(latency_ns, 835, 99.0) == EarlyStopping(838, 3, least_queries(3))
    assert early_stopping(latency_ns, 835, 99.0).more == least_queries(3) - 838 > 0


def test_a_percentile_is_a_latency_that_occurred():
    latency_ns = np.array([40, 10, 30, 20])
    assert [percentile_of(latency_ns, p) for p in (25, 50, 74, 99)] == [20, 30, 30, 40]
    assert np.percentile(latency_ns, 50) == 25


def test_the_log_is_read_by_key_and_other_lines_are_none(tmp_path):
    log = tmp_path / "detail.txt"
    log.write_text(
        ':::MLLOG {"key": "result_validity", "value": "VALID"}\n'
        "a line of something else\n"
        ':::MLLOG {"key": "result_query_count", "value": 700, "metadata": {}}\n'
    )
    assert read_log(log) == {"result_validity": "VALID", "result_query_count": 700}


def judged(folder, target, *options):
    (folder / "judged.toml").write_text(SCENARIO.format(target=target))
    return CliRunner().invoke(
        app,
        [
            *("validate", str(folder / "judged.toml"), "--judge", "mlperf"),
            *("--out", str(folder / "runs"), *options),
        ],
        env={"COLUMNS": "100"},
    )


@pytest.fixture
def loadgen(monkeypatch):
    """The library itself where it is installed, or what stands for it."""
    if not INSTALLED:
        monkeypatch.syspath_prepend(str(FAKE))


@pytest.fixture
def only_with_the_library():
    if not INSTALLED:
        pytest.skip("mlcommons-loadgen is not installed: pip install 'batchwright[loadgen]'")


def test_every_policy_is_judged_and_every_query_answered(loadgen, tmp_path):
    both = ("--policy", "greedy", "--policy", "waits")
    done = judged(tmp_path, 60_000, "--window", "1.5s", "--json", *both)
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert [one["policy"] for one in found["verdicts"]] == ["greedy", "waits"]
    for one in found["verdicts"]:
        assert one["stopping"] == {"queries": 600, "late": 0, "needed": 459, "more": 0}
        assert one["valid"] is one["stopped_early"] is True
        assert one["log"]["result_query_count"] == 600
        assert one["within"]["value"] == 1.0
        for name, own_ms in one["own_latency_ms"].items():
            assert one["latency_ms"][name] >= own_ms > 2.0, "LoadGen counts from the schedule"
    assert (Path(found["run"]) / "mlperf" / "waits" / "mlperf_log_detail.txt").is_file()


def test_a_target_that_is_missed_is_said_in_a_table_and_a_sentence(loadgen, tmp_path):
    done = judged(tmp_path, 0.5, "--window", "0.5s", "--policy", "greedy")
    assert done.exit_code == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert re.search(r"greedy [\d.]+ [\d.]+ [\d.]+ 200 200 [\d,]+ INVALID", text)
    more = f"{least_queries(200) - 200:,}"
    assert f"early stopping asks for {more} more queries, none of them late" in text


def test_several_loads_are_told_apart(loadgen, tmp_path):
    loads = ("--load", "0.05", "--load", "0.1", "--window", "0.5s", "--policy", "greedy")
    done = judged(tmp_path, 60_000, *loads)
    assert done.exit_code == 0, done.stderr
    assert "greedy at load 0.05" in done.stdout
    assert "greedy at load 0.10" in done.stdout


def test_an_interruption_keeps_the_verdicts_before_it(loadgen, tmp_path, monkeypatch):
    real, asked = judging._verdict, []

    def once(*given):
        asked.append(given)
        if len(asked) > 1:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(judging, "_verdict", once)
    both = ("--policy", "greedy", "--policy", "waits", "--window", "0.5s")
    done = judged(tmp_path, 60_000, *both)
    assert done.exit_code == 130
    assert "interrupted: what was done is in" in done.stderr
    (result,) = (tmp_path / "runs").glob("judged/judge-1/result.json")
    found = json.loads(result.read_text())
    assert [one["policy"] for one in found["verdicts"]] == ["greedy"]
    assert found["interrupted"] is True


def test_the_library_says_how_many_more_queries_it_wants(only_with_the_library, tmp_path):
    found = json.loads(judged(tmp_path, 0.5, "--window", "0.5s", "--json").stdout)
    for one in found["verdicts"]:
        told = re.search(r"at least (\d+) more queries", one["log"]["early_stopping_result"])
        assert int(told[1]) == one["stopping"]["more"]
        assert one["stopped_early"] is False


REFUSED = {
    "two tiers": (
        "name = \"all\"\n",
        "name = \"all\"\nshare = 0.5\n[[workload.tiers]]\nname = \"more\"\nshare = 0.5\n",
        "has 2 tiers; MLPerf's server scenario has one stream of queries",
    ),
    "no target": ("slo = { percentile = 99, ms = 50 }", "", "has no target; give slo = "),
    "a closed loop": (
        '{ process = "poisson", rate_per_s = 400 }',
        '{ process = "closed", clients = 3, think_ms = 2 }',
        "has no arrival rate; LoadGen's queries are Poisson",
    ),
    "a full queue": (
        "[service]", "[service]\ncapacity = { requests = 5 }", "refuses requests, which",
    ),
    "impatience": (
        "name = \"all\"\n",
        "name = \"all\"\ntimeout = { ms = 20 }\n",
        "has requests that give up, which LoadGen does not know",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_loadgen_does_not_know_is_refused_in_a_sentence(loadgen, tmp_path, name):
    old, new, sentence = REFUSED[name]
    text = SCENARIO.format(target=50)
    assert old in text
    (tmp_path / "other.toml").write_text(text.replace(old, new))
    command = ["validate", str(tmp_path / "other.toml"), "--judge", "mlperf"]
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "runs")])
    assert done.exit_code == 2, done.stdout
    assert f"error: scenario judged {sentence}" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_model_that_generates_is_refused_in_a_sentence(loadgen):
    done = CliRunner().invoke(app, ["validate", "chat", "--judge", "mlperf"])
    assert done.exit_code == 2
    assert done.stderr.startswith("error: chat is of a model that generates, token by token; ")


def test_without_the_package_the_sentence_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(judging, "find_spec", lambda _: None)
    done = judged(tmp_path, 50)
    assert done.exit_code == 2
    assert done.stderr == (
        "error: --judge mlperf needs mlcommons-loadgen, which is not installed: pip install "
        "'batchwright[loadgen]'\n"
    )
