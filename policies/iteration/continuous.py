"""Join at every iteration: continuous batching in its simplest form."""

from __future__ import annotations

from typing import NamedTuple

from policies.contract import NEVER
from policies.parameters import within

from .contract import Engine, Tier, View, iterate
from .moves import go_on, let_all_in
from .space import Sequences, TokenSpace
from .times import StepTimes


class Continuous(NamedTuple):
    """Admit whoever waits at every iteration, prompts in one piece, until the batch is full.

    Iteration-level scheduling (Yu et al. 2022, "Orca", OSDI) in order of arrival.  There is no
    budget of tokens: many long prompts at once make a long iteration for all.
    """

    max_num_seqs: int = 0
    """0 stands for the engine's largest batch."""

    def bind(self, times: StepTimes, engine: Engine, tiers: tuple[Tier, ...]) -> Continuous:
        """Check the parameters against the engine."""
        most = within("max_num_seqs", self.max_num_seqs, 0, engine.sequences)
        return self._replace(max_num_seqs=most or engine.sequences)

    @staticmethod
    def space() -> TokenSpace:
        """What may be tuned."""
        return (Sequences(),)

    def plan(self, view: View) -> int:
        """All go on, and all who fit come in."""
        go_on(view, NEVER, NEVER, False)
        let_all_in(view, self.max_num_seqs, NEVER, NEVER, True, 0, False)
        return iterate()
