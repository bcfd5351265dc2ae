"""How the command line speaks: answers on stdout, the rest on stderr, failures in a sentence.

Exit codes: 0 done; 1 the run failed; 2 the input is wrong; 130 interrupted, what is done is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from .refusals import ELSEWHERE, GONE, is_gone, refusal

if TYPE_CHECKING:
    from rich.console import Console

    from .parallel import Progress

FAILED, WRONG_INPUT, INTERRUPTED = 1, 2, 130

NARROWEST = 100
"""Columns of a table that goes to a pipe or a file."""


def console(*, stderr: bool = False) -> Console:
    """A rich console; in a pipe it is 100 columns wide and plain, and it obeys NO_COLOR."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else NARROWEST
    return Console(file=stream, width=width, highlight=False, soft_wrap=False)


def say(text: str) -> None:
    """One line to the person at the terminal, on stderr."""
    typer.echo(text, err=True)


def input_errors() -> tuple[type[ValueError], ...]:
    """The errors that mean: the input is wrong, and the text says how."""
    from experiments.config import ScenarioError
    from policies.contract import PolicyError
    from profiles.latency import ProfileError
    from sim.workload import WorkloadError

    from .diagnosis.errors import DiagnosisError
    from .export.contract import ExportError
    from .runs import RunError

    return (
        ScenarioError, ProfileError, WorkloadError, PolicyError, RunError, ExportError,
        DiagnosisError,
    )  # fmt: skip


@contextmanager
def spoken(*, debug: bool = False, elsewhere: str = ELSEWHERE) -> Iterator[None]:
    """Turn every failure into one sentence on stderr and an exit code.

    Args:
        debug: let it through, with its traceback.
        elsewhere: what to choose where something cannot be written.

    Raises:
        typer.Exit: with the code of the failure.
    """
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        say("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:  # the reader of our output has gone, as in `| head`
        sys.stderr.close()
        raise typer.Exit(FAILED) from None
    except Exception as error:
        if debug:
            raise
        say(sentence(error, elsewhere))
        code = WRONG_INPUT if isinstance(error, input_errors()) else FAILED
        raise typer.Exit(code) from None


LONGEST = 1000
"""Characters of a sentence; of a longer one, which quotes a lot of its input, the middle goes."""


def sentence(error: Exception, elsewhere: str = ELSEWHERE) -> str:
    """What went wrong, in one sentence; ``elsewhere`` is another place for what is written."""
    from .sentences import RunFailed

    if is_gone():
        return f"error: {GONE}"
    text = " ".join(str(error).split())
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    if isinstance(error, (*input_errors(), RunFailed)):
        return f"error: {text}"
    if isinstance(error, OSError):
        return f"error: {refusal(error, elsewhere)}"
    if isinstance(error, MemoryError):
        return "error: not enough memory; ask for fewer requests with --set workload.requests=..."
    return f"error: the run failed: {type(error).__name__}: {text} (--debug shows where)"


@contextmanager
def progress_bar(*, quiet: bool, still: bool = False) -> Iterator[Progress]:
    """A bar on stderr for the person at the terminal; silent in a pipe or with ``--quiet``.

    Args:
        quiet: show nothing.
        still: draw only when told something; nothing moves while the process measures time.
    """
    screen = console(stderr=True)
    if quiet or not screen.is_terminal:
        yield lambda _what, _done, _total: None
        return
    from rich import progress as bars

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.TimeElapsedColumn(),
        bars.TextColumn("left"),
        bars.TimeRemainingColumn(compact=True),
    )
    with bars.Progress(*columns, console=screen, transient=True, auto_refresh=not still) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda what, done, total: bar.update(
            task, description=what, completed=done, total=total, refresh=still
        )
