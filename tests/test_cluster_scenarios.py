"""The table ``service.cluster`` of scenario files, and the shipped cluster."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments.cli import app
from experiments.config import ScenarioError, load_scenario
from policies import Greedy, Static
from sim import kernel
from sim.metrics import measure
from sim.service import Noise
from sim.stability import assess

HEAD = """
name = "small"
[workload]
requests = 4000
arrivals = { process = "poisson", load = 0.5 }
[service]
servers = 4
model = { base_ms = 2.0, per_request_ms = 1.0, max_batch_size = 8 }
"""
TAIL = """
[policies.greedy]
kind = "greedy"
"""


def scenario(tmp_path, cluster, head=HEAD, overrides=()):
    path = tmp_path / "small.toml"
    path.write_text(f"{head}\n[service.cluster]\n{cluster}\n{TAIL}")
    return load_scenario(path, list(overrides))


@pytest.mark.parametrize(
    ("cluster", "problem"),
    [
        ('router = "last_loaded"', "service.cluster.router.kind = 'last_loaded' is no kind of rou"),
        ('router = { kind = "round_robin", spill = 2 }', "service.cluster.router.spill = 2 is unk"),
        (
            'router = { kind = "length_affinity", boundaries = [1, 2, 3, 4] }',
            "fewer boundaries than replicas (4)",
        ),
        ("instances = 3", "service.servers = 4 must be a multiple of service.cluster.instances = "),
        ("instances_per_gpu = 2", "service.cluster.slowdown has 0 factors, but"),
        ("slowdown = [1.4]", "service.cluster.slowdown has 1 factors, but"),
        ('others = [{ profile = "x", replicas = 1 }]', "others needs service.profile instead of"),
        ("cold_start_ms = 5", "cold_start_ms needs service.cluster.autoscaler"),
        (
            'autoscaler = { kind = "knative", max_replicas = 9 }',
            "`max_replicas <= 4, the replicas of the cluster` must hold, but got (max_replicas=9)",
        ),
        ('autoscaler = { kind = "ray" }', "service.cluster.autoscaler.kind = 'ray' is no kind of"),
        (
            "outages = [{ replica = 4, at_s = 1, lasts_s = 1 }]",
            "service.cluster.outages.0.replica = 4 must be below 4",
        ),
        ("outages = [{ replica = 1, at_s = 1 }]", "lasts_s"),
        ("outages = 3", "service.cluster.outages"),
        ("rooter = 3", "did you mean service.cluster.router?"),
        ('on_failure = "ignore"', "retry"),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(tmp_path, cluster, problem):
    with pytest.raises(ScenarioError) as caught:
        scenario(tmp_path, cluster)
    message = str(caught.value).replace('"', "'")
    assert problem.replace('"', "'") in message
    assert "\n" not in message


def test_an_autoscaler_in_front_of_a_closed_loop_is_refused(tmp_path):
    closed = HEAD.replace(
        '{ process = "poisson", load = 0.5 }', '{ process = "closed", clients = 3, think_ms = 1 }'
    )
    with pytest.raises(ScenarioError, match="autoscaler needs open arrivals"):
        scenario(tmp_path, 'autoscaler = "ray_serve"', closed)


def test_load_counts_what_neighbours_on_a_gpu_leave(tmp_path):
    alone = scenario(tmp_path, "")
    shared = scenario(tmp_path, "instances_per_gpu = 2\nslowdown = [1.6]")
    assert shared.rate_max_per_s == pytest.approx(alone.rate_max_per_s / 1.6)
    useless = scenario(tmp_path, "instances_per_gpu = 2\nslowdown = [2.5]")
    # one instance of each GPU alone does more than both together
    assert useless.rate_max_per_s == pytest.approx(alone.rate_max_per_s / 2)


def test_every_replica_of_a_router_has_its_own_queue(tmp_path):
    made = scenario(tmp_path, 'router = "round_robin"\ninstances = 2')
    cluster = made.draw()[1].cluster
    assert (cluster.queues, cluster.replicas, cluster.servers) == (2, 2, 4)
    assert scenario(tmp_path, "instances = 2").draw()[1].cluster.queues == 1


def test_a_tier_of_its_own_capacity_is_rejected_alone(tmp_path):
    tiers = HEAD.replace(
        "[service]",
        """
