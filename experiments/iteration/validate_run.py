"""What ``batchwright validate`` does with a scenario that has an ``[engine]``, or a run of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.cli_run import Finished, Job, in_folder
from experiments.parallel import Progress
from experiments.sentences import ScenarioError

from .validate import Work, checked
from .validate_asked import TokensAsked
from .validate_plan import target_of
from .validation import LivePlan, TokenValidation
from .validation_shown import print_validation
from .validation_views import write_figures


@dataclass(frozen=True)
class Options:
    """What was typed."""

    device: str
    model: str | None
    threads: int
    loads: Sequence[float]
    rounds: int
    window_ns: int
    calibration_ns: int | None
    """None: as long as it takes."""
    seed: int


def check_options(precision: str, mode: str) -> None:
    """Refuse what models that generate do not have here.

    Raises:
        ScenarioError: with the option.
    """
    for option, value, only in (("--precision", precision, "fp32"), ("--mode", mode, "eager")):
        if value != only:
            raise ScenarioError(
                f"{option} {value} does not go with an [engine]: models that generate run in "
                "fp32, eager"
            )


def prepared(asked: TokensAsked, options: Options) -> Work:
    """What is to be done.

    Raises:
        ScenarioError: a load is none, or the scenario does not run on the device.
        ModelError: there is no such model.
    """
    plan = LivePlan(
        checked(options.loads), options.rounds, options.window_ns / 1e9, seed=options.seed
    )
    target = target_of(asked.scenario, options.device, options.model, options.threads)
    return Work(asked, target, plan, options.calibration_ns)


def run_validate(work: Work, device: str, root: Path, progress: Progress) -> Finished:
    """Measure, judge, and write the run's folder."""

    def compute(folder: Path) -> TokenValidation:
        return work.run(folder, progress)

    scenario: Any = work.asked.scenario
    job = Job(write_figures, print_validation)
    return in_folder(scenario, "validate", root, compute, progress, {"device": device}, job)
