"""``batchwright serve`` as a user meets it: real processes and sockets, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("prometheus_client")

from serving_client import inference
from serving_process import PATIENCE_S, ask, running

from experiments.cli import app

SCENARIO = """
name = "small"
[workload]
requests = 2000
arrivals = { process = "poisson", rate_per_s = 50.0 }
lengths = { distribution = "uniform", min = 10, max = 300 }
[service]
model = { base_ms = 400.0, per_request_ms = 1.0, per_length_ms = 0.001, max_batch_size = 4 }
capacity = { requests = 6 }
[policies.greedy]
kind = "greedy"
"""
SECOND = """
[policies.static]
kind = "static"
batch_size = 2
"""
MINE = """
import os, pathlib, time

def infer(lengths):
    with open("called", "a") as file:
        print(*lengths, file=file)
    return [0.5] * len(lengths)

def held(lengths):
    while 77 in lengths and not pathlib.Path("go").exists():
        time.sleep(0.01)
    return [0.5] * len(lengths)

def dies(lengths):
    if 77 in lengths:
        os._exit(3)
    return [0.5] * len(lengths)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve")
    (folder / "small.toml").write_text(SCENARIO)
    (folder / "two.toml").write_text(
        SCENARIO + '[policies.static]\nkind = "static"\nbatch_size = 2\n'
    )
    (folder / "mine.py").write_text(MINE)
    return folder


def test_a_server_finishes_what_it_took_and_ends_with_code_0(place):
    go = place / "go"
    words = ("small.toml", "--callable", "mine:held", "--notice", "1s", "--drain", "10m")
    with running(place, *words) as (process, said):
        infer = f"{said['url']}/v2/models/small/infer"
        assert (said["model"], said["policy"], said["pid"]) == ("small", "greedy", process.pid)
        assert ask(f"{said['url']}/v2/health/ready")[0] == 200
        found = []
        asked = threading.Thread(target=lambda: found.append(ask(infer, inference(77))))
        asked.start()
        while b"requests_in_service 1.0" not in ask(f"{said['url']}/metrics")[2]:
            assert asked.is_alive()
        process.send_signal(signal.SIGTERM)
        while ask(f"{said['url']}/v2/health/ready")[0] == 200:
            assert process.poll() is None
        while ask(infer, b"refused sooner or later")[0] == 400:  # for a second it is read
            assert process.poll() is None
        assert ask(infer, inference(77))[0] == 503
        assert not found
        go.touch()
        asked.join()
        assert found[0][0] == 200
        assert process.wait(PATIENCE_S) == 0


def test_a_signal_to_all_its_processes_still_lets_it_finish(place):
    with running(place, "small.toml", "--notice", "0.1s") as (process, said):
        for child in children(process.pid):
            os.kill(child, signal.SIGTERM)
        status, _, _ = ask(f"{said['url']}/v2/models/small/infer", inference(20))
        assert status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr.read() == ""


def children(pid):
    """Processes that a process started."""
    known = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in known.split()]


def test_a_worker_that_dies_ends_the_server_with_code_1_and_a_sentence(place):
    with running(place, "small.toml", "--callable", "mine:dies") as (process, said):
        status, _, body = ask(f"{said['url']}/v2/models/small/infer", inference(77))
        assert status == 503
        assert "ended with exit code 3" in json.loads(body)["error"]
        assert process.wait(PATIENCE_S) == 1
        words = process.stderr.read()
        assert words.count("\n") == 1
        assert words.startswith("error: the server ends: the process of server 0 ended with exit")


