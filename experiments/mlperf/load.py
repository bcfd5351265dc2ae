"""LoadGen as the load of a live run, and the world that tells it of every answer."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from policies.contract import NEVER
from sim.child import Child
from sim.load_generator import Sent
from sim.wall import WallWorld
from sim.worker import WorkerError
from sim.workload import Workload

from .process import Job, drive

DETAIL = "mlperf_log_detail.txt"
MARK = ":::MLLOG"
"""Before each JSON object of LoadGen's detailed log."""
DIED = "the process of LoadGen has died"


class LoadGen:
    """The parent's side, for one run."""

    next_ns = NEVER

    def __init__(self, job: Job) -> None:
        """Start the process; the test begins with :meth:`begin`."""
        self.job, self.child = job, Child(drive)
        self.connection = self.child.connection
        self.origin_ns = 0

    def files(self) -> list[int]:
        """Its pipe."""
        return [self.connection.fileno()]

    def begin(self, workload: Workload, origin_ns: int) -> None:
        """Let the test begin; the workload has as many requests as it has queries.

        Raises:
            WorkerError: LoadGen has died.
        """
        self.origin_ns = origin_ns
        try:
            self.connection.send(self.job)
        except OSError as error:
            raise WorkerError(DIED) from error

    def sent(self, now_ns: int) -> list[Sent]:
        """The next queries; the ids are LoadGen's.

        Raises:
            WorkerError: LoadGen has died.
        """
        numbers = self._received()
        if len(numbers) == 1:
            raise WorkerError("LoadGen ended before it had sent all of its queries")
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        instants = ((who, max(0, issued_ns - self.origin_ns)) for who, issued_ns in pairs)
        return [Sent(instant_ns, who, instant_ns) for who, instant_ns in instants]

    def answer(self, clients: Sequence[int], now_ns: int) -> None:
        """Tell LoadGen which queries are answered.

        Raises:
            WorkerError: LoadGen has died.
        """
        try:
            self.connection.send_bytes(array("q", clients).tobytes())
        except OSError as error:
            raise WorkerError(DIED) from error

    def stop(self) -> None:
        """It stops by itself."""

    def close(self) -> None:
        """End the process."""
        self.child.close()

    def result(self) -> dict[str, Any]:
        """What LoadGen's log says, by key, once every query is answered.

        Raises:
            WorkerError: LoadGen has died.
        """
        while len(self._received()) != 1:
            pass
        return read_log(Path(self.job.folder) / DETAIL)

    def _received(self) -> array[int]:
        try:
            return array("q", self.connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise WorkerError(DIED) from error


def read_log(file: Path) -> dict[str, Any]:
    """Keys and values of LoadGen's detailed log; the last one of a key counts."""
    found = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        _, mark, text = line.partition(MARK)
        if mark:
            entry = json.loads(text)
            found[entry["key"]] = entry["value"]
    return found


class JudgedWorld(WallWorld):
    """A world whose load wants to know of every answer, as the clients of a closed loop do."""

    def answer(self, requests: Sequence[int], now_ns: int) -> None:
        """Pass answers on."""
        if requests:
            self.load.answer([self._client_of[request] for request in requests], now_ns)
