"""A validation in which a policy served nobody: its numbers are left out, the others are drawn."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.validation.figures import figures_of
from experiments.validation.result import Validation

KEPT = Path(__file__).parent.parent / "docs" / "validate-bert-t4.json"


@pytest.fixture(scope="module")
def kept():
    return Validation.of(json.loads(KEPT.read_text()))


def without_served(found, policies):
    """The same, but these policies served nobody."""
    matches = tuple(
        replace(
            match,
            cells=tuple(replace(cell, live=(math.nan,) * len(cell.live)) for cell in match.cells),
        )
        if match.policy in policies
        else match
        for match in found.matches
    )
    return replace(found, matches=matches)


def test_a_policy_that_served_nobody_is_not_drawn_and_does_not_make_others_fail(kept):
    first = kept.matches[0].policy
    figures = figures_of(without_served(kept, {first}))
    assert set(figures) == {"latency", "predicted", "batch-sizes"}
    legend = figures["predicted"].axes[0].get_legend()
    assert first not in [text.get_text() for text in legend.get_texts()]


def test_where_nobody_was_served_nothing_is_drawn(kept):
    everybody = {match.policy for match in kept.matches}
    assert figures_of(without_served(kept, everybody)) == {}


def test_the_verdict_says_no_number_that_is_none(kept):
    everybody = {match.policy for match in kept.matches}
    assert "nan" not in without_served(kept, everybody).verdict
