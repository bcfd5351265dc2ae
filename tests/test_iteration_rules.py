"""What each rule of continuous batching does, followed by hand."""

import numpy as np
import pytest
from random_iterations import MS, random_iterations, token_differences

from policies.contract import Tier
from policies.iteration import (
    Continuous,
    DecodeFirst,
    PrefillFirst,
    RequestLevel,
    ShortestPromptFirst,
    SlaTiers,
    VllmLike,
)
from policies.iteration.contract import Engine
from policies.iteration.times import StepTimes
from sim.iteration import kernel
from sim.iteration.model import Model
from sim.iteration.serving import Serving
from sim.iteration.station import IterationStation
from sim.iteration.workload import workload_of

STEADY = StepTimes(float(MS))
"""every iteration takes 1 ms"""


class Recorded(IterationStation):
    """Keeps who has how many tokens computed in each iteration."""

    def start(self, now_ns):
        iteration = super().start(now_ns)
        self.maps = [*getattr(self, "maps", []), {s.request: s.tokens for s in iteration.shares}]
        return iteration


def follow(rule, prompt, output, arrival_ms=None, tier=None, times=STEADY, **engine):
    """Tokens of each request in each iteration, and the trace; the kernel agrees."""
    n = len(prompt)
    tiers = tuple(Tier(f"t{k}") for k in range(max(tier or [0]) + 1))
    arrival_ns = np.array(arrival_ms or [0] * n) * MS
    tier = None if tier is None else np.array(tier)
    work = workload_of(arrival_ns, np.array(prompt), np.array(output), tier, tiers)
    serving = Serving(Engine(**{"sequences": 8, "longest": 512, **engine}), times)
    model = Model(Recorded(rule, work, serving), serving)
    model.env.run()
    trace = kernel.run(rule, work, serving)
    assert token_differences(trace, model.station.trace()) == []
    return model.station.maps, trace


# vLLM's own schedules


def test_vllm_like_shares_out_the_budget_as_vllm_was_measured_to():
    """vLLM 0.33 (``vllm/v1/core/sched/scheduler.py``): those who run first, then chunks."""
    maps, trace = follow(VllmLike(4, 64), [10, 100, 30, 7, 9, 200], [3, 3, 3, 3, 2, 2])
    assert maps[:4] == [{0: 10, 1: 54}, {0: 1, 1: 46, 2: 17}, {0: 1, 1: 1, 2: 13, 3: 7},
                        {1: 1, 2: 1, 3: 1, 4: 9}]  # fmt: skip
    assert maps[4:] == [{2: 1, 3: 1, 4: 1, 5: 61}, {5: 64}, {5: 64}, {5: 11}, {5: 1}]
    assert trace.steps["running"].max() == 4
    assert trace.admitted.tolist() == [0, 0, 1, 2, 3, 4]


MEMORY = {"blocks": 8, "block_tokens": 32}


def test_vllm_like_puts_back_the_newest_and_reads_it_again_in_one_piece():
    maps, trace = follow(VllmLike(4, 256), [60, 60, 90], [60, 60, 60], **MEMORY)
    assert maps[0] == {0: 60, 1: 60, 2: 90}
    assert maps[1:5] == [{0: 1, 1: 1, 2: 1}] * 4
    assert maps[5:60] == [{0: 1, 1: 1}] * 55
    assert maps[60] == {2: 95}  # the prompt and the five tokens that it had
    assert trace.preempted.tolist() == [0, 0, 1]
    assert trace.recomputed.tolist() == [0, 0, 94]


def test_by_priority_the_least_urgent_is_put_back_although_it_came_first():
    rule = VllmLike(4, 256, by_priority=True)
    maps, trace = follow(rule, [60, 60, 90], [60, 60, 30], tier=[1, 0, 0], **MEMORY)
    assert list(maps[0]) == [1, 2, 0]
    assert maps[5] == {1: 1, 2: 1}
    assert trace.preempted.tolist() == [1, 0, 0]


def test_an_iteration_that_puts_back_admits_nobody():
    arrival_ms = [0, 0, 0, 5]
    rule = VllmLike(4, 256, by_priority=True)
    tier = [1, 1, 1, 0]
    maps, trace = follow(rule, [60, 60, 90, 1], [9, 9, 60, 2], arrival_ms, tier, **MEMORY)
    assert trace.steps["left"].tolist()[:7] == [0, 0, 0, 0, 0, 1, 0]
    assert maps[5:7] == [{0: 1, 1: 1}, {0: 1, 1: 1, 3: 1}]  # memory for it was there at once


