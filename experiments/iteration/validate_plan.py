"""How a scenario with an ``[engine]`` runs live: its requests, what is calibrated, what opens.

1. A window's requests are the scenario's first ones that the engine can hold, their arrivals
   stretched to bring them at just the rate that is wanted: gaps keep their shape.
2. What is calibrated follows from the scenario simulated beforehand: the prompt tokens, sequences
   and contexts that its iterations have under the rules that run.  A share of the longest prompts
   is left to the formula where the time given holds no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import numpy as np

from experiments.runs import folder_name
from experiments.sentences import ScenarioError
from policies.contract import NEVER, IntArray
from policies.iteration.contract import Rule
from policies.iteration.times import StepTimes, step_ns
from profiles.models.decoder_shapes import DECODERS, find_decoder
from profiles.steps_plan import (
    SAMPLES_LEAST,
    STEADY_SHARE,
    StepWishes,
    cells_of,
    grids,
    mixed_cells,
)
from sim.iteration import kernel
from sim.iteration.engines import DecoderOpening, EmulatedOpening, Opening
from sim.iteration.serving import CALM, Serving
from sim.iteration.workload import TokenWorkload

from .scenario import TokenScenario
from .validation_campaign import most_per_s
from .validation_rig import NO_LIMIT

REQUESTS_LEAST = 20
"""In a window; fewer say nothing of a median."""
FITTING = tuple((grid, share) for grid in (0, 1, 2) for share in (1.0, 0.99, 0.9)) + tuple(
    (3, share) for share in (1.0, 0.99, 0.9, 0.75, 0.5)
)
"""Grids of :func:`profiles.steps_plan.grids`, and the share of the iterations whose prompts they
reach: the first that fits is measured."""
BLOCK_LEAST_NS, BLOCK_MOST_NS = 10 * 10**9, 20 * 10**9
"""Of a block where no time is given: the least that is taken, and from where less is measured."""
SAFE = 1.25
"""So much longer than by the scenario's times a block may take: the way there and back counts."""
LEFT_OUT_MOST = 0.5
"""Share of the requests that may be too long for a model."""
SPARE = 1.5
"""Sequences are calibrated up to so many times what the simulated windows have."""
PILOT = 2
"""Rounds' worth of time that the calibration's first, uncounted calls take at most."""


class Reach(NamedTuple):
    """What the iterations of simulated windows are made of."""

    prefill: IntArray
    """int64: of iterations that read prompts."""
    context: IntArray
    """int64: of a sequence, in the mean of each iteration that decodes."""
    sequences: int
    """The most that ran at once."""
    prompt: IntArray
    """int64: of the requests."""


class Target(NamedTuple):
    """What is to run."""

    scenario: TokenScenario
    """As it can hold it."""
    model: str
    """Of :data:`DECODERS`; empty: it is an emulation."""
    threads: int

    @property
    def speech(self) -> bool:
        """Whether prompts are never cut."""
        return bool(self.model) and find_decoder(self.model).frames > 0

    @property
    def known(self) -> Serving | None:
        """An emulation's times, without noise; of a model they are not known."""
        return None if self.model else replace(self.scenario.serving(), noise=CALM)

    def opening(self, wishes: StepWishes) -> Opening:
        """What the engine's process opens."""
        if not self.model:
            return EmulatedOpening(self.scenario.serving())
        engine = self.scenario.engine
        slots = max(engine.sequences, wishes.slots) + 1
        return DecoderOpening(self.model, slots, engine.longest, self.threads)


def target_of(scenario: TokenScenario, device: str, model: str | None, threads: int) -> Target:
    """What runs on a device.

    Raises:
        ScenarioError: the scenario does not say which model, or the device has none.
        ModelError: there is no such model.
    """
    if scenario.engine.swaps:
        raise ScenarioError(
            f'scenario {scenario.name} has engine.preemption = "swap", which a live run does not '
            "have: give --set engine.preemption='\"recompute\"'"
        )
    if device == "emulated":
        if model is not None:
            raise ScenarioError("--model runs a model, and --device emulated none: leave one out")
        return Target(scenario, "", threads)
    if device != "cpu":
        raise ScenarioError(
            f"--device {device}: models that generate run on the CPU here; give cpu or emulated"
        )
    name = model or scenario.model
    if model is None and name not in DECODERS:
        of = f"are of {name}, which is none that" if name else "are a formula, of no model that"
        raise ScenarioError(
            f"the times of scenario {scenario.name} {of} can run here: name one with --model "
            f"({', '.join(DECODERS)}), or use --device emulated"
        )
    longest = min(scenario.engine.longest, find_decoder(name).positions)
    held = replace(scenario, engine=scenario.engine._replace(longest=longest))
    return Target(held, name, threads)


