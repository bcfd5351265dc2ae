"""A run read back: its scenario, and the setting that it recommends with its evidence."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from experiments import cli_run
from experiments.config import load_scenario
from experiments.export.run import setting_of_run
from experiments.export.setting import Figure
from experiments.rerun import run_name, scenario_of_run
from experiments.runs import RunError

SCENARIO = """
name = "small"
[workload]
requests = 4_000
arrivals = { process = "poisson", rate_per_s = 1200.0 }
lengths = { distribution = "lognormal", median = 64, sigma = 0.5, min = 8, max = 200 }
[[workload.tiers]]
name = "web"
share = 1.0
slo = { percentile = 99, ms = 20.25 }
[service]
model = { base_ms = 2.0, per_request_ms = 0.35, per_length_ms = 0.001, max_batch_size = 32 }
servers = 2
capacity = { requests = 500, counts = "in_system" }
timeout = { ms = 400.5 }
[policies.waits]
kind = "size_or_timeout"
max_batch_size = 32
max_wait_ms = 2.35
[policies.bucketed]
kind = "length_bucketed"
boundaries = [64]
max_wait_ms = [0.0, inf]
"""


def quiet(_what, _done, _total):
    """Progress that nobody sees."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a comparison."""
    root = tmp_path_factory.mktemp("runs")
    (root / "small.toml").write_text(SCENARIO)
    run = cli_run.run_compare(
        str(root / "small.toml"), None, "simpy", ["seeds.arrivals=7"], root / "runs", False, False,
        quiet,
    )  # fmt: skip
    return run.folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy of it that a test may break."""
    return shutil.copytree(made, tmp_path / "small" / "compare-1")


def change(folder, name, edit):
    """Edit a JSON file of a run."""
    path = folder / name
    found = json.loads(path.read_text())
    edit(found)
    path.write_text(json.dumps(found))


def refused(folder, **asked):
    """Why a run is not read back."""
    with pytest.raises(RunError) as caught:
        setting_of_run(folder, **asked)
    return str(caught.value)


def test_the_scenario_of_a_run_is_the_one_that_was_run(made):
    source = made.parents[2] / "small.toml"
    again = scenario_of_run(made)
    assert again.hash == load_scenario(source, ["seeds.arrivals=7"]).hash
    assert again.hash != load_scenario(source).hash
    assert again.policies["waits"].max_wait_ns == 2_350_000
    assert again.spec.policies["bucketed"]["max_wait_ms"] == [Decimal("0.0"), Decimal("inf")]
    assert again.seeds.arrivals == 7


def test_the_setting_has_everything_that_a_stack_can_say(made):
    found = setting_of_run(made, "waits")
    assert found.table == {
        "kind": "size_or_timeout",
        "max_batch_size": 32,
        "max_wait_ms": Decimal("2.35"),
    }
    assert found.policy.min_batch_size == 32
    assert (found.servers, found.largest_batch, found.longest) == (2, 32, 200)
    assert (found.capacity, found.capacity_counts_in_system) == (500, True)
    assert found.timeout_ns == 400_500_000
    assert [(tier.name, tier.slo_ns) for tier in found.tiers] == [("web", 20_250_000)]
    assert found.model == "small"
    assert found.costs.probability.sum() == pytest.approx(1)


def test_the_evidence_is_that_of_the_run(made):
    found = setting_of_run(made, "waits").evidence
    result = json.loads((made / "result.json").read_text())
    mean = result["policies"]["waits"]["latency_ms"]["mean"]
    assert found.latency_ms["mean"] == Figure(mean["value"], mean["low"], mean["high"])
    assert found.latency_ms["p99"].value is None
    assert str(found.latency_ms["p99"]) == "not given, the run was too short or the policy unstable"
    assert found.run == "small/compare-1"
    assert (found.profile, found.device) == (None, None)
    assert (found.arrivals, found.rate_per_s, found.requests) == ("poisson", 1200.0, 4000)
    assert found.loads == (pytest.approx(result["scenario"]["load"]),)
    assert found.seeds["arrivals"] == 7
    assert found.remarks == ()


def test_the_best_policy_is_the_default_and_baselines_can_be_asked_for(made):
    best = json.loads((made / "result.json").read_text())["best"]
    assert setting_of_run(made).name == best
    greedy = setting_of_run(made, "greedy", "other")
    assert greedy.policy.max_batch_size == 32
    assert greedy.model == "other"


def test_the_winner_of_a_tuning_goes_before_the_best_with_its_servers(folder):
    def tuned(found):
        found["winner"], found["winner_servers"] = "waits", 3
        found["policies"]["waits"]["parameters"]["max_batch_size"] = 16
        found["loads"] = [{"load": 0.4}, {"load": 0.6}]

    change(folder, "result.json", tuned)
    found = setting_of_run(folder)
    assert (found.name, found.servers, found.policy.max_batch_size) == ("waits", 3, 16)
    assert found.evidence.loads == (0.4, 0.6)
    assert found.evidence.remarks == ("The predicted figures are those of the first load, 0.4",)
    assert setting_of_run(folder, "bucketed").servers == 2


def test_every_judged_setting_of_a_tuning_has_its_own_servers(folder):
    def tuned(found):
        found["winner"], found["winner_servers"] = "waits", 3
        found["judged"] = [{"name": "waits", "servers": 3}, {"name": "bucketed", "servers": 1}]

    change(folder, "result.json", tuned)
    assert setting_of_run(folder).servers == 3
    assert setting_of_run(folder, "bucketed").servers == 1
    assert setting_of_run(folder, "greedy").servers == 2


def test_an_unstable_policy_says_so_in_its_evidence(folder):
    def unstable(found):
        found["policies"]["waits"] |= {"stable": False, "stability": "unstable: too slow"}

    change(folder, "result.json", unstable)
    remarks = setting_of_run(folder, "waits").evidence.remarks
    assert remarks == ("The policy does not keep up with these arrivals: unstable: too slow",)


@pytest.mark.parametrize(
    ("settings", "remark"),
    [
        (
            ['service.timeout={ process = "exponential", mean_ms = 50.0 }'],
            "In the simulation clients gave up after exponentially distributed times, which is "
            "theirs to do: no time-out is written",
        ),
        (
            [
                'workload.tiers=[{ name = "a", share = 0.5, timeout = { ms = 50.0 } }, '
                '{ name = "b", share = 0.5 }]'
            ],
            "In the simulation the tiers had different time-outs, and one queue has one: no "
            "time-out is written",
        ),
    ],
)
def test_patience_that_no_stack_has_is_remarked(made, tmp_path, settings, remark):
    source = str(made.parents[2] / "small.toml")
    run = cli_run.run_simulate(source, None, "simpy", settings, tmp_path, False, quiet)
    found = setting_of_run(run.folder)
    assert found.timeout_ns is None
    assert found.evidence.remarks == (remark,)


def test_lengths_that_were_cut_are_remarked(tmp_path):
    run = cli_run.run_simulate(
        "bert", "greedy", "kernel", ["workload.requests=2000"], tmp_path, False, quiet
    )
    assert setting_of_run(run.folder).evidence.remarks == (
        "In the simulation requests longer than 384 tokens were truncated to it, which has to be "
        "done before the batcher",
    )


def test_a_policy_that_the_run_lacks_is_refused_with_a_guess(folder):
    assert refused(folder, policy="wait") == (
        "run small/compare-1 has no policy 'wait'; did you mean waits?"
    )


def test_a_run_that_recommends_nothing_asks_for_a_policy(folder):
    change(folder, "result.json", lambda found: found.update(best=None))
    assert refused(folder) == (
        "run small/compare-1 recommends no policy, as none is stable; choose one with --policy: "
        "waits, bucketed, greedy, snap, balanced_cap"
    )


def test_a_tuning_in_which_no_setting_keeps_the_limits_says_so(folder):
    change(folder, "result.json", lambda found: found.update(best=None, winner=None, judged=[]))
    assert refused(folder).startswith(
        "run small/compare-1 recommends no policy, as none that was searched keeps every limit; "
    )


def test_a_sweep_has_no_single_setting(folder):
    change(folder, "result.json", lambda found: found.pop("policies"))
    assert refused(folder) == (
        "run small/compare-1 holds no single setting to export; give a run of compare, simulate or "
        "tune"
    )


def test_a_run_of_other_data_is_refused(made, folder):
    before = json.loads((folder / "manifest.json").read_text())["hash"][:12]
    change(folder, "manifest.json", lambda found: found["scenario"]["seeds"].update(arrivals=8))
    after = load_scenario(made.parents[2] / "small.toml", ["seeds.arrivals=8"]).hash[:12]
    assert refused(folder) == (
        f"run small/compare-1 was made of other data: the hash of its scenario was {before} and is "
        f"{after} now, so that a profile, a trace or a default has changed since; run it again"
    )


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("result.json", "{", "run small/compare-1 is damaged: result.json is not JSON: "),
        ("result.json", "[]", "run small/compare-1 is damaged: result.json is no JSON object"),
        ("manifest.json", "{}", "run small/compare-1 is damaged: manifest.json has no scenario"),
        ("result.json", None, "run small/compare-1 has no result.json: it was not finished"),
    ],
)
def test_a_damaged_run_gets_one_sentence(folder, name, text, sentence):
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(text)
    assert refused(folder, policy=None if name == "result.json" else "waits").startswith(sentence)


def test_a_manifest_that_holds_no_scenario_says_what_is_wrong(folder):
    change(folder, "manifest.json", lambda found: found["scenario"]["service"].update(servers=0))
    assert refused(folder) == (
        "run small/compare-1 is damaged: manifest.json holds no scenario: service.servers = 0 must "
        "be a whole number of at least 1"
    )


def test_a_profile_that_has_gone_asks_to_run_again(folder):
    def gone(found):
        service = found["scenario"]["service"]
        del service["model"]
        service["profile"] = "no-such-profile"

    change(folder, "manifest.json", gone)
    assert refused(folder) == (
        "run small/compare-1 cannot be read back: service.profile: 'no-such-profile' is neither a "
        "shipped profile nor a profile's file; `batchwright profile list` names those; run it again"
    )


def test_a_run_is_named_by_its_scenario_and_its_number(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert run_name(folder) == "small/compare-1"
    assert run_name(Path()) == "small/compare-1"
