"""The answer in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .sign import hundred

if TYPE_CHECKING:
    from .diagnosis import Diagnosis
    from .remedies import Gain


def milliseconds(value: float) -> str:
    """``12.3 ms``, ``412 ms``, ``6.1 s``."""
    if value >= 10_000:
        return f"{value / 1000:.3g} s"
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def verdict(found: Diagnosis) -> str:
    """One sentence that answers, and one that says what to do."""
    now = _now(found)
    if found.healthy:
        return _healthy(found, now)
    if found.fault is None:
        most = max(found.stages, key=lambda stage: stage.slow_share)
        return (
            f"{now}, and no single cause explains it: {hundred(most.slow_share)} of the slow "
            f"requests' latency is {most.name}. {_advice(found)}"
        )
    main = found.findings[0]
    without = (
        f"without that {found.percentile} would be {milliseconds(main.without_ms)} "
        f"(-{hundred(main.share)})"
    )
    return f"{now} because {main.because}; {without}. {_advice(found)}"


def _now(found: Diagnosis) -> str:
    """What was seen: the percentile, its target, and who was lost."""
    who = "requests" if found.tier == "all requests" else f"{found.tier} requests"
    lost = f"{hundred(found.lost)} of the {who} are not served"
    if found.lost >= 0.995:
        return f"the {who} are never served"
    of = "" if found.tier == "all requests" else f" of {found.tier}"
    now = f"{found.percentile}{of} is {milliseconds(found.value_ms)}"
    if found.target_ms is not None:
        now += f" (target {milliseconds(found.target_ms)})"
    return f"{now} and {lost}" if found.lost > 0.001 else now


def _healthy(found: Diagnosis, now: str) -> str:
    most = max(found.stages, key=lambda stage: stage.slow_share)
    why = "within its target" if found.target_ms is not None else "what load and service explain"
    load = "" if found.load is None else f", and the load is {found.load:.2f}"
    return (
        f"no fault: {now}, {why}; {hundred(most.slow_share)} of the slow requests' latency is "
        f"{most.name}{load}."
    )


def _advice(found: Diagnosis) -> str:
    from .diagnosis import worth

    helpful = [one for one in found.remedies if worth(one) == "helps"]
    if not helpful:
        return "No remedy that was simulated helps."
    words = f"What helps most: {_worth(found, helpful[0])}"
    own = [one for one in helpful if not one.elsewhere]
    if own and own[0] is not helpful[0]:
        words += f"; of what the service itself can change: {_worth(found, own[0])}"
    return f"{words}."


def _worth(found: Diagnosis, one: Gain) -> str:
    return f"{one.what} ({found.percentile} {milliseconds(one.value_ms)}, -{hundred(one.share)})"
