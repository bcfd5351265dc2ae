"""Tables of a scenario file: when requests arrive, under ``workload.arrivals``."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .sentences import broken_rule
from .tables import Table, chosen_by, require_one
from .values import AboveOne, Count, Milliseconds, Points, Positive, Rates, Text, one_of, positives


class Rated(Table):
    """Arrivals whose mean rate is given, as a rate or as a share of the largest possible one."""

    rate_per_s: Positive | None = None
    load: Positive | None = None

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        require_one(self, "rate_per_s", "load")
        return self


class Paced(Rated):
    """One arrival every ``1 / rate``."""

    process: Literal["paced"]


class Poisson(Rated):
    """Independent users: exponential gaps."""

    process: Literal["poisson"]


class Gamma(Rated):
    """Gamma gaps: smoother (``cv`` below 1) or burstier (above 1) than Poisson."""

    process: Literal["gamma"]
    cv: Positive = Field(description="the coefficient of variation of the gaps")


class Hyperexponential(Rated):
    """Short and long gaps, two exponentials with balanced means."""

    process: Literal["hyperexponential"]
    cv: AboveOne = Field(description="the coefficient of variation of the gaps, above 1")


class Mmpp(Table):
    """Poisson arrivals whose rate jumps between states; ``load`` scales the rates."""

    process: Literal["mmpp"]
    rates_per_s: Rates = Field(description="the arrival rate of each state")
    switch_per_s: Annotated[
        tuple[Decimal, ...], positives(2, "a list of at least two rates above 0")
    ] = Field(description="how often each state is left, per second")
    rate_per_s: Positive | None = None
    load: Positive | None = None

    @model_validator(mode="after")
    def _states_agree(self) -> Self:
        if len(self.rates_per_s) != len(self.switch_per_s):
            raise broken_rule(
                "rates_per_s and switch_per_s must have one number for each state",
                rates_per_s=self.rates_per_s,
                switch_per_s=self.switch_per_s,
            )
        if self.rate_per_s is not None and self.load is not None:
            raise broken_rule(
                "give at most one of rate_per_s and load",
                rate_per_s=self.rate_per_s,
                load=self.load,
            )
        return self


class Clumped(Rated):
    """Groups that arrive together: ``clump_size`` requests spread over ``spread_ms``."""

    process: Literal["clumped"]
    clump_size: Count = Field(description="how many requests arrive together")
    spread_ms: Milliseconds = Decimal(0)


class RateCurve(Table):
    """Poisson arrivals under a rate that follows ``points``; ``load`` scales the rates."""

    process: Literal["rate_curve"]
    points: Points = Field(description="pairs [seconds, rate per second]")
    rate_per_s: Positive | None = None
    load: Positive | None = None

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if self.rate_per_s is not None and self.load is not None:
            raise broken_rule(
                "give at most one of rate_per_s and load",
                rate_per_s=self.rate_per_s,
                load=self.load,
            )
        return self


class Columns(Table):
    """Which columns of a trace file hold what."""

    arrival_s: Text = "arrival_s"
    length: Text | None = None
    tier: Text | None = None


class TraceFile(Table):
    """Arrivals replayed from a CSV file, at its own speed or another."""

    process: Literal["trace"]
    file: Text = Field(description="the path of a CSV file with a column arrival_s")
    columns: Columns = Columns()
    recorded: Count | None = None
    """Of how many requests of a log the file was made; results then say so."""
    time_scale: Positive | None = None
    rate_per_s: Positive | None = None
    load: Positive | None = None

    @model_validator(mode="after")
    def _one_speed(self) -> Self:
        speeds = {"time_scale": self.time_scale, "rate_per_s": self.rate_per_s, "load": self.load}
        given = {key: value for key, value in speeds.items() if value is not None}
        if len(given) > 1:
            raise broken_rule("give at most one of time_scale, rate_per_s and load", **given)
        return self


class Closed(Table):
    """Clients that wait for the answer, think for ``think_ms`` on average, and send again."""

    process: Literal["closed"]
    clients: Count = Field(description="how many clients there are")
    think_ms: Milliseconds = Field(description="the mean time that a client thinks")
    think: Annotated[str, one_of("exponential", "constant")] = "exponential"


class Backlog(Table):
    """A tier whose requests are always there: offline jobs, more than the servers can do."""

    process: Literal["backlog"]
    requests: Count | None = None
    """How many; by default more than all servers could serve before the end of the run."""


Arrivals = Annotated[
    Paced
    | Poisson
    | Gamma
    | Hyperexponential
    | Mmpp
    | Clumped
    | RateCurve
    | TraceFile
    | Closed
    | Backlog,
    chosen_by(
        "process",
        paced=Paced,
        poisson=Poisson,
        gamma=Gamma,
        hyperexponential=Hyperexponential,
        mmpp=Mmpp,
        clumped=Clumped,
        rate_curve=RateCurve,
        trace=TraceFile,
        closed=Closed,
        backlog=Backlog,
    ),
]
