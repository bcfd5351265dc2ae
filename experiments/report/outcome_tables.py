"""Tables of what policies did: of a simulation, a comparison, or one step of something larger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.exact_waits import KEY

from .amounts import (
    COUNTS,
    PERCENTILES,
    STATISTICS,
    Facts,
    count,
    difference,
    estimate,
    share,
    statistic,
    text,
)
from .tables import Row, Table

Policies = Mapping[str, Facts]

LATENCIES = {
    "latency_ms.mean": "mean, ms",
    "latency_ms.p50": "p50, ms",
    "latency_ms.p99": "p99, ms",
}
TAILS = {key: f"{title}, ms" for key, title in PERCENTILES.items()}
FIGURES = ("slo_attainment", "utilisation", "useful_fraction", "mean_batch_size", "padding_waste")


def policies_table(policies: Policies, best: str | None, tied: Sequence[str] = ()) -> Table:
    """One row a policy, every number with its interval."""
    slo = any(statistic(one, "slo_attainment").value is not None for one in policies.values())
    figures = FIGURES if slo else FIGURES[1:]
    rows = [
        Row([name + mark(name, best, tied),
             *(text(statistic(one, s)) for s in (*LATENCIES, *figures))],
            tone(name, one, best, tied))
        for name, one in policies.items()
    ]  # fmt: skip
    heads = ["policy", *LATENCIES.values(), *(STATISTICS[s] for s in figures)]
    return Table("What each policy does", heads, rows, note=legend(policies, best, tied))


def mark(name: str, best: str | None, tied: Sequence[str]) -> str:
    """A star for the best, ``=`` for what ties with it: colour is not needed to tell them."""
    return " *" if name == best else " =" if name in tied else ""


def tone(name: str, one: Facts, best: str | None, tied: Sequence[str]) -> str | None:
    """How a policy's row is coloured."""
    if name == best:
        return "best"
    if one.get("stable") is False:
        return "bad"
    return "tied" if name in tied else None


def legend(policies: Policies, best: str | None, tied: Sequence[str]) -> str:
    """What the marks mean."""
    said = [] if best is None else ["* the best"]
    said += ["= tie with it"] if len(tied) > 1 else []
    added = [name for name, one in policies.items() if one.get("baseline")]
    return "; ".join([*said, *([f"baselines: {', '.join(added)}"] if added else [])])


def numbers_table(policies: Policies, of: str = "") -> Table:
    """Every statistic of every policy, with its interval."""
    rows = [
        Row([f"{words}, {title}", *(text(statistic(one, f"{table}.{key}"))
                                    for one in policies.values())])
        for table, words in (("latency_ms", "latency"), ("wait_ms", "wait"))
        for key, title in {"mean": "mean, ms", **TAILS}.items()
    ]  # fmt: skip
    known = [s for s in STATISTICS if any(s in one["intervals"] for one in policies.values())]
    rows += [Row([STATISTICS[s], *(text(statistic(one, s)) for one in policies.values())])
             for s in known]  # fmt: skip
    rows += [
        Row([f"requests {name}" if name != "requests" else name,
             *(count(one.get(name)) for one in policies.values())])
        for name in COUNTS
        if any(one.get(name) for one in policies.values())
    ]  # fmt: skip
    return Table(f"Every number{of}", ["statistic", *policies], rows)


def tiers_table(policies: Policies) -> Table:
    """One row a policy and tier, where there are several tiers."""
    names = list(dict.fromkeys(tier for one in policies.values() for tier in one["tiers"]))
    bound = any(
        "share_of_bound" in tier["intervals"]
        for one in policies.values()
        for tier in one["tiers"].values()
    )
    figures = ["slo_attainment", "throughput_per_s", *(["share_of_bound"] if bound else [])]
    rows = [
        Row([name, tier, *(count(group.get(n)) for n in ("served", "rejected", "expired")),
             *(text(statistic(group, s)) for s in (*LATENCIES, *figures))],
            "bad" if one.get("stable") is False else None)
        for name, one in policies.items()
        for tier, group in one["tiers"].items()
        if len(names) > 1
    ]  # fmt: skip
    heads = ["policy", "tier", "served", "rejected", "expired", *LATENCIES.values(),
             *(STATISTICS[s] for s in figures)]  # fmt: skip
    return Table("Tiers", heads, rows, left=2)


def exact_table(scenario: Facts, policies: Policies) -> Table:
    """Measured mean waits beside those of theory, where it knows them."""
    rows = []
    for name, known in (scenario.get(KEY) or {}).items():
        one = policies.get(name)
        for tier, exact in known["tiers"].items() if one else ():
            assert one is not None, "filtered above"
            group = one["tiers"].get(tier, one)
            measured = text(statistic(group, "wait_ms.mean"))
            rows.append(Row([name, tier, measured, f"{exact:.5g}", str(known["by"])]))
    heads = ["policy", "tier", "mean wait, ms", "exactly", "known from"]
    return Table("Against theory", heads, rows, left=2, words=("known from",))


