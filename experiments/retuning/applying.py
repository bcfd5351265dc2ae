"""A winner put into a server that runs: ``PUT /policy``, with what it was chosen for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from experiments.plain import plain
from experiments.scenario import Scenario
from experiments.sentences import RunFailed, ScenarioError
from experiments.serving import outlook
from experiments.serving.foretold import foretold
from experiments.tune.contestants import Setting
from experiments.wording import settings_text

from .asking import Asked

OPTION = "--apply"
OK = 200


def check_server(place: Asked) -> None:
    """Whether a server answers there, before a search begins.

    Raises:
        ScenarioError: nobody does, or it is no server of batchwright.
    """
    _present(place)


def _present(place: Asked) -> Mapping[str, Any]:
    content = place.ask("/policy").content
    if not isinstance(content, dict) or not isinstance(content.get("policy"), dict):
        raise ScenarioError(
            f"{OPTION} {place.shown} is no server of batchwright serve: it has no /policy"
        )
    return content


def apply(place: Asked, scenario: Scenario, setting: Setting) -> str:
    """Let a server ask a setting from its next batch on.

    Args:
        place: where it is.
        scenario: that the setting was chosen for.
        setting: the winner.

    Returns:
        What was done, in a sentence.

    Raises:
        RunFailed: the server does not take it.
        ScenarioError: it does not answer.
    """
    if setting.servers != scenario.servers:
        raise RunFailed(
            f"the winner has {setting.servers} servers, and a server that runs keeps its "
            f"{scenario.servers}: start another one with the run"
        )
    present = _present(place)
    window, expected = present.get("drift"), None
    if isinstance(window, dict):
        window_ns = round(float(window["window_s"]) * 1e9)
        expected = foretold(scenario, setting.policy, window_ns)
    alike = scenario.cluster is None or scenario.cluster.service_ns is None
    told = outlook.written(expected, scenario.draw()[1] if alike else None)
    answer = place.ask("/policy", {"policy": plain(setting.table), **told}, "PUT")
    if answer.status != OK:
        raise RunFailed(f"{place.shown} does not take the winner: {answer.error}")
    shown = {key: value for key, value in setting.table.items() if key != "kind"}
    rule = f" with {settings_text(shown)}" if shown else ""
    same = json.dumps(plain(setting.table), sort_keys=True) == json.dumps(
        present["policy"], sort_keys=True
    )
    if same:
        return f"applied: {place.shown} goes on with {setting.table['kind']}{rule}"
    return f"applied: {place.shown} asks {setting.table['kind']}{rule} from its next batch on"


__all__ = ["OPTION", "apply", "check_server"]