class Requests:
    """Draws the requests of a window; rule 1 of the module."""

    def __init__(self, scenario: TokenScenario) -> None:
        """Draw the scenario, and leave out what its engine cannot hold.

        Raises:
            ScenarioError: most requests are too long.
        """
        drawn = scenario.draw()[0]
        fits = ~scenario.serving().too_long(drawn)
        self.left_out = float(1.0 - fits.mean())
        if self.left_out > LEFT_OUT_MOST:
            raise ScenarioError(
                f"{self.left_out:.0%} of the requests of scenario {scenario.name} are longer than "
                f"the {scenario.engine.longest:,} tokens that the engine holds: make them shorter, "
                "as in --set workload.prompts.median=100, or choose another --model"
            )
        self.drawn = _chosen(drawn, fits)

    def __call__(self, rate_per_s: float, seconds: float) -> TokenWorkload:
        """So many as come in the time, at least :data:`REQUESTS_LEAST`, as far as there are any."""
        wanted = max(REQUESTS_LEAST, round(rate_per_s * seconds))
        first = np.zeros(len(self.drawn), dtype=np.bool_)
        first[:wanted] = True
        found = _chosen(self.drawn, first)
        lasts_ns = len(found) / rate_per_s * 1e9
        arrival_ns = found.arrival_ns * (lasts_ns / max(1, int(found.arrival_ns[-1])))
        return replace(found, arrival_ns=np.rint(arrival_ns).astype(np.int64))


def _chosen(workload: TokenWorkload, kept: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> (
    TokenWorkload
):  # fmt: skip
    return replace(
        workload,
        arrival_ns=workload.arrival_ns[kept],
        prompt=workload.prompt[kept],
        output=workload.output[kept],
        tier=workload.tier[kept],
    )


def reach_of(
    scenario: TokenScenario,
    rules: Mapping[str, Rule],
    requests: Requests,
    loads: Sequence[float],
    seconds: float,
) -> Reach:
    """Simulate the windows of the highest load on the scenario's own times."""
    serving = replace(scenario.serving(), noise=CALM)
    crowd = requests(100.0, 20.0)
    most = max(most_per_s(rule, serving, crowd) for rule in rules.values())
    own = scenario.offered_rate_per_s
    workload = requests(max(loads) * most if loads else min(own, 0.95 * most), seconds)
    steps = np.concatenate([kernel.run(rule, workload, serving).steps for rule in rules.values()])
    decoding = steps[steps["sequences"] > 0]
    prefill = steps["prefill"][steps["prefill"] > 0].astype(np.int64)
    context = (decoding["context"] // decoding["sequences"]).astype(np.int64)
    return Reach(
        prefill,
        context if len(context) else np.array([2]),
        int(steps["running"].max()),
        workload.prompt.astype(np.int64),
    )


def wishes_for(target: Target, reach: Reach, block_ns: int | None, seed: int) -> StepWishes:
    """What each block of calibration measures.

    Args:
        target: what is to run.
        reach: what its iterations are made of.
        block_ns: time of a block; None: what the widest reach takes, within limits.
        seed: of the order of calls.
    """
    limit = BLOCK_MOST_NS if block_ns is None else block_ns
    for fullest, share in FITTING:
        wishes = replace(_wishes(target, reach, share, seed), fullest=fullest)
        needed = SAFE * needed_ns(target.scenario.times, wishes)
        if needed <= limit:
            break
    return replace(wishes, budget_ns=block_ns or max(BLOCK_LEAST_NS, round(needed)))


def _wishes(target: Target, reach: Reach, share: float, seed: int) -> StepWishes:
    engine, speech = target.scenario.engine, target.speech
    longest = engine.longest if engine.longest < NEVER else 1 << 20
    prefill = max(1, int(np.quantile(reach.prefill, share)))
    sequences = min(engine.sequences, max(2, round(SPARE * reach.sequences)))
    prompt = int(reach.prompt.max()) if speech else int(np.quantile(reach.prompt, min(share, 0.9)))
    return StepWishes(
        prefill=prefill,
        sequences=sequences,
        context=int(np.clip(int(np.quantile(reach.context, share)), 2, longest - 2)),
        prompt_tokens=int(np.clip(prompt, 1, prefill)),
        whole_prompts=speech,
        seed=seed,
        name=f"{folder_name(target.scenario.name)}-calibrated",
        command="batchwright validate",
    )


def needed_ns(times: StepTimes, wishes: StepWishes) -> float:
    """What the fewest rounds of the fullest grid that is tried take, by the scenario's times."""
    axes, _ = next(islice(grids(wishes), wishes.fullest, None))
    cells = [*cells_of(axes, wishes.prompt_tokens), *mixed_cells(wishes, NO_LIMIT)]
    round_ns = sum(step_ns(times, *map(float, cell.work)) for cell in cells)
    return (SAMPLES_LEAST + PILOT) * round_ns / (1.0 - STEADY_SHARE)


__all__ = ["Reach", "Requests", "Target", "needed_ns", "reach_of", "target_of", "wishes_for"]
