"""Runs the code blocks of a page, in order, in a folder of the page's own.

``sh``, ``console``
    bash that stops at the first failure; the environment of the tests is first in ``PATH``.  In a
    ``console`` block lines with ``$`` are commands (``>`` goes on) and the others their output.
    Commands of ``batchwright`` that need no shell run in this process, which has everything
    imported and compiled; ``tests/test_cli.py`` starts it as a program.  A live validation is one
    of its own, too: this one has other things to do at times.
``python``
    one namespace for all blocks of a page.
``toml``
    a scenario: a whole one is read, and a part of one is laid over another.
``json``, ``yaml``
    parsed.
``text``
    shown; checked where the page says whose output it is.

Compiled code is kept where every test keeps it: it is named for what it was made from.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import typer
import yaml
from page_blocks import Block
from shown_output import missing_line
from typer.testing import CliRunner

from experiments import config
from experiments.assemble import assembled
from experiments.cli import app
from experiments.config import SHIPPED, load_scenario
from experiments.iteration import load_scenario as load_token_scenario
from experiments.overrides import Override, apply_override

LANGUAGES = ("sh", "console", "python", "toml", "json", "yaml", "text")
LONGEST_S = 900
"""Of one block: a machine may stall."""


KEPT: list[dict[str, Any]] = []
"""What pages have named, kept: numba knows a class of tuples by its place in memory, which must not
go to the next page's class of the same name."""


class Page:
    """One page that is being run."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.printed = ""
        self.namespace: dict[str, Any] = {"__name__": "page"}

    def run(self, block: Block) -> None:
        """Run one block in the page's folder, which is the working directory.

        Raises:
            AssertionError: it failed, or printed something else than the page shows.
        """
        where = f"{self.name}, line {block.line}"
        assert block.language in LANGUAGES, f"{where}: {block.language!r} is none of {LANGUAGES}"
        if "file" in block.says:
            path = self.folder / block.says["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        getattr(self, f"_{block.language}")(block, where)

    def _sh(self, block: Block, where: str) -> None:
        self.printed = self._shell(block.text, int(block.says.get("fails", 0)), where)

    def _console(self, block: Block, where: str) -> None:
        for command, shown in commands(block.text):
            code = int(block.says.get("fails", 0))
            self.printed = self._shell(command, code, where)
            self._compare(shown, where)

    def _shell(self, text: str, code: int, where: str) -> str:
        """What a script printed, on both streams."""
        script = without_shell(text)
        if script is None:
            return self._bash(text, code, where)
        printed, ended = "", 0
        for words in script:
            with called_as(words):
                ran = CliRunner().invoke(app, words[1:], env={"NO_COLOR": "1"})
            printed, ended = printed + ran.output, ran.exit_code
            if ended:
                break
        assert ended == code, f"{where}: exit code {ended}\n{text}\n{printed}"
        return printed

    def _bash(self, text: str, code: int, where: str) -> str:
        """What a script printed, on both streams."""
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.folder,
            env=os.environ
            | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
        assert ran.returncode == code, f"{where}: exit code {ran.returncode}\n{text}\n{ran.stdout}"
        return ran.stdout

    def _python(self, block: Block, where: str) -> None:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block.text, where, "exec"), self.namespace)
        KEPT.append(self.namespace)
        self.printed = printed.getvalue()

    def _toml(self, block: Block, where: str) -> None:
        tables = tomllib.loads(block.text, parse_float=Decimal)
        if "part of" in block.says:
            self._part(tables, block.says["part of"])
        elif {"workload", "service"} & tables.keys():
            path = self.folder / block.says.get("file", "page.toml")
            path.write_text(block.text)
            load = load_token_scenario if "engine" in tables else load_scenario
            load(path)

    def _part(self, tables: dict[str, Any], source: str) -> None:
        """Read a scenario with the tables laid over it: what they name is theirs alone."""
        path = SHIPPED / f"{source}.toml"
        path = path if path.is_file() else self.folder / source
        content = config._read(path, source)
        for key, value in leaves(tables):
            apply_override(content, Override("page", key, value))
        assembled(config._checked(content), path)

    def _json(self, block: Block, where: str) -> None:
        json.loads(block.text)

    def _yaml(self, block: Block, where: str) -> None:
        list(yaml.safe_load_all(block.text))

    def _text(self, block: Block, where: str) -> None:
        if "output of" in block.says:
            self.printed = (self.folder / block.says["output of"]).read_text()
        if {"output", "output of"} & block.says.keys():
            self._compare(block.text, where)

    def _compare(self, shown: str, where: str) -> None:
        line = missing_line(shown, self.printed)
        assert line is None, f"{where}: not printed: {line}\nbut:\n{self.printed}"


def commands(text: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with what is shown below it."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif line.startswith("> ") and found and not found[-1][1]:
            found[-1] = (found[-1][0] + line[2:], "")
        elif found:
            found[-1] = (found[-1][0], found[-1][1] + line)
        elif line.strip():
            raise AssertionError(f"a console block begins with $, not with {line!r}")
    return found


SHELL = re.compile(r"[|><;&$`*?(){}~]")
"""What a shell reads otherwise than it stands; between quotes, too, so that nobody has to parse."""


def without_shell(script: str) -> list[list[str]] | None:
    """The words of a script of ``batchwright`` commands alone; None where it takes a shell."""
    lines = [shlex.split(line, comments=True) for line in script.replace("\\\n", " ").splitlines()]
    words = [line for line in lines if line]
    ours = all(line[0] == "batchwright" and line[1:2] != ["validate"] for line in words)
    plain = ours and not SHELL.search(script)
    return words if plain and words else None


@contextlib.contextmanager
def called_as(words: list[str]) -> Iterator[None]:
    """The command line that a manifest keeps."""
    before, sys.argv = sys.argv, words
    try:
        yield
    finally:
        sys.argv = before


def leaves(tables: dict[str, Any]) -> list[tuple[tuple[str, ...], Any]]:
    """Every key of every headed table, with its value."""
    return [
        ((head, key), value)
        for head, table in tables.items()
        for key, value in (table.items() if isinstance(table, dict) else ())
    ] + [((head,), value) for head, value in tables.items() if not isinstance(value, dict)]


def check_shown(block: Block) -> None:
    """Read a block that is not run: its Python compiles, and its commands and options exist.

    Raises:
        AssertionError: there is no such command or option, or no such language.
        SyntaxError: it is no Python.
    """
    assert block.language in LANGUAGES, f"{block.language!r} is none of {LANGUAGES}"
    if block.language == "python":
        compile(block.text, f"line {block.line}", "exec")
    if block.language == "sh":
        assert unknown_words(block.text) == []
    if block.language == "console":
        assert unknown_words("".join(command for command, _ in commands(block.text))) == []


def unknown_words(script: str) -> list[str]:
    """Commands and options of ``batchwright`` in a script that the program does not have."""
    found = []
    lines = re.split(r"\n|&&|\|\||;|\|", script.replace("\\\n", " "))
    for line in lines:
        words = shlex.split(line, comments=True)
        if words and words[0] == "batchwright":
            found += _unknown(words[1:])
    return found


def _unknown(words: list[str]) -> list[str]:
    command, path = typer.main.get_command(app), []
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        path.append(words.pop(0))
        command = command.commands.get(path[-1])
        if command is None:
            return [" ".join(path)]
    known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    given = (word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word))
    return [" ".join([*path, word]) for word in given if word not in known | {"--help", "-h"}]
