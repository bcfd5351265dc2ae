"""Tables of a scenario file: requests that belong together, under ``workload.sequences``."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from .schema_lengths import Constant, Lognormal, Uniform
from .tables import Table, chosen_by, chosen_by_key
from .values import Milliseconds, Positive, Share

Sizes = Annotated[
    Constant | Lognormal | Uniform,
    chosen_by_key(
        constant=Constant,
        distribution=chosen_by("distribution", lognormal=Lognormal, uniform=Uniform),
    ),
]
"""How many requests a sequence has: the kinds of ``lengths`` that are drawn."""


class Sequences(Table):
    """Requests that belong together, as chunks of speech; ``arrivals`` say when sequences begin.

    The first request comes when a sequence begins, the others on schedule, answered or not.
    """

    requests: Sizes = Field(description="how many requests a sequence has")
    gap_ms: Milliseconds = Field(
        description="the mean time from one request of a sequence to the next, in milliseconds"
    )
    gap_cv: Positive | None = None
    """Coefficient of variation of those times, gamma; not given: all are equal."""
    jitter_ms: Milliseconds = Decimal(0)
    """Every request is up to so much later, uniformly; the order in a sequence stays."""
    without_end: Share | None = None
    """Share of the sequences that never say which request is their last; not given: all do."""
