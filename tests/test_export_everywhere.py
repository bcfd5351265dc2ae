"""Every stack with tiers and clusters: it does what was simulated, or it says what is lost."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from export_settings import EDGES, SERVICE_NS, from_idle, setting
from jsonschema import Draft202012Validator, ValidationError

from experiments.export import STACKS
from experiments.export.comment import NOT_EXACT
from experiments.export.contract import NotExpressible
from experiments.export.reading import module_of
from experiments.export.replicas import Replicas, TierTraffic
from experiments.export.setting import Costs
from policies.autoscalers import Knative, RayServe
from policies.contract import Tier

MS = 1_000_000
STACKS_OF_OTHERS = [name for name in STACKS if name != "json"]
TWO = (Tier("interactive", 200 * MS), Tier("offline"))
COSTS = Costs(SERVICE_NS, EDGES, np.array([32, 128]), np.array([0.5, 0.5]))
TRAFFIC = (TierTraffic(50.0, costs=COSTS), TierTraffic(50.0, costs=COSTS))

KINDS = {
    "priority": {"max_batch_size": 8, "max_wait_ms": 5},
    "priority_fill": {"max_batch_size": 8, "max_wait_ms": 5},
    "headroom": {"max_block_ms": 50, "reserved": Decimal("0.5"), "max_batch_size": 8},
    "weighted_fair": {"weights": [3, 1], "max_batch_size": 8, "max_wait_ms": 5},
    "ageing": {"max_batch_size": 8, "max_wait_ms": 5},
    "edf": {"max_batch_size": 8, "max_wait_ms": 5},
}
EXACT = {("triton", "priority_fill")}
"""Stacks that do a rule for tiers as it was simulated."""


def tiered(kind, **given):
    """A setting of a rule that knows two tiers."""
    return replace(setting(kind, tiers=TWO, **KINDS[kind], **given), traffic=TRAFFIC, costs=COSTS)


def tried(name, wanted):
    """The refusal of a stack, or nothing, and what it writes with ``nearest``."""
    module = module_of(STACKS[name])
    nearest = module.export(wanted, nearest=True)
    try:
        exact = module.export(wanted, nearest=False)
    except NotExpressible as refusal:
        return str(refusal), nearest
    assert exact == nearest
    assert exact.exact
    assert exact.differences == ()
    return None, nearest


def written(exported):
    """All texts as one line, so that a wrapped comment is whole."""
    text = "\n".join(exported.files.values())
    return " ".join(text.replace("\n#", " ").split())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", STACKS_OF_OTHERS)
def test_a_rule_that_knows_tiers_is_exact_or_refused_in_one_sentence(name, kind):
    sentence, nearest = tried(name, tiered(kind))
    if (name, kind) in EXACT:
        assert sentence is None
        assert NOT_EXACT not in written(nearest)
        return
    assert sentence is not None
    assert sentence.startswith(f"{name}: ")
    assert not sentence.endswith(".")
    assert not nearest.exact
    text = written(nearest)
    assert NOT_EXACT in text
    assert sentence.endswith(f"; with --nearest {'; '.join(nearest.differences)}")
    for difference in nearest.differences:
        assert f"What differs: {difference}." in text


def test_vllm_serves_priorities_exactly_where_nobody_waits():
    greedy = setting("priority_fill", tiers=TWO, max_batch_size=8)
    sentence, exported = tried("vllm", greedy)
    assert sentence is None
    (text,) = exported.files.values()
    assert "scheduling-policy: priority\n" in text
    assert (
        "clients give their tier in the field priority of a request, 0 is interactive, 1 is "
        "offline; a request without one has 0, the most urgent"
    ) in exported.notes
    sentence, _ = tried("vllm", tiered("priority_fill"))
    assert sentence == (
        "vllm: vLLM has no timer: it serves what waits as soon as it is free; with --nearest it "
        "never waits for more requests"
    )


def test_strict_priority_one_by_one_is_what_levels_do():
    keys = {"tiers": TWO, "max_batch_size": 1}
    for name in ("triton", "vllm"):
        sentence, _ = tried(name, setting("priority", **keys))
        assert sentence is None
        sentence, _ = tried(name, setting("priority", tiers=TWO, max_batch_size=[1, 2]))
        assert sentence is not None


@pytest.mark.parametrize("name", ["torchserve", "tensorflow-serving", "mlserver", "litserve"])
def test_one_queue_with_a_backlog_says_that_everybody_waits_behind_it(name):
    tiers = (TWO[0], Tier("archive", backlog=True))
    sentence, nearest = tried(name, setting("priority_fill", tiers=tiers, max_batch_size=8))
    words = "so that everybody waits behind the backlog of archive without an end"
    assert words in sentence
    assert words in written(nearest)


@pytest.mark.parametrize("kind", KINDS)
def test_one_tier_is_a_window_like_any_other(kind):
    keys = {**KINDS[kind], "weights": [1]} if kind == "weighted_fair" else KINDS[kind]
    sentence, _ = tried("tensorflow-serving", setting(kind, tiers=TWO[:1], **keys))
    assert sentence is None


def in_cluster(servers=4, **given):
    """A window that most stacks have, on servers that stand together so."""
    instances = given.get("instances", 1)
    wanted = from_idle(8, 10, servers=servers)
    return replace(wanted, replicas=Replicas(servers // instances, **given), costs=COSTS)


FACTS = {
    "router": (
        {"router": {"kind": "length_affinity", "boundaries": [100]}},
        "length_affinity router",
        (),
    ),
    "ray's autoscaler": (
        {"scaler": RayServe(4), "scaled_by": "ray_serve", "initial": 1},
        "does not scale by the rule of ray_serve",
        ("ray",),
    ),
    "knative": (
        {"scaler": Knative(4), "scaled_by": "knative", "initial": 1},
        "does not scale by the rule of knative",
        ("kserve",),
    ),
    "other GPUs": (
        {"others": (("bert-l4", 1),), "profile": "bert-a100"},
        "do not say which server has which GPU",
        ("triton", "ray"),
    ),
    "shared GPUs": (
        {"instances_per_gpu": 2},
        "do not say how many servers share a GPU",
        ("triton", "ray", "litserve"),
    ),
}


@pytest.mark.parametrize("fact", FACTS)
@pytest.mark.parametrize("name", STACKS_OF_OTHERS)
def test_what_a_cluster_has_is_done_or_told(name, fact):
    given, reason, doers = FACTS[fact]
    plain = tried(name, in_cluster())[0] or ""
    sentence, nearest = tried(name, in_cluster(**given))
    if name == "bentoml":  # it has one reason for everything, and differences in its file
        assert sentence.split("; with --nearest ")[1] != plain.split("; with --nearest ")[1]
    elif name in doers:
        assert reason not in (sentence or "")
        assert written(nearest) != written(tried(name, in_cluster())[1])
    else:
        assert reason in sentence
        assert reason not in plain
        assert "; with --nearest " in sentence


LIMITS = {
    "capacity": (TierTraffic(), TierTraffic(capacity=64)),
    "time-out": (TierTraffic(timeout_ns=150 * MS), TierTraffic()),
}


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("name", STACKS_OF_OTHERS)
def test_a_limit_of_a_tier_is_told_where_one_queue_serves_all(name, limit):
    wanted = replace(setting("greedy", max_batch_size=1, tiers=TWO), traffic=LIMITS[limit])
    sentence, nearest = tried(name, wanted)
    words = {
        "capacity": "it does not limit how many of a tier wait (64 of offline in the run)",
        "time-out": "it does not drop those that wait too long (interactive after 150 ms in the "
        "run)",
    }[limit]
    assert words in sentence
    assert words in written(nearest)


def test_litserve_puts_workers_that_share_a_gpu_on_one_device():
    def server(servers, each):
        _, nearest = tried("litserve", in_cluster(servers, instances_per_gpu=each))
        found = json.loads(nearest.files["litserve.json"])["server"]
        return found["devices"], found["workers_per_device"]

    assert server(4, 2) == (2, 2)
    assert server(4, 1) == (1, 4)
    assert server(5, 2) == (1, 5)
    assert "share a GPU" in tried("litserve", in_cluster(5, instances_per_gpu=2))[0]


SCALED = {
    "router": {"kind": "power_of_two"},
    "others": (("bert-l4", 1),),
    "profile": "bert-a100",
    "instances_per_gpu": 2,
    "scaler": RayServe(4, target_ongoing_requests=2.5),
    "scaled_by": "ray_serve",
    "initial": 2,
    "cold_start_ns": 1500 * MS,
    "on_failure": "retry",
}


def test_plain_json_has_all_of_it_and_obeys_its_schema():
    wanted = replace(
        in_cluster(**SCALED), tiers=TWO, traffic=(*TRAFFIC[:1], *LIMITS["capacity"][1:])
    )
    exported = module_of(STACKS["json"]).export(wanted, nearest=False)
    found = json.loads(exported.files["policy.json"])
    schema = Draft202012Validator(json.loads(exported.files["policy.schema.json"]))
    schema.validate(found)
    assert [tier["capacity"] for tier in found["tiers"]] == [None, 64]
    cluster = found["cluster"]
    assert cluster["router"] == {"kind": "power_of_two"}
    assert cluster["others"] == [{"profile": "bert-l4", "replicas": 1}]
    assert cluster["autoscaler"]["upscale_delay_ms"] == 30_000
    assert (cluster["initial_replicas"], cluster["cold_start_ms"]) == (2, 1500)
    assert cluster["on_failure"] == "retry"
    for key, wrong in (
        ("router", {"kind": "fastest"}),
        ("autoscaler", {**cluster["autoscaler"], "target": 2}),
        ("replicas", 0),
        ("on_failure", "forget"),
    ):
        with pytest.raises(ValidationError):
            schema.validate({**found, "cluster": {**cluster, key: wrong}})
