"""Which scenarios can run live: what the calibration of one server at a time can tell of."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.config import ScenarioError
from experiments.scenario import Scenario


def check_live(scenario: Scenario, device: str) -> None:
    """Refuse what a live run on a device does not have.

    Raises:
        ScenarioError: the key, and what validate takes instead.
    """
    for problem in _problems(scenario, device):
        raise ScenarioError(f"scenario {scenario.name} {problem}")


def _problems(scenario: Scenario, device: str) -> Iterator[str]:
    service = scenario.spec.service
    if len(scenario.service_ns) > 1:
        yield "has a model for each tier; validate takes one model for all"
    for stage in ("preprocessing", "postprocessing"):
        if getattr(service, stage) is not None:
            yield f"has service.{stage}; validate runs what batches, without CPU stages around it"
    if scenario.spec.workload.sequences is not None:
        yield "has workload.sequences; validate sends requests that belong to none"
    cluster = service.cluster
    if cluster is not None and cluster.others and device != "emulated":
        yield (
            "has replicas on other devices (service.cluster.others), which --device emulated can "
            f"be and --device {device} is not"
        )
    if cluster is not None and getattr(scenario.draw()[1].grouping, "changes", False):
        yield (
            "has replicas that come and go (service.cluster); validate takes servers that are "
            "there from beginning to end"
        )
    if cluster is not None and cluster.instances_per_gpu > 1:
        yield (
            f"has service.cluster.instances_per_gpu = {cluster.instances_per_gpu}; validate "
            "calibrates each server alone, so that each needs a device of its own"
        )
