"""KServe with a cluster: the keys and annotations by which Knative scales a service."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from export_settings import from_idle, refusal

from experiments.export import kserve
from experiments.export.replicas import Replicas
from policies.autoscalers import Knative, RayServe

MS = 1_000_000
SECOND = 1000 * MS
NAME = "inference-service.yaml"
PREFIX = "autoscaling.knative.dev/"


def services(wanted):
    """Every file of an export as a table, by its path."""
    exported = kserve.export(wanted, nearest=True)
    return {path: yaml.safe_load(text) for path, text in exported.files.items()}


def predictors(wanted):
    """What every service predicts with, by its name."""
    tables = services(wanted).values()
    return {each["metadata"]["name"]: each["spec"]["predictor"] for each in tables}


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


def test_the_models_of_the_sdk_take_a_scaled_service():
    models = pytest.importorskip("kserve.models", reason="the SDK of KServe is not installed")
    from test_export_kserve import check

    for table in services(scaled()).values():
        check(models.V1beta1InferenceService, table, "")
