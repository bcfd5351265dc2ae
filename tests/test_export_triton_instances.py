"""Instance groups of Triton: GPUs of their own, shared ones, and one replica behind a router."""

from __future__ import annotations

from dataclasses import replace

import pytest
from export_settings import refusal, setting

from experiments.export import triton
from experiments.export.pbtxt import parse
from experiments.export.replicas import Replicas
from policies.contract import Tier

MS = 1_000_000
TWO = (Tier("interactive", 200 * MS), Tier("offline"))


def filled(**given_):
    """A setting of ``priority_fill``."""
    return setting("priority_fill", max_batch_size=8, max_wait_ms=5, tiers=TWO, **given_)


def groups(wanted):
    """The instance groups of an export."""
    text = triton.export(wanted, nearest=True).files["config.pbtxt"]
    found = parse("config.pbtxt", text)["instance_group"]
    return [(group["count"][0], group["gpus"]) for group in found]


@pytest.mark.parametrize(
    ("servers", "each", "expected"),
    [
        (4, 1, [(1, [0, 1, 2, 3])]),
        (4, 2, [(2, [0, 1])]),
        (5, 2, [(2, [0, 1]), (1, [2])]),
        (2, 3, [(2, [0])]),
    ],
)
def test_instances_that_share_a_gpu_are_one_group_on_it(servers, each, expected):
    wanted = replace(filled(servers=servers), replicas=Replicas(servers, instances_per_gpu=each))
    assert groups(wanted) == expected
    assert triton.export(wanted, nearest=False).exact


def test_behind_a_router_the_file_is_of_one_replica():
    replicas = Replicas(3, router={"kind": "power_of_two"}, instances=2, instances_per_gpu=2)
    wanted = replace(filled(servers=6), replicas=replicas)
    assert refusal(triton, wanted) == (
        "triton: Triton has no power_of_two router; with --nearest its replicas get the requests "
        "from a balancer that you put before them, where the run had a power_of_two router"
    )
    assert groups(wanted) == [(2, [0])]
    exported = triton.export(wanted, nearest=True)
    assert (
        "this is the file of one replica: start 3 Triton servers with it, and a balancer before "
        "them (Envoy's policies are ROUND_ROBIN, RANDOM, and LEAST_REQUEST, which takes the less "
        "loaded of two)"
    ) in exported.notes


def test_other_gpus_are_named_in_their_order():
    replicas = Replicas(3, others=(("bert-l4", 1),), profile="bert-a100")
    exported = triton.export(replace(filled(servers=3), replicas=replicas), nearest=False)
    assert "the GPUs are, in the order of gpus: 2 of bert-a100, 1 of bert-l4" in exported.notes
