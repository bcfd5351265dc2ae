"""A model that does not exist: its times are drawn, its clock is virtual, nothing sleeps."""

from __future__ import annotations

import numpy as np

from profiles.runner import ModelError, OutOfMemory, Served


class VirtualClock:
    """Time that only calls and sleeps move."""

    def __init__(self):
        self.now = 1_000

    def now_ns(self):
        return self.now

    def sleep_ns(self, ns):
        self.now += ns


class DrawnRunner:
    """``base + per_unit * size * length``, times a lognormal factor with AR(1) noise."""

    name = "drawn"
    length_unit = "tokens"
    longest = 512

    def __init__(self, clock, *, base_ns=1_000_000, per_unit_ns=10_000, sigma=0.0, phi=0.0, seed=1,
                 first_ns=0, memory=None, bend=1.0):  # fmt: skip
        self.clock, self.base_ns, self.per_unit_ns = clock, base_ns, per_unit_ns
        self.sigma, self.phi, self.first_ns, self.memory = sigma, phi, first_ns, memory
        self.bend = bend
        self.rng, self.score = np.random.default_rng(seed), 0.0
        self.served, self.seen, self.before, self.closed = [], set(), {}, False

    def true_ns(self, size, length):
        return self.base_ns + self.per_unit_ns * size * length**self.bend

    def about(self):
        return {
            "model": "drawn", "parameters": 0, "device": "cpu", "device_name": "no device",
            "driver": "none", "precision": "fp32", "mode": "eager", "framework": "numpy 2",
            "versions": "numpy 2", "threads": 1,
        }  # fmt: skip

    def serve(self, lengths):
        size, length = len(lengths), max(lengths)
        for then, what in self.before.items():
            if len(self.served) == then:
                self.before = {}
                raise what
        if self.memory is not None and size * length > self.memory:
            raise OutOfMemory("no room")
        self.score = self.phi * self.score + np.sqrt(1 - self.phi**2) * self.rng.standard_normal()
        wall = self.true_ns(size, length) * np.exp(self.sigma * self.score)
        wall += self.first_ns if (size, length) not in self.seen else 0
        self.seen.add((size, length))
        self.served.append((size, length))
        self.clock.now += round(wall)
        return Served(round(wall), None)

    def peak_memory_bytes(self, lengths):
        return 1_000 * len(lengths) * max(lengths)

    def close(self):
        self.closed = True


NOT_FINITE = ModelError("drawn: the output must be finite, but has NaN")
