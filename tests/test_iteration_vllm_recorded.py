"""Steps of vLLM's own scheduler, recorded, against those of `vllm_like` in the drivers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from policies.contract import Tier
from policies.iteration import VllmLike
from policies.iteration.contract import Engine
from policies.iteration.times import StepTimes
from sim.iteration import kernel
from sim.iteration.model import Model
from sim.iteration.serving import Serving
from sim.iteration.station import IterationStation
from sim.iteration.workload import workload_of
from sim.trace import SERVED

RECORDED = json.loads((Path(__file__).parent / "data/vllm-schedules.json").read_text())
CASES = RECORDED["cases"]
EMPTY = CASES.pop("a step without tokens")
STEP_NS = 1000
TIERS = (Tier("first"), Tier("second"), Tier("third"))


def rule_of(case, **other):
    return VllmLike(
        **{
            "max_num_seqs": case["seqs"],
            "max_num_batched_tokens": case["budget"],
            "chunked_prefill": case["chunked"],
            "long_prefill_token_threshold": case["threshold"],
            "watermark": case["watermark"],
            "by_priority": case["by_priority"],
            **other,
        }
    )


def drawn(case):
    step, prompt, output, tier = np.array(case["requests"]).T
    work = workload_of(step * STEP_NS, prompt, output, tier, TIERS)
    blocks = case["blocks"] - 1  # vLLM keeps one for itself
    engine = Engine(case["seqs"], blocks, case["block_tokens"], RECORDED["about"]["longest"])
    return work, Serving(engine, StepTimes(fixed_ns=STEP_NS))


class Watched(IterationStation):
    """Writes down what the recording has: number, tokens by request, put back, finished."""

    def __init__(self, *all_of_it):
        super().__init__(*all_of_it)
        self.maps = []

    def start(self, now_ns):
        before = self.preempted.copy()
        iteration = super().start(now_ns)
        shares = sorted((share.request, share.tokens) for share in iteration.shares)
        back = np.flatnonzero(self.preempted > before).tolist()
        self.maps.append([now_ns // STEP_NS, [n for pair in shares for n in pair], back, []])
        return iteration

    def complete(self, now_ns):
        before = self.status == SERVED
        super().complete(now_ns)
        self.maps[-1][3] = np.flatnonzero((self.status == SERVED) & ~before).tolist()


def steps_of(case, rule=None):
    work, serving = drawn(case)
    model = Model(Watched(rule or rule_of(case), work, serving), serving)
    model.env.run()
    return model.station.maps


@pytest.mark.parametrize("name", CASES)
def test_every_step_is_the_one_that_vllm_made(name):
    case = CASES[name]
    assert steps_of(case) == case["steps"]


@pytest.mark.parametrize("name", CASES)
def test_the_compiled_driver_makes_them_too(name):
    case = CASES[name]
    steps = kernel.run(rule_of(case), *drawn(case)).steps
    assert (steps["start_ns"] // STEP_NS).tolist() == [step[0] for step in case["steps"]]
    tokens = [sum(step[1][1::2]) for step in case["steps"]]
    assert (steps["prefill"] + steps["sequences"]).tolist() == tokens
    assert steps["left"].tolist() == [len(step[2]) for step in case["steps"]]


def difference(case, **other):
    """Share of the recorded steps that a rule with other numbers does not make."""
    own = [tuple(map(tuple, step[1:])) for step in steps_of(case, rule_of(case, **other))]
    recorded = [tuple(map(tuple, step[1:])) for step in case["steps"]]
    same = sum(one == other for one, other in zip(own, recorded, strict=False))
    return 1 - same / len(recorded)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("six prompts at once", {"max_num_batched_tokens": 63}),
        ("chunks of a small budget", {"max_num_batched_tokens": 25}),
        ("chunks of a small budget", {"max_num_seqs": 6}),
        ("chunks of a large budget", {"chunked_prefill": False, "max_num_batched_tokens": 192}),
        ("whole prompts", {"chunked_prefill": True}),
        ("long prompts in pieces of 16", {"long_prefill_token_threshold": 0}),
        ("long prompts in pieces of 16", {"long_prefill_token_threshold": 17}),
        ("little memory, a tenth stays free", {"watermark": 0.0}),
        ("priorities", {"by_priority": False}),
        ("priorities, little memory", {"by_priority": False}),
    ],
)
def test_other_numbers_make_other_steps(name, other):
    assert difference(CASES[name]) == 0
    assert difference(CASES[name], **other) > 0.1


def test_a_block_more_is_noticed():
    case = CASES["little memory"]
    assert steps_of({**case, "blocks": case["blocks"] + 1}) != case["steps"]


def test_where_vllm_makes_a_step_without_tokens_the_others_go_on_at_once():
    """The one who runs first is put back itself: vLLM ends the step there, without any tokens."""
    (nothing,) = [step for step in EMPTY["steps"] if not step[1]]
    number, _, back, _ = nothing
    expected = EMPTY["steps"][:number]
    for later, tokens, more_back, finished in EMPTY["steps"][number + 1 :]:
        expected.append([later - 1, tokens, back + more_back, finished])
        back = []
    assert steps_of(EMPTY) == expected


def test_the_recording_puts_back_wherever_memory_is_little():
    back = {name: sum(len(step[2]) for step in case["steps"]) for name, case in CASES.items()}
    assert all((count > 0) == ("little memory" in name) for name, count in back.items()), back


def test_everybody_finishes_in_the_recording():
    for case in CASES.values():
        finished = sorted(who for step in case["steps"] for who in step[3])
        assert finished == list(range(len(case["requests"])))
