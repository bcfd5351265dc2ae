"""At a terminal there are colours, and none where NO_COLOR is set (no-color.org)."""

from __future__ import annotations

import os
import re
import sys

import pytest

pexpect = pytest.importorskip("pexpect")

SMALL = ("--set", "workload.requests=2000")
COMMANDS = [
    ("--help",),
    ("compar",),
    ("doctor",),
    ("compare", "mm1", "--no-load-curve", *SMALL),
    ("compare", "no-such-scenario"),
]
COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|9[0-7]|4[0-8])(?:;[0-9;]*)?m")
"""Codes that set a foreground or a background; bold and dim are no colours."""


def at_terminal(tmp_path, words, **variables):
    plain = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "CI")}
    child = pexpect.spawn(
        sys.executable, ["-c", "from experiments.cli import main; main()", *words],
        cwd=str(tmp_path), encoding="utf-8", timeout=300, dimensions=(50, 120),
        env={**plain, "TERM": "xterm-256color", **variables},
    )  # fmt: skip
    child.expect(pexpect.EOF)
    return child.before


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_color_is_obeyed_at_a_terminal(tmp_path, words):
    assert COLOUR.search(at_terminal(tmp_path, words, NO_COLOR="1")) is None
    assert COLOUR.search(at_terminal(tmp_path, words)) is not None


def test_the_check_tells_colours_from_bold():
    assert COLOUR.search("\x1b[1;32mgreen\x1b[0m")
    assert COLOUR.search("\x1b[38;5;197mred")
    assert not COLOUR.search("\x1b[1mbold\x1b[0m\x1b[2;1mdim")
