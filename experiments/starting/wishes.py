"""What somebody wants of a first scenario: options and answers as values, with their defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, DecimalException
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.places import is_file
from experiments.sentences import ScenarioError, suggestion

if TYPE_CHECKING:
    from profiles.latency import Profile

PROFILE = "bert-base-a100-torchscript-fp16"
"""A model that everybody knows on a GPU that many have."""
PROFILES = {"tokens": PROFILE, "audio_ms": "jasper-t4-fp16"}
"""By what the lengths of a log count."""
LOAD = Decimal("0.4")
"""Busy, with room for bursts and padding, which a load does not count: where lengths vary, rules
that do not look at them cannot keep up from about 0.5 on."""
DATASETS = {"tokens": "ag_news", "audio_ms": "librispeech"}
"""News items are short enough for every shipped profile of a text model."""


class Slo:
    """A latency target, as ``20``, ``p95=20`` or ``none`` say it."""

    def __init__(self, text: str) -> None:
        found = re.fullmatch(r"(?:p(\d{1,2}(?:\.\d+)?)\s*[=:<]+\s*)?(\d+(?:\.\d+)?)\s*(ms)?", text)
        if found is None or not Decimal(found[2]) or not 0 < Decimal(found[1] or 99) < 100:
            raise ScenarioError(
                f"--slo {text} must be milliseconds above 0, as in 20, or with a percentile, as in "
                "p95=20; none for no target"
            )
        self.percentile = Decimal(found[1] or 99)
        self.ms = Decimal(found[2])


@dataclass(frozen=True)
class Wishes:
    """Everything that decides what is written; None: not said."""

    profile: str | None = None
    model: str | None = None
    rate: Decimal | None = None
    load: Decimal | None = None
    slo: Slo | None = None
    no_slo: bool = False
    lengths: str | None = None
    servers: int | None = None
    log: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    unit: str | None = None
    arrivals: str = "auto"


def positive(text: str, option: str, what: str) -> Decimal:
    """A number above 0.

    Raises:
        ScenarioError: it is none.
    """
    try:
        value = Decimal(text.strip().replace(",", "").replace("_", ""))
    except DecimalException:
        value = Decimal(0)
    if not value.is_finite() or value <= 0 or abs(value.adjusted()) > 15:
        raise ScenarioError(f"{option} {text} must be {what}")
    return value


def rate_or_load(text: str) -> tuple[Decimal | None, Decimal | None]:
    """``250`` is a rate, ``load 0.6`` or ``60%`` a load."""
    small = text.strip().lower()
    if small.startswith("load"):
        return None, positive(small[4:].lstrip("= "), "load", "a number above 0, as in load 0.6")
    if small.endswith("%"):
        return None, positive(small[:-1], "load", "per cent above 0, as in 60%") / 100
    number = small.removesuffix("per second").removesuffix("/s").strip()
    return positive(number, "rate", "requests per second, as in 250, or a load, as in 60%"), None


def model_keys(text: str) -> dict[str, Any]:
    """``2.0,0.35`` or ``2.0,0.35,64``: base, per request, largest batch."""
    parts = [part.strip() for part in text.split(",")]
    what = "milliseconds of a batch and of each request in it, as in 2.0,0.35 (or 2.0,0.35,64)"
    if not 2 <= len(parts) <= 3:
        raise ScenarioError(f"--model {text} must be {what}")
    keys: dict[str, Any] = {
        "base_ms": positive(parts[0], "--model", what),
        "per_request_ms": positive(parts[1], "--model", what),
    }
    largest = parts[2] if len(parts) == 3 else "64"
    if not largest.isdigit() or not 0 < int(largest) <= 4096:
        raise ScenarioError(f"--model {text}: the largest batch must be from 1 to 4096")
    return {**keys, "max_batch_size": int(largest)}


def length_keys(text: str, profile: Profile | None) -> dict[str, Any]:
    """Lengths as somebody says them: a data set, a number, or a histogram's file.

    Raises:
        ScenarioError: it is none of them.
    """
    from sim.lengths import DATASETS as KNOWN

    if text in KNOWN:
        return {"dataset": text}
    if text.isdigit() and int(text) > 0:
        unit = {} if profile is None else {"unit": profile.length_unit}
        return {"constant": int(text), **unit}
    if is_file(text):
        return {"histogram": text}
    raise ScenarioError(
        f"--lengths {text} must be a data set, a number, or a CSV file with the header "
        f"tokens,count; {suggestion(text, KNOWN)}"
    )


def load_profile(name: str) -> Profile:
    """A shipped profile, or one of a file.

    Raises:
        ProfileError: there is none.
    """
    import profiles

    return profiles.load(name)
