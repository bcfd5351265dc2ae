"""The page: one HTML file that needs nothing else and may do nothing else.

Its own rules forbid it to load anything and to run any script but ours, whatever a run's files say.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256

from .elements import Markup, element, joined, paragraph
from .found import Run
from .script import SCRIPT
from .style_sheet import style_sheet

SENTENCE = re.compile(r"(?<=[.!?])\s+(?=\S)")


def page(runs: Sequence[Run], sections: Sequence[Markup], version: str) -> str:
    """The whole file.

    Args:
        runs: in the order of their sections.
        sections: one a run.
        version: of batchwright.
    """
    title = title_of(runs)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy()),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content=f"batchwright {version}"),
        element("title", title),
        element("style", Markup(style_sheet())),
    )
    body = element(
        "body",
        element("header", element("h1", title), *descriptions(runs), contents(runs)),
        element("main", *sections),
        element("footer", f"Written by batchwright {version}. Intervals are of 95 % where nothing "
                          "else is said; a difference inside its interval is called a tie."),
        element("div", id="tip", role="status", aria_live="polite"),
        element("script", Markup(SCRIPT)),
    )  # fmt: skip
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def policy() -> str:
    """Nothing is loaded; pictures are inside, and the one script is known by its hash."""
    digest = b64encode(sha256(SCRIPT.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def title_of(runs: Sequence[Run]) -> str:
    """``bert: compare``, or the scenarios of several runs."""
    if len(runs) == 1:
        return f"{runs[0].title}: {runs[0].command}"
    return f"Report: {', '.join(dict.fromkeys(run.title for run in runs))}"


def descriptions(runs: Sequence[Run]) -> list[Markup]:
    """What the scenarios are."""
    scenarios = (run.manifest.get("scenario") for run in runs)
    known = (one for one in scenarios if isinstance(one, Mapping))
    texts = (str(one.get("description") or "") for one in known)
    return [paragraph(text, "what") for text in dict.fromkeys(texts) if text]


def contents(runs: Sequence[Run]) -> Markup | None:
    """Of several runs: each with the first sentence of its verdict."""
    if len(runs) < 2:
        return None
    items = (
        element("li", element("a", run.name, href=f"#run-{place}"), ": ", lead(run)[0])
        for place, run in enumerate(runs)
    )
    return element("nav", element("ol", *items), aria_label="contents")


def verdict_part(run: Run) -> Markup:
    """The answer, its first sentence largest."""
    first, rest = lead(run)
    return element("div", paragraph(first, "lead"), paragraph(rest) if rest else None,
                   class_="verdict")  # fmt: skip


def lead(run: Run) -> tuple[str, str]:
    """The first sentence of a verdict, and the rest."""
    text = str(run.result.get("verdict") or "No verdict: nothing was found to say.")
    first, *rest = SENTENCE.split(text, maxsplit=1)
    return first, "".join(rest)


def section(run: Run, place: int, parts: Sequence[Markup | None]) -> Markup:
    """What is said of one run."""
    return element("section", element("h2", run.name), verdict_part(run), joined(parts),
                   id=f"run-{place}")  # fmt: skip
