"""A run with tiers and a cluster: what an export knows of it, and the way back into a scenario."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from experiments import cli_run
from experiments.cli import app
from experiments.config import load_scenario
from experiments.export import triton
from experiments.export.contestants import with_files
from experiments.export.run import setting_of_run
from policies.autoscalers import RayServe
from sim import routed_limit

MS = 1_000_000

SCENARIO = """
name = "tiers"
[workload]
requests = 400
arrivals = { process = "poisson", rate_per_s = 1000.0 }
lengths = { constant = 64 }
[[workload.tiers]]
name = "web"
share = 0.7
slo = { percentile = 99, ms = 50.0 }
timeout = { ms = 400.5 }
[[workload.tiers]]
name = "batch"
share = 0.3
capacity = { requests = 300 }
[service]
model = { base_ms = 2.0, per_request_ms = 0.35, max_batch_size = 32 }
servers = 4
[service.cluster]
router = "power_of_two"
instances = 2
instances_per_gpu = 2
slowdown = [1.4]
initial_replicas = 1
cold_start_ms = 1500
autoscaler = { kind = "ray_serve", min_replicas = 1, target_ongoing_requests = 4.5 }
outages = [{ replica = 0, at_s = 0.1, lasts_s = 0.1 }]
[policies.fill]
kind = "priority_fill"
max_batch_size = 16
max_wait_ms = 2.5
[policies.plain]
kind = "greedy"
"""


def quiet(_what, _done, _total):
    """Progress that nobody sees."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with the scenario's file."""
    found = tmp_path_factory.mktemp("tiers")
    (found / "tiers.toml").write_text(SCENARIO)
    return found


def simulated(root, policy):
    """The folder of a simulation."""
    source = str(root / "tiers.toml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(routed_limit, "STEPS", 3)  # how much it serves at most matters to none here
        return cli_run.run_simulate(source, policy, "simpy", [], root / "runs", False, quiet).folder


@pytest.fixture(scope="module")
def folder(root):
    """A run of the rule that knows tiers."""
    return simulated(root, "fill")


def test_a_setting_knows_how_the_replicas_stand(folder):
    found = setting_of_run(folder, "fill").replicas
    assert (found.count, found.instances, found.instances_per_gpu) == (2, 2, 2)
    assert found.routed_by == "power_of_two"
    assert isinstance(found.scaler, RayServe)
    assert (found.scaled_by, found.initial) == ("ray_serve", 1)
    assert found.scaler.target_ongoing_requests == 4.5
    assert found.cold_start_ns == 1500 * MS
    assert found.on_failure == "retry"


def test_a_setting_knows_what_every_tier_brings_and_may(folder):
    web, batch = setting_of_run(folder, "fill").traffic
    assert (web.rate_per_s, batch.rate_per_s) == (pytest.approx(700), pytest.approx(300))
    assert (web.timeout_ns, batch.timeout_ns) == (400_500_000, None)
    assert (web.capacity, batch.capacity) == (None, 300)
    assert web.costs.length.tolist() == [64]


def test_what_no_file_sets_up_is_remarked(folder, root):
    fill = setting_of_run(folder).evidence.remarks
    plain = setting_of_run(simulated(root, "plain")).evidence.remarks
    assert (
        "In the simulation there were 2 replicas of 2 instances, each with its own queue, behind a "
        "power_of_two router, 2 instances a GPU (1.4 times slower together), 1 to 2 by ray_serve, "
        "which fail"
    ) in fill
    assert "A new replica was ready 1500 ms after the decision to start it" in fill
    assert (
        "Requests of a replica that failed were retried, which is for what stands before them to do"
    ) in fill
    differ = (
        "In the simulation the tiers had different time-outs, and one queue has one: no time-out "
        "is written"
    )
    assert differ in plain
    assert differ not in fill


def test_a_run_without_a_cluster_has_one_queue_and_no_remarks_of_one(tmp_path):
    run = cli_run.run_simulate("mm1", None, "kernel", ["workload.requests=2000"], tmp_path, False,
                               quiet)  # fmt: skip
    found = setting_of_run(run.folder)
    assert found.replicas is None
    (only,) = found.traffic
    assert (only.capacity, only.timeout_ns, only.backlog) == (None, None, False)


def test_the_levels_of_a_file_are_compared_with_the_tiers_of_a_scenario(folder, root):
    files = triton.export(setting_of_run(folder, "fill"), nearest=True).files
    (root / "mine.pbtxt").write_text(files["config.pbtxt"])
    told: list[str] = []
    scenario = load_scenario(root / "tiers.toml")
    again, names = with_files(scenario, [root / "mine.pbtxt"], told.append)
    assert names == ["mine"]
    assert repr(again.policies["mine"]) == repr(again.policies["fill"])
    assert not any("servers" in note or "levels of priority" in note for note in told)
    start, end = SCENARIO.index('[[workload.tiers]]\nname = "batch"'), SCENARIO.index("[service]")
    alone = SCENARIO[:start].replace("share = 0.7", "share = 1") + SCENARIO[end:]
    (root / "one.toml").write_text(alone)
    told.clear()
    with_files(load_scenario(root / "one.toml"), [root / "mine.pbtxt"], told.append)
    assert (
        f"note: {root / 'mine.pbtxt'} as mine: the file has 2 levels of priority, the scenario has "
        "1 tier"
    ) in told


def test_the_command_refuses_in_one_sentence_and_writes_the_nearest(folder, tmp_path):
    runner = CliRunner()
    asked = ["export", str(folder), "--policy", "fill", "--to", "ray", "--out", str(tmp_path)]
    refused = runner.invoke(app, [*asked, "--json"])
    assert refused.exit_code == 2
    reason = json.loads(refused.stdout)["stacks"]["ray"]["refused"]
    assert reason.startswith("priority_fill serves the most urgent tier first")
    written = runner.invoke(app, [*asked, "--nearest", "--json"])
    assert written.exit_code == 0
    found = json.loads(written.stdout)["stacks"]["ray"]
    assert not found["exact"]
    assert found["differences"][0].startswith("it becomes 2 deployments, one for each tier")
    told = runner.invoke(app, [*asked, "--nearest"]).stdout
    assert all(f"  differs: {each}\n" in told for each in found["differences"])
    text = (tmp_path / "ray" / "serve_config.yaml").read_text()
    assert "target_ongoing_requests: 4.5\n" in text
    assert "num_gpus: 0.5" not in text  # two instances have one GPU, and the tiers share it
    assert text.count("autoscaling_config:") == 2
