"""Rounding to a stack's units, and the comment above an exported file."""

from __future__ import annotations

import pytest
from export_settings import setting

from experiments.export.comment import comment_of, commented
from experiments.export.rounding import in_ms, in_whole
from policies.contract import NEVER


@pytest.mark.parametrize(
    ("ns", "unit", "value", "note"),
    [
        (2_000, "us", 2, None),
        (2_500, "us", 2, "max_wait of 2.5 us is written as 2 us"),
        (3_500, "us", 4, "max_wait of 3.5 us is written as 4 us"),
        (1, "us", 1, "max_wait of 0.001 us is written as 1 us"),
        (1, "ms", 1, "max_wait of 0.000001 ms is written as 1 ms"),
        (0, "ms", 0, None),
    ],
)
def test_rounding_is_told_and_never_makes_a_wait_nothing(ns, unit, value, note):
    assert in_whole(ns, unit, "max_wait") == (value, note)


def test_milliseconds_are_exact_and_whole_where_they_can_be():
    assert [str(in_ms(ns)) for ns in (0, 1_000_000, 2_350_000, 1, NEVER)] == [
        "0",
        "1",
        "2.35",
        "0.000001",
        "Infinity",
    ]


def test_the_comment_holds_policy_evidence_differences_and_notes():
    wanted = setting("greedy", max_batch_size=8)
    assert comment_of(wanted, ["it waits"], ["merge this"]) == (
        'Policy winner: kind = "greedy", max_batch_size = 8, on 1 server.',
        "Evidence: run bert/tune-1 of batchwright 0.1.0, scenario bert (hash 0123456789ab), "
        "profile bert-base-a100 on A100.",
        "Arrivals: poisson, 1200 per second, load 0.6, 200000 requests, seeds arrivals 1.",
        "Predicted latency in ms, with intervals of 95 %: p50 3 (2.9 to 3.1), p99 12.5 (12 to 13).",
        "Command: batchwright tune bert",
        "This is NOT the policy that was simulated: the predicted figures hold for the policy as "
        "simulated, not for this approximation of it.",
        "What differs: it waits.",
        "Note: merge this.",
    )


def test_comment_lines_are_marked_and_wrapped():
    text = commented(["word " * 40, "short"])
    lines = text.splitlines()
    assert all(line.startswith("# ") and len(line) <= 100 for line in lines)
    assert lines[1].startswith("#   word")
    assert lines[-1] == "# short"
