"""Triton's files: exact windows, traps that are refused, and the way back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from export_settings import SERVERS, SIZES, WAITS_MS, from_arrival, means, refusal, setting
from hypothesis import given
from hypothesis import strategies as st

from experiments.export import triton
from experiments.export.contract import ForeignFileError, NotExpressible
from experiments.export.pbtxt import parse
from policies import LengthBucketed
from policies.contract import Tier

MS = 1_000_000
OTHER_TIERS = (Tier("interactive", 20 * MS), Tier("batch", 500 * MS))


def config(exported):
    """The fields of the only ``config.pbtxt``."""
    return parse("config.pbtxt", exported.files["config.pbtxt"])


def batching(exported):
    """The fields of ``dynamic_batching``."""
    (found,) = config(exported)["dynamic_batching"]
    return found


def read(text):
    """The policy of a text."""
    return triton.read({"config.pbtxt": text})


def refused(text):
    """Why a text is not read."""
    with pytest.raises(ForeignFileError) as caught:
        read(text)
    return str(caught.value)


@st.composite
def expressible(draw):
    """Settings that Triton can do exactly: greedy, size or timeout, preferred sizes."""
    largest, servers = draw(SIZES), draw(SERVERS)
    kind = draw(st.sampled_from(["greedy", "size_or_timeout", "preferred_sizes"]))
    keys = {"max_batch_size": largest, "servers": servers}
    if kind != "greedy":
        keys["max_wait_ms"] = draw(st.sampled_from([0, 1]) | WAITS_MS)
    if kind == "size_or_timeout":
        keys["min_batch_size"] = draw(st.integers(0, largest))
    if kind == "preferred_sizes":
        keys["preferred_batch_size"] = draw(st.lists(st.integers(1, largest), max_size=5))
    return setting(kind, **keys)


@given(expressible())
def test_what_is_exported_comes_back_as_the_same_policy(wanted):
    exported = triton.export(wanted, nearest=False)
    imported = triton.read(exported.files)
    assert exported.exact
    assert means(imported.table, wanted)
    assert imported.servers == wanted.servers


def test_another_wait_is_another_policy():
    imported = triton.read(triton.export(from_arrival(8, 5), nearest=False).files)
    assert means(imported.table, from_arrival(8, 5))
    assert not means(imported.table, from_arrival(8, 6))
    assert not means(imported.table, from_arrival(8, 5, from_idle=True))


@pytest.mark.parametrize(
    "wanted",
    [
        setting("greedy", max_batch_size=8),
        from_arrival(8, "2.5"),
        from_arrival(8, 5, min_batch_size=3, servers=4),
        setting("preferred_sizes", preferred_batch_size=[4, 8], max_batch_size=16, max_wait_ms=2),
        replace(from_arrival(8, 5), timeout_ns=200 * MS),
        setting("length_bucketed", boundaries=[128], max_batch_size=8),
    ],
    ids=["greedy", "wait", "smallest", "preferred", "timeout", "buckets"],
)
def test_the_protocol_buffers_of_triton_take_every_file(wanted):
    reason = "needs tritonclient[grpc], which holds the protocol buffers of Triton"
    pb = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason=reason)
    from google.protobuf import text_format

    exported = triton.export(wanted, nearest=True)
    for name, text in exported.files.items():
        if not name.endswith(".pbtxt"):
            continue
        found = text_format.Parse(text, pb.ModelConfig())
        assert 1 <= found.max_batch_size <= 64
        sizes = list(found.dynamic_batching.preferred_batch_size)
        assert all(1 <= size <= found.max_batch_size for size in sizes)
        assert sum(max(1, len(g.gpus)) * g.count for g in found.instance_group) == wanted.servers
        ours = parse(name, text)
        (inside,) = ours["dynamic_batching"]
        assert inside["max_queue_delay_microseconds"] == [
            found.dynamic_batching.max_queue_delay_microseconds
        ]
        assert inside.get("preferred_batch_size", []) == sizes


def test_the_protocol_buffers_of_triton_know_the_fields_that_are_read():
    pb = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="needs tritonclient")
    from experiments.export import triton_read

    for known, message in (
        (triton_read.MODEL, pb.ModelConfig),
        (triton_read.BATCHING, pb.ModelDynamicBatching),
        (triton_read.QUEUE, pb.ModelQueuePolicy),
    ):
        assert known == {field.name for field in message.DESCRIPTOR.fields}


def test_greedy_waits_for_nothing():
    exported = triton.export(setting("greedy", max_batch_size=8), nearest=False)
    assert config(exported)["max_batch_size"] == [8]
    assert batching(exported) == {"max_queue_delay_microseconds": [0]}


def test_a_smallest_batch_becomes_all_preferred_sizes_from_it_on():
    found = batching(triton.export(from_arrival(8, 5, min_batch_size=5), nearest=False))
    assert found["preferred_batch_size"] == [5, 6, 7, 8]
    assert found["max_queue_delay_microseconds"] == [5000]


def test_preferred_sizes_are_never_formed_ahead_of_an_idle_instance():
    for wanted in (
        from_arrival(8, 5, min_batch_size=5),
        setting("preferred_sizes", preferred_batch_size=[4, 8], max_batch_size=8),
    ):
        found = batching(triton.export(wanted, nearest=False))
        assert found["default_queue_policy"] == [{"allow_timeout_override": ["true"]}]


def test_batches_that_wait_are_not_formed_ahead_since_they_would_not_grow():
    exported = triton.export(from_arrival(8, 5), nearest=False)
    assert batching(exported)["default_queue_policy"] == [{"allow_timeout_override": ["true"]}]
    assert (
        "allow_timeout_override keeps Triton from forming batches ahead, which would not grow "
        "while every instance is busy"
    ) in exported.notes
    at_once = triton.export(setting("greedy"), nearest=False)
    assert "default_queue_policy" not in batching(at_once)
    assert not any("ahead" in note for note in at_once.notes)


def test_every_server_is_a_gpu_of_its_own():
    exported = triton.export(setting("greedy", servers=3), nearest=False)
    (group,) = config(exported)["instance_group"]
    assert group == {"kind": ["KIND_GPU"], "count": [1], "gpus": [0, 1, 2]}


def test_servers_of_a_cpu_are_instances_of_one_group():
    wanted = setting("greedy", servers=3)
    on_cpu = replace(wanted, evidence=replace(wanted.evidence, device="a CPU with 16 cores"))
    (group,) = config(triton.export(on_cpu, nearest=False))["instance_group"]
    assert group == {"kind": ["KIND_CPU"], "count": [3]}


def test_rounding_to_microseconds_is_told_and_written():
    exported = triton.export(from_arrival(8, "0.0005"), nearest=False)
    note = "max_wait of 0.5 us is written as 1 us"
    assert note in exported.notes
    assert f"# Note: {note}." in exported.files["config.pbtxt"]
    assert batching(exported)["max_queue_delay_microseconds"] == [1]


def test_a_wait_without_end_becomes_as_long_as_the_slo():
    wanted = setting("static", batch_size=16, tiers=OTHER_TIERS)
    assert refusal(triton, wanted) == (
        "triton: Triton cannot wait without an end for a full batch; with --nearest it waits 20 ms "
        "at most, as long as the SLO, and then serves what is there"
    )
    exported = triton.export(wanted, nearest=True)
    assert not exported.exact
    assert batching(exported)["max_queue_delay_microseconds"] == [20_000]
    text = " ".join(exported.files["config.pbtxt"].replace("#", "").split())
    assert (
        "This is NOT the policy that was simulated: the predicted figures hold for the policy as "
        "simulated, not for this approximation of it. What differs: it waits 20 ms at most, as "
        "long as the SLO, and then serves what is there."
    ) in text


def test_a_wait_without_end_has_nothing_near_it_where_there_is_no_slo():
    with pytest.raises(NotExpressible) as caught:
        triton.export(setting("static", batch_size=16), nearest=True)
    assert str(caught.value) == (
        "triton: Triton cannot wait without an end for a full batch, and without an SLO nothing "
        "says how long it should"
    )


def test_a_timer_from_the_idle_server_is_refused():
    wanted = from_arrival(8, 5, from_idle=True)
    assert refusal(triton, wanted) == (
        "triton: the delay of Triton begins when the oldest request arrives; with --nearest it "
        "does not start the delay anew when the server becomes idle, so that a backlog goes at once"
    )
    found = batching(triton.export(wanted, nearest=True))
    assert found["max_queue_delay_microseconds"] == [5000]


def test_a_limit_on_the_queue_is_refused_as_a_full_queue_stops_triton():
    wanted = replace(from_arrival(8, 5), capacity=32)
    assert refusal(triton, wanted) == (
        "triton: the run rejects requests when 32 are there already, and a Triton with "
        "max_queue_size stops serving for up to 500 ms at a time once its queue is full; with "
        "--nearest it does not limit the queue: limit it at the client or the gateway, or give "
        "service.timeout, which Triton holds"
    )
    assert (
        "max_queue_size"
        not in triton.export(wanted, nearest=True).files["config.pbtxt"].split("\n\n")[1]
    )


@pytest.mark.parametrize(("timeout_ms", "wait_ms"), [(20, 50), (20, 20)])
def test_a_time_out_that_the_delay_outlasts_is_refused_even_nearly(timeout_ms, wait_ms):
    wanted = replace(from_arrival(8, wait_ms), timeout_ns=timeout_ms * MS)
    with pytest.raises(NotExpressible) as caught:
        triton.export(wanted, nearest=True)
    assert str(caught.value) == (
        f"triton: the time-out of {timeout_ms} ms is not above the wait of {wait_ms} ms, so that "
        "an idle server would reject every request that waits for others; give a wait below the "
        "time-out"
    )


def test_a_time_out_above_the_delay_is_written_with_its_hazard():
    exported = triton.export(replace(from_arrival(8, 5), timeout_ns=200 * MS), nearest=False)
    assert batching(exported)["default_queue_policy"] == [
        {"timeout_action": ["REJECT"], "default_timeout_microseconds": [200_000]}
    ]
    assert (
        "a delay without batches formed ahead can make Triton lose throughput over hours, until "
        "the model is loaded again (triton-inference-server/server issue 8870, open in July 2026)"
    ) in exported.notes


def test_small_preferred_sizes_that_starve_large_ones_are_told():
    wanted = setting(
        "preferred_sizes", preferred_batch_size=[4, 8], max_batch_size=16, max_wait_ms=2
    )
    assert (
        "a batch of 4 goes as soon as it is there, so that larger preferred sizes come from a "
        "backlog only"
    ) in triton.export(wanted, nearest=False).notes


def test_priorities_are_not_claimed_for_a_policy_that_knows_none():
    exported = triton.export(setting("greedy", tiers=OTHER_TIERS), nearest=False)
    assert "priority_levels" not in batching(exported)
    assert (
        "the policy serves all tiers in order of arrival, so that no priority_levels are set"
        in exported.notes
    )


def test_different_shapes_that_end_a_batch_are_told():
    note = (
        "requests of one batch need one shape: pad them, or allow_ragged_batch; otherwise a "
        "different shape ends the batch"
    )
    wanted = setting("greedy")
    assert note in triton.export(wanted, nearest=False).notes
    assert note not in triton.export(replace(wanted, longest=1), nearest=False).notes


BUCKETS = {"boundaries": [128, 256], "max_batch_size": [16, 8, 4], "max_wait_ms": [0, 1, 2]}


def test_ranges_of_length_become_models_that_take_turns():
    wanted = setting("length_bucketed", **BUCKETS)
    assert refusal(triton, wanted) == (
        "triton: Triton has one queue a model, whatever the lengths; with --nearest it becomes 3 "
        "models, one for each range of lengths, which take turns on a server by how often each has "
        "run, where the one whose oldest request arrived first would go; a router that knows the "
        "length stands before them"
    )
    exported = triton.export(wanted, nearest=True)
    assert set(exported.files) == {
        "bert-to-128/config.pbtxt",
        "bert-to-256/config.pbtxt",
        "bert-above-256/config.pbtxt",
        "router.json",
        "router.py",
    }
    for name in ("bert-to-128", "bert-to-256", "bert-above-256"):
        found = parse(name, exported.files[f"{name}/config.pbtxt"])
        assert found["name"] == [name]
        (group,) = found["instance_group"]
        assert group["rate_limiter"] == [
            {"resources": [{"name": ["batchwright_server"], "count": [1]}]}
        ]
    assert (
        "start tritonserver with --rate-limit=execution_count "
        "--rate-limit-resource=batchwright_server:1, or the models run at the same time"
    ) in exported.notes


def test_instances_of_a_cpu_share_one_resource_for_each_server():
    wanted = setting("length_bucketed", servers=2, **BUCKETS)
    on_cpu = replace(wanted, evidence=replace(wanted.evidence, device=None))
    exported = triton.export(on_cpu, nearest=True)
    (group,) = parse("", exported.files["bert-to-128/config.pbtxt"])["instance_group"]
    (limiter,) = group["rate_limiter"]
    assert limiter["resources"] == [
        {"name": ["batchwright_server"], "global": ["true"], "count": [1]}
    ]
    assert any("--rate-limit-resource=batchwright_server:2," in note for note in exported.notes)


def test_the_router_sends_each_length_where_the_policy_would(tmp_path):
    exported = triton.export(setting("length_bucketed", **BUCKETS), nearest=True)
    for name in ("router.json", "router.py"):
        (tmp_path / name).write_text(exported.files[name])
    names = ("bert-to-128", "bert-to-256", "bert-above-256")
    inside = {"__file__": str(tmp_path / "router.py"), "__name__": "router"}
    exec(compile(exported.files["router.py"], "router.py", "exec"), inside)
    policy = LengthBucketed(np.array(BUCKETS["boundaries"]))
    for length in (1, 127, 128, 129, 255, 256, 257, 5000):
        assert inside["model_of"](length) == names[policy.lane_of(length, 0)]


def test_ranges_of_length_come_back_with_the_rule_of_the_router():
    wanted = setting("length_bucketed", **BUCKETS)
    imported = triton.read(triton.export(wanted, nearest=True).files)
    assert means(imported.table, wanted)
    assert imported.notes == (
        "the models take turns by how often each has run; the simulated policy serves the one "
        "whose oldest request arrived first",
    )


def test_several_models_without_a_router_are_refused():
    files = triton.export(setting("length_bucketed", **BUCKETS), nearest=True).files
    configs = {name: text for name, text in files.items() if name.endswith(".pbtxt")}
    with pytest.raises(ForeignFileError) as caught:
        triton.read(configs)
    assert str(caught.value) == (
        "bert-to-128/config.pbtxt, bert-to-256/config.pbtxt, bert-above-256/config.pbtxt: several "
        "models without a router.json; give one of them"
    )


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("[]", "router.json: must hold models, each with up_to and model"),
        (
            '{"models": [{"up_to": 256, "model": "bert-to-128"}, {"up_to": 128, "model": "x"}, '
            '{"up_to": null, "model": "y"}]}',
            "router.json: up_to must increase, and end with null",
        ),
        (
            '{"models": [{"up_to": 128, "model": "bert-to-128"}, {"up_to": null, "model": "x"}]}',
            "router.json: there is no config.pbtxt of model x",
        ),
    ],
)
def test_a_broken_rule_of_a_router_is_refused(rule, sentence):
    files = dict(triton.export(setting("length_bucketed", **BUCKETS), nearest=True).files)
    files["router.json"] = rule
    with pytest.raises(ForeignFileError) as caught:
        triton.read(files)
    assert str(caught.value) == sentence


def test_a_users_configuration_is_read_with_what_is_left_out():
    imported = read(
        """
        name: "m"  # mine
        platform: "tensorrt_plan"
        max_batch_size: 64
        input [ { name: "ids" data_type: TYPE_INT32 dims: [ -1 ] } ]
        dynamic_batching {
          preferred_batch_size: [ 4, 8 ]
          max_queue_delay_microseconds: 3000
          priority_levels: 2
          default_priority_level: 2
          priority_queue_policy { key: 1 value { max_queue_size: 32 } }
          default_queue_policy { default_timeout_microseconds: 2000 }
        }
        instance_group [ { count: 2 kind: KIND_GPU gpus: [ 0, 1 ] }, { count: 1 kind: KIND_CPU } ]
        """
    )
    assert imported.table == {
        "kind": "priority_fill",
        "max_batch_size": 64,
        "max_wait_ms": 3,
    }
    assert (imported.servers, imported.tiers) == (5, 2)
    assert imported.notes == (
        "priority_levels 1 to 2 are read as the tiers of the scenario in their order, the most "
        "urgent first",
        "default_timeout_microseconds = 2000 is left out: give service.timeout = { ms = 2 } in the "
        "scenario",
        "default_timeout_microseconds = 2000 is not above max_queue_delay_microseconds = 3000, so "
        "that an idle Triton rejects every request that waits for others",
        "max_queue_size = 32 of level 1 is left out: give capacity = { requests = 32 } to the "
        "tier; beware that a full queue makes Triton stop serving for up to 500 ms at a time",
        "preferred_batch_size is left out: with levels it is not simulated",
    )


@pytest.mark.parametrize(
    ("field", "what"),
    [
        ("preferred_batch_size: [ 4, 8 ]", "keep to the preferred sizes"),
        ("max_queue_delay_microseconds: 100", "grow"),
    ],
)
def test_batches_that_triton_forms_ahead_are_told(field, what):
    text = f"max_batch_size: 8 dynamic_batching {{ {field} %s }}"
    ahead = (
        f"Triton forms batches ahead while every instance is busy, which do not {what}; those of "
        "the simulated policy do (as Triton's with allow_timeout_override: true in "
        "default_queue_policy)"
    )
    assert read(text % "").notes == (ahead,)
    assert read(text % "default_queue_policy { allow_timeout_override: true }").notes == ()


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (
            "max_batch_size: 8",
            "without dynamic_batching every request is served alone (unless the backend adds it "
            "when it completes the configuration)",
        ),
        (
            "name: 'm'",
            "max_batch_size 0: the model takes no batches, and every request is served alone",
        ),
    ],
)
def test_a_model_that_does_not_batch_serves_every_request_alone(text, note):
    imported = read(text)
    assert imported.table == {"kind": "greedy", "max_batch_size": 1}
    assert imported.notes == (note,)
    assert imported.servers is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "max_batchsize: 8",
            "config.pbtxt: max_batchsize is no field of it; did you mean max_batch_size?",
        ),
        (
            "max_batch_size: 8 dynamic_batching { max_queue_delay: 5 }",
            "config.pbtxt: dynamic_batching.max_queue_delay is no field of it; did you mean "
            "max_queue_delay_microseconds?",
        ),
        (
            "max_batch_size: 4 dynamic_batching { preferred_batch_size: 8 }",
            "config.pbtxt: preferred_batch_size = 8 must be a whole number from 1 to "
            "max_batch_size = 4",
        ),
        (
            "max_batch_size: 4 ensemble_scheduling { }",
            "config.pbtxt: ensemble_scheduling is not simulated; give a model with "
            "dynamic_batching",
        ),
        (
            "max_batch_size: -1",
            "config.pbtxt: max_batch_size = -1 must be a whole number, not below 0",
        ),
        (
            "max_batch_size: 4 max_batch_size: 8",
            "config.pbtxt: max_batch_size is given 2 times, but holds one value",
        ),
        (
            "max_batch_size: 4 dynamic_batching: 3",
            "config.pbtxt: dynamic_batching = 3 must be a message in { }",
        ),
        ("max_batch_size: 4\n dynamic_batching {", "config.pbtxt, line 2: the text ends too early"),
        ("max_batch_size 4", "config.pbtxt, line 1: '4' is not expected here"),
        ("max_batch_size: $", "config.pbtxt, line 1: cannot read '$'"),
        (
            "max_batch_size: 4 dynamic_batching { max_queue_delay_microseconds: "
            "18446744073709551615 }",
            "config.pbtxt: max_queue_delay_microseconds = 18446744073709551615 is longer than 292 "
            "years",
        ),
    ],
)
def test_a_wrong_file_gets_one_sentence(text, sentence):
    assert refused(text) == sentence


def test_what_is_no_file_of_triton_is_told_apart():
    assert triton.recognises("max_batch_size: 8 dynamic_batching { }")
    assert not triton.recognises("max_batch_size { value: 8 }")
    assert not triton.recognises("apiVersion: serving")
    assert not triton.recognises("")
    with pytest.raises(ForeignFileError) as caught:
        triton.read({"a.yaml": "a: 1"})
    assert str(caught.value) == "a.yaml: no config.pbtxt of Triton"
