"""Every key of a scenario file as Markdown, from the JSON schema that editors use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from experiments.json_schema import scenario_json_schema, token_json_schema
from experiments.json_schema_words import UNITS

Json = Mapping[str, Any]

MANY = 10**8
"""Limits above this keep numbers within 64 bits; nobody comes near them."""
UNIT_WORDS = {
    "Per second.": "1/s",
    "GiB per second.": "GiB/s",
    "Milliseconds.": "ms",
    "Microseconds.": "us",
    "Nanoseconds.": "ns",
    "Seconds.": "s",
    "Watts.": "W",
}
KINDS = {"number": "number", "integer": "whole number", "string": "text", "boolean": "true, false"}
OTHER_PLACES = {
    "policy": "[any policy](policies.md)",
    "router": "[any router](policies.md#routers)",
    "autoscaler": "[any autoscaler](policies.md#autoscalers)",
    "iteration": "[any rule](#rules)",
}
"""Families of rules that have a place of their own."""


def markdown() -> str:
    """A section for each table, in the order in which a reader meets them."""
    parts = Reference(scenario_json_schema()).sections()
    end = "## `[policies.NAME]`\n\n`kind` and its numbers: [policies](policies.md) has them all.\n"
    return "\n".join(["## The file\n", *parts, end])


def of_tokens() -> str:
    """The same of files with an ``[engine]``: what they have in common with others is linked."""
    reference = Reference(token_json_schema())
    reference.shown = dict.fromkeys(scenario_json_schema()["definitions"], "elsewhere")
    return "\n".join(reference.sections(depth=3))


class Reference:
    """The schema, and which tables have been shown."""

    def __init__(self, schema: Json) -> None:
        self.schema = schema
        self.tables: Json = schema["definitions"]
        self.shown: dict[str, str] = {}

    def sections(self, depth: int = 2) -> Iterator[str]:
        """The keys of the whole file, then each table where it is first met."""
        yield from self.keys(self.schema)
        for key, value in self.schema["properties"].items():
            for name in references(value):
                yield from self._table(name, key, value, depth)

    def _table(self, name: str, path: str, place: Json, depth: int) -> Iterator[str]:
        """A table and the tables in it that were not shown before."""
        if name in self.shown or name.partition(".")[0] in OTHER_PLACES:
            return
        self.shown[name] = path
        table = self.tables[name]
        yield f"({anchor(name)})=\n{'#' * min(depth, 4)} {heading(path, place, table)}\n"
        yield f"{table['description']}\n"
        yield from self.keys(table)
        for key, value in table["properties"].items():
            for inner in references(value):
                yield from self._table(inner, f"{path}.{key}", value, depth + 1)

    def keys(self, table: Json) -> Iterator[str]:
        """The keys of a table: what each takes, its default, and what it means."""
        for key, value in table["properties"].items():
            if "const" in value:  # the heading says it
                continue
            unit = unit_of(key)
            said = [self._takes(value, unit), default_of(value)]
            said += ["required"] if key in table.get("required", ()) else []
            yield f"`{key}` — {'; '.join(filter(None, said))}\n: {meaning(value, unit)}\n"

    def _takes(self, value: Json, unit: str) -> str:
        """What may stand on the right of the key; tables are links."""
        words = takes(value)
        if "number" in words and unit:
            words += f", in {UNIT_WORDS.get(unit, unit.strip('.'))}"
        families = {name.partition(".")[0] for name in references(value)} & OTHER_PLACES.keys()
        if families:
            return ", ".join(OTHER_PLACES[family] for family in sorted(families))
        tables = ", ".join(self._link(name, value) for name in references(value))
        if not tables:
            return words
        if len(references(value)) > 1:
            tables = f"one of {tables}"
        return " or ".join(filter(None, (words, f"{tables}{self._several(value)}")))

    @staticmethod
    def _several(value: Json) -> str:
        return " (a list of them)" if value.get("type") == "array" else ""

    def _link(self, name: str, value: Json) -> str:
        """A link to a table: by the word that chooses it, or by its required keys."""
        alone = "allOf" in value or value.get("type") == "array"
        words = "a table" if alone else call(self.tables[name])
        return f"[{words}](#{anchor(name)})"


def references(value: Json) -> list[str]:
    """Names of the tables that a key may hold, each once."""
    found: list[str] = []
    if "$ref" in value:
        found.append(value["$ref"].rpartition("/")[2])
    for key in ("allOf", "anyOf", "oneOf"):
        found += [name for item in value.get(key, ()) for name in references(item)]
    for key in ("items", "additionalProperties"):
        found += references(value[key]) if isinstance(value.get(key), dict) else []
    return list(dict.fromkeys(found))


def chosen_by(table: Json) -> str | None:
    """``process = "poisson"``, where a word chooses the table."""
    for key, value in table["properties"].items():
        if "const" in value:
            return f'{key} = "{value["const"]}"'
    return None


def call(table: Json) -> str:
    """What a link to a table says: the word that chooses it, or its required keys."""
    chosen = chosen_by(table)
    if chosen is not None:
        return f"`{chosen.rpartition(' ')[2]}`"
    keys = table.get("required") or list(table["properties"])[:1]
    return f"`{{ {', '.join(keys)} }}`"


def heading(path: str, place: Json, table: Json) -> str:
    """A table's place in the file, and what chooses it among others."""
    chosen = chosen_by(table)
    if chosen is not None:
        return f"`{path}`: `{chosen}`"
    if "allOf" in place:
        return f"`[{path}]`"
    several = place.get("type") == "array"
    return f"`[[{path}]]`" if several else f"`{path}`: {call(table)}"


