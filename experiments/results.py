"""What a run found: one simulation, a comparison of policies, or a sweep over keys.

Each result has ``.to_frame()`` (pandas), ``.plot`` (figures), ``.to_json()`` and a Jupyter view.
Every number is a :class:`sim.intervals.Estimate`: a value with its interval, or a refusal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from .outcome import Gap, Outcome, best_of, columns, judged_by
from .plain import dumps, plain
from .wording import half_width

if TYPE_CHECKING:
    import pandas as pd

    from .views import ComparisonPlots, SweepPlots


@dataclass(frozen=True, repr=False)
class Result:
    """What every result has."""

    scenario: Mapping[str, Any]
    """Name, hash, load, offered rate, requests, replications, seeds and profile."""
    engine: str
    outcomes: tuple[Outcome, ...]
    verdict: str
    seconds: float

    def outcome(self, policy: str) -> Outcome:
        """The outcome of a policy by name."""
        for outcome in self.outcomes:
            if outcome.policy == policy:
                return outcome
        raise KeyError(
            f"no policy {policy!r}: there are {', '.join(o.policy for o in self.outcomes)}"
        )

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
            "policies": {o.policy: plain(o.to_dict()) for o in self.outcomes},
        }

    def to_frame(self, *, by_tier: bool = False) -> pd.DataFrame:
        """One row a policy; intervals are columns that end in ``_low`` and ``_high``.

        Args:
            by_tier: one row a policy and tier instead.
        """
        import pandas as pd

        if by_tier:
            apart = [
                {"policy": o.policy, "tier": tier.name, **columns(o, tier)}
                for o in self.outcomes
                for tier in o.measures.tiers
            ]
            return pd.DataFrame(apart).set_index(["policy", "tier"])
        rows = [{"policy": o.policy, **columns(o)} for o in self.outcomes]
        return pd.DataFrame(rows).set_index("policy")

    @property
    def plot(self) -> ComparisonPlots:
        """Figures: ``latency_ecdf``, ``batch_sizes``, ``padding``, ``queue_depth``, ...

        ``help(found.plot)`` lists them.
        """
        from .views import ComparisonPlots

        return ComparisonPlots(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.scenario['name']}: {self.verdict}>"

    def _repr_html_(self) -> str:
        from .views import html_of

        return html_of(self)


@dataclass(frozen=True, repr=False)
class Simulation(Result):
    """One policy on one scenario."""


@dataclass(frozen=True, repr=False)
class Comparison(Result):
    """Several policies on the same arrivals, lengths and noise."""

    differences: tuple[Gap, ...] = ()
    """Against the policy with the lowest p99 and against the baselines."""
    load_curve: Sweep | None = None
    interrupted: bool = False

    @property
    def best(self) -> str | None:
        """The stable policy with the lowest p99 (the lowest mean where no p99 can be given)."""
        return best_of(self.outcomes)

    @property
    def tied(self) -> tuple[str, ...]:
        """Policies that cannot be told from the best by their p99, the best included."""
        best = self.best
        if best is None:
            return ()
        measure = judged_by(self.outcomes)
        ties = [
            d.policy
            for d in self.differences
            if d.against == best and d.measure == measure and d.tie
        ]
        return (best, *ties)

    def difference(self, policy: str, against: str, measure: str = "p99") -> Gap | None:
        """One paired difference, or None where it was not computed."""
        for found in self.differences:
            if (found.policy, found.against, found.measure) == (policy, against, measure):
                return found
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as written to ``result.json``."""
        return {
            **super().to_dict(),
            "best": self.best,
            "tied_with_best": list(self.tied),
            "differences": [
                {
                    "policy": d.policy,
                    "against": d.against,
                    "measure": f"latency_ms.{d.measure}",
                    "value": d.ms.value,
                    "low": d.ms.low,
                    "high": d.ms.high,
                    "verdict": d.ms.verdict,
                }
                for d in self.differences
            ],
            "load_curve": None if self.load_curve is None else self.load_curve.to_dict(),
            "interrupted": self.interrupted,
        }


class Point(NamedTuple):
    """One point of a line: a swept value and the estimate there."""

    x: float
    value: float | None
    half_width: float | None
    stable: bool = True


@dataclass(frozen=True)
class Step:
    """One combination of a sweep's values."""

    settings: Mapping[str, Any]
    outcomes: tuple[Outcome, ...]
    load: float | None = None


@dataclass(frozen=True, repr=False)
class Sweep:
    """The same comparison over values of one or more keys of the scenario."""

    scenario: Mapping[str, Any]
    keys: tuple[str, ...]
    steps: tuple[Step, ...]
    engine: str = "kernel"
    verdict: str = ""
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def policies(self) -> tuple[str, ...]:
        """Names, in the order of the scenario."""
        return tuple(dict.fromkeys(o.policy for step in self.steps for o in step.outcomes))

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Every outcome of every step."""
        return tuple(o for step in self.steps for o in step.outcomes)

    def key_called(self, name: str | None) -> str:
        """A swept key by its whole name or its last part; the first where None.

        Raises:
            KeyError: no swept key has that name.
        """
        if name is None:
            return self.keys[0]
        for key in self.keys:
            if name in (key, key.rpartition(".")[2]):
                return key
        raise KeyError(f"{name!r} was not swept: there is {', '.join(self.keys)}")

    def is_numeric(self, key: str) -> bool:
        """Whether a key's values are numbers, which have an order; names have none."""
        return all(isinstance(step.settings[key], int | float) for step in self.steps)

    def line(
        self, key: str, policy: str, measure: str = "p99", at: Mapping[str, Any] | None = None
    ) -> list[Point]:
        """The points of one policy along one key; the other keys stand at ``at``, or their first.

        A point where the policy is unstable has no value.
        """
        fixed = {k: self.steps[0].settings[k] for k in self.keys if k != key} | dict(at or {})
        points = []
        for step in self.steps:
            if any(step.settings[k] != wanted for k, wanted in fixed.items()):
                continue
            for outcome in step.outcomes:
                if outcome.policy == policy:
                    found = outcome.estimate(f"latency_ms.{measure}")
                    x = step.settings[key]
                    points.append(Point(x, found.value, half_width(found), outcome.stable))
        return points

    def to_json(self) -> str:
        """One JSON object; NaN never appears."""
        return dumps(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as written to ``result.json``."""
        steps = [
            {
                "settings": plain(step.settings),
                "load": step.load,
                "policies": {o.policy: plain(o.to_dict()) for o in step.outcomes},
            }
            for step in self.steps
        ]
        return {
            "scenario": plain(self.scenario),
            "engine": self.engine,
            "seconds": round(self.seconds, 3),
            "verdict": self.verdict,
            "keys": list(self.keys),
            "steps": steps,
            "interrupted": self.interrupted,
        }

    def to_frame(self) -> pd.DataFrame:
        """One row a combination and policy."""
        import pandas as pd

        rows = [
            {**step.settings, "policy": o.policy, **columns(o)}
            for step in self.steps
            for o in step.outcomes
        ]
        return pd.DataFrame(rows)

    @property
    def plot(self) -> SweepPlots:
        """Figures: ``latency_against``."""
        from .views import SweepPlots

        return SweepPlots(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.scenario['name']}: {self.verdict}>"

    def _repr_html_(self) -> str:
        from .views import html_of_sweep

        return html_of_sweep(self)
