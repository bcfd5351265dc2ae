"""Draws the figures of the theory pages anew: ``python docs/figures.py [NAME ...]``.

1. A figure is a function without arguments, its name that of the file in ``docs/theory/figures``.
2. What is drawn is computed or simulated here, with fixed seeds.  Nothing is typed in.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.compare import compare
from experiments.config import load_scenario
from experiments.distances import rule_tables
from experiments.plots_optimum import takes as takes_of
from experiments.style import BASELINE_LOOKS, INK, PALETTE, panels, styled
from policies import (
    CollectionWindow,
    Greedy,
    SealedBatches,
    SizeOrTimeout,
    TimerFromPick,
    TokenBudgetAhead,
)
from sim import kernel
from sim.lengths import Dataset
from sim.service import Service
from sim.stability import assess
from sim.theory import priority_waits
from sim.theory_batch import largest_rate, linear_service, solve_batches
from sim.theory_timeout import solve_timeout
from sim.workload import Workload

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FOLDER = Path(__file__).parent / "theory" / "figures"

LOADS = np.arange(0.02, 1.0, 0.02)


def busy() -> list[Axes]:
    """Share of time busy and mean batch under greedy, exact."""
    service = linear_service(2.0, 0.35, 32)
    solved = [solve_batches(load * largest_rate(service), service) for load in LOADS]
    left, right = panels(2)
    left.plot(LOADS, LOADS, color=INK, linestyle=(0, (2, 2)), label="if busy were load")
    left.plot(LOADS, [one.utilisation for one in solved], color=PALETTE[0], label="greedy")
    left.set_ylabel("share of time busy")
    left.legend(loc="lower right")
    left.set_title("Busy is not load")
    right.plot(LOADS, [one.mean_batch for one in solved], color=PALETTE[0])
    right.set_ylabel("mean batch, requests")
    right.set_title("Batches grow by themselves")
    for axes in (left, right):
        axes.set_xlabel("load (share of the largest possible rate)")
        axes.set_ylim(bottom=0)
    return [left, right]


def timer() -> list[Axes]:
    """Mean latency against the wait of a timer, exact."""
    service = linear_service(2.0, 0.35, 16)
    waits = np.linspace(0.0, 7.5, 16)
    (axes,) = panels(1, 6.4, 4.0)
    for place, load in enumerate((0.1, 0.3, 0.5, 0.7, 0.9)):
        rate = load * largest_rate(service)
        means = [solve_timeout(rate, service, 16, wait).mean_latency for wait in waits]
        axes.plot(waits, means, color=PALETTE[place], label=f"load {load}")
    axes.set_xlabel("wait of the timer, ms (0: greedy)")
    axes.set_ylabel("mean latency, ms")
    axes.set_ylim(bottom=0)
    axes.set_title("No wait is the best wait: one server, 2 + 0.35 k ms, batches of up to 16")
    axes.legend(loc="lower right", ncols=2)
    return [axes]


def families() -> list[Axes]:
    """Mean latency against the rate, simulated, of the timers of stacks."""
    service = linear_service(5.0, 0.5, 8)
    served = Service(np.rint(service * 1e6).astype(np.int64).reshape(1, -1, 1), np.array([1]))
    gaps = np.random.default_rng(1).exponential(1.0, 100_000)
    length = np.ones(len(gaps), dtype=np.int32)
    all_axes = panels(2)
    for axes, wait_ms, name in zip(all_axes, (10, 2), ("10 ms", "2 ms"), strict=True):
        wait_ns = wait_ms * 10**6
        for place, (label, policy) in enumerate(
            {
                "oldest": SizeOrTimeout(8, wait_ns),
                "pick": TimerFromPick(8, wait_ns),
                "window": CollectionWindow(8, wait_ns),
                "sealed": SealedBatches(8, wait_ns),
                "ahead": TokenBudgetAhead(8),
                "greedy": Greedy(8),
            }.items()
        ):
            rates, means = np.arange(20, 781, 20), []
            for rate in rates:
                workload = Workload(length, (gaps.cumsum() / rate * 1e9).astype(np.int64))
                trace = kernel.run(policy, workload, served)
                stable = assess(policy, workload, served, kernel.run).stable
                mean_ms = (trace.finish_ns - trace.arrival_ns).mean() / 1e6
                means.append(mean_ms if stable else np.nan)
            look = {"color": INK, "linestyle": (0, (2, 2))} if label == "greedy" else {}
            axes.plot(rates, means, **{"color": PALETTE[place % len(PALETTE)], **look}, label=label)
        axes.set_title(f"At most 8, at most {name}")
        axes.set_xlabel("requests/s")
        axes.set_ylim(0, 40)
    all_axes[0].set_ylabel("mean latency, ms")
    all_axes[0].legend(loc="upper left")
    return all_axes


def takes() -> list[Axes]:
    """What the optimum, snap and greedy serve on two staircases."""
    left, right = panels(2, 5.2, 3.9)
    for axes, name, title in (
        (left, "staircase_pow2", "Padded to powers of two"),
        (right, "staircase_tile8", "Computed in tiles of 8"),
    ):
        takes_of(rule_tables(load_scenario(name), 0.7), axes, title, most=36)
    return [left, right]


def padding() -> list[Axes]:
    """Capacity of random batches of clips against batch size."""
    pmf = Dataset("librispeech").pmf()
    share, batch = np.cumsum(pmf.probability), np.arange(1, 65)
    longest = [float(pmf.length @ np.diff(share**k, prepend=0.0)) / 1e3 for k in batch]
    lines = (("mixed lengths", np.array(longest)), ("like with like", pmf.mean / 1e3))
    (axes,) = panels(1, 6.4, 4.0)
    for place, (name, seconds) in enumerate(lines):
        rate = 1000.0 * batch / (30.0 + 1.1 * batch * seconds)
        axes.plot(batch, rate, color=PALETTE[place], label=name)
    axes.set_xlabel("requests in a batch")
    axes.set_ylabel("capacity, requests/s")
    axes.set_ylim(bottom=0)
    axes.set_title("Padding: speech clips, 30 ms and 1.1 ms for each second of audio")
    axes.legend(loc="center right")
    return [axes]


def tiers() -> list[Axes]:
    """Cobham's waits of two tiers against the share of urgent requests, at load 0.8."""
    shares = np.linspace(0.01, 0.99, 99)
    means, squares = np.ones(2), np.full(2, 2.0)
    waits = np.array([
        priority_waits([0.8 * share, 0.8 * (1.0 - share)], means, squares) for share in shares
    ])  # fmt: skip
    (axes,) = panels(1, 6.4, 4.0)
    for place, name in enumerate(("urgent", "patient")):
        axes.plot(100 * shares, waits[:, place], color=PALETTE[place], label=name)
    axes.axhline(4.0, color=INK, linestyle=(0, (2, 2)), linewidth=1.0, label="without priority")
    axes.set_xlabel("urgent requests, % of all")
    axes.set_ylabel("mean wait, service times")
    axes.set_ylim(0, 24)
    axes.set_title("Who is urgent waits for the urgent: M/M/1 at load 0.8")
    axes.legend(loc="upper left")
    return [axes]


