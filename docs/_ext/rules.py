"""Policies, routers and autoscalers as Markdown: each class, and the keys that set it."""

from __future__ import annotations

from scenario_keys import Reference, anchor

from experiments.json_schema import scenario_json_schema, token_json_schema
from experiments.json_schema_rules import ALL, OF_TOKENS


def policies() -> str:
    """A section for each kind of policy."""
    return _family("policy", "policies")


def routers() -> str:
    """A section for each kind of router."""
    return _family("router", "policies.routers")


def autoscalers() -> str:
    """A section for each kind of autoscaler."""
    return _family("autoscaler", "policies.autoscalers")


def iterations() -> str:
    """A section for each rule of continuous batching."""
    return _family("iteration", "policies.iteration")


def _family(family: str, module: str) -> str:
    schema = token_json_schema() if family in OF_TOKENS else scenario_json_schema()
    reference = Reference(schema)
    sections = []
    for kind, cls in ALL[family].items():
        name = f"{family}.{kind}"
        keys = "\n".join(reference.keys(reference.tables[name]))
        sections.append(
            f"(rule-{anchor(name)})=\n### {kind}\n\n"
            f"```{{eval-rst}}\n.. autoclass:: {module}.{cls.__name__}\n   :no-members:\n```\n\n"
            f"{keys or 'It takes no keys but `kind`.'}\n"
        )
    return "\n".join(sections)
