"""``--load 0.3,0.6``: shares of the largest rate, as several commands take them."""

from __future__ import annotations

import math
from collections.abc import Sequence


def read_shares(given: Sequence[str] | None, below: float = math.inf) -> tuple[float | None, ...]:
    """Shares in the order given, each once; one None, the scenario's own load, if there are none.

    Args:
        given: texts, each with one share or several between commas.
        below: what each has to be below.

    Raises:
        ScenarioError: one is no share.
    """
    from .sentences import ScenarioError

    limit = "" if below == math.inf else f" and below {below:g}"
    found: list[float] = []
    for text in given or ():
        for part in text.split(","):
            try:
                share = float(part)
            except ValueError:
                share = 0.0
            if not 0.0 < share < below:
                raise ScenarioError(
                    f"--load {text}: {part!r} must be a share of the largest rate, above 0{limit}, "
                    "as in 0.3,0.6,0.8"
                )
            found.append(share)
    return tuple(dict.fromkeys(found)) or (None,)


__all__ = ["read_shares"]
