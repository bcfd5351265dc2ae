"""Tables of a scenario file: how long requests are, under ``lengths``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .sentences import broken_rule
from .tables import Table, chosen_by, chosen_by_key
from .values import Count, Positive, Text, one_of

Unit = Annotated[str, one_of("tokens", "audio_ms")]
"""Lengths without a unit of their own have the profile's."""


class Dataset(Table):
    """Lengths as a public data set has them; it knows its unit."""

    dataset: Text


class Histogram(Table):
    """Lengths as a CSV file counts them; its header tells the unit."""

    histogram: Text


class Constant(Table):
    """One length for all."""

    constant: Count
    unit: Unit | None = None


class Spread(Table):
    """Lengths from ``min`` to ``max``."""

    min: Count = 1
    max: Count = Field(description="the longest length")
    unit: Unit | None = None

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.min > self.max:
            raise broken_rule("min must not be above max", min=self.min, max=self.max)
        return self


class Lognormal(Spread):
    """Lognormal lengths, conditioned to the range from ``min`` to ``max``."""

    distribution: Literal["lognormal"]
    median: Positive = Field(description="the median length, before the range is applied")
    sigma: Positive = Field(description="the standard deviation of the logarithm")


class Uniform(Spread):
    """Every length from ``min`` to ``max`` is equally likely."""

    distribution: Literal["uniform"]


class Column(Table):
    """Lengths from a column of the trace that gives the arrivals."""

    column: Text
    unit: Unit | None = None


Lengths = Annotated[
    Dataset | Histogram | Constant | Lognormal | Uniform | Column,
    chosen_by_key(
        dataset=Dataset,
        histogram=Histogram,
        constant=Constant,
        distribution=chosen_by("distribution", lognormal=Lognormal, uniform=Uniform),
        column=Column,
    ),
]
