"""``streaming_speech``, and what a scenario with sequences may not say."""

import re
from decimal import Decimal

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments.capacity import capacity
from experiments.cli import app
from experiments.compare import compare, simulate
from experiments.config import ScenarioError, load_scenario
from experiments.records import batches_frame, requests_frame
from experiments.sequence_words import by_sequences, sequence_tables
from experiments.serving.put_policy import without_slots
from experiments.tune.tuning import tune
from policies import Greedy, SequenceDirect
from sim import kernel, model

NAME = "streaming_speech"
SHORT = ["workload.requests=20_000"]

PLAIN = """
[workload]
requests = 4_000
arrivals = { process = "poisson", load = 0.5 }

[workload.sequences]
requests = { constant = 10 }
gap_ms = 100.0

[service]
model = { base_ms = 2.0, per_request_ms = 1.0, max_batch_size = 8 }

[policies.sticky]
kind = "sequence_oldest"
"""


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "s.toml"
        path.write_text(text)
        return path

    return write


def mistake(path, *settings):
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path, settings)
    return str(caught.value)


def test_a_load_is_that_of_the_requests(written):
    scenario = load_scenario(written(PLAIN))
    assert scenario.load == pytest.approx(0.5)
    workload, _ = scenario.draw()
    seconds = workload.arrival_ns[-1] / 1e9
    assert scenario.offered_rate_per_s == pytest.approx(0.5 * 8_000 / 10)
    assert len(workload) / seconds == pytest.approx(scenario.offered_rate_per_s, rel=0.2)
    assert set(np.bincount(workload.sequences.of)[:-100]) == {10}


def test_a_rate_is_that_of_the_sequences(written):
    rated = PLAIN.replace("load = 0.5", "rate_per_s = 3.0")
    assert load_scenario(written(rated)).offered_rate_per_s == pytest.approx(30.0)


def test_what_arrives_is_said_in_sequences():
    said = load_scenario(NAME).describe()
    assert "300,000 requests in sequences of 95.7, poisson beginnings at 1.35 per second" in said
    assert "40.9 open at a time (load 0.499)" in said


def test_both_engines_agree_on_the_shipped_scenario():
    scenario = load_scenario(NAME, ["workload.requests=3_000"])
    workload, service = scenario.draw()
    for policy in scenario.policies.values():
        one, other = (run(policy, workload, service) for run in (kernel.run, model.run))
        assert one.equals(other)
        one.check(service, workload)


@pytest.fixture(scope="module")
def compared():
    return compare(NAME, settings=SHORT, load_curve=False)


def test_direct_holds_as_many_callers_as_a_batch_has_places_and_others_wait(compared):
    direct = compared.outcome("direct").measures.sequences
    oldest = compared.outcome("oldest").measures.sequences
    assert direct.slots == 16
    assert direct.open.value > 20
    assert direct.waited.value > 0.5
    assert direct.to_slot_ms["mean"].value > 1_000
    assert oldest.waited.value == 0.0
    assert oldest.slots == 128


def test_without_a_memory_the_gpu_does_what_oldest_does(compared):
    """The candidates suffice: what sticks costs nothing here, and a p99 of less than a chunk."""
    oldest, stateless = (compared.outcome(name) for name in ("oldest_waiting", "stateless"))
    assert oldest.value("latency_ms.mean") == pytest.approx(
        stateless.value("latency_ms.mean"), rel=0.02
    )
    assert stateless.measures.sequences.slot_utilisation is None
    assert oldest.measures.sequences.overtaking.value == 0.0


def test_a_comparison_says_who_waits_for_slots(compared):
    said = " ".join(by_sequences(compared))
    assert "sequences are open at a time. direct has 16 slots for them:" in said
    (table,) = sequence_tables(compared)
    assert table.row_count == len(compared.outcomes)
    assert "direct has 16 slots" in compared.verdict


def test_a_capacity_says_how_many_callers_that_is():
    """At a chunk each 320 ms a caller is 3.1 requests a second, a little more for short calls."""
    scenario = load_scenario(NAME, ["workload.requests=130_000"])
    found = capacity(scenario, ["direct", "oldest"])
    said = re.search(r"then: (\d+) under (\w+) and (\d+) under direct", found.verdict)
    most, best, least = said.groups()
    assert int(most) == pytest.approx(found.of(best).value * 0.32, rel=0.05)
    assert int(least) < 16 < int(most)


def test_a_scenario_without_sequences_has_no_such_table():
    assert sequence_tables(simulate("mm1", settings=["workload.requests=2_000"])) == []


