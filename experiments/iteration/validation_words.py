"""What a live run of iterations says, in plain words, most important first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments.validation.verdict import NUMBER, percent
from experiments.wording import joined

from .validation_windows import STATISTICS, STRETCH

if TYPE_CHECKING:
    from .validation import TokenValidation
    from .validation_predict import TokenCell

WORDS = {
    "ttft_ms.mean": "mean time to the first token",
    "ttft_ms.p50": "p50 of the time to the first token",
    "ttft_ms.p99": "p99 of the time to the first token",
    "latency_ms.mean": "mean latency",
    "latency_ms.p50": "p50 of the latency",
    "latency_ms.p99": "p99 of the latency",
    "tpot_ms.mean": "mean time per output token",
    "itl_ms.p99": "p99 of the gaps between tokens",
    "output_tokens_per_s": "tokens/s",
}
SHORT = {
    "the first token": ("ttft_ms.mean", "ttft_ms.p50"),
    "the latency": ("latency_ms.mean", "latency_ms.p50"),
    "tokens/s": ("output_tokens_per_s",),
}
PROMISES = "10 %, of tokens/s 5 %, or what rounds of the same requests differ by"
TAIL = "ttft_ms.p99"
"""What stalls of the machine move most."""
TELLING = 0.1
"""From this error on it is said where one of the tail comes from."""
RANKED = "ttft_ms.mean", "latency_ms.mean"


def verdict_of(found: TokenValidation) -> str:
    """The sentences."""
    if found.no_claim:
        return f"No claim: {found.no_claim}: {reasons(found)}."
    sentences = [
        *_replay(found),
        *_promises(found),
        *_tail(found),
        *_ranking(found),
        *_rejected(found),
    ]
    return " ".join(sentences)


def _replay(found: TokenValidation) -> Iterator[str]:
    exact, count = sum(found.replays), len(found.replays)
    if exact == count:
        many = "the live window" if count == 1 else f"each of the {count} live windows"
        yield (
            f"Fed the times of its iterations, the simulator gives {many} again, iteration by "
            "iteration and to the nanosecond."
        )
    else:
        yield (
            f"Fed the times of their iterations, the simulator gives {count - exact} of {count} "
            "live windows otherwise than they were: its logic and that of the live run differ."
        )


def _promises(found: TokenValidation) -> Iterator[str]:
    """The a-priori predictions that are held to a target."""
    held = [cell for cell in found.cells if STATISTICS[cell.statistic] is not None]
    parts = []
    for words, names in SHORT.items():
        ends = []
        for name in names:
            worst = max((c for c in held if c.statistic == name), key=lambda c: abs(c.error))
            of = f" ({name.rpartition('.')[2]})" if len(names) > 1 else ""
            ends.append(percent(worst.error) + of)
        parts.append(f"{words} to within {joined(ends)}")
    missed = [cell for cell in held if cell.kept is False]
    kept = "" if missed else f", which keeps every promise: {PROMISES}"
    yield f"From the calibration alone it predicts {joined(parts)}{kept}."
    if not missed:
        return
    worst = max(missed, key=lambda cell: abs(cell.error))
    drift = worst.corrected / worst.measured - 1.0
    said = f"{len(missed)} of {len(held)} promises are missed, by most the {where(worst)}"
    yield (
        f"{said}: {percent(worst.error)} {side(worst.error)}, and {percent(drift)} {side(drift)} "
        "with the drift of the engine during the windows."
    )


def where(cell: TokenCell) -> str:
    """``p50 of the latency of vllm_like at load 0.4``."""
    return f"{WORDS[cell.statistic]} of {cell.rule} at load {cell.load:g}"


def side(error: float) -> str:
    """In which direction."""
    return "too high" if error > 0 else "too low"


def _tail(found: TokenValidation) -> Iterator[str]:
    """How far the tail is off, and what of that is stalls of the machine."""
    cells = [cell for cell in found.cells if cell.statistic == TAIL]
    worst = max(cells, key=lambda cell: abs(cell.error))
    if abs(worst.error) < TELLING:
        yield f"The {WORDS[TAIL]} is within {percent(worst.error)}."
        return
    said = f"The {where(worst)} is predicted {percent(worst.error)} {side(worst.error)}"
    mine = [one for one in found.counted if (one.rule, one.load) == (worst.rule, worst.load)]
    times = np.concatenate([one.stalls(found.form) for one in mine])
    if not len(times) and not found.stalls_calibrated:
        slow = max(one.slowest(found.form) for one in mine)
        yield (
            f"{said}: no iteration took twice its usual time, but {STRETCH} in a row up to "
            f"{slow:.2f} times."
        )
        return
    total = sum(len(one.took_ns) for one in mine)
    most = f", up to {times.max():.3g} times as long as usual" if len(times) else ""
    yield (
        f"{said}. Of {total:,} iterations {len(times)} stalled{most}{_calibrated(found)}; without "
        f"any stall it would be {worst.calmed:.3g} ms, and predicted {percent(worst.calm_error)} "
        f"{side(worst.calm_error)}."
    )


def _calibrated(found: TokenValidation) -> str:
    """Stalls of the calibration, where there are any."""
    stalls, calls = found.stalls_calibrated, found.profile.counts()["steady"]
    return f", of {calls:,} steady calibrating ones {stalls}" if stalls else ""


def _ranking(found: TokenValidation) -> Iterator[str]:
    """Whether the best rule was predicted."""
    if len(found.policies) < 2:
        return
    missed = []
    for load in found.loads:
        for name in RANKED:
            cells = [c for c in found.cells if (c.load, c.statistic) == (load, name)]
            best = min(cells, key=lambda cell: cell.measured)
            guess = min(cells, key=lambda cell: cell.predicted)
            near = max(best.spread, guess.spread)
            if len(cells) > 1 and guess.measured / best.measured - 1.0 > near:
                missed.append(f"by {WORDS[name]} at load {load:g} {best.rule} was best")
    if missed:
        yield f"The best policy was not the predicted one {joined(missed)}."
    else:
        yield "The best policy is the predicted one, by the first token and by latency."


def _rejected(found: TokenValidation) -> Iterator[str]:
    count = len(found.windows) - len(found.counted)
    if count:
        verb = "was" if count == 1 else "were"
        yield f"{count} of {len(found.windows)} windows {verb} rejected: {reasons(found)}."


def reasons(found: TokenValidation) -> str:
    """Why windows were rejected; reasons that differ in their numbers alone are one."""
    alike: dict[str, list[list[str]]] = {}
    for one in found.windows:
        if one.rejected:
            numbers = NUMBER.findall(one.rejected)
            alike.setdefault(NUMBER.sub("{}", one.rejected), []).append(numbers)
    parts = []
    for words, rows in alike.items():
        text = words.format(*(_range(column) for column in zip(*rows, strict=True)))
        parts.append(f"{len(rows)} x {text}" if len(rows) > 1 else text)
    return "; ".join(parts)


def _range(numbers: Sequence[str]) -> str:
    known = sorted(set(numbers), key=float)
    return known[0] if len(known) == 1 else f"{known[0]} to {known[-1]}"
