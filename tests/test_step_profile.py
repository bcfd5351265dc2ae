"""Profiles of iterations: what is planned and measured, what is made of it, and their files."""

from __future__ import annotations

import gzip
from dataclasses import replace

import numpy as np
import pytest

from policies.iteration.times import step_ns
from profiles import names as names_of_batches
from profiles.measure import INTERRUPTED, OUT_OF_TIME
from profiles.metadata import ProfileError
from profiles.runner import ModelError
from profiles.steps import StepProfile, grid_work
from profiles.steps_campaign import measured
from profiles.steps_plan import SAMPLES_LEAST, StepWishes, grids, mixed_cells
from profiles.steps_runner import Work
from profiles.steps_store import load, names, save
from sim.iteration.measured import step_times

pytestmark = pytest.mark.usefixtures("unswept")

MS = 1_000_000
KNOWN = (2.0 * MS, 40_000.0, 300_000.0, 700.0, 12.0)
WISHES = StepWishes(
    prefill=96, sequences=6, context=64, prompt_tokens=32, budget_ns=20 * 10**9, command="this"
)


def known_ns(work):
    """An engine whose times are the formula exactly."""
    return float(np.dot(KNOWN, (1.0, *work)))


class Clock:
    """Virtual."""

    def __init__(self):
        self.instant = 5_000

    def now_ns(self):
        return self.instant

    def sleep_ns(self, ns):
        self.instant += ns


class Engine:
    """A runner that takes the known time, times what a test says."""

    name, slots, longest = "engine", 40, 128

    def __init__(self, clock, factor=lambda number, work: 1.0):
        self.clock, self.factor, self.ran = clock, factor, []

    def about(self):
        return {"model": "engine", "device": "cpu", "precision": "fp32"}

    def timed(self, cell):
        """A call."""
        took = round(known_ns(cell.work) * self.factor(len(self.ran), cell.work))
        self.ran.append(cell)
        self.clock.instant += took
        return took


def campaign(wishes=WISHES, **wanted):
    clock = Clock()
    engine = Engine(clock, **wanted)
    return measured(engine, wishes, engine.timed, clock=clock), engine, clock


def staircase(number, work):
    """Faster than the formula where many decode."""
    return 0.7 if work.sequences >= 5 else 1.0


def test_the_formula_is_found_where_times_are_a_formula():
    found, _, _ = campaign()
    form = found.profile.form()
    assert form[:5] == pytest.approx(KNOWN, rel=1e-4)
    assert np.abs(form.grid_ns).max() < 2.0, "medians are whole ns"


def test_formula_and_grid_together_give_the_medians_at_every_point():
    profile = campaign(factor=staircase)[0].profile
    form = profile.form()
    assert np.abs(form.grid_ns).max() > 0.1 * MS, "the formula alone would not do"
    for place in np.ndindex(*profile.step_ns.shape):
        if place[0] or place[1]:
            expected = profile.step_ns[place]
            assert form.step_ns(profile.work_at(*place)) == pytest.approx(expected, rel=1e-9)


def test_rules_and_simulators_read_the_same_times_as_the_profile():
    profile = campaign(factor=staircase)[0].profile
    form, times = profile.form(), step_times(profile)
    rng = np.random.default_rng(2)
    for _ in range(200):
        work = Work(
            int(rng.integers(0, 300)), int(rng.integers(0, 20)), int(rng.integers(0, 2000)),
            float(rng.integers(0, 9000)),
        )  # fmt: skip
        assert step_ns(times, *map(float, work)) == pytest.approx(form.step_ns(work), rel=1e-12)


def test_beyond_the_grid_the_rest_stays_as_it_was_at_its_end():
    form = campaign(factor=staircase)[0].profile.form()
    ends = [Work(96, 6 * k, 6 * k * 64, 0.0) for k in (1, 4, 40)]
    rest = [form.step_ns(work) - form.formula_ns(work) for work in ends]
    assert rest == pytest.approx([rest[0]] * 3)
    assert abs(rest[0]) > 0.1 * MS


def test_iterations_off_the_grid_are_held_against_the_profile():
    held = campaign()[0].profile.held_out()
    assert len(held) == 16
    assert all(one.calls == held[0].calls >= SAMPLES_LEAST for one in held)
    assert max(abs(one.error) for one in held) < 1e-4
    stepped = campaign(factor=staircase)[0].profile.held_out()
    between = [one for one in stepped if one.work.sequences == 5]
    assert between
    assert all(abs(one.error) > 0.01 for one in between), "between 4 and 6 it is no line"


