"""What a server does, as Prometheus metrics.

1. Names, units and types are those of the field: seconds, ``_total`` for what only grows, one
   registry for each server and none for the process.
2. Latency is from the instant that a request was read to that of its answer, at the server.
3. The SLO of a tier is the edge of a bucket, so that its share is exact.
4. A request breaks its SLO when it is late, refused, given up or failed: whoever asks in vain waits
   longest.  Who leaves before an answer breaks it where it was late already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from policies.contract import NEVER, Tier
from sim.endless import Comer
from sim.service import Service
from sim.service_times import Batch

from .desk import Refusal
from .open_inference import Served

PREFIX = "batchwright_"
OUTCOMES = ("served", *(refusal.value for refusal in Refusal))
STEPS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds: Prometheus' own buckets, finer below and longer above."""
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


def edges(slo_s: float | None) -> list[float]:
    """Buckets of latencies: the usual ones, finer around an SLO, which is one of them."""
    if slo_s is None:
        return list(STEPS)
    near = [round(slo_s * share, 9) for share in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)]
    far = [step for step in STEPS if not near[0] * 0.8 <= step <= near[-1] * 1.25]
    return sorted({*near, *far})


def sizes(largest: int) -> list[float]:
    """Buckets of batch sizes: every one up to 8, then about four an octave."""
    found = [float(size) for size in range(1, min(largest, 8) + 1)]
    while found[-1] < largest:
        found.append(min(float(largest), found[-1] + 2.0 ** (int(found[-1]).bit_length() - 3)))
    return found


