"""Triton's sequence batcher: both strategies are exact, come back, and other stacks refuse them."""

from __future__ import annotations

from decimal import Decimal
from importlib import import_module

import pytest
from export_settings import EDGES, SERVERS, SERVICE_NS, SIZES, WAITS_MS, refusal, setting
from hypothesis import given
from hypothesis import strategies as st

from experiments.export import STACKS, triton, triton_sequences
from experiments.export.contract import ForeignFileError
from experiments.export.pbtxt import parse
from experiments.rules import build_policy
from policies.contract import bind

HALF = Decimal("0.5")


def bound(table):
    return repr(bind(build_policy(table), SERVICE_NS, EDGES))


@st.composite
def sticky(draw):
    """Any setting of the two strategies."""
    largest = draw(SIZES)
    keys = {
        "max_batch_size": largest,
        "servers": draw(SERVERS),
        "max_wait_ms": draw(st.sampled_from([0, 1]) | WAITS_MS),
        "max_idle_ms": draw(st.sampled_from([1, 1000, Decimal("2500.5")])),
    }
    if draw(st.booleans()):
        return setting(
            "sequence_direct", min_slot_utilization=Decimal(draw(st.integers(0, 8))) / 8, **keys
        )
    return setting(
        "sequence_oldest",
        max_candidates=draw(st.integers(0, 300)),
        preferred_batch_size=draw(st.lists(st.integers(1, largest), max_size=4, unique=True)),
        **keys,
    )


@given(sticky())
def test_what_is_exported_comes_back_as_the_same_policy(wanted):
    exported = triton.export(wanted, nearest=False)
    imported = triton.read(exported.files)
    assert exported.exact
    assert bound(imported.table) == repr(wanted.policy)
    assert imported.servers == wanted.servers


def test_another_number_is_another_policy():
    wanted = setting("sequence_oldest", max_batch_size=8, max_candidates=64)
    table = triton.read(triton.export(wanted, nearest=False).files).table
    for key, value in (("max_candidates", 63), ("max_idle_ms", 999), ("max_wait_ms", 1)):
        assert bound({**table, key: value}) != repr(wanted.policy)


def test_a_time_below_a_microsecond_is_rounded_and_said():
    wanted = setting("sequence_direct", max_batch_size=8, max_wait_ms=Decimal("0.0004"))
    exported = triton.export(wanted, nearest=False)
    assert "max_wait of 0.4 us is written as 1 us" in exported.notes


@pytest.mark.parametrize(
    "wanted",
    [
        setting("sequence_direct", max_batch_size=8, max_wait_ms=5, min_slot_utilization=HALF),
        setting("sequence_oldest", max_batch_size=8, max_candidates=64, preferred_batch_size=[4]),
    ],
    ids=["direct", "oldest"],
)
def test_the_protocol_buffers_of_triton_take_every_file(wanted):
    reason = "needs tritonclient[grpc], which holds the protocol buffers of Triton"
    pb = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason=reason)
    from google.protobuf import text_format

    (text,) = triton.export(wanted, nearest=False).files.values()
    found = text_format.Parse(text, pb.ModelConfig()).sequence_batching
    assert found.max_sequence_idle_microseconds == 1_000_000
    assert [each.name for each in found.control_input] == ["START", "READY", "END", "CORRID"]
    if wanted.kind == "sequence_direct":
        assert found.WhichOneof("strategy_choice") == "direct"
        assert found.direct.minimum_slot_utilization == 0.5
        assert found.direct.max_queue_delay_microseconds == 5000
    else:
        assert found.oldest.max_candidate_sequences == 64
        assert list(found.oldest.preferred_batch_size) == [4]


def test_the_protocol_buffers_of_triton_know_the_fields_that_are_read():
    pb = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="needs tritonclient")
    sequences = pb.ModelSequenceBatching
    for known, message in (
        (triton_sequences.SEQUENCES, sequences),
        (triton_sequences.DIRECT, sequences.StrategyDirect),
        (triton_sequences.OLDEST, sequences.StrategyOldest),
    ):
        assert {field.name for field in message.DESCRIPTOR.fields} <= known


def test_direct_is_what_a_file_without_a_strategy_means():
    read = triton.read({"config.pbtxt": "max_batch_size: 4 sequence_batching { }"})
    assert read.table == {
        "kind": "sequence_direct",
        "max_batch_size": 4,
        "max_wait_ms": 0,
        "min_slot_utilization": Decimal("0.0"),
        "max_idle_ms": 1000,
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "max_batch_size: 4 sequence_batching { direct { minimum_slot_utilization: 2 } }",
            "config.pbtxt: minimum_slot_utilization = 2 must be a number from 0 to 1",
        ),
        (
            "max_batch_size: 4 sequence_batching { oldest { preferred_batch_size: 9 } }",
            "config.pbtxt: preferred_batch_size = 9 must be a whole number from 1 to "
            "max_batch_size = 4",
        ),
        (
            "max_batch_size: 4 sequence_batching { iterative_sequence: true }",
            "config.pbtxt: iterative_sequence is not simulated",
        ),
        (
            "max_batch_size: 4 sequence_batching { older { } }",
            "config.pbtxt: sequence_batching.older is no field of it; did you mean oldest?",
        ),
    ],
)
def test_a_wrong_file_gets_one_sentence(text, sentence):
    with pytest.raises(ForeignFileError) as caught:
        triton.read({"config.pbtxt": text})
    assert str(caught.value) == sentence


@pytest.mark.parametrize("kind", ["sequence_direct", "sequence_oldest"])
def test_other_stacks_refuse_and_say_what_they_lack(kind):
    wanted = setting(kind, max_batch_size=8)
    refused = 0
    for name in STACKS:
        if name in ("triton", "json", "plain", "policy"):
            continue
        try:
            module = import_module(f"experiments.export.{name}")
        except ModuleNotFoundError:
            continue
        said = refusal(module, wanted)
        assert name == "bentoml" or "keeps each sequence on one slot of one server" in said, name
        refused += 1
    assert refused >= 4


def test_the_file_says_what_the_model_has_to_take():
    exported = triton.export(setting("sequence_direct", max_batch_size=8), nearest=False)
    fields = parse("config.pbtxt", exported.files["config.pbtxt"])
    assert "dynamic_batching" not in fields
    assert any("START, READY, END and CORRID" in note for note in exported.notes)
