"""The live run whose numbers are kept in ``docs/validate-gpt2-mini-cpu.json``.

``python -m experiments.iteration.validation_gpt2 FILE`` makes it again, in about five minutes; it
needs torch.  Prompts and outputs are lognormal with medians of 48 and 24 tokens, arrivals Poisson;
the rule is vLLM's.  The engine goes before ordinary processes, and rests for 8 % of each iteration.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from policies.iteration import VllmLike
from policies.iteration.contract import Engine
from profiles.steps_plan import StepWishes
from sim.iteration.engines import DecoderOpening
from sim.iteration.workload import TokenWorkload, workload_of

from .validation import LivePlan, TokenValidation
from .validation_campaign import validated
from .validation_rig import IterationRig, Progress

MODEL = "gpt2-mini"
ENGINE = Engine(sequences=16, blocks=176, block_tokens=16, longest=256)
RULE = VllmLike(max_num_batched_tokens=256)
WISHES = StepWishes(prefill=256, sequences=16, context=192, prompt_tokens=128, budget_ns=35 * 10**9)
PLAN = LivePlan(loads=(0.4, 0.6), rounds=3, window_s=20.0)
SEED = 11


def draw(rate_per_s: float, seconds: float) -> TokenWorkload:
    """Requests of a chat at a rate."""
    rng, count = np.random.default_rng(SEED), int(rate_per_s * seconds)
    arrival_ns = rng.exponential(1e9 / rate_per_s, count).cumsum().astype(np.int64)
    prompt = np.clip(rng.lognormal(np.log(48), 0.6, count).astype(int), 8, 128)
    output = np.clip(rng.lognormal(np.log(24), 0.6, count).astype(int), 4, 96)
    return workload_of(arrival_ns, prompt, output)


def validation(progress: Progress) -> TokenValidation:
    """Run it."""
    opening = DecoderOpening(MODEL, slots=WISHES.slots + 1, longest=ENGINE.longest)
    with IterationRig(opening, ENGINE, first=True) as rig:
        return validated(rig, {"vllm_like": RULE}, draw, WISHES, PLAN, progress=progress)


def main() -> None:
    """Run it, and keep what it says."""
    found = validation(lambda what, _done, _all: print(what, file=sys.stderr))
    kept = {key: value for key, value in found.to_dict().items() if key != "curves"}
    Path(sys.argv[1]).write_text(json.dumps(kept, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
