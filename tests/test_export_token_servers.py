"""Text Embeddings Inference and vLLM: no timer, tokens counted, and what that leaves exact."""

import re
import shlex

import pytest
import yaml
from export_settings import LONGEST, SIZES, from_arrival, only_file, refusal, setting
from hypothesis import given

from experiments.export import text_embeddings_inference as tei
from experiments.export import vllm
from policies.contract import Tier

SCRIPT = "text-embeddings-inference.sh"

TEI_FLAGS = {
    "model-id": str,
    "revision": str,
    "tokenization-workers": int,
    "dtype": str,
    "pooling": str,
    "max-concurrent-requests": int,
    "max-batch-tokens": int,
    "max-batch-requests": int,
    "max-client-batch-size": int,
    "auto-truncate": bool,
    "hostname": str,
    "port": int,
    "payload-limit": int,
}
"""Of ``router/src/main.rs`` of huggingface/text-embeddings-inference (2026-07-24); whole numbers
are unsigned."""

VLLM_KEYS = {
    "runner": str,
    "max-num-seqs": int,
    "max-num-batched-tokens": int,
    "max-model-len": int,
    "enable-chunked-prefill": bool,
    "async-scheduling": bool,
    "scheduling-policy": str,
    "data-parallel-size": int,
    "max-num-queued-reqs": int,
}
"""Arguments of ``vllm serve`` 0.33.0 that exports use, with their types."""

CASES = [
    setting("greedy", max_batch_size=8),
    setting("token_budget", max_tokens=4096, max_batch_size=32, max_wait_ms=5),
    setting("length_bucketed", boundaries=[64], max_batch_size=[8, 4], max_wait_ms=2),
    setting("greedy", max_batch_size=8, servers=2, capacity=50, timeout_ns=10**9),
]


def flags(text: str) -> dict[str, str]:
    """Of a script that ends in one command."""
    command = shlex.split(text[text.index("exec ") :].replace("\\\n", " "))
    assert command[:2] == ["exec", "text-embeddings-router"]
    assert command[-1] == "$@"
    return dict(each.removeprefix("--").split("=", 1) for each in command[2:-1])


@pytest.mark.parametrize("wanted", CASES)
def test_every_flag_of_the_script_is_one_of_the_router_with_a_value_of_its_type(wanted):
    exported = tei.export(wanted, nearest=True)
    scripts = [text for name, text in exported.files.items() if name.endswith(SCRIPT)]
    assert scripts
    for text in scripts:
        assert text.startswith("#!/bin/sh\n# Policy winner: ")
        for flag, value in flags(text).items():
            assert TEI_FLAGS[flag] is not int or int(value) > 0


@pytest.mark.parametrize("wanted", CASES)
def test_compose_and_scripts_give_the_same_arguments(wanted):
    exported = tei.export(wanted, nearest=True)
    services = yaml.safe_load(exported.files["compose.yaml"])["services"]
    for name, service in services.items():
        folder = "" if len(services) == 1 else f"{name}/"
        given_flags = flags(exported.files[f"{folder}{SCRIPT}"])
        assert set(given_flags) == {
            re.split("[ =]", each.removeprefix("--"))[0] for each in service["command"]
        }
        for each in service["command"][1:]:
            flag, value = each.removeprefix("--").split("=")
            assert given_flags[flag] == value
        assert service["deploy"]["replicas"] == wanted.servers


@given(SIZES)
def test_tokens_never_limit_a_batch_that_only_its_size_limits(size):
    wanted = setting("greedy", max_batch_size=size)
    found = flags(tei.export(wanted, nearest=True).files[SCRIPT])
    assert int(found["max-batch-requests"]) == size
    assert int(found["max-batch-tokens"]) == size * LONGEST
    table = yaml.safe_load(only_file(vllm.export(wanted, nearest=False)))
    assert table["max-num-seqs"] == size
    assert table["max-num-batched-tokens"] == size * LONGEST


def test_batches_of_one_on_one_server_are_exact_on_tei():
    exported = tei.export(
        setting("greedy", max_batch_size=1, capacity=50, capacity_counts_in_system=True),
        nearest=False,
    )
    assert exported.exact
    assert flags(exported.files[SCRIPT])["max-concurrent-requests"] == "50"


def test_greedy_is_refused_by_tei_as_it_forms_a_batch_ahead():
    assert refusal(tei, setting("greedy", max_batch_size=8)) == (
        "text-embeddings-inference: Text Embeddings Inference forms the next batch as soon as one "
        "begins to run, from what waits then; with --nearest it runs the batch that was formed "
        "ahead, often of one request, before all that came meanwhile"
    )


