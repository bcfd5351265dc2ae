"""Rules of continuous batching keep the contract, and small ones that break it are refused."""

import itertools
import re
from typing import NamedTuple

import numpy as np
import pytest

from policies.contract import FIRE, NEVER, NOBODY, PolicyError
from policies.iteration import (
    RULES,
    Continuous,
    DecodeFirst,
    PrefillFirst,
    RequestLevel,
    ShortestPromptFirst,
    SlaTiers,
    VllmLike,
)
from policies.iteration.contract import (
    FREE,
    GIVEN,
    View,
    admit,
    first_lane,
    give,
    iterate,
    preempt,
    remaining,
    wait_until,
)
from policies.iteration.moves import give_or_preempt, go_on, let_all_in
from policies.iteration.testing import ENGINE, TIERS, TIMES, check_rule

MS = 1_000_000

EXAMPLES = [
    RequestLevel(),
    RequestLevel(8, 5 * MS),
    RequestLevel(8, padded=False),
    Continuous(),
    Continuous(1),
    VllmLike(8, 64),
    VllmLike(12, 12, long_prefill_token_threshold=5, watermark=0.1),
    VllmLike(8, 170, chunked_prefill=False, by_priority=True),
    PrefillFirst(8, 160),
    PrefillFirst(8, 400, watermark=0.3),
    DecodeFirst(8, 32),
    DecodeFirst(chunk_tokens=1),
    ShortestPromptFirst(8, 64),
    ShortestPromptFirst(8, 64, 0.0, 0.2, np.array([10, 50])),
    SlaTiers(12 * MS, 8, 64),
    SlaTiers(5 * MS),
    SlaTiers(500 * MS, watermark=0.5),
]


@pytest.mark.usefixtures("shared_twins")
@pytest.mark.parametrize("place", range(len(EXAMPLES)))
def test_every_rule_keeps_the_contract(place):
    check_rule(EXAMPLES[place], seed=place)


def test_every_kind_is_among_the_examples():
    assert {type(rule) for rule in EXAMPLES} == set(RULES.values())


def test_a_bound_rule_may_be_checked_too():
    check_rule(VllmLike(8, 64).bind(TIMES, ENGINE, TIERS), questions=50, compiled=False)


class Simple(NamedTuple):
    """First come, first served, whole prompts: the control of the controls."""

    number: int = 3

    def plan(self, view: View) -> int:
        go_on(view, NEVER, NEVER, False)
        let_all_in(view, view.most, NEVER, NEVER, True, 0, False)
        return iterate()


class LooksAhead(Simple):
    def plan(self, view: View) -> int:
        if view.arrived < len(view.prompt) and view.prompt[view.arrived] > 30:
            return wait_until(view.now_ns + 1)
        return Simple.plan(self, view)


class WritesTheView(Simple):
    def plan(self, view: View) -> int:
        view.held[view.front[0]] += 1
        return Simple.plan(self, view)


class KeepsCount(NamedTuple):
    counts: np.ndarray = np.array([3, 3])

    def plan(self, view: View) -> int:
        self.counts[0] += 1
        return Simple.plan(self, view)


class AnswersWithAFloat(Simple):
    def plan(self, view: View) -> float:
        Simple.plan(self, view)
        return -1.0


class PlansAndWaits(Simple):
    def plan(self, view: View) -> int:
        Simple.plan(self, view)
        return wait_until(view.now_ns + 5)


class ChangesItsMind(Simple):
    asked = itertools.count()

    def plan(self, view: View) -> int:
        if next(self.asked) % 2 and view.running > 1:
            return wait_until(view.now_ns + 1)
        return Simple.plan(self, view)


class Remembers(Simple):
    memory_slots = 1

    def plan(self, view: View) -> int:
        view.memory[0] += 1
        if view.memory[0] % 2 == 0:
            return wait_until(view.now_ns + 1)
        return Simple.plan(self, view)


class PlansNothing(Simple):
    def plan(self, view: View) -> int:
        return FIRE


class GivesTooMuch(Simple):
    def plan(self, view: View) -> int:
        for position in range(view.running):
            give(view, position, remaining(view, view.order[position]) + 1)
        let_all_in(view, view.most, NEVER, NEVER, True, 0, False)
        return iterate()


class ForgetsMemory(Simple):
    def plan(self, view: View) -> int:
        more = 10**6 if view.blocks < NEVER else 0
        view.plan[FREE] += more
        Simple.plan(self, view)
        view.plan[FREE] -= more
        return iterate()


class TakesFromWithin(Simple):
    def plan(self, view: View) -> int:
        second = view.next[view.front[0]] if view.front[0] != NOBODY else NOBODY
        Simple.plan(self, view)
        if view.joins[0] > 0 and second != NOBODY:
            view.joins[0] = second
        return iterate()


class CountsWrongly(Simple):
    def plan(self, view: View) -> int:
        Simple.plan(self, view)
        view.plan[GIVEN] += 1
        return iterate()


class AsksForThePast(Simple):
    def plan(self, view: View) -> int:
        return wait_until(view.now_ns) if view.arrived > 9 else Simple.plan(self, view)


class KeepsAName(NamedTuple):
    name: str = "first"

    def plan(self, view: View) -> int:
        return Simple.plan(self, view)


