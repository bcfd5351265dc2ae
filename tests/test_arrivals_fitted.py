"""The two processes fitted to the Azure traces: by formula, by simulation, and beside the traces.

Published figures: ``arrival_stats.csv`` computed from AzureLLMInferenceTrace 2023.  The traces are
looked for in the folder that BATCHWRIGHT_TRACES names.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import expm

from sim.arrivals import draw_arrivals
from sim.fitted import AZURE_CODE_2023, AZURE_CONV_2023
from sim.replay import read_trace
from sim.streams import stream

S = 1_000_000_000

PUBLISHED = {
    "conv": {"rows": 19_366, "rate": 5.5301, "cv": 1.0942, 1: 1.3851, 10: 3.857, 60: 16.1283},
    "code": {"rows": 8_819, "rate": 2.5664, "cv": 13.1513, 1: 13.1864, 10: 71.6415, 60: 163.9647},
}
EMPTY_SECONDS = 0.734
FITTED = {"conv": AZURE_CONV_2023, "code": AZURE_CODE_2023}

FOLDER = Path(__file__).parents[1] / os.environ.get("BATCHWRIGHT_TRACES", "../shared/data/traces")


def counts(instants_ns, window_s):
    windows = int(instants_ns[-1] // (window_s * S))
    place = instants_ns // (window_s * S)
    return np.bincount(place[place < windows], minlength=windows)


def generator(mmpp):
    leave = np.diag(mmpp.switch_per_s)
    return np.roll(leave, 1, axis=1) - leave


def dispersion(mmpp, window_s):
    """Index of dispersion of counts of any MMPP, by the deviation matrix of its chain."""
    change, share = generator(mmpp), mmpp.share_of_time
    settled = np.outer(np.ones(len(share)), share)
    deviation = np.linalg.inv(settled - change) - settled
    turned = np.eye(len(share)) - expm(change * window_s)
    inner = window_s * deviation - deviation @ deviation @ turned
    rates = np.array(mmpp.rates_per_s)
    return 1 + 2 / (mmpp.rate_per_s * window_s) * ((share * rates) @ inner @ rates)


@pytest.mark.parametrize(
    ("trace", "what"), [("conv", 1), ("conv", 60), ("code", 1), ("code", 10), ("code", 60)]
)
def test_the_fit_has_the_published_dispersion_within_one_percent(trace, what):
    assert dispersion(FITTED[trace], what) == pytest.approx(PUBLISHED[trace][what], rel=0.01)


@pytest.mark.parametrize("trace", FITTED)
def test_the_fit_has_the_published_rate(trace):
    assert FITTED[trace].rate_per_s == pytest.approx(PUBLISHED[trace]["rate"], rel=5e-4)


def test_the_fit_of_code_has_the_published_gaps_and_silence():
    assert AZURE_CODE_2023.gap_cv == pytest.approx(PUBLISHED["code"]["cv"], rel=0.01)
    stay_silent = expm(generator(AZURE_CODE_2023) - np.diag(AZURE_CODE_2023.rates_per_s))
    assert AZURE_CODE_2023.share_of_time @ stay_silent @ np.ones(3) == pytest.approx(
        EMPTY_SECONDS, abs=0.002
    )


def test_the_fit_of_conv_is_near_what_was_not_fitted():
    assert AZURE_CONV_2023.gap_cv == pytest.approx(PUBLISHED["conv"]["cv"], rel=0.03)
    assert dispersion(AZURE_CONV_2023, 10) == pytest.approx(PUBLISHED["conv"][10], rel=0.2)


@pytest.mark.parametrize("trace", FITTED)
@pytest.mark.parametrize("window_s", [1, 10, 60])
def test_simulated_counts_are_dispersed_as_the_formula_says(trace, window_s):
    """Student's t over 100 sections of 1.5 million requests; |t| > 4.5 happens in 2e-5 of runs."""
    mmpp = FITTED[trace]
    instants = draw_arrivals(mmpp, stream(3, "arrivals"), 1_500_000)
    mean = mmpp.rate_per_s * window_s
    squares = (counts(instants, window_s) - mean) ** 2 / mean
    sections = np.array([part.mean() for part in np.array_split(squares, 100)])
    error = sections.std(ddof=1) / 10
    expected = dispersion(mmpp, window_s)
    assert abs(sections.mean() - expected) < 4.5 * error
    assert abs(sections.mean() - 1.5 * expected) > 4.5 * error, "50 % off is noticed"


@pytest.mark.parametrize("trace", FITTED)
def test_the_recorded_trace_has_its_published_statistics(trace):
    file = FOLDER / f"azure_llm_2023_{trace}.csv.gz"
    if not file.exists():
        pytest.skip(f"{file} is not here; BATCHWRIGHT_TRACES names the folder of the traces")
    recorded, published = read_trace(file), PUBLISHED[trace]
    assert len(recorded) == published["rows"]
    assert recorded.rate_per_s == pytest.approx(published["rate"], rel=1e-4)
    assert recorded.gap_cv == pytest.approx(published["cv"], abs=5e-4)
    instants = draw_arrivals(recorded, stream(1, "arrivals"))
    for window_s in (1, 10, 60):
        n = counts(instants, window_s)
        assert n.var() / n.mean() == pytest.approx(published[window_s], abs=5e-4)
