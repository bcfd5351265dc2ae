"""Where the times of iterations come from: a formula in the scenario, or a measured profile."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from experiments.resolve import KeyedError
from policies.contract import FloatArray
from policies.iteration.times import StepTimes
from sim.iteration.serving import CALM

from .schema import EngineTable, Times


class Steps(NamedTuple):
    """Times of iterations, their noise, and where they are from."""

    times: StepTimes
    noise: FloatArray
    words: str


def steps_of(engine: EngineTable, folder: Path) -> Steps:
    """The times of an engine's iterations.

    Raises:
        KeyedError: the profile is not there, or no profile of steps.
    """
    if engine.times is not None:
        return Steps(times_of(engine.times), CALM.copy(), "a formula of iteration times")
    raise KeyedError("engine.profile", f"engine.profile = {engine.profile}: {folder}")


def times_of(table: Times) -> StepTimes:
    """The formula of a table."""
    return StepTimes(
        fixed_ns=float(table.fixed_ms) * 1e6,
        prefill_token_ns=float(table.prefill_token_us) * 1e3,
        sequence_ns=float(table.sequence_us) * 1e3,
        context_token_ns=float(table.context_token_ns),
        pair_ns=float(table.pair_ns),
    )