def test_a_wait_is_refused_as_there_is_no_timer():
    assert refusal(vllm, from_arrival(8, 10)) == (
        "vllm: vLLM has no timer: it serves what waits as soon as it is free; with --nearest it "
        "never waits for more requests"
    )
    assert "Text Embeddings Inference has no timer" in refusal(tei, from_arrival(8, 10))


@pytest.mark.parametrize("stack", [tei, vllm])
def test_lengths_that_are_no_tokens_are_refused_even_as_the_nearest(stack):
    wanted = setting("greedy", max_batch_size=8, length_unit="audio_ms")
    assert refusal(stack, wanted) == (
        f"{stack.TERMS.stack}: lengths of the run are in audio_ms, and {stack.TERMS.title} counts "
        "tokens"
    )


def test_a_token_budget_is_written_as_it_is_and_what_counts_is_said():
    wanted = setting("token_budget", max_tokens=4096, max_batch_size=32)
    found = flags(tei.export(wanted, nearest=True).files[SCRIPT])
    assert found["max-batch-tokens"] == "4096"
    assert found["max-batch-requests"] == "32"
    assert refusal(vllm, wanted) == (
        "vllm: vLLM counts the tokens of a step without padding; with --nearest it puts more "
        "requests into a batch of mixed lengths"
    )
    table = yaml.safe_load(only_file(vllm.export(wanted, nearest=True)))
    assert table["max-num-batched-tokens"] == 4096


def test_a_budget_below_the_longest_request_is_said_to_cut_or_to_grow():
    wanted = setting("token_budget", max_tokens=400, max_batch_size=32)
    assert "it cuts inputs to 400 tokens, where they would go alone" in refusal(tei, wanted)
    assert "it has a budget of 512 tokens, so that every request fits" in refusal(vllm, wanted)
    table = yaml.safe_load(only_file(vllm.export(wanted, nearest=True)))
    assert table["max-num-batched-tokens"] == LONGEST


def test_a_budget_that_cannot_bind_is_greedy_on_vllm():
    wanted = setting("token_budget", max_tokens=8 * LONGEST, max_batch_size=8)
    assert vllm.export(wanted, nearest=False).exact


@pytest.mark.parametrize("wanted", CASES)
def test_every_key_of_the_file_is_an_argument_of_vllm_with_a_value_of_its_type(wanted):
    for text in vllm.export(wanted, nearest=True).files.values():
        table = yaml.safe_load(text)
        assert all(type(value) is VLLM_KEYS[key] for key, value in table.items())
        assert table["max-num-batched-tokens"] >= table["max-model-len"]


def test_engines_with_queues_of_their_own_are_refused():
    assert refusal(vllm, setting("greedy", max_batch_size=8, servers=2)).startswith(
        "vllm: every engine of vLLM has a queue of its own; with --nearest it asks for 2 servers"
    )


def test_tiers_are_served_in_order_of_arrival_as_they_were_simulated():
    tiers = (Tier("urgent"), Tier("later"))
    exported = vllm.export(setting("greedy", max_batch_size=8, tiers=tiers), nearest=False)
    assert "scheduling-policy: fcfs\n" in only_file(exported)
    assert (
        "the policy serves all tiers in order of arrival: scheduling-policy is fcfs"
    ) in exported.notes


def test_no_limit_is_written_as_a_number_because_the_default_of_tei_is_512():
    exported = tei.export(setting("greedy", max_batch_size=8), nearest=True)
    assert flags(exported.files[SCRIPT])["max-concurrent-requests"] == "65536"
    assert (
        "max-concurrent-requests is 65536, for no limit; without it what finds 512 requests there "
        "is rejected"
    ) in exported.notes


@pytest.mark.parametrize("padded", [True, False])
def test_a_budget_one_batch_ahead_is_exact_with_the_backend_that_was_simulated(padded):
    wanted = setting("token_budget_ahead", max_tokens=4096, max_batch_size=32, padded=padded)
    exported = tei.export(wanted, nearest=False)
    assert exported.exact
    found = flags(exported.files[SCRIPT])
    assert (found["max-batch-tokens"], found["max-batch-requests"]) == ("4096", "32")
    (said,) = (note for note in exported.notes if note.startswith("it is exact with a backend"))
    assert ("does not pad" in said) is not padded


def test_a_batch_ahead_is_refused_where_none_is_formed():
    wanted = setting("token_budget_ahead", max_tokens=4096, max_batch_size=32)
    assert "vLLM forms a batch when it begins to run, and none ahead" in refusal(vllm, wanted)
    assert "a batch of mixed lengths" in refusal(vllm, wanted)


def test_a_budget_ahead_below_the_longest_request_is_refused():
    wanted = setting("token_budget_ahead", max_tokens=100, max_batch_size=32)
    assert "it cuts inputs that are longer than the budget" in refusal(tei, wanted)
