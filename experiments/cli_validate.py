"""``batchwright validate SCENARIO|RUN``: policies on a live device, beside what was predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_measure import Mode, Precision, model_errors, read_budget
from .cli_speech import FAILED, progress_bar, say, spoken

if TYPE_CHECKING:
    from policies.contract import Policy

    from .parallel import Progress
    from .scenario import Scenario
    from .validation.campaign import Found, Plan

COMMAND = "validate"
TUNED = "tuned"
"""The winner of a tuning is called so beside the scenario's own policies."""
USUAL = (
    ("static",),
    ("aimd", "rate_aware", "queue_depth_wait", "greedy", "size_or_timeout"),
    ("length_bucketed", "nearest_lengths"),
)
"""Where no policy is named: the scenario's first of each of these groups of kinds."""
CALIBRATED, LIVE = "calibrated", "live"
"""Folders of a run: the calibrated profile, and a folder for each window."""


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(COMMAND)(validate)


@dataclass(frozen=True)
class Asked:
    """What to hold against what."""

    scenario: Scenario
    policies: Mapping[str, Policy]
    tables: Mapping[str, Mapping[str, Any]]
    """The policies as scenario files write them."""


def validate(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SCENARIO|RUN",
            help="A scenario's name or file; or a run, whose winner takes part.",
        ),
    ],
    device: Annotated[
        str, typer.Option(help="cpu, cuda, cuda:1; or emulated: sleeps the profile's times.")
    ] = "emulated",
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Default: that of the scenario's profile.")
    ] = None,
    precision: Annotated[Precision, typer.Option(help="The weights are cast.")] = Precision.fp32,
    mode: Annotated[Mode, typer.Option(help="Eager, CUDA graphs, or compiled.")] = Mode.eager,
    threads: Annotated[int, typer.Option(min=1, help="Of the model, on a CPU.")] = 1,
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", metavar="NAME", help="Only this policy; repeatable."),
    ] = None,
    load: Annotated[
        list[float] | None,
        typer.Option("--load", help="Share of the largest possible rate; repeatable."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Of all policies at all loads.")] = 3,
    window: Annotated[str, typer.Option(help="How long requests arrive: 15s, 1m.")] = "15s",
    calibrate: Annotated[str, typer.Option(help="Time to calibrate, in all.")] = "40s",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override any key; repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the order of calibration.")] = 0,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The folder that holds all runs.")
    ] = Path("runs"),
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress bar, no hints.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure.")
    ] = False,
) -> None:
    """Run policies on a live device, and hold the simulator's predictions against it."""
    with spoken(debug=debug), model_errors():
        from .cli_run import Job, in_folder
        from .validation.campaign import Plan, opening_of

        asked = asked_for(source, policy, settings, out)
        plan = Plan(
            tuple(load or ()), rounds, read_time("--window", window),
            read_time("--calibrate", calibrate), seed,
        )  # fmt: skip
        check_loads(plan)
        opening = opening_of(asked.scenario, device, model, precision.value, mode.value, threads)
        if not quiet and not json:
            say(f"policies: {', '.join(asked.policies)}")
        with progress_bar(quiet=quiet or json, still=True) as progress:

            def compute(folder: Path) -> Any:
                found = campaign(asked, plan, folder, device, opening, progress)
                return judgement(asked, found, seed=seed, progress=progress)

            run = in_folder(
                asked.scenario, COMMAND, out, compute, progress, {"device": device},
                Job(write_figures, print_validation),
            )  # fmt: skip
        run.show(json=json, quiet=quiet)
        stopped = getattr(run.result, "stopped", "")
        if stopped:
            say(f"error: {stopped}; the windows before are judged, and kept in {run.folder / LIVE}")
            raise typer.Exit(FAILED)


