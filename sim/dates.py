"""A date with a time, as logs write it, in ns since 1970.

``2023-11-16 18:15:46.6805900``: ISO 8601 with a space or a T, up to nine digits behind the point,
and a zone (``Z``, ``+01:00``) or none, which means UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

DATE = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))? ?(Z|UTC|[+-]\d\d:?\d\d)?", re.ASCII
)
BEGIN = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def date_ns(text: str) -> int | None:
    """The instant that a text names; None where it names none.

    Exact: what stands behind the point is never a float.
    """
    found = DATE.fullmatch(text)
    if found is None:
        return None
    day, time, fraction, zone = found.groups()
    zone = "+00:00" if zone in (None, "Z", "UTC") else zone
    try:
        seconds = (datetime.fromisoformat(f"{day}T{time}{zone}") - BEGIN) // SECOND
    except ValueError:
        return None
    return seconds * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))