def anchor(name: str) -> str:
    """Of a table's section."""
    return "scenario-" + name.replace(".", "-").replace("_", "-").lower()


def unit_of(key: str) -> str:
    """As the schema says it behind the meaning."""
    unit = next((text for ending, text in UNITS.items() if key.endswith(ending)), "")
    return "Milliseconds." if key == "ms" else unit


def meaning(value: Json, unit: str) -> str:
    """The words of the schema without the unit, which has a column."""
    text: str = value.get("description", "")
    short = text.replace(f"{unit[:-1]}; inf is forever.", "`inf` is forever.") if unit else text
    return short.removesuffix(unit).strip() if unit else short


def default_of(value: Json) -> str:
    """The default as a scenario would write it; tables say theirs themselves."""
    if "default" not in value or isinstance(value["default"], dict):
        return ""
    return f"default `{toml(value['default'])}`"


def toml(value: Any) -> str:
    """A value as a scenario writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else f"{value}"


def takes(value: Json) -> str:
    """The values that are no tables, in words."""
    if "enum" in value:
        return ", ".join(f"`{toml(word)}`" for word in value["enum"])
    for key in ("anyOf", "oneOf"):
        if key in value:
            words = [takes(item) for item in value[key]]
            return " or ".join(dict.fromkeys(filter(None, words)))
    if value.get("type") == "array":
        return f"list of {plural(takes(value['items']))}" if takes(value["items"]) else ""
    if value.get("type") == "object":
        inner = value.get("additionalProperties")
        return "table of tables" if isinstance(inner, dict) and not references(value) else ""
    return KINDS.get(value.get("type", ""), "") + limits(value)


def plural(words: str) -> str:
    """``whole numbers >= 1``."""
    return re.sub(r"^(whole number|number|text|list)\b", r"\1s", words)


def limits(value: Json) -> str:
    """``> 0, <= 1``."""
    signs = (
        ("exclusiveMinimum", ">"),
        ("minimum", "≥"),
        ("exclusiveMaximum", "<"),
        ("maximum", "≤"),
    )
    said = [f"{sign} {value[key]:g}" for key, sign in signs if abs(value.get(key, MANY)) < MANY]
    return f" {', '.join(said)}" if said else ""
