"""``batchwright report``: one file with all numbers, that loads nothing and runs what is ours."""

from __future__ import annotations

import json
import math
import random
import re
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from reported_runs import EVIL, all_runs, batchwright, run_of

from experiments.report import html_of, report
from experiments.report.amounts import SHARES, estimate
from experiments.report.found import opened
from experiments.report.kinds import KINDS
from experiments.report.looks import DARK, Look, looks_of
from experiments.report.of_sweep import latencies
from experiments.report.outcome_charts import line_chart
from experiments.report.pdf import browser
from experiments.report.tables import MOST, Row, Table, written
from experiments.runs import RunError
from experiments.style import PALETTE
from experiments.wording import with_interval

EMPTY = {"meta", "img", "path", "line", "rect", "polygon", "br"}
LOADS = {"src", "href", "data", "action", "poster", "srcset", "xlink:href", "formaction"}


class Page(HTMLParser):
    """A page that was read: its elements in order, its text, and what does not fit together."""

    def __init__(self, text):
        super().__init__()
        self.open, self.wrong, self.elements, self.words = [], [], [], []
        self.feed(text)
        self.close()
        self.wrong += [f"<{name}> is not closed" for name in self.open]

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> closes something else")

    def handle_data(self, data):
        if self.open and self.open[-1] not in {"script", "style"}:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def called(self, name):
        return [attributes for tag, attributes in self.elements if tag == name]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def runs(place):
    return all_runs(place)


@pytest.fixture(scope="module")
def texts(runs, place):
    """The page of every kind of run."""
    return {
        kind: report(run, place / f"{kind}.html", root=place / "runs").read_text()
        for kind, run in runs.items()
    }


@pytest.fixture(scope="module")
def pages(texts):
    return {kind: Page(text) for kind, text in texts.items()}


def result_of(run):
    return json.loads((run / "result.json").read_text())


def estimates_in(policy):
    """Every estimate of a policy's part of a result, in the unit of the page."""
    groups = [policy, *(tiers.values() if len(tiers := policy["tiers"]) > 1 else ())]
    for group in groups:
        for table in ("latency_ms", "wait_ms"):
            yield from map(estimate, group[table].values())
        for name, found in group["intervals"].items():
            yield estimate(found).scaled(100.0 if name in SHARES else 1.0)


def test_there_is_a_report_of_every_command_that_makes_a_run(runs):
    assert set(runs) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_whole_and_names_every_element_once(kind, pages):
    page = pages[kind]
    assert page.wrong == []
    for once in ("html", "head", "body", "title", "main", "h1"):
        assert len([1 for tag, _ in page.elements if tag == once]) >= 1, once
    identities = [a["id"] for _, a in page.elements if "id" in a]
    assert len(identities) == len(set(identities))


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_loads_nothing(kind, pages, texts):
    for tag, attributes in pages[kind].elements:
        for name in LOADS & set(attributes):
            assert attributes[name].startswith(("data:image/", "#")), (tag, name)
    assert not re.search(r"url\(|@import", texts[kind])
    rules = next(a["content"] for a in pages[kind].called("meta") if "http-equiv" in a)
    assert rules.startswith("default-src 'none'; img-src data:;")
    assert "'unsafe-inline'" not in rules.partition("script-src")[2]


@pytest.mark.parametrize("kind", KINDS)
def test_words_of_a_scenario_or_a_file_stay_words(kind, pages):
    page = pages[kind]
    assert len(page.called("script")) == 1
    assert {tag for tag, _ in page.elements} <= {
        "html", "head", "meta", "title", "style", "body", "header", "h1", "h2", "h3", "p", "main",
        "section", "div", "table", "caption", "thead", "tbody", "tr", "th", "td", "details",
        "summary", "pre", "code", "figure", "figcaption", "svg", "desc", "text", "line", "path",
        "polygon", "rect", "circle", "g", "button", "span", "img", "footer", "script",
    }  # fmt: skip
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)


@pytest.mark.parametrize("kind", ["simulate", "compare", "sweep", "tune", "capacity", "validate"])
def test_the_description_is_read_as_it_was_written(kind, pages):
    assert EVIL in pages[kind].text


@pytest.mark.parametrize("kind", KINDS)
def test_the_verdict_comes_first_and_whole(kind, pages, runs):
    run = runs[kind]
    result = json.loads(run.read_text()) if run.is_file() else result_of(run)
    page = pages[kind].text
    verdict = " ".join(result["verdict"].split())
    assert verdict
    assert verdict in page
    heads = [word for word in ("Scenario", "Results", "Manifest") if f" {word} " in page]
    assert all(page.index(verdict) < page.index(f" {word} ") for word in heads)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_small_enough_for_a_mail(kind, texts):
    assert len(texts[kind].encode()) < 1_000_000


