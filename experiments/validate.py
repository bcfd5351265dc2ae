"""Policies on a live device, beside what was predicted of them: ``validate("bert")``."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .parallel import Progress, nothing

if TYPE_CHECKING:
    from policies.contract import Policy

    from .scenario import Scenario
    from .validation import Validation
    from .validation.asking import Asked
    from .validation.campaign import Found, Plan

CALIBRATED, LIVE = "calibrated", "live"
"""Folders of a run: the calibrated profile, and a folder for each window."""


def validate(
    scenario: Scenario | str | Path,
    policies: Sequence[str] | Mapping[str, Policy] | None = None,
    *,
    device: str = "emulated",
    model: str | None = None,
    precision: str = "fp32",
    mode: str = "eager",
    threads: int = 1,
    loads: Sequence[float] = (),
    rounds: int = 3,
    window_s: float = 15.0,
    calibrate_s: float = 40.0,
    seed: int = 0,
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> Validation:
    """Run policies live, and hold the simulator's predictions against it.

    Args:
        scenario: loaded, or the name or path to load.
        policies: names, or policies of your own by name; by default a static, an adaptive and a
            length-bucketed one of the scenario.
        device: ``cpu``, ``cuda``, ``cuda:1``, or ``emulated``, which sleeps the profile's times.
        model: as :func:`profiles.models.open_runner` takes it; by default that of the profile.
        precision: to what the weights are cast.
        mode: ``eager``, ``graphs`` or ``compile``.
        threads: of the model, on a CPU.
        loads: shares of the largest possible rate; by default the scenario's own.
        rounds: of all policies at all loads.
        window_s: how long requests arrive in each window.
        calibrate_s: time to calibrate, in all.
        seed: of the order of calibration and of the predictions' noise.
        folder: where calibrated profile and live windows are kept; by default nowhere.
        progress: told what is being done.

    Raises:
        ScenarioError: the scenario, a policy's name or a load is wrong.
        ModelError: the device cannot serve.
    """
    from .contest import as_scenario, described
    from .validation.asking import Asked, asked_of
    from .validation.campaign import Plan, checked_loads, opening_of

    loaded = as_scenario(scenario)
    if isinstance(policies, Mapping):
        asked = Asked(
            loaded, dict(policies), {name: described(one) for name, one in policies.items()}
        )
    else:
        asked = asked_of(loaded, policies, winner=None)
    plan = Plan(checked_loads(loads), rounds, round(window_s * 1e9), round(calibrate_s * 1e9), seed)
    opening = opening_of(loaded, device, model, precision, mode, threads)
    tell = progress or nothing
    with tempfile.TemporaryDirectory() as nowhere:
        kept = Path(nowhere if folder is None else folder)
        found = campaign(asked, plan, kept, device, opening, tell)
        return judgement(asked, found, seed=seed, progress=tell)


def campaign(
    asked: Asked, plan: Plan, folder: Path, device: str, opening: Any, progress: Progress
) -> Found:
    """Measure live; each window is on disk as soon as it is done.

    Raises:
        ModelError: the device cannot serve; the sentence says why.
    """
    from profiles.runner import ModelError
    from sim.worker import WorkerError

    from .validation import recorded
    from .validation.campaign import Campaign

    def keep(window: Any, workload: Any, service: Any) -> None:
        at = "closed" if window.load is None else f"load-{window.load:.3g}"
        name = f"{window.policy}-{at}-round-{window.round + 1}" + "-again" * window.attempt
        recorded.save(
            folder / LIVE / name, window, asked.tables[window.policy], workload, service,
            {"device": device},
        )  # fmt: skip

    work = Campaign(
        asked.scenario, asked.policies, plan, folder / CALIBRATED,
        emulated=device == "emulated", progress=progress, on_window=keep,
    )  # fmt: skip
    try:
        found = work.run(opening, spins=device != "emulated")
    except WorkerError as error:
        raise ModelError(str(error)) from error
    for window in found.windows:  # again, as they were judged by all of the calibration
        keep(window, found.workloads[window.load], found.bound_to)
    return found


def judgement(asked: Asked, found: Found, *, seed: int, progress: Progress) -> Validation:
    """Hold what was measured against the simulator."""
    from .validation import judged

    progress("predicting", 1, 1)
    facts = {
        "name": found.scenario.name,
        "hash": asked.scenario.hash,
        "service": f"{asked.scenario.profile.name if asked.scenario.profile else 'a model'}, "
        f"{found.scenario.servers} server{'' if found.scenario.servers == 1 else 's'}",
        "policies": {name: dict(table) for name, table in asked.tables.items()},
        "stopped": found.stopped,
    }
    return judged(
        facts, asked.policies, found.workloads, found.calibration, found.windows, found.service,
        device=found.device, seed=seed, seconds=found.seconds,
        bound_to=[found.bound_to] * len(found.windows), progress=progress,
    )  # fmt: skip
