"""KServe: the batcher of an InferenceService says what was simulated, or is refused."""

from decimal import Decimal

import pytest
import yaml
from export_settings import (
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

from experiments.export import kserve
from experiments.export.contract import ForeignFileError

NAME = "inference-service.yaml"

SERVICE = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: m}
spec:
  predictor:
    minReplicas: 1
    batcher: {maxBatchSize: 8, maxLatency: 10}
"""


def refused(text: str) -> str:
    with pytest.raises(ForeignFileError) as caught:
        kserve.read({NAME: text})
    return str(caught.value)


def check(model, table, where: str) -> None:
    """Every key of a table is an attribute of a class of the SDK, with a value of its type."""
    import kserve.models as models

    names = {file: attribute for attribute, file in model.attribute_map.items()}
    for key, value in table.items():
        assert key in names, f"{where}.{key}"
        kind = model.openapi_types[names[key]]
        if isinstance(value, dict) and hasattr(models, kind):
            check(getattr(models, kind), value, f"{where}.{key}")
        elif kind in {"int", "str"}:
            assert type(value).__name__ == kind, f"{where}.{key}"


@given(SIZES, WAITS_MS)
def test_a_wait_of_whole_milliseconds_from_idle_comes_back_as_it_went(size, wait_ms):
    wanted = from_idle(size, wait_ms)
    exported = kserve.export(wanted, nearest=False)
    found = kserve.read(exported.files)
    assert exported.exact
    assert means(found.table, wanted, kserve.CLOCK)
    assert found.servers == 1


def test_the_models_of_the_sdk_take_the_file():
    models = pytest.importorskip("kserve.models", reason="the SDK of KServe is not installed")
    table = yaml.safe_load(only_file(kserve.export(from_idle(8, 10), nearest=False)))
    check(models.V1beta1InferenceService, table, "")
    table["spec"]["predictor"]["batcher"]["maxBatchsize"] = 8
    with pytest.raises(AssertionError, match=r"spec\.predictor\.batcher\.maxBatchsize"):
        check(models.V1beta1InferenceService, table, "")


def test_no_wait_is_refused_as_zero_becomes_five_seconds():
    assert refusal(kserve, setting("greedy", max_batch_size=8)) == (
        "kserve: KServe cannot serve at once: a maxLatency of 0 becomes 5000 ms; with --nearest it "
        "waits up to 1 ms for a full batch, where it would not wait"
    )


def test_several_servers_are_refused_as_replicas_have_queues_of_their_own():
    assert refusal(kserve, from_idle(8, 10, servers=3)) == (
        "kserve: every replica of KServe has a batcher and a queue of its own; with --nearest it "
        "asks for 3 servers that do not share one queue, so that some idle while requests wait for "
        "another"
    )
    text = only_file(kserve.export(from_idle(8, 10, servers=3), nearest=True))
    assert "minReplicas: 3\n" in text
    assert "maxReplicas: 3\n" in text


def test_a_wait_that_begins_with_the_arrival_is_refused():
    assert refusal(kserve, from_arrival(8, 10)) == (
        "kserve: the wait of KServe begins when its batcher takes the first request, as with "
        "from_idle; with --nearest it waits from the instant that its batcher is free, so that a "
        "backlog waits again"
    )


def test_a_limit_and_a_time_out_of_the_queue_are_refused():
    assert refusal(kserve, from_idle(8, 10, capacity=50, timeout_ns=10**9)) == (
        "kserve: KServe has no limit on its queue, where the run rejects what finds 50 requests "
        "there, and KServe has no time-out of its queue, where in the run requests leave after "
        "1000 ms; with --nearest it does not limit the queue: limit it at the client or the "
        "gateway; it serves requests however long they have waited"
    )


def test_the_soft_limit_is_said_in_every_file():
    exported = kserve.export(from_idle(8, 10), nearest=False)
    assert (
        "maxBatchSize counts instances and a request is never split: it is a limit of requests "
        "only where each has one instance, and a batch exceeds it otherwise"
    ) in exported.notes
    assert "# Note: maxBatchSize counts instances" in only_file(exported)


def test_a_wait_under_half_a_millisecond_does_not_become_the_default_of_zero():
    exported = kserve.export(from_idle(8, 0.2), nearest=False)
    assert "maxLatency: 1\n" in only_file(exported)
    assert "max_wait of 0.2 ms is written as 1 ms" in exported.notes


@pytest.mark.parametrize(
    ("model", "name"), [("BERT_base.v2", "bert-base-v2"), ("7b", "model-7b"), ("m", "m")]
)
def test_names_are_made_such_as_kubernetes_takes_them(model, name):
    text = only_file(kserve.export(from_idle(8, 10, model=model), nearest=False))
    assert yaml.safe_load(text)["metadata"]["name"] == name


def test_a_batcher_is_read():
    found = kserve.read({NAME: SERVICE})
    assert found.table == {
        "kind": "timer_from_pick",
        "max_batch_size": 8,
        "max_wait_ms": 10,
        "poll_ms": Decimal("0.1"),
    }
    assert found.notes == ("maxBatchSize counts instances: it is read as requests of one instance",)


@pytest.mark.parametrize("batcher", ["{maxBatchSize: 0, maxLatency: -1}", "{timeout: 60}"])
def test_what_is_absent_or_not_above_zero_is_the_default_of_the_batcher(batcher):
    text = SERVICE.replace("{maxBatchSize: 8, maxLatency: 10}", batcher)
    found = kserve.read({NAME: text})
    assert found.table["max_batch_size"] == 32
    assert found.table["max_wait_ms"] == 5000
    assert "maxBatchSize is absent or not above 0, which KServe takes as 32" in found.notes
    assert "maxLatency is absent or not above 0, which KServe takes as 5000" in found.notes


def test_several_replicas_are_read_as_one_with_a_note():
    found = kserve.read({NAME: SERVICE.replace("minReplicas: 1", "minReplicas: 3")})
    assert found.servers == 1
    assert (
        "minReplicas = 3: one replica is read, as each has a queue of its own and a share of the "
        "requests"
    ) in found.notes


def test_what_is_no_batcher_is_refused_in_a_sentence():
    assert refused("kind: Service\n") == f"{NAME}: kind = 'Service' must be InferenceService"
    assert refused("kind: InferenceService\nspec: {predictor: {}}\n") == (
        f"{NAME}: spec.predictor.batcher is missing; without it KServe does not batch"
    )
    assert refused(SERVICE.replace("maxLatency", "maxlatency")) == (
        f"{NAME}: maxlatency is no key of a batcher; known are maxBatchSize, maxLatency, timeout"
    )
    assert refused(SERVICE.replace("maxLatency: 10", "maxLatency: 10ms")) == (
        f"{NAME}: maxLatency = '10ms' must be a whole number"
    )


def test_an_inference_service_is_recognised_among_other_yaml():
    assert kserve.recognises(SERVICE)
    assert not kserve.recognises("kind: Deployment\n")


def test_a_name_is_one_that_kubernetes_takes():
    from experiments.export.kserve import kubernetes_name

    assert kubernetes_name("Bert_base v2") == "bert-base-v2"
    assert kubernetes_name("7b") == "model-7b"
    long = kubernetes_name("a" * 62 + "-b")
    assert long == "a" * 62
