"""Which requests a load test sends, when, and what they are made of."""

from __future__ import annotations

import json

import numpy as np
import pytest
from v2_server import TOKENS, V2, listening

from experiments.config import load_scenario
from experiments.loading.asking import Wanted, at_load, drawn, scenario_of
from experiments.loading.bodies import Bodies, shape_of
from experiments.loading.endpoint import Endpoint, Input, Model, endpoint_of, model_of
from experiments.sentences import ScenarioError
from experiments.serving.open_inference import read
from policies.contract import NEVER, Tier
from sim.workload import Workload, draw_workload

HERE = Endpoint("127.0.0.1", 80, "")
IDS = Input("input_ids", "INT64", (1, -1))
AUDIO = Input("audio", "FP32", (1, -1))


def bodies_of(*inputs, unit="tokens", **more):
    model = Model("m", inputs, True, True)
    return Bodies(HERE, model, (Tier("all"),), unit, 600, **more)


def parts(request, shared=b""):
    head, _, body = request.data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    body += shared[: request.shares]
    assert int(headers["Content-Length"]) == len(body)
    return headers, body


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(("given", "unit"), [(IDS, "tokens"), (AUDIO, "audio_ms")])
@pytest.mark.parametrize("length", [1, 7, 600])
def test_our_server_reads_a_request_as_long_as_it_was_drawn(binary, given, unit, length):
    bodies = bodies_of(given, unit=unit, binary=binary)
    headers, body = parts(bodies.request(length, 0, 3_000_000), bodies.shared)
    size = headers.get("Inference-Header-Content-Length")
    assert read(body, unit, None if size is None else int(size)).length == length
    said = json.loads(body if size is None else body[: int(size)])
    assert said["inputs"][0]["shape"] == [1, length * (16 if unit == "audio_ms" else 1)]
    assert said["parameters"] == {"timeout": 3000}


def test_equal_requests_are_one_object_and_binary_ones_share_their_data():
    bodies = bodies_of(IDS, binary=True)
    workload = Workload(np.array([5, 9, 5], dtype=np.int32), np.arange(3))
    first, second, third = bodies.requests(workload)
    assert first is third
    assert (first.shares, second.shares) == (40, 72)
    ids = np.frombuffer(bodies.shared, dtype="<i8")
    assert len(ids) == 600
    assert 1000 <= ids.min() <= ids.max() < 30_000
    assert len(set(ids.tolist())) > 300


def test_masks_are_ones_types_zeros_and_several_inputs_follow_one_another():
    mask, kind = (
        Input("attention_mask", "INT64", (-1, -1)),
        Input("token_type_ids", "INT32", (1, -1)),
    )
    bodies = bodies_of(IDS, mask, kind, binary=True)
    headers, body = parts(bodies.request(3))
    head = int(headers["Inference-Header-Content-Length"])
    sizes = [one["parameters"]["binary_data_size"] for one in json.loads(body[:head])["inputs"]]
    assert sizes == [24, 24, 12]
    rest = body[head:]
    assert np.frombuffer(rest[24:48], "<i8").tolist() == [1, 1, 1]
    assert np.frombuffer(rest[48:], "<i4").tolist() == [0, 0, 0]
    assert bodies.shared == b""


def test_a_text_has_a_word_for_each_token():
    text = Input("text", "BYTES", (-1, 1))
    _, body = parts(bodies_of(text).request(4))
    (one,) = json.loads(body)["inputs"]
    assert (one["shape"], one["data"]) == ([1, 1], ["batch batch batch batch"])
    headers, body = parts(bodies_of(text, binary=True).request(2))
    assert body[int(headers["Inference-Header-Content-Length"]) :] == b"\x0b\0\0\0batch batch"


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((1, -1), [1, 9]), ((-1, -1), [1, 9]), ((-1,), [9]), ((), [1, 9]), ((-1, 3), [1, 3])],
)
def test_open_dimensions_are_one_row_and_the_length(shape, wanted):
    assert shape_of(Input("x", "FP32", shape), 9) == wanted


def test_a_request_names_its_tier_where_there_are_several_and_carries_the_token():
    tiers = (Tier("fast"), Tier("slow"))
    model = Model("m", (IDS,), False, True)
    bodies = Bodies(HERE._replace(token="secret"), model, tiers, "tokens", 9)
    headers, _ = parts(bodies.request(2, 1))
    assert headers["x-batchwright-tier"] == "slow"
    assert headers["Authorization"] == "Bearer secret"
    assert "x-batchwright-tier" not in parts(bodies_of(IDS).request(2))[0]


def test_binary_data_is_refused_where_the_server_does_not_take_it():
    model = Model("m", (IDS,), False, False)
    with pytest.raises(ScenarioError, match=r"takes no binary tensors; leave --binary out"):
        Bodies(HERE, model, (Tier("all"),), "tokens", 9, binary=True)


