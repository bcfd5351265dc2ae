"""A batch that lives at random: consistent views of iterations for the conformance suite.

Requests arrive in crowds or alone, iterations take any time, and memory holds few sequences or
many.  It is no simulator: it carries out what a rule plans and keeps no record.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field

import numpy as np

from policies.contract import NEVER, NOBODY, FloatArray, Tier, lane_count, memory_slots

from .contract import FREE, PLAN_CELLS, Engine, Rule, View


@dataclass
class RandomBatch:
    """One history under a bound rule, up to ``requests`` arrivals."""

    rule: Rule
    engine: Engine
    tiers: tuple[Tier, ...]
    rng: np.random.Generator
    requests: int = 60
    now_ns: int = 0
    arrived: int = 0
    served: int = 0
    iterations: int = 0
    lanes: list[list[int]] = field(default_factory=list)
    batch: list[int] = field(default_factory=list)
    memory: FloatArray = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        rng, n, engine = self.rng, self.requests, self.engine
        self.grid_ns = int(rng.choice([1, 500_000]))
        self.crowd = float(rng.choice([0.1, 0.5]))
        self.together = bool(getattr(self.rule, "together", False))
        self.lanes = [[] for _ in range(lane_count(self.rule))]  # type: ignore[arg-type]
        self.memory = np.zeros(memory_slots(self.rule))  # type: ignore[arg-type]
        room = NEVER if engine.blocks == NEVER else engine.blocks * engine.block_tokens
        longest = min(engine.longest, room)
        # Those who have not arrived hold what a rule must not look at.
        self.arrival_ns = np.full(n, -1, dtype=np.int64)
        self.prompt = np.maximum(1, rng.integers(0, longest - 1, n) // rng.integers(1, 9, n))
        self.output = np.minimum(rng.geometric(0.05, n), longest - self.prompt)
        self.tier = rng.integers(0, len(self.tiers), n)
        self.generated, self.computed, self.held = np.zeros((3, n), dtype=np.int64)
        self.free = engine.blocks

    @property
    def waiting(self) -> int:
        """Requests that wait, in all lanes."""
        return sum(map(len, self.lanes))

    @property
    def over(self) -> bool:
        """Whether nobody waits or runs."""
        return not self.batch and not self.waiting

    def move(self, instant_ns: int) -> None:
        """Let time pass, and some requests arrive meanwhile or at that instant."""
        before_ns, self.now_ns = self.now_ns, instant_ns
        count = min(int(self.rng.geometric(self.crowd)) - 1, self.requests - self.arrived)
        offsets = self.rng.integers(before_ns + 1, instant_ns, max(0, count), endpoint=True)
        for arrival_ns in np.sort(np.where(self.rng.random(count) < 0.4, instant_ns, offsets)):
            self.arrival_ns[self.arrived] = arrival_ns
            self.lanes[self.lane_of(self.arrived)].append(self.arrived)
            self.arrived += 1

    def some_time(self) -> int:
        """An instant in the future."""
        return self.now_ns + self.grid_ns * (1 + int(self.rng.exponential(2e6)) // self.grid_ns)

    def lane_of(self, request: int) -> int:
        """Where the rule puts a request."""
        own = getattr(self.rule, "lane_of", None)
        if own is None:
            return 0
        return int(own(int(self.prompt[request]), int(self.tier[request])))

    def carry_out(self, view: View, joins: list[int]) -> None:
        """Run the iteration that was planned, from its start to its end."""
        tokens = dict(zip(self.batch, view.tokens.tolist(), strict=False))
        goes = [who for who, gone in zip(self.batch, view.leaves, strict=False) if gone]
        for who in joins:
            self.lanes[self.lane_of(who)].remove(who)
        for who in goes:
            self._release(who)
            if not self.engine.swaps:
                self.computed[who] = 0
            insort(self.lanes[self.lane_of(who)], who)
        self.batch = [who for who in self.batch if who not in goes] + joins
        tokens |= dict(zip(joins, view.join_tokens.tolist(), strict=False))
        self.iterations += 1
        done = [who for who in self.batch if tokens[who] and self._compute(who, tokens[who])]
        for who in done:
            self._release(who)
            self.computed[who] = self.prompt[who] + self.generated[who]
        leaving = [] if self.together else done
        if self.together and all(self.generated[who] == self.output[who] for who in self.batch):
            leaving = list(self.batch)
        self.served += len(leaving)
        self.batch = [who for who in self.batch if who not in leaving]

    def _compute(self, who: int, tokens: int) -> bool:
        """Whether that was the last token of a request."""
        self.computed[who] += tokens
        blocks = -(-int(self.computed[who]) // self.engine.block_tokens)
        self.free -= max(0, blocks - int(self.held[who]))
        self.held[who] = max(blocks, int(self.held[who]))
        if self.computed[who] == self.prompt[who] + self.generated[who]:
            self.generated[who] += 1
            return bool(self.generated[who] == self.output[who])
        return False

    def _release(self, who: int) -> None:
        self.free += int(self.held[who])
        self.held[who] = 0

    def view(self) -> View:
        """What the rule sees, in arrays of its own."""
        most = self.engine.sequences
        following = np.full(self.requests, NOBODY)
        for lane in self.lanes:
            following[lane[:-1]] = lane[1:]
        order = np.zeros(most, dtype=np.int64)
        order[: len(self.batch)] = self.batch
        tokens, leaves, joins, join_tokens = np.zeros((4, most), dtype=np.int64)
        plan = np.zeros(PLAN_CELLS, dtype=np.int64)
        plan[FREE] = self.free
        return View(
            now_ns=self.now_ns,
            waiting=np.array([len(lane) for lane in self.lanes], dtype=np.int64),
            front=np.array([lane[0] if lane else NOBODY for lane in self.lanes]),
            arrival_ns=self.arrival_ns.copy(),
            prompt=self.prompt.copy(),
            tier=self.tier.copy(),
            generated=self.generated.copy(),
            computed=self.computed.copy(),
            held=self.held.copy(),
            next=following,
            running=len(self.batch),
            order=order,
            most=most,
            block_tokens=self.engine.block_tokens,
            blocks=self.engine.blocks,
            iterations=self.iterations,
            arrived=self.arrived,
            tokens=tokens,
            leaves=leaves,
            joins=joins,
            join_tokens=join_tokens,
            plan=plan,
            memory=self.memory.copy(),
        )
