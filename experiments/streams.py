"""The standard streams of a terminal that is not as it should be: closed, full, or without signs.

1. A stream that is closed becomes one that leads nowhere: otherwise the next file that is opened
   would get its number, and what is said would be written into it.
2. A sign that the terminal's encoding does not have is written in letters that it has.
3. What is said on stderr never ends a run: where it cannot be said, it is not said.
4. What matplotlib has to say of folders for its own settings is not said at all.
"""

from __future__ import annotations

import codecs
import io
import logging
import os
import sys
import unicodedata
from typing import Any, TextIO

PLAINLY = "plainly"
"""The name of the way in which signs are replaced."""

PLAIN = {"±": "+-", "…": "...", "─": "-", "━": "-", "–": "-", "×": "x", "·": "."}  # noqa: RUF001


def mend() -> None:
    """Make the streams of this process usable, whatever they are."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdin = sys.stdin or io.TextIOWrapper(io.FileIO(0, closefd=False))
    sys.stdout = sys.stdout or io.TextIOWrapper(io.FileIO(1, "w", closefd=False))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=PLAINLY)
    sys.stderr = forgiving(sys.stderr)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


class Forgiving(io.FileIO):
    """A file that takes everything, and loses what cannot be written."""

    def write(self, data: Any, /) -> int:
        """Write what can be written."""
        try:
            return super().write(data)
        except OSError:
            return len(data)


def forgiving(stream: TextIO | None) -> io.TextIOWrapper:
    """stderr, to which it is safe to write."""
    encoding = "utf-8" if stream is None else stream.encoding
    buffer = io.BufferedWriter(Forgiving(2, "w", closefd=False))
    return io.TextIOWrapper(buffer, encoding, PLAINLY, line_buffering=True)


def plainly(error: UnicodeError) -> tuple[str, int]:
    """Signs that an encoding lacks, in letters that it has."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(PLAIN.get(sign) or letters(sign) for sign in signs), error.end


def letters(sign: str) -> str:
    """A letter without its marks, or a question mark."""
    plain = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    return plain or "?"


codecs.register_error(PLAINLY, plainly)