def test_mixed_iterations_have_chunks_behind_others_and_sequences_of_all_ages():
    cells = mixed_cells(WISHES, 128)
    pieces = [p for cell in cells for p, flag in zip(*cell[1:], strict=True) if not flag]
    assert any(p.before for p in pieces)
    assert any(not p.before for p in pieces)
    assert all(p.before + p.tokens <= 128 for cell in cells for p in cell.pieces)
    ages = [[p.before for p, flag in zip(*cell[1:], strict=True) if flag] for cell in cells]
    assert max(len(set(one)) for one in ages) > 2
    assert all(len({p.sequence for p in cell.pieces}) == len(cell.pieces) for cell in cells)
    assert cells == mixed_cells(WISHES, 128)
    assert cells != mixed_cells(replace(WISHES, seed=1), 128)


def test_prompts_that_are_never_cut_are_held_out_whole():
    cells = mixed_cells(replace(WISHES, whole_prompts=True), 128)
    pieces = [p for cell in cells for p, flag in zip(*cell[1:], strict=True) if not flag]
    assert {(p.tokens, p.before) for p in pieces} == {(32, 0)}


def test_every_round_visits_every_cell_once_in_an_order_of_its_own():
    found, _, _ = campaign()
    calls = [call for call in found.profile.calls if call.kind in ("grid", "holdout")]
    rounds = [[c.work for c in calls if c.number == n] for n in range(found.found.rounds)]
    assert len(rounds) >= SAMPLES_LEAST
    assert all(sorted(one) == sorted(rounds[0]) for one in rounds)
    assert len({tuple(one) for one in rounds}) == len(rounds)
    warm = [call for call in found.profile.calls if call.kind == "warmup"]
    assert len(warm) == len(rounds[0]), "each is warmed up once, and does not count"
    again, _, _ = campaign()
    assert again.profile.calls == found.profile.calls
    other, _, _ = campaign(replace(WISHES, seed=1))
    assert [c.work for c in other.profile.calls] != [c.work for c in found.profile.calls]


def test_the_budget_is_kept_and_the_grid_thinned_until_it_fits():
    for seconds, whole in ((20, True), (1.7, False)):
        wishes = replace(WISHES, budget_ns=round(seconds * 10**9))
        found, _, clock = campaign(wishes)
        assert clock.instant - 5_000 <= wishes.budget_ns * 1.05
        assert found.found.rounds >= SAMPLES_LEAST
        assert bool(found.found.given_up) != whole
    words = [words for _, words in grids(WISHES)]
    assert words[0] == ""
    assert words[-1] == "prefill tokens 0, 6, 96, sequences 0, 1, 6, contexts 4, 64"


def test_a_budget_without_room_for_the_smallest_grid_is_refused_with_what_would_do():
    with pytest.raises(ProfileError, match=r"0\.2 s of --budget do not hold 5 .* about \d+ s"):
        campaign(replace(WISHES, budget_ns=200 * MS))


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"prefill": 0}, "--prefill must be from 1"),
        ({"sequences": 41}, "--sequences must be from 1 to 40 for engine, but got 41"),
        ({"context": 128}, "--context must be from 2 to 127 for engine, but got 128"),
        ({"prompt_tokens": 129}, "--prompt-tokens must be from 1 to 128"),
        ({"sequences": 38}, "need 42 slots, but engine was opened with 40"),
        ({"name": "a/b"}, "--name must be letters"),
    ],
)
def test_wishes_that_cannot_be_granted_are_refused(wish, sentence):
    with pytest.raises(ProfileError, match=sentence):
        campaign(replace(WISHES, **wish))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ModelError("the model is broken")])
def test_what_breaks_keeps_the_complete_rounds_and_says_so(error):
    _, engine, _ = campaign()
    cells = len({cell.pieces for cell in engine.ran})

    def breaks(number, work):
        if number == 2 * cells + 3 * cells + 7:  # pilot twice, three rounds, and a bit
            raise error
        return 1.0

    found, _, _ = campaign(factor=breaks)
    assert found.found.rounds == 3
    assert found.found.stopped == (str(error) or INTERRUPTED)
    assert found.profile.about["stopped"] == found.found.stopped
    assert {c.number for c in found.profile.calls if c.kind == "grid"} == {0, 1, 2}

    def at_once(number, work):
        raise error

    with pytest.raises(type(error)):
        campaign(factor=at_once)


def test_an_engine_that_gets_slower_ends_at_its_budget():
    _, engine, _ = campaign()
    cells = len({cell.pieces for cell in engine.ran})
    found, _, clock = campaign(factor=lambda number, work: 1.0 if number < 3 * cells else 40.0)
    assert found.found.stopped == OUT_OF_TIME
    assert found.found.rounds < found.found.planned
    assert clock.instant < 3 * WISHES.budget_ns


def test_the_noise_is_that_of_the_steady_calls_in_their_order():
    luck = np.exp(0.2 * np.random.default_rng(4).standard_normal(100_000))
    found, _, _ = campaign(factor=lambda number, work: luck[number])
    calls = found.profile.calls
    steady = [place for place, call in enumerate(calls) if call.kind == "steady"]
    noise = found.profile.noise()
    assert len(noise) == len(steady) > 100
    assert np.median(noise) == pytest.approx(1.0, abs=0.01)
    assert np.std(np.log(noise)) == pytest.approx(0.2, rel=0.2)
    one = np.array([calls[place].wall_ns for place in steady if calls[place].number == 0])
    assert noise[: len(one)] == pytest.approx(one / np.median(one))


