"""What serves sequences: an engine, how long its iterations take, and their luck."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from policies.contract import NEVER, FloatArray, IntArray, Tier
from policies.iteration.contract import Engine, Rule
from policies.iteration.times import StepTimes

from .workload import TokenWorkload

CALM: FloatArray = np.ones(1)


@dataclass(frozen=True, eq=False)
class Serving:
    """An engine and its times."""

    engine: Engine
    times: StepTimes
    noise: FloatArray = field(default_factory=CALM.copy)
    """float64 (K,): factor on the time of the k-th iteration; it begins again after K."""

    def __post_init__(self) -> None:
        if len(self.noise) == 0 or not float(self.noise.min()) > 0.0:
            raise ValueError("noise must be factors above 0, at least one")
        if self.engine.sequences < 1 or self.engine.blocks < 1 or self.engine.block_tokens < 1:
            raise ValueError(f"an engine holds at least one sequence and block, not {self.engine}")

    def bound(self, rule: Rule, tiers: tuple[Tier, ...]) -> Rule:
        """The rule with what it may know.

        Raises:
            ValueError: a parameter of the rule is out of range.
        """
        own = getattr(rule, "bind", None)
        if own is None:
            return rule
        found: Rule = own(self.times, self.engine, tiers)
        return found

    def too_long(self, workload: TokenWorkload) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Bool (N,): requests that can never be served whole, and are refused as they arrive.

        The last token of the output is never computed itself, so its keys and values need no room.
        """
        whole: IntArray = workload.prompt.astype(np.int64) + workload.output
        room = NEVER
        if self.engine.blocks < NEVER // self.engine.block_tokens:
            room = self.engine.blocks * self.engine.block_tokens
        refused: np.ndarray[tuple[int], np.dtype[np.bool_]]
        refused = (whole > self.engine.longest) | (whole - 1 > room)
        return refused
