"""The site in a real browser, from files: it renders, asks for nothing, fits, and can be read.

Needs Playwright's Python package and Chromium (``apt install chromium``); skipped without them.
"""

from __future__ import annotations

import shutil

import pytest
from browser_looks import ARGUMENTS, CONTRAST, NARROW, WIDE
from built_site import built_once

api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("Chromium is not installed", allow_module_level=True)

LOOKED_AT = ("index", "tutorial", "theory/model", "reference/cli", "reference/scenario",
             "reference/policies")  # fmt: skip


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    return built_once(tmp_path_factory)


@pytest.fixture(scope="module")
def chromium():
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_render_fit_and_can_be_read(scheme, chromium, site):
    for size in (NARROW, WIDE):
        context = chromium.new_context(viewport=size, color_scheme=scheme)
        context.set_default_timeout(300_000)  # of what hangs
        for name in LOOKED_AT:
            page, said, asked = context.new_page(), [], []
            page.on("console", lambda message, said=said: said.append(message.text))
            page.on("pageerror", lambda error, said=said: said.append(str(error)))
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.goto((site / f"{name}.html").as_uri())
            assert said == [], name
            assert {url.partition(":")[0] for url in asked} <= {"file", "data"}, name
            assert page.locator("article h1").is_visible(), name
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], name
            assert page.evaluate(CONTRAST) >= 4.5, name
            page.close()
        context.close()


def test_formulas_stand_in_the_page_and_say_what_they_are(chromium, site):
    page = chromium.new_page()
    page.set_default_timeout(300_000)
    page.goto((site / "theory" / "model.html").as_uri())
    formulas = page.locator(".math svg")
    assert formulas.count() > 10
    for place in range(formulas.count()):
        formula = formulas.nth(place)
        box = formula.bounding_box()
        assert box["width"] > 4
        assert box["height"] > 4
        assert formula.get_attribute("aria-label")
    page.close()
