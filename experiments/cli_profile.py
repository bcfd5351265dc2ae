"""``batchwright profile list | show | import | measure | check``: as tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import completion
from .cli_check import check
from .cli_measure import measure
from .cli_speech import console, say, spoken
from .cli_steps import is_steps, show_steps

if TYPE_CHECKING:
    from profiles import Profile

app = typer.Typer(
    help="Latency profiles: list them, look at one, bring your own.", no_args_is_help=True
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")]


@app.command("list")
def list_profiles(json: Json = False, debug: Debug = False) -> None:
    """List the shipped profiles."""
    with spoken(debug=debug):
        import profiles

        from .plain import dumps
        from .steps_words import list_steps, print_list
        from .terminal import rows_table

        found, steps = [summary(profiles.load(name)) for name in profiles.names()], list_steps()
        if json:
            typer.echo(dumps({"profiles": found, "iterations": steps}), nl=False)
            return
        keys = ("name", "batch sizes", "lengths", "best, req/s", "at batch")
        rows = (
            (f["name"], span(f["batch_size"]), f"{span(f['length'])} {UNITS[f['length_unit']]}",
             f"{f['best_per_s']:,.0f}", f["best_batch_size"])
            for f in found
        )  # fmt: skip
        console().print(rows_table(rows, *keys))
        print_list(steps)
        console().print("batchwright profile show NAME   for its figures, source and defects")


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="A shipped profile's name, or one of its files.",
            autocompletion=completion.profiles,
        ),
    ],
    json: Json = False,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the picture goes.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Show a profile: latency, efficiency, fitted form, source, defects, and a picture."""
    with spoken(debug=debug, elsewhere="another place with --picture"):
        import profiles

        if is_steps(name):
            show_steps(name, json=json)
            return
        from .figures import save
        from .memory_words import memory_facts
        from .plain import dumps
        from .plots_profile import profile_figure

        profile = profiles.load(name)
        target = picture or Path("runs") / "profiles" / profile.name
        written: list[str] = []
        unwritten = None
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            written += [str(target.parent / file) for file in save(profile_figure(profile), target)]
        except OSError as error:
            unwritten = error  # the tables are shown all the same
        if json:
            memory = memory_facts(name)
            found = {**details(profile), "memory": memory, "pictures": written}
            typer.echo(dumps(found), nl=False)
        else:
            print_profile(profile, memory_facts(name))
            if written:
                say("picture: " + ", ".join(written))
        if unwritten is not None:
            raise unwritten