def differences_table(found: Sequence[Facts], unit: str = "ms") -> Table:
    """Paired differences: a row a policy, a column a rival and measure."""
    pairs = list(dict.fromkeys((d["against"], d["measure"]) for d in found))
    known = {(d["policy"], d["against"], d["measure"]): d for d in found}
    rows = [
        Row([name, *(difference(known[name, *pair]) if (name, *pair) in known else ""
                     for pair in pairs)])
        for name in dict.fromkeys(d["policy"] for d in found)
    ]  # fmt: skip
    heads = [f"{measure_words(measure)} against {rival}" for rival, measure in pairs]
    note = "On the same arrivals, lengths and noise: less is faster." if unit == "ms" else ""
    return Table(f"Paired differences, {unit}", ["policy", *heads], rows, note=note)


def measure_words(measure: str) -> str:
    """``latency_ms.p99`` as ``p99``."""
    return measure.rpartition(".")[2].replace("_per_s", "")


def parameters_table(policies: Policies) -> Table:
    """What each policy is."""
    rows = [Row([name, str(one["parameters"].get("kind", "")), settings(one["parameters"])])
            for name, one in policies.items()]  # fmt: skip
    return Table("The policies", ["policy", "kind", "numbers"], rows, left=3)


def settings(table: Mapping[str, Any]) -> str:
    """``max_batch_size=32, max_wait_ms=5``."""
    parts = [f"{key}={value_text(value)}" for key, value in table.items() if key != "kind"]
    return ", ".join(parts) or "nothing to set"


def value_text(value: object, most: int = 8) -> str:
    """A long list is cut."""
    if isinstance(value, list):
        some = [value_text(item) for item in value[:most]]
        return f"[{', '.join([*some, '...'] if len(value) > most else some)}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def stages_table(policies: Policies) -> Table:
    """How busy CPU stages are."""
    rows = []
    for name, one in policies.items():
        for stage, found in (one.get("stages") or {}).items():
            if "workers" in found:
                waits = (text(statistic(found, f"wait_ms.{key}")) for key in ("mean", "p99"))
                rows.append(Row([
                    name, stage, str(found["workers"]), text(statistic(found, "utilisation")),
                    *waits, text(statistic(found, "service_ms.mean")),
                ]))  # fmt: skip
    heads = ["policy", "stage", "workers", "busy, %", "mean wait, ms", "p99 wait, ms",
             "mean service, ms"]  # fmt: skip
    return Table("CPU stages", heads, rows, left=2)


def parts_table(policies: Policies) -> Table:
    """Where latency is spent, of all requests and of the slowest, and of each tier."""
    spent = {
        (name, of.replace("_", " ").replace("1 percent", "1 %")): parts
        for name, one in policies.items()
        for of, parts in spent_of((one.get("stages") or {}).get("latency_parts_ms") or {})
    }
    names = list(dict.fromkeys(part for parts in spent.values() for part in parts))
    rows = [
        Row([*which, *(text(estimate(parts.get(part))) for part in names)])
        for which, parts in spent.items()
    ]
    heads = ["policy", "of", *(name.replace("_", " ") for name in names)]
    return Table("Where latency is spent, ms", heads, rows, left=2)


def spent_of(found: Facts) -> list[tuple[str, Facts]]:
    """The parts of latency by whose they are."""
    whole = [(of, parts) for of, parts in found.items() if of != "tiers"]
    tiers = found.get("tiers") or {}
    return whole + [(f"{tier}, {of}", parts) for tier in tiers for of, parts in tiers[tier].items()]


def replicas_table(policies: Policies) -> Table:
    """How the replicas of a cluster are used."""
    rows = []
    for name, one in policies.items():
        use = one.get("replicas")
        if use and len(use["utilisation"]) > 1:
            busy = use["utilisation"]
            rows.append(Row([
                name, share(min(busy)), share(max(busy)),
                text(estimate(use.get("ready"))),
                str(use["least"]), str(use["most"]), count(use["failed_batches"]),
            ]))  # fmt: skip
    heads = ["policy", "idlest, busy %", "busiest, busy %", "ready, mean", "ready, least",
             "ready, most", "batches failed"]  # fmt: skip
    return Table("Replicas", heads, rows)


def sequences_table(policies: Policies) -> Table:
    """What becomes of sequences, and of the slots that hold them."""
    rows = []
    for name, one in policies.items():
        found = one.get("sequences")
        if found:
            slots = found["slots"] > 0
            waits = ("waited", "to_slot_ms.mean") if slots else ()
            rows.append(Row([
                name, count(found["slots"]) if slots else "-",
                text(statistic(found, "slot_utilisation")) if slots else "-",
                *([text(statistic(found, key)) for key in waits] or ["-", "-"]),
                *(text(statistic(found, f"worst_ms.{key}")) for key in ("mean", "p50", "p95")),
                count(found["timed_out"]), text(statistic(found, "overtaking")),
            ]))  # fmt: skip
    heads = ["policy", "slots", "used, %", "waited for one, %", "mean wait for it, ms",
             "worst latency, mean, ms", "worst latency, p50, ms", "worst latency, p95, ms",
             "timed out", "overtaking, %"]  # fmt: skip
    note = "The worst latency is that of one sequence, over all of them."
    return Table("Sequences", heads, rows, note=note)


def warnings_of(policies: Policies) -> list[str]:
    """What a reader has to be warned of, with the policy's name."""
    return [f"{name}: {warning}" for name, one in policies.items()
            for warning in one.get("warnings") or ()]  # fmt: skip


__all__ = [
    "differences_table", "exact_table", "numbers_table", "parameters_table", "parts_table",
    "policies_table", "replicas_table", "sequences_table", "share", "stages_table", "tiers_table",
    "warnings_of",
]  # fmt: skip
