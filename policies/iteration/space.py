"""Search spaces of rules of continuous batching: numbers that a person would write, as data.

As :mod:`policies.space`, whose axes these are: given the :class:`TokenFacts` of a scenario a
dimension becomes a short ordered grid.  A value that a rule has anyway is left out of the table
that is filled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from policies.contract import NEVER
from policies.space import NS_PER_MS, Axis, Number

SIZES = tuple(m * 2**k for k in range(16) for m in (2, 3))
"""2, 3, 4, 6, 8, 12, ...: steps of a half and a third."""

SHORTEST_BUDGET, LONGEST_BUDGET = 64, 32_768
"""Tokens of an iteration: below, hardly anything but decoding is done; above, everybody waits."""

TIMES_MS = tuple(
    float(m * 10**k) if k >= 0 else m / 10**-k for k in range(-1, 5) for m in (1, 1.5, 2, 3, 5, 7)
)
"""0.1, 0.15, 0.2, 0.3, ... ms."""


class TokenFacts(NamedTuple):
    """What a search space may know of a scenario."""

    sequences: int
    """That the engine holds."""
    longest: int
    """Tokens of the longest request that is served; NEVER where there is no limit."""
    blocks: int
    """Of memory; NEVER where it is no limit."""
    shortest_ns: int
    """The shortest iteration."""
    ttft_ns: int = NEVER
    """The tightest target of a first token."""
    tiers: int = 1


class Sequences(NamedTuple):
    """The largest batch: up to what the engine holds."""

    key: str = "max_num_seqs"
    low: int = 4

    def axes(self, facts: TokenFacts) -> tuple[Axis, ...]:
        """Powers of two, and what is between them."""
        low = min(self.low, facts.sequences)
        values = [size for size in (1, *SIZES) if low <= size < facts.sequences]
        return (Axis(self.key, (*values, facts.sequences)),)

    def fill(self, chosen: Mapping[str, Number], facts: TokenFacts) -> dict[str, Any]:
        """The number."""
        return {self.key: int(chosen[self.key])}


class Budget(NamedTuple):
    """Tokens of an iteration, at least one for every sequence."""

    key: str = "max_num_batched_tokens"
    whole: bool = False
    """Whether prompts are never cut, so that the longest request has to fit."""
    cuts: str = ""
    """The key of a :class:`Switch` of the same space that decides it."""

    def axes(self, facts: TokenFacts) -> tuple[Axis, ...]:
        """Powers of two, and what is between them."""
        low = SHORTEST_BUDGET if not self.whole else longest(facts)
        high = max(LONGEST_BUDGET, 2 * low)
        values = [size for size in SIZES if low <= size <= high]
        return (Axis(self.key, tuple(dict.fromkeys((low, *values)))),)

    def fill(self, chosen: Mapping[str, Number], facts: TokenFacts) -> dict[str, Any]:
        """The budget, raised to what the other numbers ask for."""
        least = int(chosen.get("max_num_seqs", 1)) if self.key != "chunk_tokens" else 1
        if self.cuts and not chosen[self.cuts]:
            least = max(least, longest(facts))
        return {self.key: max(least, int(chosen[self.key]))}


class Switch(NamedTuple):
    """Something that is done or not."""

    key: str
    usual: bool
    """What is left out of the table."""
    tiers: bool = False
    """Whether it means anything only where there are several tiers."""

    def axes(self, facts: TokenFacts) -> tuple[Axis, ...]:
        """0 and 1."""
        return () if self.tiers and facts.tiers < 2 else (Axis(self.key, (0, 1)),)

    def fill(self, chosen: Mapping[str, Number], facts: TokenFacts) -> dict[str, Any]:
        """True or false, where it is not as usual."""
        value = bool(chosen.get(self.key, self.usual))
        return {} if value == self.usual else {self.key: value}


class Choice(NamedTuple):
    """One of a few numbers."""

    key: str
    values: tuple[Number, ...]
    usual: Number | None = None
    """What is left out of the table."""
    memory: bool = False
    """Whether it means anything only where memory is a limit."""

    def axes(self, facts: TokenFacts) -> tuple[Axis, ...]:
        """The numbers."""
        return () if self.memory and facts.blocks == NEVER else (Axis(self.key, self.values),)

    def fill(self, chosen: Mapping[str, Number], facts: TokenFacts) -> dict[str, Any]:
        """The number, where it is not the usual one."""
        value = chosen.get(self.key, self.usual)
        return {} if value == self.usual else {self.key: value}


class StepBudget(NamedTuple):
    """How long an iteration may take: from a little more than the shortest to forty of them."""

    key: str = "step_budget_ms"

    def axes(self, facts: TokenFacts) -> tuple[Axis, ...]:
        """Times that a person would write."""
        low, high = (factor * facts.shortest_ns / NS_PER_MS for factor in (1.1, 40.0))
        values = tuple(ms for ms in TIMES_MS if low <= ms <= high)
        return (Axis(self.key, values or (round(2 * low, 3),)),)

    def fill(self, chosen: Mapping[str, Number], facts: TokenFacts) -> dict[str, Any]:
        """The time."""
        return {self.key: chosen[self.key]}


class Wait(NamedTuple):
    """How long the oldest waits for a batch to fill: not at all, or up to the target."""

    key: str = "max_wait_ms"

    def axes(self, facts: TokenFacts) -> tuple[Axis, ...]:
        """0 and times that a person would write."""
        high_ns = facts.ttft_ns if facts.ttft_ns < NEVER else 100 * facts.shortest_ns
        values = [ms for ms in TIMES_MS if ms >= 1.0 and ms * NS_PER_MS <= high_ns]
        return (Axis(self.key, (0, *values)),)

    def fill(self, chosen: Mapping[str, Number], facts: TokenFacts) -> dict[str, Any]:
        """The time, where it is not 0."""
        value = chosen[self.key]
        return {self.key: value} if value else {}


def longest(facts: TokenFacts) -> int:
    """Tokens that an iteration needs where prompts are not cut."""
    return LONGEST_BUDGET if facts.longest == NEVER else facts.longest


TokenSpace = tuple[Sequences | Budget | Switch | Choice | StepBudget | Wait, ...]
"""What a rule's ``space()`` gives."""

WATERMARK = Choice("watermark", (0.0, 0.01, 0.02, 0.05, 0.1), usual=0.0, memory=True)
"""Shares of the memory that stay free."""
