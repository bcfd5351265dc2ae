"""What a column of a log holds, as its name says it.

1. A name that is usual wins, in the order of :data:`USUAL`; then one whose words say what it
   holds, as ``user_tier`` or ``Token Count``.
2. A unit is the last word of a name, as in ``ts_ms`` or ``clip_seconds``.
3. What people call a duration is the length of a clip, where a model takes audio, and the time
   that a request took elsewhere: ``counts`` says which.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
UNIT_WORDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("ms", "msec", "millis", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("us", "usec", "micros", "microseconds"), "us"),
    **dict.fromkeys(("ns", "nsec", "nanos", "nanoseconds"), "ns"),
}
WHAT = ("arrival", "length", "output", "tier")
"""What a column may hold."""

USUAL = {
    "arrival": (
        *("arrival", *(f"arrival_{unit}" for unit in UNITS), "arrived", "arrived_at"),
        *("received", "received_at", "created_at", "timestamp"),
        *(f"timestamp_{unit}" for unit in UNITS),
        *("time", "ts", "datetime", "start_time", "asctime", "date"),
    ),
    "length": (
        *("length", "tokens", "num_tokens", "input_tokens", "prompt_tokens", "context_tokens"),
        *("contexttokens", "audio_ms", "duration_ms", "duration_s", "audio_s", "duration"),
    ),
    "output": (
        *("output_tokens", "completion_tokens", "generated_tokens", "generatedtokens"),
        *("response_tokens", "answer_tokens"),
    ),
    "tier": ("tier", "priority", "class"),
}
"""Names, in small letters, under which a column is looked for where none is given."""

ARRIVING = {
    *("arrival", "arrived", "received", "created", "timestamp", "time", "ts", "datetime", "date"),
    *("requested", "submitted", "uploaded", "started", "start", "logged", "at"),
}
NOT_ARRIVING = {
    *("end", "ended", "finish", "finished", "done", "latency", "duration", "elapsed", "took"),
    *("response", "completed", "ttft", "wait", "waited", "processing", "updated"),
}
GENERATED = {"output", "completion", "generated", "response", "answer"}
NOT_OF_ONE = {"total", "max", "limit", "per", "cached"}
HEARD = {"audio", "clip", "clips", "utterance", "speech", "duration"}


def words_of(name: str) -> list[str]:
    """``userTier``, ``User Tier`` and ``user_tier`` are ``user, tier``."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return [word for word in re.split(r"[^a-z0-9]+", parted.lower()) if word]


def unit_in(name: str) -> str | None:
    """The unit that ends a name of several words."""
    words = words_of(name)
    return UNIT_WORDS.get(words[-1]) if len(words) > 1 else None


def is_heard(name: str) -> bool:
    """Whether a name is of the length of a clip, and not of a text."""
    words = set(words_of(name))
    return "token" not in words | {w.rstrip("s") for w in words} and (
        bool(words & HEARD) or unit_in(name) is not None
    )


def candidates(header: Iterable[str], key: str, counts: str | None) -> list[str]:
    """Columns that may hold ``key``, the likeliest first."""
    names = list(header)
    small = {name.lower(): name for name in reversed(names)}
    found = [small[name] for name in USUAL[key] if name in small]
    found += [name for name in names if name not in found and _speaks_of(name, key, counts)]
    if key == "length":
        found = [name for name in found if not (is_heard(name) and counts == "tokens")]
        if counts == "audio_ms":
            found.sort(key=lambda name: not is_heard(name))
    return found


def _speaks_of(name: str, key: str, counts: str | None) -> bool:
    words = set(words_of(name))
    tokens = bool(words & {"token", "tokens"})
    match key:
        case "arrival":
            return bool(words & ARRIVING) and not (words & NOT_ARRIVING or tokens)
        case "length":
            sure = HEARD if counts == "audio_ms" else HEARD - {"duration"}
            heard = bool(words & sure) and unit_in(name) is not None
            return (tokens and not words & (GENERATED | NOT_OF_ONE)) or heard
        case "output":
            return tokens and bool(words & GENERATED) and not words & NOT_OF_ONE
    return bool(words & {"tier", "priority"})