@pytest.mark.parametrize("source", ["bert-t4", "speech_burst", "speech"])
def test_the_requests_of_a_window_are_those_of_a_replication_of_the_simulator(source):
    scenario = scenario_of(source, ())
    here = at_load(scenario, None, Wanted(requests=300))
    for window, seed in ((0, 0), (2, 0), (1, 4)):
        mine = drawn(here, window, seed)
        spec = load_scenario(source, ("workload.requests=300",)).workload
        theirs = draw_workload(spec, scenario.seeds, window + seed)
        assert np.array_equal(mine.arrival_ns, theirs.arrival_ns)
        assert np.array_equal(mine.tier, theirs.tier)
        longest = int(scenario.length_edges[-1])
        assert np.array_equal(mine.length, np.minimum(theirs.length, longest))


TIERS = """
name = "apart"
[workload]
requests = 400
lengths = { constant = 10 }
[[workload.tiers]]
name = "a"
arrivals = { process = "poisson", load = 0.2 }
[[workload.tiers]]
name = "b"
arrivals = { process = "gamma", cv = 2.0, rate_per_s = 60.0 }
[service]
model = { base_ms = 5.0, per_request_ms = 5.0, max_batch_size = 4 }
[policies.greedy]
kind = "greedy"
"""


def test_tiers_with_arrivals_of_their_own_keep_their_shares_at_another_load(tmp_path):
    (tmp_path / "apart.toml").write_text(TIERS)
    scenario = scenario_of(str(tmp_path / "apart.toml"), ())
    before = np.array(scenario.workload.rates_per_s())
    for load, wanted in ((0.9, Wanted()), (None, Wanted(rate_per_s=0.9 * scenario.rate_max_per_s))):
        here = at_load(scenario, load, wanted)
        assert here.load == pytest.approx(0.9)
        after = np.array(here.workload.rates_per_s())
        assert after / after.sum() == pytest.approx(before / before.sum())


def test_a_window_is_as_long_as_it_is_asked_for():
    scenario = scenario_of("bert-t4", ())
    here = at_load(scenario, 0.5, Wanted(window_ns=4 * 10**9))
    assert here.workload.requests == round(0.5 * scenario.rate_max_per_s * 4)
    assert at_load(scenario, 0.5, Wanted(requests=77)).workload.requests == 77


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("mixed_sla", "scenario mixed_sla cannot be sent: it has a backlog that is always there"),
        ("closed_loop", "scenario closed_loop cannot be sent: its clients wait for answers"),
        ("streaming_speech", "cannot be sent: its requests belong to sequences"),
        ("streaming", "streaming is of a model that generates, token by token; load takes"),
    ],
)
def test_what_has_no_instants_is_not_sent(source, said):
    if source == "streaming":
        from experiments.config import token_scenario_names

        source, said = token_scenario_names()[0], said.replace(source, token_scenario_names()[0])
    with pytest.raises(ScenarioError) as error:
        scenario_of(source, ())
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("http://127.0.0.1:8000/", Endpoint("127.0.0.1", 8000, "")),
        ("localhost:81/tiers/x", Endpoint("localhost", 81, "/tiers/x")),
        ("http://[::1]:8000", Endpoint("::1", 8000, "")),
        ("http://host", Endpoint("host", 80, "")),
    ],
)
def test_an_address_is_taken_apart(text, wanted):
    assert endpoint_of(text) == wanted


def test_the_address_of_ipv6_has_brackets_again():
    assert endpoint_of("http://[::1]:8000").url == "http://[::1]:8000"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://host", "speaks HTTP without TLS"),
        ("ftp://host", "must be the address of a server, as http://127.0.0.1:8000"),
        ("http://host:99999", "must be the address of a server"),
        ("http://host?x=1", "must be the address of a server"),
    ],
)
def test_what_is_no_address_is_told(text, said):
    with pytest.raises(ScenarioError) as error:
        endpoint_of(text)
    assert said in str(error.value)


def test_a_server_is_asked_for_its_inputs_and_extensions():
    with listening(V2(extensions=["binary_tensor_data"])) as (url, _):
        found = model_of(endpoint_of(url), "m")
    assert found == Model("m", (Input("input_ids", "INT64", (-1, -1)),), True, False)


def test_a_model_that_is_not_there_a_token_that_is_missing_and_nobody_at_all_are_told():
    with listening(V2(token="right")) as (url, _):
        with pytest.raises(ScenarioError, match=r"wants a token: give it with --token-file"):
            model_of(endpoint_of(url), "m")
        with pytest.raises(ScenarioError, match=r"has no model 'x': it answers 404, unknown model"):
            model_of(endpoint_of(url, "right"), "x")
        assert model_of(endpoint_of(url, "right"), "m").inputs[0].name == TOKENS["name"]
    with pytest.raises(ScenarioError, match=r"cannot be reached: Connection refused"):
        model_of(endpoint_of(url), "m")


def test_patience_beyond_all_bounds_is_not_sent():
    _, body = parts(bodies_of(IDS).request(3, 0, NEVER))
    assert "parameters" not in json.loads(body)