[[workload.tiers]]
name = "urgent"
share = 0.5
[[workload.tiers]]
name = "offline"
share = 0.5
capacity = { requests = 2 }
[service]""",
    )
    made = scenario(tmp_path, "", tiers, ["workload.arrivals.load=0.9"])
    found = measure(kernel.run(made.policies["greedy"], *made.draw()), made.draw()[1])
    assert found.group("urgent").rejected == 0
    assert found.group("offline").rejected > 50


def test_outages_at_random_come_as_often_and_last_as_long_as_asked(tmp_path):
    made = scenario(
        tmp_path,
        "outages = { every_s = 0.4, lasts_s = 0.1 }",
        overrides=["workload.requests=400000"],
    )
    workload, service = made.draw()
    outages = service.cluster.outages_ns
    there = outages[outages[..., 1] < 2**62].reshape(-1, 2)
    lasts_s = np.diff(there, axis=1).mean() / 1e9
    spans = workload.arrival_ns[-1] / 1e9 * 4
    assert lasts_s == pytest.approx(0.1, rel=0.1)
    assert len(there) == pytest.approx(spans / 0.5, rel=0.1)
    assert not np.array_equal(made.draw(1)[1].cluster.outages_ns, outages)


def test_an_outage_says_how_many_batches_it_cost(tmp_path):
    made = scenario(
        tmp_path, 'router = "round_robin"\noutages = [{ replica = 1, at_s = 1.0, lasts_s = 0.5 }]'
    )
    workload, service = made.draw()
    trace = kernel.run(made.policies["greedy"], workload, service)
    trace.check(service, workload)
    use = measure(trace, service).replicas
    assert (use.least, use.most) == (3, 4)
    assert use.failed == 1
    # away for 0.5 s of the 90 % of the run that are kept
    kept_s = 0.9 * workload.arrival_ns[-1] / 1e9
    assert use.mean.value == pytest.approx(4 - 0.5 / kept_s, rel=0.01)


@pytest.fixture(scope="module")
def cluster_8():
    return load_scenario("cluster_8")


def test_the_largest_rate_of_a_mixed_cluster_is_nearly_the_sum_of_its_servers(cluster_8):
    """Nearly: the mean table has one best batch size, the GPUs have two."""
    spec = "bert-base-{}-tensorrt-fp16"
    rates = [
        load_scenario("cluster_8", [
            f"service.profile={spec.format(gpu)}", "service.servers=1", "service.cluster={}",
        ]).rate_max_per_s
        for gpu in ("a100", "l4")
    ]  # fmt: skip
    ratio = cluster_8.rate_max_per_s / (6 * rates[0] + 2 * rates[1])
    assert 0.98 < ratio <= 1.0


def test_a_mixed_cluster_has_the_noise_of_each_profile(cluster_8):
    _, service = cluster_8.draw()
    assert service.noise.quantiles.shape[0] == service.size_classes.max() + 1
    assert service.size_classes[0].max() < service.size_classes[1].min()
    assert service.tables_ns.shape[0] == 2
    assert (service.tables_ns[1, 0, :, 0] > 2 * service.tables_ns[0, 0, :, 0]).mean() > 0.9


@pytest.mark.parametrize(("router", "stable"), [("round_robin", False), ("least_loaded", True)])
def test_a_router_that_looks_keeps_up_where_one_that_does_not_drowns_the_slow(router, stable):
    made = load_scenario("cluster_8", [f"service.cluster.router={router}"])
    workload, service = made.draw()
    found = assess(made.policies["greedy"], workload, service, kernel.run)
    assert found.stable == stable


@pytest.mark.parametrize("policy", [Greedy(), Static(8)])
def test_the_rate_of_equal_replicas_is_that_of_one_queue_each(tmp_path, policy):
    """A replica serves 8 in 10 ms, round robin shares alike, and a rest that waits is no growth."""
    made = scenario(tmp_path, 'router = "round_robin"')
    workload, service = made.draw()
    found = assess(policy, workload, service, kernel.run)
    assert found.saturation_per_s == pytest.approx(4 * 8 / 0.010, rel=0.03)
    assert service.noise.draws.shape == Noise().draws.shape


def test_the_command_shows_the_replicas(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["simulate", "cluster_8", "--policy", "snap", "--set", "workload.requests=60000"]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0
    assert "replicas" in shown.stdout
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    use = found["policies"]["snap"]["replicas"]
    assert len(use["utilisation"]) == 8
