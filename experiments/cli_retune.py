"""``batchwright tune --from-metrics URL --apply URL``: tuned for the traffic that was there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cli_run import Finished, remove_if_empty
from .cli_speech import say
from .config import Scenario, ScenarioError, is_for_tokens, load_scenario, scenario_names
from .places import is_file
from .rerun import scenario_of_run
from .retuning.asking import Asked as Place
from .retuning.asking import asked as asked_place
from .retuning.asking import token_of
from .retuning.from_metrics import Metrics, retuned, seconds_of
from .runs import create_run, now, resolve_run
from .sentences import RunFailed
from .tune.result import Tuning
from .tune.tuning import check_tuning

if TYPE_CHECKING:
    from .cli_tune import Asked

KEPT = "from_metrics"
"""The key of a manifest."""


def metrics_of(
    source: str | None, since: str | None, token_file: Path | None, *, as_is: bool
) -> Metrics | None:
    """What was typed of metrics; None: nothing.

    Raises:
        ScenarioError: one option needs another, or is no time.
    """
    if source is None:
        for name, given in (("--since", since is not None), ("--profile-as-is", as_is)):
            if given:
                raise ScenarioError(f"{name} is about what a server recorded: give --from-metrics")
        return None
    return Metrics(source, token_of(token_file), seconds_of(since), as_is)


def server_of(url: str | None, token_file: Path | None) -> Place | None:
    """The server that gets the winner; None: none does.

    Raises:
        ScenarioError: it is no address, or no server of batchwright answers there.
    """
    if url is None:
        return None
    from .retuning.applying import OPTION, check_server

    place = asked_place(OPTION, url, token_of(token_file))
    check_server(place)
    return place


def begun(asked: Asked, metrics: Metrics, root: Path) -> tuple[Scenario, Path, str, dict[str, Any]]:
    """The scenario of other traffic, the folder of its run, when it began, and facts of it.

    Raises:
        ScenarioError: nothing can be learned from there, or it cannot be tuned.
        RunError: there is no such run.
    """
    base = base_of(asked, root)
    folder, started = create_run(base.name, "tune", root), now()
    try:
        found = retuned(base, metrics, folder)
        try:
            check_tuning(found.scenario)
        except BaseException:
            for path in folder.iterdir():
                path.unlink()
            raise
    except BaseException:
        remove_if_empty(folder)
        raise
    for sentence in found.told:
        say(sentence)
    say("")
    return found.scenario, folder, started, found.facts


def base_of(asked: Asked, root: Path) -> Scenario:
    """What was served: a scenario, or the one of a run.

    Raises:
        ScenarioError: it is for a model that generates, or an override is wrong.
        RunError: there is no such run.
    """
    if asked.resume:
        raise ScenarioError(
            "--resume goes on with the traffic that it has: leave out --from-metrics"
        )
    if is_for_tokens(asked.source):
        raise ScenarioError(
            f"{asked.source} has an [engine]: --from-metrics reads what batchwright serve records, "
            "which takes scenarios with a [service]"
        )
    if asked.source in scenario_names() or is_file(asked.source):
        base = load_scenario(asked.source, asked.overrides)
    else:
        from .retuning.writing import overridden

        folder = resolve_run(asked.source, root, commands=("tune", "compare", "simulate"))
        base = overridden(scenario_of_run(folder), asked.overrides)
    if not asked.present:
        return base
    from .export.contestants import with_files

    return with_files(base, asked.present, say)[0]


def apply_winner(place: Place, done: Finished) -> None:
    """Put the winner into a server.

    Raises:
        RunFailed: there is none, or the server does not take it.
        ScenarioError: the server does not answer.
    """
    from .retuning.applying import apply

    found = done.result
    if not isinstance(found, Tuning):
        raise ScenarioError("--apply takes the winner of a scenario with a [service]")
    if found.winner is None or found.interrupted:
        why = "the search was cut off" if found.interrupted else "no setting keeps every limit"
        raise RunFailed(f"nothing is applied, as {why}; {place.shown} goes on as it is")
    say(apply(place, scenario_of_run(done.folder), found.winner.setting))


__all__ = ["KEPT", "apply_winner", "begun", "metrics_of", "server_of"]
