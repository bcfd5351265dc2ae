"""Every code block of the documentation and of the README runs, in order, page by page.

What a page may say about a block is in ``page_blocks``, how blocks are run in ``page_runner``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from page_blocks import Block, blocks_of
from page_runner import Page, check_shown

ROOT = Path(__file__).parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
SLOW = "<!-- slow: "
README_NOT_RUN = {
    "make demo": "`make` itself",
    "batchwright init": "a log of the reader's own; docs/tutorial.md runs it",
    "batchwright export": "needs a tuning of minutes; test_export_* and test_cli_export",
    "batchwright validate": "live runs of minutes; test_cli_validate and test_live_models",
    "batchwright init mine.toml": "a log of the reader's own; the tutorial runs the same way",
    "batchwright diagnose requests.csv": "a log of the reader's own; test_cli_diagnose",
    "batchwright scenarios": "minutes in all; test_cli_readme reads every line and option",
    "batchwright profile measure": "needs a GPU or PyTorch; test_measure_* and test_models_*",
    "pip install": "an installation; `make test-models`",
    "from experiments.": "full size; test_cli_readme runs it",
    "from typing": "test_cli_readme runs it",
}
"""Beginnings of the README's blocks that are not run here, and who does."""


def reason_not_to_run(page: str, block: Block, *, slow: bool) -> str | None:
    """Why a block is only shown; None if it is to run."""
    if "not run" in block.says:
        return block.says["not run"]
    if "slow" in block.says and not slow:
        return f"slow: {block.says['slow']}"
    if page == "README.md":
        begins = (why for start, why in README_NOT_RUN.items() if block.text.startswith(start))
        return next(begins, None)
    return None


def run_page(name, folder, monkeypatch, *, slow):
    """Run a page's blocks; what is not run is printed with its reason."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    page, before = Page(folder, name), set(sys.modules)
    try:
        for block in blocks_of(PAGES[name].read_text(), strict=name != "README.md"):
            why = reason_not_to_run(name, block, slow=slow)
            if why is None:
                page.run(block)
            else:
                check_shown(block)
                print(f"{name}, line {block.line}: not run: {why}")
    finally:
        for module in set(sys.modules) - before:
            if str(folder) in str(getattr(sys.modules[module], "__file__", "")):
                del sys.modules[module]


@pytest.mark.parametrize("name", PAGES)
def test_the_blocks_of_a_page_run(name, tmp_path, monkeypatch):
    run_page(name, tmp_path, monkeypatch, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n, path in PAGES.items() if SLOW in path.read_text()])
def test_the_blocks_of_a_page_run_at_full_size(name, tmp_path, monkeypatch):
    run_page(name, tmp_path, monkeypatch, slow=True)


def test_most_blocks_run_and_the_others_say_why():
    blocks = [
        (name, block)
        for name, path in PAGES.items()
        if name != "README.md"
        for block in blocks_of(path.read_text())
        if block.language != "text"
    ]
    shown = [
        f"{name}, line {block.line}: {why}"
        for name, block in blocks
        if (why := reason_not_to_run(name, block, slow=True)) is not None
    ]
    assert len(shown) <= len(blocks) / 5, "\n".join(shown)