def test_without_chunks_a_prompt_that_does_not_fit_stops_the_queue():
    maps, _ = follow(VllmLike(4, 64, chunked_prefill=False), [40, 50, 5], [2, 2, 2], longest=60)
    assert maps[:3] == [{0: 40}, {0: 1, 1: 50, 2: 5}, {1: 1, 2: 1}]


def test_the_threshold_cuts_long_prompts():
    maps, _ = follow(VllmLike(4, 64, long_prefill_token_threshold=20), [50, 30], [1, 1])
    assert maps == [{0: 20, 1: 20}, {0: 20, 1: 10}, {0: 10}]


def test_the_watermark_keeps_blocks_free_for_those_who_run():
    free = follow(VllmLike(4, 256), [96, 120], [2, 2], **MEMORY)[0]
    kept = follow(VllmLike(4, 256, watermark=0.25), [96, 120], [2, 2], **MEMORY)[0]
    assert free[0] == {0: 96, 1: 120}
    assert kept == [{0: 96}, {0: 1}, {1: 120}, {1: 1}]


def test_a_watermark_stops_nobody_who_would_be_alone():
    maps, _ = follow(VllmLike(4, 256, watermark=0.9), [200], [2], **MEMORY)
    assert maps == [{0: 200}, {0: 1}]


# swapping


def test_swapping_costs_its_blocks_and_reads_nothing_again():
    swapping = {**MEMORY, "swaps": True, "swap_block_ns": MS / 4}
    maps, trace = follow(VllmLike(4, 256), [60, 60, 90], [9, 9, 9], **swapping)
    assert [list(each.values()) for each in maps[5:]] == [[1, 1]] * 4 + [[1]] * 4
    spent = (trace.steps["finish_ns"] - trace.steps["start_ns"]) / MS
    assert spent[5] == 1 + 3 / 4  # 94 tokens in three blocks go out
    assert spent[9] == 1 + 3 / 4  # and come back
    assert np.all(np.delete(spent, [5, 9]) == 1)
    assert trace.recomputed.tolist() == [0, 0, 0]


# the other rules


def work(trace):
    return trace.steps[["prefill", "sequences", "context"]].tolist()


def test_request_level_pads_prompts_and_computes_on_for_those_who_are_done():
    maps, trace = follow(RequestLevel(3), [10, 4, 1], [1, 3, 2])
    assert maps == [{0: 10, 1: 4, 2: 1}, {1: 1, 2: 1}, {1: 1}]
    assert work(trace) == [(30, 0, 0), (0, 3, 4 + 1 + 11), (0, 3, 5 + 11 + 3)]
    assert trace.finished.tolist() == [2, 2, 2]


def test_request_level_without_padding_lets_those_go_who_are_done():
    maps, trace = follow(RequestLevel(3, padded=False), [10, 4, 1], [1, 3, 2])
    assert maps == [{0: 10, 1: 4, 2: 1}, {1: 1, 2: 1}, {1: 1}]
    assert work(trace) == [(15, 0, 0), (0, 2, 4 + 1), (0, 1, 5)]
    assert trace.finished.tolist() == [0, 2, 1]


@pytest.mark.parametrize("padded", [True, False])
def test_request_level_lets_nobody_in_before_all_are_done(padded):
    maps, _ = follow(RequestLevel(2, padded=padded), [3, 3, 3], [1, 4, 1])
    assert maps == [{0: 3, 1: 3}, {1: 1}, {1: 1}, {1: 1}, {2: 3}]


def test_request_level_waits_for_a_full_batch_or_the_limit():
    rule = RequestLevel(2, max_wait_ns=10 * MS)
    _, trace = follow(rule, [3, 3, 3], [1, 1, 1], [0, 30, 34])
    assert (trace.steps["start_ns"] / MS).tolist() == [10, 34]


def test_continuous_reads_whole_prompts_beside_those_who_decode():
    maps, _ = follow(Continuous(), [10, 100, 7], [4, 2, 1], [0, 1, 1])
    assert maps == [{0: 10}, {0: 1, 1: 100, 2: 7}, {0: 1, 1: 1}, {0: 1}]


