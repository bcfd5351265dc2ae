"""A CSV file as people have it: any usual separator, a mark of its encoding, quotes, line ends.

Every cell stays text; who reads a column says what it means.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import IO, TYPE_CHECKING

from experiments.sentences import ScenarioError

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = (",", ";", "\t", "|")
HEADER_MOST = 65_536
"""Characters of a first line that are looked at."""
VALUE = re.compile(r"\s*-?\d[\d.,:eE+\-TZ /]*\s*")
"""A number or an instant, which names no column."""


def read_table(path: Path) -> pd.DataFrame:
    """A frame of text with stripped names of columns, at least two lines long.

    Raises:
        ScenarioError: there is no such file, it is no CSV, or its first line names no columns.
    """
    import pandas as pd

    try:
        first = _first_line(path)
        if first.lstrip()[:1] in ("{", "["):
            raise ScenarioError(
                f"{path} is JSON; a log is a CSV file, with a header and one line a request"
            )
        separator = separator_of(first)
        frame = pd.read_csv(
            path, sep=separator, dtype=str, keep_default_na=False, skipinitialspace=True,
            encoding="utf-8-sig",
        )  # fmt: skip
    except FileNotFoundError as error:
        raise ScenarioError(f"there is no file {path}; give a CSV file to --from-log") from error
    except pd.errors.EmptyDataError as error:
        raise ScenarioError(f"{path} is empty; give a header and one line a request") from error
    except (OSError, EOFError, UnicodeDecodeError, pd.errors.ParserError) as error:
        reason = " ".join(str(error).split())
        raise ScenarioError(f"{path} cannot be read as CSV: {reason}") from error
    frame.columns = [str(name).strip() for name in frame.columns]
    _refuse_no_header(path, list(frame.columns), separator)
    if len(frame) < 2:
        raise ScenarioError(f"{path} holds {len(frame)} request(s); a rate needs at least 2")
    return frame


def separator_of(header: str) -> str:
    """The sign that parts most names; a comma where there is one name alone."""
    return max(SEPARATORS, key=header.count)


def _first_line(path: Path) -> str:
    with _opened(path) as file:
        while line := file.readline(HEADER_MOST):
            if line.strip():
                return line
    return ""


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig")


def _refuse_no_header(path: Path, header: list[str], separator: str) -> None:
    if not all(VALUE.fullmatch(name) for name in header):
        return
    names = separator.join(["arrival", "tokens", *(f"c{k}" for k in range(3, len(header) + 1))])
    names = names if len(header) > 1 else "arrival"
    shown = separator.join(header)
    raise ScenarioError(
        f"{path} has no header, its first line is {shown[:60]!r}: put one first that names the "
        f"columns, as {names!r}"
    )
