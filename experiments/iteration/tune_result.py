"""What the tuning of rules of continuous batching found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from experiments.plain import dumps, plain
from experiments.tune.importance import Importance
from experiments.tune.search import Tried

from .outcome import TokenOutcome
from .tune_judging import TokenJudged
from .tune_scores import TokenGoal

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True, repr=False)
class TokenTuning:
    """The result of :func:`experiments.iteration.tune.tune`."""

    scenario: Mapping[str, Any]
    """Name, hash, offered rate, requests of a trial, fresh runs, seeds, service and targets."""
    goal: TokenGoal
    tried: tuple[Tried, ...]
    judged: tuple[TokenJudged, ...]
    """Finalists in their order, then present settings and vLLM's default."""
    winner: TokenJudged | None
    """The setting to use; None where none keeps the constraints."""
    importances: tuple[Importance, ...] = ()
    """Of contestants of which enough settings were tried."""
    verdict: str = ""
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    interrupted: bool = False
    engine: str = "kernel"

    @property
    def outcomes(self) -> tuple[TokenOutcome, ...]:
        """What each judged setting did."""
        return tuple(one.outcome for one in self.judged)

    @property
    def default(self) -> TokenJudged | None:
        """What vLLM does by default, or the present setting that is the same."""
        for one in self.judged:
            if one.role == "default":
                return one
        return next((one for one in self.judged if _is_default(one)), None)

    @property
    def present(self) -> TokenJudged | None:
        """The best of the scenario's own settings: feasible ones first, then by the objective."""
        own = [one for one in self.judged if one.role == "present" and one.stable]
        sign = self.goal.objectives[0].sign
        known = [
            (not one.feasible, sign * value, place, one)
            for place, one in enumerate(own)
            if (value := one.worth[0].value) is not None
        ]
        return min(known, key=lambda each: each[:3])[3] if known else None

    def of(self, name: str) -> TokenJudged:
        """A judged setting by its name."""
        for one in self.judged:
            if one.name == name:
                return one
        raise KeyError(f"no setting {name!r}: there are {', '.join(o.name for o in self.judged)}")

    def to_json(self) -> str:
        """One JSON object; NaN never appears."""
        return dumps(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as written to ``result.json``."""
        return {
            "kind": "iterations-tuning",
            "scenario": plain(self.scenario),
            "engine": self.engine,
            "seconds": round(self.seconds, 3),
            "verdict": self.verdict,
            "goal": self.goal.title,
            "objective": self.goal.name,
            "winner": None if self.winner is None else self.winner.name,
            "judged": [plain(one.to_dict()) for one in self.judged],
            "differences": self._differences(),
            "policies": {one.name: plain(one.outcome.to_dict()) for one in self.judged},
            "importances": [
                {"policy": one.policy, "shares": plain(one.shares), "chance": plain(one.chance)}
                for one in self.importances
            ],
            "tried": [_trial(one) for one in self.tried],
            "notes": list(self.notes),
            "interrupted": self.interrupted,
        }

    def _differences(self) -> list[dict[str, Any]]:
        """The winner against every other setting, paired."""
        if self.winner is None:
            return []
        rows = []
        for other in self.judged:
            if other is self.winner:
                continue
            gap = self.winner.against(other)
            ends = {"value": gap.value, "low": gap.low, "high": gap.high, "verdict": gap.verdict}
            rows.append(
                {"policy": self.winner.name, "against": other.name, "measure": self.goal.name}
                | plain(ends)
            )
        return rows

    def to_frame(self) -> pd.DataFrame:
        """One row a trial of the search: rule, numbers, objective, feasible.

        Its figures are those of the search, on one run: for looking at, not for quoting.
        """
        import pandas as pd

        rows = []
        for one in self.tried:
            numbers = {key: value for key, value in one.setting.table.items() if key != "kind"}
            value = None if one.score.values is None else one.score.values[0]
            about = {"policy": one.setting.name, "kind": one.setting.table["kind"]}
            rows.append(
                {**about, "place": one.place, **numbers, self.goal.name: value}
                | {"feasible": one.score.feasible}
            )
        return pd.DataFrame(rows)

    @property
    def plot(self) -> dict[str, Axes]:
        """Figures by name: ``history`` and ``parameter``."""
        from .tune_plots import axes_of

        return axes_of(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.scenario['name']}: {self.verdict}>"

    def _repr_html_(self) -> str:
        from experiments.views import table

        from .tune_words import HEAD, cells

        return table(HEAD, [cells(one) for one in self.judged], self.verdict)


def _is_default(one: TokenJudged) -> bool:
    """Whether a present setting is what vLLM does by default."""
    return dict(one.setting.table) == {"kind": "vllm_like", "max_num_batched_tokens": 2048}


def _trial(one: Tried) -> dict[str, Any]:
    score = one.score
    found: dict[str, Any] = plain(
        {
            "policy": one.setting.name,
            "place": one.place,
            "table": one.setting.table,
            "value": None if score.values is None else score.values[0],
            "feasible": score.feasible,
            "violations": score.violations,
            "reason": score.reason,
        }
    )
    return found
