"""Servers as groups of processes: they end, whatever happens to whoever started them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.stacks import processes
from experiments.stacks.contract import Command, StackFailed
from experiments.stacks.processes import (
    Server,
    Stop,
    answers,
    free_ports,
    processes_with,
    serving,
    wait_until_ready,
)

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").is_file(), reason="finds processes in /proc"
)

STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
subprocess.Popen(sleep, start_new_session=True)
subprocess.Popen(sleep, process_group=0)
print("started", flush=True)
time.sleep(600)
"""
"""Deaf to SIGTERM, with a child in a session and one in a group of their own."""

PARENT = """
import sys, time
from pathlib import Path
from experiments.stacks.contract import Command
from experiments.stacks.processes import Stop, serving
log = Path(sys.argv[1])
with serving(Command([sys.executable, "-c", sys.argv[2]], {}), log, Stop(seconds=0.2)) as server:
    while "started" not in log.read_text():
        time.sleep(0.05)
    print(server.group, server.mark, flush=True)
    time.sleep(600)
"""


def gone(mark, group):
    """Whether no process of a server is left, as soon as that is so; at most a minute."""
    for _ in range(600):
        if not processes_with(mark, group):
            return True
        time.sleep(0.1)
    return False


def test_a_server_that_ignores_the_end_is_ended_with_all_its_descendants(tmp_path):
    log = tmp_path / "log"
    with serving(Command([sys.executable, "-c", STUBBORN], {}), log, Stop(seconds=0.2)) as server:
        while "started" not in log.read_text():
            time.sleep(0.05)
        assert len(server.processes()) == 3
    assert not processes_with(server.mark, server.group)
    assert server.watchdog.poll() is not None


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_server_ends_with_whoever_started_it(tmp_path, how):
    command = [sys.executable, "-c", PARENT, str(tmp_path / "log"), STUBBORN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        group, mark = parent.stdout.readline().decode().split()
        assert len(processes_with(mark, int(group))) == 3
        parent.send_signal(how)
        parent.wait()
    assert gone(mark, int(group))


def test_a_signal_that_comes_while_a_server_is_started_waits_until_it_can_be_ended(
    tmp_path, monkeypatch
):
    """Otherwise a server could be running that nobody knows of."""
    started = []

    class Slow(Server):
        def __init__(self, *arguments, **more):
            super().__init__(*arguments, **more)
            started.append(self)
            signal.raise_signal(signal.SIGINT)
            started.append("whole")

    monkeypatch.setattr(processes, "Server", Slow)
    command = Command([sys.executable, "-c", "import time; time.sleep(600)"], {})
    with pytest.raises(KeyboardInterrupt), serving(command, tmp_path / "log"):
        pytest.fail("it goes no further")
    server, whole = started
    assert whole == "whole"
    assert not processes_with(server.mark, server.group)


def test_a_server_that_dies_at_once_says_its_last_words(tmp_path):
    command = Command([sys.executable, "-c", "print('no such model'); raise SystemExit(3)"], {})
    (port,) = free_ports(1)
    with (
        pytest.raises(StackFailed, match=r"Stack ended with code 3: no such model \(all of it: "),
        serving(command, tmp_path / "log") as server,
    ):
        wait_until_ready(server, port, "/", 60.0, "Stack")
    assert not processes_with(server.mark, server.group)


def test_a_server_that_is_never_ready_is_ended_in_time(tmp_path):
    command = Command([sys.executable, "-c", "import time; time.sleep(600)"], {})
    (port,) = free_ports(1)
    with (
        pytest.raises(StackFailed, match="Stack was not ready after 1 s: it said nothing"),
        serving(command, tmp_path / "log", Stop(seconds=0.2)) as server,
    ):
        wait_until_ready(server, port, "/", 1.0, "Stack")
    assert not processes_with(server.mark, server.group)


def test_a_program_that_is_not_there_is_a_sentence(tmp_path):
    with (
        pytest.raises(StackFailed, match="/no/such/program cannot be started: No such file"),
        serving(Command(["/no/such/program"], {}), tmp_path / "log"),
    ):
        pass


def test_an_empty_value_takes_a_variable_away(tmp_path, monkeypatch):
    monkeypatch.setenv("UNWANTED", "x")
    program = "import os; print(os.environ.get('UNWANTED'), os.environ['WANTED'])"
    command = Command([sys.executable, "-c", program], {"UNWANTED": "", "WANTED": "y"})
    with serving(command, tmp_path / "log") as server:
        server.process.wait()
    assert (tmp_path / "log").read_text() == "None y\n"


def test_signals_mean_afterwards_what_they_meant_before(tmp_path):
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with serving(Command([sys.executable, "-c", ""], {}), tmp_path / "log"):
        assert signal.getsignal(signal.SIGTERM) is not before[1]
    after = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert after == before


def test_free_ports_are_different_and_answer_nobody():
    ports = free_ports(5)
    assert len(set(ports)) == 5
    assert not any(answers(port, "/") for port in ports)
