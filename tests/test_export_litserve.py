"""LitServe: its arguments say what was simulated, or are refused; LitServe itself takes them."""

import json
import queue
import sys
import types
from decimal import Decimal

import pytest
from export_settings import SIZES, from_arrival, from_idle, means, refusal, setting
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments.export import litserve
from experiments.export.contract import ForeignFileError, NotExpressible

NAME = "litserve.json"
ABSENT = "LitServe is not installed"


def arguments(exported):
    return json.loads(exported.files[NAME])


def read(api, **server):
    return litserve.read({NAME: json.dumps({"api": api, "server": server})})


def refused(text: str) -> str:
    with pytest.raises(ForeignFileError) as caught:
        litserve.read({NAME: text})
    return str(caught.value)


@given(SIZES)
def test_greedy_on_one_server_comes_back_as_it_went(size):
    wanted = setting("greedy", max_batch_size=size)
    exported = litserve.export(wanted, nearest=False)
    found = litserve.read(exported.files)
    assert exported.exact
    assert means(found.table, wanted)
    assert found.servers == 1
    assert found.notes == ()


@given(st.integers(2, 64), st.integers(1, 10**7))
def test_a_wait_that_is_given_up_comes_back_with_its_number(size, wait_us):
    found = litserve.read(litserve.export(from_idle(size, wait_us / 1000), nearest=True).files)
    if size > 1:
        assert found.table["max_wait_ms"] == Decimal(wait_us) / 1000
        assert found.table["kind"] == "collection_window"
    assert found.notes == ()


@given(SIZES, st.integers(0, 10**6))
def test_a_window_comes_back_as_it_went(size, wait_us):
    wanted = setting("collection_window", max_batch_size=size, max_wait_ms=Decimal(wait_us) / 1000)
    exported = litserve.export(wanted, nearest=False)
    assert exported.exact
    assert means(litserve.read(exported.files).table, wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        setting("greedy", max_batch_size=8),
        setting("greedy", max_batch_size=1, servers=3),
        from_idle(8, 10, timeout_ns=5 * 10**8),
    ],
)
def test_the_constructors_of_litserve_take_the_arguments(wanted, tmp_path, monkeypatch):
    real = pytest.importorskip("litserve", reason=ABSENT)
    exported = litserve.export(wanted, nearest=True)
    (tmp_path / NAME).write_text(exported.files[NAME])
    (tmp_path / "serve.py").write_text(exported.files["serve.py"])

    class Model(real.LitAPI):
        def setup(self, device):
            """Nothing to load."""

        def predict(self, x):
            return x

    monkeypatch.setitem(sys.modules, "model", types.SimpleNamespace(Model=Model))
    code = compile(exported.files["serve.py"], tmp_path / "serve.py", "exec")
    names = {"__name__": "serve", "__file__": str(tmp_path / "serve.py")}
    exec(code, names)
    given_api = arguments(exported)["api"]
    (api,) = names["server"].litapi_connector.lit_apis
    assert api.max_batch_size == given_api["max_batch_size"]
    assert api.batch_timeout == given_api["batch_timeout"]
    assert names["server"].timeout == arguments(exported)["server"]["timeout"]
    assert names["server"].workers_per_device == wanted.servers


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(SIZES, st.integers(0, 100))
def test_with_a_wait_of_zero_litserve_takes_what_waits_like_greedy(size, waiting):
    base = pytest.importorskip("litserve.loops.base", reason=ABSENT)
    exported = litserve.export(setting("greedy", max_batch_size=size), nearest=False)
    api = types.SimpleNamespace(**arguments(exported)["api"], request_timeout=False, stream=False)
    loop = types.SimpleNamespace(put_response=lambda **_: None)
    requests = queue.Queue()
    for request in range(waiting):
        requests.put((0, request, 0.0, None))
    taken, late = base.collate_requests(loop, api, requests, None)
    assert [request for _, request, _ in taken] == list(range(min(size, waiting)))
    assert late == []


