"""Files of compiled code that processes may write at once, and whose disk may be full.

numba numbers the files of a function from an index that it reads, extends and writes.  Two
processes that compile for different types at once can give both the same number, and later one is
answered with the machine code of the other.  Here:

1. A file's name is new each time, and it is whole before the index names it.
2. The index is extended by one process at a time.
3. What cannot be read is compiled again, and what cannot be written is not kept: a cache only ever
   costs time.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from numba.core import caching

UNTYPED: Any = caching


class CodeFiles(UNTYPED.IndexDataCacheFile):  # type: ignore[misc]
    """The index and the files of one function."""

    def save(self, key: Any, data: Any) -> None:
        """Keep the code for some types."""
        with _alone(Path(self._cache_path)):
            known = self._known()
            name = known.get(key) or self._data_name_pattern.replace(
                "{number:d}", uuid.uuid4().hex[:16]
            )
            self._save_data(name, data)
            self._save_index(known | {key: name})

    def load(self, key: Any) -> Any:
        """The code for some types, or None."""
        name = self._known().get(key)
        try:
            return None if name is None else self._load_data(name)
        except Exception:  # noqa: BLE001 - a damaged pickle raises anything
            return None

    def _known(self) -> dict[Any, str]:
        """The index; a damaged one is empty."""
        try:
            return dict(self._load_index())
        except Exception:  # noqa: BLE001 - a damaged pickle raises anything
            return {}


class CodeCache(UNTYPED.FunctionCache):  # type: ignore[misc]
    """numba's cache of a function, with files that hold their rules."""

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file = CodeFiles(self._cache_path, self._impl.filename_base, stamp)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep compiled code where there is room."""
        with suppress(OSError):
            super().save_overload(sig, data)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from a folder; on a disk without locks nobody is kept from it."""
    with (folder / ".lock").open("w") as lock:
        with suppress(OSError, ImportError):  # Windows has no fcntl
            from fcntl import LOCK_EX, flock

            flock(lock, LOCK_EX)
        yield
