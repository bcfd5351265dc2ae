"""The page of policies that LoadGen has judged."""

from __future__ import annotations

import json

import pytest
from judgement_by_hand import judgement, verdict

from experiments.mlperf.judging import Judgement
from experiments.report.found import Run
from experiments.report.of_judgement import (
    clocks_table,
    judged,
    latency_chart,
    verdicts_table,
    within_chart,
)


@pytest.mark.parametrize("several", [False, True])
def test_a_judgement_is_read_back_as_it_was_written(several):
    found = judgement(several, interrupted=True)
    assert Judgement.of(json.loads(found.to_json())) == found


def test_a_verdict_is_a_sentence_for_each_policy_and_load():
    lines = judgement().verdict.splitlines()
    assert lines[0] == (
        "waits <5 at load 0.50 is MLPerf-compatible, if its latencies were independent; its "
        "interval keeps the target."
    )
    assert lines[1].startswith("greedy at load 0.50 is not judged valid: early stopping asks for ")
    assert lines[1].endswith("; its interval misses the target.")
    assert lines[2].endswith("; its interval holds both.")
    assert lines[3].endswith("; the run is too short for an interval of its own.")


def test_the_load_is_told_where_there_are_several():
    several, one = verdicts_table(judgement()), verdicts_table(judgement(several=False))
    assert "load" in several.heads
    assert "load" not in one.heads
    for table in (several, one):
        assert {len(row.cells) for row in table.rows} == {len(table.heads)}
    assert [row.tone for row in one.rows] == [None, "bad", None]


def test_shares_are_drawn_against_the_percentile_and_latency_against_the_target():
    found = judgement()
    within, latency = within_chart(found), latency_chart(found)
    assert (within.target, latency.target) == (99.0, 20.0)
    assert [line.value for line in within.lines] == pytest.approx([99.93, 97.75, 99.1, 100.0])
    assert within.lines[-1].low is None
    assert [line.value for line in latency.lines] == [19.5, 31.25, 19.5, 19.5]


def test_both_clocks_are_laid_side_by_side():
    rows = [row.cells for row in clocks_table(judgement(several=False)).rows]
    assert ["greedy", "p99", "31.25", "31.00", "+0.25"] in rows
    assert len(rows) == 9


def test_loadgens_own_log_is_on_the_page():
    page = "".join(
        part for part in judged(Run("a/judge-1", "judge", judgement().to_dict())) if part
    )
    assert "result_validity" in page
    assert page.count("VALID") >= 4


def test_a_share_that_has_no_value_has_no_dot():
    found = Judgement("s", "m", 20.0, 99.0, (verdict(within=(None, None, None)),))
    assert within_chart(found).lines[0].value is None
    assert list(judged(Run("a/judge-1", "judge", found.to_dict())))
