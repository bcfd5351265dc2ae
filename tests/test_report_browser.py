"""Reports in a real browser: they render, ask for nothing, fit a telephone, and follow the dark.

Needs Playwright's Python package and Chromium (``apt install chromium``); skipped without them.
"""

from __future__ import annotations

import shutil

import pytest
from browser_looks import ARGUMENTS, CONTRAST, NARROW, WIDE
from reported_runs import all_runs, batchwright

from experiments.report import report
from experiments.report.kinds import KINDS

api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("Chromium is not installed", allow_module_level=True)

SETTLED = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""Two frames: events of scrolling are out by then."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def runs(place):
    return all_runs(place)


@pytest.fixture(scope="module")
def files(runs, place):
    """The page of every kind of run."""
    return {
        kind: report(run, place / f"{kind}.html", root=place / "runs") for kind, run in runs.items()
    }


@pytest.fixture(scope="module")
def chromium():
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def look(chromium, files):
    """Open the page of a kind of run; what it says on the console and asks for is kept."""
    contexts = []

    def opened(kind, size=WIDE, scheme="light", **more):
        context = chromium.new_context(viewport=size, color_scheme=scheme, **more)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(300_000)  # of what hangs
        page.said, page.asked = [], []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("dialog", lambda dialog: page.said.append(dialog.message))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(files[kind].as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_renders_without_a_complaint_or_a_request(kind, scheme, size, look, files):
    page = look(kind, size, scheme)
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert page.said == []
    assert [url for url in page.asked if not url.startswith("data:")] == [files[kind].as_uri()]
    assert page.locator(".verdict .lead").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_text_can_be_read(kind, scheme, look):
    assert look(kind, scheme=scheme).evaluate(CONTRAST) >= 4.5


def test_the_check_of_contrast_sees_pale_text(look):
    page = look("simulate")
    page.evaluate("document.querySelector('td').style.color = '#aaa'")
    assert page.evaluate(CONTRAST) < 4.5


def test_the_dark_is_dark(look):
    light, dark = (
        look("compare", scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    )
    assert light == "rgb(255, 255, 255)"
    assert max(map(int, dark.strip("rgb()").split(","))) < 40


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_value_is_shown_where_the_pointer_is(kind, size, look):
    page = look(kind, size)
    mark = page.locator("figure.chart .mark").first
    mark.scroll_into_view_if_needed()
    page.evaluate(SETTLED)  # what scrolls takes the words away, as it moves the mark from them
    mark.hover(force=True)
    tip = page.locator("#tip")
    assert tip.is_visible()
    assert any(letter.isdigit() for letter in tip.inner_text())
    box = tip.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= size["width"]
    page.mouse.move(0, 0)
    assert not tip.is_visible()


def test_marks_can_be_walked_through_by_keys(look):
    page = look("compare")
    drawing = page.locator("figure.chart > svg").nth(1)
    drawing.focus()
    page.evaluate(SETTLED)
    words = []
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        words.append(page.locator("#tip").inner_text())
    page.keyboard.press("ArrowLeft")
    assert len(set(words)) == 3
    assert page.locator("#tip").inner_text() == words[1]


def test_a_series_is_hidden_and_comes_back(look):
    page = look("compare")
    figure = page.locator("figure.chart:has(.legend)").first
    button, group = figure.locator(".legend button").first, figure.locator("[data-series='0']")
    assert group.is_visible()
    button.click()
    assert not group.is_visible()
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    assert group.is_visible()


def test_in_print_everything_is_open(look):
    page = look("compare")
    closed = page.locator("details:not([open])").count()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert closed > 0
    assert page.locator("details:not([open])").count() == 0


def test_without_scripts_a_mark_says_its_value_still(look):
    page = look("compare", java_script_enabled=False)
    words = page.locator("figure.chart .mark > title").first.text_content()
    assert "ms" in words
    assert page.said == []


def test_a_foreign_script_is_refused(look, files, place):
    page = look("compare")
    broken = place / "broken.html"
    text = files["compare"].read_text()
    broken.write_text(text.replace("</main>", "<script>document.title = 'out'</script></main>"))
    page.goto(broken.as_uri())
    assert page.title() != "out"
    assert any("Content Security Policy" in line for line in page.said)


def test_a_pdf_is_printed_beside_the_page(runs, place):
    to = place / "paper" / "report.html"
    said = batchwright("report", runs["compare"], "--to", to, "--pdf")
    assert said.exit_code == 0, said.stderr
    assert to.with_suffix(".pdf").read_bytes().startswith(b"%PDF-")
    assert said.stdout == f"{to}\n{to.with_suffix('.pdf')}\n"
