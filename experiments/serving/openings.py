"""How each server opens what it serves with: ``--model NAME``."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.scenario import Scenario
from experiments.sentences import ScenarioError
from profiles.models import MODELS
from profiles.runner import Served
from sim.emulated import EmulatedOpening
from sim.timing import urgent
from sim.worker import ModelOpening, Opening, Serving

EMULATED, NULL = "emulated", "null"


@dataclass(frozen=True)
class NullOpening:
    """A model that answers at once: what is left is the server."""

    def open(self, server: int) -> Null:
        """Nothing to load."""
        return Null()


class Null:
    """Serves every batch in no time."""

    def about(self) -> Mapping[str, Any]:
        """What it is."""
        return {"model": NULL, "device_name": "none: answers at once"}

    def serve(self, lengths: Sequence[int]) -> Served:
        """Do nothing."""
        return Served(0, None)

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True)
class Steadfast:
    """A worker that leaves SIGTERM to the server, which lets it finish.

    Service managers signal every process of a service (``KillMode=control-group`` of systemd).
    """

    opening: Opening

    def open(self, server: int) -> Serving:
        """Called in the worker's process."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        urgent(wanted=isinstance(self.opening, EmulatedOpening))  # as a worker sees to it itself
        return self.opening.open(server)


def opening_of(
    scenario: Scenario, model: str, device: str, precision: str, mode: str, threads: int
) -> Opening:
    """What a server opens.

    Args:
        scenario: says how many servers there are, and what an emulation takes.
        model: ``emulated``, ``null``, or as :func:`profiles.models.open_runner` takes it.
        device: ``cpu``, ``cuda`` or ``cuda:1``.
        precision: to what the weights are cast.
        mode: ``eager``, ``graphs`` or ``compile``.
        threads: of the model, on a CPU.

    Raises:
        ScenarioError: the device does not fit the scenario, or there is no such model.
    """
    if model == EMULATED:
        return EmulatedOpening(scenario.draw()[1])
    if model == NULL:
        return NullOpening()
    if ":" not in model and model not in MODELS:
        raise ScenarioError(
            f"there is no model {model!r}: give {EMULATED} (sleeps the profile's times), {NULL} "
            "(answers at once), a reference model (batchwright profile measure --list), "
            "hf:PATH, onnx:FILE, or --callable PKG.MOD:FN"
        )
    cluster = scenario.spec.service.cluster
    if cluster is not None and (cluster.others or cluster.instances_per_gpu > 1):
        what = "others" if cluster.others else "instances_per_gpu"
        raise ScenarioError(
            f"scenario {scenario.name} has service.cluster.{what}; serve gives every server of a "
            f"real model a device of the same kind of its own, so use --model {EMULATED} or {NULL}"
        )
    several = scenario.servers > 1
    if several and device.startswith("cuda:"):
        raise ScenarioError(
            f"--device {device} is one GPU, but scenario {scenario.name} has {scenario.servers} "
            "servers; --device cuda gives each a GPU of its own"
        )
    own_gpu = several and device == "cuda"
    return ModelOpening(model, device, precision, mode, threads, each_its_own=own_gpu)


__all__ = ["EMULATED", "NULL", "NullOpening", "Steadfast", "opening_of"]
