"""``batchwright profile measure MODEL``: how long a model's batches take here, as a profile."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_speech import INTERRUPTED, WRONG_INPUT, console, progress_bar, say, spoken
from .cli_steps import measure_steps, named_for_steps

if TYPE_CHECKING:
    from profiles.campaign import Campaign, Wishes
    from profiles.plan import Plan
    from profiles.runner import Runner

    from .parallel import Progress


class Precision(StrEnum):
    """To what the weights are cast."""

    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"


class Mode(StrEnum):
    """How the model runs."""

    eager = "eager"
    graphs = "graphs"
    compile = "compile"


SMALL = 4096
"""Bytes that a profile takes at least."""

SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
BUDGET = re.compile(r"(\d+(?:\.\d+)?)\s*([smh]?)")

LONGEST_BUDGET_H = 10**5
"""Of any time: ten years, in hours."""


def measure(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="A reference model; --list names them.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the reference models.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, or cuda:1.")] = "cpu",
    precision: Annotated[Precision, typer.Option(help="The weights are cast.")] = Precision.fp32,
    mode: Annotated[Mode, typer.Option(help="Eager, CUDA graphs, or compiled.")] = Mode.eager,
    max_batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="The cap of the grid; default: 32, of iterations 16."),
    ] = None,
    lengths: Annotated[
        str, typer.Option(metavar="16,32,64", help="In tokens or ms of audio; default: 5 of them.")
    ] = "",
    budget: Annotated[str, typer.Option(help="Time for everything: 90s, 5m, 1h.")] = "5m",
    threads: Annotated[int, typer.Option(min=1, help="Of the model, on a CPU.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of order, weights and inputs.")] = 0,
    into: Annotated[Path, typer.Option(metavar="DIR", help="Where the profile goes.")] = Path(),
    name: Annotated[str, typer.Option(help="Of the profile; default: model and device.")] = "",
    function: Annotated[
        str | None,
        typer.Option(
            "--callable",
            metavar="PKG.MOD:FN",
            help="Your function: takes the lengths of a batch, serves it, returns its outputs.",
        ),
    ] = None,
    hf: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Your transformers model: its folder or config.json."),
    ] = None,
    onnx: Annotated[str | None, typer.Option(metavar="FILE", help="Your ONNX file.")] = None,
    steps: Annotated[
        bool, typer.Option("--steps", help="A model that generates, iteration by iteration.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No plan, no progress bar, no hints.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure.")
    ] = False,
) -> None:
    """Measure a model within a budget of time: grid, hold-out, noise, and what to do next."""
    with spoken(debug=debug, elsewhere="another folder with --into"), model_errors():
        if listed:
            list_models(json=json)
            return
        if steps:
            own = {"--hf": hf, "--onnx": onnx, "--callable": function, "--lengths": lengths}
            measure_steps(
                named_for_steps(model, own, device, precision.value, mode.value),
                sequences=max_batch_size, budget_ns=read_budget(budget), threads=threads,
                seed=seed, name=name, into=into, json=json, quiet=quiet,
            )  # fmt: skip
            return
        from profiles.campaign import Wishes

        wishes = Wishes(
            batch_size_max=max_batch_size or 32,
            lengths=read_lengths(lengths),
            budget_ns=read_budget(budget),
            seed=seed,
            name=name,
            command=" ".join(("batchwright", *sys.argv[1:])),
        )
        wanted = named(model, {"hf": hf, "onnx": onnx, "callable": function})
        writable(into)  # before minutes are spent
        runner = opened(wanted, device, precision.value, mode.value, threads, seed)
        try:
            with progress_bar(quiet=quiet or json) as progress:
                campaign = run(runner, wishes, progress, quiet=quiet or json)
        finally:
            runner.close()
        finish(campaign, into, json=json, quiet=quiet)


def writable(folder: Path) -> None:
    """Make a folder, and see whether a small file can be put there.

    Raises:
        OSError: it cannot.
    """
    from .runs import part_of

    folder.mkdir(parents=True, exist_ok=True)
    trial = part_of(folder / "profile")
    try:
        trial.write_bytes(bytes(SMALL))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error
    finally:
        with suppress(OSError):
            trial.unlink(missing_ok=True)


def run(runner: Runner, wishes: Wishes, progress: Progress, *, quiet: bool) -> Campaign:
    """Measure, and say the plan first."""
    from profiles.campaign import measured

    from .measured_words import plan_sentences

    def announce(plan: Plan) -> None:
        if not quiet:
            for line in plan_sentences(plan, runner.length_unit):
                say(line)

    return measured(runner, wishes, progress=progress, announce=announce)


def finish(campaign: Campaign, into: Path, *, json: bool, quiet: bool) -> None:
    """Write the files, show what came of it, and say so if it ended early.

    Raises:
        typer.Exit: it was interrupted, or the model broke; what was measured is written.
        OSError: it could not be written, and was only shown.
    """
    from profiles.campaign import save_campaign
    from profiles.measure import INTERRUPTED as BY_HAND
    from profiles.measure import OUT_OF_TIME

    from .plain import dumps

    files: list[str] = []
    unwritten = None
    try:
        files += map(str, save_campaign(campaign, into))
    except OSError as error:
        unwritten = error  # what was measured is at least shown
    if json:
        typer.echo(dumps({**as_data(campaign), "files": files}), nl=False)
    else:
        show(campaign, files, quiet=quiet)
    if unwritten is not None:
        raise unwritten
    found = campaign.found
    if found.stopped:
        rounds = f"{found.rounds_done} of {found.plan.rounds} rounds are kept"
        problem = found.stopped not in (BY_HAND, OUT_OF_TIME)
        say(f"{'error: ' if problem else ''}{found.stopped}; {rounds}: {files[0]}")
        if found.stopped != OUT_OF_TIME:
            raise typer.Exit(WRONG_INPUT if problem else INTERRUPTED)


def named(model: str | None, own: Mapping[str, str | None]) -> str:
    """The one model that is named, as :func:`profiles.models.open_runner` calls it.

    Raises:
        ProfileError: none is named, or two.
    """
    from profiles import ProfileError

    names = [f"{kind}:{name}" for kind, name in own.items() if name is not None]
    if model is not None:
        names.append(model)
    if len(names) != 1:
        raise ProfileError(
            "name one model (batchwright profile measure --list shows them), or your own with "
            "--hf PATH, --onnx FILE or --callable PKG.MOD:FN"
        )
    return names[0]


def opened(wanted: str, device: str, precision: str, mode: str, threads: int, seed: int) -> Runner:
    """The model to measure.

    Raises:
        ModelError: it cannot be loaded; the sentence says why.
    """
    from profiles.models import open_runner

    return open_runner(
        wanted, device=device, precision=precision, mode=mode, threads=threads, seed=seed
    )


@contextmanager
def model_errors() -> Iterator[None]:
    """A model that cannot be measured is wrong input: its sentence, and exit code 2."""
    from profiles.metadata import ProfileError
    from profiles.runner import ModelError

    try:
        yield
    except ModelError as error:
        raise ProfileError(str(error)) from error


def read_lengths(text: str) -> tuple[int, ...]:
    """``16,32,64`` as whole numbers.

    Raises:
        ProfileError: one of them is none.
    """
    from profiles import ProfileError

    if not all(part.strip().isdecimal() for part in text.split(",") if text):
        raise ProfileError(f"--lengths must be whole numbers as in 16,32,64, but got {text!r}")
    return tuple(int(part) for part in text.split(",") if text)


def read_budget(text: str) -> int:
    """``90s``, ``5m`` or ``1h`` in ns.

    Raises:
        ProfileError: it is none of these.
    """
    from profiles import ProfileError

    found = BUDGET.fullmatch(text.strip().lower())
    if not found or not 0.0 < float(found[1]) < LONGEST_BUDGET_H * 3600:
        raise ProfileError(f"--budget must be a time as in 90s, 5m or 1h, but got {text!r}")
    return round(float(found[1]) * SECONDS[found[2]] * 1e9)


def list_models(*, json: bool) -> None:
    """The reference models, one a row."""
    from profiles.models import MODELS

    from .plain import dumps
    from .terminal import rows_table

    rows: list[dict[str, Any]] = [
        {"name": name, "title": row.title, "length_unit": row.unit, "longest": row.longest,
         "parameters": row.parameters, "weights": row.weights}
        for name, row in MODELS.items()
    ]  # fmt: skip
    if json:
        typer.echo(dumps({"models": rows}), nl=False)
        return
    units = {"tokens": "tokens", "audio_ms": "ms"}
    cells = (
        (row["name"], row["title"], f"{row['parameters'] / 1e6:,.1f} M",
         f"{row['longest']:,} {units[row['length_unit']]}", row["weights"])
        for row in rows
    )  # fmt: skip
    console().print(rows_table(cells, "name", "what", "parameters", "up to", "weights"))
    console().print(
        "batchwright profile measure NAME   or your own with --hf, --onnx or --callable"
    )


def show(campaign: Campaign, files: list[str], *, quiet: bool) -> None:
    """The profile's tables, then what the measurement says of itself."""
    from .cli_profile import print_profile
    from .measured_words import outcome_facts
    from .terminal import facts

    print_profile(campaign.profile)
    console().print(facts(outcome_facts(campaign)))
    if files and not quiet:
        say(f"written: {', '.join(files)}")
        say(f'next: profile = "{files[0]}"  under [service] in a scenario, then compare and tune')


def as_data(campaign: Campaign) -> dict[str, Any]:
    """Everything as plain data."""
    from .cli_profile import details
    from .measured_words import outcome_data

    return {**details(campaign.profile), **outcome_data(campaign)}
