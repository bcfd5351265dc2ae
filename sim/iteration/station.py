"""The batch of sequences, its queue and its memory, in plain Python: for every clock.

The SimPy model and the live loop differ in what an iteration takes; who waits, who runs and who
holds what is kept here.  The rules of an instant: an iteration completes first, then requests
arrive in order, then the rule is asked.
"""

from __future__ import annotations

from bisect import insort

import numpy as np

from policies.contract import FIRE, NEVER, NOBODY, PolicyError, lane_count, memory_slots
from policies.iteration.contract import (
    FREE,
    JOINED,
    LEFT,
    PLAN_CELLS,
    Rule,
    View,
)
from sim.trace import REJECTED, SERVED, UNFINISHED

from .serving import Serving
from .share import Iteration, Share, iteration_of
from .trace import STEP, TokenTrace
from .workload import TokenWorkload


class IterationStation:
    """Sequences under one rule."""

    def __init__(self, rule: Rule, workload: TokenWorkload, serving: Serving) -> None:
        self.rule = serving.bound(rule, workload.tiers)
        self.workload, self.engine = workload, serving.engine
        self.together = bool(getattr(self.rule, "together", False))
        n, engine, lanes = len(workload), serving.engine, lane_count(self.rule)  # type: ignore[arg-type]
        self.refused = serving.too_long(workload)
        self.lanes: list[list[int]] = [[] for _ in range(lanes)]
        self.batch: list[int] = []
        self.generated, self.computed, self.held, self.next = np.zeros((4, n), dtype=np.int64)
        self.free = engine.blocks
        self.arrived = 0
        self.iteration: Iteration | None = None
        self.rows: list[tuple[int, ...]] = []
        self.swapped_out: set[int] = set()
        self._scratch(lanes, engine.sequences)
        self._columns(n)

    def _scratch(self, lanes: int, most: int) -> None:
        self.waiting, self.front = np.zeros((2, lanes), dtype=np.int64)
        self.order, self.tokens, self.leaves, self.joins, self.join_tokens = np.zeros(
            (5, most), dtype=np.int64
        )
        self.plan_cells = np.zeros(PLAN_CELLS, dtype=np.int64)
        self.memory = np.zeros(memory_slots(self.rule))  # type: ignore[arg-type]

    def _columns(self, n: int) -> None:
        self.lane = np.full(n, -1, dtype=np.int16)
        self.status = np.full(n, UNFINISHED, dtype=np.int8)
        self.admitted, self.finished = np.full((2, n), -1, dtype=np.int32)
        self.preempted = np.zeros(n, dtype=np.int32)
        self.recomputed = np.zeros(n, dtype=np.int64)
        self.offset = np.zeros(n + 1, dtype=np.int64)
        np.cumsum(self.workload.output, out=self.offset[1:])
        self.token_step = np.full(int(self.offset[-1]), -1, dtype=np.int32)

    # requests come

    def arrive(self, request: int) -> None:
        """Take a request into its lane, or refuse it."""
        self.arrived = request + 1
        if self.refused[request]:
            self.status[request] = REJECTED
            return
        lane, own = 0, getattr(self.rule, "lane_of", None)
        if own is not None:
            lane = int(own(int(self.workload.prompt[request]), int(self.workload.tier[request])))
            if not 0 <= lane < len(self.lanes):
                raise self.broken(f"has no lane {lane}: it has {len(self.lanes)}, from 0")
        self.lane[request] = lane
        self.lanes[lane].append(request)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to ask about."""
        return not self.batch and not any(self.lanes)

    # the rule is asked

    def ask(self, now_ns: int) -> int:
        """Show the rule the view of an instant; its answer, with the plan in the scratch arrays."""
        for lane, line in enumerate(self.lanes):
            self.waiting[lane] = len(line)
            self.front[lane] = line[0] if line else NOBODY
            for request, following in zip(line, [*line[1:], NOBODY], strict=False):
                self.next[request] = following
        self.order[: len(self.batch)] = self.batch
        self.tokens[:], self.leaves[:], self.plan_cells[:] = 0, 0, 0
        self.plan_cells[FREE] = self.free
        return int(self.rule.plan(self._view(now_ns)))

    def _view(self, now_ns: int) -> View:
        work = self.workload
        return View(
            now_ns=now_ns,
            waiting=self.waiting,
            front=self.front,
            arrival_ns=work.arrival_ns,
            prompt=work.prompt,
            tier=work.tier,
            generated=self.generated,
            computed=self.computed,
            held=self.held,
            next=self.next,
            running=len(self.batch),
            order=self.order,
            most=self.engine.sequences,
            block_tokens=self.engine.block_tokens,
            blocks=self.engine.blocks,
            iterations=len(self.rows),
            arrived=self.arrived,
            tokens=self.tokens,
            leaves=self.leaves,
            joins=self.joins,
            join_tokens=self.join_tokens,
            plan=self.plan_cells,
            memory=self.memory,
        )

    def next_question_ns(self, answer: int, now_ns: int) -> int:
        """When the rule wants to be asked again.

        Raises:
            PolicyError: not in the future (rule 7).
        """
        if answer <= now_ns:
            raise self.broken(f"wants to be asked at {answer} ns, at {now_ns} ns (rule 7)")
        return answer

    def broken(self, what: str) -> PolicyError:
        """The rule's own fault."""
        return PolicyError(f"policy {type(self.rule).__name__} {what}")

    # an iteration starts

    def start(self, now_ns: int) -> Iteration:
        """Carry out the plan: who leaves, who joins, who has what computed.

        Raises:
            PolicyError: the plan is none (rule 6).
        """
        plan = [int(cell) for cell in self.plan_cells]
        given = self.tokens[: len(self.batch)].tolist()
        goes = [bool(flag) for flag in self.leaves[: len(self.batch)]]
        leaving = [who for who, flag in zip(self.batch, goes, strict=True) if flag]
        staying = [
            (who, tokens)
            for who, tokens, flag in zip(self.batch, given, goes, strict=True)
            if not flag
        ]
        count = plan[JOINED]
        if not 0 <= count <= self.engine.sequences:
            raise self.broken("planned more sequences than the engine holds (rule 6)")
        joining = list(
            zip(self.joins[:count].tolist(), self.join_tokens[:count].tolist(), strict=True)
        )
        swapped = sum(self._let_in(who) for who, _ in joining)
        swapped += sum(self._put_back(who) for who in leaving)
        self.batch = [who for who, _ in staying + joining]
        if len(self.batch) > self.engine.sequences or len(leaving) != plan[LEFT]:
            raise self.broken("planned more sequences than the engine holds (rule 6)")
        shares = tuple(self._share(who, tokens) for who, tokens in staying + joining if tokens)
        iteration = iteration_of(len(self.rows), shares, plan, swapped)
        if not shares:
            raise self.broken("planned an iteration without tokens (rule 6)")
        waiting = sum(map(len, self.lanes))
        used = self.engine.blocks - self.free
        self.rows.append(
            (
                *(now_ns, -1, iteration.context, used, iteration.prefill, iteration.sequences),
                *(len(self.batch), waiting, len(joining), len(leaving)),
            )
        )
        self.iteration = iteration
        return iteration

    def _put_back(self, request: int) -> int:
        """Free the memory of a sequence; blocks that are copied to the host."""
        blocks = int(self.held[request])
        self.free += blocks
        self.held[request] = 0
        self.preempted[request] += 1
        insort(self.lanes[self.lane[request]], request)
        if self.engine.swaps:
            self.swapped_out.add(request)
            return blocks
        self.recomputed[request] += self.computed[request]
        self.computed[request] = 0
        return 0

    def _let_in(self, request: int) -> int:
        """Take the first of a lane out of it; blocks that are copied from the host."""
        line = self.lanes[self.lane[request]] if 0 <= request < self.arrived else []
        if not line or line[0] != request:
            raise self.broken(
                f"admitted request {request}, which is not the first of a lane (rule 6)"
            )
        line.pop(0)
        if self.admitted[request] < 0:
            self.admitted[request] = len(self.rows)
        if request not in self.swapped_out:
            return 0
        self.swapped_out.remove(request)
        return -(-int(self.computed[request]) // self.engine.block_tokens)

    def _share(self, request: int, tokens: int) -> Share:
        """What a sequence has computed, and the memory for it."""
        before, known = int(self.computed[request]), int(self.workload.prompt[request])
        generated = int(self.generated[request])
        if not 0 <= tokens <= known + generated - before:
            raise self.broken(
                f"gave request {request} fewer tokens than 0 or more than remain (rule 6)"
            )
        blocks = max(0, -(-(before + tokens) // self.engine.block_tokens) - int(self.held[request]))
        self.held[request] += blocks
        self.free -= blocks
        if self.free < 0:
            raise self.broken("gave tokens that memory has no room for (rule 6)")
        decodes = generated > 0 and known + generated - before <= 1
        return Share(request, tokens, before, decodes)

    # an iteration ends

    def complete(self, now_ns: int) -> None:
        """Count what was computed; whoever is done leaves, or waits for those it started with."""
        assert self.iteration is not None
        index = self.iteration.number
        row = self.rows[index]
        self.rows[index] = (row[0], now_ns, *row[2:])
        done = [share.request for share in self.iteration.shares if self._advance(share, index)]
        self.iteration = None
        if not self.together:
            self._answer(done, index)
            return
        for request in done:
            self.computed[request] = self.workload.prompt[request] + self.generated[request]
            self.free += int(self.held[request])
            self.held[request] = 0
        ends = self.workload.prompt + self.workload.output
        if all(self.computed[request] == ends[request] for request in self.batch):
            self._answer(list(self.batch), index)

    def _advance(self, share: Share, index: int) -> bool:
        """Whether that was the last token of a sequence."""
        request = share.request
        self.computed[request] = share.before + share.tokens
        known = self.workload.prompt[request] + self.generated[request]
        if self.computed[request] < known:
            return False
        self.token_step[self.offset[request] + self.generated[request]] = index
        self.generated[request] += 1
        return bool(self.generated[request] == self.workload.output[request])

    def _answer(self, requests: list[int], index: int) -> None:
        for request in requests:
            self.status[request] = SERVED
            self.finished[request] = index
            self.free += int(self.held[request])
            self.held[request] = 0
        gone = set(requests)
        self.batch = [request for request in self.batch if request not in gone]

    def trace(self) -> TokenTrace:
        """What happened, once no event remains."""
        work = self.workload
        return TokenTrace(
            arrival_ns=work.arrival_ns,
            prompt=work.prompt,
            output=work.output,
            tier=work.tier,
            lane=self.lane,
            status=self.status,
            admitted=self.admitted,
            finished=self.finished,
            preempted=self.preempted,
            recomputed=self.recomputed,
            offset=self.offset,
            token_step=self.token_step,
            steps=np.array(self.rows, dtype=STEP),
            blocks=self.engine.blocks,
            tiers=work.tiers,
        )


__all__ = ["FIRE", "NEVER", "Iteration", "IterationStation", "Share"]
