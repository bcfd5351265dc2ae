"""Rules of continuous batching as arguments of an engine: vLLM, and TensorRT-LLM on Triton.

What an engine cannot do is refused, with the nearest that it can.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.export.contract import Exported, ExportError, Nearest, NotExpressible
from policies.contract import NEVER

from .setting import TokenSetting, setting_of_run


def vllm(setting: TokenSetting, *, nearest: bool) -> Exported:
    """The YAML file of ``vllm serve --config``.

    Facts are of ``vllm`` 0.33.0: ``v1/core/sched/scheduler.py``, ``config/scheduler.py``; that it
    keeps a block for itself and counts it in ``watermark`` was seen in its recorded steps.

    Raises:
        NotExpressible: vLLM's scheduler cannot do what the rule does.
    """
    budget, chunked, differences = _as_vllm(setting)
    if differences and not nearest:
        raise NotExpressible("vllm", differences[0], Nearest(Exported({}), differences[-1]))
    engine = setting.engine
    threshold = setting.number("long_prefill_token_threshold", 0)
    by_tier = bool(setting.parameters.get("by_priority")) or setting.kind == "sla_tiers"
    lines = [
        f"max-num-seqs: {setting.most}",
        f"max-num-batched-tokens: {budget}",
        f"enable-chunked-prefill: {str(chunked).lower()}",
        *([f"long-prefill-token-threshold: {threshold}"] if threshold else []),
        f"scheduling-policy: {'priority' if by_tier else 'fcfs'}",
        *([f"max-model-len: {engine.longest}"] if engine.longest < NEVER else []),
        "enable-prefix-caching: false",
        "async-scheduling: false",
    ]
    if engine.blocks < NEVER:
        lines += [
            f"block-size: {engine.block_tokens}",
            f"num-gpu-blocks-override: {engine.blocks + 1}",
        ]
        share = setting.parameters.get("watermark") if setting.kind == "vllm_like" else None
        lines += [f"watermark: {share}"] if share else []
    notes = _notes_of_vllm(setting, by_tier)
    text = f"{setting.comment(differences[:1], notes)}\n" + "".join(f"{line}\n" for line in lines)
    return Exported({"vllm.yaml": text}, notes, not differences, differences[:1])


def _as_vllm(setting: TokenSetting) -> tuple[int, bool, tuple[str, ...]]:
    """Budget of tokens, whether prompts are cut, and what differs (with what comes nearest)."""
    kind, most = setting.kind, setting.most
    longest = setting.engine.longest
    budget = setting.number("max_num_batched_tokens", 2048)
    if kind == "vllm_like":
        chunked = bool(setting.parameters.get("chunked_prefill", True))
        if setting.engine.swaps:
            return budget, chunked, (
                "vLLM computes preempted sequences again, it does not swap them",
                f"it recomputes, with {budget} tokens an iteration",
            )  # fmt: skip
        return budget, chunked, ()
    if kind == "decode_first":
        whole = setting.number("chunk_tokens", 512) + most
        return whole, True, (
            "vLLM has one budget for prompts and those who decode, not one for prompts alone",
            f"it becomes a budget of {whole} tokens, chunk_tokens and one for each sequence",
        )  # fmt: skip
    if kind == "continuous":
        whole = max(most, longest if longest < NEVER else 8192)
        return whole, False, (
            "vLLM needs a budget of tokens, and continuous has none",
            f"it becomes a budget of {whole} tokens with prompts in one piece",
        )  # fmt: skip
    if kind == "shortest_prompt_first":
        return budget, True, (
            "vLLM takes those who wait in order of arrival or of priority, not by their length",
            f"it becomes first come, first served with {budget} tokens an iteration",
        )  # fmt: skip
    if kind == "sla_tiers":
        return budget, True, (
            "vLLM has no limit on the time of an iteration",
            f"it becomes scheduling by priority with {budget} tokens an iteration",
        )  # fmt: skip
    what = (
        "reads prompts in iterations of their own" if kind == "prefill_first" else "fixes batches"
    )
    raise NotExpressible("vllm", f"vLLM joins requests at every iteration, and {kind} {what}")


def _notes_of_vllm(setting: TokenSetting, by_tier: bool) -> tuple[str, ...]:
    notes = ["start it with vllm serve MODEL --config vllm.yaml"]
    notes.append(
        "prefix caching and asynchronous scheduling are off, as in the simulation; with them on, "
        "the first token comes earlier where prompts share a beginning"
    )
    if setting.engine.blocks < NEVER:
        notes.append(
            "num-gpu-blocks-override holds the memory to what was simulated, and a block that vLLM "
            "keeps for itself; without it vLLM takes what gpu-memory-utilization leaves"
        )
    if by_tier and setting.tiers:
        each = ", ".join(f"{place} is {tier}" for place, tier in enumerate(setting.tiers))
        notes.append(f"clients give their tier in the field priority of a request: {each}")
    return tuple(notes)


def triton(setting: TokenSetting, *, nearest: bool) -> Exported:
    """The ``parameters`` of Triton's TensorRT-LLM backend, and what its engine is built with.

    Facts: ``tensorrtllm_backend`` docs/model_config.md (names and values).

    Raises:
        NotExpressible: it is never held to be exact: nothing here ran TensorRT-LLM's scheduler.
    """
    whole = setting.kind == "request_level"
    chunked = setting.kind not in ("request_level", "continuous", "prefill_first") and bool(
        setting.parameters.get("chunked_prefill", True)
    )
    budget = setting.number("max_num_batched_tokens", 0)
    budget = budget or setting.number("chunk_tokens", 0) + setting.most
    if setting.kind in ("continuous", "request_level") and setting.engine.longest < NEVER:
        budget = max(budget, setting.engine.longest)
    strategy = "V1" if whole else "inflight_fused_batching"
    differences = ("TensorRT-LLM's own order of those who run and wait was not simulated",)
    if not nearest:
        near = f"it becomes {strategy} with {budget} tokens an iteration"
        raise NotExpressible("triton", differences[0], Nearest(Exported({}), near))
    parameters = {
        "gpt_model_type": strategy,
        "batch_scheduler_policy": "guaranteed_no_evict" if whole else "max_utilization",
        "enable_chunked_context": str(chunked).lower(),
        "enable_kv_cache_reuse": "false",
    }
    engine = setting.engine
    if engine.blocks < NEVER:
        parameters["max_tokens_in_paged_kv_cache"] = str(engine.blocks * engine.block_tokens)
    build = f"--max_batch_size {setting.most} --max_num_tokens {budget}"
    if engine.longest < NEVER:
        build += f" --max_seq_len {engine.longest}"
    notes = (
        f"build the engine with trtllm-build {build}: these two limits are fixed there",
        "put these parameters into the config.pbtxt of the model tensorrt_llm of the backend",
        "max_utilization pauses sequences where memory lacks, guaranteed_no_evict admits fewer",
    )
    body = "".join(
        f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'
        for key, value in parameters.items()
    )
    text = f"{setting.comment(differences, notes)}\n{body}"
    return Exported({"tensorrt_llm-parameters.pbtxt": text}, notes, False, differences)


EXPORTERS: dict[str, Callable[..., Exported]] = {"vllm": vllm, "triton": triton}
"""Stacks that batch at every iteration."""


def exporter_of(stack: str) -> Callable[..., Exported]:
    """What writes a stack's files.

    Raises:
        ExportError: the stack does not batch iterations.
    """
    if stack not in EXPORTERS:
        raise ExportError(
            f"{stack} batches whole requests; an engine that batches at every iteration is "
            f"exported to {' or '.join(EXPORTERS)}, which may stand behind it"
        )
    return EXPORTERS[stack]


def export_run(
    folder: Path,
    stacks: list[str],
    policy: str | None,
    name: str | None,
    out: Path | None,
    *,
    nearest: bool,
    json: bool,
) -> None:
    """``batchwright export`` of a run of a model that generates."""
    from experiments.cli_export import EXPORTS, refused, show, told_of, write

    setting = setting_of_run(folder, policy, name)
    exporters = {stack: exporter_of(stack) for stack in stacks}
    told: dict[str, Any] = {}
    for stack, export in exporters.items():
        place = (folder / EXPORTS if out is None else out) / stack
        try:
            found = export(setting, nearest=nearest)
        except NotExpressible as refusal:
            told[stack] = refused(refusal)
            continue
        write(place, found, owned=out is None)
        told[stack] = told_of(place, found)
    show(folder, setting, told, json=json)
