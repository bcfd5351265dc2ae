"""What an error of another package says, on one line."""

from __future__ import annotations


def reason(error: BaseException) -> str:
    """The first line of its text, with the second where it ends in a colon.

    The class is named where the text says nothing without it.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1])
    if isinstance(error, KeyError) or not said:
        said = f"{type(error).__name__} {said}".strip()
    return said
