"""The command line as Markdown, from what the program itself says under ``--help``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

from experiments.cli import app

NAME = "batchwright"
NOTE = re.compile(r"\s*\[([^\[\]]*)\]$")
BETWEEN = re.compile(r"<=|>=|<|>")
OWN = ("--help", "--install-completion", "--show-completion")


def commands() -> Iterator[tuple[str, Any, Any]]:
    """Every command that does something: its words, itself and its context."""
    whole: Any = typer.main.get_command(app)
    top = whole.context_class(whole, info_name=NAME)
    for name, command in whole.commands.items():
        context = command.context_class(command, info_name=name, parent=top)
        inner = getattr(command, "commands", None)
        if inner is None:
            yield f"{NAME} {name}", command, context
        for below, one in (inner or {}).items():
            yield (
                f"{NAME} {name} {below}",
                one,
                one.context_class(one, info_name=below, parent=context),
            )


def markdown() -> str:
    """A section for each command, with an anchor for each option."""
    return "\n".join(_section(*one) for one in commands())


def _section(words: str, command: Any, context: Any) -> str:
    """Usage, what it does, its arguments and its options."""
    records = [
        (param, record)
        for param in command.get_params(context)
        if (record := param.get_help_record(context)) and not set(param.opts) & set(OWN)
    ]
    arguments = [param for param, _ in records if param.param_type_name == "argument"]
    usage = " ".join([words, *map(_argument, arguments), "[OPTIONS]"])
    parts = [f"## {words}", "", _prose(command.help or ""), "", f"```text\n{usage}\n```", ""]
    parts += [_described(_argument(param).strip("[]"), record[1]) for param, record in records
              if param.param_type_name == "argument"]  # fmt: skip
    parts += [f"```{{program}} {words}\n```", ""]
    parts += [_option(param, *record) for param, record in records
              if param.param_type_name != "argument"]  # fmt: skip
    return "\n".join(parts)


def _argument(param: Any) -> str:
    name = (param.metavar or param.name.upper()).strip("[]")
    several = name if param.nargs == 1 or name.endswith("...") else f"{name}..."
    return several if param.required else f"[{several}]"


def _prose(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _described(name: str, text: str) -> str:
    """An argument and what it is."""
    return f"`{name}`\n: {_sentences(text.removesuffix('[required]').strip())}\n"


def _option(param: Any, names: str, text: str) -> str:
    """An option with an anchor; both of a pair of switches."""
    if getattr(param, "is_flag", False):
        text = text.replace("[default: ", "[default: --")
    return f"```{{option}} {_spelled(param, names)}\n{_sentences(text)}\n```\n"


def _spelled(param: Any, names: str) -> str:
    """``--quiet, -q`` or ``--engine kernel|simpy``, as one writes it."""
    if getattr(param, "is_flag", False):
        return ", ".join([*param.opts, *param.secondary_opts])
    kind = names.split(" ", 1)[-1].strip("<>[]{}")
    word = kind.split()[0].upper()
    value = param.metavar or (kind if "|" in kind else "TEXT" if word == "STR" else word)
    return ", ".join(f"{name} {value}" for name in param.opts)


def _sentences(text: str) -> str:
    """The help, and what stands in brackets behind it as sentences."""
    note = NOTE.search(text)
    if note is None:
        return text
    return " ".join([text[: note.start()], *map(_note, note[1].split(";"))])


def _note(said: str) -> str:
    """A default, a range or that it is required, as a sentence."""
    key, colon, value = said.strip().partition(": ")
    if colon:
        return f"{key.capitalize()}: `{value}`."
    if key == "required":
        return "Required."
    spaced = BETWEEN.sub(r" \g<0> ", key)
    return f"`{spaced}`."
