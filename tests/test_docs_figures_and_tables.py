"""The figures and tables of the documentation are those that its scripts make."""

import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


def script(name):
    """A script of ``docs``, as a module."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


figures, tables = script("figures"), script("tables")


@pytest.mark.parametrize("name", tables.PAGES)
def test_the_tables_of_a_page_are_those_of_what_is_kept(name):
    page = (DOCS / name).read_text()
    assert tables.TABLE.search(page)
    assert tables.written(page) == page, "run python docs/tables.py"


def test_a_table_that_was_changed_by_hand_is_noticed():
    page = (DOCS / "results.md").read_text()
    changed = page.replace("145 of 182", "165 of 182")
    assert changed != page
    assert tables.written(changed) == page


def test_every_table_is_on_a_page_once():
    placed = [found[2] for page in PAGES for found in tables.TABLE.finditer(page.read_text())]
    assert sorted(placed) == sorted(tables.TABLES)


def test_every_figure_is_drawn_kept_and_shown():
    shown = {
        Path(target).stem
        for page in PAGES
        for target in re.findall(r"!\[[^]]*\]\((figures/[^)]+)\)", page.read_text())
    }
    kept = {path.stem for path in figures.FOLDER.glob("*.png")}
    assert shown == kept == set(figures.FIGURES)


QUICK = ("padding", "tiers")


@pytest.mark.parametrize("name", QUICK)
def test_a_figure_is_drawn_anew(name, tmp_path):
    drawn = figures.draw(name, tmp_path)
    assert drawn.read_bytes().startswith(b"\x89PNG")
    assert drawn.stat().st_size > 20_000


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(figures.FIGURES) - set(QUICK)))
def test_every_other_figure_is_drawn_anew(name, tmp_path):
    assert figures.draw(name, tmp_path).stat().st_size > 20_000


def test_no_page_of_ours_links_to_a_file_that_is_not_there():
    own = [DOCS / name for name in ("why.md", "not.md", *tables.PAGES)]
    for page in [*own, *sorted((DOCS / "theory").glob("*.md"))]:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
