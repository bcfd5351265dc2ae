"""Tables of a scenario file that know their keys, and unions that a key chooses from.

Every mistake is raised as one of the kinds of :mod:`experiments.sentences`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, model_validator
from pydantic_core import core_schema

from .sentences import TAG, broken_rule, choice, missing_key, unknown_key, wrong, wrong_at


class Table(BaseModel):
    """A TOML table: knows its keys, and tells a wrong or missing one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise wrong(f"a table with the keys {', '.join(cls.model_fields)}")
        for key in value:
            if key not in cls.model_fields:
                raise unknown_key(key, cls.model_fields)
        for key, field in cls.model_fields.items():
            if field.is_required() and key not in value:
                raise missing_key(key, field.description or "a value")
        return value


def content(value: Any) -> Any:
    """Tables as dictionaries again, with their defaults and without what was not given."""
    if isinstance(value, Table):
        given = {key: getattr(value, key) for key in type(value).model_fields}
        return {key: content(item) for key, item in given.items() if item is not None}
    if isinstance(value, list | tuple):
        return [content(item) for item in value]
    return value


def require_one(table: Table, *keys: str) -> None:
    """Exactly one of a table's keys must be given."""
    given = [key for key in keys if getattr(table, key) is not None]
    if len(given) != 1:
        raise broken_rule(
            f"give exactly one of {' and '.join(keys)}",
            **{key: getattr(table, key) for key in given},
        )


class Choice:
    """Annotation of a union of tables: how to see which of them a value is meant to be."""

    def __init__(
        self,
        tables: dict[str, type[Table]],
        check: Callable[[Any], Any],
        word: Callable[[Any], str],
    ) -> None:
        self.tables = tables
        self.check = check
        self.word = word

    def __get_pydantic_core_schema__(
        self, _source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """A tagged union whose mistakes are told before pydantic sees them."""
        members = {TAG + word: handler.generate_schema(t) for word, t in self.tables.items()}
        union = core_schema.tagged_union_schema(members, lambda value: TAG + self.word(value))
        return core_schema.no_info_before_validator_function(self.check, union)


def chosen_by(key: str, **tables: type[Table]) -> Choice:
    """A union of tables that a word under ``key`` chooses from.

    The word alone stands for a table with nothing else: ``"none"`` for ``{ kind = "none" }``.
    """
    words = ", ".join(tables)

    def check(value: Any) -> Any:
        if isinstance(value, str):
            value = {key: value}
        if not isinstance(value, dict):
            raise wrong(f"a table with the key {key}, one of {words}")
        if key not in value:
            raise missing_key(key, f"one of {words}")
        if not isinstance(value[key], str) or value[key] not in tables:
            raise wrong_at(key, value[key], choice(value[key], tables))
        return value

    return Choice(tables, check, lambda value: str(value[key]))


def _choice(key: str, member: type[Table] | Choice) -> Choice:
    if isinstance(member, Choice):
        return member
    return Choice({key: member}, lambda value: value, lambda _: key)


def chosen_by_key(**members: type[Table] | Choice) -> Choice:
    """A union of tables of which each has one key that no other has.

    Where several tables share that key, the member is a :func:`chosen_by` of them.
    """
    words = ", ".join(members)
    choices = {key: _choice(key, member) for key, member in members.items()}
    tables = {word: t for choice in choices.values() for word, t in choice.tables.items()}

    def given(value: dict[str, Any]) -> list[str]:
        return [key for key in members if key in value]

    def check(value: Any) -> Any:
        if not isinstance(value, dict):
            raise wrong(f"a table with one of the keys {words}")
        if len(given(value)) != 1:
            known = {key for table in tables.values() for key in table.model_fields}
            strangers = [key for key in value if key not in known]
            if strangers:
                raise unknown_key(strangers[0], known)
            got = {key: value[key] for key in given(value)}
            raise broken_rule(f"give exactly one of {words}", **got)
        return choices[given(value)[0]].check(value)

    return Choice(tables, check, lambda value: choices[given(value)[0]].word(value))
