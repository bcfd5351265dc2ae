"""CPU stages in tables and sentences: how busy they are, and where latency is spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sim.stage_times import PARTS

from .terminal import table
from .wording import amount, hundred, joined, with_interval

if TYPE_CHECKING:
    from rich.table import Table

    from sim.intervals import Estimate
    from sim.stage_measures import StageLoad, StageMeasures

    from .outcome import Outcome
    from .results import Comparison, Result

STATIONS = {
    "pre-processing": ("pre_wait", "pre_service"),
    "the GPU": ("queue_wait", "gpu_service"),
    "post-processing": ("post_wait", "post_service"),
}
"""The three stations, each with its wait and its service."""

HEADS = ("wait for\npre-pr.", "pre-\nproc.", "wait for\nGPU", "GPU", "wait for\npost-pr.",
         "post-\nproc.")  # fmt: skip
"""Of the columns of ``PARTS``."""


def stage_tables(found: Result) -> list[Table]:
    """The stages and the parts of latency, where a scenario has stages."""
    known = [(one, one.measures.stages) for one in found.outcomes]
    staged = [(one, stages) for one, stages in known if stages is not None]
    return [] if not staged else [_stages(staged), *_parts(staged)]


def _stages(staged: Sequence[tuple[Outcome, StageMeasures]]) -> Table:
    """One row a policy and stage; of pre-processing one for all, since no policy changes it."""
    several = len(staged) > 1
    heads = ("workers", "busy\n%", "mean wait,\nms", "p99 wait,\nms", "mean service,\nms")
    drawn = table("stage", *(("under",) if several else ()), *heads, left=1 + several)
    first = True
    for outcome, measures in staged:
        for stage in measures.stages:
            before = stage.name == "preprocessing"
            if before and not first:
                continue
            under = (("any policy" if before else outcome.policy),) if several else ()
            drawn.add_row(*_stage(stage, under))
        first = False
    return drawn


def _stage(stage: StageLoad, under: tuple[str, ...]) -> list[str]:
    waits = (_or_unstable(stage.wait_ms[key]) for key in ("mean", "p99"))
    name = stage.name.replace("processing", "-processing")
    busy, service = hundred(stage.utilisation.value), with_interval(stage.service_ms["mean"])
    return [name, *under, str(stage.workers), busy, *waits, service]


def _or_unstable(found: Estimate) -> str:
    return "unstable" if found.reason else with_interval(found)


def _parts(staged: Sequence[tuple[Outcome, StageMeasures]]) -> list[Table]:
    """Where the latency of all, and of the slowest, is spent; one row a policy."""
    shown = [place for place, part in enumerate(PARTS) if _is_there(part, staged)]
    drawn = table(
        "policy", "", *(HEADS[place] for place in shown), "sum, ms",
        title="where latency is spent, ms", left=2,
    )  # fmt: skip
    for outcome, measures in staged:
        for of, parts in zip(("all", "slowest 1 %"), measures.spent, strict=True):
            values = values_of(parts)
            if values is not None:
                cells = (f"{values[PARTS[place]]:.3g}" for place in shown)
                drawn.add_row(outcome.policy, of, *cells, f"{sum(values.values()):.4g}")
    return [drawn] if drawn.row_count else []


def _is_there(part: str, staged: Sequence[tuple[Outcome, StageMeasures]]) -> bool:
    stages = {stage.name for _, measures in staged for stage in measures.stages}
    place = {"pre": "preprocessing", "post": "postprocessing"}.get(part.partition("_")[0])
    return place is None or place in stages


def values_of(parts: Mapping[str, Estimate]) -> dict[str, float] | None:
    """Each part in ms; None where they are refused."""
    values = {name: one.value for name, one in parts.items()}
    known = {name: value for name, value in values.items() if value is not None}
    return known if len(known) == len(values) else None


def by_stages(found: Comparison) -> list[str]:
    """What limits those that are unstable, and what most of the latency of the best is."""
    return of_stages(found.outcomes, None if found.best is None else found.outcome(found.best))


def of_stages(outcomes: Sequence[Outcome], best: Outcome | None) -> list[str]:
    """The same of some outcomes, and of one that is stable."""
    stopped = [one.measures.stability for one in outcomes if not one.stable]
    stages = dict.fromkeys(one.stage for one in stopped if one is not None and one.stage)
    said = []
    if stages:
        said.append(f"What cannot keep up is {joined(list(stages))}, whatever is batched.")
    if best is not None and best.measures.stages is not None:
        said += _most(best, best.measures.stages)
    return said


def _most(best: Outcome, measures: StageMeasures) -> list[str]:
    """The station where most of the latency is spent, unless it is the GPU."""
    slowest = values_of(measures.spent.slowest_ms)
    values = slowest or values_of(measures.spent.mean_ms)
    if values is None:
        return []
    whole = sum(values.values())
    spent = {name: values[wait] + values[service] for name, (wait, service) in STATIONS.items()}
    place = max(spent, key=lambda name: spent[name])
    if place == "the GPU" or 2.0 * spent[place] <= whole:
        return []
    stage = next(s for s in measures.stages if s.name == place.replace("-", ""))
    who = "the slowest 1 % take on average" if slowest else "requests take on average"
    said = (
        f"Of the {amount(whole)} ms that {who} under {best.policy}, {amount(spent[place])} ms are "
        f"spent in {place}"
    )
    waits, busy = values[STATIONS[place][0]], stage.utilisation.value or 0.0
    if 2.0 * waits < spent[place]:
        return [f"{said}, most of it the work itself, which more workers do not shorten."]
    workers = "its one worker is" if stage.workers == 1 else f"its {stage.workers} workers are"
    less = busy * stage.workers / (stage.workers + 1)
    waiting = f"{amount(waits)} ms of them waiting for a worker"
    return [
        f"{said}, {waiting}: {workers} {hundred(busy)} % busy, {hundred(less)} % with one more."
    ]
