"""Files of serving stacks read as policies: the stack is found by the file's name and content."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.places import at_home, is_file, is_folder
from experiments.rules import ParameterError, build_policy
from experiments.sentences import suggestion
from experiments.wording import joined

from . import STACKS, Stack
from .contract import ExportError, ForeignFileError, Imported

if TYPE_CHECKING:
    from policies.contract import Policy

MOST_FILES = 200
"""Of a folder: an export has a few, and a whole disk is a mistake."""


ROUTED = frozenset({"triton"})
"""Modules that read several files of one name as ranges of length."""


class Found(NamedTuple):
    """What a file of a stack asks for."""

    name: str
    """The file's name without its ending; a folder's name."""
    stack: Stack
    imported: Imported

    @property
    def policy(self) -> Policy:
        """Not yet bound."""
        return build_policy(self.imported.table)


ALIASES = {
    "ray-serve": "ray",
    "tf-serving": "tensorflow-serving",
    "tfserving": "tensorflow-serving",
    "tei": "text-embeddings-inference",
}
"""Other names by which people call a stack."""


def stack_called(name: str) -> Stack:
    """A row of the table of stacks.

    Raises:
        ExportError: there is no such stack.
    """
    called = ALIASES.get(name, name)
    if called not in STACKS:
        raise ExportError(f"there is no stack {name!r}; {suggestion(name, STACKS)}")
    return STACKS[called]


def module_of(stack: Stack) -> Any:
    """The module that writes and reads the files of a stack."""
    return importlib.import_module(f"{__package__}.{stack.module}")


def read_file(path: str | Path, stack: str | None = None) -> Found:
    """The policy that a file, or a folder of files, asks for.

    Args:
        path: a file of a stack, or the folder of an export.
        stack: a name of :data:`STACKS`; by default it is found out.

    Raises:
        ForeignFileError: it cannot be read, or is no file of a stack.
        ExportError: there is no such stack, or its files are not read.
    """
    where = at_home(path)
    files = _texts(where)
    row = _recognised(where, files) if stack is None else stack_called(stack)
    _one_model(where, row, files)
    read = getattr(module_of(row), "read", None)
    if read is None:
        raise ExportError(
            f"files of {row.title} express no policy that could be read; "
            f"stacks that are read: {', '.join(readable())}"
        )
    try:
        found = Found(where.stem, row, read(files))
        assert found.policy is not None
    except ForeignFileError as error:
        raise ForeignFileError(f"{_parent(where)}{error}") from error
    except ParameterError as error:
        raise ForeignFileError(f"{where}: {error.key} {error}") from error
    return found


def readable() -> list[str]:
    """Names of the stacks whose files are read."""
    return [name for name, row in STACKS.items() if row.files]


def imported_policies(files: Iterable[str | Path]) -> dict[str, Policy]:
    """Policies of files, each under the name of its file, not yet bound.

    Raises:
        ExportError: a file cannot be read as one of a stack.
    """
    return {name: found.policy for name, found in imported(files).items()}


def imported(files: Iterable[str | Path], taken: Iterable[str] = ()) -> dict[str, Found]:
    """What files ask for, each under the name of its file.

    Args:
        files: paths.
        taken: names that others have; a file of that name gets a number after it.

    Raises:
        ExportError: a file cannot be read as one of a stack.
    """
    found: dict[str, Found] = {}
    known = set(taken)
    for path in files:
        one = read_file(path)
        name, number = one.name, 1
        while name in known:
            number += 1
            name = f"{one.name}-{number}"
        known.add(name)
        found[name] = one
    return found


def _one_model(where: Path, row: Stack, files: Mapping[str, str]) -> None:
    """Refuse a folder of several models where a stack has no rule of a router to read."""
    same = [name for name in files if row.files and Path(name).name == row.files[0]]
    if len(same) > 1 and row.module not in ROUTED:
        raise ForeignFileError(
            f"{where} holds {len(same)} files {row.files[0]}; give one of them: {joined(same)}"
        )


def _texts(where: Path) -> dict[str, str]:
    """The texts of a file or of a folder's files, by name."""
    if not (is_file(where) or is_folder(where)):
        raise ForeignFileError(
            f"there is no file {str(where)!r}; give a file of a serving stack, or a folder of them"
        )
    if is_file(where):
        return {where.name: _text(where)}
    inside = sorted(each for each in where.rglob("*") if is_file(each))
    if not 1 <= len(inside) <= MOST_FILES:
        raise ForeignFileError(
            f"{where} holds {len(inside)} files; give one file, or the folder of an export"
        )
    wanted = {pattern for row in STACKS.values() for pattern in row.files}
    named = {each.relative_to(where).as_posix(): each for each in inside}
    return {
        name: _text(each)
        for name, each in named.items()
        if each.suffix == ".json" or any(fnmatch(each.name, pattern) for pattern in wanted)
    }


def _text(where: Path) -> str:
    try:
        return where.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ForeignFileError(f"{where} is no text in UTF-8") from error
    except OSError as error:
        raise ForeignFileError(f"{where} cannot be read: {error.strerror}") from error


def _recognised(where: Path, files: Mapping[str, str]) -> Stack:
    """The stack whose file it is: by name and content, else by content, else by its exact name.

    The last lets a damaged file be read, so that its mistake is told.
    """
    rows = [row for row in STACKS.values() if row.files]
    for is_of in (_by_both, _by_content, _by_name):
        found = [row for row in rows if any(is_of(row, *each) for each in files.items())]
        if len(found) > 1 and where.is_dir():
            names = joined([row.name for row in found])
            raise ForeignFileError(
                f"{where} holds files of {names}; give the folder or the file of one of them"
            )
        if found:
            return found[0]
    raise ForeignFileError(
        f"{where} looks like no file of a stack; name its stack with --from "
        f"({', '.join(readable())})"
    )


def _by_both(row: Stack, name: str, text: str) -> bool:
    fits = any(fnmatch(Path(name).name, pattern) for pattern in row.files)
    return fits and (_by_content(row, name, text) or not _has_content_check(row))


def _by_content(row: Stack, _name: str, text: str) -> bool:
    return _has_content_check(row) and bool(module_of(row).recognises(text))


def _by_name(row: Stack, name: str, _text: str) -> bool:
    return Path(name).name == row.files[0]


def _has_content_check(row: Stack) -> bool:
    return hasattr(module_of(row), "recognises")


def _parent(where: Path) -> str:
    """What stands before the name of a file in a sentence."""
    folder = where if where.is_dir() else where.parent
    return "" if folder == Path() else f"{folder.as_posix()}/"
