"""A reference model behind a stack's server: how it runs is what its profile says it was timed as.

Rules:

1. The profile is of that model, on this machine's device, timed with PyTorch.  Precision, mode,
   threads and the seed of the weights are the profile's, so that there is nothing else to ask.
2. The stack's environment has the PyTorch of the profile.
3. What is served is :mod:`experiments.stacks.torch_model`: every batch padded to its longest
   request, from inputs on the host to outputs on the host, as the profile was timed.
"""

from __future__ import annotations

import re
from dataclasses import replace

from experiments.scenario import Scenario
from profiles.latency import Profile
from profiles.models import MODELS, find_row
from profiles.models.machine import cpu_name, gpu_name, gpu_number
from profiles.runner import ModelError

from . import STACKS, Row
from .asking import Asked
from .contract import RealModel, StackError
from .rig import module_of

TORCH = re.compile(r"torch (?P<version>\d+\.\d+\.\d+)")
"""How a profile's framework begins."""
SEED = re.compile(r"random, seed (?P<seed>\d+)")
NUMPY = "numpy<3"
"""What :mod:`profiles` needs beside PyTorch to run a model."""
TORCH_MB = 900


def with_model(asked: Asked, row: Row, name: str) -> tuple[Asked, Row]:
    """What is tried, and the stack, with a reference model in the place of one that sleeps.

    Raises:
        StackError: the stack runs none, there is no such model, or the profile is not of it.
    """
    able = [each for each in STACKS.values() if runs_models(each)]
    if not runs_models(row):
        raise StackError(
            f"--model {name}: real models are run on {' and '.join(each.name for each in able)}; "
            f"{row.title} is tried with a model of known cost, without --model"
        )
    model = real_model(name, asked.scenario)
    wish = replace(asked.wish, real=model)
    return replace(asked, wish=wish), row_with(row, model)


def runs_models(row: Row) -> bool:
    """Whether a stack's module can put a real model behind its server."""
    return bool(getattr(module_of(row), "REAL_MODELS", False))


def row_with(row: Row, model: RealModel) -> Row:
    """The stack with what a model needs beside it.

    Raises:
        StackError: the stack was tried with another PyTorch.
    """
    torch = f"torch=={model.torch}"
    other = next((need for need in row.needs if need.startswith("torch==") and need != torch), None)
    if other is not None:
        raise StackError(
            f"--model {model.name}: its profile was measured with {torch}, and {row.title} is "
            f"tried with {other}: measure it again with that"
        )
    has = torch in row.needs
    needs = (*row.needs, NUMPY) if has else (*row.needs, torch, NUMPY)
    return row._replace(needs=needs, size_mb=row.size_mb + (0 if has else TORCH_MB))


def real_model(name: str, scenario: Scenario) -> RealModel:
    """A reference model, run as the scenario's profile was measured.

    Raises:
        StackError: there is no such model, or the profile is not of it, or of another device.
    """
    try:
        row = find_row(name)
    except ModelError as error:
        raise StackError(f"--model {name}: {error}") from error
    if row.weights != "random":
        drawn = ", ".join(each for each, known in MODELS.items() if known.weights == "random")
        raise StackError(
            f"--model {name}: its weights come from the package {row.weights}, which servers do "
            f"not have; those whose weights are drawn are {drawn}"
        )
    again = (
        f"measure it with batchwright profile measure {name}, and give it with "
        "--set service.profile=FILE"
    )
    profile = scenario.profile
    if profile is None or profile.metadata.model != name:
        has = "no profile" if profile is None else f"a profile of {profile.metadata.model}"
        raise StackError(f"--model {name}: scenario {scenario.name} has {has}; {again}")
    about = profile.metadata
    torch, seed = TORCH.match(about.framework), SEED.search(about.versions.get("weights", ""))
    if torch is None or seed is None:
        raise StackError(
            f"--model {name}: profile {profile.name} was timed with {about.framework}, which "
            f"servers do not run; {again}"
        )
    here = device_of(profile)
    if here != about.device:
        raise StackError(
            f"--model {name}: profile {profile.name} is of {about.device}, and this is {here}; "
            f"{again}"
        )
    return RealModel(
        name,
        device=about.versions.get("device", "cpu"),
        device_name=about.device,
        precision=about.precision,
        mode=about.versions.get("mode", "eager"),
        threads=int(about.versions.get("threads", "1")),
        seed=int(seed["seed"]),
        torch=torch["version"],
    )


def device_of(profile: Profile) -> str:
    """What this machine has where a profile was measured: its CPU, or the GPU of that number."""
    number = gpu_number(profile.metadata.versions.get("device", "cpu"))
    return cpu_name() if number is None else gpu_name(number)
