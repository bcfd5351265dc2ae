"""Batching rules: numbers and one pure method each.

``POLICIES`` maps the ``kind`` of a scenario file to its class; the first line of a class's
docstring describes it.
"""

from __future__ import annotations

from .ageing import Ageing
from .aimd import Aimd
from .balanced_cap import BalancedCap
from .collection_window import CollectionWindow
from .cork import Cork
from .deadline_aware import DeadlineAware
from .edf import Edf
from .greedy import Greedy
from .headroom import Headroom
from .length_bucketed import LengthBucketed
from .nearest_lengths import NearestLengths
from .optimal import Optimal
from .preferred_sizes import PreferredSizes
from .priority import Priority
from .priority_fill import PriorityFill
from .queue_depth_wait import QueueDepthWait
from .rate_aware import RateAware
from .sealed_batches import SealedBatches
from .sequence_direct import SequenceDirect
from .sequence_oldest import SequenceOldest
from .shortest_first import ShortestFirst
from .size_or_timeout import SizeOrTimeout
from .snap import Snap
from .static import Static
from .timer_from_pick import TimerFromPick
from .token_budget import TokenBudget
from .token_budget_ahead import TokenBudgetAhead
from .weighted_fair import WeightedFair

POLICIES: dict[str, type] = {
    "static": Static,
    "greedy": Greedy,
    "size_or_timeout": SizeOrTimeout,
    "preferred_sizes": PreferredSizes,
    "timer_from_pick": TimerFromPick,
    "collection_window": CollectionWindow,
    "sealed_batches": SealedBatches,
    "cork": Cork,
    "queue_depth_wait": QueueDepthWait,
    "aimd": Aimd,
    "deadline_aware": DeadlineAware,
    "rate_aware": RateAware,
    "length_bucketed": LengthBucketed,
    "nearest_lengths": NearestLengths,
    "token_budget": TokenBudget,
    "token_budget_ahead": TokenBudgetAhead,
    "snap": Snap,
    "balanced_cap": BalancedCap,
    "optimal": Optimal,
    "priority": Priority,
    "priority_fill": PriorityFill,
    "headroom": Headroom,
    "weighted_fair": WeightedFair,
    "ageing": Ageing,
    "edf": Edf,
    "shortest_first": ShortestFirst,
    "sequence_direct": SequenceDirect,
    "sequence_oldest": SequenceOldest,
}

__all__ = [
    "POLICIES",
    "Ageing",
    "Aimd",
    "BalancedCap",
    "CollectionWindow",
    "Cork",
    "DeadlineAware",
    "Edf",
    "Greedy",
    "Headroom",
    "LengthBucketed",
    "NearestLengths",
    "Optimal",
    "PreferredSizes",
    "Priority",
    "PriorityFill",
    "QueueDepthWait",
    "RateAware",
    "SealedBatches",
    "SequenceDirect",
    "SequenceOldest",
    "ShortestFirst",
    "SizeOrTimeout",
    "Snap",
    "Static",
    "TimerFromPick",
    "TokenBudget",
    "TokenBudgetAhead",
    "WeightedFair",
]
