"""Which iterations to measure: a grid, mixed iterations off it, and steady series for the noise.

1. The grid is every number of prefill tokens by every number of sequences by every context.  Few
   sequences stand close together: matrices of few rows are a staircase (on a CPU, three rows were
   seen to take 1.5 times as long as four).  What does not fit the budget is given up in the order
   of :func:`grids`.
2. Off the grid stand mixed iterations as a server meets them: some prompts, whole or the rest of
   one, beside sequences of all ages.  They test that four numbers are enough.
3. A steady series repeats one iteration, back to back: a small, a middle and a large one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .metadata import ProfileError
from .steps import grid_prompts
from .steps_runner import Measurable, Piece, Work, work_of

HELD_OUT = 16
STEADY_CALLS, STEADY_SHARE = 400, 0.2
"""Calls of one series at most; share of the budget for all of them."""
SAMPLES_LEAST, SAMPLES_MOST = 5, 60


@dataclass(frozen=True)
class StepWishes:
    """What a user asks for."""

    prefill: int = 256
    """The most prefill tokens of an iteration; 0: the model decodes only."""
    sequences: int = 16
    """The most that decode at once."""
    context: int = 256
    """Tokens of the oldest of them."""
    prompt_tokens: int = 128
    """The longest prompt."""
    whole_prompts: bool = False
    """Whether all prompts are that long and never cut, as Whisper's are."""
    fullest: int = 0
    """The first of :func:`grids` that is tried: whoever knows that fuller ones do not fit saves
    the time to find out."""
    budget_ns: int = 240 * 10**9
    seed: int = 0
    name: str = ""
    """Of the profile; empty: made of model, device and precision."""
    command: str = "profiles.steps_campaign.measured"

    @property
    def slots(self) -> int:
        """Sequences that the model has to hold."""
        return self.sequences + len(grid_prompts(self.prefill, self.prompt_tokens)) + 1


class Cell(NamedTuple):
    """An iteration to measure."""

    kind: str
    """``grid`` or ``holdout``."""
    pieces: tuple[Piece, ...]
    decoding: tuple[bool, ...]

    @property
    def work(self) -> Work:
        """Its four numbers."""
        return work_of(self.pieces, self.decoding)


Axes = tuple[list[int], list[int], list[int]]


def check_wishes(wishes: StepWishes, runner: Measurable) -> None:
    """Refuse what the model cannot do.

    Raises:
        ProfileError: with the option and what would be right.
    """
    for option, value, least, most in (
        ("--prefill", wishes.prefill, 1, 1 << 20),
        ("--sequences", wishes.sequences, 1, runner.slots),
        ("--context", wishes.context, 2, runner.longest - 1),
        ("--prompt-tokens", wishes.prompt_tokens, 1, runner.longest),
    ):
        if not least <= value <= most:
            raise ProfileError(
                f"{option} must be from {least} to {most} for {runner.name}, but got {value}"
            )
    if wishes.slots > runner.slots:
        raise ProfileError(
            f"{wishes.sequences} sequences and {wishes.prefill} prefill tokens of prompts of "
            f"{wishes.prompt_tokens} need {wishes.slots} slots, but {runner.name} was opened with "
            f"{runner.slots}"
        )


def grids(wishes: StepWishes) -> Iterator[tuple[Axes, str]]:
    """Axes to try, the fullest first, each with what it gives up in words."""
    prefill = [0, *_spread(wishes.prefill, 4)]
    sequences = [0, *_dense(wishes.sequences)]
    context = _spread(wishes.context, 4)
    yield (prefill, sequences, context), ""
    thinned = [0, *_spread(wishes.sequences, 4)]
    yield (prefill, thinned, context), f"sequences {_words(thinned)}"
    ends = [context[0], context[-1]]
    yield (prefill, thinned, ends), f"sequences {_words(thinned)}, contexts {_words(ends)}"
    few = (
        sorted({0, prefill[1], wishes.prefill}),
        sorted({0, 1, wishes.sequences}),
        ends,
    )
    yield (
        few,
        f"prefill tokens {_words(few[0])}, sequences {_words(few[1])}, contexts {_words(ends)}",
    )


def cells_of(axes: Axes, prompt_tokens: int) -> list[Cell]:
    """The points of a grid; without sequences one of all contexts."""
    found = []
    for prefill in axes[0]:
        for sequences in axes[1]:
            for context in axes[2] if sequences else [0]:
                if prefill or sequences:
                    prompts = grid_prompts(prefill, prompt_tokens)
                    found.append(_cell("grid", prompts, [0] * len(prompts), [context] * sequences))
    return found


def mixed_cells(wishes: StepWishes, longest: int) -> list[Cell]:
    """Iterations off the grid, drawn from the seed."""
    rng = np.random.default_rng([wishes.seed, 7])
    found: list[Cell] = []
    most = len(grid_prompts(wishes.prefill, wishes.prompt_tokens))
    while len(found) < HELD_OUT:
        count = int(rng.integers(0, min(most, 3) + 1))
        limit = max(1, min(wishes.prompt_tokens, wishes.prefill // max(1, count)))
        prompts = rng.integers(1, limit + 1, count).tolist()
        rest = rng.random(count) < 0.3  # a chunk behind others of its prompt
        if wishes.whole_prompts:
            prompts, rest = [wishes.prompt_tokens] * count, np.zeros(count, dtype=np.bool_)
        before = [
            int(rng.integers(1, max(2, min(wishes.context, longest - tokens)))) if flag else 0
            for tokens, flag in zip(prompts, rest, strict=True)
        ]
        sequences = int(rng.integers(0, wishes.sequences + 1))
        ages = np.exp(rng.uniform(0.0, np.log(wishes.context), sequences)).astype(int).tolist()
        if count or sequences:
            found.append(_cell("holdout", prompts, before, ages))
    return found


def steady_cells(axes: Axes, prompt_tokens: int) -> list[Cell]:
    """A small, a middle and a large iteration."""
    prefill, sequences, context = axes
    prompts = grid_prompts(prefill[1], prompt_tokens)
    middle = context[len(context) // 2]
    return [
        _cell("steady", [], [], [context[0]] * sequences[1]),
        _cell("steady", [], [], [middle] * sequences[-1]),
        _cell("steady", prompts, [0] * len(prompts), [middle] * sequences[len(sequences) // 2]),
    ]


def _cell(kind: str, prompts: Sequence[int], before: Sequence[int], ages: Sequence[int]) -> Cell:
    first = len(ages)
    pieces = [Piece(place, 1, context) for place, context in enumerate(ages)]
    pieces += [
        Piece(first + place, tokens, there)
        for place, (tokens, there) in enumerate(zip(prompts, before, strict=True))
    ]
    return Cell(kind, tuple(pieces), (True,) * first + (False,) * len(prompts))


def _spread(most: int, times: int) -> list[int]:
    """Up to three points, each so many times the one before, up to the most."""
    return sorted({max(1, most // times**2), max(1, most // times), most})


def _dense(most: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12, 16, ... up to the most."""
    steps = [1, *(n << k for k in range(most.bit_length()) for n in (2, 3))]
    return sorted({*(step for step in steps if step < most), most})


def _words(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
