"""``batchwright serve`` as a process, and a client of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager

PATIENCE_S = 120


@contextmanager
def running(place, *words, environment=()):
    """A server of a process of its own; gives it and its address."""
    command = [
        sys.executable, "-c", "from experiments.cli import main; main()", "serve", *words,
        "--port", "0", "--json", "--no-drift",
    ]  # fmt: skip
    own = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **dict(environment)}
    process = subprocess.Popen(
        command, cwd=place, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield process, json.loads(line)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def ask(url, body=None, **headers):
    """Status, headers and content of an answer."""
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()
