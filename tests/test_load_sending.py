"""The open-loop load generator over HTTP, against servers that behave and that do not."""

from __future__ import annotations

import socket
import sys
import threading

import numpy as np
import pytest

from experiments.loading import echo
from experiments.loading.http_answers import Answer, AnswerError, request_bytes
from experiments.loading.sending import Plan, Sender, SendingError
from experiments.stacks.contract import Command
from experiments.stacks.processes import LOCALHOST, free_ports, serving, wait_until_ready

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def echo_port(tmp_path_factory):
    (port,) = free_ports(1)
    log = tmp_path_factory.mktemp("echo") / "echo.log"
    with serving(Command([sys.executable, echo.__file__, str(port)], {}), log) as server:
        wait_until_ready(server, port, "/", 60.0, "the echo server")
        yield port


@pytest.fixture(scope="module")
def sender():
    with Sender() as found:
        yield found


def plan_of(port, planned_ns, **more):
    requests = [request_bytes("x", "/", b"{}")] * len(planned_ns)
    return Plan(LOCALHOST, port, planned_ns, requests, **more)


@pytest.fixture
def rude():
    """A server whose connections are given to functions of the test, each in a thread."""
    threads = []
    with socket.create_server((LOCALHOST, 0)) as listening:

        def live(life, connection):
            with connection:
                life(connection)

        def accept(lives):
            for life in lives:
                connection, _ = listening.accept()
                threads.append(threading.Thread(target=live, args=(life, connection)))
                threads[-1].start()

        def serve(*lives):
            threads.append(threading.Thread(target=accept, args=(lives,)))
            threads[-1].start()
            return listening.getsockname()[1]

        yield serve
        for thread in threads:
            thread.join()


def answer(connection):
    connection.recv(4096)
    connection.sendall(OK)


def stay(connection):
    connection.recv(4096)


def test_every_request_is_sent_no_earlier_than_planned_and_answered(echo_port, sender):
    planned = (np.arange(200) * 1_000_000).tolist()
    found = sender.run(plan_of(echo_port, planned))
    assert found.good.all()
    assert np.diff(found.planned_ns).tolist() == [1_000_000] * 199
    assert (found.sent_ns >= found.planned_ns).all()
    assert (found.done_ns > found.sent_ns).all()
    assert (found.latency_ns >= found.late_ns).all()


def test_requests_of_one_instant_are_all_under_way_at_once(sender, rude):
    """Open loop: none waits for the answer of another, so that all come before any is answered."""
    together = threading.Barrier(8)

    def answer_when_all_are_there(connection):
        connection.recv(4096)
        together.wait(60)
        connection.sendall(OK)
        stay(connection)

    found = sender.run(plan_of(rude(*[answer_when_all_are_there] * 8), [0] * 8))
    assert found.good.all()


def test_a_kept_connection_that_was_closed_is_replaced_and_the_request_sent_again(sender, rude):
    """Two are opened at first, and the last is used; it is closed when the second request comes."""

    def once(connection):
        answer(connection)
        stay(connection)

    found = sender.run(plan_of(rude(stay, once, answer), [0, 50_000_000]))
    assert found.status.tolist() == [200, 200]


def test_an_error_of_the_server_is_a_status_and_not_good(sender, rude):
    def unavailable(connection):
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")

    found = sender.run(plan_of(rude(unavailable), [0]))
    assert found.status.tolist() == [503]
    assert not found.good.any()


def test_what_is_no_answer_of_http_is_none(sender, rude):
    def chatter(connection):
        connection.recv(4096)
        connection.sendall(b"SSH-2.0-x\r\n\r\n")

    found = sender.run(plan_of(rude(chatter), [0], patience_s=5.0))
    assert found.status.tolist() == [0]
    assert found.done_ns.tolist() == [-1]


def test_a_port_on_which_nobody_listens_is_a_sentence(sender):
    (port,) = free_ports(1)
    with pytest.raises(SendingError, match=f"127.0.0.1:{port} cannot be reached"):
        sender.run(plan_of(port, [0]))


def test_a_generator_that_has_died_is_a_sentence(echo_port):
    with Sender() as mine:
        mine.child.process.kill()
        mine.child.process.wait()
        with pytest.raises(SendingError, match="has died"):
            mine.run(plan_of(echo_port, [0]))


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize(
    ("text", "status", "keeps"),
    [
        (OK, 200, True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", 200, False),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"4\r\nab\r\n\r\n3;x=y\r\ncde\r\n0\r\n\r\n",
            200,
            True,
        ),
    ],
)
def test_an_answer_is_whole_with_its_last_byte_however_it_comes(text, status, keeps, step):
    answer = Answer()
    parts = [text[at : at + step] for at in range(0, len(text), step)]
    whole = [answer.feed(part) for part in parts]
    assert whole == [False] * (len(parts) - 1) + [True]
    assert (answer.status, answer.keeps) == (status, keeps)


def test_what_does_not_begin_like_an_answer_is_refused():
    with pytest.raises(AnswerError, match=r"no answer of HTTP/1\.1: nonsense"):
        Answer().feed(b"nonsense\r\n\r\n")


def test_what_answers_say_is_kept_where_it_is_wanted(sender, rude):
    found = sender.run(plan_of(rude(answer), [0], keeps=True))
    assert found.content == [b"ok"]
    assert sender.run(plan_of(rude(answer), [0])).content == []


def test_requests_may_share_their_end(sender, rude):
    """Each sends as much of what is shared as it says; nothing of it is copied for each."""
    came = []

    def listen(connection):
        data = b""
        while not data.endswith(b"{}xyz"):
            data += connection.recv(4096)
        came.append(data)
        connection.sendall(OK)
        stay(connection)

    request = request_bytes("x", "/", b"{}", follows=3)
    plan = Plan(LOCALHOST, rude(listen), [0], [request], shared=b"xyzuvw", shares=[3])
    assert sender.run(plan).status.tolist() == [200]
    assert b"Content-Length: 5\r\n" in came[0]


@pytest.mark.parametrize(
    "text",
    [OK, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n"],
)
def test_the_body_of_an_answer_is_what_it_says_however_it_is_framed(text):
    answer = Answer()
    assert answer.feed(text)
    assert answer.content == b"ok"
