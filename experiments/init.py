"""``init(...)``: a first scenario from Python, as ``batchwright init`` writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from pathlib import Path

from .sentences import ScenarioError


@dataclass(frozen=True)
class Started:
    """A scenario that was written, and what was found on the way."""

    path: Path
    """The scenario; give it to ``compare`` or ``tune``."""
    files: tuple[Path, ...]
    """All files that were written, the scenario last."""
    found: tuple[str, ...]
    """Sentences: what was read, fitted and assumed."""

    def __str__(self) -> str:
        return "\n".join((str(self.path), *self.found))

    def _repr_html_(self) -> str:
        rows = "".join(f"<li>{escape(line)}</li>" for line in self.found)
        return f"<p><code>{escape(str(self.path))}</code></p><ul>{rows}</ul>"


def init(
    file: str | Path = "scenario.toml",
    *,
    from_log: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    unit: str | None = None,
    profile: str | None = None,
    slo: float | str | None = None,
    rate: float | None = None,
    servers: int | None = None,
    arrivals: str = "auto",
    force: bool = False,
) -> Started:
    """Write a commented scenario of a log of requests, or of a profile and a rate.

    Args:
        file: where it goes.
        from_log: a CSV file with a line a request.
        columns: names of its columns by what they hold: ``arrival``, ``length``, ``output``,
            ``tier``; others are guessed, and ``found`` says how.
        unit: of its arrivals: ``s``, ``ms``, ``us`` or ``ns``.
        profile: whose latencies: a shipped profile, or a file.
        slo: p99 in ms, or as ``"p95=20"``; of a log with answers, to the first token.
        rate: requests per second, in place of the log's.
        servers: as many as the rate needs where it is not given.
        arrivals: ``auto``, ``poisson``, ``gamma``, ``mmpp``, or ``trace`` to replay the log.
        force: overwrite files that are there.

    Raises:
        ScenarioError: an argument, or a line of the log, makes no sense, or a file is there.
    """
    from .starting.arrivals import KINDS
    from .starting.engine import engine_planned, engine_written, generates
    from .starting.reading import read
    from .starting.wishes import Slo, Wishes
    from .starting.writing import refuse_overwriting, start, written

    if arrivals not in KINDS:
        raise ScenarioError(f"arrivals = {arrivals!r} must be one of {', '.join(KINDS)}")
    target = Path(file)
    target = target if target.suffix == ".toml" else target.with_name(f"{target.name}.toml")
    refuse_overwriting(target, [], force=force)
    wishes = Wishes(
        profile=profile, rate=None if rate is None else Decimal(str(rate)), servers=servers,
        slo=None if slo is None else Slo(slo if isinstance(slo, str) else f"{slo:g}"),
        log=None if from_log is None else Path(from_log), columns=columns or {}, unit=unit,
        arrivals=arrivals,
    )  # fmt: skip
    log = read(wishes)
    if log is not None and generates(log, wishes):
        engine = engine_planned(wishes, log, target.stem)
        files = engine_written(engine, target, force=force)
        return Started(target, tuple(files), engine.told)
    plan, scenario = start(wishes, target)
    files = written(plan, target, force=force)
    notes = () if plan.log is None else plan.log.notes
    parts = (plan.lengths, *(tier.lengths for tier in plan.tiers))
    lengths = tuple(f"lengths: {why}" for part in parts if part is not None for why in part.why)
    why = (*plan.arrivals_why, *lengths, plan.servers_why, plan.assumed, plan.truncated)
    found = (*notes, scenario.describe(), *why)
    return Started(target, tuple(files), tuple(line for line in found if line))
