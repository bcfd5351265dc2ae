"""``--from-metrics URL|FILE``: a scenario with the traffic that was really there.

1. An address is a server of ``batchwright serve`` (``GET /recorded``), or a Prometheus; a file is
   what ``--record`` wrote.
2. Everything is written into the folder of the run, the record itself included.
3. The policy that the server has now is put beside those of the scenario, as ``serving``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from typing import Any

from experiments.places import is_file
from experiments.rules import policy_of
from experiments.runs import write_atomic
from experiments.scenario import Scenario
from experiments.sentences import ScenarioError

from .asking import Asked, asked, is_url
from .prometheus import found_of, is_prometheus
from .record import read_record
from .times import Ratio, measured
from .traffic import Traffic, traffic_of
from .writing import check_base, written

OPTION = "--from-metrics"
RECORD = "record.csv"
SERVING = "serving"
"""The name of the policy that a server has now."""
SINCE = re.compile(r"([1-9]\d{0,5})([smhd])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
HOUR_S = 3600
NOT_FOUND = 404


@dataclass(frozen=True)
class Metrics:
    """What was typed."""

    source: str
    token: str | None = None
    since_s: int | None = None
    """None: everything that a server knows, an hour of Prometheus."""
    profile_as_is: bool = False


@dataclass(frozen=True)
class Retuned:
    """A scenario with other traffic."""

    scenario: Scenario
    told: tuple[str, ...]
    """Sentences: what was found, and how far it reaches."""
    facts: dict[str, Any]
    """For the manifest."""


def retuned(base: Scenario, metrics: Metrics, folder: Path) -> Retuned:
    """The scenario, written into a folder; what was written is removed again where it fails.

    Args:
        base: what was served.
        metrics: where the traffic is known from.
        folder: of the run.

    Raises:
        ScenarioError: nothing can be learned from there, or it does not fit the scenario.
        WorkloadError: the file is no trace.
        OSError: a file cannot be written.
    """
    check_base(base)
    with _undone(folder):
        traffic, ratio, serving = _evidence(base, metrics, folder)
        told = [*traffic.told, *times_told(ratio, metrics.profile_as_is)]
        used = ratio if ratio is not None and ratio.counts and not metrics.profile_as_is else None
        policies = {} if serving is None else {SERVING: serving}
        head = (f"Scenario {base.name} with the traffic of {_shown(metrics.source)}.", *told)
        scenario = written(base, traffic, used, folder, head, policies)
    facts = {
        "source": _shown(metrics.source),
        "told": told,
        "service_ratio": None if ratio is None else [ratio.low, ratio.value, ratio.high],
        "profile_scaled": used is not None,
    }
    return Retuned(scenario, tuple(told), {"from_metrics": facts})


@contextmanager
def _undone(folder: Path) -> Iterator[None]:
    """Leave a folder as it was, where something fails."""
    before = set(folder.iterdir())
    try:
        yield
    except BaseException:
        for path in set(folder.iterdir()) - before:
            path.unlink()
        raise


def _shown(source: str) -> str:
    return asked(OPTION, source).shown if is_url(source) else source


def _evidence(
    base: Scenario, metrics: Metrics, folder: Path
) -> tuple[Traffic, Ratio | None, Mapping[str, Any] | None]:
    if not is_url(metrics.source):
        _copied(metrics, folder)
        return (*_of_record(base, folder, metrics.source), None)
    place = asked(OPTION, metrics.source, metrics.token)
    query = "" if metrics.since_s is None else f"?since={metrics.since_s}s"
    answer = place.ask(f"/recorded{query}")
    if answer.status == NOT_FOUND:
        if is_prometheus(place):
            found = found_of(place, base, metrics.since_s or HOUR_S)
            return found.traffic, found.ratio, None
        if place.ask("/v2").content:
            raise ScenarioError(
                f"{place.shown} remembers no requests: it was started with --keep 0"
            )
    if not answer.body.startswith(b"arrival_s,"):
        raise ScenarioError(
            f"{place.shown} is neither a server of batchwright serve nor a Prometheus: it has no "
            "/recorded and no /api/v1"
        )
    write_atomic(folder / RECORD, answer.body)
    return (*_of_record(base, folder, place.shown), _serving(place, base))


def _copied(metrics: Metrics, folder: Path) -> None:
    """The file, as text of the run."""
    import gzip

    if metrics.since_s is not None:
        raise ScenarioError("--since is for an address: a file is taken as it is")
    path = Path(metrics.source)
    if not is_file(path):
        raise ScenarioError(
            f"{OPTION} {metrics.source}: there is no such file; give one of batchwright serve "
            "--record, or the address of a server, as http://127.0.0.1:8000"
        )
    if path.suffix != ".gz":
        copyfile(path, folder / RECORD)
        return
    try:
        write_atomic(folder / RECORD, gzip.decompress(path.read_bytes()))
    except (gzip.BadGzipFile, EOFError) as error:
        raise ScenarioError(f"{path} is no gzip file: {error}") from None


def _of_record(base: Scenario, folder: Path, called: str) -> tuple[Traffic, Ratio | None]:
    record = read_record(folder / RECORD, [tier.name for tier in base.tiers], called)
    ratio = None if record.batches is None else measured(record.batches, base)
    return traffic_of(record, base), ratio


def _serving(place: Asked, base: Scenario) -> Mapping[str, Any] | None:
    """The policy that the server has now, where the scenario does not have it anyway."""
    content = place.ask("/policy").content
    table = content.get("policy") if isinstance(content, dict) else None
    if not isinstance(table, dict):
        return None
    try:
        policy = policy_of(exact(table))
    except ValueError:  # of a newer server
        return None
    return None if policy in base.policies.values() else exact(table)


def exact(value: Any) -> Any:
    """Numbers as a scenario file has them."""
    from decimal import Decimal

    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, list):
        return [exact(item) for item in value]
    return Decimal(str(value)) if isinstance(value, float) else value


def times_told(ratio: Ratio | None, as_is: bool) -> list[str]:
    """What was found of the times of batches."""
    if ratio is None:
        return ["Times are those of the profile: too few batches tell others."]
    if not ratio.counts:
        return [f"Batches took {ratio} times what the profile says, so it stays as it is."]
    if as_is:
        return [f"Batches took {ratio} times what the profile says; it stays, as asked."]
    told = [
        f"Batches took {ratio} times what the profile says: all its times are multiplied by it."
    ]
    if ratio.unlike:
        told.append(
            f"But it is {ratio.small:.3g} for small ones and {ratio.large:.3g} for large ones: one "
            "factor cannot be right for both, so measure the profile again."
        )
    return told


def seconds_of(text: str | None) -> int | None:
    """``90s``, ``10m``, ``2h`` or ``1d``.

    Raises:
        ScenarioError: it is none of them.
    """
    if text is None:
        return None
    match = SINCE.fullmatch(text)
    if match is None:
        raise ScenarioError(f"--since {text} must be a time as in 90s, 10m, 2h or 1d")
    return int(match[1]) * SECONDS[match[2]]


__all__ = ["Metrics", "Retuned", "retuned", "seconds_of"]
