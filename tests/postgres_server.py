"""A PostgreSQL server of its own for a test: in a temporary folder, as an unprivileged user."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

PASSWORD = "p@ss:w/rd"
ESCAPED = "p%40ss%3Aw%2Frd"


def programs():
    """The folder of ``initdb`` and ``postgres``, the newest version first; None without them."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    where = shutil.which("initdb")
    return found[0].parent if found else Path(where).parent if where else None


def missing():
    """Why no server can be started; empty where it can."""
    if programs() is None:
        return "PostgreSQL's server is not installed (Debian: apt-get install postgresql)"
    if find_spec("psycopg") is None:
        return "the driver is not installed (pip install 'psycopg[binary]')"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "PostgreSQL does not run as root, and there is no setpriv to leave root with"
    return ""


def _unprivileged():
    """The user to run as, and what to put before a command; the server ends with the test."""
    before = ["setpriv", "--pdeathsig=INT"] if shutil.which("setpriv") else []
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid(), before
    user = pwd.getpwnam("nobody")
    ids = (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    return user.pw_uid, user.pw_gid, [*before, *ids]


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running():
    """The address of an empty database on loopback, with a password; the server ends with it."""
    uid, gid, before = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # a socket's path has to be short
    server = None
    try:
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        for path in (folder, secret):
            os.chown(path, uid, gid)
        data, port = folder / "data", _free_port()
        subprocess.run(
            [*before, programs() / "initdb", "-D", data, "-U", "tuner", "--pwfile", secret,
             "--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--no-sync"],
            check=True, capture_output=True, cwd=folder,
        )  # fmt: skip
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(
                [*before, programs() / "postgres", "-D", data, "-p", str(port), "-k", folder,
                 "-h", "127.0.0.1", "-F"],
                stdout=log, stderr=log, cwd=folder,
            )  # fmt: skip
        _wait(folder, port, server)
        yield f"postgresql://tuner:{ESCAPED}@127.0.0.1:{port}/postgres"
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)  # at once, whoever is connected
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(folder, port, server):
    for _ in range(2_000):
        ready = subprocess.run(
            [programs() / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-q"], check=False
        )
        if ready.returncode == 0:
            return
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"PostgreSQL did not start: {(folder / 'log').read_text()}")