def asked_for(
    source: str, names: list[str] | None, settings: list[str] | None, root: Path
) -> Asked:
    """The scenario, and the policies to hold against each other.

    Raises:
        ScenarioError: the scenario, an override or a policy's name is wrong.
        RunError: the run cannot be read back.
    """
    from .config import ScenarioError, load_scenario, scenario_names
    from .rerun import scenario_of_run
    from .runs import resolve_run
    from .sentences import suggestion

    folder = None
    if source in scenario_names() or Path(source).is_file():
        scenario = load_scenario(source, settings or ())
        folder = tuned_run(scenario, root)
    else:
        folder = resolve_run(source, root, commands=("tune", "compare", "simulate"))
        if settings:
            raise ScenarioError(f"--set changes a scenario, but {source} is a run: leave it out")
        scenario = scenario_of_run(folder)
    policies = dict(scenario.policies)
    tables: dict[str, Any] = dict(scenario.to_dict()["scenario"]["policies"])
    winner = None if folder is None else winner_of(folder)
    if winner is not None:
        policies[TUNED], tables[TUNED] = winner
    chosen = names or usual(tables)
    for name in chosen:
        if name not in policies:
            raise ScenarioError(
                f"scenario {scenario.name} has no policy {name!r}; {suggestion(name, policies)}"
            )
    return Asked(
        scenario, {name: policies[name] for name in chosen}, {name: tables[name] for name in chosen}
    )


def usual(tables: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A static, an adaptive and a length-bucketed policy as far as there are any, and the tuned."""
    chosen = []
    for kinds in USUAL:
        known = [
            name for kind in kinds for name, table in tables.items()
            if table["kind"] == kind and name != TUNED
        ]  # fmt: skip
        chosen += known[:1]
    if TUNED in tables:
        chosen.append(TUNED)
    return chosen or list(tables)


def tuned_run(scenario: Scenario, root: Path) -> Path | None:
    """The newest tuning of just this scenario, if there is one."""
    from .rerun import read_manifest
    from .runs import RunError, resolve_run

    try:
        folder = resolve_run(scenario.name, root, commands=("tune",))
        same = read_manifest(folder).get("hash") == scenario.hash
    except RunError:
        return None
    return folder if same and folder.name.startswith("tune-") else None


def winner_of(folder: Path) -> tuple[Policy, Mapping[str, Any]] | None:
    """What a run recommends, as a policy and as a scenario's table; None where it is no tuning."""
    from .export.run import setting_of_run

    if not folder.name.startswith("tune-"):
        return None
    setting = setting_of_run(folder)
    return setting.policy, {"kind": setting.kind, **setting.parameters}


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
        return work.run(opening, spins=device != "emulated")
    except WorkerError as error:
        raise ModelError(str(error)) from error


def judgement(asked: Asked, found: Found, *, seed: int, progress: Progress) -> Any:
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


def write_figures(found: Any, folder: Path) -> list[str]:
    """The figures of a validation, as files."""
    from .figures import save
    from .validation.figures import figures_of

    return [
        name for stem, drawn in figures_of(found).items() for name in save(drawn, folder / stem)
    ]


def print_validation(screen: Any, found: Any) -> None:
    """Tables and verdict."""
    from .validation.shown import validation_tables

    for part in validation_tables(found, screen.width):
        screen.print(part)


def read_time(option: str, text: str) -> int:
    """``15s`` or ``1m`` in ns.

    Raises:
        ScenarioError: it is neither.
    """
    from profiles import ProfileError

    from .config import ScenarioError

    try:
        return read_budget(text)
    except ProfileError:
        raise ScenarioError(f"{option} must be a time as in 15s or 1m, but got {text!r}") from None


def check_loads(plan: Plan) -> None:
    """Loads are shares of what is possible.

    Raises:
        ScenarioError: one is not above 0 and below 1.
    """
    from .config import ScenarioError

    for load in plan.loads:
        if not 0.0 < load < 1.0:
            raise ScenarioError(f"--load must be above 0 and below 1, but got {load:g}")
