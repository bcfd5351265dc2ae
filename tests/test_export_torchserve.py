"""TorchServe: its files say what was simulated, or are refused; they are read as it reads them."""

import pytest
import yaml
from export_settings import (
    SERVERS,
    SIZES,
    WAITS_MS,
    from_arrival,
    from_idle,
    means,
    only_file,
    refusal,
    setting,
)
from hypothesis import given

from experiments.export import torchserve
from experiments.export.contract import ForeignFileError

KEYS = {
    "minWorkers": int,
    "maxWorkers": int,
    "batchSize": int,
    "maxBatchDelay": int,
    "responseTimeout": int,
    "startupTimeout": int,
    "deviceType": str,
    "parallelType": str,
    "parallelLevel": int,
    "deviceIds": list,
    "torchrun": dict,
    "maxRetryTimeoutInSec": int,
    "clientTimeoutInMills": int,
    "jobQueueSize": int,
    "useJobTicket": bool,
    "sequenceMaxIdleMSec": int,
    "sequenceTimeoutMSec": int,
    "maxSequenceJobQueueSize": int,
    "maxNumSequence": int,
    "continuousBatching": bool,
    "sequenceBatching": bool,
    "asyncCommunication": bool,
    "useVenv": bool,
}
"""What ``ModelConfig.build`` of pytorch/serve (2025-03-17) takes; it ignores anything else."""


def refused(name: str, text: str) -> str:
    with pytest.raises(ForeignFileError) as caught:
        torchserve.read({name: text})
    return str(caught.value)


@given(SIZES, WAITS_MS, SERVERS)
def test_a_wait_of_whole_milliseconds_from_idle_comes_back_as_it_went(size, wait_ms, servers):
    wanted = from_idle(size, wait_ms, servers=servers)
    exported = torchserve.export(wanted, nearest=False)
    found = torchserve.read(exported.files)
    assert exported.exact
    assert means(found.table, wanted, torchserve.CLOCK)
    assert found.servers == servers


@pytest.mark.parametrize(
    "wanted",
    [
        from_idle(8, 10),
        from_idle(8, 10, capacity=10**12, timeout_ns=10**18),
        setting("length_bucketed", boundaries=[64], max_batch_size=[8, 4], max_wait_ms=2),
    ],
)
def test_every_key_is_one_that_torchserve_takes_with_a_value_of_its_type(wanted):
    exported = torchserve.export(wanted, nearest=True)
    for text in exported.files.values():
        for key, value in yaml.safe_load(text).items():
            assert type(value) is KEYS[key]
            assert not isinstance(value, int) or 1 <= value < 2**31


def test_the_file_begins_with_the_policy_and_its_evidence():
    text = only_file(torchserve.export(from_idle(8, 10), nearest=False))
    assert text.startswith('# Policy winner: kind = "size_or_timeout", max_batch_size = 8,')
    assert "p99 12.5 (12 to 13)" in text
    assert "NOT" not in text


def test_no_wait_is_refused_as_zero_becomes_a_hundred_milliseconds():
    assert refusal(torchserve, setting("greedy", max_batch_size=8)) == (
        "torchserve: TorchServe cannot serve at once: a maxBatchDelay of 0 becomes 100 ms; "
        "with --nearest it waits up to 1 ms for a full batch, where it would not wait"
    )


def test_no_wait_becomes_a_millisecond_with_nearest_and_the_file_says_so():
    exported = torchserve.export(setting("greedy", max_batch_size=8), nearest=True)
    text = only_file(exported)
    assert not exported.exact
    assert "maxBatchDelay: 1\n" in text
    assert "This is NOT the policy that was simulated" in text
    assert "What differs: it waits up to 1 ms for a full batch, where it would not wait." in text


def test_batches_of_one_need_no_wait():
    exported = torchserve.export(setting("greedy", max_batch_size=1), nearest=False)
    assert exported.exact
    assert torchserve.read(exported.files).table == {"kind": "greedy", "max_batch_size": 1}


def test_a_wait_that_begins_with_the_arrival_is_refused():
    assert refusal(torchserve, from_arrival(8, 10)) == (
        "torchserve: the wait of TorchServe begins when a worker takes the first request, as with "
        "from_idle; with --nearest it waits from the instant that a worker is free, so that a "
        "backlog waits again"
    )


def test_a_smallest_batch_is_refused():
    assert refusal(torchserve, from_idle(8, 10, min_batch_size=4)) == (
        "torchserve: TorchServe has no smallest batch: only 8 requests or the timer start one; "
        "with --nearest it waits for 8 requests or the timer, where 4 were enough"
    )


def test_a_wait_without_an_end_is_refused():
    assert refusal(torchserve, setting("static", batch_size=8)) == (
        "torchserve: TorchServe cannot wait without an end, nor for weeks; with --nearest it waits "
        "up to 3600000 ms for a full batch, and then serves what is there"
    )


def test_a_wait_above_thirty_two_bits_is_refused():
    assert refusal(torchserve, from_idle(8, 2**31)).startswith(
        "torchserve: TorchServe cannot wait without an end, nor for weeks"
    )
    assert torchserve.export(from_idle(8, 2**31 - 1), nearest=False).exact


