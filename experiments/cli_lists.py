"""``batchwright scenarios`` and ``batchwright policies``: what there is to choose from.

Routers and autoscalers are rules of clusters, and stand below the policies.
"""

from __future__ import annotations

from typing import Any

import typer

from .cli_speech import console
from .plain import dumps
from .terminal import rows_table


def show_scenarios(*, json: bool) -> None:
    """Name, load, policies and description of each shipped scenario."""
    from .config import load_scenario, scenario_names, token_scenario_names

    found = [about(load_scenario(name)) for name in scenario_names()]
    generating = [about_tokens(name) for name in token_scenario_names()]
    if json:
        typer.echo(dumps({"scenarios": found, "generating": generating}), nl=False)
        return
    rows = (
        (f["name"], "closed" if f["load"] is None else f"{f['load']:.2f}", f["description"])
        for f in found
    )
    console().print(rows_table(rows, "scenario", "load", "what it is", left=3))
    rows = ((f["name"], f"{f['rate_per_s']:.3g}/s", f["description"]) for f in generating)
    console().print(rows_table(rows, "token by token", "rate", "what it is", left=3))
    console().print("batchwright compare SCENARIO   to compare its policies")


def about_tokens(name: str) -> dict[str, Any]:
    """What the list says of a scenario of a model that generates."""
    from .iteration.config import load_scenario

    scenario = load_scenario(name)
    return {
        "name": scenario.name,
        "description": scenario.spec.description or "",
        "rate_per_s": scenario.offered_rate_per_s,
        "policies": list(scenario.policies),
    }


def about(scenario: Any) -> dict[str, Any]:
    """What the list says of a scenario."""
    return {
        "name": scenario.name,
        "description": scenario.spec.description or "",
        "profile": None if scenario.profile is None else scenario.profile.name,
        "servers": scenario.servers,
        "load": scenario.load,
        "policies": list(scenario.policies),
    }


def show_policies(*, json: bool) -> None:
    """Kind, parameters and first sentence of each policy, router and autoscaler."""
    from policies import POLICIES
    from policies.autoscalers import AUTOSCALERS
    from policies.iteration import RULES
    from policies.routers import ROUTERS

    from .rules import parameters

    families = {
        "policies": POLICIES,
        "routers": ROUTERS,
        "autoscalers": AUTOSCALERS,
        "iterations": RULES,
    }
    found = {
        family: [
            {"kind": kind, "parameters": list(parameters(cls)), "about": first_line(cls)}
            for kind, cls in kinds.items()
        ]
        for family, kinds in families.items()
    }
    if json:
        typer.echo(dumps(found), nl=False)
        return
    for heading, family in (
        ("kind", "policies"),
        ("service.cluster.router", "routers"),
        ("service.cluster.autoscaler", "autoscalers"),
        ("kind, with an [engine]", "iterations"),
    ):
        rows = ((f["kind"], "\n".join(f["parameters"]) or "-", f["about"]) for f in found[family])
        drawn = rows_table(rows, heading, "parameters", "what it does", left=3)
        drawn.show_lines = False
        console().print(drawn)


def first_line(cls: type) -> str:
    """The first line of a class's docstring."""
    return (cls.__doc__ or "").strip().partition("\n")[0].replace("``", "")