def test_without_calls_there_is_no_noise_and_nothing_is_held_out():
    profile = replace(campaign()[0].profile, calls=())
    assert profile.noise().tolist() == [1.0]
    assert profile.held_out() == []
    assert profile.lag1 == 0.0


# files


def test_what_is_saved_reads_back_exactly(tmp_path):
    profile = campaign(factor=staircase)[0].profile
    files = save(profile, tmp_path)
    assert [file.name for file in files] == [
        "engine-cpu-fp32.steps.json", "engine-cpu-fp32.steps.csv",
        "engine-cpu-fp32.steps-calls.csv.gz",
    ]  # fmt: skip
    for name in (*files, tmp_path / "engine-cpu-fp32"):
        back = load(name)
        assert back.name == profile.name
        assert back.calls == profile.calls
        assert back.about == profile.about
        assert back.prompt_tokens == 32
        for axis in ("prefill", "sequences", "context", "step_ns"):
            assert np.array_equal(getattr(back, axis), getattr(profile, axis))
    save(replace(profile, calls=()), tmp_path)
    assert load(files[0]).calls == ()
    assert not files[2].exists()


def spoiled(tmp_path, suffix, change):
    files = save(campaign()[0].profile, tmp_path)
    path = next(file for file in files if file.name.endswith(suffix))
    path.write_text(change(path.read_text()))
    return files[0]


@pytest.mark.parametrize(
    ("suffix", "change", "sentence"),
    [
        (".csv", lambda t: t.replace("96,6,64,", "96,6,63,"), "the grid must be full"),
        (".csv", lambda t: t + t.splitlines()[-1] + "\n", "line 65: the point 96, 6, 64 is there"),
        (".csv", lambda t: t.replace("96,6,64,", "96,6,0,"), "sequences with context"),
        (".csv", lambda t: t.replace("96,6,64,", "96,six,64,"), "sequences must be a whole number"),
        (".csv", lambda t: t.replace("step_ms", "step"), "the column step_ms is missing"),
        (".csv", lambda t: "\n".join(t.splitlines()[:1]), "prefill must be at least two points"),
        (
            ".json",
            lambda t: t.replace('"format": 1', '"format": 2'),
            "`format` must be 1, but got 2",
        ),
        (".json", lambda t: t.replace('"prompt_tokens": 32,', ""), "`prompt_tokens` is missing"),
        (".json", lambda t: t.replace(": 32,", ": 0,"), "whole number from 1, but got 0"),
        (".json", lambda t: "[" + t, "the file must be JSON"),
        (".json", lambda t: "[]", "one JSON object"),
    ],
)
def test_a_broken_file_is_refused_with_its_place(tmp_path, suffix, change, sentence):
    with pytest.raises(ProfileError, match=sentence) as caught:
        load(spoiled(tmp_path, f".steps{suffix}", change))
    assert f".steps{suffix}" in str(caught.value)


def test_broken_calls_are_refused_with_their_place(tmp_path):
    files = save(campaign()[0].profile, tmp_path)
    for content in (b"no gzip", gzip.compress(b"kind,number\nodd,1\n")):
        files[2].write_bytes(content)
        with pytest.raises(ProfileError, match=r"steps-calls.csv.gz: the file must be gzip"):
            load(files[0])


def test_a_profile_that_is_not_there_names_the_nearest_or_its_missing_half(tmp_path):
    with pytest.raises(ProfileError, match="neither a shipped profile of iterations nor a file"):
        load("gpt5-mini-cpu-fp32")
    files = save(campaign()[0].profile, tmp_path)
    files[1].unlink()
    with pytest.raises(ProfileError, match=r"engine-cpu-fp32.steps.csv is missing"):
        load(files[0])


def test_shipped_profiles_of_iterations_are_not_among_those_of_batches():
    assert not set(names()) & set(names_of_batches())
    assert not [name for name in names_of_batches() if name.endswith(".steps")]


def test_axes_that_are_none_are_refused():
    one = np.array([0, 1])
    with pytest.raises(ProfileError, match="context must be at least two points, incre"):
        StepProfile("x", one, one, one, np.zeros((2, 2, 2), dtype=np.int64), 4)
    with pytest.raises(ProfileError, match="first points of prefill and sequences must be 0"):
        StepProfile("x", one + 1, one, one + 1, np.zeros((2, 2, 2), dtype=np.int64), 4)


def test_the_pairs_of_a_grid_point_are_those_of_its_prompts():
    assert grid_work(70, 2, 9, 32) == Work(70, 2, 18, 2 * 528.0 + 21.0)
