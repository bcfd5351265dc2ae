"""The best setting of a scenario, found by search and judged on fresh seeds.

``from experiments.tune import tune`` is all that a user needs.  It is imported when it is asked
for: the schema of scenario files takes the words of this package, and needs no optimiser.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .tuning import tune

__all__ = ["tune"]


def __getattr__(name: str) -> Any:
    """``tune``, when it is first used."""
    if name == "tune":
        with warnings.catch_warnings():
            # Optuna's progress bar, which is not used, warns in notebooks without ipywidgets.
            warnings.filterwarnings("ignore", message="IProgress not found")
            from .tuning import tune

        return tune
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
