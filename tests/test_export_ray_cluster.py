"""Ray Serve with a cluster: its own router, instances that share a GPU, and its autoscaler."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from export_settings import refusal, setting
from fake_ray import loaded
from ray_schema import schema_takes

from experiments.export import ray_serve
from experiments.export.replicas import Replicas
from policies.autoscalers import RayServe

MS = 1_000_000
SECOND = 1000 * MS


def deployments(exported):
    """The deployments by name."""
    (application,) = yaml.safe_load(exported.files["serve_config.yaml"])["applications"]
    return {each["name"]: each for each in application["deployments"]}


def behind(router, servers=4, **given):
    """Full batches on replicas behind a router."""
    instances = given.get("instances", 1)
    replicas = Replicas(servers // instances, router={"kind": router}, **given)
    return replace(setting("static", batch_size=8, servers=servers), replicas=replicas)


def test_rays_own_router_is_exact_and_takes_every_request_at_once():
    exported = ray_serve.export(behind("power_of_two"), nearest=False)
    assert exported.exact
    found = deployments(exported)["Batcher"]
    assert (found["num_replicas"], found["max_ongoing_requests"]) == (4, 10**6)


@pytest.mark.parametrize("router", ["round_robin", "random", "least_loaded", "length_affinity"])
def test_another_router_is_refused(router):
    assert refusal(ray_serve, behind(router)) == (
        f"ray: Ray Serve has no {router} router; with --nearest its replicas get the requests from "
        "Ray's router, which takes the less loaded of two drawn at random, where the run had a "
        f"{router} router"
    )


def test_instances_are_batches_at_a_time_and_parts_of_a_gpu(monkeypatch):
    wanted = behind("power_of_two", instances=2, instances_per_gpu=4)
    exported = ray_serve.export(wanted, nearest=False)
    found = deployments(exported)["Batcher"]
    assert found["num_replicas"] == 2
    assert found["ray_actor_options"] == {"num_gpus": 0.5}
    app = loaded(exported.files["app.py"], monkeypatch)
    one = app.Batcher.func_or_class("app:echo")
    assert one.run.numbers["max_concurrent_batches"] == 2
    one.reconfigure(found["user_config"])
    assert one.run.numbers["max_batch_size"] == 8


def test_instances_of_one_replica_share_its_queue():
    wanted = setting("static", batch_size=8, servers=3)
    alone = replace(wanted, replicas=Replicas(1, instances=3, instances_per_gpu=3))
    exported = ray_serve.export(alone, nearest=False)
    found = deployments(exported)["Batcher"]
    assert found["num_replicas"] == 1
    assert found["ray_actor_options"] == {"num_gpus": 1}
    assert "max_concurrent_batches=3" in exported.files["app.py"]
    assert "replicas of Ray Serve do not share one queue" in refusal(
        ray_serve, replace(wanted, replicas=Replicas(3))
    )


SCALER = RayServe(
    max_replicas=4,
    min_replicas=2,
    target_ongoing_requests=3.5,
    upscale_delay_ns=20 * SECOND,
    downscale_delay_ns=90 * SECOND,
    look_back_ns=15 * SECOND,
    interval_ns=SECOND // 2,
)


def scaled(**given):
    """Full batches on replicas that Ray scales."""
    known = {"scaler": SCALER, "scaled_by": "ray_serve", "initial": 3, **given}
    return behind("power_of_two", **known)


def test_the_autoscaler_is_written_by_rays_own_names():
    exported = ray_serve.export(scaled(), nearest=False)
    assert exported.exact
    found = deployments(exported)["Batcher"]
    assert "num_replicas" not in found
    assert found["autoscaling_config"] == {
        "min_replicas": 2,
        "initial_replicas": 3,
        "max_replicas": 4,
        "target_ongoing_requests": 3.5,
        "upscale_delay_s": 20,
        "downscale_delay_s": 90,
        "look_back_period_s": 15,
        "metrics_interval_s": 0.5,
    }
    assert ray_serve.read(exported.files).servers is None


def test_ray_takes_no_start_below_its_least_replicas():
    exported = ray_serve.export(scaled(initial=1), nearest=False)
    assert deployments(exported)["Batcher"]["autoscaling_config"]["initial_replicas"] == 2
    assert (
        "initial_replicas = 1 lies outside of min_replicas and max_replicas, which Ray refuses: "
        "the nearest is written"
    ) in exported.notes


def test_another_autoscaler_is_refused():
    from policies.autoscalers import Knative

    wanted = scaled(scaler=Knative(4), scaled_by="knative")
    assert refusal(ray_serve, wanted) == (
        "ray: Ray Serve does not scale by the rule of knative; with --nearest it has all 4 servers "
        "all the time, where the run had 1 to 4 replicas"
    )
    found = deployments(ray_serve.export(wanted, nearest=True))["Batcher"]
    assert found["num_replicas"] == 4
    assert "autoscaling_config" not in found


def test_the_gpus_that_the_ray_cluster_has_to_have_are_named():
    wanted = behind("power_of_two", others=(("bert-l4", 1),), profile="bert-a100")
    assert (
        "replicas take any GPU of the Ray cluster, which has to have 3 of bert-a100, 1 of bert-l4"
    ) in ray_serve.export(wanted, nearest=False).notes


def test_the_schema_of_ray_serve_takes_scaling():
    assert schema_takes(ray_serve.export(scaled(), nearest=False))