class IsNoTuple:
    def plan(self, view: View) -> int:
        return Simple.plan(self, view)


class MissesItsLanes(Simple):
    def lanes(self) -> int:
        return 2

    def lane_of(self, prompt: int, tier: int) -> int:
        return tier


class GrowsWhenBound(Simple):
    def bind(self, times, engine, tiers):
        return self._replace(number=self.number + 1)


class ChangesTypeWhenBound(Simple):
    def bind(self, times, engine, tiers):
        return self._replace(number=1.5)


class BecomesAnother(Simple):
    def bind(self, times, engine, tiers):
        return Continuous(4)


class WaitsForever(Simple):
    def plan(self, view: View) -> int:
        if view.running == 0 and view.waiting[0] < self.number:
            return NEVER
        return Simple.plan(self, view)


class PutsBackForever(Simple):
    """Whoever has three tokens is put back before the next, as long as anybody else is there."""

    def plan(self, view: View) -> int:
        for position in range(view.running):
            request = view.order[position]
            if view.generated[request] < 3 or remaining(view, request) > 1:
                give_or_preempt(view, position, 1, False)
        if first_lane(view) != NOBODY:
            admit(view, first_lane(view), 1)
        for position in range(view.running):
            if view.tokens[position] == 0 and view.leaves[position] == 0:
                if view.plan[GIVEN] > 0:
                    preempt(view, position)
                else:
                    give_or_preempt(view, position, 1, False)
        return iterate()


CONTROLS = [
    (LooksAhead(), "rule 1: LooksAhead looked at requests that have not arrived"),
    (WritesTheView(), "rule 2: WritesTheView wrote `held`"),
    (KeepsCount(), "rule 2: KeepsCount wrote its own field `counts`"),
    (AnswersWithAFloat(), "rule 3: AnswersWithAFloat answered -1.0, which is no whole number"),
    (PlansAndWaits(), "rule 3: PlansAndWaits planned an iteration and did not answer with"),
    (ChangesItsMind(), "rule 4: ChangesItsMind answered"),
    (PlansNothing(), "rule 6: PlansNothing planned an iteration without tokens"),
    (GivesTooMuch(), "rule 6: GivesTooMuch gave request 0"),
    (ForgetsMemory(), "blocks more than are free"),
    (TakesFromWithin(), "which is not the first of a lane"),
    (CountsWrongly(), "rule 11: CountsWrongly counts"),
    (AsksForThePast(), "rule 7: AsksForThePast wants to be asked at"),
    (KeepsAName(), "rule 8: KeepsAName has a field `name` that is no number or int64 or float64"),
    (IsNoTuple(), "rule 8: IsNoTuple is not a NamedTuple"),
    (MissesItsLanes(), "of tier 2 in lane 2 of 2"),
    (GrowsWhenBound(), "rule 10: GrowsWhenBound changed when it was bound again"),
    (
        ChangesTypeWhenBound(),
        "rule 10: ChangesTypeWhenBound changed the type of its field",
    ),
    (BecomesAnother(), "rule 10: BecomesAnother changed its class in `bind`"),
    (WaitsForever(), "rule 13: WaitsForever left"),
    (PutsBackForever(), "rule 13: PutsBackForever served nobody in"),
]


@pytest.mark.parametrize(
    ("rule", "sentence"), CONTROLS, ids=[type(rule).__name__ for rule, _ in CONTROLS]
)
def test_a_rule_that_breaks_the_contract_is_refused_with_its_number(rule, sentence):
    with pytest.raises(PolicyError, match=re.escape(sentence)):
        check_rule(rule, questions=3000, compiled=False)


def test_a_rule_that_breaks_nothing_passes():
    check_rule(Simple(), questions=300, compiled=False)
    check_rule(Remembers(), questions=3000, compiled=False)


def test_a_rule_that_keeps_a_tail_may_say_so():
    check_rule(WaitsForever(), questions=1000, may_leave_tail=True, compiled=False)


class DoesNotCompile(NamedTuple):
    number: int = 1

    def plan(self, view: View) -> int:
        go_on(view, NEVER, NEVER, False)
        let_all_in(view, len(f"{view.most:>12}"), NEVER, NEVER, True, 0, False)
        return iterate()


class GrowsBeyondInt64(NamedTuple):
    factor: int = 2**62

    def plan(self, view: View) -> int:
        most = view.most if self.factor * (int(view.waiting[0]) + 2) > 0 else 1
        go_on(view, NEVER, NEVER, False)
        let_all_in(view, most, NEVER, NEVER, True, 0, False)
        return iterate()


def test_a_rule_that_does_not_compile_is_refused():
    with pytest.raises(PolicyError, match="rule 12: DoesNotCompile does not compile"):
        check_rule(DoesNotCompile(), questions=50)


def test_a_rule_that_plans_otherwise_when_compiled_is_refused():
    with pytest.raises(PolicyError, match="rule 12: GrowsBeyondInt64 answered -1 in Python"):
        check_rule(GrowsBeyondInt64(), questions=600)


def test_the_same_seed_asks_the_same_questions():
    told = []
    for _ in range(2):
        with pytest.raises(PolicyError) as caught:
            check_rule(GivesTooMuch(), seed=5, compiled=False)
        told.append(str(caught.value))
    assert told[0] == told[1]
