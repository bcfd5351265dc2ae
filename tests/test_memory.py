"""The memory of a device bounds the batches of a scenario: what fits, what is refused, and how."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments.cli import app
from experiments.compare import compare, simulate
from experiments.config import ScenarioError, load_scenario
from experiments.export.run import setting_of_run
from experiments.memory import GIB, MIB
from experiments.sentences import RunFailed
from experiments.tune.contestants import contestants_of
from policies.contract import View, bind, fire
from profiles.memory import DEVICE_MEMORY, MemoryModel

TEXT = """
name = "tight"
[workload]
requests = 3000
arrivals = { process = "poisson", load = 0.8 }
lengths = { histogram = "lengths.csv" }
[service]
model = { base_ms = 2.0, per_request_ms = 0.1, per_length_ms = 0.01, max_batch_size = 64 }
[service.memory]
limit_gib = 2.0
fixed_gib = 1.0
per_length_mib = 0.16
[policies.waits]
kind = "size_or_timeout"
max_batch_size = 12
max_wait_ms = 2.0
[policies.greedy]
kind = "greedy"
[policies.buckets]
kind = "length_bucketed"
boundaries = [100, 300]
[policies.budget]
kind = "token_budget"
max_tokens = 6000
"""
LENGTHS = "length,count\n100,70\n200,20\n250,5\n500,5\n"
"""Of 1024 MiB that are left a request takes 16, 32, 40 or 80: 64, 32, 25 or 12 fit."""
FIT = {100: 64, 200: 32, 250: 25, 500: 12}


@pytest.fixture
def load(tmp_path):
    """Loads the scenario above, with overrides."""
    (tmp_path / "lengths.csv").write_text(LENGTHS)

    def loaded(*overrides, text=TEXT):
        (tmp_path / "tight.toml").write_text(text)
        return load_scenario(tmp_path / "tight.toml", overrides)

    return loaded


def test_what_fits_is_counted_at_every_length(load):
    memory = load().memory
    assert (
        dict(zip(memory.length.tolist(), memory.most(memory.length).tolist(), strict=True)) == FIT
    )
    assert (memory.largest, memory.at_longest) == (64, 12)


def test_a_size_that_is_left_open_is_the_largest_that_fits(load):
    policies = load().policies
    assert policies["greedy"].max_batch_size == 12
    assert policies["buckets"].max_batch_size.tolist() == [64, 25, 12]
    assert policies["budget"].max_batch_size == 64


def test_open_sizes_stay_open_where_memory_does_not_bind(load):
    roomy = load("service.memory.limit_gib=80")
    assert not roomy.memory.binds
    assert roomy.policies["greedy"].max_batch_size == 0
    assert len(roomy.policies["buckets"].max_batch_size) == 0


def test_a_roomy_limit_changes_no_result(load):
    without = re.sub(r"\[service\.memory\][^[]*", "", TEXT)
    with_limit = simulate(load("service.memory.limit_gib=80"), "greedy").to_dict()
    assert with_limit["policies"] == simulate(load(text=without), "greedy").to_dict()["policies"]


def test_the_largest_rate_has_only_batches_that_fit(load):
    scenario = load()
    cost = {n: min((2.0 + k * (0.1 + 0.01 * n)) / k for k in range(1, FIT[n] + 1)) for n in FIT}
    mean_ms = 0.7 * cost[100] + 0.2 * cost[200] + 0.05 * cost[250] + 0.05 * cost[500]
    assert scenario.rate_max_per_s == pytest.approx(1e3 / mean_ms)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "policies.waits.max_batch_size=13",
            "policies.waits.max_batch_size = 13 needs 2.02 GiB at length 500, but 2 GiB are there; "
            "at that length at most 12 fit",
        ),
        (
            "policies.buckets.max_batch_size=[64,26,12]",
            "policies.buckets.max_batch_size = [64, 26, 12] lets batches grow beyond the 2 GiB "
            "that are there (service.memory); the largest that fits is [64, 25, 12]",
        ),
        (
            "policies.buckets.max_batch_size=20",
            "policies.buckets.max_batch_size = 20 lets batches grow beyond the 2 GiB that are "
            "there (service.memory); the largest that fits is [20, 20, 12]",
        ),
        (
            "policies.budget.max_tokens=6500",
            "policies.budget.max_tokens = 6500 lets batches grow beyond the 2 GiB that are there "
            "(service.memory); the largest that fits is 6499",
        ),
        (
            "service.memory.limit_gib=1.07",
            "service.memory.limit_gib: one request of 500 tokens needs 1.08 GiB, but 1.07 GiB are "
            "there; give more, or shorter lengths",
        ),
        (
            "service.memory.limit_gib=0",
            "service.memory.limit_gib = 0 must be a number of GiB above 0",
        ),
        (
            "service.memory.per_lenght_mib=1",
            "unknown key service.memory.per_lenght_mib = 1; did you mean "
            "service.memory.per_length_mib?",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(load, override, sentence):
    with pytest.raises(ScenarioError, match=re.escape(sentence) + "$"):
        load(override)


@pytest.mark.parametrize("size", [1, 11, 12])
def test_what_fits_is_taken(load, size):
    assert load(f"policies.waits.max_batch_size={size}").policies["waits"].max_batch_size == size


def test_the_refused_size_and_the_named_one_lie_on_both_sides_of_the_limit(load):
    # The largest budget that fits fits indeed, with batches of every length.
    scenario = load("policies.budget.max_tokens=6499")
    memory = scenario.memory
    for length, most in FIT.items():
        assert min(64, 6499 // length) <= most
        assert memory.model.bytes_of(most, length) <= memory.limit
    assert FIT[500] < 6500 // 500


def test_a_wrong_number_stays_a_matter_of_the_policy(load):
    with pytest.raises(ScenarioError, match=r"`1 <= max_batch_size <= 64` must hold"):
        load("policies.waits.max_batch_size=0")


def test_no_batch_of_a_run_takes_more_than_there_is(load):
    scenario = load("workload.arrivals.load=0.98")
    full = []

    def look(policy, _replication, trace):
        taken = scenario.memory.model.bytes_of(trace.batch_size, trace.batch_longest)
        assert (taken <= scenario.memory.limit).all(), policy
        full.append(bool((trace.batch_size > FIT[500]).any()))

    found = compare(scenario, load_curve=False, on_trace=look)
    assert {"greedy", "snap", "balanced_cap"} <= {o.policy for o in found.outcomes}
    # Rules that look at lengths make larger batches than the longest would allow.
    assert any(full)


class TooMany(NamedTuple):
    """Takes whatever waits, whatever it was told."""

    def decide(self, view: View) -> int:
        return fire(view, 0, min(view.waiting[0], 64))


def test_a_policy_that_exceeds_the_memory_in_a_run_fails_it_in_one_sentence(load):
    scenario = load("workload.arrivals.load=0.9")
    sentence = (
        r"^policy wild made a batch of (\d+) with longest length (\d+), which needs [\d.]+ GiB, "
        r"but 2 GiB are there; at that length at most (\d+) fit$"
    )
    with pytest.raises(RunFailed, match=sentence) as raised:
        compare(scenario, {"wild": TooMany()}, load_curve=False)
    size, length, most = map(int, re.match(sentence, str(raised.value)).groups())
    assert FIT[length] == most < size


def test_a_search_stays_inside_what_fits(load):
    scenario = load()
    kinds = set()
    slowest = scenario.service_ns.max(axis=0)
    rng = np.random.default_rng(1)
    for contestant in contestants_of(scenario):
        kinds.add(contestant.kind)
        for _ in range(200):
            places = {a.name: int(rng.integers(len(a.values))) for a in contestant.axes}
            setting = contestant.setting(contestant.chosen(places))
            policy = bind(setting.policy, slowest, scenario.length_edges, scenario.tiers, 1)
            for length, most in FIT.items():
                size = np.atleast_1d(policy.max_batch_size)
                if contestant.kind == "length_bucketed":
                    largest = size[policy.lane_of(length, 0)]
                elif contestant.kind == "token_budget":
                    largest = min(size[0], max(1, policy.max_tokens // length))
                else:
                    largest = size[0]
                assert largest <= most, setting.table
    assert {"size_or_timeout", "length_bucketed", "token_budget", "snap"} <= kinds


def test_the_memory_of_a_profile_comes_from_its_file_and_its_device(load, tmp_path):
    made = MemoryModel(fixed=1.0 * GIB, per_length=0.5 * MIB)
    sizes, lengths = (1, 2, 4, 8), (64, 128)
    side = {
        "format": 1, "length_unit": "tokens", "statistic": "p50", "model": "m", "device": "d",
        "precision": "fp16", "framework": "f", "timed": "t", "licence": "l",
        "versions": {DEVICE_MEMORY: str(int(1.4 * GIB))},
    }  # fmt: skip
    (tmp_path / "mine.json").write_text(json.dumps(side))
    rows = [f"{size},{length},{size * length / 64 + 1}" for size in sizes for length in lengths]
    (tmp_path / "mine.csv").write_text("\n".join(["batch_size,length,latency_ms", *rows]) + "\n")
    profiled = re.sub(r"model = \{.*\}", 'profile = "mine"\nover_length = "truncate"', TEXT)
    bare = re.sub(r"\[service\.memory\][^[]*", "[service.memory]\n", profiled)
    few = bare.replace("max_batch_size = 12", "max_batch_size = 4").replace("6000", "500")
    with pytest.raises(ScenarioError, match=r"fixed_gib is missing: profile mine has no measured"):
        load(text=few)
    peaks = {(s, n): int(made.bytes_of(s, n)) for s in sizes for n in lengths if (s, n) != (8, 128)}
    rows = [f"{size},{length},{peak}" for (size, length), peak in peaks.items()]
    (tmp_path / "mine-memory.csv").write_text(
        "\n".join(["batch_size,length,peak_bytes", *rows, "8,128,"]) + "\n"
    )
    # 0.9 of 1.4 GiB leave 266 MiB for batches: 50 MiB for a request of 100 tokens, 64 of 128.
    scenario = load(text=few)
    assert scenario.memory.most(np.array([100, 128])).tolist() == [5, 4]
    assert scenario.memory.limit == pytest.approx(0.9 * 1.4 * GIB)
    assert scenario.files["mine-memory.csv"]
    # Shorter requests are padded to the shortest that was measured.
    assert scenario.memory.most(np.array([1, 63, 64])).tolist() == [8, 8, 8]
    assert scenario.memory.needs(8, 1) == scenario.memory.needs(8, 64) == "1.25 GiB"
    # With captured graphs all are padded up to the next measured length.
    padded = load('service.latency="bucket"', text=few).memory
    assert padded.most(np.array([65, 100, 128])).tolist() == [4, 4, 4]
    # What did not fit when it was measured never fits.
    assert load("service.memory.limit_gib=99", text=few).memory.at_longest == 7
    assert load("service.memory.limit_gib=99", text=few).hash != scenario.hash


def test_a_model_without_a_limit_is_told_to_give_one(load):
    text = TEXT.replace("limit_gib = 2.0\n", "")
    with pytest.raises(ScenarioError, match=r"service\.memory\.limit_gib is missing: give the mem"):
        load(text=text)


def test_the_memory_is_shown_and_kept_with_the_run(load, tmp_path, monkeypatch):
    load()
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(app, ["simulate", "tight.toml", "--policy", "buckets"])
    assert shown.exit_code == 0, shown.output
    line = "memory: 2 GiB, which hold a batch of 12 at 500 tokens or 64 at 100 tokens"
    assert line in shown.output
    kept = json.loads((tmp_path / "runs/tight/simulate-1/manifest.json").read_text())
    assert kept["memory"]["largest_batch_at_longest"] == 12
    result = json.loads((tmp_path / "runs/tight/simulate-1/result.json").read_text())
    assert result["scenario"]["memory"] == kept["memory"]
    assert result["policies"]["buckets"]["parameters"]["max_batch_size"] == [64, 25, 12]


def test_an_export_writes_no_size_that_does_not_fit(load, tmp_path, monkeypatch):
    load()
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(app, ["simulate", "tight.toml", "--policy", "greedy"])
    assert run.exit_code == 0, run.output
    out = CliRunner().invoke(app, ["export", "latest", "--to", "triton", "--out", "there"])
    assert out.exit_code == 0, out.output
    assert setting_of_run(tmp_path / "runs/tight/simulate-1").largest_batch == 12
    text = next((tmp_path / "there").rglob("config.pbtxt")).read_text()
    assert "max_batch_size: 12" in text
    assert "Sizes are held to the memory: 2 GiB" in text.replace("\n#   ", " ")
