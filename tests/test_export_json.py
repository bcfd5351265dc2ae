"""Plain JSON: every kind of policy, exactly, and a schema that refuses what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from export_settings import SIZES, WAITS_MS, from_arrival, setting
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

from experiments.export import plain
from experiments.export.contract import ForeignFileError
from experiments.rules import build_policy
from policies import POLICIES
from policies.contract import Tier

MS = 1_000_000

EVERY_KIND = {
    "static": {"batch_size": 8},
    "greedy": {},
    "size_or_timeout": {"max_batch_size": 8, "max_wait_ms": Decimal("2.35"), "from_idle": True},
    "preferred_sizes": {"preferred_batch_size": [4, 8], "max_batch_size": 16},
    "timer_from_pick": {"max_batch_size": 8, "max_wait_ms": 3, "clock_ms": 1},
    "cork": {"max_batch_size": 8, "max_latency_ms": 200},
    "collection_window": {"max_batch_size": 8, "max_wait_ms": Decimal("2.5")},
    "sealed_batches": {"max_batch_size": 8, "max_wait_ms": 2, "max_ongoing_requests": 20},
    "token_budget_ahead": {"max_tokens": 4096, "padded": False},
    "queue_depth_wait": {"max_batch_size": 8, "max_wait_ms": Decimal("1.5")},
    "aimd": {"slo_ms": 10, "decrease": Decimal("0.75")},
    "deadline_aware": {"slo_ms": 50, "margin_ms": 5},
    "rate_aware": {"window": 100},
    "length_bucketed": {"boundaries": [100, 200], "max_wait_ms": [0, 1, Decimal("inf")]},
    "nearest_lengths": {"max_batch_size": 8, "window": 4},
    "token_budget": {"max_tokens": 4096, "max_wait_ms": 2},
    "snap": {},
    "balanced_cap": {"window": 500},
    "optimal": {"take": [0, 0, 2, 3]},
    "priority": {"max_batch_size": 8, "max_wait_ms": Decimal("2.5"), "boundaries": [100]},
    "priority_fill": {"max_batch_size": 8, "max_wait_ms": Decimal("2.5")},
    "headroom": {"max_block_ms": 20, "reserved": Decimal("0.75"), "interactive": [0]},
    "weighted_fair": {"weights": [Decimal("0.7")], "max_batch_size": [8]},
    "ageing": {"rates": [Decimal("0.25")], "max_wait_ms": [1]},
    "edf": {"slo_ms": [50], "default_slo_ms": 900, "boundaries": [100]},
    "shortest_first": {"max_age_ms": 30, "length_lanes": 16},
    "sequence_direct": {
        "max_wait_ms": 20,
        "min_slot_utilization": Decimal("0.5"),
        "max_idle_ms": 2000,
    },
    "sequence_oldest": {"max_wait_ms": 20, "max_candidates": 64, "preferred_batch_size": [4, 8]},
}


def policy_file(wanted):
    """The text of ``policy.json``."""
    return plain.export(wanted, nearest=False).files["policy.json"]


def with_changes(wanted, **changes):
    """``policy.json`` with other values at its top."""
    return json.dumps({**json.loads(policy_file(wanted)), **changes})


def refused(text):
    """Why a text is not read."""
    with pytest.raises(ForeignFileError) as caught:
        plain.read({"policy.json": text})
    return str(caught.value)


def same(table, wanted):
    """Whether a table builds the policy that a setting holds."""
    again = setting(kind=table["kind"], **{k: v for k, v in table.items() if k != "kind"})
    return repr(again.policy) == repr(wanted.policy)


def test_every_kind_of_policy_is_tried_here():
    assert set(EVERY_KIND) == set(POLICIES)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_kind_comes_back_equal_and_obeys_the_schema(kind):
    wanted = setting(kind, **EVERY_KIND[kind])
    exported = plain.export(wanted, nearest=False)
    assert exported.exact
    assert same(plain.read(exported.files).table, wanted)
    schema = json.loads(exported.files["policy.schema.json"])
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(json.loads(exported.files["policy.json"]))


@given(SIZES, WAITS_MS, st.integers(0, 999_999), st.booleans())
def test_waits_come_back_to_the_nanosecond(size, wait_ms, ns, from_idle):
    wait = Decimal(wait_ms) + Decimal(ns) / MS
    wanted = from_arrival(size, wait, from_idle=from_idle)
    table = plain.read({"policy.json": policy_file(wanted)}).table
    assert same(table, wanted)
    assert build_policy(table).max_wait_ns == wait_ms * MS + ns


def test_another_number_is_another_policy():
    table = plain.read({"policy.json": policy_file(from_arrival(8, 5))}).table
    assert not same(table, from_arrival(8, "5.000001"))


def test_the_facts_of_the_scenario_and_the_evidence_are_in_it():
    wanted = replace(
        setting("greedy", max_batch_size=8, servers=2, tiers=(Tier("web", 20 * MS),)),
        capacity=100,
        timeout_ns=500 * MS,
    )
    found = json.loads(policy_file(wanted))
    assert found["format"] == "batchwright-policy/1"
    assert found["policy"] == {"kind": "greedy", "max_batch_size": 8}
    assert found["servers"] == 2
    (tier,) = found["tiers"]
    assert tier | {"name": "web", "slo_ms": 20.0, "percentile": 99.0} == tier
    assert (found["capacity"], found["capacity_counts"], found["timeout_ms"]) == (
        100,
        "waiting",
        500.0,
    )
    assert found["evidence"]["latency_ms"]["p99"] == {"value": 12.5, "low": 12.0, "high": 13.0}
    assert found["lanes"] == [
        {
            "length_above": None,
            "length_up_to": None,
            "max_batch_size": 8,
            "max_wait_ms": 0,
            "min_batch_size": 1,
            "timer_from": "oldest_arrival",
            "preferred_batch_size": [],
            "max_ongoing_requests": 0,
        }
    ]


def test_a_policy_that_is_no_window_has_no_lanes():
    assert json.loads(policy_file(setting("snap")))["lanes"] is None


@pytest.mark.parametrize(
    "changes",
    [
        {"policy": {"kind": "greedy", "max_wait_ms": 2}},
        {"policy": {"kind": "gready"}},
        {"policy": {"kind": "size_or_timeout", "max_batch_size": 8}},
        {"policy": {"kind": "static", "batch_size": 2.5}},
        {"servers": 0},
        {"more": 1},
        {"format": "batchwright-policy/0"},
    ],
)
def test_the_schema_refuses_what_is_wrong(changes):
    exported = plain.export(setting("greedy"), nearest=False)
    schema = json.loads(exported.files["policy.schema.json"])
    changed = {**json.loads(exported.files["policy.json"]), **changes}
    with pytest.raises(ValidationError):
        Draft202012Validator(schema).validate(changed)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[]", "policy.json: must be a JSON object with format = 'batchwright-policy/1'"),
        ("{", "policy.json: must be a JSON object with format = 'batchwright-policy/1'"),
        (
            with_changes(setting("greedy"), policy={"kind": "gready"}),
            'policy.json: policy.kind = "gready" is no kind of policy; did you mean greedy?',
        ),
        (
            with_changes(setting("greedy"), policy={"kind": "greedy", "max_batch": 8}),
            "policy.json: policy.max_batch = 8 is unknown; did you mean max_batch_size? greedy "
            "takes max_batch_size",
        ),
        (
            with_changes(setting("greedy"), policy=[]),
            "policy.json: policy must be an object with a kind",
        ),
        (
            with_changes(setting("greedy"), servers=True),
            "policy.json: servers = True must be a whole number of at least 1",
        ),
    ],
)
def test_a_wrong_file_gets_one_sentence(text, sentence):
    assert refused(text) == sentence


def test_the_schema_beside_it_is_no_policy():
    files = plain.export(setting("greedy"), nearest=False).files
    assert not plain.recognises(files["policy.schema.json"])
    assert plain.recognises(files["policy.json"])
