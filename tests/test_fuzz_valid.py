"""Scenarios and profiles that are valid, whole and at random: they load, and both drivers agree.

What hypothesis draws is written as the files that a user writes, so that what is tested is all that
lies between a file and a trace.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fuzz_trees import toml_text
from hypothesis import given, note, settings
from hypothesis import strategies as st

import profiles
from experiments.config import load_scenario
from experiments.contest import entrants
from profiles.latency import Samples
from sim import kernel, model

MS = st.sampled_from((0.5, 1.0, 2.0, 7.25))
LARGEST, LONGEST = 8, 120
TIERS = ("chat", "bulk", "night")

ARRIVALS = {
    "paced": st.fixed_dictionaries({}),
    "poisson": st.fixed_dictionaries({}),
    "gamma": st.fixed_dictionaries({"cv": st.sampled_from((0.5, 2.0))}),
    "hyperexponential": st.fixed_dictionaries({"cv": st.sampled_from((1.5, 4.0))}),
    "clumped": st.fixed_dictionaries({"clump_size": st.integers(1, 5), "spread_ms": MS}),
}
"""Of those that take a rate or a load: the other keys."""

RATE = st.one_of(
    st.fixed_dictionaries({"rate_per_s": st.sampled_from((20.0, 300.0, 1000.0))}),
    st.fixed_dictionaries({"load": st.sampled_from((0.2, 0.9, 1.5))}),
)

OTHERS = (
    st.fixed_dictionaries(
        {
            "process": st.just("mmpp"),
            "rates_per_s": st.sampled_from(([10.0, 500.0], [0.0, 100.0, 900.0])),
        }
    ).map(lambda one: {**one, "switch_per_s": [2.0] * len(one["rates_per_s"])}),
    st.just({"process": "rate_curve", "points": [[0, 50.0], [1, 400.0], [2, 10.0]]}),
)

CLOSED = st.fixed_dictionaries(
    {
        "process": st.just("closed"),
        "clients": st.integers(1, 6),
        "think_ms": MS,
        "think": st.sampled_from(("constant", "exponential")),
    }
)

LENGTHS = st.one_of(
    st.fixed_dictionaries({"constant": st.integers(1, LONGEST)}),
    st.just({"distribution": "uniform", "min": 3, "max": LONGEST}),
    st.just({"distribution": "lognormal", "median": 30.0, "sigma": 0.9, "min": 2, "max": 300}),
    st.just({"dataset": "sst2"}),
)

SIZE, WAIT = st.integers(1, LARGEST), st.sampled_from((0.0, 1.5, 6.0))
WINDOW = {"max_batch_size": SIZE, "max_wait_ms": WAIT}

POLICIES: dict[str, dict[str, object]] = {
    "greedy": {"max_batch_size": SIZE},
    "static": {"batch_size": SIZE},
    "size_or_timeout": {**WINDOW, "from_idle": st.booleans()},
    "preferred_sizes": {"preferred_batch_size": st.just([2]), "max_wait_ms": WAIT}
    | {"max_batch_size": st.integers(2, LARGEST)},
    "timer_from_pick": {**WINDOW, "clock_ms": st.sampled_from((0.0, 1.0))},
    "collection_window": WINDOW,
    "sealed_batches": {**WINDOW, "max_ongoing_requests": st.sampled_from((0, 5))},
    "token_budget_ahead": {"max_tokens": st.integers(LONGEST * 3, LONGEST * 6)},
    "length_bucketed": {"boundaries": st.sampled_from(([20], [15, 60])), **WINDOW},
    "nearest_lengths": WINDOW,
    "shortest_first": {"max_age_ms": MS, **WINDOW},
    "token_budget": {"max_tokens": st.integers(LONGEST * 3, LONGEST * 6), **WINDOW},
    "priority_fill": WINDOW,
    "weighted_fair": WINDOW,
    "snap": {"max_batch_size": SIZE},
    "deadline_aware": {"slo_ms": st.sampled_from((15.0, 40.0)), "max_batch_size": SIZE},
}


@st.composite
def policies(draw):
    kind = draw(st.sampled_from(sorted(POLICIES)))
    return {"kind": kind, **{key: draw(of) for key, of in POLICIES[kind].items()}}


@st.composite
def services(draw, *, closed: bool, tiers: int):
    """A table of service; the profile, where there is one, is ``p`` beside the scenario."""
    service = {"servers": draw(st.integers(1, 3)), "over_length": "truncate"}
    if draw(st.booleans()):
        service["profile"] = "p"
        service["noise"] = {"kind": draw(st.sampled_from(("profile", "none")))}
    else:
        service["model"] = {
            "base_ms": draw(MS), "per_request_ms": draw(MS), "per_length_ms": 0.003,
            "max_batch_size": LARGEST,
        }  # fmt: skip
        del service["over_length"]
        noise = st.sampled_from(({"kind": "none"}, {"kind": "gamma", "cv": 0.3},
                                 {"kind": "lognormal", "cv": 0.5}))  # fmt: skip
        service["noise"] = draw(noise)
    if draw(st.integers(0, 2)) == 0:
        counts = draw(st.sampled_from(("waiting", "in_system")))
        service["capacity"] = {"requests": draw(st.integers(1, 9)), "counts": counts}
    if draw(st.integers(0, 2)) == 0:
        fixed, random = {"ms": 8.0}, {"process": "exponential", "mean_ms": 12.0}
        service["timeout"] = draw(st.sampled_from((fixed, random)))
    return service


@st.composite
def scenarios(draw):
    """A scenario that is valid; a closed loop has one tier."""
    tiers = draw(st.integers(0, 3))
    kind = draw(st.sampled_from((*ARRIVALS, *OTHERS, "closed")))
    if kind == "closed":
        arrivals, tiers = draw(CLOSED), 0
    elif isinstance(kind, str):
        arrivals = {"process": kind, **draw(ARRIVALS[kind]), **draw(RATE)}
    else:
        arrivals = draw(kind)
    workload = {
        "requests": draw(st.integers(1, 80)),
        "arrivals": arrivals,
        "lengths": draw(LENGTHS),
    }
    if tiers:
        shares = {1: [1.0], 2: [0.25, 0.75], 3: [0.5, 0.3, 0.2]}[tiers]
        workload["tiers"] = [
            {"name": name, "share": share, "slo": {"percentile": 95, "ms": draw(MS)}}
            for name, share in zip(TIERS, shares, strict=False)
        ]
    return {
        "workload": workload,
        "service": draw(services(closed=kind == "closed", tiers=tiers)),
        "policies": {"one": draw(policies())},
        "run": {"replications": 1},
        "seeds": {"arrivals": draw(st.integers(1, 5)), "service": draw(st.integers(1, 5))},
    }


@st.composite
def drawn_profiles(draw):
    """A profile whose times grow with both, with raw calls or without."""
    whole = profiles.load("bert-base-a100-tensorrt-fp16")
    sizes = np.array(sorted({1, LARGEST, *draw(st.sets(st.integers(2, 7), max_size=3))}))
    lengths = np.array(sorted({16, LONGEST, *draw(st.sets(st.integers(20, 100), max_size=2))}))
    each = draw(st.integers(1_000, 60_000))
    times = 1_000_000 + each * sizes[:, None] * lengths[None, :]
    samples = None
    if draw(st.booleans()):
        size, length = (axis.ravel() for axis in np.meshgrid(sizes, lengths, indexing="ij"))
        calls = np.tile(times.ravel(), 3) + np.repeat([0, 5_000, 90_000], times.size)
        start = np.arange(len(calls)) * 10**9
        samples = Samples(np.tile(size, 3), np.tile(length, 3), start, calls)
        times = times + 5_000
    return replace(
        whole, name="p", batch_size=sizes, length=lengths, latency_ns=times, statistic="p50",
        percentiles_ns={}, samples=samples, lag1=None, length_unit="tokens",
    )  # fmt: skip


def both_agree(scenario, profile):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        text = toml_text(scenario).decode()
        note(text)
        (folder / "s.toml").write_text(text)
        back = profiles.load(profiles.save(profile, folder))
        assert profiles.fingerprint(back) == profiles.fingerprint(profile)
        loaded = load_scenario(folder / "s.toml")
        workload, service = loaded.draw()
        (entrant,) = entrants(loaded, ["one"], baselines=False)
    one, other = (driver.run(entrant.policy, workload, service) for driver in (kernel, model))
    one.check(service, workload)
    assert one.equals(other)
    assert len(one) == len(workload)


@settings(max_examples=60)
@given(scenario=scenarios(), profile=drawn_profiles())
def test_a_valid_scenario_runs_and_both_drivers_give_the_same_trace(scenario, profile):
    both_agree(scenario, profile)


@pytest.mark.slow
@settings(max_examples=1500)
@given(scenario=scenarios(), profile=drawn_profiles())
def test_valid_scenarios_run_and_both_drivers_give_the_same_traces(scenario, profile):
    both_agree(scenario, profile)
