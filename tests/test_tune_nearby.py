"""Steps away from good settings: inside the space, never to what was tried, the same every time."""

from __future__ import annotations

import numpy as np

from experiments.known_answers import known_answer
from experiments.tune.contestants import Contestant, contestants_of
from experiments.tune.nearby import nearby


def of_two_axes() -> Contestant:
    """A largest batch of 1 to 32, and 33 waits."""
    scenario = known_answer("tile8_busy").scenario()
    return next(one for one in contestants_of(scenario) if one.kind == "queue_depth_wait")


def steps(count: int, tried: set[str], *bases: dict[str, int]) -> list[dict[str, int] | None]:
    """Steps with as many seeds."""
    return [
        nearby(of_two_axes(), bases, tried, np.random.default_rng(seed)) for seed in range(count)
    ]


def test_a_step_stays_inside_the_space_and_moves() -> None:
    corner = {"max_batch_size": 0, "max_wait_ms": 32}
    found = steps(200, set(), corner)
    assert all(one is not None and one != corner for one in found)
    assert all(0 <= one["max_batch_size"] < 32 for one in found if one)
    assert all(0 <= one["max_wait_ms"] < 33 for one in found if one)


def test_most_steps_are_short_and_some_are_long() -> None:
    middle = {"max_batch_size": 16, "max_wait_ms": 16}
    moved = [
        max(abs(one[name] - 16) for name in middle) for one in steps(300, set(), middle) if one
    ]
    assert np.mean(np.array(moved) <= 2) > 0.3
    assert max(moved) >= 8


def test_what_was_tried_is_not_asked_again_and_a_used_up_neighbourhood_gives_nothing() -> None:
    one = of_two_axes()
    base = {"max_batch_size": 3, "max_wait_ms": 3}
    keys = {
        one.setting(one.chosen({"max_batch_size": size, "max_wait_ms": wait})).key
        for size in range(32)
        for wait in range(33)
    }
    assert steps(3, keys, base) == [None, None, None]
    left = one.setting(one.chosen({"max_batch_size": 4, "max_wait_ms": 3})).key
    found = [step for step in steps(20, keys - {left}, base) if step is not None]
    assert found
    assert all(step == {"max_batch_size": 4, "max_wait_ms": 3} for step in found)


def test_nobody_good_means_no_step() -> None:
    assert steps(2, set()) == [None, None]


def test_the_best_is_a_base_more_often_than_the_next() -> None:
    best = {"max_batch_size": 2, "max_wait_ms": 2}
    next_best = {"max_batch_size": 28, "max_wait_ms": 28}
    found = [one for one in steps(300, set(), best, next_best) if one is not None]
    near_best = sum(one["max_batch_size"] + one["max_wait_ms"] < 30 for one in found)
    assert 120 < near_best < 270
