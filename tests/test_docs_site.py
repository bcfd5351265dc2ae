"""The site of the documentation: built without a warning, complete, and alone with its reader."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from built_site import Page, broken_links, built_once, is_outside

from experiments.cli import app
from experiments.cli_speech import FAILED, INTERRUPTED, WRONG_INPUT
from experiments.json_schema import scenario_json_schema, token_json_schema
from policies import POLICIES
from policies.autoscalers import AUTOSCALERS
from policies.iteration import RULES
from policies.routers import ROUTERS

ROOT = Path(__file__).parent.parent
ADDRESS = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//")
"""What a style sheet would fetch from another machine."""


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    return built_once(tmp_path_factory)


@pytest.fixture(scope="session")
def pages(site):
    return {path.resolve(): Page(path.read_text()) for path in site.rglob("*.html")}


def page_of(pages, site, name):
    return pages[(site / name).resolve()]


def commands():
    """Every command with its words and its click object."""
    for name, command in typer.main.get_command(app).commands.items():
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
        for below, one in (inner or {}).items():
            yield f"{name} {below}", one


def test_every_page_of_the_folder_is_on_the_site(site, pages):
    for path in (ROOT / "docs").rglob("*.md"):
        assert (site / path.relative_to(ROOT / "docs").with_suffix(".html")).is_file(), path


def test_every_link_leads_somewhere(pages):
    assert sum(len(page.links) for page in pages.values()) > 500
    assert broken_links(pages) == []


def test_no_page_asks_another_machine_for_anything(site, pages):
    assert [url for page in pages.values() for url in page.fetched if is_outside(url)] == []
    sheets = list(site.rglob("*.css"))
    assert sheets
    assert [sheet.name for sheet in sheets if ADDRESS.search(sheet.read_text())] == []


def test_every_command_and_every_option_is_in_the_reference(pages, site):
    ids = page_of(pages, site, "reference/cli.html").ids
    words = dict(commands())
    assert {"tune", "profile measure"} <= words.keys()
    for name, command in words.items():
        slug = f"batchwright-{name.replace(' ', '-')}"
        assert slug in ids, name
        for param in command.params:
            for option in (one for one in param.opts if one.startswith("--")):
                assert f"cmdoption-{slug}-{option.lstrip('-')}" in ids, (name, option)


def test_every_policy_router_and_autoscaler_is_in_the_reference(pages, site):
    ids = page_of(pages, site, "reference/policies.html").ids
    for family, module in (
        (POLICIES, "policies"),
        (ROUTERS, "policies.routers"),
        (AUTOSCALERS, "policies.autoscalers"),
    ):
        for kind, cls in family.items():
            assert f"{module}.{cls.__name__}" in ids, kind


def test_every_key_of_a_scenario_is_in_the_reference(site):
    text = (site / "reference" / "scenario.html").read_text()
    rules = (site / "reference" / "policies.html").read_text()
    for name, table in scenario_json_schema()["definitions"].items():
        for key, value in table["properties"].items():
            if "const" not in value:
                shown = f'<span class="pre">{key}</span>'
                assert shown in (rules if "." in name else text), (name, key)


def test_every_rule_and_every_key_of_a_model_that_generates_is_in_the_reference(pages, site):
    ids = page_of(pages, site, "reference/iterations.html").ids
    text = (site / "reference" / "iterations.html").read_text()
    shared = scenario_json_schema()["definitions"]
    for kind, cls in RULES.items():
        assert f"policies.iteration.{cls.__name__}" in ids, kind
    own = {n: t for n, t in token_json_schema()["definitions"].items() if n not in shared}
    assert {"EngineTable", "TokenSlo", "TokenTune", "iteration.vllm_like"} <= own.keys()
    for name, table in [("TokenSpec", token_json_schema()), *own.items()]:
        section = section_of(text, name) if name != "TokenSpec" else text
        for key, value in table["properties"].items():
            if "const" not in value:
                assert f'<span class="pre">{key}</span>' in section, (name, key)


def section_of(text, name):
    """The part of a page that tells of one table or rule, up to the next heading."""
    place = "scenario-" + name.replace(".", "-").replace("_", "-").lower()
    place = f"rule-{place}" if "." in name else place
    start = text.index(f'<section id="{place}">') + 1
    return text[start : text.find("<section", start)]


def test_the_exit_codes_are_those_of_the_program():
    page = (ROOT / "docs" / "reference" / "exit-codes.md").read_text()
    codes = [int(code) for code in re.findall(r"^\* - (\d+)$", page, re.MULTILINE)]
    assert codes == [0, FAILED, WRONG_INPUT, INTERRUPTED]


def test_the_numbers_of_the_front_page_are_those_of_the_readme():
    rows = {
        "a full batch of 32, or 5 ms": "size_or_timeout",
        "never wait": "greedy",
        "never wait, sizes that pay": "snap",
        "short with short, long with long": "length_bucketed",
    }
    front = (ROOT / "docs" / "index.md").read_text()
    readme = (ROOT / "README.md").read_text()
    for said, policy in rows.items():
        (row,) = re.findall(rf"^\| {said} \| (.*) \|$", front, re.MULTILINE)
        mean, p99, within, batch, padding = (
            cell.strip("* ").removesuffix(" %") for cell in row.split("|")
        )
        (line,) = re.findall(rf"^ {policy} [* ] +(.*)$", readme, re.MULTILINE)
        assert re.split(r"\s{2,}", line)[0::2][:2] == [mean, p99]
        assert re.split(r"\s{2,}", line)[3] == within
        assert re.split(r"\s{2,}", line)[-2:] == [batch, padding]


def test_the_check_of_links_sees_a_broken_one(tmp_path):
    def checked(text):
        here, there = tmp_path / "here.html", tmp_path / "there.html"
        here.write_text(text)
        there.write_text('<h1 id="known">x</h1>')
        return broken_links({path: Page(path.read_text()) for path in (here, there)})

    good = ("there.html#known", "there.html", "#own", "https://example.org/x", "mailto:a@b.org")
    assert checked('<p id="own">' + "".join(f'<a href="{link}"></a>' for link in good)) == []
    for bad in ("gone.html", "there.html#gone", "#gone", "../there.html"):
        assert checked(f'<a href="{bad}"></a>') == [f"here.html: {bad}"]
    assert checked('<img src="gone.png">') == ["here.html: gone.png"]


@pytest.mark.parametrize(
    "element",
    [
        '<script src="https://cdn.example.org/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example.org/css">',
        '<img srcset="a.png 1x, https://example.org/b.png 2x">',
        '<link rel="dns-prefetch" href="https://example.org">',
    ],
)
def test_the_check_of_requests_sees_one(element):
    assert any(is_outside(url) for url in Page(element).fetched)


def test_the_check_of_style_sheets_sees_a_request():
    assert ADDRESS.search('@import "https://fonts.example.org/x.css";')
    assert ADDRESS.search("src: url(//example.org/x.woff2)")
    assert not ADDRESS.search("background: url(data:image/svg+xml;charset=utf-8,%3Csvg)")
