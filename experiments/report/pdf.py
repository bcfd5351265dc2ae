"""A report as PDF, printed by a browser that is already there; none is brought along."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from experiments.runs import RunError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge")
"""Browsers that print without a window; Debian's, Google's and Microsoft's names."""

QUIET = (
    "--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-pdf-header-footer",
)  # fmt: skip
"""It prints one file and asks nobody anything."""

LONGEST_S = 120
"""Seconds after which a browser is given up; a large report takes two."""


def browser() -> str:
    """The path of a browser.

    Raises:
        RunError: there is none.
    """
    for name in BROWSERS:
        if (path := shutil.which(name)) is not None:
            return path
    raise RunError(
        "--pdf needs Chromium or Chrome to print with, and none is installed: as on Debian "
        "`apt install chromium`; or open the HTML file and print it to a PDF"
    )


def printed(page: Path) -> Path:
    """Print an HTML file to a PDF beside it.

    Raises:
        RunError: there is no browser, or it printed nothing.
    """
    program, path = browser(), page.with_suffix(".pdf")
    as_root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as home:
        part = Path(home) / "report.pdf"
        command = [
            program, *QUIET, *as_root, f"--user-data-dir={home}/profile",
            f"--print-to-pdf={part}", page.resolve().as_uri(),
        ]  # fmt: skip
        try:
            subprocess.run(  # noqa: S603 - a browser found by its name, and our own file
                command, check=False, capture_output=True, timeout=LONGEST_S
            )
        except subprocess.TimeoutExpired:
            raise RunError(f"{program} did not print {page} within {LONGEST_S} s") from None
        if not part.is_file():
            raise RunError(f"{program} printed nothing of {page}: print it from a browser")
        shutil.move(part, path)
    return path
