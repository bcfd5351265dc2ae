"""What to do when the machine refuses: a full disk, a folder that may not be written, no folder.

1. The sentence names the file, says what the system said, and what the person can do about it.
2. An error without a number comes from a library that has said all of this itself.
"""

from __future__ import annotations

import errno
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
IN_THE_WAY = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR)

ELSEWHERE = "another folder with --out"
"""What to choose instead, unless a command calls it otherwise."""


def is_full(error: OSError) -> bool:
    """Whether there is no room any more."""
    return error.errno in FULL


def refusal(error: OSError, elsewhere: str = ELSEWHERE) -> str:
    """What was refused, and what to do."""
    if error.errno is None:
        return " ".join(str(error).split())
    what = f"cannot use {error.filename}" if error.filename else "cannot write"
    return f"{what}: {error.strerror}; {remedy(error, elsewhere)}"


def remedy(error: OSError, elsewhere: str = ELSEWHERE) -> str:
    """What to do about it."""
    if is_full(error):
        return f"make room, or choose {elsewhere}"
    if error.errno == errno.EFBIG:
        return "raise the limit of the size of files, with ulimit -f"
    if error.errno in FORBIDDEN:
        return f"choose {elsewhere}, where you may write"
    if error.errno in IN_THE_WAY:
        return f"something else is there: rename it, or choose {elsewhere}"
    return f"choose {elsewhere}"


GONE = "the folder that you are in was deleted: go to one that is there, with cd"
"""Whatever else is said then is beside the point."""


def is_gone() -> bool:
    """Whether the working directory was deleted."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False
