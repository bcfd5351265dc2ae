"""A Redis server of its own for a test, which can be killed and started again."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path


def missing():
    """Why no server can be started; empty where it can."""
    if shutil.which("redis-server") is None:
        return "Redis' server is not installed (Debian: apt-get install redis-server)"
    if find_spec("redis") is None:
        return "the client is not installed (pip install redis)"
    return ""


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RedisServer:
    """One server; what it is given survives its process."""

    def __init__(self, folder, **config):
        self.folder, self.port = Path(folder), _free_port()
        self.config = {"appendonly": "yes", "appendfsync": "always", "save": "", **config}
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process = None

    def start(self):
        """Start it, and wait until it answers."""
        options = [word for key, value in self.config.items() for word in (f"--{key}", value)]
        before = ["setpriv", "--pdeathsig=KILL"] if shutil.which("setpriv") else []
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                [*before, "redis-server", "--port", str(self.port), "--bind", "127.0.0.1",
                 "--dir", str(self.folder), *options],
                stdout=log, stderr=log,
            )  # fmt: skip
        while not self.answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.02)

    def answers(self):
        """Whether it is there, and has read what it kept."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 60) as connection:
                word = self.config.get("requirepass")
                login = b"" if word is None else f"AUTH {word}\r\n".encode()
                connection.sendall(login + b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"+OK"))
        except OSError:
            return False

    def kill(self):
        """At once, as if its machine's memory ran out."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def running(**config):
    """A server that ends with the test."""
    folder = tempfile.mkdtemp(prefix="redis")
    server = RedisServer(folder, **config)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)
