"""The ``.plot`` of a diagnosis, and how it looks in a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.views import table
from experiments.wording import hundred, signed

from .diagnosis import worth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .diagnosis import Diagnosis


@dataclass(frozen=True)
class DiagnosisPlots:
    """Figures of a diagnosis; each returns the axes that it drew on."""

    found: Diagnosis

    def stages(self, ax: Axes | None = None) -> Axes:
        """Where requests spend their time: all of them, and the slow ones."""
        from .plots import stages

        return stages(self.found, ax)

    def remedies(self, ax: Axes | None = None) -> Axes:
        """The percentile after each change, the best first, beside what it is now."""
        from .plots import remedies

        return remedies(self.found, ax)


def html_of(found: Diagnosis) -> str:
    """Where the time goes, what each change is worth, and the answer."""
    beyond = f"beyond {found.percentile}"
    spent = [
        [one.name, f"{one.mean_ms:.3g}", hundred(one.mean_share), f"{one.slow_ms:.4g}",
         hundred(one.slow_share)]
        for one in found.stages
    ]  # fmt: skip
    changes = [
        [one.what, "lost" if one.value_ms >= found.lost_ms else f"{one.value_ms:.4g}",
         signed(one.gain), hundred(one.share), worth(one)]
        for one in found.remedies
    ]  # fmt: skip
    head = ("part", "all, ms", "all, %", f"{beyond}, ms", f"{beyond}, %")
    return table(head, spent) + table(
        ("change", f"{found.percentile}, ms", "change, ms", "gone, %", ""), changes, found.verdict
    )
