"""A server that answers, over sockets: as any client of the protocol meets it."""

from __future__ import annotations

import http.client
import json
import socket
import struct

import numpy as np
import pytest

pytest.importorskip("prometheus_client")

from serving_process import PATIENCE_S, ask, running

SCENARIO = """
name = "own"
[workload]
requests = 2000
arrivals = { process = "poisson", rate_per_s = 50.0 }
lengths = { distribution = "uniform", min = 2, max = 300 }
[service]
model = { base_ms = 1.0, per_request_ms = 1.0, per_length_ms = 0.001, max_batch_size = 4 }
capacity = { requests = 60 }
[policies.size_or_timeout]
kind = "size_or_timeout"
max_batch_size = 4
max_wait_ms = 2.0
"""
MINE = """
import pathlib
import time
import numpy as np

def infer(batch):
    if any(request["x"][0, 0] == 13 for request in batch):
        raise KeyError("thirteen")
    while any(request["x"][0, 0] == 77 for request in batch) and not pathlib.Path("go").exists():
        time.sleep(0.01)
    return [
        {"mean": request["x"].mean(), "words": np.array([b"ja", "n\\u00e9"], dtype=object)}
        for request in batch
    ]

infer.inputs = {"x": "FP32 [1, -1]"}
infer.outputs = {"mean": "FP32 [1]", "words": "BYTES [2]"}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.toml").write_text(SCENARIO)
    (folder / "mine.py").write_text(MINE)
    with running(folder, "own.toml", "--callable", "mine:infer") as (_, said):
        yield said, folder


def infer(said):
    return f"{said['url']}/v2/models/own/infer"


def asked(*values, **more):
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, len(values)], "data": list(values)}
    return json.dumps({"inputs": [tensor], **more}).encode()


def test_json_is_answered_with_json(server):
    status, headers, content = ask(infer(server[0]), asked(1.0, 2.5))
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert json.loads(content)["outputs"] == [
        {"name": "mean", "datatype": "FP32", "shape": [1], "data": [1.75]},
        {"name": "words", "datatype": "BYTES", "shape": [2], "data": ["ja", "né"]},
    ]


def test_bytes_are_answered_with_bytes_on_one_connection(server):
    said, _ = server
    connection = http.client.HTTPConnection(said["host"], said["port"], timeout=PATIENCE_S)
    sockets = set()
    for value in (0.5, 1.5, 2.5):
        head = json.dumps({
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2],
                        "parameters": {"binary_data_size": 8}}],
            "outputs": [{"name": "mean", "parameters": {"binary_data": True}}],
        }).encode()  # fmt: skip
        connection.request(
            "POST", "/v2/models/own/infer", head + struct.pack("<2f", value, value),
            {"Inference-Header-Content-Length": str(len(head))},
        )  # fmt: skip
        sockets.add(id(connection.sock))
        answer = connection.getresponse()
        content = answer.read()
        header = int(answer.headers["Inference-Header-Content-Length"])
        (output,) = json.loads(content[:header])["outputs"]
        assert output["parameters"] == {"binary_data_size": 4}
        assert content[header:] == struct.pack("<f", value)
    connection.close()
    assert len(sockets) == 1, "the connection is kept"


def test_a_batch_that_fails_is_500_and_the_next_is_served(server):
    status, _, content = ask(infer(server[0]), asked(13.0))
    assert status == 500
    assert json.loads(content) == {"error": "callable:mine:infer raised KeyError: 'thirteen'"}
    assert ask(infer(server[0]), asked(1.0))[0] == 200


def test_what_the_model_takes_can_be_read(server):
    _, _, content = ask(f"{server[0]['url']}/v2/models/own")
    said = json.loads(content)
    assert said["platform"] == "callable:mine:infer"
    assert said["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [1, -1]}]
    assert said["outputs"][1] == {"name": "words", "datatype": "BYTES", "shape": [2]}


def test_a_client_that_hangs_up_gives_its_place_up(server):
    said, folder = server

    def metrics():
        return ask(f"{said['url']}/metrics")[2].decode()

    sockets = []
    for value in (77.0, 2.0):  # the first one is held, so that the second one waits
        connection = socket.create_connection((said["host"], said["port"]), timeout=PATIENCE_S)
        body = asked(value)
        head = f"POST /v2/models/own/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(head.encode() + b"\r\n" + body)
        sockets.append(connection)
        if value == 77.0:
            while "batchwright_requests_in_service 1.0" not in metrics():
                pass
    while 'batchwright_queue_depth{tier="all"} 1.0' not in metrics():
        pass
    sockets[1].close()
    while 'batchwright_requests_total{outcome="gone",tier="all"} 1.0' not in metrics():
        pass
    assert 'batchwright_queue_depth{tier="all"} 0.0' in metrics()
    (folder / "go").touch()
    assert b"200 OK" in sockets[0].recv(4096)
    sockets[0].close()


def test_the_client_of_triton_is_understood(server):
    triton = pytest.importorskip("tritonclient", reason="comes with the extra dev")
    try:
        import tritonclient.http as http_client
    except RuntimeError:
        pytest.skip(f"{triton.__name__} is installed without http")
    said, _ = server
    client = http_client.InferenceServerClient(f"{said['host']}:{said['port']}")
    assert client.is_server_live()
    assert client.is_model_ready("own")
    assert client.get_model_metadata("own")["inputs"][0]["name"] == "x"
    values = np.array([[0.25, 0.5]], dtype=np.float32)
    for binary_in in (True, False):
        given = http_client.InferInput("x", [1, 2], "FP32")
        given.set_data_from_numpy(values, binary_data=binary_in)
        for outputs in (None, True, False):
            wanted = outputs if outputs is None else [
                http_client.InferRequestedOutput(name, binary_data=outputs)
                for name in ("mean", "words")
            ]  # fmt: skip
            found = client.infer("own", [given], outputs=wanted, request_id="me")
            assert found.get_response()["id"] == "me"
            assert found.as_numpy("mean").tolist() == [0.375]
            words = found.as_numpy("words").tolist()
            assert [w.encode() if isinstance(w, str) else w for w in words] == [
                b"ja", "né".encode(),
            ]  # fmt: skip
    wrong = http_client.InferInput("y", [1, 2], "FP32")
    wrong.set_data_from_numpy(values)
    with pytest.raises(Exception, match="the inputs lack x; own takes x"):
        client.infer("own", [wrong])
    client.close()
