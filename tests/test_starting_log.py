"""Logs as people have them: separators, dates, units, names of columns, and what is too short."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments.cli import app
from experiments.compare import simulate
from experiments.config import load_scenario
from experiments.sentences import ScenarioError
from experiments.starting.columns import candidates, words_of
from experiments.starting.log import Log, read_log
from experiments.starting.longer import lengthened

NS = 1_000_000_000


def written(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "log.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (
            "timestamp;tokens\r\n2026-11-03T09:00:00.5+01:00;7\r\n2026-11-03T08:00:00Z;5\r\n",
            "utf-8",
        ),
        ("ts_ms,n_tokens\n1762156800000,5\n1762156800500,7\n", "utf-8"),
        ('"Timestamp","Token Count"\r\n"1762156800.0","5"\r\n"1762156800.5","7"\r\n', "utf-8-sig"),
        ("time\ttokens\n1762156800000000\t5\n1762156800500000\t7\n", "utf-8"),
        ("asctime;numTokens\n2026-11-03 09:00:00,000;5\n2026-11-03 09:00:00,500;7\n", "utf-8"),
        ("date|input_tokens\n2026/11/03 09:00:00 UTC|5\n2026/11/03 09:00:00.5 UTC|7\n", "utf-8"),
    ],
)  # fmt: skip
def test_separators_dates_and_units_are_recognised(tmp_path, text, encoding):
    log = read_log(written(tmp_path, text, encoding))
    assert log.arrival_ns.tolist() == [0, NS // 2]
    assert log.length.tolist() == [5, 7]
    assert log.unit == "tokens"


@pytest.mark.parametrize(
    ("header", "cells", "counts"),
    [
        ("duration_s", "12.25", None),
        ("clip_seconds", "12.25", None),
        ("audio_ms", "12250", None),
        ("durationSeconds", "12.25", "audio_ms"),
        ("length", "12.25", "audio_ms"),
        ("duration", "12,25", None),
    ],
)
def test_clips_are_told_in_ms_whatever_their_unit(tmp_path, header, cells, counts):
    log = read_log(written(tmp_path, f"ts;{header}\n0;{cells}\n1;{cells}\n"), counts=counts)
    assert log.length.tolist() == [12_250, 12_250]
    assert log.unit == "audio_ms"


def test_the_duration_of_a_request_is_no_length_of_a_text(tmp_path):
    path = written(tmp_path, "received_at,duration_ms\n0,31\n1,40\n")
    log = read_log(path, counts="tokens")
    assert log.length is None
    assert "duration_ms holds them: --columns length=NAME" in log.notes[-1]


def test_names_are_told_by_their_words():
    assert words_of("userTier ID-2") == ["user", "tier", "id", "2"]
    header = [
        "request_id",
        "finished_at",
        "startedAt",
        "output_tokens",
        "promptTokens",
        "User Tier",
    ]
    found = {key: candidates(header, key, None) for key in ("arrival", "length", "output", "tier")}
    assert found == {
        "arrival": ["startedAt"], "length": ["promptTokens"], "output": ["output_tokens"],
        "tier": ["User Tier"],
    }  # fmt: skip


def test_what_was_read_is_said(tmp_path):
    text = "id,ts_ms,n_tokens,user_tier\n1,0,5,free\n2,500,7,premium\n"
    log = read_log(written(tmp_path, text))
    assert log.notes == ("Read: arrival from ts_ms (in ms), length from n_tokens, tier from "
                         "user_tier.",)  # fmt: skip
    assert log.tiers == ("premium", "free")
    assert log.tier.tolist() == [1, 0]


def test_few_requests_without_a_length_take_that_of_the_one_before(tmp_path):
    rows = "".join(f"{k},{'' if k == 7 else k + 1}\n" for k in range(40))
    log = read_log(written(tmp_path, f"ts,tokens\n{rows}"))
    assert log.length[6:9].tolist() == [7, 7, 9]
    assert "1 requests have no tokens (line 9 first)" in " ".join(log.notes)
    rows = "".join(f"{k},{'' if k % 3 else k + 1}\n" for k in range(40))
    with pytest.raises(ScenarioError, match=r"line 3: tokens is empty, as in 65 % of the lines"):
        read_log(written(tmp_path, f"ts,tokens\n{rows}"))


def test_a_file_without_a_header_says_what_to_put_first(tmp_path):
    path = written(tmp_path, "2026-11-03T09:00:00.5Z,111\n2026-11-03T09:00:01Z,48\n")
    with pytest.raises(ScenarioError, match=r"has no header, .* as 'arrival,tokens'$"):
        read_log(path)


def test_a_column_of_many_names_is_taken_for_no_tier_unless_it_is_named(tmp_path):
    rows = "".join(f"{k},tier{k}\n" for k in range(40))
    path = written(tmp_path, f"ts,tier\n{rows}")
    assert read_log(path).tier is None
    with pytest.raises(ScenarioError, match="has 40 different values"):
        read_log(path, {"tier": "tier"})


def test_a_longer_log_has_every_request_as_often_and_the_rate_of_the_log():
    rng = np.random.default_rng(3)
    arrival = np.cumsum(rng.integers(0, 10**7, 500))
    arrival -= arrival[0]
    length = np.arange(1, 501)
    log = Log(Path("a"), arrival, length, None, length % 2, ("a", "b"), {}, "tokens")
    longer, why = lengthened(log, 4_900)
    assert len(longer) == 5_000
    assert (np.bincount(longer.length)[1:] == 10).all()
    assert (longer.tier == longer.length % 2).all()
    assert (np.diff(longer.arrival_ns) >= 0).all()
    assert longer.arrival_ns[-1] / 5_000 == pytest.approx(arrival[-1] / 500, rel=0.01)
    neighbours = np.diff(longer.length) == 1
    assert neighbours.sum() >= 5_000 - 10 * 12
    gaps = dict(zip(length[1:].tolist(), np.diff(arrival).tolist(), strict=True))
    kept = np.diff(longer.arrival_ns)[neighbours]
    assert kept.tolist() == [gaps[k] for k in longer.length[1:][neighbours].tolist()]
    assert not (longer.length[:500] == longer.length[500:1_000]).all()
    assert "joined in random order to 5,000" in why


@pytest.mark.parametrize("text", ['{"time": 1}\n{"time": 2}\n', '\n[{"time": 1}]'])
def test_json_is_not_taken_for_a_csv_of_no_requests(tmp_path, text):
    with pytest.raises(ScenarioError, match=r"log\.csv is JSON; a log is a CSV file"):
        read_log(written(tmp_path, text))


def test_a_short_log_that_is_played_again_has_a_p99(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(4)
    groups = np.repeat(np.cumsum(rng.exponential(0.05, 400)), 5)
    Path("log.csv").write_text("ts\n" + "".join(f"{t:.6f}\n" for t in groups))
    run = CliRunner().invoke(
        app, ["init", "a", "--from-log", "log.csv", "--model", "2.0,0.35,32", "--slo", "50"]
    )
    assert run.exit_code == 0, run.output
    assert "2,000 requests are too few for a p99 with an interval" in run.stdout
    workload, _ = load_scenario("a.toml").draw()
    assert len(workload) == 120_000


@pytest.mark.parametrize(
    ("arrivals", "said"),
    [
        ((), "The arrivals are stretches of a log of 2,000 requests in random order: intervals"),
        (("--arrivals", "trace"), ""),
    ],
)
def test_the_verdicts_on_a_log_that_was_made_longer_say_so(tmp_path, monkeypatch, arrivals, said):
    monkeypatch.chdir(tmp_path)
    groups = np.repeat(np.cumsum(np.random.default_rng(4).exponential(0.05, 400)), 5)
    Path("log.csv").write_text("ts\n" + "".join(f"{t:.6f}\n" for t in groups))
    wishes = ["--from-log", "log.csv", "--model", "2.0,0.35,32", "--slo", "50", *arrivals]
    assert CliRunner().invoke(app, ["init", "a", *wishes]).exit_code == 0
    found = simulate("a.toml", "greedy")
    assert (said in found.verdict) if said else ("stretches" not in found.verdict)
    assert found.scenario.get("recorded_requests") == (2_000 if said else None)
