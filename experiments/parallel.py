"""Jobs in threads: the compiled kernel releases the GIL, so threads use every core."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any, TypeVar

Job = TypeVar("Job")
Done = TypeVar("Done")

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many steps are done, and of how many."""


def nothing(_what: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C; carries the results of the jobs that were done, in order."""

    def __init__(self, done: list[Any]) -> None:
        super().__init__()
        self.done = done


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put Ctrl-C off until the end of a block, so that what it writes is written whole.

    Raises:
        KeyboardInterrupt: at the end, if Ctrl-C came meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is ever interrupted
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def in_threads(
    work: Callable[[Job], Done],
    jobs: Sequence[Job],
    names: Sequence[str],
    progress: Progress,
    at_once: int | None = None,
) -> list[Done]:
    """Do every job; results are in the order of the jobs.

    Args:
        work: does one job.
        jobs: what to do.
        names: what the person who waits reads, one a job.
        progress: told the name of a job that is done, how many are, and of how many.
        at_once: at most so many threads; by default one a core.

    Raises:
        Interrupted: Ctrl-C; jobs that had not begun are dropped.
    """
    threads = max(1, min(os.cpu_count() or 1, len(jobs), at_once or len(jobs)))
    with ThreadPoolExecutor(threads) as pool:
        futures: list[Future[Done]] = []
        try:
            # Ctrl-C may come as soon as the first has begun.
            futures.extend(pool.submit(work, job) for job in jobs)
            named = dict(zip(futures, names, strict=True))
            for done_now, future in enumerate(as_completed(named), 1):
                future.result()
                progress(named[future], done_now, len(jobs))
        except KeyboardInterrupt:
            pool.shutdown(wait=True, cancel_futures=True)
            done = [f.result() for f in futures if not f.cancelled() and f.exception() is None]
            raise Interrupted(done) from None
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return [future.result() for future in futures]
