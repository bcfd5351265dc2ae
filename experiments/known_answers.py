"""Ten scenarios whose best setting is known: what the tuner is held against.

1. A scenario is a shipped one with changes, a goal and a space: everything that ``--set`` takes.
2. The space is a finite grid, and its best setting was found by going through all of it
   (:mod:`experiments.truth`), not by the tuner.
3. Requests and trials are the effort that the tuner may spend; the answer does not depend on them.
4. Four of them have a limit that binds: without it, another setting would be the best.  The tuner
   recommends what keeps a limit with 95 % confidence, so it stays a little below.
"""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

from profiles.store import fingerprint as profile_fingerprint

from .config import load_scenario
from .plain import plain
from .scenario import Scenario
from .tables import content
from .tune.contestants import Contestant, contestants_of
from .tune.goal import goal_of

SEEDS = ("arrivals", "lengths", "service", "timeouts", "tuner")


class KnownAnswer(NamedTuple):
    """A scenario with a finite space."""

    name: str
    about: str
    base: str
    """The shipped scenario that it is made of."""
    settings: tuple[str, ...]
    """As ``--set`` takes them."""
    requests: int = 125_000
    """Of each run of the tuner: as many as a p99 needs, and a few more."""
    trials: int = 500
    """As many as ``tune`` makes by default."""

    def scenario(self, seed: int | None = None, requests: int | None = None) -> Scenario:
        """The scenario as the tuner gets it.

        Args:
            seed: changes every seed: 0, 1, 2, ... are as many fresh ones; None keeps the
                scenario's own.
            requests: by default as many as the tuner may use.
        """
        more = [
            f'name="{self.name}"',
            f"workload.requests={requests or self.requests}",
            f"tune.trials={self.trials}",
        ]
        if seed is not None:
            more += [f"seeds.{name}={1000 * (k + 1) + seed}" for k, name in enumerate(SEEDS)]
        return load_scenario(self.base, [*self.settings, *more])

    @property
    def limited(self) -> bool:
        """Whether the goal has a constraint."""
        return bool(goal_of(self.scenario()).constraints)

    def fingerprint(self) -> str:
        """SHA-256 of everything that the answer depends on: load, service, goal and space."""
        scenario = self.scenario()
        workload = content(scenario.spec.workload)
        workload.pop("requests")
        identity = scenario.profile and profile_fingerprint(scenario.profile)
        about = {
            "workload": workload,
            "service": content(scenario.spec.service),
            "profile": identity,
            "goal": goal_of(scenario).title,
            "power": content(scenario.spec.tune.power),
            "contestants": [_identity(one) for one in contestants_of(scenario)],
        }
        return hashlib.sha256(json.dumps(plain(about), default=str).encode()).hexdigest()


def _identity(one: Contestant) -> list[object]:
    return [one.name, one.kind, [list(axis) for axis in one.axes], dict(one.fixed), one.servers]


def _slo(ms: float, percentile: int = 99) -> str:
    return f'workload.tiers=[{{ name = "all", slo = {{ percentile = {percentile}, ms = {ms} }} }}]'


def _tune(objective: str, *policies: str) -> tuple[str, str]:
    return f"tune.objective={objective}", f"tune.policies={list(policies)}".replace("'", '"')


KNOWN_ANSWERS: tuple[KnownAnswer, ...] = (
    KnownAnswer(
        "pow2_mean",
        "sizes padded to powers of two, load 0.7",
        "staircase_pow2",
        ("workload.arrivals.load=0.7", *_tune("mean", "size_or_timeout", "snap")),
    ),
    KnownAnswer(
        "pow2_p99",
        "sizes padded to powers of two, load 0.5",
        "staircase_pow2",
        (
            "workload.arrivals.load=0.5",
            *_tune("p99", "size_or_timeout", "queue_depth_wait", "snap"),
        ),
    ),
    KnownAnswer(
        "tile8_p99",
        "tiles of 8, load 0.7",
        "staircase_tile8",
        (
            "workload.arrivals.load=0.7",
            *_tune("p99", "size_or_timeout", "queue_depth_wait", "snap"),
        ),
    ),
    KnownAnswer(
        "tile8_busy",
        "tiles of 8, load 0.3",
        "staircase_tile8",
        (
            "workload.arrivals.load=0.3",
            _slo(14.0),
            *_tune("busy", "size_or_timeout", "queue_depth_wait"),
        ),
    ),
    KnownAnswer(
        "two_servers",
        "two servers on one queue, load 0.5",
        "four_servers",
        (
            "service.servers=2",
            "workload.arrivals.load=0.5",
            _slo(8.3),
            *_tune("mean", "size_or_timeout", "balanced_cap"),
        ),
        requests=400_000,  # the mean rises steeply where the p99 falls: its interval costs the most
    ),
    KnownAnswer(
        "four_servers",
        "four servers on one queue, load 0.7",
        "four_servers",
        ("workload.arrivals.load=0.7", *_tune("p99", "size_or_timeout", "balanced_cap")),
    ),
    KnownAnswer(
        "padding_text",
        "film reviews on BERT, load 0.6",
        "bert",
        (
            "workload.arrivals.load=0.6",
            "tune.slo=false",
            *_tune("p99", "length_bucketed", "nearest_lengths"),
            "tune.space.length_bucketed.max_wait_ms=0",
            "tune.space.nearest_lengths={ max_wait_ms = 0, length_lanes = 32 }",
        ),
    ),
    KnownAnswer(
        "padding_speech",
        "clips of speech on Jasper, load 0.2",
        "speech",
        (
            "workload.arrivals.load=0.2",
            _slo(410.0, 95),
            *_tune("busy", "length_bucketed", "token_budget"),
            "tune.space={ length_bucketed = { tilt = 1 }, token_budget = { max_batch_size = 16 } }",
        ),
    ),
    KnownAnswer(
        "clumped",
        "groups of 4 requests within 0.5 ms, load 0.1",
        "clumped",
        ("workload.arrivals.load=0.1", *_tune("mean", "size_or_timeout", "queue_depth_wait")),
    ),
    KnownAnswer(
        "power",
        "a GPU that draws 300 W busy and 60 W idle, load 0.3",
        "greedy",
        (
            "workload.arrivals.load=0.3",
            _slo(12.0),
            "tune.power={ busy_w = 300, idle_w = 60 }",
            *_tune("energy", "size_or_timeout", "queue_depth_wait"),
        ),
    ),
)


def known_answer(name: str) -> KnownAnswer:
    """One of them by its name."""
    for one in KNOWN_ANSWERS:
        if one.name == name:
            return one
    raise KeyError(f"no scenario {name!r}: there are {', '.join(o.name for o in KNOWN_ANSWERS)}")
