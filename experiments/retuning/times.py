"""What batches of a server took, over what the profile says, and a scenario that knows it.

1. The ratio is the time of all batches over the profile's time for their sizes and lengths, with
   an interval from ten sections in time.
2. It is used where its interval leaves out 1 and it is more than ``LEAST`` off: times of the
   profile are multiplied by it, at every size and length alike.  Spread is kept as a share.
3. Where small batches and large ones are off by different shares, one ratio cannot be right for
   both, and it is said.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np

from experiments.resolve import profile_place
from experiments.scenario import Scenario
from policies.contract import FloatArray, expected_ns
from profiles.calls import RAW, raw_path
from profiles.latency import Profile, Samples
from profiles.memory import MEMORY, memory_path
from profiles.store import save
from sim.intervals import sectioned
from sim.sections import SECTIONS

from .record import Batches

LEAST = 0.01
"""What is less off changes no setting."""
BATCHES_LEAST = 30
"""In a section."""
UNLIKE = 0.1
"""By how much halves may differ until it is said."""
ENDING = "-as-served"


@dataclass(frozen=True)
class Ratio:
    """Times of a server over those of a profile."""

    value: float
    low: float
    high: float
    batches: int
    small: float | None = None
    """Of the smaller batches."""
    large: float | None = None

    @property
    def counts(self) -> bool:
        """Whether the profile is to be scaled."""
        return abs(self.value - 1.0) > LEAST and not self.low <= 1.0 <= self.high

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"

    @property
    def unlike(self) -> bool:
        """Whether small batches are off by another share than large ones."""
        if self.small is None or self.large is None:
            return False
        return abs(self.small / self.large - 1.0) > UNLIKE


def ratio_of(took: FloatArray, usual: FloatArray) -> Ratio | None:
    """The ratio of sums, with its interval; None where there are too few batches for one.

    Args:
        took: float64 (M,), what batches took, in the order of their start.
        usual: float64 (M,), what was expected of each.
    """
    if len(took) < SECTIONS * BATCHES_LEAST:
        return None
    sections = [
        float(part.sum() / over.sum())
        for part, over in zip(
            np.array_split(took, SECTIONS), np.array_split(usual, SECTIONS), strict=True
        )
    ]
    found = sectioned(float(took.sum() / usual.sum()), sections, len(took), (0.0, np.inf))
    assert found.value is not None, "it is not refused"
    return Ratio(found.value, float(found.low or 0), float(found.high or np.inf), len(took))


def measured(batches: Batches, scenario: Scenario) -> Ratio | None:
    """What a server's batches took over what its scenario expects of them.

    None where they are too few, or where servers differ or share a GPU, so that times depend on
    more than the batch.
    """
    plan = scenario.cluster
    if plan is not None and (plan.service_ns is not None or plan.instances_per_gpu > 1):
        return None
    largest, edges = scenario.service_ns.shape[1], scenario.length_edges
    known = (batches.size <= largest) & (batches.padded_to <= edges[-1])
    if len(edges) == 1:
        known = batches.size <= largest
    size, padded_to = batches.size[known], batches.padded_to[known]
    took = batches.service_ns[known].astype(np.float64)
    usual = _expected(scenario, np.stack([size, padded_to]))
    found = ratio_of(took, usual)
    if found is None:
        return None
    few = size <= np.median(size)
    if few.all():
        few = size < np.median(size)
    if min(few.sum(), (~few).sum()) < BATCHES_LEAST:
        return found
    small, large = (float(took[part].sum() / usual[part].sum()) for part in (few, ~few))
    return replace(found, small=small, large=large)


def _expected(scenario: Scenario, shapes: Any) -> FloatArray:
    """What is expected of batches, int64 (2, M) of size and length: float64 (M,)."""
    table_ns, edges = scenario.service_ns.max(axis=0), scenario.length_edges
    each, which = np.unique(shapes, axis=1, return_inverse=True)
    times = [expected_ns(table_ns, edges, size, length) for size, length in each.T.tolist()]
    found: FloatArray = np.array(times, dtype=np.float64)[which.reshape(-1)]
    return found


def scaled(service: dict[str, Any], scenario: Scenario, ratio: Ratio, folder: Path) -> None:
    """Multiply the times of a ``service`` table, in place.

    Args:
        service: keys of a scenario file.
        scenario: that they are of.
        ratio: by which.
        folder: where a profile is written, and the scenario will be.

    Raises:
        OSError: the profile cannot be written.
    """
    factor = Decimal(f"{ratio.value:.4g}")
    if scenario.profile is None:
        model = dict(service["model"])
        for key in ("base_ms", "per_request_ms", "per_length_ms"):
            if key in model:
                model[key] = (model[key] * factor).normalize()
        if "table_ms" in model:
            model["table_ms"] = [(ms * factor).normalize() for ms in model["table_ms"]]
        service["model"] = model
        return
    own = slower(scenario.profile, float(factor), ratio)
    save(own, folder)
    before = profile_place(scenario.spec, scenario.path.parent)
    assert before is not None, "there is a profile"
    for beside, ending in ((raw_path(before), RAW), (memory_path(before), MEMORY)):
        if beside is not None and beside.is_file():
            copyfile(beside, folder / f"{own.name}{ending}")
    service["profile"] = own.name


def slower(profile: Profile, factor: float, ratio: Ratio) -> Profile:
    """A profile whose every time is multiplied."""

    def times(values: Any) -> Any:
        return np.maximum(1, np.rint(values * factor)).astype(np.int64)

    samples = profile.samples
    told = f"all times multiplied by {ratio}, as a server measured over {ratio.batches:,} batches"
    return replace(
        profile,
        name=f"{profile.name.removesuffix(ENDING)}{ENDING}",
        latency_ns=times(profile.latency_ns),
        percentiles_ns={key: times(part) for key, part in profile.percentiles_ns.items()},
        samples=samples
        and Samples(
            samples.batch_size, samples.length, samples.start_ns, times(samples.latency_ns)
        ),
        metadata=replace(profile.metadata, defects=(*profile.metadata.defects, told)),
    )


__all__ = ["Ratio", "measured", "ratio_of", "scaled"]
