"""The prose of the documentation is shown whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
FENCED = re.compile(r"^ *(`{3,}|~{3,}).*?^ *\1 *$", re.MULTILINE | re.DOTALL)


def lost_lines(page: str) -> list[str]:
    """Lines outside of code that MyST takes for comments."""
    return [line for line in FENCED.sub("", page).splitlines() if line.lstrip().startswith("%")]


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda path: path.stem)
def test_no_line_of_prose_begins_with_the_sign_of_a_comment(path):
    assert lost_lines(path.read_text()) == []


def test_a_line_that_would_be_lost_is_found():
    page = "It keeps 7\n% of it.\n```text\n% of code\n```\n- gives 7\n  % away\n"
    assert lost_lines(page) == ["% of it.", "  % away"]
