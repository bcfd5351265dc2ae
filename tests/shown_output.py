"""Whether output that a page shows is what a command printed.

1. Every shown line is found in the output, in this order; lines that are not shown may be between.
2. A line matches word by word.  ``...`` stands for any words, and blank lines do not count.
3. Numbers may differ by 3 %, or by one unit of their last digit; behind ``±`` by half.
4. Rules of tables are as long as they are.
"""

from __future__ import annotations

import re

NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?")
RULE = re.compile(r"[─━═-]{3,}")
ELLIPSIS = ("...", "…")


def missing_line(shown: str, printed: str) -> str | None:
    """The first shown line that was not printed where it should be; None if all were."""
    left = printed.splitlines()
    for line in shown.splitlines():
        if not line.strip() or line.strip() in ELLIPSIS:
            continue
        for place, other in enumerate(left):
            if same_line(line, other):
                left = left[place + 1 :]
                break
        else:
            return line
    return None


def same_line(shown: str, printed: str) -> bool:
    """Whether a line is the printed one, but for small differences of its numbers."""
    return _same_words(shown.split(), printed.split(), behind="")


def _same_words(shown: list[str], printed: list[str], behind: str) -> bool:
    if not shown:
        return not printed
    if shown[0] in ELLIPSIS:
        return any(_same_words(shown[1:], printed[k:], "") for k in range(len(printed) + 1))
    if not printed or not _same_word(shown[0], printed[0], loose=behind == "±"):
        return False
    return _same_words(shown[1:], printed[1:], shown[0])


def _same_word(shown: str, printed: str, *, loose: bool) -> bool:
    if shown == printed or (RULE.fullmatch(shown) and RULE.fullmatch(printed)):
        return True
    if NUMBER.sub("#", shown) != NUMBER.sub("#", printed):
        return False
    said, true = NUMBER.findall(shown), NUMBER.findall(printed)
    return bool(said) and all(
        _near(one, other, loose=loose) for one, other in zip(said, true, strict=True)
    )


def _near(said: str, true: str, *, loose: bool) -> bool:
    value, other = (float(text.replace(",", "")) for text in (said, true))
    if "." not in said + true and abs(value) < 100:
        return value == other  # a count, a batch size: exact
    digits = min(len(text.partition(".")[2]) for text in (said, true))
    allowed = (0.5 if loose else 0.03) * max(abs(value), abs(other))
    return abs(value - other) <= max(allowed, 1.001 * 10.0**-digits)
