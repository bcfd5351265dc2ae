"""A first scenario of a model that generates: a log with prompts and answers, an engine assumed.

1. Arrivals and lengths are the log's.  The engine is that of the shipped scenario ``chat``, whose
   formula says where each number comes from: the user puts in those of the own model.
2. Nothing is sized: how much such a model serves depends on the rule, and is measured by
   ``batchwright capacity``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

from experiments.export.toml_text import value_toml
from experiments.runs import write_atomic
from experiments.sentences import ScenarioError

from .arrivals import Chosen, choose_arrivals
from .lengths import LengthsFound, choose_lengths
from .log import Log
from .longer import lengthened, replay_text
from .plan import REQUESTS, tiers_of
from .text import comment, inline
from .wishes import Wishes
from .writing import refuse_overwriting

TTFT_MS, TPOT_MS = 1000, 100
"""Targets that nobody named: a second to the first token, then faster than people read."""
MODEL = "chat"
RULES = (
    ("vllm_8192", "The rule of vLLM; most prompts are read at once.", "vllm_like", 8192),
    ("vllm_512", "The same with prompts in pieces, so that answers go on.", "vllm_like", 512),
    ("prefill_first", "Whole prompts before tokens of answers.", "prefill_first", 0),
    (
        "shortest_prompt_first",
        "Short prompts first; no stack that is exported to runs it exactly.",
        "shortest_prompt_first",
        512,
    ),
)
"""Name, reason, kind and tokens of an iteration; 0: as many as the longest sequence has."""


@dataclass(frozen=True)
class EnginePlan:
    """A scenario of a model that generates, before it is written."""

    name: str
    log: Log
    arrivals: dict[str, Any]
    arrivals_why: tuple[str, ...]
    lengths: dict[str, LengthsFound]
    """``prompts`` and ``outputs``."""
    longest: int
    """Tokens of the longest prompt and answer together."""
    slo: dict[str, Any]
    slo_why: str
    requests: int | None = REQUESTS
    """None: as many as the file that is played again has."""
    files: dict[str, str] = field(default_factory=dict)

    @property
    def told(self) -> tuple[str, ...]:
        """What was found and assumed, in sentences."""
        found = (*self.log.notes, *self.arrivals_why)
        lengths = tuple(f"{key}: {why}" for key, part in self.lengths.items() for why in part.why)
        return (*found, *lengths, self.slo_why)


def generates(log: Log | None, wishes: Wishes) -> bool:
    """Whether a log is of a model that generates, and nobody named a model of another kind."""
    return (
        log is not None
        and log.output is not None
        and log.length is not None
        and wishes.profile is None
        and wishes.model is None
    )


def engine_planned(wishes: Wishes, log: Log, name: str) -> EnginePlan:
    """The scenario for a log with prompts and answers.

    Raises:
        ScenarioError: an option makes no sense for a model that generates.
    """
    assert log.length is not None
    assert log.output is not None
    for option, given in (("--load", wishes.load), ("--servers", wishes.servers)):
        if given is not None:
            raise ScenarioError(
                f"{option} {given} is of models with one pass; the log has answers, so give --rate "
                "for one replica, and let `batchwright capacity` tell what it serves"
            )
    if wishes.lengths is not None:
        raise ScenarioError("--lengths cannot be given with a log that has prompts and answers")
    slo, slo_why = _promised(wishes)
    _, chosen = choose_arrivals(log.arrival_ns, wishes.arrivals)
    drawn = _replayed if chosen.replays else _drawn
    longest = int(log.length.max()) + int(log.output.max())
    return drawn(wishes, log, name, chosen, longest=longest, slo=slo, slo_why=slo_why)


def _promised(wishes: Wishes) -> tuple[dict[str, Any], str]:
    if wishes.no_slo:
        return {}, "No target, as asked."
    if wishes.slo is None:
        assumed = {"percentile": 95, "ttft_ms": TTFT_MS, "tpot_ms": TPOT_MS}
        return assumed, (
            f"An assumption, for you to change: 95 % get their first token within {TTFT_MS} ms and "
            f"each later one within {TPOT_MS} ms."
        )
    percentile, ms = float(wishes.slo.percentile), float(wishes.slo.ms)
    why = f"As asked: {percentile:g} % get their first token within {ms:g} ms (TTFT)."
    return {"percentile": wishes.slo.percentile, "ttft_ms": wishes.slo.ms}, why


def _arrivals(chosen: Chosen, wishes: Wishes) -> dict[str, Any]:
    rate = {} if wishes.rate is None else {"rate_per_s": wishes.rate}
    return {"process": chosen.process, **chosen.keys, **rate}


def _replayed(wishes: Wishes, log: Log, name: str, chosen: Chosen, **others: Any) -> EnginePlan:
    why, played, made_of = chosen.why, log, {}
    if wishes.arrivals != "trace" and len(log) < REQUESTS:
        played, longer = lengthened(log, REQUESTS)
        why, made_of = (*why, longer), {"recorded": len(log)}
    file = f"{name}.requests.csv"
    arrivals = {"process": "trace", "file": file, **_arrivals(chosen, wishes), **made_of}
    if played.tier is not None and len(played.tiers) > 1:
        arrivals["columns"] = {"tier": "tier"}
    return EnginePlan(
        name, log, arrivals, why,
        {
            "prompts": LengthsFound({"column": "length"}, why=("Each request keeps its own.",)),
            "outputs": LengthsFound({"column": "output"}, why=("Each request keeps its own.",)),
        },
        requests=None, files={file: replay_text(played)}, **others,
    )  # fmt: skip


def _drawn(wishes: Wishes, log: Log, name: str, chosen: Chosen, **others: Any) -> EnginePlan:
    lengths, files = {}, {}
    for key, values in (("prompts", log.length), ("outputs", log.output)):
        assert values is not None
        file = f"{name}.{key}.csv"
        found = choose_lengths(values, "auto", "tokens", file, usual=True)
        lengths[key] = found
        if found.rows:
            rows = "".join(f"{value},{count}\n" for value, count in found.rows)
            files[file] = f"tokens,count\n{rows}"
    why = (
        *chosen.why,
        "Prompts and answers are drawn apart from each other; --arrivals trace keeps the pairs.",
    )
    return EnginePlan(name, log, _arrivals(chosen, wishes), why, lengths, files=files, **others)


def engine_text(plan: EnginePlan) -> str:
    """The whole file."""
    parts = [_head(plan), _workload(plan), _engine(plan), *_rules(plan), _tuning(plan)]
    return "\n".join("".join(f"{line}\n" for line in part) for part in parts)


def _head(plan: EnginePlan) -> Iterator[str]:
    yield from comment(
        f"A model that generates under the requests of {plan.log.path.name}: written by "
        "batchwright init, to be changed by you."
    )
    yield f"name = {value_toml(plan.name)}"


def _workload(plan: EnginePlan) -> Iterator[str]:
    yield "[workload]"
    if plan.requests is not None:
        yield f"requests = {plan.requests:_}"
    for key, part in plan.lengths.items():
        yield from comment(*part.why)
        yield f"{key} = {inline(part.keys)}"
    yield ""
    for why in plan.arrivals_why:
        yield from comment(why)
    yield "[workload.arrivals]"
    for key, value in plan.arrivals.items():
        yield f"{key} = {inline(value) if isinstance(value, dict) else value_toml(value)}"
    if "rate_per_s" not in plan.arrivals:
        yield "# One of several replicas gets its share: rate_per_s = ..."
    for place, tier in enumerate(tiers_of(plan.log)):
        yield ""
        yield "[[workload.tiers]]"
        yield f"name = {value_toml(tier.name)}"
        if tier.share is not None:
            yield f"share = {value_toml(tier.share)}"
        if place == 0 and plan.slo:
            yield from comment(plan.slo_why, "Others: tpot_ms (a later token), latency_ms (all).")
            yield f"slo = {inline(plan.slo)}"


def _engine(plan: EnginePlan) -> Iterator[str]:
    """The engine of the shipped scenario, with a length that all requests have room in."""
    table = _shipped()
    yield from comment(
        "An assumption, and every figure depends on it: an 8B model in 16 bit (32 layers, 8 heads "
        "of 128 for keys and values) on a GPU with 2 TB/s and 312 TFLOP/s. Put the numbers of your "
        "model, or measure them with `batchwright profile measure --steps` and give "
        'profile = "FILE" instead of [engine.times].'
    )
    yield "[engine]"
    yield "# Sequences at once: --max-num-seqs of vLLM."
    yield f"max_num_seqs = {table['max_num_seqs']}"
    yield from comment(f"The longest prompt and answer of the log have {plan.longest:,} tokens.")
    yield f"max_model_len = {_most_tokens(plan)}"
    yield "# What weights leave of the memory; 2 x layers x key heads x size of a head x bytes."
    yield f"memory = {inline(table['memory'])}"
    yield ""
    yield "[engine.times]"
    says = {
        "fixed_ms": "reading the weights: 16 GB / 2 TB/s",
        "prefill_token_us": "2 x 8e9 operations / (55 % of 312 TFLOP/s)",
        "sequence_us": "launching",
        "context_token_ns": "bytes of a token in memory / 2 TB/s",
        "pair_ns": "4 x 4,096 x 32 operations / (55 % of 312 TFLOP/s)",
    }
    for key, value in table["times"].items():
        yield f"{f'{key} = {value}':<24}# {says[key]}"


def _shipped() -> dict[str, Any]:
    path = Path(__file__).parent.parent / "iteration" / "scenarios" / f"{MODEL}.toml"
    return dict(tomllib.loads(path.read_text(encoding="utf-8"))["engine"])


def _most_tokens(plan: EnginePlan) -> int:
    """Room for the longest prompt with the longest answer: a power of two."""
    return max(int(_shipped()["max_model_len"]), 1 << (plan.longest - 1).bit_length())


def _rules(plan: EnginePlan) -> Iterator[Iterator[str]]:
    for name, why, kind, tokens in RULES:
        yield _rule(name, why, kind, tokens or _most_tokens(plan))


def _rule(name: str, why: str, kind: str, tokens: int) -> Iterator[str]:
    yield from comment(why)
    yield f"[policies.{name}]"
    yield f'kind = "{kind}"'
    yield f"max_num_batched_tokens = {tokens}"


def _tuning(plan: EnginePlan) -> Iterator[str]:
    yield from comment(next_steps(f"{plan.name}.toml"))
    yield "[tune]"
    yield "# Take the line away to search every kind of rule."
    yield 'policies = ["vllm_like"]'


def next_steps(path: str) -> str:
    """What to do with the file."""
    file = quote(path)
    return (
        f"`batchwright tune {file}` looks for the numbers of vLLM's rule; then `batchwright export "
        f"latest --to vllm` writes its arguments, and `batchwright capacity {file}` says how many "
        "requests a second one replica takes."
    )


def engine_written(plan: EnginePlan, target: Path, *, force: bool) -> list[Path]:
    """Try the scenario, then write everything; the paths, the scenario last.

    Raises:
        ScenarioError: a file is there, or the scenario does not load.
    """
    from tempfile import TemporaryDirectory

    from experiments.iteration.config import load_scenario

    texts = {**plan.files, target.name: engine_text(plan)}
    with TemporaryDirectory() as folder:
        for name, text in texts.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        try:
            load_scenario(Path(folder) / target.name)
        except ScenarioError as error:
            raise ScenarioError(str(error).replace(f"{folder}/", "")) from error
    refuse_overwriting(target, list(plan.files), force=force)
    for name, text in texts.items():
        write_atomic(target.parent / name, text)
    return [target.parent / name for name in texts]
