"""KServe with tiers and clusters: a service for each tier, scaled by Knative."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import yaml
from export_settings import from_idle, refusal, setting
from hypothesis import given
from hypothesis import strategies as st

from experiments.export import kserve
from experiments.export.kserve_tiers import split
from experiments.export.replicas import Replicas, TierTraffic
from policies.autoscalers import Knative, RayServe
from policies.contract import Tier

MS = 1_000_000
SECOND = 1000 * MS
NAME = "inference-service.yaml"
TWO = (Tier("interactive", 200 * MS), Tier("offline"))
PREFIX = "autoscaling.knative.dev/"


def fair(servers=4, weights=(3, 1), **given_):
    """A rule that gives tiers shares."""
    return setting(
        "weighted_fair",
        tiers=TWO,
        servers=servers,
        weights=list(weights),
        max_batch_size=[4, 32],
        max_wait_ms=[2, 50],
        **given_,
    )


def services(wanted):
    """Every file of an export as a table, by its path."""
    exported = kserve.export(wanted, nearest=True)
    return {path: yaml.safe_load(text) for path, text in exported.files.items()}


def predictors(wanted):
    """What every service predicts with, by its name."""
    return {
        each["metadata"]["name"]: each["spec"]["predictor"] for each in services(wanted).values()
    }


def test_a_rule_that_knows_tiers_is_refused_in_one_sentence():
    assert refusal(kserve, fair()) == (
        "kserve: weighted_fair gives each tier its share of the servers' time, and KServe has no "
        "priorities, and the wait of KServe begins when its batcher takes the first request, as "
        "with from_idle, and for interactive every replica of KServe has a batcher and a queue of "
        "its own; with --nearest it becomes 2 services, one for each tier, with replicas of its "
        "own (interactive 3, offline 1); it waits from the instant that its batcher is free, so "
        "that a backlog waits again; for interactive it asks for 3 servers that do not share one "
        "queue, so that some idle while requests wait for another"
    )


def test_every_tier_has_a_service_with_its_own_batcher():
    assert list(services(fair())) == [f"bert-interactive/{NAME}", f"bert-offline/{NAME}"]
    assert predictors(fair()) == {
        "bert-interactive": {
            "minReplicas": 3,
            "maxReplicas": 3,
            "batcher": {"maxBatchSize": 4, "maxLatency": 2},
        },
        "bert-offline": {
            "minReplicas": 1,
            "maxReplicas": 1,
            "batcher": {"maxBatchSize": 32, "maxLatency": 50},
        },
    }


def test_a_gateway_is_told_where_the_tiers_go():
    exported = kserve.export(fair(), nearest=True)
    note = (
        "a gateway that knows the tier of a request stands before the services: interactive to "
        "bert-interactive, offline to bert-offline"
    )
    assert note in exported.notes
    for text in exported.files.values():
        assert note in " ".join(text.replace("#", " ").split())


def test_one_service_of_a_tier_is_read_back():
    files = kserve.export(fair(), nearest=True).files
    found = kserve.read({NAME: files[f"bert-offline/{NAME}"]})
    assert found.table == {
        "kind": "size_or_timeout",
        "max_batch_size": 32,
        "max_wait_ms": 50,
        "from_idle": True,
    }


def test_tiers_of_any_name_have_folders_of_their_own_inside_the_export():
    tiers = (Tier("../up", 200 * MS), Tier("a b"), Tier("A/B"), Tier("a_b"))
    found = services(setting("priority", tiers=tiers, max_batch_size=8, max_wait_ms=5))
    assert len(found) == 4
    for path, table in found.items():
        folder, name = path.split("/")
        assert name == NAME
        assert not folder.startswith(".")
        assert re.fullmatch(r"[a-z][a-z0-9-]*[a-z0-9]", table["metadata"]["name"])
    assert len({table["metadata"]["name"] for table in found.values()}) == 4


def test_more_tiers_than_servers_need_more_replicas_and_say_so():
    assert "(interactive 1, offline 1), more than the 1 of the run" in refusal(kserve, fair(1))


def test_ranges_of_length_are_services_of_every_tier():
    assert list(services(fair(boundaries=[100]))) == [
        f"bert-interactive-to-100/{NAME}",
        f"bert-interactive-above-100/{NAME}",
        f"bert-offline-to-100/{NAME}",
        f"bert-offline-above-100/{NAME}",
    ]


def test_limits_of_a_tier_are_given_up_by_its_name():
    traffic = (TierTraffic(timeout_ns=150 * MS), TierTraffic(capacity=64))
    sentence = refusal(kserve, replace(fair(), traffic=traffic))
    assert "for interactive it serves requests however long they have waited" in sentence
    assert "for offline it does not limit the queue" in sentence
    assert "how many of a tier wait" not in sentence  # said once


@given(st.integers(1, 40), st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6))
def test_servers_are_split_whole_and_every_tier_gets_one(servers, weights):
    shares = [weight / sum(weights) for weight in weights]
    found = split(servers, shares)
    assert sum(found) == max(servers, len(shares))
    assert min(found) >= 1
    for (one, few), (other, many) in zip(
        zip(shares, found, strict=True), list(zip(shares, found, strict=True))[1:], strict=False
    ):
        if one < other:
            assert few <= many + 1


SCALER = Knative(
    max_replicas=4,
    min_replicas=2,
    target_concurrency=8.0,
    target_utilization=0.8,
    stable_window_ns=30 * SECOND,
    panic_window_ns=3 * SECOND,
    panic_threshold=1.5,
    scale_down_delay_ns=120 * SECOND,
)


def scaled(scaler=SCALER, servers=4, initial=2, **given_):
    """A service whose replicas come and go."""
    replicas = Replicas(
        servers, router={"kind": "random"}, scaler=scaler, scaled_by="knative", initial=initial
    )
    return replace(from_idle(8, 10, servers=servers, **given_), replicas=replicas)


def annotations(wanted):
    """Annotations of Knative of the only service, without their prefix."""
    (found,) = services(wanted).values()
    given_ = found["metadata"]["annotations"]
    assert all(key.startswith(PREFIX) and isinstance(text, str) for key, text in given_.items())
    return {key.removeprefix(PREFIX): text for key, text in given_.items()}


def test_the_autoscaler_is_written_by_the_names_of_kserve_and_knative():
    assert annotations(scaled()) == {
        "window": "30s",
        "panic-window-percentage": "10",
        "panic-threshold-percentage": "150",
        "target-utilization-percentage": "80",
        "scale-down-delay": "120s",
        "initial-scale": "2",
    }
    (predictor,) = predictors(scaled()).values()
    assert predictor == {
        "minReplicas": 2,
        "maxReplicas": 4,
        "scaleMetric": "concurrency",
        "scaleTarget": 8,
        "batcher": {"maxBatchSize": 8, "maxLatency": 10},
    }


def test_only_the_router_is_given_up_where_knative_scales():
    assert refusal(kserve, scaled()) == (
        "kserve: KServe has no random router; with --nearest its replicas get the requests as "
        "Knative and Kubernetes send them, where the run had a random router"
    )


def test_a_target_that_is_no_whole_number_is_an_annotation_alone():
    wanted = scaled(SCALER._replace(target_concurrency=2.5))
    assert annotations(wanted)["target"] == "2.5"
    (predictor,) = predictors(wanted).values()
    assert "scaleTarget" not in predictor


@pytest.mark.parametrize(
    ("change", "key", "text", "sentence"),
    [
        (
            {"stable_window_ns": 4 * SECOND, "panic_window_ns": SECOND},
            "window",
            "6s",
            "Knative takes no window of 4s",
        ),
        (
            {"scale_down_delay_ns": 90 * 60 * SECOND},
            "scale-down-delay",
            "3600s",
            "Knative takes no scale-down-delay of 5400s",
        ),
        (
            {"scale_down_delay_ns": 1500 * MS},
            "scale-down-delay",
            "2s",
            "Knative takes no scale-down-delay of 1.5s",
        ),
        (
            {"panic_threshold": 1.0},
            "panic-threshold-percentage",
            "110",
            "Knative takes no panic-threshold-percentage of 100",
        ),
        (
            {"target_utilization": 1.25},
            "target-utilization-percentage",
            "100",
            "Knative takes no target-utilization-percentage of 125",
        ),
    ],
)
def test_numbers_that_knative_refuses_are_given_up_for_the_nearest(change, key, text, sentence):
    wanted = scaled(SCALER._replace(**change))
    assert sentence in refusal(kserve, wanted)
    assert f"it scales with {key} {text}" in refusal(kserve, wanted)
    assert annotations(wanted)[key] == text


def test_what_knative_sets_for_all_services_is_a_note():
    wanted = scaled(SCALER._replace(max_scale_down_rate=3.0, interval_ns=SECOND))
    assert (
        "set max-scale-down-rate: 3 and tick-interval: 1s in the ConfigMap config-autoscaler of "
        "Knative, for all its services"
    ) in kserve.export(wanted, nearest=True).notes
    assert not any("ConfigMap" in note for note in kserve.export(scaled(), nearest=True).notes)


def test_another_autoscaler_is_refused_and_leaves_no_annotations():
    replicas = Replicas(4, scaler=RayServe(4), scaled_by="ray_serve", initial=1)
    wanted = replace(from_idle(8, 10, servers=4), replicas=replicas)
    assert "KServe does not scale by the rule of ray_serve" in refusal(kserve, wanted)
    (found,) = services(wanted).values()
    assert "annotations" not in found["metadata"]
    assert found["spec"]["predictor"]["minReplicas"] == 4


def test_scaled_tiers_share_the_replicas_at_most():
    wanted = replace(fair(8), replicas=replace(scaled(servers=8).replicas, count=8))
    wanted = replace(
        wanted, replicas=replace(wanted.replicas, scaler=SCALER._replace(max_replicas=8))
    )
    found = {
        name: (each["minReplicas"], each["maxReplicas"])
        for name, each in predictors(wanted).items()
    }
    assert found == {"bert-interactive": (2, 6), "bert-offline": (1, 2)}


def test_a_scaled_service_is_read_with_a_note():
    exported = kserve.export(scaled(), nearest=True)
    assert (
        "maxReplicas = 4: scaling is left out; give service.cluster.autoscaler in the scenario"
    ) in kserve.read(exported.files).notes


def test_instances_on_one_gpu_are_given_up():
    replicas = Replicas(2, router={"kind": "random"}, instances=2, instances_per_gpu=2)
    sentence = refusal(kserve, replace(from_idle(8, 10, servers=4), replicas=replicas))
    assert "a replica of KServe runs one batch at a time" in sentence
    assert "it places no server: see to it that 2 share a GPU" in sentence


@pytest.mark.parametrize("wanted", [fair(), scaled()], ids=["tiers", "scaled"])
def test_the_models_of_the_sdk_take_every_file(wanted):
    models = pytest.importorskip("kserve.models", reason="the SDK of KServe is not installed")
    from test_export_kserve import check

    for table in services(wanted).values():
        check(models.V1beta1InferenceService, table, "")
