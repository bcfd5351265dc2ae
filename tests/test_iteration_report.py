"""The report of a run of a model that generates."""

from __future__ import annotations

import json

import pytest
from test_iteration_scenarios import SMALL

from experiments.cli_run import in_folder
from experiments.iteration import compare, load_scenario
from experiments.iteration.run import JOB
from experiments.parallel import nothing
from experiments.report import report
from experiments.runs import RunError


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
