"""The exact answers of queueing theory come out of the command, as a user reads them.

The figures are those of ``data/oracles.json``; a million requests are simulated for each.  Shares
of lost requests are of the whole run, which starts empty: 1 % is allowed.  A wait may be off by
twice the half width of the interval that the command prints for it, which one in 10,000 right
runs exceeds.
"""

import json

import pytest
from oracle_runs import ORACLES
from typer.testing import CliRunner

from experiments.cli import app

LOSSES = {
    "erlang_b": ("erlangB", "p_loss", "rejected"),
    "mm1k": ("mm1k", "p_loss", "rejected"),
    "md1k": ("md1k", "p_loss", "rejected"),
    "mm1_abandon": ("mm1_abandon", "p_abandon", "expired"),
    "mm4_abandon": ("mm4_abandon", "p_abandon", "expired"),
    "mm1_deadline": ("mm1_deadline", "p_abandon", "expired"),
}
"""Scenarios in which requests are lost: their oracle, its figure, and who is counted."""

TIERS = ("mm1_prio2", "mg1_prio3")


def simulated(name, folder):
    """What ``batchwright simulate NAME --json`` says of the first policy."""
    arguments = ["simulate", name, "--json", "--out", str(folder)]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    (found,) = json.loads(shown.stdout)["policies"].values()
    return found


@pytest.mark.parametrize("name", LOSSES)
def test_the_command_loses_as_many_as_theory_says(name, tmp_path):
    oracle, figure, fate = LOSSES[name]
    found = simulated(name, tmp_path)
    exact = ORACLES[oracle]["expected"][figure]
    assert found["requests"] == 1_000_000
    assert found[fate] / found["requests"] == pytest.approx(exact, rel=0.01)


def agrees(shown, exact_ms):
    half = (shown["high"] - shown["low"]) / 2
    return abs(shown["value"] - exact_ms) <= 2 * half


def test_the_command_waits_as_erlang_says(tmp_path):
    found = simulated("mmc4", tmp_path)
    expected = ORACLES["mmc4"]["expected"]
    assert agrees(found["wait_ms"]["mean"], expected["mean_wait"])
    assert agrees(found["wait_ms"]["p99"], expected["p99_wait"])
    assert not agrees(found["wait_ms"]["mean"], 1.2 * expected["mean_wait"])


@pytest.mark.parametrize("name", TIERS)
def test_the_command_waits_as_cobham_says(name, tmp_path):
    found = simulated(name, tmp_path)
    for place, tier in enumerate(found["tiers"].values(), start=1):
        exact = ORACLES[name]["expected"][f"mean_wait_{place}"]
        assert agrees(tier["wait_ms"]["mean"], exact), place
        assert not agrees(tier["wait_ms"]["mean"], 1.2 * exact), place
