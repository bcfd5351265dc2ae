"""TensorFlow Serving: batching parameters say what was simulated; its own parser takes them."""

import pytest
from export_settings import SERVERS, SIZES, from_arrival, from_idle, means, refusal, setting
from hypothesis import given
from hypothesis import strategies as st

from experiments.export import tensorflow_serving
from experiments.export.contract import ForeignFileError
from policies.contract import Tier

NAME = "batching_parameters.pbtxt"

WRAPPED = {
    1: ("max_batch_size", "Int64Value"),
    2: ("batch_timeout_micros", "Int64Value"),
    3: ("max_enqueued_batches", "Int64Value"),
    4: ("num_batch_threads", "Int64Value"),
    5: ("thread_pool_name", "StringValue"),
    8: ("enable_large_batch_splitting", "BoolValue"),
    9: ("max_execution_batch_size", "Int64Value"),
}
"""Fields of ``BatchingParameters`` in ``session_bundle_config.proto`` of tensorflow/serving, which
no package carries."""


def batching_parameters():
    """An empty message of the server's own type, declared again."""
    reason = "protobuf is not installed: the files are not parsed as the server does"
    descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2", reason=reason)
    from google.protobuf import descriptor_pool, message_factory, wrappers_pb2

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="session_bundle_config.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    message = file.message_type.add(name="BatchingParameters")
    for number, (name, wrapper) in WRAPPED.items():
        message.field.add(
            name=name,
            number=number,
            type=field.TYPE_MESSAGE,
            type_name=f".google.protobuf.{wrapper}",
            label=field.LABEL_OPTIONAL,
        )
    message.field.add(
        name="allowed_batch_sizes", number=6, type=field.TYPE_INT64, label=field.LABEL_REPEATED
    )
    message.field.add(
        name="pad_variable_length_inputs",
        number=7,
        type=field.TYPE_BOOL,
        label=field.LABEL_OPTIONAL,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    found = pool.FindMessageTypeByName("tensorflow.serving.BatchingParameters")
    return message_factory.GetMessageClass(found)()


def parsed(text: str):
    """As the server reads it: an unknown field or a wrong type is an error."""
    message = batching_parameters()
    from google.protobuf import text_format

    return text_format.Parse(text, message)


def refused(text: str) -> str:
    with pytest.raises(ForeignFileError) as caught:
        tensorflow_serving.read({NAME: text})
    return str(caught.value)


@given(SIZES, st.integers(0, 10**8), SERVERS)
def test_a_wait_of_whole_microseconds_from_the_arrival_comes_back_as_it_went(size, micros, servers):
    wanted = from_arrival(size, micros / 1000, servers=servers)
    exported = tensorflow_serving.export(wanted, nearest=False)
    found = tensorflow_serving.read(exported.files)
    assert exported.exact
    assert means(found.table, wanted)
    assert found.servers == servers


@given(SIZES, st.integers(0, 10**8), SERVERS)
def test_the_parser_of_the_server_finds_the_same_numbers(size, micros, servers):
    wanted = from_arrival(size, micros / 1000, servers=servers)
    message = parsed(tensorflow_serving.export(wanted, nearest=False).files[NAME])
    assert message.max_batch_size.value == size
    assert message.batch_timeout_micros.value == (micros if size > 1 else 0)
    assert message.num_batch_threads.value == servers
    assert list(message.allowed_batch_sizes) == []


def test_the_parser_of_the_server_refuses_a_plain_number():
    batching_parameters()
    from google.protobuf import text_format

    with pytest.raises(text_format.ParseError):
        parsed("max_batch_size: 8")


def test_greedy_is_a_wait_of_zero():
    exported = tensorflow_serving.export(setting("greedy", max_batch_size=8), nearest=False)
    assert exported.exact
    assert "batch_timeout_micros { value: 0 }\n" in exported.files[NAME]
    found = tensorflow_serving.read(exported.files)
    assert found.table == {"kind": "greedy", "max_batch_size": 8}


def test_no_sizes_to_pad_to_are_ever_written():
    wanted = setting(
        "preferred_sizes", preferred_batch_size=[4, 8], max_batch_size=8, max_wait_ms=2
    )
    assert refusal(tensorflow_serving, wanted) == (
        "tensorflow-serving: TensorFlow Serving has no preferred batch sizes; with --nearest it "
        "waits for 8 or the timer, and stops at no preferred size"
    )
    exported = tensorflow_serving.export(wanted, nearest=True)
    assert "allowed_batch_sizes" not in exported.files[NAME]


def test_a_wait_that_begins_when_a_server_is_idle_is_refused():
    assert refusal(tensorflow_serving, from_idle(8, 10)) == (
        "tensorflow-serving: the wait of TensorFlow Serving begins when the oldest request "
        "arrives, also while every thread is busy; with --nearest it waits from the arrival of the "
        "oldest request, so that a backlog goes at once"
    )


def test_a_smallest_batch_is_refused():
    assert refusal(tensorflow_serving, from_arrival(8, 10, min_batch_size=4)) == (
        "tensorflow-serving: TensorFlow Serving has no smallest batch: only 8 requests or the "
        "timer start one; with --nearest it waits for 8 requests or the timer, where 4 were enough"
    )


def test_a_wait_without_an_end_becomes_as_long_as_the_objective():
    tiers = (Tier("all", slo_ns=2 * 10**8),)
    exported = tensorflow_serving.export(setting("static", batch_size=8, tiers=tiers), nearest=True)
    assert "batch_timeout_micros { value: 200000 }\n" in exported.files[NAME]


def test_a_queue_of_whole_batches_is_exact():
    wanted = from_arrival(8, 10, capacity=80)
    exported = tensorflow_serving.export(wanted, nearest=False)
    assert "max_enqueued_batches { value: 10 }\n" in exported.files[NAME]
    assert not [note for note in exported.notes if "requests may wait" in note]


def test_a_queue_that_is_no_whole_batches_is_noted():
    exported = tensorflow_serving.export(from_arrival(8, 10, capacity=81), nearest=False)
    assert (
        "the queue is limited in whole batches: 88 requests may wait instead of 81"
    ) in exported.notes


def test_a_limit_that_counts_those_in_service_is_refused():
    wanted = from_arrival(8, 10, capacity=80, capacity_counts_in_system=True)
    assert refusal(tensorflow_serving, wanted) == (
        "tensorflow-serving: max_enqueued_batches of TensorFlow Serving does not count the "
        "requests in service; with --nearest it lets 80 requests wait beside those in service"
    )


def test_a_time_out_is_refused():
    assert refusal(tensorflow_serving, from_arrival(8, 10, timeout_ns=5 * 10**8)) == (
        "tensorflow-serving: TensorFlow Serving has no time-out of its queue, where in the run "
        "requests leave after 500 ms; with --nearest it serves requests however long they have "
        "waited"
    )


def test_no_limit_is_written_as_a_number_because_the_default_is_ten_batches():
    exported = tensorflow_serving.export(from_arrival(8, 10), nearest=False)
    assert "max_enqueued_batches { value: 1000000 }\n" in exported.files[NAME]


def test_ranges_of_length_have_a_file_each_and_share_the_threads():
    wanted = setting("length_bucketed", boundaries=[64], max_batch_size=[8, 4], max_wait_ms=2)
    exported = tensorflow_serving.export(wanted, nearest=True)
    assert set(exported.files) == {
        NAME,
        "bert-to-64/batching_params.pbtxt",
        "bert-above-64/batching_params.pbtxt",
    }
    for name, text in exported.files.items():
        assert ("num_batch_threads" in text) == (name == NAME)
        assert ("max_batch_size {" in text) == (name != NAME)
        parsed(text)


def test_a_wait_under_a_microsecond_is_rounded_up_and_noted():
    exported = tensorflow_serving.export(from_arrival(8, 0.0004), nearest=False)
    assert "batch_timeout_micros { value: 1 }\n" in exported.files[NAME]
    assert "max_wait of 0.4 us is written as 1 us" in exported.notes


def test_absent_fields_are_the_defaults_of_the_server():
    found = tensorflow_serving.read({NAME: ""})
    assert found.table == {"kind": "greedy", "max_batch_size": 1000}
    assert found.servers is None
    assert found.notes == (
        "max_batch_size is absent, which TensorFlow Serving takes as 1000",
        "what finds 10000 requests waiting is rejected: service.capacity",
        "num_batch_threads is absent: there are as many as the machine has cores",
    )


def test_padding_is_noted_when_read():
    found = tensorflow_serving.read(
        {NAME: "max_batch_size { value: 8 } allowed_batch_sizes: 4 allowed_batch_sizes: 8"}
    )
    assert (
        "allowed_batch_sizes pads a batch up to the next of [4, 8]: it takes the time of that "
        "size, which is not simulated"
    ) in found.notes


def test_large_batches_that_are_split_run_as_their_pieces():
    found = tensorflow_serving.read(
        {
            NAME: "max_batch_size { value: 32 } enable_large_batch_splitting { value: true }\n"
            "max_execution_batch_size { value: 8 }"
        }
    )
    assert found.table["max_batch_size"] == 8


def test_what_the_server_would_refuse_is_refused_in_a_sentence():
    assert refused("max_batch_size: 8") == (
        f"{NAME}: max_batch_size = 8 must be a message in {{ }}"
    )
    assert refused("max_batch_sise { value: 8 }") == (
        f"{NAME}: max_batch_sise is no field of it; did you mean max_batch_size?"
    )
    assert refused("max_batch_size { value: 8 } allowed_batch_sizes: [ 2, 4 ]") == (
        f"{NAME}: allowed_batch_sizes = [2, 4] must increase and end in 8, the largest batch; "
        "TensorFlow Serving refuses it"
    )
    assert refused("max_enqueued_batches { value: 0 }") == (
        f"{NAME}: max_enqueued_batches = 0 must be a whole number of at least 1"
    )