def test_a_limit_on_the_queue_is_given_up_in_words():
    wanted = from_idle(8, 10, capacity=50)
    assert refusal(torchserve, wanted) == (
        "torchserve: jobQueueSize of TorchServe counts neither the batch that a worker is "
        "collecting nor those in service, and the run rejects what finds 50 requests waiting; "
        "with --nearest it rejects what finds 50 requests that no worker has taken"
    )
    assert "jobQueueSize: 50\n" in only_file(torchserve.export(wanted, nearest=True))


def test_a_queue_of_nothing_is_not_written_as_zero():
    text = only_file(torchserve.export(from_idle(8, 10, capacity=0), nearest=True))
    assert "jobQueueSize: 1\n" in text


def test_no_limit_is_written_as_a_number_because_the_default_is_a_hundred():
    exported = torchserve.export(from_idle(8, 10), nearest=False)
    assert "jobQueueSize: 1000000\n" in only_file(exported)
    assert (
        "jobQueueSize is 1000000, for no limit; without it TorchServe rejects what finds 100 "
        "requests waiting"
    ) in exported.notes


def test_a_time_out_is_given_up_in_words():
    wanted = from_idle(8, 10, timeout_ns=5 * 10**8)
    assert refusal(torchserve, wanted) == (
        "torchserve: TorchServe drops a request that has waited too long only when a worker takes "
        "it, whose place in the batch stays empty; with --nearest it forms smaller batches where "
        "requests have waited too long"
    )
    assert "clientTimeoutInMills: 500\n" in only_file(torchserve.export(wanted, nearest=True))


def test_a_wait_that_is_rounded_is_noted():
    exported = torchserve.export(from_idle(8, 2.6), nearest=False)
    assert "maxBatchDelay: 3\n" in only_file(exported)
    assert "max_wait of 2.6 ms is written as 3 ms" in exported.notes


def test_a_wait_under_half_a_millisecond_does_not_become_the_default_of_zero():
    exported = torchserve.export(from_idle(8, 0.2), nearest=False)
    assert "maxBatchDelay: 1\n" in only_file(exported)
    assert "max_wait of 0.2 ms is written as 1 ms" in exported.notes


def test_ranges_of_length_become_models_behind_a_router():
    wanted = setting("length_bucketed", boundaries=[64], max_batch_size=[8, 4], max_wait_ms=2)
    exported = torchserve.export(wanted, nearest=True)
    assert set(exported.files) == {
        "bert-to-64/model-config.yaml",
        "bert-above-64/model-config.yaml",
    }
    assert (
        "the router sends lengths up to and including 64 tokens to bert-to-64; lengths above 64 "
        "tokens to bert-above-64"
    ) in exported.notes
    assert not exported.exact


def test_an_empty_file_is_no_batching():
    found = torchserve.read({"model-config.yaml": "deviceType: cpu\n"})
    assert found.table == {"kind": "greedy", "max_batch_size": 1}
    assert "batchSize is absent, which TorchServe takes as 1: no batching" in found.notes


@pytest.mark.parametrize("delay", ["", "maxBatchDelay: 0\n", "maxBatchDelay: -5\n"])
def test_an_absent_delay_and_one_of_zero_are_a_hundred_milliseconds(delay):
    found = torchserve.read({"model-config.yaml": f"batchSize: 8\n{delay}"})
    assert found.table == {
        "kind": "timer_from_pick",
        "max_batch_size": 8,
        "max_wait_ms": 100,
        "clock_ms": 1,
    }
    assert "maxBatchDelay is absent or 0, which TorchServe takes as 100 ms" in found.notes


def test_a_value_of_a_wrong_type_is_ignored_and_noted():
    found = torchserve.read({"model-config.yaml": 'batchSize: "8"\nmaxBatchDelay: 10\n'})
    assert found.table["max_batch_size"] == 1
    assert "batchSize = '8' is no whole number, so that TorchServe ignores it" in found.notes


def test_models_of_the_properties_are_read():
    text = (
        "inference_address=http\\://0.0.0.0\\:8080\njob_queue_size=40\n"
        'models={\\\n "m": {"1.0": {"marName": "m.mar", "minWorkers": 2, "batchSize": 4, \\\n'
        '"maxBatchDelay": 30}}}\n'
    )
    found = torchserve.read({"config.properties": text})
    assert found.table["max_batch_size"] == 4
    assert found.table["max_wait_ms"] == 30
    assert found.servers == 2
    assert "TorchServe rejects what finds 40 requests waiting: service.capacity" in found.notes


def test_the_file_of_the_archive_comes_before_the_properties():
    found = torchserve.read(
        {
            "config.properties": 'models={"m":{"1.0":{"batchSize":4,"maxBatchDelay":30}}}',
            "model-config.yaml": "batchSize: 8\nmaxBatchDelay: 0\n",
        }
    )
    assert found.table["max_batch_size"] == 8
    assert found.table["max_wait_ms"] == 30


def test_what_is_no_file_of_torchserve_is_refused_in_a_sentence():
    assert refused("config.properties", "a=1\n") == (
        "config.properties: models is missing; it gives batchSize and maxBatchDelay of a model as "
        "JSON"
    )
    assert refused("config.properties", 'models={"a":{"1":{},"2":{}}}') == (
        "config.properties: models holds 2 versions of models; one can be read"
    )
    assert refused("model-config.yaml", "- 1\n") == (
        "model-config.yaml: it must hold a mapping from keys to values"
    )
    assert refused("model-config.yaml", "a: [\n") == "model-config.yaml, line 2: it is not YAML"
