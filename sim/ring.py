"""A column of requests that never ends: the row of a request is its id, modulo the number of rows.

It is read and written as an array by ids that only grow, and remembers the newest of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from policies.contract import IntArray


class Ring:
    """See the module's docstring; the number of rows is a power of two."""

    __slots__ = ("_mask", "fill", "rows")

    def __init__(self, rows: int, fill: int) -> None:
        assert rows & (rows - 1) == 0, "a power of two"
        self.rows: IntArray = np.full(rows, fill, dtype=np.int64)
        self._mask, self.fill = rows - 1, fill

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, ids: Any) -> Any:
        return self.rows[self._places(ids)]

    def __setitem__(self, ids: Any, values: Any) -> None:
        self.rows[self._places(ids)] = values

    def _places(self, ids: Any) -> Any:
        given = np.asarray(ids, dtype=np.int64) if isinstance(ids, list | tuple) else ids
        return given & self._mask

    def keep(self, ids: IntArray) -> None:
        """Only the rows of some ids, which are the first ones from now on."""
        kept = self[ids]
        self.rows[:] = self.fill
        self.rows[: len(kept)] = kept

    def grow(self, end: int) -> None:
        """Twice the rows; those of the ids just before ``end`` move to their new places."""
        before = self.rows
        ids = np.arange(max(0, end - len(before)), end)
        self.rows = np.full(2 * len(before), self.fill, dtype=np.int64)
        places, self._mask = ids & self._mask, len(self.rows) - 1
        self.rows[ids & self._mask] = before[places]