def servers() -> list[Axes]:
    """The p99 of greedy and of a balanced cap against the number of servers, simulated."""
    counts, found = (1, 2, 3, 4, 6, 8), {"greedy": [], "balanced_cap": []}
    for count in counts:
        settings = [f"service.servers={count}", "workload.requests=400000"]
        run = compare(load_scenario("four_servers", settings), load_curve=False)
        for name, row in found.items():
            row.append(run.outcome(name).estimate("latency_ms.p99"))
    (axes,) = panels(1, 6.4, 4.0)
    for name, row in found.items():
        colour = BASELINE_LOOKS[name][0] if name == "greedy" else PALETTE[0]
        axes.fill_between(counts, [e.low for e in row], [e.high for e in row], color=colour,
                          alpha=0.2, linewidth=0)  # fmt: skip
        axes.plot(counts, [e.value for e in row], color=colour, marker="o", label=name)
    axes.set_xlabel("servers on one queue")
    axes.set_ylabel("p99, ms")
    axes.set_ylim(bottom=0)
    axes.set_title("Do not take it all: 2 + 0.35 k ms, load 0.7")
    axes.legend(loc="lower left")
    return [axes]


FIGURES: dict[str, Callable[[], list[Axes]]] = {
    one.__name__: one for one in (busy, timer, families, takes, padding, tiers, servers)
}


def draw(name: str, folder: Path = FOLDER) -> Path:
    """Draw one figure into a folder."""
    path = folder / f"{name}.png"
    with styled():
        drawn = FIGURES[name]()[0].get_figure(root=True)
        assert drawn is not None, "axes belong to a figure"
        drawn.savefig(path, metadata={"Software": None})
    return path


if __name__ == "__main__":
    for wanted in sys.argv[1:] or FIGURES:
        print(draw(wanted))
