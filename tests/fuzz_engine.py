"""A fuzzer for readers of files, guided by coverage: whatever they read, they answer.

1. An input is a folder: names of files with their bytes, or with what stands in a file's place.
2. A reader takes it or refuses it with one of the project's own errors.  Any other exception, more
   than :data:`MEMORY` bytes, more than :data:`CPU_S` seconds of the processor, or a sentence that
   nobody can read is a failure.  Seconds of the processor, since a clock runs on while others work.
3. An input that reaches a line that no input has reached before is kept, and mutated in its turn.
4. Everything is drawn from one seed: the same seed makes the same inputs in the same order.
5. A failing input is made smaller, saved as one JSON file, and its path is told.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fuzz_inputs import Files, found_inputs, save, write

from experiments.cli_speech import sentence

ROOT = Path(__file__).resolve().parents[1]
OURS = tuple(
    f"{ROOT / package}{os.sep}" for package in ("experiments", "policies", "profiles", "sim")
)

MEMORY = 2 * 2**30
CPU_S = 20
"""A usual input takes some milliseconds; a busy machine does not count."""
LONGEST_SENTENCE = 1100
FEWEST = 20
"""Inputs at least, however slow the machine."""
SMALLER = 150
"""Attempts to make a failing input smaller."""


class HangError(BaseException):
    """A reader does not come to an end."""


@dataclass(frozen=True)
class Reader:
    """One reader under test."""

    name: str
    seeds: Callable[[], list[Files]]
    """Valid inputs."""
    read: Callable[[Path], object]
    """Reads the files of a folder, which is also the current one."""
    refusals: Callable[[], tuple[type[BaseException], ...]]
    """The errors that are answers."""
    fixed: frozenset[str] = frozenset()
    """Files that are not mutated."""
    watched: bool = True
    """Whether coverage guides it; not where the libraries that it calls would take most time."""


@dataclass
class Failure:
    """An input that is not answered."""

    what: str
    """Exception and line: what makes two failures the same."""
    files: Files
    trace: str
    path: Path | None = None


@dataclass
class Outcome:
    """What a fuzz came to."""

    inputs: int = 0
    refused: int = 0
    corpus: int = 0
    lines: int = 0
    failures: dict[str, Failure] = field(default_factory=dict)

    def told(self) -> str:
        """Every failure with where its input is."""
        return "\n\n".join(
            f"{one.what}\nsaved as {one.path}\n{one.trace}" for one in self.failures.values()
        )


class Coverage:
    """Lines of the project that were reached; the rest of Python is not looked at."""

    def __init__(self) -> None:
        self.seen: dict[object, set[int]] = {}
        self.lines: dict[object, int] = {}
        self.fresh = 0

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        before = sys.gettrace()
        sys.settrace(self._called)
        try:
            yield
        finally:
            sys.settrace(before)

    def _called(self, frame, event, argument):
        code = frame.f_code
        if code not in self.seen:
            ours = code.co_filename.startswith(OURS)
            self.lines[code] = len({line for _, _, line in code.co_lines() if line}) if ours else 0
            self.seen[code] = set()
        if len(self.seen[code]) >= self.lines[code]:
            return None  # nothing new can come of it
        return self._reached

    def _reached(self, frame, event, argument):
        lines = self.seen[frame.f_code]
        if frame.f_lineno not in lines:
            lines.add(frame.f_lineno)
            self.fresh += 1
        return self._reached


def fuzz(
    reader: Reader,
    mutated: Callable[[Files, random.Random, list[Files]], Files],
    seconds: float,
    seed: int = 0,
    fewest: int = FEWEST,
) -> Outcome:
    """Mutate a reader's seeds for a while, and ``fewest`` times at least."""
    outcome, coverage, end = Outcome(), Coverage(), time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place, limits():
        corpus = []
        for files in [*reader.seeds(), *(one for one in found_inputs(reader.name).values())]:
            _try(reader, files, Path(place), coverage, outcome)
            corpus.append(files)
        end = max(end, time.monotonic() + 0.5 * seconds)  # seeds may be long in the making
        while outcome.inputs < fewest or time.monotonic() < end:
            rng = random.Random(f"{seed}/{reader.name}/{outcome.inputs}")
            latest = rng.random() < 0.3 and len(corpus) > 8
            parent = rng.choice(corpus[-8:] if latest else corpus)
            child = mutated(parent, rng, corpus)
            child |= {name: parent[name] for name in reader.fixed & parent.keys()}
            before = coverage.fresh
            _try(reader, child, Path(place), coverage, outcome)
            if coverage.fresh > before:
                corpus.append(child)
        for failure in outcome.failures.values():
            _made_smaller(reader, failure, Path(place))
            failure.path = save(reader.name, failure.what, failure.files)
    outcome.corpus, outcome.lines = len(corpus), coverage.fresh
    return outcome


