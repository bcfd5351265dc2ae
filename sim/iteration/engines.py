"""What runs iterations in the worker of a live run: a decoder, or an emulation that sleeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from policies.iteration.times import step_ns
from profiles.steps_runner import Piece, StepRunner, Work
from sim.timing import now_ns, sleep_until

from .orders import PRETEND, Order
from .serving import Serving


class Engine(Protocol):
    """What runs in the worker's process."""

    def about(self) -> Mapping[str, Any]:
        """What it is, as plain data."""
        ...

    def begin(self, prompts: Sequence[int]) -> None:
        """A run of requests with these prompts; what was before it is forgotten."""
        ...

    def step(self, order: Order) -> list[int]:
        """Run an iteration; the token that follows each piece."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class Opening(Protocol):
    """How to open it there; has to be picklable."""

    def open(self) -> Engine:
        """Called once in the worker's process."""
        ...


@dataclass(frozen=True)
class DecoderOpening:
    """A decoder of :data:`profiles.models.decoder_shapes.DECODERS`."""

    model: str
    slots: int
    longest: int = 0
    threads: int = 1
    seed: int = 0

    def open(self) -> Engine:
        """Load it."""
        from profiles.models import needing

        with needing("models", "torch"):
            from profiles.models.decoder_runner import DecoderRunner
        return Decoding(
            DecoderRunner(
                self.model, slots=self.slots, longest=self.longest, threads=self.threads,
                seed=self.seed,
            )
        )  # fmt: skip


class Decoding:
    """A model that generates, as the worker's engine."""

    def __init__(self, runner: StepRunner) -> None:
        self.runner = runner
        self.known = 0

    def about(self) -> Mapping[str, Any]:
        """That of the model."""
        return self.runner.about()

    def begin(self, prompts: Sequence[int]) -> None:
        """Open all sequences; their slots come when they are first computed."""
        for sequence in range(self.known):
            self.runner.drop(sequence, ended=True)
        self.known = len(prompts)
        for sequence, prompt in enumerate(prompts):
            self.runner.open(sequence, prompt)

    def step(self, order: Order) -> list[int]:
        """The pieces in one forward pass, and the padding beside them."""
        for request, ended in order.gone:
            self.runner.drop(request, ended=ended)
        if order.kind == PRETEND:
            self.runner.pretend(order.pieces)
            return []
        return self.runner.step(order.pieces, self._idle(order.padding))

    def close(self) -> None:
        """Drop the model."""
        self.runner.close()

    def _idle(self, padding: Work) -> list[Piece]:
        """Padding as pieces: prompts as long as may be, and sequences of equal age."""
        longest, left, found = self.runner.longest, padding.prefill, []
        while left > 0:
            found.append(Piece(0, min(left, longest), 0))
            left -= longest
        each = padding.context // padding.sequences if padding.sequences else 0
        return found + [Piece(0, 1, min(each, longest - 1))] * padding.sequences


@dataclass(frozen=True)
class EmulatedOpening:
    """An engine that sleeps as long as an iteration would take, noise included."""

    serving: Serving

    def open(self) -> Engine:
        """Nothing to load."""
        return Emulated(self.serving)


class Emulated:
    """The k-th iteration of a run takes the k-th factor; it says no tokens."""

    def __init__(self, serving: Serving) -> None:
        self.serving = serving

    def about(self) -> Mapping[str, Any]:
        """What it pretends to be is known to whoever made it."""
        return {"model": "emulated", "device_name": "emulated: sleeps the profile's times"}

    def begin(self, prompts: Sequence[int]) -> None:
        """Nothing is kept."""

    def step(self, order: Order) -> list[int]:
        """Sleep."""
        began_ns, noise = now_ns(), self.serving.noise
        usual = step_ns(self.serving.times, *map(float, order.work))
        sleep_until(began_ns + max(1, round(usual * float(noise[order.number % len(noise)]))))
        return [0] * len(order.pieces)

    def close(self) -> None:
        """Nothing is held."""
