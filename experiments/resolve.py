"""A checked scenario file made into what :mod:`sim` takes: processes, lengths, tiers, a workload.

A mistake that only shows here (a file that is not there, a length that the profile does not know)
is raised as :class:`KeyedError` with the key that it belongs to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from glob import escape
from pathlib import Path
from typing import Any

from policies.contract import NEVER, Policy, Tier
from profiles.blocks import Steady, steady_of
from profiles.calls import RAW, raw_path, read_calls
from profiles.latency import Profile, ProfileError
from sim import arrivals as processes
from sim import lengths as kinds
from sim.arrivals import Arrivals
from sim.backlog import Backlog
from sim.closed import Closed
from sim.errors import WorkloadError
from sim.modulated import Mmpp, RateCurve
from sim.replay import Replay, read_trace
from sim.sequence_arrivals import InSequences
from sim.specs import TierSpec, Timeout

from . import schema_arrivals as a
from . import schema_lengths as n
from .places import at_home, is_file, is_folder
from .schema import Slo, Spec
from .schema import Tier as TierTable
from .schema_sequences import Sequences as SequencesTable
from .schema_service import BlocksNoise, FixedTimeout
from .schema_service import Timeout as TimeoutTable
from .units import ms_to_ns, s_to_ns


class KeyedError(ValueError):
    """What is wrong with a key, when the whole scenario is looked at.

    Attributes:
        key: the dotted key.
    """

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(problem)
        self.key = key


@contextmanager
def blaming(key: str) -> Iterator[None]:
    """Errors of the other packages become problems of a key."""
    try:
        yield
    except (WorkloadError, ProfileError) as error:
        raise KeyedError(key, f"{key}: {error}") from error


def located(file: str, folder: Path) -> Path:
    """A file beside the scenario, or else seen from the working directory."""
    beside = folder / at_home(file)
    return beside if is_file(beside) or is_folder(beside) else at_home(file)


def load_profile(spec: Spec, folder: Path) -> Profile | None:
    """The profile that a scenario names, if it names one."""
    import profiles

    with blaming("service.profile"):
        wanted = profile_place(spec, folder)
        return None if wanted is None else profiles.load(wanted)


def profile_place(spec: Spec, folder: Path) -> str | Path | None:
    """The name or the path of the profile that a scenario names, if it names one."""
    return None if spec.service.profile is None else place_of(spec.service.profile, folder)


def place_of(wanted: str, folder: Path) -> str | Path:
    """The name or the path of a profile: shipped, beside the scenario, or a path."""
    import profiles

    if wanted in profiles.names():
        return wanted
    beside = folder / wanted
    files = list(beside.parent.glob(f"{escape(beside.name)}*")) if is_folder(beside.parent) else []
    return beside if files else wanted


def load_steady(spec: Spec, folder: Path) -> Steady | None:
    """The steady calls that noise of kind ``blocks`` replays; None for every other noise."""
    wanted = profile_place(spec, folder)
    if wanted is None or not isinstance(spec.service.noise, BlocksNoise):
        return None
    key = "service.noise.kind"
    with blaming(key):
        path = raw_path(wanted)
        steady = None if path is None else steady_of(read_calls(path))
    if steady is None:
        lacks = "has no raw calls beside it" if path is None else "has no long steady series"
        raise KeyedError(
            key,
            f'{key} = "blocks" needs a profile with steady calls, as `batchwright profile measure` '
            f'writes them (NAME{RAW}), but {spec.service.profile} {lacks}; use kind = "profile"',
        )
    return steady


def check_drift(spec: Spec) -> None:
    """Drift shows between replications, so it takes several."""
    key = "service.drift"
    for table, count in (("run", spec.run.replications), ("tune", spec.tune.replications)):
        if spec.service.drift and count < 2:
            raise KeyedError(
                key,
                f"{key} is drawn once a replication, so {table}.replications = {count} must be at "
                "least 2; 10 give narrow intervals",
            )


def check_trace(requests: int | None, arrivals: object) -> None:
    """A trace has to hold as many requests as are asked for."""
    if isinstance(arrivals, Replay) and requests is not None and requests > len(arrivals):
        raise KeyedError(
            "workload.requests",
            f"workload.requests = {requests} must be at most {len(arrivals)}, as many as the trace "
            "of workload.arrivals.file has",
        )


def process_of(
    table: Any, folder: Path, tiers: tuple[str, ...] = (), lengths: Any = None
) -> Arrivals | Closed:
    """An arrival process at its own rate; where ``load`` is given, at 1 per second for now.

    Args:
        table: one of the tables of :mod:`experiments.schema_arrivals`.
        folder: where files are looked for first.
        tiers: names of the tiers, for a trace that has them.
        lengths: the table of lengths, which may name a column of the trace.
    """
    rate = float(getattr(table, "rate_per_s", None) or 1)
    match table:
        case a.Paced():
            return processes.Paced(rate)
        case a.Poisson():
            return processes.Poisson(rate)
        case a.Gamma():
            return processes.Gamma(float(table.cv), rate)
        case a.Hyperexponential():
            return processes.Hyperexponential(float(table.cv), rate)
        case a.Clumped():
            return processes.Clumped(table.clump_size, ms_to_ns(table.spread_ms), rate)
        case a.Closed():
            think_ns = ms_to_ns(table.think_ms)
            return Closed(table.clients, think_ns, table.think == "constant")
    process: Arrivals
    match table:
        case a.Mmpp():
            process = Mmpp(
                tuple(map(float, table.rates_per_s)), tuple(map(float, table.switch_per_s))
            )
        case a.RateCurve():
            process = RateCurve(tuple((s_to_ns(at), float(rate)) for at, rate in table.points))
        case a.TraceFile():
            process = _replay(table, folder, tiers, lengths)
        case _:
            raise AssertionError(f"no process for {table!r}")
    return process if table.rate_per_s is None else process.at_rate(rate)


def _replay(table: a.TraceFile, folder: Path, tiers: tuple[str, ...], lengths: Any) -> Replay:
    columns = {key: name for key, name in table.columns if name is not None}
    if isinstance(lengths, n.Column):
        columns["length"] = lengths.column
    replay = read_trace(located(table.file, folder), columns, tiers if len(tiers) > 1 else ())
    if table.time_scale is not None:
        return replace(replay, time_scale=float(table.time_scale))
    return replay


def in_sequences(table: SequencesTable, starts: Any) -> InSequences:
    """An arrival process of sequences, as one of their requests."""
    return InSequences(
        starts,
        lengths_of(table.requests, Path(), None).pmf(),
        ms_to_ns(table.gap_ms),
        float(table.gap_cv or 0),
        ms_to_ns(table.jitter_ms),
        float(table.without_end or 0),
    )


def check_sticky(spec: Spec, name: str, policy: Policy) -> None:
    """A rule that keeps sequences together needs some."""
    if hasattr(type(policy), "slots") and spec.workload.sequences is None:
        key = f"policies.{name}.kind"
        raise KeyedError(
            key,
            f"{key} = {spec.policies[name]['kind']} keeps sequences together, but requests are of "
            "none: add [workload.sequences] with requests = { constant = 30 } and gap_ms = 320.0",
        )


def lengths_of(table: Any, folder: Path, source: object = None) -> kinds.Lengths:
    """Lengths whose probabilities exist; ``source`` are the arrivals, whose trace may hold them."""
    lengths = _lengths(table, folder, source)
    lengths.pmf()
    return lengths


def _lengths(table: Any, folder: Path, source: object) -> kinds.Lengths:
    match table:
        case n.Dataset():
            return kinds.Dataset(table.dataset)
        case n.Histogram():
            return kinds.Histogram(str(located(table.histogram, folder)))
        case n.Constant():
            return kinds.Constant(table.constant, table.unit)
        case n.Lognormal():
            return kinds.Lognormal(
                float(table.median), float(table.sigma), table.min, table.max, table.unit
            )
        case n.Uniform():
            return kinds.Uniform(table.min, table.max, table.unit)
        case n.Column():
            if not isinstance(source, Replay) or source.length is None:
                raise WorkloadError(
                    f"column = {table.column!r} needs arrivals from a trace that has this column"
                )
            return kinds.Column(source.length, table.unit)
    raise AssertionError(f"no lengths for {table!r}")


def timeout_of(table: TimeoutTable | None) -> Timeout | None:
    """Patience, if there is a limit."""
    if table is None:
        return None
    if isinstance(table, FixedTimeout):
        return Timeout(max(1, ms_to_ns(table.ms)))
    return Timeout(max(1, ms_to_ns(table.mean_ms)), exponential=True)


def tier_of(name: str, slo: Slo | None, *, backlog: bool = False) -> Tier:
    """A tier as policies see it."""
    if slo is None:
        return Tier(name, backlog=backlog)
    return Tier(name, max(1, ms_to_ns(slo.ms)), float(slo.percentile))


def tier_spec(table: TierTable, place: int, folder: Path) -> TierSpec:
    """One tier of the workload; arrivals with a ``load`` are still at 1 per second."""
    key = f"workload.tiers.{place}"
    own: Arrivals | Backlog | None = None
    lengths: kinds.Lengths | None = None
    backlog = isinstance(table.arrivals, a.Backlog)
    if isinstance(table.arrivals, a.Backlog):
        own = Backlog(table.arrivals.requests)
    elif table.arrivals is not None:
        with blaming(f"{key}.arrivals"):
            process = process_of(table.arrivals, folder, (), table.lengths)
            if isinstance(process, Closed):
                raise WorkloadError("a closed loop must be the arrivals of the whole workload")
            own = process
    if table.lengths is not None:
        with blaming(f"{key}.lengths"):
            lengths = lengths_of(table.lengths, folder, own)
    share = 1.0 if table.share is None else float(table.share)
    tier = tier_of(table.name, table.slo, backlog=backlog)
    return TierSpec(tier, share, own, lengths, timeout_of(table.timeout))


def capacity_of(spec: Spec) -> tuple[int, bool]:
    """Limit of the queue, and whether it counts those in service."""
    if spec.service.capacity is None:
        return NEVER, False
    return spec.service.capacity.requests, spec.service.capacity.counts == "in_system"


def digests(spec: Spec, folder: Path) -> dict[str, str]:
    """SHA-256 of the files that the workload names."""
    names = set()
    tiers = spec.workload.tiers or ()
    for arrivals in (spec.workload.arrivals, *(tier.arrivals for tier in tiers)):
        if isinstance(arrivals, a.TraceFile):
            names.add(arrivals.file)
    for lengths in (spec.workload.lengths, *(tier.lengths for tier in tiers)):
        if isinstance(lengths, n.Histogram):
            names.add(lengths.histogram)
    found = {}
    for name in sorted(names):
        with located(name, folder).open("rb") as content:
            found[name] = hashlib.file_digest(content, "sha256").hexdigest()
    return found