@pytest.mark.parametrize("kind", ["simulate", "compare", "tune"])
def test_every_number_of_every_policy_and_tier_is_there(kind, pages, runs):
    policies = result_of(runs[kind])["policies"]
    shown = 0
    for policy in policies.values():
        for found in estimates_in(policy):
            if found.value is not None:
                assert with_interval(found) in pages[kind].text
                shown += 1
    assert shown > 25 * len(policies)


def test_every_step_of_a_sweep_is_there(pages, runs):
    page = pages["sweep"].text
    for step in result_of(runs["sweep"])["steps"]:
        assert f"load {step['settings']['workload.arrivals.load']:g}" in page
        for policy in step["policies"].values():
            for found in map(estimate, policy["latency_ms"].values()):
                assert found.value is None or with_interval(found) in page


def test_the_lowest_latency_of_a_step_is_starred():
    def policy(value):
        found = {"value": value, "low": value - 0.1, "high": value + 0.1}
        return {"latency_ms": {"p99": found}, "intervals": {}}

    step = {"settings": {"service.servers": 2}, "policies": {"a": policy(3.0), "b": policy(2.0)}}
    (row,) = latencies([step], "p99").rows
    assert row.cells == ["servers 2", "3.0 ± 0.1", "2.0 ± 0.1 *"]


def test_words_that_were_swept_stand_side_by_side_and_are_not_joined():
    def step(word, value):
        found = {"value": value, "low": value, "high": value}
        return {
            "settings": {"service.cluster.router": word},
            "policies": {name: {"latency_ms": {"p99": found}} for name in ("a", "b")},
        }

    sweep = {"keys": ["service.cluster.router"], "steps": [step("first", 1.0), step("last", 2.0)]}
    chart = line_chart(sweep, "service.cluster.router", "p99")
    assert ">first<" in chart
    assert ">last<" in chart
    assert "a at router last: 2 ms" in chart
    assert 'class="line"' not in chart
    places = re.findall(r'<circle cx="([\d.]+)"', chart)
    assert len(set(places)) == len(places) == 4


def test_a_very_long_table_says_how_much_of_it_is_shown():
    table = Table("long", ("a", "b"), [Row([str(k), "1"]) for k in range(MOST + 5)])
    text = written(table)
    assert text.count("<tr>") == MOST + 1
    assert f"The first 1,000 of {MOST + 5:,} rows" in text


def test_paired_differences_are_there_with_their_intervals(pages, runs):
    found = result_of(runs["compare"])["differences"]
    sure = [d for d in found if d["verdict"] != "tie"]
    assert sure
    for one in sure:
        half = (one["high"] - one["low"]) / 2
        digits = max(0, -math.floor(math.log10(half)))
        assert f"{one['value']:+.{digits}f}" in pages["compare"].text or half == 0


def test_each_rate_of_a_capacity_has_its_interval_and_its_servers(pages, runs):
    page = pages["capacity"].text
    for policy in result_of(runs["capacity"])["policies"].values():
        limit = policy["capacity_per_s"]
        if limit["value"] is not None:
            low, high = (f"{limit[end]:,.0f}" if limit[end] >= 1000 else f"{limit[end]:.4g}"
                         for end in ("low", "high"))  # fmt: skip
            assert f"{low} to {high}" in page
    assert "Fewest servers for 900 requests/s" in page


def test_live_and_predicted_stand_side_by_side_with_the_interval(pages, runs):
    page = pages["validate"].text
    assert "Simulated against live" in page
    for cell in result_of(runs["validate"])["cells"]:
        if cell["statistic"] != "busy":
            known = cell["a_priori"]
            assert f"{known['value']:.4g} {known['low']:.4g} to {known['high']:.4g}" in page
            error = cell["a_priori_error"]
            assert error is None or f"{round(100 * error, 1) + 0.0:+.1f} %" in page


def test_figures_of_a_real_server_stand_beside_their_predictions(pages, runs):
    page = pages["try"].text
    cells = result_of(runs["try"])["cells"]
    assert {cell["inside"] for cell in cells} == {True, False}
    for cell in cells:
        for value in (cell["measured_mean"], cell["predicted_mean"]):
            assert f"{value:.4g}" in page
        assert f"{100 * cell['error']:+.1f} %" in page
    assert "The setting against the default" in page


