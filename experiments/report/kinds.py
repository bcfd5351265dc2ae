"""Which runs a report can be made of: a row a command, and one function for what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from .elements import Markup
from .found import Run
from .of_capacity import taken
from .of_diagnosis import diagnosed
from .of_judgement import judged
from .of_load import loaded
from .of_policies import simulated
from .of_sweep import swept
from .of_token_capacity import taken as taken_tokens
from .of_token_diagnosis import diagnosed as diagnosed_tokens
from .of_token_sweep import swept as swept_tokens
from .of_token_tuning import tuned as tuned_tokens
from .of_token_validation import validated as validated_tokens
from .of_tokens import KIND, compared
from .of_trial import tried
from .of_tuning import tuned
from .of_validation import validated

Parts = Callable[[Run], Iterator[Markup | None]]


class Kind(NamedTuple):
    """How the result of a command is told."""

    parts: Parts
    needs: tuple[str, ...]
    """Keys without which a result is none of this command."""


KINDS = {
    "simulate": Kind(simulated, ("scenario", "verdict", "policies")),
    "compare": Kind(simulated, ("scenario", "verdict", "policies", "differences")),
    "sweep": Kind(swept, ("scenario", "verdict", "keys", "steps")),
    "tune": Kind(tuned, ("scenario", "verdict", "goal", "judged", "tried", "loads", "policies")),
    "capacity": Kind(taken, ("scenario", "verdict", "slos", "policies", "rate_max_per_s")),
    "validate": Kind(validated, ("scenario", "verdict", "windows", "cells", "matches")),
    "diagnose": Kind(diagnosed, ("verdict", "subject", "stages", "findings", "remedies")),
    "try": Kind(tried, ("scenario", "verdict", "stack", "variants", "cells", "shapes")),
    "load": Kind(loaded, ("scenario", "verdict", "target", "cells", "fates", "shapes")),
    "judge": Kind(judged, ("scenario", "verdict", "verdicts", "target_ms", "percentile")),
}
"""By command."""

OF_TOKENS = {
    "simulate": Kind(compared, ("scenario", "verdict", "policies")),
    "compare": Kind(compared, ("scenario", "verdict", "policies", "differences")),
    "sweep": Kind(swept_tokens, ("scenario", "verdict", "keys", "steps")),
    "tune": Kind(tuned_tokens, ("scenario", "verdict", "goal", "judged", "tried", "policies")),
    "capacity": Kind(taken_tokens, ("scenario", "verdict", "policies", "best")),
    "validate": Kind(validated_tokens, ("scenario", "verdict", "windows", "cells", "curves")),
    "diagnose": Kind(diagnosed_tokens, ("scenario", "verdict", "policy", "findings", "values")),
}
"""The same of models that generate."""


def kind_of(run: Run) -> Kind | None:
    """How a run is told; None where no report can be made of it."""
    return kinds_of(run).get(run.command)


def kinds_of(run: Run) -> dict[str, Kind]:
    """The commands whose runs can be told, of models like this run's."""
    return OF_TOKENS if str(run.result.get("kind", "")).startswith(KIND) else KINDS
