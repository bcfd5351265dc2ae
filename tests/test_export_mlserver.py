"""MLServer: its settings say what was simulated as nearly as they can; they are read as it does."""

import json
from decimal import Decimal

import pytest
from export_settings import LARGEST, from_arrival, from_idle, means, refusal, setting
from hypothesis import given
from hypothesis import strategies as st
from mlserver_process import ask

from experiments.export import mlserver
from experiments.export.contract import ForeignFileError

NAME = "model-settings.json"


def read(**settings):
    return mlserver.read({NAME: json.dumps({"implementation": "model.Model", **settings})})


def refused(text: str) -> str:
    with pytest.raises(ForeignFileError) as caught:
        mlserver.read({NAME: text})
    return str(caught.value)


@given(st.integers(2, 64), st.integers(1, 10**11))
def test_a_wait_from_idle_comes_back_as_it_went(size, wait_ns):
    wanted = from_idle(size, wait_ns / 10**6 if wait_ns % 1000 else wait_ns // 1000 / 1000)
    exported = mlserver.export(wanted, nearest=True)
    found = mlserver.read(
        {name: exported.files[name] for name in exported.files if name.endswith(".json")}
    )
    assert means(found.table, wanted)
    assert found.servers == 1


def test_mlserver_finds_the_same_numbers_and_knows_every_key():
    waits = [(1, 1), (2, 1), (8, 10), (64, 100_000)]
    exported = [mlserver.export(from_idle(*each), nearest=True).files for each in waits]
    tables = [(json.loads(files[NAME]), json.loads(files["settings.json"])) for files in exported]
    found = ask("settings_of", tables=tables)
    assert found == [[0, 0.0, 0], [2, 0.001, 0], [8, 0.01, 0], [64, 100.0, 0]]
    keys = ask("keys_of_a_model")
    assert all(set(model) <= {*keys["model"], "implementation"} for model, _ in tables)
    assert all(set(server) <= set(keys["server"]) for _, server in tables)


def test_the_keys_of_a_model_are_those_of_mlserver():
    known = ask("keys_of_a_model")["model"]
    plain = {"implementation" if key.startswith("implementation") else key for key in known}
    assert plain == mlserver.KNOWN_KEYS


def test_batches_of_one_on_one_server_are_exact_without_batching():
    exported = mlserver.export(setting("greedy", max_batch_size=1), nearest=False)
    assert exported.exact
    assert json.loads(exported.files[NAME]) == {"name": "bert", "implementation": "model.Model"}
    assert json.loads(exported.files["settings.json"]) == {"parallel_workers": 0}


def test_no_wait_is_refused_as_zero_switches_batching_off():
    wanted = setting("greedy", max_batch_size=8)
    assert refusal(mlserver, wanted) == (
        "mlserver: MLServer cannot serve at once: a max_batch_time of 0 switches batching off; "
        "with --nearest it waits up to 1 ms for a full batch, where it would not wait"
    )
    table = json.loads(mlserver.export(wanted, nearest=True).files[NAME])
    assert table["max_batch_time"] == 0.001


def test_a_wait_is_refused_as_it_may_begin_beside_a_busy_model():
    assert refusal(mlserver, from_idle(8, 10)) == (
        "mlserver: the wait of MLServer begins when its batcher begins to collect, which is while "
        "the model is still busy where a full batch left requests behind; with --nearest it waits "
        "from the instant that the batcher begins to collect: like from_idle, but shorter behind a "
        "full batch"
    )


def test_several_servers_are_refused_as_workers_take_turns():
    wanted = setting("greedy", max_batch_size=1, servers=2)
    assert refusal(mlserver, wanted) == (
        "mlserver: MLServer hands batches to its workers in turn, busy or not; with --nearest it "
        "asks for 2 servers that do not share one queue, so that some idle while requests wait for "
        "another"
    )
    exported = mlserver.export(wanted, nearest=True)
    assert json.loads(exported.files["settings.json"]) == {"parallel_workers": 2}
    assert "parallel workers of mlserver 1.7.1 need uvloop below 0.22" in exported.notes


def test_the_readme_says_what_json_cannot():
    text = mlserver.export(from_arrival(8, 10), nearest=True).files["README.md"]
    assert text.startswith("# bert for MLServer\n\nPolicy winner: ")
    assert "This is NOT the policy that was simulated" in text
    assert "p99 12.5 (12 to 13)" in text


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"max_batch_size": 8},
        {"max_batch_time": 0.01},
        {"max_batch_size": 8, "max_batch_time": 0},
        {"max_batch_size": -8, "max_batch_time": 0.01},
        {"max_batch_size": 1, "max_batch_time": 0.01},
    ],
)
def test_one_knob_of_two_leaves_batching_off(settings):
    found = read(**settings)
    assert found.table == {"kind": "greedy", "max_batch_size": 1}
    assert any(note.startswith("batching is off, as max_batch_size = ") for note in found.notes)


def test_a_misspelt_key_is_noted_as_mlserver_drops_it():
    found = read(max_batchsize=8, max_batch_time=0.01)
    assert found.table["max_batch_size"] == 1
    assert "MLServer ignores the key max_batchsize; did you mean max_batch_size?" in found.notes


def test_workers_are_read_from_the_settings_of_the_server():
    files = {
        NAME: '{"implementation": "m.M", "max_batch_size": 8, "max_batch_time": 0.01}',
        "settings.json": '{"parallel_workers": 3}',
    }
    found = mlserver.read(files)
    assert found.servers == 3
    assert found.table == {"kind": "sealed_batches", "max_batch_size": 8, "max_wait_ms": 10}
    assert (
        "parallel_workers is 3: MLServer hands batches to the workers in turn, busy or not; read "
        "is one queue of batches for all of them"
    ) in found.notes


@given(st.integers(2, LARGEST), st.integers(1, 10**6))
def test_batches_that_are_sealed_for_a_worker_come_back_as_they_went(size, wait_us):
    wanted = setting("sealed_batches", max_batch_size=size, max_wait_ms=Decimal(wait_us) / 1000)
    exported = mlserver.export(wanted, nearest=False)
    assert exported.exact
    found = mlserver.read({name: exported.files[name] for name in (NAME, "settings.json")})
    assert means(found.table, wanted)
    assert (found.servers, found.notes) == (1, ())


def test_a_limit_on_who_is_batched_or_run_is_refused():
    wanted = setting("sealed_batches", max_batch_size=8, max_wait_ms=5, max_ongoing_requests=16)
    assert "MLServer has no limit on requests that are batched or run, which are 16 at most" in (
        refusal(mlserver, wanted)
    )


def test_what_is_no_file_of_mlserver_is_refused_in_a_sentence():
    assert refused("{") == f"{NAME}, line 1: it is not JSON"
    assert refused("[]") == f"{NAME}: it must hold an object of keys and values"
    assert refused("{}") == f"{NAME}: implementation is missing; it is no model-settings.json"
    assert refused('{"max_batch_size": 8.5}') == (
        f"{NAME}: max_batch_size = 8.5 must be a whole number"
    )
    assert refused('{"max_batch_size": 8, "max_batch_time": "1"}') == (
        f'{NAME}: max_batch_time = "1" must be a number of seconds'
    )


def test_settings_of_a_model_are_recognised_among_other_json():
    exported = mlserver.export(from_idle(8, 10), nearest=True)
    assert mlserver.recognises(exported.files[NAME])
    assert not mlserver.recognises(exported.files["settings.json"])
    assert not mlserver.recognises("{")
