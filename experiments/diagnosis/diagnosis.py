"""What a diagnosis says: the answer in one sentence, its evidence, and what to change."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.parallel import Progress, nothing
from experiments.plain import dumps
from policies.contract import IntArray
from sim.intervals import Difference

from .causes import Finding, findings
from .causes_device import MANY
from .gain import per_second
from .look import PARTS, Look
from .opened import Opened
from .pace import on_gpu
from .remedies import Gain, gains
from .seen import Seen
from .sign import hundred

if TYPE_CHECKING:
    import pandas as pd

    from .views import DiagnosisPlots

FAULT = 0.25
"""Without a target, a cause has to make up a quarter of the percentile to be called a fault."""
SMALL = 0.005
"""A replay that misses it by less is as good as exact."""
ROUGH = 0.15
"""A replay that misses the percentile by more than this gives rough gains."""
WORTH = 0.02
"""A remedy that moves the percentile by less than this does nothing."""


@dataclass(frozen=True)
class Stage:
    """One part of the way of a request."""

    name: str
    mean_ms: float
    slow_ms: float
    """Mean over the slow requests."""
    mean_share: float
    slow_share: float


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """Why latency is high, and what to change."""

    subject: str
    """What was diagnosed."""
    percentile: str
    """``p99``."""
    tier: str
    """The tier that was judged, ``all requests`` where there is one."""
    requests: int
    lost: float
    """Share of the judged requests that were not served."""
    value_ms: float
    """The percentile of the served requests, as seen."""
    replayed_ms: float
    """The same of the replay, lost ones counted."""
    load: float | None
    """What arrives over what the servers can do at the best batch size without padding; None in a
    closed loop."""
    per_s: float
    """Requests served per second in the replay."""
    lost_ms: float
    """What a lost request counts as."""
    target_ms: float | None
    stages: tuple[Stage, ...]
    busy: dict[str, float]
    """Busy share of each kind of worker."""
    bottleneck: str
    """The busiest of them."""
    findings: tuple[Finding, ...]
    """Causes with evidence, the largest first."""
    fault: str | None
    """Name of the main cause; None where there is no fault, or none that is known."""
    healthy: bool
    remedies: tuple[Gain, ...]
    notes: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """The answer in one or two sentences."""
        from .words import verdict

        return verdict(self)

    def to_json(self) -> str:
        """One JSON object; NaN never appears."""
        return dumps(self.to_dict())

    def to_frame(self) -> pd.DataFrame:
        """One row a change, the best first: the percentile after it, and what it gains, in ms."""
        import pandas as pd

        rows = [
            {
                "change": one.what,
                "value_ms": one.value_ms,
                **{f"gain_ms{end}": ms for end, ms in _ends(one.gain)},
                "gone": one.share,
                "served_per_s": one.per_s,
                "lost": one.lost,
                "worth": worth(one),
                "elsewhere": one.elsewhere,
            }
            for one in self.remedies
        ]
        return pd.DataFrame(rows).set_index("change") if rows else pd.DataFrame()

    @property
    def plot(self) -> DiagnosisPlots:
        """Figures: ``stages``, ``remedies``."""
        from .views import DiagnosisPlots

        return DiagnosisPlots(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.subject}: {self.verdict}>"

    def _repr_html_(self) -> str:
        from .views import html_of

        return html_of(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = asdict(self)
        for rows in ("findings", "remedies"):
            for row in plain[rows]:
                row["gain_ms"] = _interval(row.pop("gain"))
        return {"verdict": self.verdict, **plain}


def _ends(gain: Difference) -> tuple[tuple[str, float | None], ...]:
    """A difference as the columns of a frame end."""
    return ("", gain.value), ("_low", gain.low), ("_high", gain.high)


def _interval(gain: dict[str, Any]) -> dict[str, Any]:
    return {name: gain[name] for name in ("value", "low", "high", "verdict")}


def diagnosed(subject: str, case: Opened, progress: Progress | None = None) -> Diagnosis:
    """Find causes and remedies of a run."""
    look, tell = case.look, progress or nothing
    value_ns = look.judged.value_ns(look.seen, served=True)
    lost = look.judged.lost_share(look.seen)
    late = look.target_ns and (value_ns > look.target_ns or lost > 1.0 - look.judged.share)
    found = tuple(findings(look, tell)) if len(look.slow) else ()
    if look.target_ns:
        fault = found[0].name if late and found else None
        healthy = not late
    else:
        faulty = bool(found) and found[0].share >= FAULT and not found[0].usual
        fault = found[0].name if faulty else None
        healthy = fault is None
    busy = dict(zip(("pre-processing", "servers", "post-processing"), look.busy, strict=True))
    present = {name: value for name, value in busy.items() if value > 0}
    return Diagnosis(
        subject=subject,
        percentile=f"p{100 * look.judged.share:g}",
        tier="all requests" if look.judged.tier < 0 else look.seen.tiers[look.judged.tier].name,
        requests=len(look.seen),
        lost=lost,
        value_ms=value_ns / 1e6,
        replayed_ms=look.base_ns / 1e6,
        load=None if look.world.closed else look.rate_per_s / look.best_per_s(look.world.service),
        per_s=per_second(look.replayed),
        lost_ms=look.judged.lost_ns / 1e6,
        target_ms=look.target_ns / 1e6 or None,
        stages=_stages(look, look.seen),
        busy=present,
        bottleneck=max(present, key=lambda name: present[name]) if present else "servers",
        findings=found,
        fault=fault,
        healthy=bool(healthy),
        remedies=tuple(gains(look, tell)),
        notes=(*case.notes, *_doubts(look)),
    )


def _stages(look: Look, seen: Seen) -> tuple[Stage, ...]:
    mean, slow = look.shares(look.own), look.slow_shares
    rows = []
    for k, name in enumerate(PARTS):
        if (k < 2 and not seen.pre_workers) or (k > 3 and not seen.post_workers):
            continue
        all_ms, slow_ms = _mean_ms(look, k, look.own), _mean_ms(look, k, look.slow)
        rows.append(Stage(name, all_ms, slow_ms, float(mean[k]), float(slow[k])))
    return tuple(rows)


def _mean_ms(look: Look, part: int, ids: IntArray) -> float:
    """Mean time of some requests in a part; 0 where there are none."""
    return float(look.parts_ns[part, ids].mean()) / 1e6 if len(ids) else 0.0


def _doubts(look: Look) -> list[str]:
    """What the diagnosis could not see, and how far the replay is off."""
    doubts = []
    if look.seen.servers > 1 and not look.known_largest:
        alone = np.count_nonzero(on_gpu(look.seen, np.zeros(look.seen.servers, dtype=np.int64)) < 2)
        if alone < MANY:
            doubts.append(
                "a server hardly ever ran alone, so that whether servers slow each other down "
                "cannot be seen"
            )
    error = look.replay_error
    if error >= SMALL:
        rough = "; gains are rough" if error > ROUGH else ""
        doubts.append(
            f"the replay's p{100 * look.judged.share:g} is {hundred(error)} off the one seen{rough}"
        )
    return doubts


def worth(gain: Gain) -> str:
    """``helps``, ``nothing`` or ``harms``."""
    value: Difference = gain.gain
    if abs(gain.share) < WORTH or value.verdict == "tie":
        return "nothing"
    return "helps" if gain.share > 0 else "harms"
