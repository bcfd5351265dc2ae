"""Writes the tables of pages from what is kept: ``python docs/tables.py``.

1. A table stands between ``<!-- table: NAME -->`` and ``<!-- end of table -->``.  What is between
   them is written here, the rest of the page by hand.
2. Nothing is measured: live runs and the benchmark of the tuner are in ``docs/*.json``, profiles
   and length counts in the packages.  The tests hold the pages against it.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import profiles
from experiments.bench_tune import short_table
from experiments.loading import side_by_side as load_rows
from experiments.loading.outcome import Loaded
from experiments.stacks import STACKS
from experiments.stacks.outcome import Trial
from experiments.stacks.side_by_side import predicted_rows, won_rows
from experiments.validation import Validation
from experiments.validation.cells import Cell, Match
from experiments.wording import decimals, shown_half
from profiles.latency import Metadata, Profile
from sim.lengths import DATASETS, Dataset

DOCS = Path(__file__).parent

PAGES = ("profiles.md", "results.md", "how-to/load.md")

LIVE = {
    "BERT tiny, one CPU core": "bert-tiny-cpu",
    "MiniLM, one CPU core": "minilm-cpu",
    "wav2vec 2.0, one CPU core": "wav2vec2-cpu",
    "BERT-base on a T4, emulated": "bert-t4",
}
"""The kept live runs: what ran, and the file."""

TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def validations() -> dict[str, Validation]:
    """The kept live runs by what ran."""
    return {name: Validation.of(kept(f"validate-{stem}")) for name, stem in LIVE.items()}


def kept(stem: str) -> dict:
    """A file of ``docs``."""
    found: dict = json.loads((DOCS / f"{stem}.json").read_text(encoding="utf-8"))
    return found


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table, in whose cells no number is parted from its sign."""
    lines = [head, ["---"] * len(head), *rows]
    table = "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)
    return re.sub(r" (?=[%±]|to \d|of \d)|(?<=[±]) |(?<=\d to) |(?<=\d of) ", "\u00a0", table)


def live(statistic: str) -> str:
    """A statistic of every policy at every load, measured and predicted: a table for each model."""
    head = (
        "policy", "load", "busy, %", f"measured {statistic}, ms", "predicted", "90 % interval",
        "error, %", "with drift, %", "windows inside",
    )  # fmt: skip
    tables = []
    for name, found in validations().items():
        rows = [
            [match.policy, f"{match.load:.2g}", f"{100 * match.busy:.0f}", *cells(match, statistic)]
            for match in found.matches
        ]
        tables.append(f"**{name}**\n\n{markdown(head, rows)}")
    return "\n".join(tables)


def cells(match: Match, statistic: str) -> list[str]:
    """From what was measured to how many windows are inside."""
    cell = match.cell(statistic)
    return [
        measured(cell),
        f"{cell.predicted:.3g}",
        f"{cell.low:.3g} to {cell.high:.3g}",
        signed(cell.error),
        signed(cell.corrected_error),
        f"{cell.inside} of {len(cell.live)}",
    ]


def measured(cell: Cell) -> str:
    """The mean over the rounds, and half of their range."""
    if not cell.spread:
        return f"{cell.measured:.3g}"
    half = cell.spread * cell.measured
    places = decimals(cell.measured, half)
    return f"{cell.measured:.{places}f} ± {shown_half(half, places):.{places}f}"


def share(value: float, places: int = 0) -> str:
    """A share in per cent."""
    return f"{100 * value:.{places}f} %"


def signed(value: float | None) -> str:
    """An error in per cent."""
    return "" if value is None else f"{100 * value:+.1f}"


def live_mean() -> str:
    """The mean."""
    return live("mean")


def live_p99() -> str:
    """The p99."""
    return live("p99")


def live_runs() -> str:
    """How each live run was made, and whether its intervals hold what was measured."""
    head = (
        "model", "windows that count", "requests in a window", "calibration calls",
        "correlation of calls", "drift, sd", "figures inside their 90 %", "best policy predicted",
    )  # fmt: skip
    rows = []
    for name, found in validations().items():
        known, coverage = found.calibration, found.coverage
        assert coverage is not None, "every kept run has windows"
        requests = sorted({one.requests for one in found.readings})
        rows.append([
            name,
            f"{found.accepted} of {len(found.readings)}",
            ", ".join(f"{count:,}" for count in requests),
            f"{known['calls']:,}",
            f"{known['lag1']:.2f}",
            share(known["drift_sd"], 1),
            f"{coverage.inside} of {coverage.total} ({share(coverage.share)})",
            f"{sum(one.best_predicted for one in found.rankings)} of {len(found.rankings)}",
        ])  # fmt: skip
    return markdown(head, rows)


def verdicts() -> str:
    """What each live run says itself."""
    return (
        "\n\n".join(f"**{name}.** {found.verdict}" for name, found in validations().items()) + "\n"
    )


def tuner() -> str:
    """The tuner against known answers."""
    return short_table(kept("bench-tune")["scenarios"]) + "\n"


