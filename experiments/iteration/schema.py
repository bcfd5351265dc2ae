"""Every key of a scenario file for a model that generates, with its default.

What such a file has in common with others (arrivals, lengths, seeds) is read by the same tables.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from experiments.schema import Run, Seeds, _list_of_tables, _named_tables
from experiments.schema_arrivals import Arrivals, Backlog, Closed, TraceFile
from experiments.schema_lengths import Lengths
from experiments.schema_service import GammaNoise, LognormalNoise, NoNoise, ProfileNoise
from experiments.schema_tune import _names
from experiments.sentences import broken_rule, missing_key, wrong, wrong_at
from experiments.tables import Table, chosen_by, require_one
from experiments.values import (
    Count,
    Drift,
    MillisecondsAbove0,
    NonNegative,
    Percentile,
    Positive,
    Seconds,
    Share,
    Text,
    one_of,
)


class TokenSlo(Table):
    """What a share of the requests is promised; at least one of the three."""

    ttft_ms: MillisecondsAbove0 | None = None
    """From arrival to the first token."""
    tpot_ms: MillisecondsAbove0 | None = None
    """Time per output token after the first."""
    latency_ms: MillisecondsAbove0 | None = None
    """From arrival to the last token."""
    percentile: Percentile = Decimal(99)
    """The share of the requests that has to keep all of them."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.ttft_ms is None and self.tpot_ms is None and self.latency_ms is None:
            raise missing_key("ttft_ms", "a target in milliseconds (or tpot_ms, latency_ms)")
        return self


class TokenTier(Table):
    """A class of requests; what it does not give itself it shares with the others."""

    name: Text = Field(description="the name of the tier")
    share: Share | None = None
    arrivals: Arrivals | None = None
    prompts: Lengths | None = None
    outputs: Lengths | None = None
    slo: TokenSlo | None = None


class TokenWorkloadTable(Table):
    """Who arrives when, and how many tokens each request brings and asks for."""

    requests: Count | None = None
    duration_s: Seconds | None = None
    arrivals: Arrivals | None = None
    prompts: Lengths | None = None
    outputs: Lengths | None = None
    tiers: Annotated[tuple[TokenTier, ...] | None, BeforeValidator(_list_of_tables)] = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.requests is not None and self.duration_s is not None:
            raise broken_rule(
                "give requests or duration_s, not both",
                requests=self.requests,
                duration_s=self.duration_s,
            )
        replayed = isinstance(self.arrivals, TraceFile)
        if self.requests is None and self.duration_s is None and not replayed:
            raise missing_key("requests", "how many requests to draw (or duration_s)")
        tiers = self.tiers or ()
        for table in (self.arrivals, *(tier.arrivals for tier in tiers)):
            check_arrivals(table)
        for key, what in (("prompts", "prompts"), ("outputs", "outputs")):
            lacks = not tiers or any(getattr(tier, key) is None for tier in tiers)
            if getattr(self, key) is None and lacks:
                raise missing_key(key, f"how many tokens {what} have: a table as for lengths")
        self._tiers_share_or_arrive()
        return self

    def _tiers_share_or_arrive(self) -> None:
        tiers = self.tiers or ()
        own = [tier.arrivals is not None for tier in tiers]
        if any(own) and (self.arrivals is not None or not all(own)):
            raise broken_rule("give arrivals once, in workload or in every tier")
        if any(own):
            return
        if self.arrivals is None:
            raise missing_key("arrivals", "how requests arrive: a table with the key process")
        if len(tiers) > 1 and any(tier.share is None for tier in tiers):
            raise broken_rule("every tier needs a share (or every tier arrivals of its own)")


def check_arrivals(table: Any) -> None:
    """Open arrivals at a rate of their own."""
    if isinstance(table, Backlog | Closed):
        raise wrong_at(
            "arrivals", table.process, "an open process with a rate, such as poisson or trace"
        )
    if getattr(table, "load", None) is not None:
        raise wrong_at(
            "arrivals.load", table.load, "rate_per_s: the largest possible rate of a model that "
            "generates depends on the rule (`batchwright capacity` finds it)",
        )  # fmt: skip


