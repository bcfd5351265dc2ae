"""A recording as text: what ``GET /recorded`` answers, and the file of ``--record``.

1. It is a trace as scenarios read them: ``arrival_s``, ``length``, ``tier``.  What else is known of
   a request stands in further columns, which are empty where it has none.
2. Text is made in steps of half a millisecond, between which the event loop does what it has to.
3. A file appears whole or not at all, and what another server left there is kept as ``FILE.old``.
"""

from __future__ import annotations

import asyncio
import csv
import io
import os
import re
import time
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from experiments.runs import part_of
from experiments.sentences import ScenarioError
from policies.contract import Tier

from .open_inference import RequestError
from .recording import OUTCOMES, Recording, Rows
from .replies import Reply

COLUMNS = (
    "arrival_s", "length", "tier", "outcome", "waited_ms", "service_ms", "batch_size", "padded_to",
    "server",
)  # fmt: skip
HEADER = f"{','.join(COLUMNS)}\n".encode()
STEP = 256
"""Rows of a step."""
GZIP = 16 + zlib.MAX_WBITS
EVERY_S = 60.0
PAUSE_S = 0.002
"""Between the steps of a file that is written beside all else."""
OLD = ".old"
CSV = b"text/csv; charset=utf-8"
SPANS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SINCE = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)([smhd]?)")


def text(rows: Rows, tiers: Sequence[str]) -> bytes:
    """Rows as lines of CSV; instants and times are exact."""
    lines = []
    for arrival, waited, service, length, padded, size, server, tier, outcome in rows.tolist():
        if size:
            rest = f"{_ms(waited)},{_ms(service)},{size},{padded},{server}"
        else:
            rest = f"{'' if OUTCOMES[outcome] == 'waiting' else _ms(waited)},,,,"
        second, ns = divmod(arrival, 10**9)
        lines.append(f"{second}.{ns:09d},{length},{tiers[tier]},{OUTCOMES[outcome]},{rest}\n")
    return "".join(lines).encode()


def _ms(ns: int) -> str:
    return f"{ns // 10**6}.{ns % 10**6:06d}"


def quoted(tiers: Sequence[str]) -> list[str]:
    """Names as CSV has them."""
    found = []
    for name in tiers:
        cell = io.StringIO()
        csv.writer(cell, lineterminator="").writerow([name])
        found.append(cell.getvalue())
    return found


async def parts(
    recording: Recording, tiers: Sequence[str], since_ns: int = 0, pause_s: float = 0.0
) -> AsyncIterator[bytes]:
    """The text of everything that is known now, piece by piece.

    Args:
        recording: may go on.
        tiers: their names.
        since_ns: Unix time; who arrived before is left out.
        pause_s: between two pieces.
    """
    moment, names = recording.moment(), quoted(tiers)
    rows = await asyncio.to_thread(recording.rows, moment, since_ns)
    yield HEADER
    for begin in range(0, len(rows), STEP):
        yield text(rows[begin : begin + STEP], names)
        await asyncio.sleep(pause_s)


def since(query: bytes) -> int:
    """Unix time in ns that ``?since=`` means: ``10m`` is ten minutes ago; 0 without it.

    Raises:
        RequestError: it is no time.
    """
    said = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("since")
    if said is None:
        return 0
    match = SINCE.fullmatch(said[-1])
    if match is None:
        raise RequestError(
            f"since = {said[-1][:40]!r} must be a time as in 30s, 10m, 2h or 1d, or seconds of "
            "Unix time"
        )
    number, unit = Decimal(match[1]) * 10**9, match[2]
    return time.time_ns() - int(number * SPANS_S[unit]) if unit else int(number)


def recorded(recording: Recording, tiers: Sequence[Tier], scope: Mapping[str, Any]) -> Reply:
    """What is known of the last requests, as a trace; in pieces.

    Args:
        recording: may go on.
        tiers: of the server.
        scope: of the request, as ASGI has it.

    Raises:
        RequestError: ``since`` is no time.
    """
    since_ns = since(scope.get("query_string", b""))
    pieces = parts(recording, [tier.name for tier in tiers], since_ns)
    if b"gzip" not in dict(scope["headers"]).get(b"accept-encoding", b""):
        return Reply(200, b"", CSV, parts=pieces)
    return Reply(200, b"", CSV, ((b"content-encoding", b"gzip"),), zipped(pieces))


async def zipped(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same as gzip."""
    packer = zlib.compressobj(1, wbits=GZIP)
    async for piece in pieces:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()


def checked_file(path: Path | None, kept: int) -> Path | None:
    """Where requests are written, if they are.

    Raises:
        ScenarioError: there is no such folder, or nothing to write.
    """
    if path is None:
        return None
    if kept == 0:
        raise ScenarioError(f"--record {path} writes what is remembered: leave out --keep 0")
    if path.is_dir() or not path.parent.is_dir():
        what = "is a folder" if path.is_dir() else "is in a folder that is not there"
        raise ScenarioError(f"--record {path} {what}; give a file, as requests.csv")
    return path


class Recorder:
    """Writes a recording into a file, again and again."""

    def __init__(self, recording: Recording, path: Path, tiers: Sequence[str]) -> None:
        self.recording, self.path, self.tiers = recording, path, tuple(tiers)
        self._written = 0
        """Requests that were answered then."""
        self._first = True

    async def go_on(self, every_s: float = EVERY_S) -> None:
        """Write once a minute, until it is cancelled; a disk that refuses is asked again."""
        while True:
            await asyncio.sleep(every_s)
            with suppress(OSError):
                await self.write(PAUSE_S)

    async def write(self, pause_s: float = 0.0) -> None:
        """Write what is known now, where there is more than the file has.

        Raises:
            OSError: the file cannot be written; the one from before is still there.
        """
        answered = self.recording.answered_so_far
        if answered == self._written:
            return
        pieces = parts(self.recording, self.tiers, pause_s=pause_s)
        if self.path.suffix == ".gz":
            pieces = zipped(pieces)
        part = part_of(self.path)
        try:
            with part.open("wb") as file:
                async for piece in pieces:
                    file.write(piece)
                file.flush()
                await asyncio.to_thread(os.fsync, file.fileno())
            self._keep_old()
            part.replace(self.path)
        except BaseException as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise OSError(error.errno, error.strerror, str(self.path)) from error
            raise
        self._written, self._first = answered, False

    def _keep_old(self) -> None:
        """What was there before this server is renamed, once."""
        if self._first and self.path.is_file():
            self.path.replace(self.path.with_name(self.path.name + OLD))


__all__ = ["COLUMNS", "EVERY_S", "Recorder", "checked_file", "parts", "recorded", "text", "zipped"]
