"""Priority levels of Triton: what priority_fill asks for, and what the others become."""

from __future__ import annotations

from dataclasses import replace

import pytest
from export_settings import LARGEST, SIZES, WAITS_MS, refusal, setting
from hypothesis import given
from hypothesis import strategies as st

from experiments.export import triton
from experiments.export.contract import ForeignFileError, NotExpressible
from experiments.export.pbtxt import parse
from experiments.export.replicas import Replicas, TierTraffic
from policies.contract import Tier

MS = 1_000_000
TWO = (Tier("interactive", 200 * MS), Tier("offline"))
THREE = (*TWO, Tier("idle", backlog=True))


def filled(size=8, wait_ms=5, tiers=TWO, **given_):
    """A setting of ``priority_fill``."""
    return setting("priority_fill", max_batch_size=size, max_wait_ms=wait_ms, tiers=tiers, **given_)


def limited(interactive, offline, **given_):
    """One with limits of its own for each tier."""
    return replace(filled(**given_), traffic=(TierTraffic(**interactive), TierTraffic(**offline)))


def batching(exported):
    """The fields of ``dynamic_batching`` of the only model."""
    (found,) = parse("config.pbtxt", exported.files["config.pbtxt"])["dynamic_batching"]
    return found


def level_policies(exported):
    """What each level has of its own."""
    return {
        entry["key"][0]: entry["value"][0] for entry in batching(exported)["priority_queue_policy"]
    }


def one_line(text):
    """A file with its comment unwrapped."""
    return " ".join(text.replace("#", " ").split())


@given(SIZES, st.just(0) | WAITS_MS, st.sampled_from([TWO, THREE]), st.integers(1, 8))
def test_priority_fill_comes_back_as_it_went(size, wait_ms, tiers, servers):
    exported = triton.export(filled(size, wait_ms, tiers, servers=servers), nearest=False)
    assert exported.exact
    found = triton.read(exported.files)
    assert found.table == {
        "kind": "priority_fill",
        "max_batch_size": size,
        "max_wait_ms": 0 if size == 1 else wait_ms,
    }
    assert (found.servers, found.tiers) == (servers, len(tiers))


def test_the_levels_are_the_tiers_and_who_says_nothing_is_least_urgent():
    exported = triton.export(filled(), nearest=False)
    assert batching(exported) == {
        "max_queue_delay_microseconds": [5000],
        "priority_levels": [2],
        "default_priority_level": [2],
    }
    note = (
        "priority levels are the tiers, 1 is interactive, 2 is offline: clients give theirs in the "
        "parameter priority of a request, and a request without one is of level 2"
    )
    assert note in exported.notes
    assert note in one_line(exported.files["config.pbtxt"])


def test_one_tier_needs_no_levels():
    exported = triton.export(filled(tiers=TWO[:1]), nearest=False)
    assert "priority_levels" not in batching(exported)
    assert batching(exported)["default_queue_policy"] == [{"allow_timeout_override": ["true"]}]
    assert triton.read(exported.files).table["kind"] == "size_or_timeout"


def test_a_time_out_of_a_tier_is_that_of_its_level():
    exported = triton.export(limited({"timeout_ns": 150 * MS}, {}), nearest=False)
    assert exported.exact
    assert level_policies(exported) == {
        1: {"timeout_action": ["REJECT"], "default_timeout_microseconds": [150_000]}
    }
    assert triton.read(exported.files).notes[1] == (
        "default_timeout_microseconds = 150000 of level 1 is left out: give "
        "timeout = { ms = 150 } to the tier"
    )


def test_a_time_out_for_all_is_that_of_every_level_but_of_a_backlog():
    wanted = filled(tiers=(TWO[0], THREE[2]))
    wanted = replace(
        wanted, timeout_ns=300 * MS, traffic=(TierTraffic(), TierTraffic(backlog=True))
    )
    assert level_policies(triton.export(wanted, nearest=False)) == {
        1: {"timeout_action": ["REJECT"], "default_timeout_microseconds": [300_000]}
    }


