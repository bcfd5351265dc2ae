"""How many replicas an ``InferenceService`` has, and how Knative scales them.

KServe makes annotations of Knative from ``minReplicas``, ``maxReplicas``, ``scaleTarget`` and
``scaleMetric``, and hands the service's own annotations on (``ksvc_reconciler.go``).  Names and
limits are those of ``annotation_validation.go`` and of the page *Additional autoscaling
configuration* of Knative Serving; what has no annotation is set for the whole cluster in the
ConfigMap ``config-autoscaler``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from policies.autoscalers import SECOND, Knative

from .concession import Concession
from .setting import Setting

PREFIX = "autoscaling.knative.dev"

SCALED_BY = "knative"
"""The autoscaler whose numbers are Knative's."""

WINDOW_S = (6, 3600)
DELAY_S = (0, 3600)
PANIC_WINDOW = (1.0, 100.0)
PANIC_THRESHOLD = (110.0, 1000.0)
UTILIZATION = (1.0, 100.0)
"""What Knative takes: seconds, and percentages."""

USUAL_RATE, USUAL_TICK_NS = 2.0, 2 * SECOND
"""``max-scale-down-rate`` and ``tick-interval`` where nobody sets them."""


class Written(NamedTuple):
    """A number as Knative takes it."""

    key: str
    asked: float
    value: float
    unit: str = ""

    @property
    def text(self) -> str:
        """The value of the annotation."""
        return f"{self.value:g}{self.unit}"


def scaler_of(setting: Setting) -> Knative | None:
    """Knative's autoscaler with the run's numbers; None where the run had none of its kind."""
    scaler = None if setting.replicas is None else setting.replicas.scaler
    return scaler if isinstance(scaler, Knative) else None


def annotated(setting: Setting) -> dict[str, str]:
    """Annotations of a scaled service; none where its replicas are always there."""
    scaler, replicas = scaler_of(setting), setting.replicas
    if scaler is None or replicas is None:
        return {}
    found = {each.key: each.text for each in _numbers(scaler)}
    if scaler.target_concurrency % 1:
        found["target"] = f"{scaler.target_concurrency:g}"
    found["initial-scale"] = str(replicas.initial)
    return {f"{PREFIX}/{key}": value for key, value in found.items()}


def replica_lines(setting: Setting) -> list[str]:
    """Keys of ``spec.predictor``."""
    scaler = scaler_of(setting)
    if scaler is None:
        return [f"minReplicas: {setting.servers}", f"maxReplicas: {setting.servers}"]
    lines = [f"minReplicas: {scaler.min_replicas}", f"maxReplicas: {scaler.max_replicas}"]
    lines.append("scaleMetric: concurrency")
    if not scaler.target_concurrency % 1:
        lines.append(f"scaleTarget: {scaler.target_concurrency:g}")
    return lines


def scaling_given_up(setting: Setting) -> list[Concession]:
    """Numbers that Knative does not take."""
    scaler = scaler_of(setting)
    if scaler is None:
        return []
    return [
        Concession(
            f"Knative takes no {each.key} of {each.asked:g}{each.unit}",
            f"it scales with {each.key} {each.text}",
        )
        for each in _numbers(scaler)
        if abs(each.asked - each.value) > 1e-9
    ]


def scaling_notes(setting: Setting) -> Iterable[str]:
    """What is set elsewhere."""
    scaler = scaler_of(setting)
    if scaler is None:
        return
    yield "Knative has to run the service: in other modes KServe leaves its annotations alone"
    wanted = []
    if scaler.max_scale_down_rate != USUAL_RATE:
        wanted.append(f"max-scale-down-rate: {scaler.max_scale_down_rate:g}")
    if scaler.interval_ns != USUAL_TICK_NS:
        wanted.append(f"tick-interval: {scaler.interval_ns / SECOND:g}s")
    if wanted:
        yield (
            f"set {' and '.join(wanted)} in the ConfigMap config-autoscaler of Knative, for all "
            "its services"
        )


def _numbers(scaler: Knative) -> tuple[Written, ...]:
    stable_s = scaler.stable_window_ns / SECOND
    panic = 100.0 * scaler.panic_window_ns / scaler.stable_window_ns
    return (
        _seconds("window", stable_s, WINDOW_S),
        _percent("panic-window-percentage", panic, PANIC_WINDOW),
        _percent("panic-threshold-percentage", 100.0 * scaler.panic_threshold, PANIC_THRESHOLD),
        _percent("target-utilization-percentage", 100.0 * scaler.target_utilization, UTILIZATION),
        _seconds("scale-down-delay", scaler.scale_down_delay_ns / SECOND, DELAY_S),
    )


def _seconds(key: str, asked: float, limits: tuple[int, int]) -> Written:
    """Whole seconds within limits."""
    return Written(key, asked, float(min(max(round(asked), limits[0]), limits[1])), "s")


def _percent(key: str, asked: float, limits: tuple[float, float]) -> Written:
    value = round(asked, 4)
    return Written(key, value, min(max(value, limits[0]), limits[1]))