def test_a_function_of_ones_own_is_served_with_a_token(place):
    token = {"BATCHWRIGHT_TOKEN": "0123456789abcdef"}
    words = ("small.toml", "--callable", "mine:infer", "--name", "mine")
    with running(place, *words, environment=token.items()) as (process, said):
        called = [line.split() for line in (place / "called").read_text().splitlines()]
        assert called == [["1"], ["300"] * 4] * 2  # both shapes are warm before it is ready
        infer = f"{said['url']}/v2/models/mine/infer"
        assert ask(infer, inference(20))[0] == 401
        given = {"Authorization": "Bearer 0123456789abcdef"}
        status, _, body = ask(infer, inference(20), **given)
        assert status == 200
        assert json.loads(body)["model_name"] == "mine"
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)  # at once
        assert process.wait(PATIENCE_S) in (0, 1)


def test_a_policy_is_read_again_when_sighup_comes(place):
    file = place / "changes.toml"
    file.write_text(SCENARIO)
    with running(place, file.name) as (process, said):
        policy = f"{said['url']}/policy"
        assert json.loads(ask(policy)[2]) == {"policy": {"kind": "greedy"}}
        file.write_text(SCENARIO.replace("[policies.greedy]\nkind", "[policies.greedy\nkind"))
        process.send_signal(signal.SIGHUP)
        assert process.stderr.readline().endswith("the policy before goes on\n")
        assert json.loads(ask(policy)[2]) == {"policy": {"kind": "greedy"}}
        file.write_text(SCENARIO.replace('"greedy"', '"static"\nbatch_size = 1'))
        process.send_signal(signal.SIGHUP)
        assert process.stderr.readline() == "policy greedy from the next batch on\n"
        while json.loads(ask(policy)[2])["policy"]["kind"] != "static":
            assert process.poll() is None
        assert ask(f"{said['url']}/v2/models/small/infer", inference(20))[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0


def refused(place, *words, environment=None):
    done = CliRunner().invoke(app, ["serve", *words], env=environment or {})
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "error: name a scenario or a run"),
        (("nosuch",), "error: "),
        (("{}/two.toml",), "error: scenario small has several policies; choose one with --policy: "
                           "greedy, static"),
        (("{}/two.toml", "--policy", "gredy"), "error: scenario small has no policy 'gredy'; did "
                                               "you mean greedy?"),
        (("{}/small.toml", "--model", "bort"), "error: there is no model 'bort': give emulated"),
        (("{}/small.toml", "--host", "0.0.0.0"), "error: --host 0.0.0.0 can be reached from other "
                                                 "machines: give a token with --token-file"),
        (("{}/small.toml", "--name", "a/b"), "error: --name = 'a/b' must be letters, digits"),
        (("{}/small.toml", "--drain", "soon"), "error: --drain must be a time as in 15s or 1m"),
        (("chat",), "error: "),
        (("cluster_8", "--policy", "greedy", "--model", "bert-base"),
         "error: scenario cluster_8 has service.cluster.others; serve gives every"),
        (("tandem",), "error: scenario tandem has service.p"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_refused_in_a_sentence(place, words, sentence):
    given = [word.format(place) for word in words]
    assert refused(place, *given).startswith(sentence)


def test_a_short_token_is_refused(place):
    file = place / "token"
    file.write_text("short\n")
    words = (str(place / "small.toml"), "--token-file", str(file))
    assert refused(place, *words).startswith(f"error: the token in {file} must be at least 16")
    there = {"BATCHWRIGHT_TOKEN": "also short"}
    assert "BATCHWRIGHT_TOKEN must be" in refused(place, words[0], environment=there)


def test_a_port_that_is_taken_is_a_sentence(place):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(
            app, ["serve", str(place / "small.toml"), "--port", port, "--no-drift"]
        )
    assert done.exit_code == 1
    assert f"127.0.0.1:{port}: Address already in use; choose another --port" in done.stderr


def test_the_files_for_monitoring_are_written(tmp_path):
    done = CliRunner().invoke(app, ["serve", "--write-monitoring", str(tmp_path / "m")])
    assert done.exit_code == 0
    assert [line.rsplit("/", 1)[1] for line in done.stdout.split()] == [
        "alerts.yml", "dashboard.json", "prometheus.yml",
    ]  # fmt: skip
