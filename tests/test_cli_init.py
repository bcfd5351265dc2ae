"""``batchwright init``: the written scenario loads and runs, and the log's process is found."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner
from written_logs import NS, drawn, log_file

from experiments.cli import app
from experiments.compare import simulate
from experiments.config import load_scenario
from experiments.starting.wishes import rate_or_load
from experiments.starting.writing import keeping_up
from sim import arrivals as processes
from sim.fitted import AZURE_CONV_2023

T4 = ("--profile", "bert-base-t4-tensorrt-fp16")
SMALL = ("--model", "2.0,0.35,32", "--rate", "800")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(one) for one in arguments])


def sentence_of(result):
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def next_step(result):
    assert result.exit_code == 0, result.output
    line = result.stdout.strip().splitlines()[-1]
    assert line.startswith("next: batchwright ")
    return line.removeprefix("next: batchwright ").split()


def test_in_an_empty_folder_it_writes_a_scenario_whose_next_step_runs(run):
    step = next_step(run("init"))
    assert step == ["compare", "scenario.toml"]
    done = run(*step, "--no-load-curve", "--set", "workload.requests=3000")
    assert done.exit_code == 0, done.output
    assert "deadline_aware" in done.stdout


def test_who_waits_for_a_full_batch_keeps_the_target_that_was_asked(run):
    assert run("init", "a", *T4, "--load", "0.4", "--slo", "50").exit_code == 0
    (outcome,) = simulate("a.toml", "deadline_aware").outcomes
    assert outcome.slo_met
    assert outcome.value("latency_ms.p99") > 35


@pytest.mark.parametrize(
    "profile", ["bert-base-t4-tensorrt-fp16", "jasper-t4-fp16", "minilm-cpu-fp32"]
)
def test_any_profile_gets_lengths_in_its_unit(run, profile):
    next_step(run("init", "a.toml", "--profile", profile, "--yes"))
    scenario = load_scenario("a.toml")
    assert scenario.profile.name == profile
    assert scenario.load == pytest.approx(0.4)
    assert scenario.workload.lengths.pmf().cv > 0


def test_every_question_is_an_option(run):
    options = ("--slo", "p95=12.5", "--lengths", "sst2", "--servers", "3", "--load", "0.45")
    next_step(run("init", "b", "--profile", "bert-base-l4-tensorrt-fp16", *options))
    scenario = load_scenario("b.toml")
    (tier,) = scenario.tiers
    assert (tier.percentile, tier.slo_ns) == (95, 12_500_000)
    assert (scenario.servers, scenario.spec.workload.lengths.dataset) == (3, "sst2")
    assert scenario.load == pytest.approx(0.45)


def test_a_rate_gets_as_many_servers_as_it_needs(run):
    next_step(run("init", "c.toml", "--model", "2.0,0.35,32", "--rate", "9000", "--slo", "none"))
    scenario = load_scenario("c.toml")
    assert scenario.offered_rate_per_s == 9000
    assert (
        scenario.load
        <= 0.7
        < 9000 / scenario.rate_max_per_s * scenario.servers / (scenario.servers - 1)
    )


@pytest.mark.parametrize("load", [0.2, 0.6, 0.9])
def test_the_guessed_target_is_one_that_greedy_meets_and_no_batch_of_one_spoils(run, load):
    assert run("init", "d.toml", "--model", "2.0,0.35,32", "--load", load).exit_code == 0
    done = run("compare", "d.toml", "--policy", "greedy", "--no-load-curve", "--json")
    p99 = json.loads(done.stdout)["policies"]["greedy"]["latency_ms"]["p99"]
    slo_ms = load_scenario("d.toml").tiers[0].slo_ns / 1e6
    assert p99["high"] < slo_ms < 4 * p99["value"]


def test_nothing_is_overwritten_unless_forced(run):
    Path("scenario.toml").write_text("mine")
    assert "is there already; give another FILE, or --force" in sentence_of(run("init"))
    assert Path("scenario.toml").read_text() == "mine"
    assert run("init", "--force").exit_code == 0
    assert Path("scenario.toml").read_text() != "mine"


def test_a_file_beside_the_scenario_is_not_overwritten_either(run):
    rng = np.random.default_rng(1)
    log_file(drawn(processes.Poisson(50.0), 500), rng.choice([3, 90], 500))
    Path("a.lengths.csv").write_text("mine")
    assert "a.lengths.csv is there already" in sentence_of(
        run("init", "a", "--from-log", "log.csv")
    )
    assert Path("a.lengths.csv").read_text() == "mine"
    assert not Path("a.toml").exists()


def test_it_runs_from_another_folder_as_well(run, tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    log_file(drawn(processes.Poisson(50.0), 500), rng.choice([3, 90], 500))
    Path("there").mkdir()
    next_step(run("init", "there/a.toml", "--from-log", "log.csv"))
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert load_scenario(tmp_path / "there" / "a.toml").workload.lengths.pmf().longest == 90


@pytest.mark.parametrize("wanted", ["poisson", "gamma", "mmpp", "trace"])
def test_a_process_can_be_asked_for(run, wanted):
    log_file(drawn(AZURE_CONV_2023, 2_000))
    next_step(run("init", "a", "--from-log", "log.csv", "--arrivals", wanted, *SMALL[:2]))
    scenario = load_scenario("a.toml")
    assert scenario.spec.workload.arrivals.process == wanted
    assert f"--arrivals {wanted} asks for it" in Path("a.toml").read_text()


def test_the_evidence_stands_in_the_file(run):
    log_file(drawn(AZURE_CONV_2023, 19_366))
    next_step(run("init", "a", "--from-log", "log.csv", *SMALL[:2], "--load", "0.4"))
    text = Path("a.toml").read_text()
    assert "# log.csv: 19,366 requests in " in text
    assert "# Not Poisson: " in text
    assert "# CV of gaps" in text
    assert "dispersion at 100 s" in text
    scenario = load_scenario("a.toml")
    assert scenario.load == pytest.approx(0.4)
    assert max(map(len, text.splitlines())) <= 100


def test_a_replay_has_the_requests_of_the_log(run):
    arrival = drawn(processes.Clumped(5, 0, 100.0), 600)
    lengths = np.arange(1, 601)
    log_file(arrival + 77 * NS, lengths)
    next_step(run("init", "a", "--from-log", "log.csv", "--arrivals", "trace", *T4))
    workload, _ = load_scenario("a.toml").draw()
    assert (workload.arrival_ns == arrival - arrival[0]).all()
    assert (workload.length == np.minimum(lengths, 384)).all()
    assert 'over_length = "truncate"' in Path("a.toml").read_text()


def test_tiers_have_their_shares_and_lengths_of_their_own(run):
    rng = np.random.default_rng(5)
    tiers = np.where(rng.random(3_000) < 0.2, "chat", "bulk")
    lengths = np.where(tiers == "chat", 20, rng.integers(100, 300, 3_000))
    log_file(drawn(processes.Poisson(50.0), 3_000), lengths, tiers)
    next_step(run("init", "a", "--from-log", "log.csv", "--slo", "30"))
    scenario = load_scenario("a.toml")
    shares = {tier.tier.name: tier.share for tier in scenario.workload.tiers}
    assert shares["chat"] == pytest.approx((tiers == "chat").mean(), abs=1e-5)
    assert math.fsum(shares.values()) == pytest.approx(1.0)
    by_name = {t.tier.name: scenario.workload.lengths_of(t).pmf() for t in scenario.workload.tiers}
    assert by_name["chat"].longest == 20
    assert by_name["bulk"].length[0] >= 100
    assert "priority_fill" in scenario.policies


def test_a_replay_keeps_tiers(run):
    arrival = drawn(processes.Clumped(5, 0, 100.0), 600)
    log_file(arrival, tiers=["b" if k % 3 else "a" for k in range(600)])
    next_step(run("init", "r", "--from-log", "log.csv", "--arrivals", "trace", *SMALL[:2]))
    workload, _ = load_scenario("r.toml").draw()
    assert workload.tier.tolist() == [1 if k % 3 else 0 for k in range(600)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--rate", "0"), "--rate 0 must be requests per second above 0"),
        (("--load", "much"), "--load much must be a number above 0"),
        (("--slo", "-5"), "--slo -5 must be milliseconds above 0"),
        (("--slo", "p100=5"), "--slo p100=5 must be"),
        (("--profile", "bert-bas"), "'bert-bas' is neither a shipped profile"),
        (("--profile", "minilm-cpu-fp32", "--model", "1,1"), "give --profile or --model, not both"),
        (("--rate", "5", "--load", "0.5"), "give --rate or --load, not both"),
        (("--model", "2"), "--model 2 must be milliseconds"),
        (("--model", "2,0.3,0"), "the largest batch must be from 1 to 4096"),
        (("--lengths", "imbd"), "did you mean imdb?"),
        (("--lengths", "lognormal"), "--lengths lognormal needs --from-log"),
        (("--columns", "arrival=t"), "give --from-log, too"),
        (("--from-log", "nope.csv"), "there is no file nope.csv"),
        (("--from-log", "log.csv", "--arrivals", "poison"), "did you mean poisson?"),
        (("--from-log", "log.csv", "--columns", "arrival=x"), "has no column 'x' for arrival"),
        (("--from-log", "log.csv", "--columns", "start=a"), "--columns start: is not known"),
        (("--from-log", "log.csv", "--unit", "h"), "--unit h must be one of s, ms, us, ns"),
        (("--from-log", "log.csv", "--columns", "length=word"), "word = 'a' must be a length"),
        (("--from-log", "empty.csv"), "empty.csv is empty"),
        (("--from-log", "one.csv"), "holds 1 request(s)"),
        (("--from-log", "same.csv"), "come at one instant"),
        (("--from-log", "gap.csv"), "gap.csv, line 3: arrival_s is empty"),
        (("--from-log", "words.csv"), "line 3: arrival_s = 'soon' must be a number of s"),
        (("--from-log", "other.csv"), "it has when_it_came: name it, as in --columns arrival=NAME"),
        (("--rate", "1e12"), "times what one server can do"),
    ],
    ids=str,
)  # fmt: skip
def test_what_makes_no_sense_is_told_in_a_sentence_and_nothing_is_written(run, arguments, says):
    files = {
        "log.csv": "arrival_s,word\n0,a\n1,b\n", "empty.csv": "", "one.csv": "arrival_s\n1\n",
        "same.csv": "arrival_s\n1\n1\n", "gap.csv": "arrival_s\n1\n\"\"\n2\n",
        "words.csv": "arrival_s\n1\nsoon\n", "other.csv": "when_it_came\n1\n2\n",
    }  # fmt: skip
    for name, text in files.items():
        Path(name).write_text(text)
    assert says in sentence_of(run("init", "new.toml", *arguments))
    assert {path.name for path in Path().iterdir()} == set(files)


def test_a_folder_that_is_not_there_is_told(run):
    assert "there is no folder no" in sentence_of(run("init", "no/a.toml"))


def test_rates_and_loads_are_told_apart():
    assert [float(x or 0) for x in rate_or_load("250")] == [250, 0]
    assert [float(x or 0) for x in rate_or_load("1,200/s")] == [1200, 0]
    assert [float(x or 0) for x in rate_or_load("60%")] == [0, 0.6]
    assert [float(x or 0) for x in rate_or_load("load 0.6")] == [0, 0.6]


@pytest.mark.skipif(shutil.which("stty") is None, reason="needs a terminal of Unix")
def test_at_a_terminal_it_asks_and_asks_again(tmp_path):
    pexpect = pytest.importorskip("pexpect")
    import sys

    child = pexpect.spawn(
        sys.executable, ["-c", "from experiments.cli import main; main()", "init"],
        cwd=str(tmp_path), encoding="utf-8", timeout=300,
    )  # fmt: skip
    child.expect("profile .*: ")
    child.sendline("bert-bas")
    child.expect("error: 'bert-bas' is neither")
    child.expect("profile .*: ")
    child.sendline("minilm-cpu-fp32")
    child.expect("rate .40%.: ")
    child.sendline("90")
    child.expect("slo .guess.: ")
    child.sendline("p95=150")
    child.expect("next: batchwright compare scenario.toml")
    child.expect(pexpect.EOF)
    scenario = load_scenario(tmp_path / "scenario.toml")
    assert scenario.offered_rate_per_s == 90
    assert scenario.tiers[0].percentile == 95


def test_at_the_default_load_no_rule_of_the_file_is_overrun_by_padding(run):
    step = next_step(run("init"))
    done = run(*step, "--no-load-curve", "--json", "--set", "workload.requests=30000")
    found = json.loads(done.stdout)["policies"]
    assert len(found) >= 6
    assert all(each["stable"] for each in found.values())


def test_a_tier_with_a_target_gets_enough_requests_for_its_p99(run):
    tiers = ["rare" if k % 4 == 0 else "usual" for k in range(1_000)]
    log_file(drawn(processes.Poisson(50.0), 1_000), tiers=tiers)
    next_step(run("init", "a", "--from-log", "log.csv", *SMALL[:2]))
    scenario = load_scenario("a.toml")
    assert scenario.tiers[0].name == "rare"
    assert scenario.spec.workload.requests * 0.25 >= 112_000


def test_room_for_padding_is_left_where_lengths_vary(run):
    profile = ("--profile", "bert-base-t4-tensorrt-fp16", "--rate", "2000")
    next_step(run("init", "varied", *profile, "--lengths", "imdb"))
    next_step(run("init", "same", *profile, "--lengths", "128"))
    assert load_scenario("varied.toml").load <= 0.4
    assert 0.4 < load_scenario("same.toml").load <= 0.7


def test_shares_of_thirds_add_up_to_one(run):
    log_file(drawn(processes.Poisson(50.0), 999), tiers=["abc"[k % 3] for k in range(999)])
    next_step(run("init", "a", "--from-log", "log.csv", *SMALL[:2]))
    assert [str(t.share) for t in load_scenario("a.toml").spec.workload.tiers] == [
        "0.333334", "0.333333", "0.333333",
    ]  # fmt: skip


def test_the_batch_that_keeps_up_counts_padding():
    scenario = load_scenario("bert", ["workload.arrivals.load=0.3"])
    size, takes_ms = keeping_up(scenario)
    longest = scenario.workload.lengths.pmf().quantile(size / (size + 1))
    row = scenario.service_ns[0][size - 1]
    assert takes_ms == pytest.approx(np.interp(longest, scenario.length_edges, row) / 1e6)
    assert size / takes_ms * 1000 >= scenario.offered_rate_per_s
    assert takes_ms > np.interp(150, scenario.length_edges, row) / 1e6
    busier = load_scenario("bert", ["workload.arrivals.load=0.45"])
    assert keeping_up(busier)[0] > size


def test_tuning_says_when_a_replay_or_a_tier_is_too_short_for_its_percentile(run):
    arrival = drawn(processes.Clumped(5, 0, 100.0), 2_000)
    log_file(arrival, tiers=["rare" if k % 4 == 0 else "usual" for k in range(2_000)])
    next_step(run("init", "drawn", "--from-log", "log.csv", *SMALL, "--arrivals", "poisson"))
    tier = sentence_of(
        run("tune", "drawn.toml", "--trials", "20", "--set", "workload.requests=120000", "-q")
    )
    assert tier.endswith("give at least 444448, as --set workload.requests=444448")
    next_step(run("init", "played", "--from-log", "log.csv", "--arrivals", "trace", *SMALL))
    replay = sentence_of(run("tune", "played.toml", "--trials", "20", "-q"))
    assert "the trace is too short for the percentiles of the goal" in replay
    advice = ("--objective", "mean", "--set", "tune.slo=false")
    done = run("tune", "played.toml", "--trials", "20", "-q", *advice)
    assert done.exit_code == 0, done.output
