"""Rules of continuous batching: who takes part in each iteration of a model that generates.

``RULES`` maps the ``kind`` of a scenario file to its class; the first line of a class's docstring
describes it.
"""

from __future__ import annotations

from .continuous import Continuous
from .decode_first import DecodeFirst
from .prefill_first import PrefillFirst
from .request_level import RequestLevel
from .shortest_prompt_first import ShortestPromptFirst
from .sla_tiers import SlaTiers
from .vllm_like import VllmLike

RULES: dict[str, type] = {
    "request_level": RequestLevel,
    "continuous": Continuous,
    "vllm_like": VllmLike,
    "prefill_first": PrefillFirst,
    "decode_first": DecodeFirst,
    "shortest_prompt_first": ShortestPromptFirst,
    "sla_tiers": SlaTiers,
}

__all__ = [
    "RULES",
    "Continuous",
    "DecodeFirst",
    "PrefillFirst",
    "RequestLevel",
    "ShortestPromptFirst",
    "SlaTiers",
    "VllmLike",
]