def test_trials_of_a_tuning_and_its_front_are_there(pages, runs):
    found, page = result_of(runs["tune"]), pages["tune"].text
    assert found["front"]
    for name in found["front"]:
        assert re.search(re.escape(name) + r" [*+] ", page), name
    assert "mean latency against busy share of the servers" in page
    assert "The winner, for a scenario file" in page
    assert (runs["tune"] / "winner.toml").read_text().splitlines()[0] in page


def test_causes_and_changes_of_a_diagnosis_are_there(pages, runs):
    found, page = json.loads(runs["diagnose"].read_text()), pages["diagnose"].text
    assert found["findings"]
    for one in found["findings"]:
        assert one["evidence"] in page
    for one in found["remedies"]:
        assert f"{one['what']} {one['value_ms']:.4g}" in page


def test_exported_files_are_there_with_their_text(pages, runs):
    page = pages["compare"].text
    config = next((runs["compare"] / "export" / "triton").rglob("config.pbtxt"))
    for line in config.read_text().splitlines():
        assert " ".join(line.split()) in page
    assert f"</code></pre>{EVIL}" in page
    assert "(3 bytes that are no text)" in page


def test_a_link_out_of_the_run_is_not_followed(runs, place):
    secret = place / "secret.txt"
    secret.write_text("not for the mail")
    link = runs["compare"] / "export" / "strange" / "link.txt"
    link.symlink_to(secret)
    text = report(runs["compare"], place / "link.html").read_text()
    link.unlink()
    assert "not for the mail" not in text


def test_every_key_of_the_scenario_and_the_manifest_is_there(pages, runs):
    page = pages["compare"].text
    assert 'workload.arrivals.process = "poisson"' in page
    assert 'policies."waits <5".max_wait_ms = 20.0' in page
    manifest = json.loads((runs["compare"] / "manifest.json").read_text())
    assert manifest["hash"] in page
    assert manifest["versions"]["numba"] in page


