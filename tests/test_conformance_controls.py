"""Negative controls: small policies that each break one rule, and the sentence that says so."""

import itertools
import re
from typing import NamedTuple

import numpy as np
import pytest

from policies.contract import FIRE, NEVER, PolicyError, View, fire
from policies.testing import check_policy


class Sound(NamedTuple):
    """Greedy by one, the control of the controls: it breaks nothing."""

    step_ns: int = 1

    def decide(self, view: View) -> int:
        return fire(view, 0, 1)


class LooksAhead(NamedTuple):
    step_ns: int = 1

    def decide(self, view: View) -> int:
        if view.arrived < view.length.shape[0] and view.length[view.arrived] > 300:
            return view.now_ns + self.step_ns
        return fire(view, 0, 1)


class WritesTheView(NamedTuple):
    step_ns: int = 1

    def decide(self, view: View) -> int:
        view.length[view.head[0]] += 1
        return fire(view, 0, 1)


class WritesItself(NamedTuple):
    sizes: np.ndarray = np.array([3, 3])

    def decide(self, view: View) -> int:
        self.sizes[0] += 1
        return fire(view, 0, 1)


class AnswersWithAFloat(NamedTuple):
    wait_ns: float = 2.5

    def decide(self, view: View) -> float:
        if view.waiting[0] < 3 and view.now_ns < view.oldest_ns[0] + 1_000_000:
            return view.now_ns + self.wait_ns
        return fire(view, 0, 1)


class TakesAndWaits(NamedTuple):
    wait_ns: int = 10

    def decide(self, view: View) -> int:
        view.take[0] = 1
        return view.now_ns + self.wait_ns


class CountsItsQuestions(NamedTuple):
    every: int = 2
    memory_slots = 1

    def decide(self, view: View) -> int:
        view.memory[0] += 1
        return fire(view, 0, 1)


class ChangesItsMind(NamedTuple):
    luck: int = 7
    asked = itertools.count()

    def decide(self, view: View) -> int:
        return fire(view, 0, 1 + next(self.asked) % min(2, view.waiting[0]))


class FiresNothing(NamedTuple):
    step_ns: int = 1

    def decide(self, view: View) -> int:
        return FIRE


class TakesMoreThanWait(NamedTuple):
    size: int = 8

    def decide(self, view: View) -> int:
        return fire(view, 0, self.size)


class TakesLessThanNothing(NamedTuple):
    lane_count: int = 2

    def lanes(self) -> int:
        return self.lane_count

    def lane_of(self, length: int, tier: int) -> int:
        return 0

    def decide(self, view: View) -> int:
        view.take[0] = view.waiting[0]
        view.take[1] = -1
        return FIRE if view.waiting[0] > 1 else fire(view, 1, 0)


class TakesAll(NamedTuple):
    pace_ns: int = 20_000_000

    def decide(self, view: View) -> int:
        if view.waiting[0] < 70 and view.now_ns < view.oldest_ns[0] + self.pace_ns:
            return view.oldest_ns[0] + self.pace_ns
        return fire(view, 0, view.waiting[0])


class WaitsForThePast(NamedTuple):
    wait_ns: int = 5_000

    def decide(self, view: View) -> int:
        if view.waiting[0] < 4:
            return view.oldest_ns[0] + self.wait_ns
        return fire(view, 0, 4)


class SaysNonsense(NamedTuple):
    code: int = -7

    def decide(self, view: View) -> int:
        return self.code


class KeepsAName(NamedTuple):
    name: str = "greedy"

    def decide(self, view: View) -> int:
        return fire(view, 0, 1)


class KeepsNarrowNumbers(NamedTuple):
    sizes: np.ndarray = np.array([4], dtype=np.int32)

    def decide(self, view: View) -> int:
        return fire(view, 0, 1)


class IsNoTuple:
    def decide(self, view: View) -> int:
        return fire(view, 0, 1)


class MissesItsLanes(NamedTuple):
    width: int = 64

    def lanes(self) -> int:
        return 4

    def lane_of(self, length: int, tier: int) -> int:
        return length // self.width

    def decide(self, view: View) -> int:
        return fire(view, 0, 1)


class GrowsWhenBound(NamedTuple):
    size: int = 1

    def bind(self, service_ns, length_edges, tiers, servers):
        return self._replace(size=self.size + 1)

    def decide(self, view: View) -> int:
        return fire(view, 0, 1)


class ChangesTypeWhenBound(NamedTuple):
    size: int = 1

    def bind(self, service_ns, length_edges, tiers, servers):
        return self._replace(size=1.5)

    def decide(self, view: View) -> int:
        return fire(view, 0, 1)