class Times(Table):
    """Time of an iteration as a formula of its work."""

    fixed_ms: MillisecondsAbove0 = Field(description="the time that every iteration takes")
    prefill_token_us: NonNegative = Decimal(0)
    """Of each token of a prompt."""
    sequence_us: NonNegative = Decimal(0)
    """Of each sequence that decodes."""
    context_token_ns: NonNegative = Decimal(0)
    """Of each token in memory that those who decode read."""
    pair_ns: NonNegative = Decimal(0)
    """Of each pair of query and key in the attention of prompts."""


class Memory(Table):
    """Memory for keys and values: blocks, or gibibytes and what a token takes of them."""

    blocks: Count | None = None
    gib: Positive | None = None
    kv_bytes_per_token: Count | None = None
    block_tokens: Count = 16

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        require_one(self, "blocks", "gib")
        if self.gib is not None and self.kv_bytes_per_token is None:
            raise missing_key("kv_bytes_per_token", "bytes of keys and values of one token")
        return self

    def count(self) -> int:
        """Blocks in all."""
        if self.blocks is not None:
            return self.blocks
        assert self.gib is not None
        assert self.kv_bytes_per_token is not None
        return max(1, int(self.gib * 2**30 / (self.kv_bytes_per_token * self.block_tokens)))


StepNoise = Annotated[
    NoNoise | ProfileNoise | GammaNoise | LognormalNoise,
    chosen_by(
        "kind", none=NoNoise, profile=ProfileNoise, gamma=GammaNoise, lognormal=LognormalNoise
    ),
]


class EngineTable(Table):
    """What runs iterations."""

    profile: Text | None = None
    """The name or path of a profile of steps."""
    times: Times | None = None
    max_num_seqs: Count = 256
    """Sequences that it holds at once, whatever the rule."""
    max_model_len: Count = Field(
        description="the longest sequence, prompt and output; longer requests are refused"
    )
    memory: Memory | None = None
    """Not given: memory is no limit."""
    preemption: Annotated[Literal["recompute", "swap"], one_of("recompute", "swap")] = "recompute"
    swap_gib_per_s: Positive = Decimal(20)
    """How fast blocks are copied to the host and back, with ``preemption = "swap"``."""
    noise: StepNoise | None = None
    drift: Drift | None = None
    """Standard deviation of a factor on all times, drawn once a replication."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        require_one(self, "profile", "times")
        if self.preemption == "swap":
            if self.memory is None:
                raise missing_key("memory", "the memory that sequences are swapped out of")
            if self.memory.kv_bytes_per_token is None:
                raise broken_rule("swapping needs memory.kv_bytes_per_token, to time the copies")
        if self.profile is None and isinstance(self.noise, ProfileNoise):
            raise broken_rule('noise of kind "profile" needs a profile, and there are times')
        return self


OBJECTIVES = ("goodput", "ttft_p99", "tpot_p99", "latency_p99", "latency_mean", "tokens")


def _objective(value: Any) -> Any:
    """One word, or a list of one."""
    if isinstance(value, list | tuple) and len(value) > 1:
        raise wrong("one objective of " + ", ".join(OBJECTIVES))
    return value[0] if isinstance(value, list | tuple) and value else value


class TokenTune(Table):
    """What ``batchwright tune`` searches for."""

    objective: Annotated[
        Literal["goodput", "ttft_p99", "tpot_p99", "latency_p99", "latency_mean", "tokens"] | None,
        one_of(*OBJECTIVES),
        BeforeValidator(_objective),
    ] = None
    """By default goodput, or where nothing is promised the mean latency."""
    policies: Annotated[tuple[str, ...] | None, PlainValidator(_names)] = None
    """Kinds, or names of the scenario's policies; by default every kind."""
    trials: Count = 120
    """Settings to try, all policies together."""
    requests: Count | None = None
    """Requests of a trial; not given: a tenth of the workload's, at least 4,000 as far as there
    are so many."""
    replications: Count = 4
    """Fresh runs that judge the finalists, each as long as a trial."""


class TokenSpec(Table):
    """A whole scenario file of a model that generates."""

    name: Text | None = None
    description: Text | None = None
    workload: TokenWorkloadTable = Field(description="a table [workload]")
    engine: EngineTable = Field(description="a table [engine]")
    policies: Annotated[dict[str, dict[str, Any]], PlainValidator(_named_tables)] = Field(
        description="at least one table [policies.NAME] with a kind"
    )
    run: Run = Run()
    seeds: Seeds = Seeds()
    tune: TokenTune = TokenTune()
