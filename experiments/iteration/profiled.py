"""Where the times of iterations come from: a formula in the scenario, or a measured profile."""

from __future__ import annotations

from glob import escape
from pathlib import Path
from typing import NamedTuple

from experiments.places import is_folder
from experiments.resolve import blaming
from policies.contract import FloatArray
from policies.iteration.times import StepTimes
from profiles.steps_store import load, names
from sim.iteration.measured import step_times
from sim.iteration.serving import CALM

from .schema import EngineTable, Times


class Steps(NamedTuple):
    """Times of iterations, their noise, and where they are from."""

    times: StepTimes
    noise: FloatArray
    words: str
    model: str = ""
    """That was measured, where it is known."""


def steps_of(engine: EngineTable, folder: Path) -> Steps:
    """The times of an engine's iterations.

    Raises:
        KeyedError: the profile is not there, or no profile of steps.
    """
    if engine.times is not None:
        return Steps(times_of(engine.times), CALM.copy(), "a formula of iteration times")
    assert engine.profile is not None, "the table asks for one of both"
    with blaming("engine.profile"):
        profile = load(place_of(engine.profile, folder))
    model = str(profile.about.get("model", ""))
    return Steps(step_times(profile), profile.noise(), f"{profile.name}, one engine", model)


def place_of(wanted: str, folder: Path) -> str | Path:
    """The name or the path of a profile of iterations: shipped, beside the scenario, or a path."""
    if wanted in names():
        return wanted
    beside = folder / wanted
    files = list(beside.parent.glob(f"{escape(beside.name)}*")) if is_folder(beside.parent) else []
    return beside if files else wanted


def times_of(table: Times) -> StepTimes:
    """The formula of a table."""
    return StepTimes(
        fixed_ns=float(table.fixed_ms) * 1e6,
        prefill_token_ns=float(table.prefill_token_us) * 1e3,
        sequence_ns=float(table.sequence_us) * 1e3,
        context_token_ns=float(table.context_token_ns),
        pair_ns=float(table.pair_ns),
    )
