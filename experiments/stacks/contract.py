"""What a stack gives so that its real server can be run, driven and predicted.

A stack is one module of this package and one row of :data:`experiments.stacks.STACKS`.  Rules:

1. ``write(folder, wish) -> Exported`` writes into ``folder`` what the server loads: the files of
   the project's own exporter (``experiments.export``), completed by whatever a user has to add
   (input and output, a model file).  The model is :mod:`experiments.stacks.slow_model`, copied next
   to them with :func:`experiments.stacks.model_files.put_model`: it takes the time that the profile
   says and logs every batch.  With ``wish.bare`` nothing but batching itself is switched on.
2. ``command(folder, python, ports) -> Command`` starts the server in the foreground, on loopback
   alone.  ``python`` is the interpreter of the stack's environment; ``ports`` are free, as many as
   ``PORTS`` says, the first for requests.
3. ``READY`` is a path that the first port answers with 200 once requests are served (it may be
   asked of another of the ports: ``READY_PORT``).
4. ``request(identity, length) -> Request`` is one inference.  The model must get both numbers: the
   log is matched to what was sent by ``identity``.  What is not answered 200 has failed.
5. ``policy(wish) -> Ruling`` is the policy of this project that *is* the stack at this setting, as
   a scenario's table, and its servers.
6. ``bare(wish) -> Bare`` is what the stack does where batching is switched on and nothing else is
   set, as a wish, and in words.
7. A stack may have ``STOPS`` (see :class:`experiments.stacks.processes.Stop`) where a signal to the
   group of its processes is not how it ends, and ``own_batches(ports) -> list[OwnBatches]`` where
   the server itself says how long batches of each size took.
8. With ``REAL_MODELS`` its model file imports ``Served`` from ``served``, which
   :func:`experiments.stacks.model_files.put_model` writes, and so may run ``wish.real``.

Batches are logged by the model, so that no stack has to be asked for them.  Instants are ns of
``CLOCK_MONOTONIC``, which all processes of a machine share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from experiments.export.contract import Exported, ExportError
from experiments.export.setting import Costs, Setting
from experiments.sentences import RunFailed

MODEL = "m"
"""What every stack calls the model."""


class StackError(ExportError):
    """What was asked of a stack is wrong, or its environment is missing: one sentence says what."""


class NotInstalled(StackError):  # noqa: N818 - an answer more than a mistake
    """A stack is nowhere; it can be installed."""


class StackFailed(RunFailed):
    """A server did not start, or died: one sentence, with the end of its own log."""


class RealModel(NamedTuple):
    """A reference model of :data:`profiles.models.MODELS`, as its profile was measured."""

    name: str
    device: str
    """``cpu``, ``cuda`` or ``cuda:1``."""
    device_name: str
    """As it calls itself."""
    precision: str
    mode: str
    threads: int
    seed: int
    """Of its weights."""
    torch: str
    """Version of PyTorch."""

    def __str__(self) -> str:
        """``bert-mini in fp32 with PyTorch 2.13.0 on AMD EPYC, 1 thread``."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        how = f"{self.precision} with PyTorch {self.torch} on {self.device_name}, {threads}"
        return f"{self.name} in {how}"


@dataclass(frozen=True, eq=False)
class Wish:
    """What the server shall do, and how long its model takes."""

    setting: Setting
    """What the exporter writes.  Its model is called :data:`MODEL`."""
    costs: Costs
    """How long batches take (int64 ns by size and length) and how long requests are."""
    nearest: bool = False
    """Whether the exporter may write the nearest that the stack can do."""
    bare: bool = False
    """Whether nothing is set but batching itself: the stack's own defaults."""
    real: RealModel | None = None
    """The model that is really run; None: one that sleeps as long as the costs say."""

    @property
    def servers(self) -> int:
        """Instances of the model."""
        return self.setting.servers

    @property
    def largest_batch(self) -> int:
        """What the policy allows; the profile's largest where it says nothing or is not set."""
        if self.bare:
            return self.setting.largest_batch
        size = getattr(self.setting.policy, "max_batch_size", 0)
        return size if isinstance(size, int) and size > 0 else self.setting.largest_batch

    def as_bare(self) -> Wish:
        """The same model on the same servers, with nothing set."""
        return replace(self, bare=True)


class Command(NamedTuple):
    """How a server is started."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    """Added to that of this process; an empty value takes a variable away."""


class Request(NamedTuple):
    """One inference over HTTP."""

    path: str
    body: bytes
    content_type: str = "application/json"
    method: str = "POST"


class Ruling(NamedTuple):
    """The policy of this project that is the stack at a setting."""

    table: Mapping[str, Any]
    """As ``[policies.NAME]`` of a scenario: kind and parameters."""
    servers: int
    notes: tuple[str, ...] = ()
    """One clause each, without a full stop: what it leaves out."""


class Bare(NamedTuple):
    """What a stack does where batching is switched on and nothing else is set."""

    wish: Wish
    words: str
    """One clause: ``batches of up to 8 that wait for nothing``."""


class OwnBatches(NamedTuple):
    """What a server itself says of its batches of one size."""

    size: int
    batches: int
    busy_ns: int
    """How long they kept an instance busy, in sum."""


class Stack(Protocol):
    """A module of this package."""

    PORTS: int
    READY: str

    def write(self, folder: Path, wish: Wish, /) -> Exported:
        """Write what the server loads."""
        ...

    def command(self, folder: Path, python: Path, ports: Sequence[int], /) -> Command:
        """How the server is started."""
        ...

    def request(self, identity: int, length: int, /) -> Request:
        """One inference."""
        ...

    def policy(self, wish: Wish, /) -> Ruling:
        """The policy that is the stack."""
        ...

    def bare(self, wish: Wish, /) -> Bare:
        """What it does where nothing is set."""
        ...
