"""The report of a run of a model that generates."""

from __future__ import annotations

import html
import json
import re

import pytest
from test_iteration_live_validation import sound  # noqa: F401 - a fixture
from test_iteration_scenarios import SMALL
from typer.testing import CliRunner

from experiments.cli import app
from experiments.cli_run import in_folder
from experiments.iteration import compare, load_scenario
from experiments.iteration.run import JOB
from experiments.parallel import nothing
from experiments.report import report
from experiments.runs import RunError, write_manifest


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("report")
    (place / "small.toml").write_text(SMALL)
    scenario = load_scenario(place / "small.toml")
    done = in_folder(
        scenario, "compare", place / "runs", lambda _: compare(scenario), nothing, job=JOB
    )
    return done.folder


def test_the_page_says_verdict_targets_rules_and_tiers(run):
    page = report(run).read_text()
    result = json.loads((run / "result.json").read_text())
    assert result["verdict"].split(";")[0].split(".")[0] in page.replace("&amp;", "&")
    for words in ("first token &lt;= 200 ms", "Mean time to the first token", "Tiers", "vllm"):
        assert words in page
    for tier in ("people", "jobs"):
        assert f"<td>{tier}</td>" in page
    assert "<script src" not in page
    assert 'href="http' not in page


def test_every_rule_has_a_row_and_its_numbers(run):
    page = report(run).read_text()
    result = json.loads((run / "result.json").read_text())
    for name, one in result["policies"].items():
        assert f'<th scope="row">{name}' in page
        assert f"{one['requests']:,}" in page
    assert "ttft_ms.p95" in page


def test_a_damaged_result_is_one_sentence(run, tmp_path):
    folder = tmp_path / "runs" / "small" / "compare-1"
    folder.mkdir(parents=True)
    for name in ("manifest.json", "result.json"):
        (folder / name).write_text((run / name).read_text())
    result = json.loads((folder / "result.json").read_text())
    del result["policies"]["vllm"]["ttft_ms"]
    result["policies"]["whole"]["tiers"] = 3
    (folder / "result.json").write_text(json.dumps(result))
    with pytest.raises(RunError, match="cannot be read"):
        report(folder)


# other commands


COMMANDS = {
    "sweep": ("--over", "engine.max_num_seqs=4,8", "--policy", "vllm"),
    "tune": ("--trials", "12"),
    "capacity": ("--rate", "40", "--policy", "vllm", "--set", "workload.requests=12000"),
    "diagnose": ("--policy", "whole"),
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The page of a run of each command, and its result."""
    place, found = tmp_path_factory.mktemp("pages"), {}
    (place / "small.toml").write_text(SMALL)
    for command, options in COMMANDS.items():
        wanted = [command, str(place / "small.toml"), *options, "--json"]
        done = CliRunner().invoke(app, [*wanted, "--out", str(place / "runs")])
        assert done.exit_code == 0, done.stderr
        result = json.loads(done.stdout)
        source = result.get("run")
        if source is None:
            source = place / f"{command}.json"
            source.write_text(done.stdout)
        page = report(source, place / f"{command}.html", root=place / "runs").read_text()
        found[command] = (page, result)
    return found


def words_of(page):
    return html.unescape(re.sub(r"<[^>]+>", " ", page))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_page_with_its_verdict(pages, command):
    page, result = pages[command]
    text = words_of(page)
    assert " ".join(result["verdict"].split(". ")[0].split()) in " ".join(text.split())
    assert 'href="http' not in page
    assert page.count("<figure") >= 1


def test_the_page_of_a_tuning_has_every_judged_setting_and_trial(pages):
    page, result = pages["tune"]
    for one in result["judged"]:
        assert re.search(rf'<th scope="row">{one["name"]}( \*)?<', page)
    assert "Trials of the search, on one run each: 12 rows" in words_of(page)
    assert result["winner"] in page


def test_the_page_of_a_capacity_has_rates_replicas_and_the_course(pages):
    page, result = pages["capacity"]
    text = words_of(page)
    assert "Fewest replicas for 40 requests/s within the targets" in text
    (one,) = result["policies"].values()
    assert f"{one['capacity_per_s']['value']:.4g}" in text
    for tier in one["course"]["within_targets"]:
        assert f"Within the targets by rate: {tier}" in text


def test_the_page_of_a_sweep_has_a_row_a_step(pages):
    page, result = pages["sweep"]
    for step in result["steps"]:
        seqs = step["settings"]["engine.max_num_seqs"]
        assert f'<th scope="row">max_num_seqs {seqs}<' in page
    assert "against max num seqs" in page


def test_the_page_of_a_diagnosis_has_every_change(pages):
    page, result = pages["diagnose"]
    changes = [change for one in result["findings"] for change in one["remedies"]]
    assert changes
    for change in changes:
        assert f"{change['before']:,.4g} → {change['after']:,.4g}" in page


def test_a_diagnosis_is_told_beside_the_run_that_it_is_about(run, pages, tmp_path):
    folder = tmp_path / "runs" / "small" / "compare-1"
    folder.mkdir(parents=True)
    for name in ("manifest.json", "result.json"):
        (folder / name).write_text((run / name).read_text())
    plain = report(folder).read_text()
    (folder / "diagnosis.json").write_text(json.dumps(pages["diagnose"][1]))
    page = report(folder).read_text()
    assert "What to change: each simulated on the same requests" in page
    assert "What to change" not in plain


def test_the_page_of_a_validation_has_every_promise_and_window(sound, tmp_path):  # noqa: F811
    folder = tmp_path / "runs" / "live" / "validate-1"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(sound.to_json())
    write_manifest(folder, {"command": "validate", "name": "live", "status": "complete"})
    page = report(folder).read_text()
    text = words_of(page)
    result = sound.to_dict()
    promised = [cell for cell in result["cells"] if cell["target"] is not None]
    for cell in promised:
        assert f"{cell['a_priori']['value']:.4g}" in text
    assert "Time to the first token, live and predicted at load 0.5" in text
    assert f"by iteration: {result['replays_exact']}." in text
    assert text.count("accepted") >= len(result["windows"])
    del result["calibration"]["noise"]
    (folder / "result.json").write_text(json.dumps(result))
    with pytest.raises(RunError, match="cannot be read"):
        report(folder)