def _try(reader: Reader, files: Files, place: Path, coverage: Coverage, outcome: Outcome) -> None:
    with coverage.watching() if reader.watched else contextlib.nullcontext():
        failure, refused = answer(reader, files, place)
    outcome.inputs += 1
    outcome.refused += refused
    if failure is not None:
        outcome.failures.setdefault(failure.what, failure)


def answer(reader: Reader, files: Files, place: Path) -> tuple[Failure | None, bool]:
    """What a reader does with an input, and whether it refuses it."""
    write(files, place)
    here = Path.cwd()
    os.chdir(place)
    try:
        with processor_time():
            reader.read(place)
    except reader.refusals() as error:
        return _unreadable(error, files), True
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - none may escape
        return Failure(_what(error), files, _trace(error)), False
    finally:
        os.chdir(here)
    return None, False


def _unreadable(error: BaseException, files: Files) -> Failure | None:
    """A refusal that is no sentence."""
    text = sentence(error)
    odd = next((sign for sign in ("Traceback", "<class '", "object at 0x") if sign in text), None)
    if not str(error).strip() or len(text) > LONGEST_SENTENCE or odd:
        why = f"says {odd}" if odd else "too long or empty"
        return Failure(f"a sentence that is none ({why}), {_where(error)}", files, text[:2000])
    return None


def _what(error: BaseException) -> str:
    return f"{type(error).__name__} at {_where(error)}"


def _where(error: BaseException) -> str:
    """The last line of ours that an error came from."""
    ours = [
        frame for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith(OURS)
    ]  # fmt: skip
    if not ours:
        return "no line of ours"
    return f"{Path(ours[-1].filename).relative_to(ROOT)}:{ours[-1].lineno}"


def _trace(error: BaseException) -> str:
    lines = traceback.format_exception(error)
    return "".join(lines[-8:])[-4000:]


@contextlib.contextmanager
def processor_time(seconds: float = CPU_S) -> Iterator[None]:
    """Raise :class:`HangError` once the process has worked so long."""

    def over(_number, _frame):
        raise HangError(f"more than {seconds} s of the processor")

    before = signal.signal(signal.SIGVTALRM, over)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@contextlib.contextmanager
def limits(more: int = MEMORY) -> Iterator[None]:
    """Let the process grow by so many bytes and no further: asking for more is a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _made_smaller(reader: Reader, failure: Failure, place: Path) -> None:
    """Leave out lines, then bytes, as long as the failure stays the same."""
    tries = 0
    for name in [name for name in failure.files if name not in reader.fixed]:
        content = failure.files[name]
        if not isinstance(content, bytes) or name.endswith((".gz", ".parquet", ".db")):
            continue
        for separator in (b"\n", b""):
            parts = (
                content.split(separator)
                if separator
                else [content[i : i + 1] for i in range(len(content))]
            )
            step = max(1, len(parts) // 2)
            while step and tries < SMALLER:
                at = 0
                while at < len(parts) and tries < SMALLER:
                    rest = parts[:at] + parts[at + step :]
                    tries += 1
                    files = failure.files | {name: separator.join(rest)}
                    found, _ = answer(reader, files, place)
                    if found is not None and found.what == failure.what:
                        parts, failure.files, failure.trace = rest, files, found.trace
                    else:
                        at += step
                step //= 2
            content = separator.join(parts)