@pytest.mark.parametrize("timeout_ms", [3, 5])
def test_a_delay_that_outlasts_the_time_out_of_a_level_is_refused_even_nearly(timeout_ms):
    wanted = limited({}, {"timeout_ns": timeout_ms * MS})
    with pytest.raises(NotExpressible) as caught:
        triton.export(wanted, nearest=True)
    assert str(caught.value) == (
        f"triton: the time-out of {timeout_ms} ms of offline is not above the wait of 5 ms, so "
        "that an idle server would reject every request of it that waits for others; give a wait "
        "below the time-out"
    )


def test_a_limit_of_a_tier_is_written_only_with_the_warning_that_triton_may_stall():
    wanted = limited({}, {"capacity": 64, "timeout_ns": 900 * MS})
    assert refusal(triton, wanted) == (
        "triton: the run rejects requests of offline when 64 of it wait, and a Triton with "
        "max_queue_size may stop serving for up to 500 ms at a time once that queue is full; with "
        "--nearest it has max_queue_size 64 for level 2, with which it may stop serving for up to "
        "500 ms at a time while 64 of offline wait, unless other levels keep it awake: limit them "
        "at the client or the gateway where you can"
    )
    exported = triton.export(wanted, nearest=True)
    assert not exported.exact
    assert level_policies(exported) == {
        2: {
            "timeout_action": ["REJECT"],
            "default_timeout_microseconds": [900_000],
            "max_queue_size": [64],
        }
    }


def test_a_limit_of_nobody_is_not_written_as_no_limit():
    exported = triton.export(limited({}, {"capacity": 0}), nearest=True)
    assert level_policies(exported) == {2: {"max_queue_size": [1]}}


NEAREST = {
    "priority": (
        {"max_batch_size": [4, 32], "max_wait_ms": [2, 50]},
        (4, 2000),
        "triton: priority serves the most urgent tier first, in batches of one tier, which "
        "priority levels of Triton cannot do; with --nearest it becomes priority levels with the "
        "size and wait of interactive for all tiers: a batch is filled up with less urgent tiers, "
        "so that urgent requests run in larger batches",
    ),
    "weighted_fair": (
        {"max_batch_size": 8, "weights": [3, 1]},
        (8, 0),
        "triton: weighted_fair gives each tier its share of the servers' time, which priority "
        "levels of Triton cannot do; with --nearest it becomes priority levels: the shares are "
        "lost, and a less urgent tier may wait forever",
    ),
    "ageing": (
        {"max_batch_size": 8, "max_wait_ms": 1},
        (8, 1000),
        "triton: ageing serves the tier whose oldest request has become most urgent, which "
        "priority levels of Triton cannot do; with --nearest it becomes priority levels: urgency "
        "does not grow with the wait, and a less urgent tier may wait forever",
    ),
    "edf": (
        {"max_batch_size": 8},
        (8, 0),
        "triton: edf serves requests by their deadlines, whatever their tier, which priority "
        "levels of Triton cannot do; with --nearest it becomes priority levels: requests of a less "
        "urgent tier are late whenever a more urgent one keeps coming",
    ),
    "headroom": (
        # 1 ms and 0.256 ms for each of the longest requests: 15 of them take 4.84 ms.
        {"max_block_ms": 5},
        (15, 0),
        "triton: headroom lets offline batches run only as long as they block nobody for too long, "
        "which priority levels of Triton cannot do; with --nearest it becomes priority levels with "
        "batches of at most 15, which take no more than the longest that may block: no size and no "
        "server is kept for interactive requests, and offline requests fill up every batch",
    ),
}


