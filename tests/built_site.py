"""The site of the documentation, built once for all tests, and what its pages hold."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

ROOT = Path(__file__).parent.parent
FETCHED = {
    "script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src",
    "embed": "src", "object": "data", "use": "href",
}  # fmt: skip
"""Elements that a browser fetches something for, and the attribute that says what."""
LINKED = ("stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "manifest")
"""Kinds of ``<link>`` that are fetched or connected to."""
PATIENCE_S = 1800
"""For a build on a machine that stalls."""


def build(to: Path) -> str:
    """Build the site with warnings as errors; returns what the build complained of."""
    ran = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html",
         "-d", f"{to}-trees", "docs", to],
        cwd=ROOT, env=os.environ | {"NO_COLOR": "1"},
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    return ran.stderr if ran.returncode == 0 else ran.stderr or f"exit code {ran.returncode}"


def built_once(factory) -> Path:
    """The site's folder; the first process that asks builds it, and the others wait.

    Raises:
        AssertionError: the build complained of something.
    """
    shared = factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    site = shared / "site"
    with (shared / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = shared / "site.said"
        if not said.exists():
            said.write_text(build(site))
    assert said.read_text() == "", said.read_text()
    return site


class Page(HTMLParser):
    """Ids, links and what is fetched, of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note what an element says."""
        said = {key: value or "" for key, value in attrs}
        self.ids.update(said[key] for key in ("id", "name") if key in said)
        if tag == "a" and "href" in said:
            self.links.append(said["href"])
        if tag in FETCHED and FETCHED[tag] in said:
            self.fetched.append(said[FETCHED[tag]])
        if tag == "link" and set(said.get("rel", "").split()) & set(LINKED):
            self.fetched.append(said["href"])
        self.fetched += [one.split()[0] for one in said.get("srcset", "").split(",") if one.strip()]


def is_outside(url: str) -> bool:
    """Whether a URL leads to another machine."""
    return url.startswith("//") or url.partition(":")[0] in ("http", "https", "ftp", "ws", "wss")


def broken_links(pages: dict[Path, Page]) -> list[str]:
    """Links between pages, and to files, that lead nowhere."""
    found = []
    for path, page in pages.items():
        for link in [*page.links, *page.fetched]:
            if is_outside(link) or link.startswith(("mailto:", "data:")):
                continue
            target, fragment = urldefrag(link)
            to = (path.parent / unquote(target.partition("?")[0])).resolve() if target else path
            known = pages.get(to)
            if not to.exists() or (fragment and known and unquote(fragment) not in known.ids):
                found.append(f"{path.name}: {link}")
    return found
