"""The first look around: what it finds, what it costs, and that nothing else comes of it."""

from __future__ import annotations

import pytest
from cut_searches import Landscape
from tune_scenarios import TILES, small

from experiments.parallel import nothing
from experiments.tune.contestants import Setting, contestants_of
from experiments.tune.course import SEARCH, course_of, loads_of
from experiments.tune.database import database_at
from experiments.tune.goal import goal_of
from experiments.tune.scores import GLANCE, Scorer
from experiments.tune.screen import screened
from experiments.tune.search import Search, rank
from sim import kernel


def scenario(folder, tune="", **parts):
    table = f'objective = "mean"\npolicies = ["waits"]\ntrials = 64\n{tune}'
    return small(folder, table, model=TILES, load=0.7, **parts)


def scorer_of(found, run=kernel.run):
    return Scorer(found, goal_of(found), course_of(found, loads_of(found), [SEARCH]), run)


def look(found, scorer, seed=5, wanted=8):
    (contestant,) = contestants_of(found)
    goal = goal_of(found)
    places = screened(
        contestant, scorer.score, lambda score: rank(score, goal),
        seed=seed, place=0, trials=64, wanted=wanted,
    )  # fmt: skip
    return [contestant.setting(contestant.chosen(place)) for place in places]


def test_the_best_of_a_landscape_come_first_and_nobody_twice(tmp_path):
    found = scenario(tmp_path)
    landscape = Landscape()
    best = look(found, landscape)
    values = [Landscape().score(one).values[0] for one in best]
    seen = sorted(s.values[0] for one in landscape.scored if (s := Landscape().score(one)).feasible)
    assert values == sorted(values)
    assert values == pytest.approx(seen[:8])
    assert len({one.key for one in best}) == 8
    assert len(landscape.scored) > 200


def test_it_depends_on_the_seed_and_on_nothing_else(tmp_path):
    found = scenario(tmp_path)
    first, again = (look(found, Landscape()) for _ in range(2))
    assert first == again
    assert first != look(found, Landscape(), seed=6)


def test_a_short_run_knows_a_good_setting_from_a_bad_one(tmp_path):
    found = scenario(tmp_path, requests=60_000)
    scorer = scorer_of(found).glance()
    assert max(len(workload) for leg in scorer.course for workload, _ in leg.draws) == GLANCE
    good, bad = (
        Setting("waits", {"kind": "size_or_timeout", "max_batch_size": 16, "max_wait_ms": wait}, 1)
        for wait in (0.1, 40.0)
    )
    assert rank(scorer.score(good), scorer.goal) < rank(scorer.score(bad), scorer.goal)


def test_a_percentile_of_a_short_run_is_given_and_one_of_a_rare_tail_takes_a_longer_one(tmp_path):
    for word, requests in (("p99", GLANCE), ("p999", 24_444)):
        found = small(tmp_path, f'objective = "{word}"', requests=1_200_000)
        scorer = scorer_of(found).glance()
        assert len(scorer.course[0].draws[0][0]) == requests
        assert scorer.score(Setting("greedy", {"kind": "greedy"}, 1)).values is not None


def test_constraints_are_held_against_the_number_itself(tmp_path):
    limit = 'constraints = [{ measure = "mean", at_most = 5.72 }]'
    found = small(tmp_path, f'objective = "busy"\n{limit}', requests=12_000)
    scorer = scorer_of(found)
    greedy = Setting("greedy", {"kind": "greedy"}, 1)
    strict, plain = (each.score(greedy).violations for each in (scorer, scorer.glance()))
    (title,) = (name for name in strict if name.startswith("mean"))
    assert strict[title] > plain[title]


def test_with_several_objectives_or_capacity_there_is_no_first_look(tmp_path):
    assert scorer_of(small(tmp_path, 'objective = ["mean", "busy"]')).glance() is None
    tiers = '[[workload.tiers]]\nname = "all"\nslo = { percentile = 50, ms = 30.0 }'
    assert scorer_of(small(tmp_path, 'objective = "capacity"', tiers=tiers)).glance() is None


def test_the_search_begins_with_it_and_tells_nothing_of_it(tmp_path):
    found = scenario(tmp_path, requests=20_000)
    scorer = scorer_of(found)
    best = {one.key for one in look(found, scorer.glance(), found.seeds.tuner, wanted=16)}
    with database_at(None) as database:
        search = Search(
            found, goal_of(found), scorer, contestants_of(found), database, "s", nothing
        )
        tried = search.go()
    assert len(tried) == 64
    begun = [one.setting.key for one in tried if one.place < search.shelves[0].sampler.start]
    assert best <= set(begun)
    assert len(begun) == 2 * len(best)
