"""Readers of requests that were recorded: replays, logs, saved traces, live windows."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path

from fuzz_inputs import Files
from fuzz_scenarios import EVERYTHING, GREEDY, MODEL

from experiments.config import load_scenario

REPLAYED = f"""
[workload]
arrivals = {{ process = "trace", file = "t.csv" }}
{MODEL}{GREEDY}
"""

TIERS = '[[workload.tiers]]\nname = "a"\nshare = 0.5\n[[workload.tiers]]\nname = "b"\nshare = 0.5\n'

COUNTED = f"""
[workload]
requests = 100
arrivals = {{ process = "poisson", rate_per_s = 100.0 }}
lengths = {{ histogram = "h.csv" }}
{MODEL}{GREEDY}
"""

ARRIVALS = "".join(f"{0.01 * k * k:.4f},{k % 7 + 1},{'ab'[k % 2]}\n" for k in range(30))


def replay_seeds() -> list[Files]:
    header = "arrival_s,length,tier\n"
    tiered = REPLAYED.replace("[service]", f"{TIERS}[service]")
    packed = REPLAYED.replace("t.csv", "t.csv.gz").replace(
        '" }', '", rate_per_s = 50.0, columns = { length = "length" } }'
    )
    return [
        {"s.toml": REPLAYED.encode(), "t.csv": (header + ARRIVALS).encode()},
        {"s.toml": tiered.encode(), "t.csv": (header + ARRIVALS).encode()},
        {
            "s.toml": packed.encode(),
            "t.csv.gz": gzip.compress((header + ARRIVALS).encode(), mtime=0),
        },
        {"s.toml": COUNTED.encode(), "h.csv": b"tokens,count\n8,100\n16,50\n128,3\n"},
    ]


def read_replayed(folder: Path) -> None:
    scenario = load_scenario("s.toml")
    scenario.draw()


STARTED = "".join(
    f"2026-01-31 12:00:{k / 4:06.3f},{20 * k + 1},{'chat' if k % 3 else 'bulk'}\n"
    for k in range(60)
)


def init_log_seeds() -> list[Files]:
    numbers = "".join(f"{1000 + 7.5 * k},{k % 5}\n" for k in range(60))
    return [
        {"log.csv": f"timestamp,tokens,class\n{STARTED}".encode()},
        {"log.csv": f"arrival_ms,priority\n{numbers}".encode()},
        {"log.csv": b"time\n" + b"".join(b"%d\n" % (k * k) for k in range(40))},
    ]


def read_init_log(folder: Path) -> None:
    """A log may hold whatever it likes: what is written of it loads."""
    from experiments.starting.plan import planned
    from experiments.starting.text import scenario_text
    from experiments.starting.wishes import Wishes

    wishes = Wishes(model="2.0,0.35,8", log=Path("log.csv"))
    plan = planned(wishes, "mine")
    for name, text in plan.files.items():
        (folder / name).write_text(text)
    (folder / "mine.toml").write_text(scenario_text(plan))
    load_scenario("mine.toml")


def served_log(rows: int = 40) -> str:
    header = "arrival_ms,start_ms,finish_ms,batch,length,tier,server\n"
    return header + "".join(
        f"{k * 5},{b * 20 + 20},{b * 20 + 38},{b},{10 + k % 9},{'ab'[k % 2]},{b % 2}\n"
        for k, b in ((k, k // 4) for k in range(rows))
    )


def diagnose_log_seeds() -> list[Files]:
    staged = "arrival,pre_start,pre_finish,start,finish,post_start,post_finish\n" + "".join(
        f"{k},{k + 0.1},{k + 0.2},{k + 0.3:.1f},{k + 0.9:.1f},{k + 0.9:.1f},{k + 1.1:.1f}\n"
        for k in range(30)
    )
    plain = "".join(f"{k},{k + 1},{k + 2}\n" for k in range(30))
    lost = plain.replace("7,8,9\n", "7,,\n")
    return [
        {"log.csv": served_log().encode()},
        {"log.csv": staged.encode()},
        {"log.csv": f"arrival_s,start_s,finish_s\n{lost}".encode()},
    ]


def read_diagnose_log(folder: Path) -> None:
    from experiments.diagnosis.log import read_log
    from experiments.diagnosis.opened import Asked, opened

    opened(read_log("log.csv"), Asked(percentile=50.0))


@cache
def saved_traces() -> list[Files]:
    """Runs as their tables, of every kind that has columns of its own."""
    import tempfile

    from experiments.contest import entrants
    from sim.kernel import run

    found: list[Files] = []
    texts = (EVERYTHING, REPLAYED)
    with tempfile.TemporaryDirectory() as place:
        scenario_file = Path(place) / "s.toml"
        (Path(place) / "t.csv").write_text("arrival_s,length,tier\n" + ARRIVALS)
        for text, kind in zip(texts, ("parquet", "csv"), strict=True):
            scenario_file.write_text(text.replace("requests = 1000\n", "requests = 60\n"))
            scenario = load_scenario(scenario_file)
            workload, service = scenario.draw()
            entrant = entrants(scenario, [next(iter(scenario.policies))], baselines=False)[0]
            folder = run(entrant.policy, workload, service).save(Path(place) / kind, kind)
            found.append(
                {f"trace/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())}
            )
    return found


def read_saved_trace(folder: Path) -> None:
    from experiments.diagnosis.opened import Asked, opened
    from experiments.diagnosis.seen import seen_of
    from sim.trace import Trace

    opened(seen_of(Trace.load("trace")), Asked(percentile=50.0))


def live_seeds() -> list[Files]:
    """Recorded windows, their first requests."""
    live = Path(__file__).with_name("data") / "live"
    return [
        {f"w/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())}
        for folder in sorted(
            live.iterdir(), key=lambda one: sum(p.stat().st_size for p in one.iterdir())
        )[:3]
    ]


def read_live(folder: Path) -> None:
    from experiments.validation.recorded import load

    found = load("w")
    assert found.policy is not None
    found.replay_errors()
