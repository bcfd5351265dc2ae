"""Every key of a scenario file, with its default and what it must be.

1. Tables are frozen; an unknown key is an error that names the nearest one.
2. A key says its unit.  Numbers with a point stay decimal, as the file writes them, so that 2.35 ms
   becomes exactly 2,350,000 ns.
3. Nothing is drawn, looked up or converted here.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from .schema_arrivals import Arrivals, Backlog, Closed, TraceFile
from .schema_lengths import Lengths
from .schema_sequences import Sequences
from .schema_service import Model, Service, Timeout
from .schema_tune import Tune
from .sentences import broken_rule, missing_key, wrong, wrong_at
from .tables import Table
from .values import (
    Count,
    Index,
    MillisecondsAbove0,
    Percentile,
    Seconds,
    Share,
    Text,
)


class Slo(Table):
    """A latency target: the percentile has to stay at or below ``ms``."""

    ms: MillisecondsAbove0 = Field(description="the latency target in milliseconds")
    percentile: Percentile = Decimal(99)


class Waiting(Table):
    """How many requests of a tier may wait before the next one is rejected."""

    requests: Index = Field(description="how many requests may wait")


class Tier(Table):
    """A class of requests; what it does not give itself it shares with the others."""

    name: Text = Field(description="the name of the tier")
    share: Share | None = None
    arrivals: Arrivals | None = None
    lengths: Lengths | None = None
    timeout: Timeout | None = None
    model: Model | None = None
    slo: Slo | None = None
    capacity: Waiting | None = None
    """How many of the tier may wait in a queue; ``service.capacity`` counts all tiers."""

    @model_validator(mode="after")
    def _backlogs_only_wait(self) -> Self:
        if isinstance(self.arrivals, Backlog):
            for key in ("slo", "timeout", "capacity"):
                if getattr(self, key, None) is not None:
                    raise broken_rule(
                        f"a backlog waits from the beginning to the end: leave out {key}"
                    )
        return self


def _list_of_tables(value: Any) -> Any:
    if not isinstance(value, list) or not value:
        raise wrong("a list of tables, each headed [[workload.tiers]]")
    return value


def _named_tables(value: Any) -> Any:
    if not isinstance(value, dict) or not value:
        raise wrong("at least one table [policies.NAME] with a kind")
    for name, table in value.items():
        if not isinstance(table, dict):
            raise wrong_at(name, table, f"a table [policies.{name}] with a kind")
    return value


class Workload(Table):
    """Who arrives when, how long each request is, and how patient."""

    requests: Count | None = None
    duration_s: Seconds | None = None
    arrivals: Arrivals | None = None
    lengths: Lengths | None = None
    tiers: Annotated[tuple[Tier, ...] | None, BeforeValidator(_list_of_tables)] = None
    sequences: Sequences | None = None
    """Not given: every request is one by itself."""

    @model_validator(mode="after")
    def _sequences_are_drawn(self) -> Self:
        if self.sequences is None:
            return self
        if len(self.tiers or ()) > 1:
            raise broken_rule("sequences are of one tier: leave out workload.tiers but one")
        if self.arrivals is None or isinstance(self.arrivals, Closed | TraceFile):
            raise broken_rule(
                "where there are sequences, arrivals say when they begin: give workload.arrivals "
                'that are drawn, as { process = "poisson", rate_per_s = 2.0 }'
            )
        return self

    @model_validator(mode="after")
    def _how_many(self) -> Self:
        if self.requests is not None and self.duration_s is not None:
            raise broken_rule(
                "give requests or duration_s, not both",
                requests=self.requests,
                duration_s=self.duration_s,
            )
        replayed = isinstance(self.arrivals, TraceFile)
        if self.requests is None and self.duration_s is None and not replayed:
            raise missing_key("requests", "how many requests to draw (or duration_s)")
        if isinstance(self.arrivals, Backlog):
            raise wrong_at(
                "arrivals", "backlog", "the arrivals of a tier: a backlog waits beside others, "
                'as in [[workload.tiers]] name = "offline", arrivals = { process = "backlog" }',
            )  # fmt: skip
        if self.requests is None and isinstance(self.arrivals, Closed):
            raise missing_key("requests", "how many requests a closed loop runs for")
        return self

    @model_validator(mode="after")
    def _tiers_share_or_arrive(self) -> Self:
        tiers = self.tiers or ()
        names = [tier.name for tier in tiers]
        for name in names:
            if names.count(name) > 1:
                raise broken_rule(f"every tier needs a name of its own, but two are {name}")
        own = [tier.arrivals is not None for tier in tiers]
        if any(own):
            self._tiers_arrive_on_their_own()
        elif self.arrivals is None:
            raise missing_key("arrivals", "how requests arrive: a table with the key process")
        elif len(tiers) == 1 and tiers[0].share is None:
            pass
        elif tiers and any(tier.share is None for tier in tiers):
            raise broken_rule("every tier needs a share (or every tier arrivals of its own)")
        elif tiers and sum(tier.share or 0 for tier in tiers) != 1:
            raise broken_rule(
                "the shares of the tiers must add up to 1", shares=[tier.share for tier in tiers]
            )
        return self

    def _tiers_arrive_on_their_own(self) -> None:
        tiers = self.tiers or ()
        if all(isinstance(tier.arrivals, Backlog) for tier in tiers):
            raise broken_rule(
                "every tier is a backlog: at least one needs requests that arrive, which say when "
                "the run ends"
            )
        if self.arrivals is not None:
            raise broken_rule("give arrivals once, in workload or in every tier")
        for tier in tiers:
            if tier.arrivals is None or tier.share is not None:
                raise broken_rule("where one tier has arrivals of its own, every tier needs them")


class Run(Table):
    """How a scenario is run."""

    replications: Count = 1


class Seeds(Table):
    """One seed for each source of randomness, so that changing one changes one thing."""

    arrivals: Index = 1
    lengths: Index = 2
    service: Index = 3
    timeouts: Index = 4
    tuner: Index = 5


class Spec(Table):
    """A whole scenario file."""

    name: Text | None = None
    description: Text | None = None
    workload: Workload = Field(description="a table [workload]")
    service: Service = Field(description="a table [service]")
    policies: Annotated[dict[str, dict[str, Any]], PlainValidator(_named_tables)] = Field(
        description="at least one table [policies.NAME] with a kind"
    )
    run: Run = Run()
    seeds: Seeds = Seeds()
    tune: Tune = Tune()

    @model_validator(mode="after")
    def _sequences_wait_for_slots(self) -> Self:
        if self.workload.sequences is None:
            return self
        for key in ("capacity", "timeout", "cluster", "preprocessing", "postprocessing"):
            if getattr(self.service, key) is not None:
                raise broken_rule(f"sequences wait for slots, without service.{key}: leave it out")
        if self.service.over_length == "reject":
            raise broken_rule('sequences have no holes: over_length must be "error" or "truncate"')
        for tier in self.workload.tiers or ():
            for key in ("timeout", "capacity", "arrivals"):
                if getattr(tier, key) is not None:
                    raise broken_rule(f"sequences wait for slots: leave out {key} of {tier.name}")
        return self

    @model_validator(mode="after")
    def _backlogs_have_room(self) -> Self:
        backlogs = [t.name for t in self.workload.tiers or () if isinstance(t.arrivals, Backlog)]
        for key in ("capacity", "preprocessing", "postprocessing"):
            if backlogs and getattr(self.service, key) is not None:
                raise broken_rule(
                    f"service.{key} is one queue for all tiers, and the backlog of {backlogs[0]} "
                    "would fill it: leave it out, or give that tier arrivals"
                )
        return self
