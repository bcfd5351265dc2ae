"""A process of a live run, with a pipe between it and the process that started it.

It is a fresh interpreter that imports what it runs and nothing else: no program of the user's is
imported again, so that scripts and notebooks need no guard.  It ends when its pipe is closed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

GOODBYE_S = 5.0
PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from sim.child import live; live(int(sys.argv[1]))"
)


class Child:
    """The parent's side."""

    def __init__(self, life: Callable[..., None], *arguments: Any) -> None:
        """Start it.

        Args:
            life: what it does with its end of the pipe; a function of a module.
            arguments: further ones, picklable.
        """
        self.connection, theirs = Pipe()
        file = theirs.fileno()
        command = [sys.executable, "-c", PROGRAM, str(file), json.dumps(sys.path)]
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and program
            command, pass_fds=[file], stdin=subprocess.DEVNULL
        )
        theirs.close()
        self.connection.send((life, arguments))

    def exit_code(self) -> int | None:
        """How it ended, minus the signal where one killed it; None where it goes on."""
        try:
            return self.process.wait(GOODBYE_S)
        except subprocess.TimeoutExpired:
            return None

    def close(self) -> None:
        """End it."""
        self.connection.close()
        if self.exit_code() is None:
            self.process.kill()
            self.process.wait()


def live(file: int) -> None:
    """The child's side: learn what to do, and do it."""
    connection: Connection[Any, Any] = Connection(file)
    life, arguments = connection.recv()
    life(connection, *arguments)
