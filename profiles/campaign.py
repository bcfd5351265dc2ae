"""One measurement from the model to the files: pilot, plan, calls, profile, hold-out.

Files: those of :mod:`profiles.store`, and beside them ``NAME-raw.csv.gz`` with every call
(:mod:`profiles.calls`), ``NAME-rounds.csv`` with the machine at the start of each round
(:mod:`profiles.conditions`), and ``NAME-memory.csv`` with the most memory that each shape took,
where the device can say (:mod:`profiles.memory`).
"""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .calls import RAW, write_calls
from .conditions import ROUNDS, Sensors, write_conditions
from .distil import HoldOut, distilled, held_out
from .latency import FILE_NAME, Profile
from .measure import Clock, Measured, Measurement, Progress, RealClock, pilot
from .memory import MEMORY, peaks_text
from .metadata import ProfileError
from .models.buckets import edges
from .plan import CPU_WARMING, CUDA_WARMING, Plan, all_sizes, graph_sizes, planned
from .runner import Runner
from .store import save, write_whole

LENGTHS = {"tokens": (16, 32, 64, 128, 256), "audio_ms": (1_000, 2_000, 5_000, 10_000, 15_000)}
"""Measured where none are asked for: sentences and short utterances, twice as long each time."""


@dataclass(frozen=True)
class Wishes:
    """What a user asks for."""

    batch_size_max: int = 32
    lengths: tuple[int, ...] = ()
    """Empty: those of :data:`LENGTHS` that the model takes, or all that have a CUDA graph."""
    budget_ns: int = 300 * 10**9
    seed: int = 0
    name: str = ""
    """Of the profile; empty: made of model, device, precision and mode."""
    command: str = "profiles.campaign.measured"


@dataclass(frozen=True)
class Campaign:
    """What came of it."""

    profile: Profile
    found: Measured
    hold_out: HoldOut | None
    took_ns: int


def measured(
    runner: Runner,
    wishes: Wishes,
    *,
    clock: Clock | None = None,
    progress: Progress = lambda _what, _done, _total: None,
    announce: Callable[[Plan], None] = lambda _plan: None,
) -> Campaign:
    """Measure a model within a budget of time.

    Args:
        runner: the model; it stays open.
        wishes: what to measure.
        clock: the machine's own by default.
        progress: told after each step what it was, ms done and ms in all.
        announce: told the plan before it begins.

    Raises:
        ProfileError: a wish cannot be granted.
        ModelError: the model broke before the first round was complete.
        KeyboardInterrupt: before the first round was complete.
    """
    clock, about = clock or RealClock(), {**runner.about(), **priority()}
    lengths, name = wished_lengths(runner, wishes), wishes.name or profile_name(about)
    if not FILE_NAME.fullmatch(name):
        raise ProfileError(
            f"--name must be letters, digits, dots, dashes and underscores, but got {name!r}"
        )
    gpu = gpu_index(str(about.get("device", "")))
    begun = clock.now_ns()
    graphs, cap = about.get("mode") == "graphs", wishes.batch_size_max
    progress("pilot", 0, 1)
    sizes = graph_sizes(cap) if graphs else all_sizes(cap)
    cost = pilot(runner, sizes, lengths, wishes.budget_ns, clock)
    left_ns = wishes.budget_ns - (clock.now_ns() - begun)
    warming = CUDA_WARMING if gpu is not None else CPU_WARMING
    plan = planned(cap, lengths, left_ns, cost, warming, graphs=graphs)
    announce(plan)
    sensors = Sensors(gpu)
    try:
        work = Measurement(runner, plan, seed=wishes.seed, clock=clock, sensors=sensors)
        found = work.run(begun + wishes.budget_ns, progress)
    finally:
        sensors.close()
    when = dt.datetime.now(dt.UTC).date().isoformat()
    profile = distilled(
        found, about, runner.length_unit, name=name, command=wishes.command, when=when
    )
    return Campaign(profile, found, held_out(profile, found), clock.now_ns() - begun)


def save_campaign(campaign: Campaign, folder: str | Path) -> list[Path]:
    """Write everything into a folder, which is made if need be; the first path is the profile."""
    side, name = save(campaign.profile, folder), campaign.profile.name
    raw, rounds = Path(folder) / f"{name}{RAW}", Path(folder) / f"{name}{ROUNDS}"
    write_calls(campaign.found.calls, raw)
    write_conditions(campaign.found.conditions, rounds)
    peaks = campaign.found.peak_bytes
    memory = Path(folder) / f"{name}{MEMORY}"
    if not peaks:
        memory.unlink(missing_ok=True)
        return [side, raw, rounds]
    write_whole(memory, peaks_text(peaks, campaign.found.limits).encode())
    return [side, raw, rounds, memory]


def wished_lengths(runner: Runner, wishes: Wishes) -> list[int]:
    """The lengths of the grid, increasing.

    Raises:
        ProfileError: the model does not take one of them.
    """
    unit = runner.length_unit
    for length in wishes.lengths:
        if not 1 <= length <= runner.longest:
            raise ProfileError(
                f"--lengths must be from 1 to {runner.longest} {unit} for {runner.name}, "
                f"but got {length}"
            )
    if wishes.lengths:
        return sorted(set(wishes.lengths))
    if runner.about().get("mode") == "graphs":
        return list(edges(unit, runner.longest))
    able = [length for length in LENGTHS[unit] if length <= runner.longest]
    return able or [runner.longest]


def profile_name(about: dict[str, str | int | float]) -> str:
    """``bert-tiny-cpu-fp32``: model, device (its name on a GPU), precision, and mode if special."""
    device = str(about.get("device", ""))
    device_words = device if gpu_index(device) is None else about.get("device_name", device)
    words = [about.get("model", "model"), device_words, about.get("precision", "")]
    if about.get("mode", "eager") != "eager":
        words.append(about["mode"])
    return slug(words)


def priority() -> dict[str, int]:
    """The process's niceness where it is not 0: it yields to others, so it may be slower."""
    nice = os.nice(0) if hasattr(os, "nice") else 0
    return {"nice": nice} if nice else {}


def gpu_index(device: str) -> int | None:
    """The number of the GPU in ``cuda`` or ``cuda:1``; None for another device."""
    kind, _, number = device.partition(":")
    return int(number or 0) if kind == "cuda" else None


def slug(words: Sequence[object]) -> str:
    """Words as a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", " ".join(map(str, words)).lower()).strip("-")
