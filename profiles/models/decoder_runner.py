"""A decoder as it is served: sequences with texts and slots, one iteration a call.

1. Prompts are drawn from a seed, by sequence; what follows is chosen greedily.  Random weights
   never say that a text has ended: how long it gets is the workload's.
2. A sequence keeps its text when it is put back, so that its keys and values can be computed again;
   then it goes on as if nothing had happened.
3. Opening a runner sets torch's threads and glibc's malloc for the whole process: a model belongs
   in a process of its own.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from profiles.runner import ModelError
from profiles.steps_runner import Piece

from .decoder import Rows, built
from .decoder_shapes import find_decoder
from .machine import device_name, keep_memory

POOL, STRIDE = 1 << 16, 7_919
"""Random ids that prompts are cut from, and how far apart two sequences begin: a prime."""
AUDIO_SEED = 1


class DecoderRunner:
    """A :class:`profiles.steps_runner.StepRunner` in torch on the CPU."""

    def __init__(
        self, model: str, *, slots: int, longest: int = 0, threads: int = 1, seed: int = 0
    ) -> None:
        """Make the weights and the slots.

        Args:
            model: a name of :data:`profiles.models.decoder_shapes.DECODERS`.
            slots: sequences in memory at once.
            longest: tokens of the longest sequence; 0: what the model takes.
            threads: that torch uses within an operator.
            seed: of weights and prompts.

        Raises:
            ModelError: there is no such model, or it does not take sequences so long.
        """
        shape = find_decoder(model)
        if slots < 1 or threads < 1:
            raise ModelError(f"there must be slots and threads, but got {slots} and {threads}")
        if not 0 <= longest <= shape.positions:
            raise ModelError(
                f"{model} takes sequences of up to {shape.positions} tokens, but got {longest}"
            )
        self.name, self.shape, self.slots = model, shape, slots
        self.longest, self.threads, self.seed = longest or shape.positions, threads, seed
        self.malloc = "kept" if keep_memory() else "default"
        torch.set_num_threads(threads)
        generator = torch.Generator().manual_seed(seed)
        self.pool: list[int] = torch.randint(
            0, shape.vocabulary, (POOL,), generator=generator
        ).tolist()
        self.model = built(shape, seed)
        with torch.inference_mode():
            self.memory = self.model.slots(slots + 1, self.longest, self._audio())
        self.texts: dict[int, list[int]] = {}
        self.computed: dict[int, int] = {}
        self.slot_of: dict[int, int] = {}
        self.free = list(range(slots - 1, -1, -1))

    def about(self) -> Mapping[str, Any]:
        """What runs, on what, and how."""
        return {
            "model": self.name,
            "title": self.shape.title,
            "parameters": self.shape.parameters,
            "weights": f"random, seed {self.seed}",
            "device": "cpu",
            "device_name": device_name(torch.device("cpu")),
            "precision": "fp32",
            "framework": f"torch {torch.__version__}",
            "python": platform.python_version(),
            "threads": self.threads,
            "malloc": self.malloc,
            "slots": self.slots,
            "longest": self.longest,
        }

    def open(self, sequence: int, prompt: int) -> None:
        """A sequence begins."""
        self.texts[sequence] = self._ids(sequence, prompt)

    def step(self, pieces: Sequence[Piece], idle: Sequence[Piece] = ()) -> list[int]:
        """Run one iteration; idle pieces share a slot beside those of sequences."""
        ids = [token for piece in pieces for token in self._due(piece)]
        ids += [token for piece in idle for token in self._ids(piece.sequence, piece.tokens)]
        slots = [self.slot_of[piece.sequence] for piece in pieces] + [self.slots] * len(idle)
        following = self._run(ids, self._rows([*pieces, *idle], slots))[: len(pieces)]
        for piece, token in zip(pieces, following, strict=True):
            end = piece.before + piece.tokens
            self.computed[piece.sequence] = end
            if end == len(self.texts[piece.sequence]):
                self.texts[piece.sequence].append(token)
        return following

    def drop(self, sequence: int, *, ended: bool) -> None:
        """Give its slot back."""
        self.computed.pop(sequence, None)
        if sequence in self.slot_of:
            self.free.append(self.slot_of.pop(sequence))
        if ended:
            self.texts.pop(sequence, None)

    def pretend(self, pieces: Sequence[Piece]) -> None:
        """Run one iteration whatever the slots hold."""
        ids = [t for piece in pieces for t in self._ids(piece.sequence, piece.tokens)]
        self._run(ids, self._rows(pieces, [n % self.slots for n in range(len(pieces))]))

    def close(self) -> None:
        """Drop weights and slots; the runner serves no more."""
        del self.model, self.memory

    def _run(self, ids: list[int], rows: Sequence[Rows]) -> list[int]:
        with torch.inference_mode():
            scores: Tensor = self.model(torch.tensor(ids), rows, self.memory)
            following: list[int] = scores.argmax(-1).tolist()
        return following

    def _rows(self, pieces: Sequence[Piece], slots: Sequence[int]) -> list[Rows]:
        rows, begin = [], 0
        for piece, slot in zip(pieces, slots, strict=True):
            rows.append(Rows(slot, begin, piece.tokens, piece.before))
            begin += piece.tokens
        return rows

    def _ids(self, sequence: int, count: int) -> list[int]:
        first = sequence * STRIDE % POOL
        return [self.pool[(first + place) % POOL] for place in range(count)]

    def _due(self, piece: Piece) -> list[int]:
        """The tokens of a piece, once its sequence has a slot."""
        sequence, end = piece.sequence, piece.before + piece.tokens
        if sequence not in self.texts:
            raise ModelError(f"{self.name}: sequence {sequence} was not opened")
        if piece.before == 0 and sequence not in self.slot_of:
            if not self.free:
                raise ModelError(f"{self.name} holds {self.slots} sequences, and all are taken")
            self.slot_of[sequence] = self.free.pop()
            self.computed[sequence] = 0
        text, there = self.texts[sequence], self.computed.get(sequence, 0)
        if piece.before != there or not piece.tokens or end > min(len(text), self.longest):
            raise ModelError(
                f"{self.name}: sequence {sequence} has {there} of {len(text)} known tokens in "
                f"memory, but tokens {piece.before} to {end} of at most {self.longest} were asked "
                "for"
            )
        return text[piece.before : end]

    def _audio(self) -> Tensor | None:
        """An encoder's output for each slot; None where the model has none."""
        if not self.shape.frames:
            return None
        generator = torch.Generator().manual_seed(self.seed + AUDIO_SEED)
        return torch.randn(self.slots + 1, self.shape.frames, self.shape.width, generator=generator)
