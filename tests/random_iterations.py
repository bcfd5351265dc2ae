"""Runs of iterations at random, for the tests that hold one driver against another.

One seed gives one rule, workload and engine.  A third of them live on a coarse grid of times, where
iterations end as requests arrive; half have so little memory that sequences are put back.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from policies.contract import NEVER, Tier
from policies.iteration import RULES
from policies.iteration.contract import Engine, Rule
from policies.iteration.times import StepTimes
from sim.iteration.serving import Serving
from sim.iteration.trace import STEP, TokenTrace
from sim.iteration.workload import TokenWorkload, workload_of

MS = 1_000_000


class TokenRun(NamedTuple):
    rule: Rule
    workload: TokenWorkload
    serving: Serving


def random_iterations(seed: int, kind: str | None = None, requests: int = 40) -> TokenRun:
    """One run; ``kind`` fixes the rule."""
    rng = np.random.default_rng(seed)
    kind = kind or str(rng.choice(list(RULES)))
    grid = int(rng.choice([1, 1, MS // 2]))
    longest = int(rng.choice([12, 60, 200]))
    work = random_workload(rng, grid, requests, longest)
    engine = random_engine(rng, longest)
    serving = Serving(engine, random_times(rng, grid), random_noise(rng, grid))
    return TokenRun(random_rule(kind, rng, grid, engine), work, serving)


def random_workload(
    rng: np.random.Generator, grid: int, requests: int, longest: int
) -> TokenWorkload:
    """Single arrivals or crowds; prompts and outputs of one token; some longer than allowed."""
    gap = float(rng.choice([0.5, 4.0, 20.0])) * MS
    arrival_ns = (rng.exponential(gap, requests).cumsum() // grid * grid).astype(np.int64)
    if rng.random() < 0.4:
        arrival_ns = np.sort(rng.choice(arrival_ns[: max(1, requests // 6)], requests))
    share = float(rng.choice([0.3, 0.5, 0.9]))
    prompt = rng.integers(1, max(2, int(longest * share)), requests)
    output = np.minimum(rng.geometric(min(1.0, 4 / longest), requests), 2 * longest)
    prompt[rng.random(requests) < 0.15] = 1
    output[rng.random(requests) < 0.15] = 1
    tiers = int(rng.integers(1, 4))
    return workload_of(
        arrival_ns,
        prompt,
        output,
        rng.integers(0, tiers, requests),
        tuple(Tier(f"t{tier}") for tier in range(tiers)),
    )


def random_engine(rng: np.random.Generator, longest: int) -> Engine:
    """Memory for few sequences or for all; swapping or computing again."""
    block = int(rng.choice([1, 3, 16]))
    blocks = NEVER
    if rng.random() < 0.8:
        blocks = max(1, round(longest * float(rng.choice([0.5, 1.2, 4.0])) / block))
    swaps = bool(rng.random() < 0.4)
    return Engine(
        sequences=int(rng.choice([1, 3, 8, 20])),
        blocks=blocks,
        block_tokens=block,
        longest=longest,
        swaps=swaps,
        swap_block_ns=float(rng.choice([0.0, MS / 4, 12_345.6])) if swaps else 0.0,
    )


def random_times(rng: np.random.Generator, grid: int) -> StepTimes:
    """A formula, a grid of measured points, or both; on a coarse grid of times whole steps."""
    if grid > 1:
        return StepTimes(float(grid), float(grid) * int(rng.integers(0, 2)), float(grid))
    coefficients = rng.uniform(0, 1, 5) * np.array([4 * MS, MS / 5, MS / 2, 900.0, 90.0])
    if rng.random() < 0.5:
        return StepTimes(*coefficients.tolist())
    axes = [
        np.append(0.0, np.sort(rng.choice(np.arange(1, 90), int(most), replace=False))).astype(
            float
        )
        for most in rng.integers(0, 4, 3)
    ]
    grid_ns = rng.uniform(0, MS, [len(axis) for axis in axes])
    for axis in range(3):
        grid_ns = grid_ns.cumsum(axis=axis)
    scale = 0.0 if rng.random() < 0.5 else 1.0
    return StepTimes(*(scale * coefficients).tolist(), *axes, np.ascontiguousarray(grid_ns))


def random_noise(rng: np.random.Generator, grid: int) -> np.ndarray:
    """Factors on times: none, or a few that come again."""
    if grid > 1 or rng.random() < 0.5:
        return np.ones(1)
    return rng.gamma(8.0, 0.125, int(rng.integers(1, 50)))


def random_rule(kind: str, rng: np.random.Generator, grid: int, engine: Engine) -> Rule:
    """A rule of a kind with parameters that fit the engine."""
    most = int(rng.integers(0, engine.sequences + 1))
    lowest = most or engine.sequences
    watermark = float(rng.choice([0.0, 0.05, 0.4]))
    cut = {"max_num_batched_tokens": lowest + int(rng.integers(0, engine.longest))}
    whole = {"max_num_batched_tokens": max(lowest, engine.longest) + int(rng.integers(0, 50))}
    chunked = bool(rng.random() < 0.6)
    step = max(grid, MS // 4)
    parameters: dict[str, dict[str, object]] = {
        "request_level": {
            "max_wait_ns": int(rng.integers(0, 20)) * step,
            "padded": bool(rng.random() < 0.5),
        },
        "continuous": {},
        "vllm_like": {
            **(cut if chunked else whole),
            "chunked_prefill": chunked,
            "long_prefill_token_threshold": int(rng.choice([0, 1, 20])) if chunked else 0,
            "watermark": watermark,
            "by_priority": bool(rng.random() < 0.5),
        },
        "prefill_first": {**whole, "watermark": watermark},
        "decode_first": {"chunk_tokens": int(rng.choice([1, 7, 64])), "watermark": watermark},
        "shortest_prompt_first": {
            **cut,
            "ageing_tokens_per_s": float(rng.choice([0.0, 200.0, 7777.7])),
            "watermark": watermark,
            "boundaries": np.unique(rng.integers(1, engine.longest, int(rng.integers(0, 6)))),
        },
        "sla_tiers": {
            **cut,
            "step_budget_ns": int(rng.choice([7, 12, 60])) * MS,
            "watermark": watermark,
        },
    }
    rule: Rule = RULES[kind](max_num_seqs=most, **parameters[kind])
    return rule


COLUMNS = (
    *("arrival_ns", "prompt", "output", "tier", "lane", "status", "admitted", "finished"),
    *("preempted", "recomputed", "offset", "token_step", "steps", "blocks", "tiers"),
)


def token_differences(one: TokenTrace, other: TokenTrace) -> list[str]:
    """Names of the columns in which two traces differ; of iterations, their own columns."""
    found = []
    for name in COLUMNS:
        mine, theirs = getattr(one, name), getattr(other, name)
        if not isinstance(mine, np.ndarray):
            found += [name] if mine != theirs else []
        elif mine.dtype != theirs.dtype or mine.shape != theirs.shape:
            found.append(name)
        elif name == "steps":
            found += [f"steps.{key}" for key in STEP.names if np.any(mine[key] != theirs[key])]
        elif not np.array_equal(mine, theirs):
            found.append(name)
    return found
