"""KServe with tiers and clusters: a service for each tier, scaled by Knative."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal

import pytest
import yaml
from export_settings import refusal, setting
from hypothesis import given
from hypothesis import strategies as st

from experiments.export import kserve
from experiments.export.kserve_tiers import split
from experiments.export.replicas import Replicas, TierTraffic
from policies.autoscalers import Knative
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
        "kind": "timer_from_pick",
        "max_batch_size": 32,
        "max_wait_ms": 50,
        "poll_ms": Decimal("0.1"),
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


def test_scaled_tiers_share_the_replicas_at_most():
    scaler = Knative(max_replicas=8, min_replicas=2)
    replicas = Replicas(8, scaler=scaler, scaled_by="knative", initial=2)
    wanted = replace(fair(8), replicas=replicas)
    found = {
        name: (each["minReplicas"], each["maxReplicas"])
        for name, each in predictors(wanted).items()
    }
    assert found == {"bert-interactive": (2, 6), "bert-offline": (1, 2)}


@pytest.mark.parametrize("wanted", [fair(), fair(boundaries=[100])], ids=["tiers", "buckets"])
def test_the_models_of_the_sdk_take_every_file(wanted):
    models = pytest.importorskip("kserve.models", reason="the SDK of KServe is not installed")
    from test_export_kserve import check

    for table in services(wanted).values():
        check(models.V1beta1InferenceService, table, "")