class BecomesAnother(NamedTuple):
    size: int = 1

    def bind(self, service_ns, length_edges, tiers, servers):
        return Sound()

    def decide(self, view: View) -> int:
        return fire(view, 0, 1)


class ObservesTooMuch(NamedTuple):
    size: int = 1
    memory_slots = 1

    def observe(self, view: View) -> None:
        view.size[0] = 9

    def decide(self, view: View) -> int:
        return fire(view, 0, 1)


class DoesNotCompile(NamedTuple):
    size: int = 1

    def decide(self, view: View) -> int:
        return fire(view, 0, len(f"{view.now_ns:>1}"[:1]))


class DividesAsPythonDoes(NamedTuple):
    """Whole numbers of any size in Python, 64 bits compiled."""

    factor: int = 2**62

    def decide(self, view: View) -> int:
        return fire(view, 0, 1 if self.factor * int(view.waiting[0]) > 0 else view.waiting[0])


class Starves(NamedTuple):
    size: int = 3

    def decide(self, view: View) -> int:
        return fire(view, 0, self.size) if view.waiting[0] >= self.size else NEVER


CONTROLS = [
    (LooksAhead(), "rule 1: LooksAhead looked at requests that have not arrived"),
    (WritesTheView(), "rule 2: WritesTheView wrote `length` in `decide`"),
    (WritesItself(), "rule 2: WritesItself wrote `sizes` in `decide`"),
    (AnswersWithAFloat(), "which is no whole number of ns"),
    (TakesAndWaits(), "rule 3: TakesAndWaits filled `view.take` and did not fire"),
    (CountsItsQuestions(), "rule 4: CountsItsQuestions answered -1, then -1 to the same view"),
    (ChangesItsMind(), "rule 4: ChangesItsMind answered"),
    (FiresNothing(), "rule 6: FiresNothing fired a batch of nothing"),
    (TakesMoreThanWait(), "rule 6: TakesMoreThanWait took 8 from lane 0, where"),
    (TakesLessThanNothing(), "rule 6: TakesLessThanNothing took -1 from lane 1, where 0 wait"),
    (TakesAll(), "and the profile ends at 64"),
    (WaitsForThePast(), "rule 7: WaitsForThePast wants to be asked at"),
    (SaysNonsense(), "rule 7: SaysNonsense wants to be asked at -7, and now is"),
    (KeepsAName(), "rule 8: KeepsAName has a field `name` that is no number or int64 or float64"),
    (KeepsNarrowNumbers(), "rule 8: KeepsNarrowNumbers has a field `sizes` that is no number or"),
    (IsNoTuple(), "rule 8: IsNoTuple is not a NamedTuple"),
    (MissesItsLanes(), "rule 9: MissesItsLanes put length 512 of tier 0 in lane 8 of 4"),
    (GrowsWhenBound(), "rule 10: GrowsWhenBound changed when it was bound again"),
    (ChangesTypeWhenBound(), "changed the type of its field `size` in `bind`"),
    (BecomesAnother(), "rule 10: BecomesAnother changed its class in `bind`"),
    (ObservesTooMuch(), "rule 11: ObservesTooMuch wrote `size` in `observe`"),
    (Starves(), "requests waiting forever"),
]


@pytest.mark.parametrize(
    ("policy", "sentence"), CONTROLS, ids=[type(policy).__name__ for policy, _ in CONTROLS]
)
def test_a_policy_that_breaks_one_rule_is_refused_with_its_number(policy, sentence):
    with pytest.raises(PolicyError, match=re.escape(sentence)):
        check_policy(policy, views=2000, compiled=False)


def test_a_policy_that_breaks_nothing_passes():
    check_policy(Sound(), views=300)


def test_a_policy_that_does_not_compile_is_refused():
    with pytest.raises(PolicyError, match="rule 12: DoesNotCompile does not compile"):
        check_policy(DoesNotCompile(), views=100)


def test_a_policy_that_computes_otherwise_when_compiled_is_refused():
    with pytest.raises(PolicyError, match="rule 12: DividesAsPythonDoes answered -1 in Python"):
        check_policy(DividesAsPythonDoes(), views=300)


def test_the_same_seed_asks_the_same_questions():
    sentences = []
    for _ in range(2):
        with pytest.raises(PolicyError) as caught:
            check_policy(WaitsForThePast(), seed=5, compiled=False)
        sentences.append(str(caught.value))
    assert sentences[0] == sentences[1]