def test_a_wait_is_refused_as_it_begins_with_the_loop():
    assert refusal(litserve, from_idle(8, 10)) == (
        "litserve: the wait of LitServe begins when a worker begins to collect, whether or not a "
        "request is there; with --nearest it waits from the start of the worker's loop: beside an "
        "idle server a request waits anything up to batch_timeout, and a backlog waits once more"
    )
    assert refusal(litserve, from_arrival(8, 10)) == refusal(litserve, from_idle(8, 10))


def test_several_workers_are_refused_as_they_split_a_burst():
    assert refusal(litserve, setting("greedy", max_batch_size=8, servers=2)) == (
        "litserve: idle workers of LitServe take requests one by one, so that they split a burst; "
        "with --nearest it may share among idle workers what one of them would have taken together"
    )


def test_several_workers_with_batches_of_one_are_exact():
    exported = litserve.export(setting("greedy", max_batch_size=1, servers=2), nearest=False)
    assert exported.exact
    assert arguments(exported)["server"]["workers_per_device"] == 2


def test_a_limit_on_the_queue_is_refused():
    assert refusal(litserve, setting("greedy", max_batch_size=8, capacity=50)) == (
        "litserve: LitServe has no limit on its queue, where the run rejects what finds 50 "
        "requests there; with --nearest it does not limit the queue: limit it at the client or "
        "the gateway"
    )


def test_a_wait_that_outlasts_the_time_out_is_refused_even_as_the_nearest():
    with pytest.raises(NotExpressible) as caught:
        litserve.export(from_idle(8, 10, timeout_ns=10 * 10**6), nearest=True)
    assert str(caught.value) == (
        "litserve: the time-out of 10 ms is not above the wait of 10 ms, which LitServe refuses; "
        "give a wait below the time-out"
    )


def test_without_a_time_out_the_default_of_thirty_seconds_is_switched_off():
    exported = litserve.export(setting("greedy", max_batch_size=8), nearest=False)
    assert arguments(exported)["server"]["timeout"] is False
    exported = litserve.export(setting("greedy", max_batch_size=8, timeout_ns=10**9), nearest=False)
    assert arguments(exported)["server"]["timeout"] == 1.0


def test_an_idle_server_that_polls_is_noted():
    exported = litserve.export(setting("greedy", max_batch_size=8), nearest=False)
    assert (
        "with a batch_timeout of 0 an idle worker asks its queue without a pause and keeps about "
        "half a core busy; 0.001 costs up to 1 ms and spares it"
    ) in exported.notes
    assert "# Note: with a batch_timeout of 0" in exported.files["serve.py"]
    one = litserve.export(setting("greedy", max_batch_size=1), nearest=False)
    assert not any("batch_timeout" in note for note in one.notes)


def test_defaults_are_those_of_litserve():
    found = read({})
    assert found.table == {"kind": "greedy", "max_batch_size": 1}
    assert found.servers is None
    assert found.notes == ("LitServe answers 504 after 30 s: service.timeout",)


def test_workers_of_all_devices_are_servers():
    assert read({}, devices=2, workers_per_device=3).servers == 6
    assert read({}, devices=[0, 1, 2]).servers == 3
    assert read({}, devices="auto", workers_per_device=3).servers is None


def test_what_litserve_would_refuse_is_refused_in_a_sentence():
    assert refused('{"api": {"max_batch_size": 0}}') == (
        f"{NAME}: max_batch_size = 0 must be at least 1, and batch_timeout = 0 not below 0 nor "
        "above timeout; LitServe refuses it"
    )
    assert refused('{"api": {"batch_timeout": 31}}') == (
        f"{NAME}: max_batch_size = 1 must be at least 1, and batch_timeout = 31 not below 0 nor "
        "above timeout; LitServe refuses it"
    )
    assert refused('{"api": {"batch_size": 8}}') == (
        f"{NAME}: api.batch_size is not read; known are max_batch_size, batch_timeout"
    )


def test_arguments_are_recognised_among_other_json():
    exported = litserve.export(setting("greedy", max_batch_size=8), nearest=False)
    assert litserve.recognises(exported.files[NAME])
    assert not litserve.recognises('{"implementation": "m.M"}')
    assert not litserve.recognises("{")
