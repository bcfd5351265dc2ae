"""A server from its first moment to its last: socket, workers, signals, the end.

1. It is ready once every worker has opened its model and called it; nothing listens before.
2. SIGTERM or Ctrl-C: first readiness turns false, while requests are still taken for ``notice_s``,
   so that who balances the load can learn of it; then new ones are refused, and those that are
   there are finished, for ``drain_s`` at most.
3. A second signal ends it at once.  SIGHUP reads the policy anew.
4. A worker that dies, or a policy that breaks its contract, ends it: who waits is told (503), and
   the process ends with code 1, so that whatever started it starts it again.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from policies.contract import Policy
from sim.timing import fine_timers
from sim.worker import Opening, Worker

from .desk import Desk, Watch
from .drift import WINDOW_NS, Drift, Expected
from .driver import Driver, DriverError
from .gauges import show, show_drift
from .jobs.office import Office
from .meters import Meters
from .offer import Offer
from .outlook import Outlook, adopt
from .recording import KEPT, Recording
from .recording_text import Recorder
from .web import Front
from .workers import contract_said, warm_up, worker_of

BEAT_S = 0.5
"""How often it looks whether a server hangs and a window is over."""
STEP_S = 0.02
"""How often it looks whether the last request is answered."""
IDLE_CONNECTION_S = 75
"""Longer than the 60 s of usual load balancers, which else meet a connection that just closed."""


HTTP: dict[str, Any] = {
    "lifespan": "off", "access_log": False, "log_config": None, "server_header": False,
    "ws": "none", "interface": "asgi3", "proxy_headers": False, "backlog": 2048,
    "timeout_keep_alive": IDLE_CONNECTION_S, "timeout_graceful_shutdown": 1,
}  # fmt: skip
"""How uvicorn is run: nothing that a request would pay for."""


@dataclass(frozen=True)
class Wishes:
    """How to run."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0: any that is free."""
    token: str | None = None
    notice_s: float = 1.0
    drain_s: float = 30.0
    kept: int = KEPT
    """Requests that are remembered; 0: none."""
    record: Path | None = None
    """Where they are written."""
    window_ns: int = WINDOW_NS
    """Of the drift alarm."""


Again = Callable[[], tuple[Policy, Mapping[str, Any], Outlook] | None]
"""Reads a policy once more, the same as a scenario's table, and what it was chosen for; None: it
cannot be had."""