def test_prefill_first_lets_those_who_decode_stand_still():
    maps, trace = follow(PrefillFirst(4, 512), [10, 20, 30], [3, 3, 3], [0, 1, 2])
    assert maps == [{0: 10}, {1: 20}, {2: 30}] + 2 * [{0: 1, 1: 1, 2: 1}]
    assert np.all((trace.steps["prefill"] == 0) | (trace.steps["sequences"] == 0))


def test_prefill_first_reads_as_many_prompts_at_once_as_the_budget_holds():
    maps, _ = follow(PrefillFirst(4, 60), [20, 30, 20], [1, 1, 1], longest=60)
    assert maps == [{0: 20, 1: 30}, {2: 20}]


def test_decode_first_reads_a_chunk_beside_those_who_decode():
    maps, _ = follow(DecodeFirst(4, 8), [5, 20, 3], [6, 2, 1])
    assert maps == [{0: 5, 1: 3}, {0: 1, 1: 8}, {0: 1, 1: 8}, {0: 1, 1: 1, 2: 3}, {0: 1, 1: 1},
                    {0: 1}]  # fmt: skip


def test_decode_first_never_reads_more_than_a_chunk():
    put_back = 0
    for seed in range(150):
        run = random_iterations(seed, "decode_first")
        trace = kernel.run(*run)
        put_back += int(trace.preempted.sum())
        assert trace.steps["prefill"].max(initial=0) <= run.rule.chunk_tokens
    assert put_back > 100


@pytest.mark.parametrize(
    ("ageing", "order"), [(0.0, [0, 2, 1]), (10_000.0, [0, 2, 1]), (20_000.0, [0, 1, 2])]
)
def test_shortest_prompt_first_prefers_the_short_until_the_long_have_waited(ageing, order):
    """At 2 ms the long counts 16 - 2 a / 1000 tokens, the short - a / 1000."""
    rule = ShortestPromptFirst(1, 512, ageing, boundaries=np.array([16]))
    maps, trace = follow(rule, [9, 50, 5], [2, 1, 1], [0, 0, 1])
    assert [next(iter(each)) for each in maps[1:]] == order
    assert trace.lane.tolist() == [0, 1, 0]


PACED = StepTimes(1.0 * MS, 0.1 * MS, 0.5 * MS)


def test_sla_tiers_reads_only_what_leaves_the_urgent_their_pace():
    maps, trace = follow(
        SlaTiers(3 * MS, 4), [5, 50], [6, 2], tier=[0, 1], arrival_ms=[0, 0], times=PACED
    )
    assert maps[:4] == [{0: 5, 1: 15}, {0: 1, 1: 15}, {0: 1, 1: 15}, {0: 1, 1: 5}]
    assert (trace.steps["finish_ns"] - trace.steps["start_ns"]).max() <= 3 * MS


def test_sla_tiers_leaves_out_those_who_would_break_the_pace():
    maps, _ = follow(
        SlaTiers(2 * MS, 4), [1, 1, 1, 1], [9, 9, 9, 9], tier=[0, 0, 1, 1], times=PACED
    )
    assert maps == [dict.fromkeys(range(4), 1)] + 8 * [{0: 1, 1: 1}] + 8 * [{2: 1, 3: 1}]


def test_sla_tiers_puts_back_the_offline_first():
    rule = SlaTiers(100 * MS, 4, 256)
    maps, trace = follow(rule, [90, 60, 60], [60, 60, 60], tier=[1, 0, 0], **MEMORY)
    assert maps[5] == {1: 1, 2: 1}
    assert trace.preempted[0] > 0
    assert trace.preempted[1:].tolist() == [0, 0]


def test_sla_tiers_keeps_the_expected_time_of_iterations_within_the_budget():
    within, beyond = 0, 0
    for seed in range(150):
        run = random_iterations(seed, "sla_tiers")
        trace, budget_ns = kernel.run(*run), run.rule.step_budget_ns
        if run.serving.engine.swaps or run.serving.noise.max() != 1.0:
            continue
        steps = trace.steps[trace.steps["finish_ns"] - trace.steps["start_ns"] > budget_ns + 1]
        one_token = (steps["prefill"] == 1) & (steps["sequences"] == 0)
        assert np.all((steps["prefill"] == 0) | one_token)  # the urgent alone, or as little as can
        within += len(trace.steps) - len(steps)
        beyond += len(steps)
    assert within > 5000
    assert beyond > 0