class Meters:
    """A :class:`~.desk.Watch` that counts."""

    def __init__(self, tiers: Sequence[Tier], service: Service, facts: Mapping[str, str]) -> None:
        """Begin at zero.

        Args:
            tiers: most urgent first.
            service: says how large batches may be, and what they should cost.
            facts: labels of ``batchwright_info``.
        """
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.tiers, self.service = tuple(tiers), service
        self._answers(service)
        self._of_batches(service)
        self._of_objectives()
        self._gauge("info", "What is served, and how.", tuple(facts)).labels(**facts).set(1)

    def arrived(self, comer: Comer) -> None:
        """A request came."""
        self._arrivals[comer.tier].inc()
        self._lengths.observe(comer.length)

    def answered(self, comer: Comer, outcome: Served | Refusal, now_ns: int) -> None:
        """It is answered."""
        tier, latency_ns = comer.tier, now_ns - comer.arrival_ns
        if isinstance(outcome, Refusal):
            self._outcomes[tier, outcome.value].inc()
            if outcome is not Refusal.gone or latency_ns > self.tiers[tier].slo_ns:
                self._violations[tier].inc()
            return
        self._outcomes[tier, "served"].inc()
        self._latency[tier].observe(latency_ns / 1e9)
        self._wait[tier].observe(outcome.waited_ns / 1e9)
        if latency_ns > self.tiers[tier].slo_ns:
            self._violations[tier].inc()

    def failed(self, tier: int) -> None:
        """A request that arrived was lost with its server."""
        self._outcomes[tier, "failed"].inc()
        self._violations[tier].inc()

    def refused(self, status: int) -> None:
        """A request of HTTP was refused before it arrived."""
        self._refused.labels(code=str(status)).inc()

    def finished(self, batch: Batch, lengths: Sequence[int], service_ns: int, now_ns: int) -> None:
        """A batch is done."""
        self._size.observe(len(lengths))
        self._service.observe(service_ns / 1e9)
        self._busy[batch.server].inc(service_ns / 1e9)
        longest = max(batch.longest, int(self.service.length_edges[0]))
        padded = longest * len(lengths)
        self._padding.observe(1.0 - sum(lengths) / padded)
        self._work["useful"].inc(sum(lengths))
        self._work["padding"].inc(padded - sum(lengths))
        self._expected.inc(batch.expected_ns / 1e9)

    def watch(self, name: str, help_text: str, read: Callable[[], float], **labels: str) -> None:
        """A gauge that is read when somebody asks."""
        gauge = self._known.get(name) or self._gauge(name, help_text, tuple(labels))
        self._known[name] = gauge
        (gauge.labels(**labels) if labels else gauge).set_function(read)

    def page(self) -> bytes:
        """What ``/metrics`` answers."""
        return generate_latest(self.registry)

    def _gauge(self, name: str, help_text: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(PREFIX + name, help_text, labels, registry=self.registry)

    def _counter(self, name: str, help_text: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(PREFIX + name, help_text, labels, registry=self.registry)

    def _histogram(self, name: str, help_text: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(PREFIX + name, help_text, buckets=buckets, registry=self.registry)

    def _answers(self, service: Service) -> None:
        names = [tier.name for tier in self.tiers]
        arrivals = self._counter("arrivals", "Requests that came.", ("tier",))
        self._arrivals = [arrivals.labels(name) for name in names]
        outcomes = self._counter("requests", "Requests that are answered.", ("tier", "outcome"))
        self._outcomes = {
            (place, outcome): outcomes.labels(name, outcome)
            for place, name in enumerate(names)
            for outcome in OUTCOMES
        }
        self._refused = self._counter(
            "http_refused", "Requests that were refused before they came, by status.", ("code",)
        )
        self._latency = self._of_tiers("request_latency_seconds", "From request to answer.")
        self._wait = self._of_tiers("queue_wait_seconds", "From request to start of its batch.")
        self._lengths = self._histogram("request_length", "Lengths of requests.", _lengths(service))

    def _of_tiers(self, name: str, help_text: str) -> list[Histogram]:
        """A histogram of seconds for each tier; all have the same buckets, as Prometheus wants."""
        wanted = sorted({edge for tier in self.tiers for edge in edges(_seconds(tier.slo_ns))})
        histogram = Histogram(
            PREFIX + name, help_text, ("tier",), buckets=wanted, registry=self.registry
        )
        return [histogram.labels(tier.name) for tier in self.tiers]

    def _of_batches(self, service: Service) -> None:
        self._size = self._histogram(
            "batch_size", "Requests of batches.", sizes(service.largest_batch)
        )
        self._service = self._histogram("batch_service_seconds", "Times of batches.", STEPS)
        self._padding = self._histogram(
            "batch_padding_ratio", "Share of padding in batches.", SHARES
        )
        work = self._counter("batch_work", "Lengths of batches, by what they are.", ("kind",))
        self._work = {kind: work.labels(kind) for kind in ("useful", "padding")}
        busy = self._counter("device_busy_seconds", "Time that servers were busy.", ("server",))
        self._busy = [busy.labels(str(server)) for server in range(service.servers)]
        self._expected = self._counter(
            "device_expected_seconds", "What the profile expected of those batches."
        )
        self._known: dict[str, Gauge] = {}

    def _of_objectives(self) -> None:
        violations = self._counter(
            "slo_violations", "Requests late, refused, given up or failed.", ("tier",)
        )
        self._violations = [violations.labels(tier.name) for tier in self.tiers]
        slo = self._gauge("slo_seconds", "The latency that a tier is to keep.", ("tier",))
        share = self._gauge("slo_objective_ratio", "The share that is to keep it.", ("tier",))
        for tier in self.tiers:
            if tier.slo_ns != NEVER:
                slo.labels(tier.name).set(tier.slo_ns / 1e9)
                share.labels(tier.name).set(tier.percentile / 100.0)


def _seconds(nanoseconds: int) -> float | None:
    return None if nanoseconds == NEVER else nanoseconds / 1e9


def _lengths(service: Service) -> list[float]:
    """Buckets of lengths: powers of two up to the longest of the profile."""
    longest = int(service.length_edges[-1])
    found = [float(2**power) for power in range(longest.bit_length()) if 2**power < longest]
    return [*found[-12:], float(longest)]


__all__ = ["CONTENT_TYPE", "Meters", "edges", "sizes"]