class Ended(uvicorn.Server):
    """A uvicorn server whose signals are given to somebody else."""

    def __init__(self, config: uvicorn.Config, on_signal: Callable[[], None]) -> None:
        super().__init__(config)
        self.on_signal = on_signal

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called in the main thread, between two steps of the loop."""
        self.on_signal()


class Serving:
    """One server; :meth:`run` is its life."""

    def __init__(
        self,
        offer: Offer,
        opening: Opening,
        wishes: Wishes,
        expected: Expected | None = None,
        jobs: Callable[[Front], Office] | None = None,
    ) -> None:
        self.offer, self.opening, self.wishes, self.jobs = offer, opening, wishes, jobs
        facts = {"model": offer.name, "platform": offer.platform}
        self.meters = Meters(offer.tiers, offer.service, facts)
        self.drift = None if expected is None else Drift(expected, wishes.window_ns)
        self.recording = Recording(wishes.kept) if wishes.kept else None
        self.recorder: Recorder | None = None
        if self.recording is not None and wishes.record is not None:
            names = [tier.name for tier in offer.tiers]
            self.recorder = Recorder(self.recording, wishes.record, names)
        self.cut_off = 0
        """Requests that were not answered when it ended."""
        self.failure: Exception | None = None
        self.notes: list[str] = []
        """What is not as it should be, though it serves."""
        self._signals = 0

    def run(self, ready: Callable[[str, int], None], again: Again | None = None) -> None:
        """Serve until a signal comes or something breaks.

        Args:
            ready: called with host and port once requests are taken.
            again: reads policy and table anew, when SIGHUP comes; says itself why it cannot.

        Raises:
            WorkerError: a model cannot be opened, or a worker died.
            OSError: the port cannot be had.
            PolicyError: the policy broke its contract.
        """
        listening = listen(self.wishes.host, self.wishes.port)
        workers: list[Worker] = []
        try:
            for server in range(self.offer.service.servers):
                workers += [worker_of(server, self.opening)]
            for worker in workers:
                worker.about()
                self.offer = contract_said(worker, self.offer)
                self.notes.append(warm_up(worker, self.offer))
            config = uvicorn.Config(self._app, **HTTP)
            self._http = Ended(config, self._signal)
            with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
                runner.run(self._live(listening, workers, ready, again))
        finally:
            listening.close()
            for worker in workers:
                worker.close()
        if self.failure is not None:
            raise self.failure

    async def _app(self, scope: object, receive: object, send: object) -> None:
        await self._front(scope, receive, send)  # type: ignore[arg-type]

    async def _live(
        self,
        listening: socket.socket,
        workers: list[Worker],
        ready: Callable[[str, int], None],
        again: Again | None,
    ) -> None:
        fine_timers()
        offer = self.offer
        watches: list[Watch] = [self.meters]
        watches += [watch for watch in (self.drift, self.recording) if watch is not None]
        desk = Desk(offer.policy, offer.service, offer.tiers, offer.unit, watches)
        self.driver = Driver(desk, workers, offer.rate_per_s, offer.table, self._failed)
        if self.recording is not None:
            self.recording.begin(self.driver.origin_ns)
        self._front = Front(
            offer, self.driver, self.meters, self.wishes.token, self.recording, self.drift
        )
        show(self.meters, self.driver, lambda: self._front.ready)
        if self.drift is not None:
            show_drift(self.meters, self.drift)
        await self._open_office()
        self._ending = asyncio.Event()
        if again is not None and hasattr(signal, "SIGHUP"):
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGHUP, lambda: self._hang_up(again))
        gc.collect()
        gc.freeze()
        http = asyncio.create_task(self._http.serve([listening]))
        beat = asyncio.create_task(self._beat())
        end = asyncio.create_task(self._end())
        others = [beat, end]
        if self.recorder is not None:
            others.append(asyncio.create_task(self.recorder.go_on()))
        try:
            while not self._http.started and not http.done():
                await asyncio.sleep(STEP_S)
            if self._http.started:
                ready(*listening.getsockname()[:2])
            await http
        finally:
            for task in others:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            self.driver.close()
            await self._close_office()
            if self.recorder is not None:
                await self.recorder.write()

    def _signal(self) -> None:
        self._signals += 1
        if self._signals > 1:
            self.cut_off = self._front.active
            self._http.should_exit = self._http.force_exit = True
        self._front.ready = False
        self.driver.loop.call_soon_threadsafe(self._ending.set)

    def _hang_up(self, again: Again) -> None:
        """Read the policy in a thread, so that nobody waits for it, and change it here."""
        self._reading = asyncio.ensure_future(self._change(again))

    async def _change(self, again: Again) -> None:
        found = await asyncio.to_thread(again)
        if found is not None:
            with suppress(DriverError):
                adopt(self.driver, self.drift, *found)

    def _failed(self, error: Exception) -> None:
        self.failure = error
        self._front.ready = False
        self._ending.set()

    async def _end(self) -> None:
        """Wait for the end, and let everybody be answered."""
        await self._ending.wait()
        self._front.ready = False
        loop = asyncio.get_running_loop()
        if self.failure is None:
            await asyncio.sleep(self.wishes.notice_s)
        self._front.closed = True
        if self._office is not None:
            self._office.stop()
        until = loop.time() + (self.wishes.drain_s if self.failure is None else 1.0)
        while self._active() and loop.time() < until and self.failure is None:
            await asyncio.sleep(STEP_S)
        if self.failure is None:
            self.cut_off = self._front.active
        self.driver.close()
        await asyncio.sleep(STEP_S)  # who is told now writes its answer
        self._http.should_exit = True

    async def _open_office(self) -> None:
        self._office = None if self.jobs is None else self.jobs(self._front)
        if self._office is not None:
            await self._office.open()

    async def _close_office(self) -> None:
        if self._office is not None:
            await self._office.close()

    def _active(self) -> int:
        """Requests and jobs that are here."""
        return self._front.active + (0 if self._office is None else self._office.active)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            self.driver.check_hanging()
            if self.drift is not None:
                self.drift.tick(self.driver.now_ns())


def listen(host: str, port: int) -> socket.socket:
    """A socket on an address; not listening yet.

    Raises:
        OSError: it cannot be had; the error names it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except OSError as error:
        found.close()
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from error
    found.setblocking(False)
    return found


__all__ = ["Serving", "Wishes", "listen"]