def test_records_say_whose_turn_it_was_and_in_which_place():
    scenario = load_scenario(NAME, ["workload.requests=2_000"])
    trace = kernel.run(scenario.policies["direct"], *scenario.draw())
    requests, batches = requests_frame(trace), batches_frame(trace)
    assert {"sequence", "ends", "ready_ns", "slot"} <= set(requests)
    assert (batches["places"] >= batches["size"]).all()
    assert (batches["places"] > batches["size"]).any()
    highest = requests.groupby("batch")["slot"].max() + 1
    assert (highest == batches["places"]).all()


def test_the_json_of_a_run_holds_the_sequences(compared):
    found = compared.outcome("direct").measures.to_json()["sequences"]
    assert found["slots"] == 16
    assert found["sequences"] > 100
    assert {"waited", "open", "overtaking", "slot_utilisation"} <= set(found["intervals"])


def test_a_sticky_rule_needs_sequences(written):
    alone = PLAIN.replace("[workload.sequences]\nrequests = { constant = 10 }\ngap_ms = 100.0", "")
    said = mistake(written(alone))
    assert "policies.sticky.kind = sequence_oldest keeps sequences together, but requests" in said
    assert said.endswith(
        "add [workload.sequences] with requests = { constant = 30 } and gap_ms = 320.0"
    )


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("service.timeout={ ms = 5.0 }", "sequences wait for slots, without service.timeout"),
        ("service.capacity={ requests = 5 }", "sequences wait for slots, without service.capacity"),
        ("service.over_length='reject'", "sequences have no holes: over_length must be"),
        ("workload.arrivals={ process = 'closed', clients = 3, think_ms = 1.0 }",
         "arrivals say when they begin"),
        ("workload.sequences.gap_ms=-1.0", "gap_ms = -1.0 must be a number of milliseconds"),
        ("workload.sequences.without_end=2.0", "without_end = 2.0 must be a number above 0"),
        ("workload.sequences.gaps=2.0", "did you mean workload.sequences.gap_ms?"),
        ("policies.sticky.max_idle_ms=0.0", "max_idle"),
        ("policies.sticky.max_candidates=-1", "max_candidates"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_sequences_is_one_sentence(written, setting, said):
    assert said in mistake(written(PLAIN), setting)


def test_gaps_jitter_and_sizes_are_what_is_asked_for(written):
    text = PLAIN.replace("gap_ms = 100.0", "gap_ms = 100.0\ngap_cv = 0.5\njitter_ms = 20.0")
    text = text.replace("constant = 10", 'distribution = "uniform", min = 2, max = 6')
    arrivals = load_scenario(written(text)).workload.arrivals
    assert arrivals.mean_size == 4.0
    assert (arrivals.gap_ns, arrivals.jitter_ns) == (100 * 10**6, 20 * 10**6)
    assert arrivals.gap_cv_inside == float(Decimal("0.5"))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["serve", NAME, "--policy", "oldest"], "serve takes requests that belong to none"),
        (["try", NAME, "--on", "triton"], "try sends requests that belong to none"),
        (["load", "http://127.0.0.1:9", NAME], "load sends requests that belong to none"),
        (["validate", NAME], "validate sends requests that belong to none"),
    ],
)
def test_commands_that_send_requests_of_no_sequence_say_so(command, said, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 2
    assert said in " ".join((found.output + found.stderr).split())


def test_a_server_takes_no_policy_with_slots():
    with pytest.raises(ValueError, match=r"^SequenceDirect keeps sequences together, and this"):
        without_slots(SequenceDirect(4))
    assert without_slots(Greedy()) == Greedy()


def test_where_all_that_is_tuned_has_slots_a_rule_without_them_does_not_win(written):
    """Greedy is as fast, and mixes up sequences; where it may be tuned too it wins."""
    text = (
        PLAIN.replace("4_000", "30_000").replace("sequence_oldest", "sequence_direct")
        + '\n[policies.plain]\nkind = "greedy"\n[tune]\n'
    )
    text += 'trials = 6\nreplications = 2\nobjective = "mean"\npolicies = '
    won = {
        wanted: tune(load_scenario(written(f"{text}{wanted}\n")), load_curve=False).winner
        for wanted in ('["sticky"]', '["sticky", "plain"]')
    }
    assert won['["sticky"]'].setting.table["kind"] == "sequence_direct"
    assert won['["sticky", "plain"]'].setting.table["kind"] == "greedy"