@pytest.mark.parametrize("kind", NEAREST)
def test_other_rules_that_know_tiers_become_levels_in_so_many_words(kind):
    keys, (size, delay_us), sentence = NEAREST[kind]
    wanted = setting(kind, tiers=TWO, **keys)
    assert refusal(triton, wanted) == sentence
    exported = triton.export(wanted, nearest=True)
    assert not exported.exact
    found = triton.read(exported.files)
    assert found.table == {
        "kind": "priority_fill",
        "max_batch_size": size,
        "max_wait_ms": delay_us // 1000,
    }


def test_buckets_of_priority_fill_become_models_with_levels_each():
    wanted = filled(boundaries=[100])
    assert refusal(triton, wanted) == (
        "triton: Triton has one queue a model, whatever the lengths; with --nearest it becomes 2 "
        "models, one for each range of lengths, which take turns on a server by how often each has "
        "run, where the one with the most urgent request would go; a router that knows the length "
        "stands before them"
    )
    found = triton.read(triton.export(wanted, nearest=True).files)
    assert found.table == {
        "kind": "priority_fill",
        "max_batch_size": 8,
        "max_wait_ms": 5,
        "boundaries": [100],
    }


def test_models_with_levels_of_their_own_are_not_read_as_one_policy():
    files = dict(triton.export(filled(boundaries=[100]), nearest=True).files)
    name = "bert-above-100/config.pbtxt"
    files[name] = files[name].replace("priority_levels: 2", "priority_levels: 3")
    with pytest.raises(ForeignFileError) as caught:
        triton.read(files)
    assert str(caught.value) == (
        "model bert-above-100: other priority_levels, sizes or delays than those of bert-to-100 "
        "are not simulated beside ranges of length"
    )


@pytest.mark.parametrize("default", [0, 3])
def test_a_default_level_that_is_none_is_refused_as_triton_does(default):
    text = triton.export(filled(), nearest=False).files["config.pbtxt"]
    text = text.replace("default_priority_level: 2", f"default_priority_level: {default}")
    with pytest.raises(ForeignFileError) as caught:
        triton.read({"config.pbtxt": text})
    assert str(caught.value) == (
        f"config.pbtxt: default_priority_level = {default} must be from 1 to priority_levels = 2"
    )


def test_a_rule_that_knows_no_tiers_gives_their_limits_up():
    wanted = setting("greedy", max_batch_size=8, tiers=TWO)
    traffic = (TierTraffic(timeout_ns=150 * MS), TierTraffic(capacity=9))
    assert refusal(triton, replace(wanted, traffic=traffic)) == (
        "triton: a queue of Triton without levels has no limit for the requests of one tier that "
        "wait, and a queue of Triton without levels has no time-out for the requests of one tier; "
        "with --nearest it does not limit how many of a tier wait (9 of offline in the run); it "
        "does not drop those that wait too long (interactive after 150 ms in the run)"
    )


def test_the_protocol_buffers_of_triton_take_levels_and_instance_groups():
    reason = "needs tritonclient[grpc], which holds the protocol buffers of Triton"
    pb = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason=reason)
    from google.protobuf import text_format

    wanted = replace(
        limited({"timeout_ns": 150 * MS}, {"capacity": 64}, servers=5),
        replicas=Replicas(5, instances_per_gpu=2),
    )
    text = triton.export(wanted, nearest=True).files["config.pbtxt"]
    found = text_format.Parse(text, pb.ModelConfig())
    levels = found.dynamic_batching
    assert (levels.priority_levels, levels.default_priority_level) == (2, 2)
    assert levels.priority_queue_policy[1].default_timeout_microseconds == 150_000
    assert levels.priority_queue_policy[2].max_queue_size == 64
    assert [(g.count, list(g.gpus)) for g in found.instance_group] == [(2, [0, 1]), (1, [2])]
    assert found.max_batch_size <= LARGEST
    with pytest.raises(text_format.ParseError):
        text_format.Parse(text.replace("priority_levels", "priority_level"), pb.ModelConfig())
