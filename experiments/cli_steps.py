"""Profiles of iterations on the command line: ``profile measure MODEL --steps``, show, check."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .cli_speech import INTERRUPTED, WRONG_INPUT, console, progress_bar, say
from .steps_words import details, held_out, held_out_words, print_steps

if TYPE_CHECKING:
    from profiles.steps_campaign import StepCampaign
    from profiles.steps_plan import StepWishes

SEQUENCES = 16
"""The most that decode at once, where nothing else is said."""
PREFILL, CONTEXT, PROMPT = 256, 256, 128
WHISPER_PREFILL, WHISPER_CONTEXT, WHISPER_PROMPT = 64, 128, 4
"""Whisper's prompts are the four tokens of :mod:`profiles.models.whisper`, and its texts short."""


def measure_steps(
    model: str,
    *,
    sequences: int | None,
    budget_ns: int,
    threads: int,
    seed: int,
    name: str,
    into: Path,
    json: bool,
    quiet: bool,
) -> None:
    """Measure a model's iterations, write the profile, and show it.

    Raises:
        ProfileError: a wish cannot be granted.
        ModelError: the model cannot be loaded.
        typer.Exit: it was interrupted, or the model broke; what was measured is written.
    """
    from profiles.models import needing
    from profiles.steps_campaign import in_process, measured

    wishes = wishes_for(model, sequences or SEQUENCES, budget_ns, seed, name)
    with needing("models", "torch"):
        from profiles.models.decoder_runner import DecoderRunner
    runner = DecoderRunner(
        model, slots=wishes.slots, longest=2 * wishes.context, threads=threads, seed=seed
    )
    try:
        with progress_bar(quiet=quiet or json) as progress:
            campaign = measured(runner, wishes, in_process(runner), progress=progress)
    finally:
        runner.close()
    finish(campaign, into, json=json, quiet=quiet)


def named_for_steps(
    model: str | None, other: Mapping[str, str | None], device: str, precision: str, mode: str
) -> str:
    """The model, where nothing else is asked for that iterations do not have.

    Raises:
        ProfileError: none is named, or an option does not go with --steps.
    """
    from profiles.metadata import ProfileError
    from profiles.models.decoder_shapes import DECODERS

    if model is None:
        raise ProfileError(f"--steps measures one of {', '.join(DECODERS)}: name it")
    usual = {"--device": (device, "cpu"), "--precision": (precision, "fp32"),
             "--mode": (mode, "eager")}  # fmt: skip
    wrong = [option for option, value in other.items() if value]
    wrong += [option for option, (value, only) in usual.items() if value != only]
    if wrong:
        raise ProfileError(
            f"{wrong[0]} does not go with --steps, which measures {model} on the CPU in fp32, eager"
        )
    return model


def wishes_for(model: str, sequences: int, budget_ns: int, seed: int, name: str) -> StepWishes:
    """What is measured of a model."""
    from profiles.models.decoder_shapes import find_decoder
    from profiles.steps_plan import StepWishes

    speech = find_decoder(model).frames > 0
    return StepWishes(
        prefill=WHISPER_PREFILL if speech else PREFILL,
        sequences=sequences,
        context=WHISPER_CONTEXT if speech else CONTEXT,
        prompt_tokens=WHISPER_PROMPT if speech else PROMPT,
        whole_prompts=speech,
        budget_ns=budget_ns,
        seed=seed,
        name=name,
        command=" ".join(("batchwright", *sys.argv[1:])),
    )


def finish(campaign: StepCampaign, into: Path, *, json: bool, quiet: bool) -> None:
    """Write the files, show what came of it, and say so if it ended early.

    Raises:
        typer.Exit: it was interrupted, or the model broke; what was measured is written.
    """
    from profiles.measure import INTERRUPTED as BY_HAND
    from profiles.measure import OUT_OF_TIME
    from profiles.steps_store import save

    from .plain import dumps

    files = [str(path) for path in save(campaign.profile, into)]
    found = campaign.found
    if json:
        typer.echo(dumps({**details(campaign.profile), "files": files}), nl=False)
    else:
        print_steps(campaign.profile)
        if found.given_up:
            say(f"to fit the budget: {found.given_up}")
    if not json and not quiet:
        say(f"written: {', '.join(files)}")
        say(f'next: profile = "{files[0]}"  under [engine] in a scenario, then compare')
    if found.stopped:
        problem = found.stopped not in (BY_HAND, OUT_OF_TIME)
        kept = f"{found.rounds} of {found.planned} rounds are kept"
        say(f"{'error: ' if problem else ''}{found.stopped}; {kept}: {files[0]}")
        if found.stopped != OUT_OF_TIME:
            raise typer.Exit(WRONG_INPUT if problem else INTERRUPTED)


def is_steps(name: str) -> bool:
    """Whether a name or path means a profile of iterations and none of batches."""
    from profiles.metadata import ProfileError
    from profiles.steps_store import find

    try:
        find(name)
    except ProfileError:
        return ".steps" in Path(name).name
    return True


def show_steps(name: str, *, json: bool) -> None:
    """The grid, the formula, what was held out, and where it is from.

    Raises:
        ProfileError: there is no such profile, or it is broken.
    """
    from profiles.steps_store import load

    from .plain import dumps

    profile = load(name)
    if json:
        typer.echo(dumps(details(profile)), nl=False)
        return
    print_steps(profile)


def check_steps(name: str, bound: float, *, json: bool) -> bool:
    """Print how far a profile is off where it was not measured; whether that is within the bound.

    Raises:
        ProfileError: there is no such profile, or it is broken, or nothing was held out.
    """
    from profiles.metadata import ProfileError
    from profiles.steps_store import load

    from .plain import dumps
    from .terminal import rows_table

    profile = load(name)
    held = profile.held_out()
    if not held:
        raise ProfileError(f"{name}: no iterations off the grid were kept, so nothing is to check")
    summary = held_out(profile)
    within = bool(summary["error_median"] <= bound)
    if json:
        typer.echo(
            dumps({"name": profile.name, "bound": bound, "within": within, **summary}), nl=False
        )
        return within
    rows = (
        (one.work.prefill, one.work.sequences, f"{one.work.context:,}",
         f"{one.measured_ns / 1e6:.2f}", f"{one.predicted_ns / 1e6:.2f}", f"{100 * one.error:+.1f}")
        for one in sorted(held, key=lambda one: -abs(one.error))
    )  # fmt: skip
    heads = ("prefill", "sequences", "context", "measured, ms", "profile, ms", "error, %")
    console().print(rows_table(rows, *heads, title="iterations off the grid"))
    words = "within" if within else "above"
    console().print(f"{held_out_words(summary)}: {words} the bound of {100 * bound:.3g} %")
    return within
