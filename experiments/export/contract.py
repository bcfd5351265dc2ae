"""What an exporter gives and raises.

A stack is one module of this package and one row of :data:`experiments.export.STACKS`.  Rules:

1. The module has ``export(setting, *, nearest) -> Exported``.  It writes files that mean exactly
   the policy that was simulated, or it raises :class:`NotExpressible`.
2. With ``nearest=True`` it writes the nearest that the stack can do instead of raising, with
   ``exact=False``, and the file says in so many words what differs.
3. A rounding that changes a value is a note, in :attr:`Exported.notes` and in the file; where it
   would change the meaning (a wait above 0 that becomes 0) it is refused or rounded up.
4. Where the files express a window of size and wait, the module has ``read(files) -> Imported``.
   ``files`` maps names to texts; one file is a mapping of one.  What is not a file of the stack
   raises :class:`ForeignFileError`.
5. A module may have ``recognises(text) -> bool``, for file names that several stacks use.
6. Every text file carries the comment of :mod:`experiments.export.comment`: the policy, the
   evidence, the notes.  Nothing of a stack is imported: files are written and read as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from .plan import Plan
    from .setting import Setting


class ExportError(ValueError):
    """What was asked of an export or an import is wrong: one sentence says what."""


class ForeignFileError(ExportError):
    """A file cannot be read as the stack's: one sentence with the file, the key and the value."""


class Nearest(NamedTuple):
    """What a stack can do instead."""

    what: Plan | Exported
    difference: str
    """How it differs from the policy as simulated: a clause that goes on after *with --nearest*, as
    ``it becomes greedy with at most 16: ...``, without a full stop."""


class NotExpressible(ExportError):  # noqa: N818 - an answer more than a mistake
    """A stack cannot do what the policy does.

    Attributes:
        stack: the name of the stack, a key of ``STACKS``.
        reason: one clause, without a full stop.
        nearest: what comes nearest; None where nothing does.
    """

    def __init__(self, stack: str, reason: str, nearest: Nearest | None = None) -> None:
        hint = f"; with --nearest {nearest.difference}" if nearest else ""
        super().__init__(f"{stack}: {reason}{hint}")
        self.stack = stack
        self.reason = reason
        self.nearest = nearest


@dataclass(frozen=True)
class Exported:
    """Files of a stack, by their path inside the export's folder."""

    files: Mapping[str, str]
    notes: tuple[str, ...] = ()
    """One sentence each, without its full stop: roundings, traps, what the user has to do; printed
    and in the files."""
    exact: bool = True
    """Whether the files mean the policy as simulated (up to roundings that the notes name)."""
    differences: tuple[str, ...] = ()
    """What was given up, one clause each, as it goes on after *it differs:*; none where exact."""

    def _repr_html_(self) -> str:
        """The files and notes, in a notebook."""
        how = "" if self.exact else "<p><b>Not the policy that was simulated; it differs:</b></p>"
        said = "".join(f"<li>{escape(each)}</li>" for each in (*self.differences, *self.notes))
        files = (
            f"<p><b>{escape(name)}</b></p><pre>{escape(text)}</pre>"
            for name, text in self.files.items()
        )
        return f"{how}<ul>{said}</ul>{''.join(files)}"


@dataclass(frozen=True)
class Imported:
    """What a file of a stack says, as a scenario would."""

    table: Mapping[str, Any]
    """A scenario's ``[policies.NAME]``: the kind and its keys; waits in ms, exact decimals."""
    servers: int | None = None
    """How many servers the file asks for; None where it does not say."""
    notes: tuple[str, ...] = field(default=())
    """One sentence each, without its full stop: where the simulated policy differs from the stack,
    what was left out."""
    tiers: int | None = None
    """How many tiers the file tells apart; None where it serves everybody in order of arrival."""


class Exporter(Protocol):
    """A module of this package."""

    def export(self, setting: Setting, /, *, nearest: bool) -> Exported:
        """Write the setting as files of the stack, or raise :class:`NotExpressible`."""
        ...


class Reader(Protocol):
    """A module whose files can be read back."""

    def read(self, files: Mapping[str, str], /) -> Imported:
        """The policy that files of the stack ask for, or raise :class:`ForeignFileError`."""
        ...
