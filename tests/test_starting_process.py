"""What a log says: its process of arrivals, its lengths, its clock and its columns."""

from __future__ import annotations

import gzip
import math
from dataclasses import replace

import numpy as np
import pytest
from written_logs import NS, drawn

from experiments.starting import arrivals as choosing
from experiments.starting.arrivals import choose_arrivals
from experiments.starting.burstiness import burstiness, dispersion, windows_s
from experiments.starting.jumping_rate import dispersions_of, empty_shares
from experiments.starting.lengths import choose_lengths
from experiments.starting.log import read_log
from sim import arrivals as processes
from sim.fitted import AZURE_CODE_2023, AZURE_CONV_2023


@pytest.mark.parametrize(
    ("process", "requests", "found"),
    [
        (processes.Poisson(50.0), 20_000, "poisson"),
        (processes.Poisson(2.0), 400, "poisson"),
        (processes.Gamma(0.5, 50.0), 20_000, "gamma"),
        (processes.Gamma(2.0, 50.0), 20_000, "gamma"),
        (processes.Hyperexponential(3.0, 50.0), 20_000, "hyperexponential"),
        (processes.Paced(20.0), 3_000, "paced"),
        (AZURE_CONV_2023, 19_366, "mmpp"),
        (processes.Clumped(8, 0, 100.0), 5_000, "trace"),
    ],
    ids=str,
)
def test_each_process_is_known_again(process, requests, found):
    log, chosen = choose_arrivals(drawn(process, requests))
    assert chosen.process == found, chosen.why
    if found in ("gamma", "hyperexponential"):
        assert chosen.keys["cv"] == pytest.approx(process.gap_cv, rel=0.1)
    if "rate_per_s" in chosen.keys:
        assert chosen.keys["rate_per_s"] == pytest.approx(log.rate_per_s, rel=1e-3)


def test_poisson_logs_are_hardly_ever_taken_for_something_else():
    """40 logs at 4 standard errors and 7 figures each: one false alarm has a chance below 3 %."""
    found = [
        choose_arrivals(drawn(processes.Poisson(10.0), 3_000, k))[1].process for k in range(40)
    ]
    assert found.count("poisson") >= 39


def test_a_rate_that_jumps_twice_needs_three_states():
    _, chosen = choose_arrivals(drawn(AZURE_CODE_2023, 8_819))
    assert chosen.process == "mmpp"
    assert len(chosen.keys["rates_per_s"]) == 3
    assert any("between 2 states misses" in why for why in chosen.why)


def test_the_fit_has_the_figures_of_the_log():
    log, chosen = choose_arrivals(drawn(AZURE_CONV_2023, 19_366))
    fit = chosen.fit
    assert fit.mmpp.rate_per_s == pytest.approx(log.rate_per_s, rel=1e-6)
    assert fit.mmpp.gap_cv == pytest.approx(log.gap_cv, rel=0.1)
    for known, fitted in zip(log.dispersions, fit.dispersions, strict=True):
        assert fitted == pytest.approx(known.value, rel=max(0.25, 3 * known.error))


def test_a_rate_that_grows_all_day_is_replayed():
    rng = np.random.default_rng(3)
    arrival = np.sort(np.sqrt(rng.uniform(0, 1, 20_000)) * 4000 * NS).astype(np.int64)
    _, chosen = choose_arrivals(arrival - arrival[0])
    assert chosen.process == "trace"
    assert "cannot tell what is typical" in " ".join(chosen.why) or "misses" in " ".join(chosen.why)


def test_closed_forms_agree_with_simulated_counts():
    windows = np.array([1.0, 10.0])
    arrival = drawn(AZURE_CONV_2023, 400_000)
    known = [dispersion(arrival, window) for window in windows]
    assert dispersions_of(AZURE_CONV_2023, windows) == pytest.approx(
        [d.value for d in known], rel=0.06
    )
    assert empty_shares(AZURE_CONV_2023, windows)[0] == pytest.approx(known[0].empty, rel=0.06)


def test_a_coarse_clock_is_noticed_and_gaps_are_not_believed():
    arrival = drawn(processes.Poisson(5.0), 20_000) // NS * NS
    log, chosen = choose_arrivals(arrival)
    assert log.clock_s == 1.0
    assert chosen.process == "poisson"
    assert "CV" not in chosen.why[0]


def test_a_coarse_clock_on_which_requests_come_one_by_one_is_none():
    assert burstiness(drawn(processes.Paced(20.0), 3_000)).clock_s == 0.0


def test_windows_hold_enough_and_are_enough():
    found = windows_s(50.0, 400.0)
    assert found == sorted(found)
    assert found[0] * 50 >= 3
    assert 400 / found[-1] >= 20
    assert len(found) <= 6


def test_few_requests_are_called_few():
    _, chosen = choose_arrivals(drawn(processes.Gamma(3.0, 5.0), 50))
    assert chosen.process == "poisson"
    assert "50 requests tell a rate and little else" in chosen.why[0]


def test_lognormal_lengths_are_known_again_and_others_are_counted():
    rng = np.random.default_rng(2)
    found = choose_lengths(
        np.rint(rng.lognormal(4.0, 0.5, 20_000)).astype(np.int64), "auto", "tokens", "f"
    )
    assert found.keys["distribution"] == "lognormal"
    assert found.keys["median"] == pytest.approx(math.exp(4.0), rel=0.03)
    assert found.keys["sigma"] == pytest.approx(0.5, rel=0.03)
    counted = choose_lengths(rng.choice([10, 400], 5_000), "auto", "tokens", "f.csv")
    assert counted.keys == {"histogram": "f.csv"}
    assert sum(count for _, count in counted.rows) == 5_000
    assert "since" in counted.why[0]


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("arrival_ms", ["1000", "1500", "3000"]),
        ("timestamp_us", ["1000000", "1500000", "3000000"]),
        ("Timestamp", ["2026-01-05 10:00:00", "2026-01-05 10:00:00.5", "2026-01-05 10:00:02"]),
        ("time", ["2026-01-05T10:00:00Z", "2026-01-05T10:00:00.5Z", "2026-01-05T10:00:02Z"]),
        ("arrival_s", ["1700000001.0", "1700000000.5", "1700000002.5"]),
        ("ts", ["0.0", "2.0", "0.5"]),
    ],
)
def test_instants_are_read_in_any_unit_order_and_form(tmp_path, header, rows):
    path = tmp_path / "log.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    expected = [0, NS // 2, 2 * NS]
    assert read_log(path).arrival_ns.tolist() == expected
    packed = tmp_path / "log.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_log(packed).arrival_ns.tolist() == expected


def test_unit_and_columns_can_be_said(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("t,n\n0,5\n2000,7\n")
    log = read_log(path, {"arrival": "t", "length": "n"}, unit="ms")
    assert log.arrival_ns.tolist() == [0, 2 * NS]
    assert log.length.tolist() == [5, 7]
    assert log.unit is None


def test_a_process_too_slow_for_the_log_is_not_taken(monkeypatch):
    log, chosen = choose_arrivals(drawn(AZURE_CONV_2023, 19_366))
    slow = replace(log, span_s=200.0)
    assert choosing._rounds(chosen.fit, log) > choosing.LEAST_VISITS
    assert choosing._rounds(chosen.fit, slow) < choosing.LEAST_VISITS


def test_two_lengths_are_no_lognormal_though_its_p99_would_fit():
    rng = np.random.default_rng(4)
    found = choose_lengths(rng.choice([90, 110], 5_000), "auto", "tokens", "f.csv")
    assert found.keys == {"histogram": "f.csv"}