@app.command("import")
def import_table(
    file: Annotated[Path, typer.Argument(help="A CSV table with the published columns.")],
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="Keep only such rows; repeatable."),
    ] = None,
    name: Annotated[str, typer.Option(help="The profile's name; default: from its device.")] = "",
    complete: Annotated[
        bool, typer.Option(help="Take the largest full grid instead of refusing holes.")
    ] = False,
    licence: Annotated[str, typer.Option(help="Of the figures.")] = "not stated",
    into: Annotated[Path, typer.Option(metavar="DIR", help="Where the profile goes.")] = Path(),
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a profile of a table of latencies, one row per batch size and length."""
    with spoken(debug=debug, elsewhere="another folder with --into"):
        import profiles

        from .plain import dumps

        wanted = dict(column_filter(text) for text in where or [])
        try:
            profile = profiles.read_table(
                file, wanted, name=name, complete=complete, licence=licence
            )
        except profiles.ProfileError as error:
            raise profiles.ProfileError(as_typed(str(error))) from error
        side = profiles.save(profile, into)
        if json:
            typer.echo(dumps({**details(profile), "file": str(side)}), nl=False)
            return
        print_profile(profile)
        say(f'written: {side}   use it as  profile = "{side}"  in a scenario')


app.command()(measure)
app.command()(check)

UNITS = {"tokens": "tokens", "audio_ms": "ms"}
BETWEEN = {
    "grid": "",
    "bucket": "no slope: what the next batch size and the next length cost (CUDA graphs)",
}
"""What a batch between the points costs, where it is not the usual: straight lines."""


def as_typed(sentence: str) -> str:
    """What Python calls ``where`` as it is typed."""
    typed = sentence.replace("with `where`", 'with --where, as in --where "device=NVIDIA L4"')
    return typed.replace("`where`", "--where")


def column_filter(text: str) -> tuple[str, str]:
    """``device=NVIDIA A100`` as column and wanted value.

    Raises:
        ProfileError: there is no ``=``.
    """
    column, equals, value = text.partition("=")
    if not equals or not column:
        from profiles import ProfileError

        raise ProfileError(f"--where {text}: must be COLUMN=VALUE, as in device=NVIDIA A100")
    return column.strip(), value.strip()


def span(values: list[int]) -> str:
    """``1-128``, or the one value."""
    return f"{values[0]:,}" if len(values) == 1 else f"{values[0]:,}-{values[-1]:,}"


def summary(profile: Profile) -> dict[str, Any]:
    """What a list says of a profile."""
    import numpy as np

    shortest = profile.batch_size / (profile.latency_ns[:, 0] / 1e9)
    best = int(np.argmax(shortest))
    return {
        "name": profile.name,
        "model": profile.metadata.model,
        "device": profile.metadata.device,
        "precision": profile.metadata.precision,
        "framework": profile.metadata.framework,
        "batch_size": profile.batch_size.tolist(),
        "length": profile.length.tolist(),
        "length_unit": profile.length_unit,
        "best_per_s": float(shortest[best]),
        "best_batch_size": int(profile.batch_size[best]),
    }


def details(profile: Profile) -> dict[str, Any]:
    """Everything about a profile as plain data."""
    import profiles
    from profiles.forms import default_form
    from profiles.metadata import to_mapping

    fit = profiles.best_fit(profile)
    return {
        **summary(profile),
        "statistic": profile.statistic,
        "latency_ms": (profile.latency_ns / 1e6).tolist(),
        "efficiency_per_s": efficiency(profile).tolist(),
        "latency": default_form(profile),
        "noise": profiles.noise_label(profile),
        "fit": {"form": fit.form, "formula": formula(profile),
                "median_error": fit.median_error, "max_error": fit.max_error},
        "fingerprint": profiles.fingerprint(profile),
        "metadata": to_mapping(profile.metadata),
    }  # fmt: skip


def efficiency(profile: Profile) -> Any:
    """Requests per second of a full server at each point: ``k / S(k)``."""
    return profile.batch_size[:, None] / (profile.latency_ns / 1e9)


def formula(profile: Profile) -> str:
    """The fitted form with its coefficients."""
    import profiles

    fit = profiles.best_fit(profile)
    unit = "token" if profile.length_unit == "tokens" else "ms of audio"
    line = f"{fit.base_ns / 1e6:.3g} ms + {fit.per_token_ns / 1e3:.3g} us per {unit}"
    if fit.per_token_length_ns:
        line += f" + {fit.per_token_length_ns:.3g} ns per {unit} x length"
    return f"max({fit.floor_ns / 1e6:.3g} ms, {line})" if fit.floor_ns else line


def print_profile(profile: Profile, memory: Mapping[str, Any] | None = None) -> None:
    """The tables of ``show``."""
    from rich.columns import Columns
    from rich.console import Group

    import profiles
    from profiles.forms import default_form

    from .terminal import facts, rows_table

    screen = console()
    unit, meta = UNITS[profile.length_unit], profile.metadata
    lengths = [f"{length:,}" for length in profile.length]
    fit = profiles.best_fit(profile)
    rate = efficiency(profile)
    screen.print(f"[bold]{profile.name}[/bold]")
    latency = rows_table(
        (
            (size, *(f"{value / 1e6:.2f}" for value in row))
            for size, row in zip(profile.batch_size, profile.latency_ns, strict=True)
        ),
        *("batch", *lengths),
    )
    marked = rows_table(
        (
            (size, *(f"{value:,.0f}" + (" *" if value == best else "  ")
                     for value, best in zip(row, rate.max(axis=0), strict=True)))
            for size, row in zip(profile.batch_size, rate, strict=True)
        ),
        *("batch", *(f"{length}  " for length in lengths)),
    )  # fmt: skip
    left = Group(f"latency, ms ({profile.statistic})", latency)
    right = Group("efficiency k/S(k), requests/s (* best)", marked)
    screen.print(f"by batch size and length in {unit}:\n")
    screen.print(Columns([left, right], padding=(0, 6)))
    screen.print(
        facts(
            {
                "fitted": f"{formula(profile)}   (error {100 * fit.median_error:.1f} % median, "
                f"{100 * fit.max_error:.0f} % at most)",
                "between": BETWEEN[default_form(profile)],
                "jitter": profiles.noise_label(profile),
                "memory": "" if memory is None else memory["text"],
                "model": f"{meta.model}, {meta.precision}, {meta.framework}",
                "device": meta.device,
                "timed": meta.timed,
                "samples": meta.samples,
                "source": meta.source,
                "licence": meta.licence,
                "defects": "\n".join(meta.defects) or "none known",
                "identity": profiles.fingerprint(profile)[:16],
            }
        )
    )