@pytest.mark.parametrize("kind", KINDS)
def test_every_drawing_says_what_it_is(kind, pages):
    page = pages[kind]
    drawings = [a for a in page.called("svg") if a.get("role") == "img"]
    assert len(page.called("desc")) == len(drawings)
    for attributes in drawings:
        assert len(attributes["aria-label"]) > 20
    assert all(a.get("alt") for a in page.called("img"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_chart_stays_inside_its_drawing(kind, texts):
    drawings = re.findall(r'<svg [^>]*viewBox="0 0 400 (\d+)".*?</svg>', texts[kind], re.DOTALL)
    assert drawings
    for at in re.finditer(r'<circle cx="([-\d.]+)" cy="([-\d.]+)"', texts[kind]):
        assert 0 <= float(at[1]) <= 400
        assert 0 <= float(at[2]) <= max(map(float, drawings))
    assert not re.search(r"(nan|inf|None)[ ,\"LHV]", "".join(re.findall(r'd="[^"]*"', texts[kind])))


def test_pictures_of_the_run_are_inside_the_page(pages, runs):
    pictures = pages["compare"].called("img")
    data = [b64decode(a["src"].partition(",")[2]) for a in pictures]
    files = [p.read_bytes() for p in runs["compare"].glob("*.*") if p.suffix in {".svg", ".png"}]
    assert pictures
    assert all(each in files for each in data)


def test_several_runs_make_one_page_that_begins_with_their_answers(runs, place):
    asked = [runs["compare"], runs["validate"], runs["diagnose"]]
    path = report(asked, root=place / "runs")
    assert path == place / "runs" / "report.html"
    page = Page(path.read_text())
    assert page.wrong == []
    links = [a["href"] for a in page.called("a")]
    assert links == ["#run-0", "#run-1", "#run-2"]
    assert {a["id"] for a in page.called("section")} == {"run-0", "run-1", "run-2"}
    assert "Simulated against live" in page.text


def test_a_diagnosis_beside_a_run_is_told_with_it(runs, place):
    beside = runs["simulate"] / "diagnosis.json"
    beside.write_text(runs["diagnose"].read_text())
    page = Page(report(runs["simulate"], place / "beside.html").read_text())
    beside.unlink()
    assert "Diagnosis" in page.text
    assert json.loads(runs["diagnose"].read_text())["verdict"] in page.text


def test_the_command_writes_into_the_run_and_says_how_large_it_is(runs, place):
    said = batchwright("report", runs["capacity"], "--out", place / "runs")
    assert said.exit_code == 0, said.stderr
    path = runs["capacity"] / "report.html"
    assert said.stdout == f"{path}\n"
    assert f"{path.stat().st_size / 1000:,.0f} kB" in said.stderr


def test_the_command_takes_names_and_a_file_to_write_to(runs, place):
    to = place / "new" / "all.html"
    said = batchwright("report", "by-hand", "latest", "--to", to, "--out", place / "runs", "--json")
    assert said.exit_code == 0, said.stderr
    found = json.loads(said.stdout)
    assert found == {
        "report": str(to), "bytes": to.stat().st_size, "pdf": None, "runs": ["by-hand", "latest"],
    }  # fmt: skip


def wrong(*arguments):
    """The one sentence that wrong input gets."""
    said = batchwright("report", *arguments)
    assert said.exit_code == 2
    assert said.stdout == ""
    assert len(said.stderr.splitlines()) == 1
    return said.stderr


def test_a_folder_that_is_no_run_gets_one_sentence(tmp_path):
    assert "is no run: it has no manifest.json" in wrong(tmp_path)


def test_a_run_that_does_not_exist_gets_one_sentence(tmp_path):
    assert "there is no run 'nowhere'" in wrong("nowhere", "--out", tmp_path)


def test_a_file_that_is_no_diagnosis_gets_one_sentence(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("hello")
    assert "is no diagnosis" in wrong(file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda result: result.pop("policies"), "it has no policies"),
        (lambda result: result["policies"]["greedy"].pop("latency_ms"), "KeyError 'latency_ms'"),
        (lambda result: result.update(policies=7), "cannot be read"),
    ],
)
def test_an_old_or_damaged_result_gets_one_sentence(change, words, tmp_path):
    run = run_of("simulate", tmp_path)
    result = result_of(run)
    result["policies"] = {"greedy": next(iter(result["policies"].values()))}
    change(result)
    (run / "result.json").write_text(json.dumps(result))
    said = wrong(run)
    assert words in said
    assert "run it again" in said
    assert not (run / "report.html").exists()


def places_in(value, path=()):
    """Where something stands in a JSON value; of long lists only the beginning."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:3])
    for key, inside in items:
        yield (*path, key)
        if isinstance(inside, dict | list):
            yield from places_in(inside, (*path, key))


def damaged(value, rng):
    """A JSON value in which something is missing or is something else."""
    value = json.loads(json.dumps(value))
    path = rng.choice(list(places_in(value)))
    inside = value
    for key in path[:-1]:
        inside = inside[key]
    if rng.random() < 0.4:
        del inside[path[-1]]
    else:
        inside[path[-1]] = rng.choice([None, -1, 0, "x", [], {}, 1e308, True, [None]])
    return value


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_damaged_gets_a_page_or_one_sentence(kind, runs):
    run, rng, pages = opened(runs[kind]), random.Random(7), 0
    for _ in range(25):
        broken = replace(run, result=damaged(run.result, rng))
        if run.manifest:
            broken = replace(broken, manifest=damaged(run.manifest, rng))
        try:
            text = html_of([broken])
        except RunError as error:
            assert "\n" not in str(error)
            continue
        if pages % 5 == 0:
            assert Page(text).wrong == []
        pages += 1
    assert pages > 2


def test_a_run_of_another_command_gets_one_sentence(tmp_path):
    (tmp_path / "manifest.json").write_text('{"command": "dance"}')
    (tmp_path / "result.json").write_text("{}")
    assert "is a run of `dance`, of which no report can be made" in wrong(tmp_path)


def test_an_unfinished_run_gets_one_sentence(tmp_path):
    (tmp_path / "manifest.json").write_text('{"command": "tune", "status": "running"}')
    assert "has no result.json: it was not finished" in wrong(tmp_path)


def test_without_a_browser_a_pdf_is_refused_before_anything_is_written(runs, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunError, match="needs Chromium or Chrome"):
        browser()
    to = tmp_path / "report.html"
    assert "none is installed" in wrong(runs["compare"], "--to", to, "--pdf")
    assert not to.exists()


def test_policies_look_as_in_the_other_figures():
    look = looks_of(["mine", "greedy", "snap", *(f"p{k}" for k in range(8))])
    assert look["mine"] == Look("s0")
    assert look["greedy"] == Look("g0")
    assert look["snap"].dashes
    assert look["p7"] == Look("s0", "6 3")
    assert len(DARK) == len(PALETTE)
