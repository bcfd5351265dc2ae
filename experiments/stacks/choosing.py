"""Which policy of a scenario is tried where none is named: the first that the stack does exactly.

Exact is what the stack's exporter writes without ``--nearest``, and what becomes one server.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

from experiments import export
from experiments.export.contract import ExportError
from experiments.export.setting import Setting
from experiments.export.tier_windows import knows_tiers
from experiments.wording import joined

from . import Row
from .contract import StackError, Wish
from .rig import module_of


class Choice(NamedTuple):
    """A setting, and why it is the one."""

    setting: Setting
    why: str
    """A clause."""


def first_exact(
    scenario: str,
    names: Iterable[str],
    setting_of: Callable[[str], Setting],
    row: Row,
    *,
    nearest: bool,
) -> Choice:
    """The first policy that a stack does exactly.

    Args:
        scenario: its name.
        names: of its policies.
        setting_of: the setting of a policy, which takes a simulation.
        row: the stack.
        nearest: whether the first that has something near will do where none is exact.

    Raises:
        StackError: there is none.
    """
    passed: list[Setting] = []
    for name in names:
        setting = setting_of(name)
        if does(row, setting, nearest=False):
            return Choice(setting, _why(row, passed))
        passed.append(setting)
    near = next((each for each in passed if nearest and does(row, each, nearest=True)), None)
    if near is not None:
        return Choice(near, f"the first that {row.title} comes near to, as it does none exactly")
    hint = "" if nearest else "; give --nearest to run what is nearest to the first, or to --policy"
    raise StackError(
        f"{row.title} does none of the policies of scenario {scenario} exactly "
        f"({', '.join(each.name for each in passed)}); it does "
        f"{export.STACKS[row.name].expresses}{hint}"
    )


def does(row: Row, setting: Setting, *, nearest: bool) -> bool:
    """Whether a stack runs a setting as one server, exactly or nearly."""
    if knows_tiers(setting) or setting.costs is None:
        return False
    exporter = importlib.import_module(f"{export.__name__}.{export.STACKS[row.name].module}")
    try:
        exporter.export(setting, nearest=nearest)
        module_of(row).policy(Wish(setting, setting.costs, nearest))
    except ExportError:
        return False
    return True


def _why(row: Row, passed: list[Setting]) -> str:
    """``the first that Triton does exactly; static and lanes it does not``."""
    why = f"the first that {row.title} does exactly"
    return f"{why}; {joined([each.name for each in passed])} it does not" if passed else why
