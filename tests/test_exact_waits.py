"""Mean waits that theory knows, beside the measured ones: where they are said, and where not."""

import json

import pytest
from typer.testing import CliRunner

from experiments.cli import app
from experiments.compare import simulate
from experiments.config import load_scenario
from experiments.exact_waits import KEY, exact_waits
from experiments.terminal import exact_table

PRIORITY = "policies.priority"


def known(name, *settings):
    scenario = load_scenario(name, settings)
    return exact_waits(scenario, scenario.policies)


def test_strict_priority_is_known_from_cobham():
    found = known("mm1_prio2")["priority"]
    assert found == {
        "by": "Cobham 1954",
        "tiers": {
            "urgent": pytest.approx(8 / 7, rel=1e-12),
            "patient": pytest.approx(40 / 7, rel=1e-12),
        },
    }
    three = known("mg1_prio3")["priority"]["tiers"]
    waits = [three[tier] for tier in ("short", "constant", "long")]
    assert waits == pytest.approx([0.625, 1.0416667, 2.0833333], rel=1e-6)


def test_ageing_is_known_from_kleinrock_and_equal_rates_are_first_come_first_served():
    ageing = f"{PRIORITY}={{ kind = 'ageing', rates = [0.5, 0.5] }}"
    found = known("mm1_prio2", ageing)
    assert found["priority"]["by"] == "Kleinrock 1964"
    for policy in ("priority", "fifo"):
        waits = list(found[policy]["tiers"].values())
        assert waits == pytest.approx([4.0, 4.0], rel=1e-12), policy


@pytest.mark.parametrize(
    ("name", "wait_ms"), [("mm1", 4.0), ("md1", 2.0), ("mmc4", 0.7455412), ("mg1_lognormal", None)]
)
def test_first_come_first_served_is_known_on_one_server_and_on_several(name, wait_ms):
    (found,) = known(name).values()
    assert found["tiers"]["all"] == pytest.approx(wait_ms or 35 / 12, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mm1k", ()),
        ("mm1_abandon", ()),
        ("mdc4", ()),
        ("dm1", ()),
        ("greedy", ()),
        ("bert", ()),
        ("closed_loop", ()),
        ("mm1", ("workload.arrivals.rate_per_s=1000",)),
        ("mmc4", ("service.model.noise={ kind = 'lognormal', cv = 1 }",)),
        ("mm1_prio2", ("workload.tiers.1.timeout={ ms = 5 }", "policies.fifo.kind=snap")),
        ("mm1_prio2", ("service.servers=2", "policies.fifo.kind=snap")),
        ("mm1", ("service.preprocessing={ workers = 2, base_ms = 0.1 }",)),
    ],
)
def test_elsewhere_theory_says_nothing(name, settings):
    assert known(name, *settings) == {}


def test_what_is_measured_lies_beside_what_is_known():
    found = simulate("mm1_prio2")
    exact = found.scenario[KEY]["priority"]["tiers"]
    for group in found.outcomes[0].measures.tiers:
        measured = group.wait_ms["mean"]
        assert measured.low <= exact[group.name] <= measured.high
    assert found.to_dict()["scenario"][KEY] == {"priority": {"by": "Cobham 1954", "tiers": exact}}
    assert exact_table(found).row_count == 2


def test_the_command_shows_both(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["simulate", "mm1_prio2", "--set", "workload.requests=20000"]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0
    assert "1.1429  Cobham 1954" in shown.output
    as_json = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert as_json["scenario"][KEY]["priority"]["tiers"]["urgent"] == pytest.approx(8 / 7)


def test_a_result_without_a_known_wait_says_nothing_of_it():
    found = simulate(load_scenario("mm1k", ["workload.requests=5000"]))
    assert KEY not in found.scenario
    assert exact_table(found) is None