def published() -> list[Profile]:
    """Profiles that others measured."""
    found = [profiles.load(name) for name in profiles.names()]
    return [one for one in found if one.metadata.source_repository]


def profile_sources() -> str:
    """Where the published profiles are from."""
    head = ("source", "models", "table at commit", "licence", "profiles", "what the clock saw")
    rows = {}
    for one in published():
        about = one.metadata
        rows.setdefault((about.source_repository, about.source_path), []).append(about)
    return markdown(head, [
        [
            f"[{repository}](https://github.com/{repository})",
            ", ".join(dict.fromkeys(one.model for one in own)),
            ", ".join(dict.fromkeys(linked(one) for one in own)),
            ", ".join(dict.fromkeys(one.licence for one in own)),
            len(own),
            "; ".join(dict.fromkeys(one.timed for one in own)),
        ]
        for (repository, _), own in sorted(rows.items(), key=lambda item: -len(item[1]))
    ])  # fmt: skip


def linked(about: Metadata) -> str:
    """The commit of a source, as a link to the table that was transcribed."""
    place = f"{about.source_repository}/blob/{about.source_commit}/{about.source_path}"
    return f"[{about.source_commit[:8]}](https://github.com/{place})"


def profile_defects() -> str:
    """What is known to be wrong or missing, and of how many profiles it is said."""
    counted = Counter(defect for one in published() for defect in one.metadata.defects)
    rows = [[count, defect] for defect, count in counted.most_common()]
    return markdown(("profiles", "defect"), rows)


def profile_list() -> str:
    """Every profile: what it is of, and its grid."""
    head = ("profile", "device", "framework", "batch sizes", "lengths", "statistic", "percentiles")
    rows = []
    for name in profiles.names():
        one = profiles.load(name)
        shares = [f"p{own}" for own in sorted(one.percentiles_ns)]
        known = "every call" if one.samples is not None else ", ".join(shares) or "none"
        rows.append([
            f"`{name}`", one.metadata.device, one.metadata.framework,
            in_words(one.batch_size.tolist()), lengths_of(one), one.statistic, known,
        ])  # fmt: skip
    return markdown(head, rows)


def in_words(sizes: list[int]) -> str:
    """``1, 8, 32`` or ``1 to 128 (10 sizes)``."""
    few = ", ".join(str(size) for size in sizes)
    return few if len(sizes) <= 4 else f"{sizes[0]} to {sizes[-1]} ({len(sizes)} sizes)"


def lengths_of(one: Profile) -> str:
    """The measured lengths with their unit."""
    if one.length_unit == "audio_ms":
        return ", ".join(f"{length / 1000:g}" for length in one.length) + " s"
    return ", ".join(str(length) for length in one.length) + " tokens"


def datasets() -> str:
    """The shipped length counts."""
    rows = []
    for name in DATASETS:
        own = Dataset(name)
        pmf, unit = own.pmf(), {"tokens": "tokens", "audio_ms": "ms of audio"}[own.unit or ""]
        spans = [pmf.quantile(part) for part in (0.5, 0.95, 0.99)]
        rows.append([f"`{name}`", unit, f"{pmf.mean:,.1f}", f"{pmf.cv:.2f}",
                     *(f"{span:,}" for span in (*spans, pmf.longest))])  # fmt: skip
    head = ("name", "unit", "mean", "sd over mean", "p50", "p95", "p99", "longest")
    return markdown(head, rows)


def trials() -> dict[str, Trial]:
    """The kept trials of stacks, by the name of each."""
    names = [name for name in STACKS if (DOCS / f"try-{name}.json").is_file()]
    return {name: Trial.of(kept(f"try-{name}")) for name in names}


def stacks_predicted() -> str:
    """Real servers of stacks, measured and predicted."""
    return markdown(*predicted_rows(trials()))


def stacks_won() -> str:
    """What tuning won on them."""
    return markdown(*won_rows(trials()))


def load_tests() -> dict[str, Loaded]:
    """The kept load tests of servers that keep up, by what was served."""
    names = ("bert-t4", "two-tiers", "speech")
    return {name: Loaded.of(kept(f"load-{name}")) for name in names}


def load_predicted() -> str:
    """Load tests over HTTP, measured and predicted."""
    return markdown(*load_rows.predicted_rows(load_tests()))


def load_overload() -> str:
    """A server that gets ten times what it can do."""
    return markdown(*load_rows.refused_rows(Loaded.of(kept("load-overload"))))


def load_tools() -> str:
    """The same window from three generators."""
    return markdown(*load_rows.tool_rows(kept("load-tools")["sent_by"]))


TABLES: dict[str, Callable[[], str]] = {
    one.__name__: one
    for one in (
        live_mean, live_p99, live_runs, verdicts, tuner, profile_sources, profile_defects,
        profile_list, datasets, stacks_predicted, stacks_won,
        load_predicted, load_overload, load_tools,
    )
}  # fmt: skip


def written(page: str) -> str:
    """A page with its tables anew."""
    return TABLE.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n{found[3]}", page)


if __name__ == "__main__":
    for wanted in sys.argv[1:] or PAGES:
        path = DOCS / wanted
        path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
