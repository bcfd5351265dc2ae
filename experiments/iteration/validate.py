"""Rules of iterations on a live engine, beside what was predicted: ``validate("chat")``."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.parallel import Progress, nothing
from experiments.sentences import ScenarioError
from policies.iteration.contract import Rule
from profiles import steps_store
from profiles.runner import ModelError
from profiles.steps_campaign import ShortBudgetError
from sim.iteration.serving import Serving
from sim.worker import WorkerError

from . import validation_recorded as recorded
from .compare import as_scenario, parameters_of
from .scenario import TokenScenario
from .validate_asked import TokensAsked, asked_of
from .validate_plan import Requests, Target, reach_of, target_of, wishes_for
from .validation import LivePlan, TokenValidation
from .validation_campaign import LiveFound, TokenCampaign, judgement
from .validation_rig import IterationRig
from .validation_windows import LiveWindow

CALIBRATED, LIVE = "calibrated", "live"
"""Folders of a run: the calibrated profile, and a folder for each window."""


def validate(
    scenario: TokenScenario | str | Path,
    policies: Sequence[str] | Mapping[str, Rule] | None = None,
    *,
    device: str = "emulated",
    model: str | None = None,
    threads: int = 1,
    loads: Sequence[float] = (),
    rounds: int = 3,
    window_s: float = 15.0,
    calibrate_s: float | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> TokenValidation:
    """Run rules of iterations live, and hold the simulator's predictions against it.

    Args:
        scenario: loaded, or the name or path to load.
        policies: names, or rules of your own by name; by default one like vLLM's and another one.
        device: ``cpu``, or ``emulated``, which sleeps the scenario's times.
        model: of :data:`profiles.models.decoder_shapes.DECODERS`; by default that of the profile.
        threads: of the model.
        loads: shares of the most that a rule serves; by default the scenario's own rate.
        rounds: of all rules at all loads.
        window_s: how long requests arrive in each window.
        calibrate_s: time to calibrate, in all; by default what it takes.
        seed: of the order of calibration and of the predictions' noise.
        folder: where calibrated profile and live windows are kept; by default nowhere.
        progress: told what is being done.

    Raises:
        ScenarioError: the scenario, a rule's name or a load is wrong.
        ModelError: the device cannot serve.
        ProfileError: the time to calibrate is too short.
    """
    loaded = as_scenario(scenario)
    if isinstance(policies, Mapping):
        tables = {name: parameters_of(rule) for name, rule in policies.items()}
        asked = TokensAsked(loaded, dict(policies), tables)
    else:
        asked = asked_of(loaded, policies)
    plan = LivePlan(checked(loads), rounds, window_s, seed=seed)
    target = target_of(loaded, device, model, threads)
    work = Work(asked, target, plan, None if calibrate_s is None else round(calibrate_s * 1e9))
    with tempfile.TemporaryDirectory() as nowhere:
        return work.run(Path(nowhere if folder is None else folder), progress or nothing)


def checked(loads: Sequence[float]) -> tuple[float, ...]:
    """Loads that are shares of what is possible.

    Raises:
        ScenarioError: one is not above 0 and below 1.
    """
    for load in loads:
        if not 0.0 < load < 1.0:
            raise ScenarioError(f"--load must be above 0 and below 1, but got {load:g}")
    return tuple(dict.fromkeys(loads))


class Work:
    """One validation of a scenario."""

    def __init__(
        self, asked: TokensAsked, target: Target, plan: LivePlan, calibration_ns: int | None
    ) -> None:
        """Prepare it.

        Raises:
            ScenarioError: most requests are too long for what runs.
        """
        self.asked, self.target, self.plan = asked, target, plan
        self.requests = Requests(target.scenario)
        self.may_grow = calibration_ns is None
        block_ns = None if calibration_ns is None else calibration_ns // (plan.rounds + 1)
        reach = reach_of(target.scenario, asked.rules, self.requests, plan.loads, plan.window_s)
        self.wishes = wishes_for(target, reach, block_ns, plan.seed)

    def run(self, folder: Path, progress: Progress) -> TokenValidation:
        """Measure and judge; each window is on disk as soon as it is done.

        Raises:
            ModelError: the device cannot serve; the sentence says why.
            ScenarioError: it cannot serve what the scenario asks.
        """
        found = self.measured(folder, progress)
        progress("predicting", 1, 1)
        judged = judgement(
            found, self.asked.rules, self.plan, scenario=self._facts(), tables=self.asked.tables
        )
        steps_store.save(judged.profile, folder / CALIBRATED)
        return judged

    def measured(self, folder: Path, progress: Progress) -> LiveFound:
        """The live part."""

        def keep(window: LiveWindow, serving: Serving) -> None:
            name = f"{window.rule}-load-{window.load:.3g}-round-{window.round + 1}"
            rule = self.asked.rules[window.rule]
            about = {"device": found_device}
            recorded.save(
                folder / LIVE / (name + "-again" * window.attempt), window, rule, serving, about
            )

        campaign = TokenCampaign(
            self.asked.rules, self.requests, self.wishes, self.plan,
            own_per_s=self.target.scenario.offered_rate_per_s, known=self.target.known,
            may_grow=self.may_grow,
            progress=progress, on_window=keep,
        )  # fmt: skip
        opening, engine = self.target.opening(self.wishes), self.target.scenario.engine
        progress("opening the engine", 0, 1)
        try:
            with IterationRig(opening, engine) as rig:
                found_device = str(rig.about.get("device_name", "not stated"))
                return campaign.run(rig)
        except WorkerError as error:
            raise ModelError(str(error)) from error
        except ShortBudgetError as error:
            blocks = self.plan.rounds + 1
            given_s = self.wishes.budget_ns / 1e9
            wanted_s = max(1.2 * error.needed_s, 2.0 * given_s) * blocks
            raise ScenarioError(
                f"--calibrate leaves {given_s:.2g} s for each of {blocks} calibrations, which is "
                f"too little here: give --calibrate {-(-wanted_s // 1):.0f}s"
            ) from error

    def _facts(self) -> dict[str, Any]:
        """What a result says of its scenario."""
        scenario = self.target.scenario
        facts = {
            "name": scenario.name,
            "hash": self.asked.scenario.hash,
            "service": self.target.model or f"emulated: {scenario.service}",
            "offered_rate_per_s": scenario.offered_rate_per_s,
        }
        return facts | {"left_out": self.requests.left_out}
