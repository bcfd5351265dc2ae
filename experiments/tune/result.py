"""What tuning found: the winner with its judged figures, and everything that was tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from experiments.outcome import Outcome
from experiments.plain import dumps, plain
from experiments.results import Sweep

from .contestants import Setting
from .goal import Goal
from .judging import Judged
from .search import Tried

if TYPE_CHECKING:
    import pandas as pd

    from experiments.optimum import Floor

    from .views import TuningPlots


def _floor(found: Floor) -> dict[str, Any]:
    """The least possible as plain data, without the table that has it."""
    return {"value_ms": found.value_ms, "exact": found.exact, "name": found.name, "why": found.why}


@dataclass(frozen=True, repr=False)
class Tuning:
    """The result of :func:`experiments.tune.tune`."""

    scenario: Mapping[str, Any]
    """Name, hash, load, offered rate, requests, replications, seeds and profile."""
    goal: Goal
    tried: tuple[Tried, ...]
    judged: tuple[Judged, ...]
    """Finalists in their order, then baselines, present settings and the optimum."""
    winner: Judged | None
    """The setting to use; None where none keeps the constraints."""
    regret: Mapping[str, list[float]]
    """By name and load: how much worse than the best at that load, as a share."""
    floors: tuple[Floor | None, ...]
    """The least that any rule can reach, one a load."""
    verdict: str
    seconds: float
    load_curve: Sweep | None = None
    notes: tuple[str, ...] = ()
    interrupted: bool = False
    engine: str = "kernel"

    @property
    def front(self) -> tuple[Judged, ...]:
        """With several objectives: feasible settings that no other one beats, best first in one."""
        import numpy as np

        from .finals import is_dominated

        steady = [one for one in self.judged if one.feasible and one.role != "optimal"]
        signs = [one.sign for one in self.goal.objectives]
        known = [
            (
                one,
                [
                    s * v
                    for s, e in zip(signs, one.worth, strict=True)
                    if (v := e.value) is not None
                ],
            )
            for one in steady
        ]
        rows = [(one, row) for one, row in known if len(row) == len(signs)]
        worth = np.array([row for _, row in rows]).reshape(len(rows), len(signs))
        kept = [k for k in range(len(rows)) if not is_dominated(worth, k)]
        return tuple(rows[k][0] for k in sorted(kept, key=lambda k: float(worth[k, 0])))

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """What each judged setting did at the first load, by name."""
        return tuple(replace(one.outcomes[0], policy=one.name) for one in self.judged)

    def of(self, name: str) -> Judged:
        """A judged setting by its name."""
        for one in self.judged:
            if one.name == name:
                return one
        raise KeyError(f"no setting {name!r}: there are {', '.join(o.name for o in self.judged)}")

    @property
    def setting(self) -> Setting | None:
        """The winner's policy and servers."""
        return None if self.winner is None else self.winner.setting

    def to_json(self) -> str:
        """One JSON object; NaN never appears."""
        return dumps(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as written to ``result.json``."""
        return {
            "scenario": plain(self.scenario),
            "engine": self.engine,
            "seconds": round(self.seconds, 3),
            "verdict": self.verdict,
            "goal": self.goal.title,
            "objectives": [one.title for one in self.goal.objectives],
            "winner": None if self.winner is None else self.winner.name,
            "winner_servers": None if self.winner is None else self.winner.setting.servers,
            "judged": [plain(one.to_dict()) for one in self.judged],
            "front": [one.name for one in self.front] if len(self.goal.objectives) > 1 else [],
            "policies": {o.policy: plain(o.to_dict()) for o in self.outcomes},
            "loads": [self._at(place) for place in range(len(self._loads))],
            "tried": [self._trial(one) for one in self.tried],
            "load_curve": None if self.load_curve is None else self.load_curve.to_dict(),
            "notes": list(self.notes),
            "interrupted": self.interrupted,
        }

    @property
    def _loads(self) -> tuple[float | None, ...]:
        return self.judged[0].loads if self.judged else ()

    def _at(self, place: int) -> dict[str, Any]:
        """One load: who did what there, the least possible, and regrets."""
        floor = self.floors[place] if place < len(self.floors) else None
        return {
            "load": self._loads[place],
            "floor": None if floor is None else plain(_floor(floor)),
            "regret": {name: plain(found[place]) for name, found in self.regret.items()},
            "policies": {one.name: plain(one.outcomes[place].to_dict()) for one in self.judged},
        }

    @staticmethod
    def _trial(one: Tried) -> dict[str, Any]:
        score = one.score
        found: dict[str, Any] = plain(
            {
                "policy": one.setting.name,
                "place": one.place,
                "table": one.setting.table,
                "servers": one.setting.servers,
                "values": score.values,
                "feasible": score.feasible,
                "violations": score.violations,
                "reason": score.reason,
            }
        )
        return found

    def to_frame(self) -> pd.DataFrame:
        """One row a trial of the search: policy, numbers, objectives, feasible.

        Its figures are those of the search, on one run: for looking at, not for quoting.
        """
        import pandas as pd

        rows = []
        for one in self.tried:
            values = one.score.values or (None,) * len(self.goal.objectives)
            found = dict(zip((o.name for o in self.goal.objectives), values, strict=True))
            numbers = {key: value for key, value in one.setting.table.items() if key != "kind"}
            rows.append(
                {"policy": one.setting.name, "place": one.place, **numbers, **found,
                 "servers": one.setting.servers, "feasible": one.score.feasible}
            )  # fmt: skip
        return pd.DataFrame(rows)

    @property
    def plot(self) -> TuningPlots:
        """Figures: ``history``, ``importance``, ``front``, ``surface``, ``load``, ``tiers``, ..."""
        from .views import TuningPlots

        return TuningPlots(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.scenario['name']}: {self.verdict}>"

    def _repr_html_(self) -> str:
        from .views import html_of

        return html_of(self)
