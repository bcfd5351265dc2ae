"""A policy's methods as the compiled kernel calls them, for the conformance suite."""

from __future__ import annotations

from typing import Any

import numpy as np

from .contract import Policy, PolicyError, View

KNOWN: set[type] = set()
"""Classes that numba has seen, kept: it knows a class of tuples by its place in memory, which must
not go to the next one of the same name, as when a cell of a notebook is run again."""


class CompiledTwin:
    """Calls a policy's methods compiled; each is compiled once, for the types that it gets first.

    The types stay: a policy whose fields change their type when it is bound elsewhere fails here,
    as its cached code would in the kernel.
    """

    def __init__(self) -> None:
        self._methods: dict[str, Any] = {}

    def ask(self, name: str, policy: Policy, *arguments: Any) -> Any:
        """Call ``decide``, ``lane_of`` or ``observe``.

        Raises:
            PolicyError: it does not compile (rule 12).
        """
        import numba
        from numba.core.errors import NumbaError, UnsupportedBytecodeError

        result = numba.void if name == "observe" else numba.int64
        typeof: Any = numba.typeof
        uncounted: Any = {"_nrt": False}  # as in the kernel: a rule makes no arrays
        try:
            KNOWN.add(type(policy))
            if name not in self._methods:
                signature = result(*(typeof(value) for value in (policy, *arguments)))
                self._methods[name] = numba.njit(signature, **uncounted)(
                    getattr(type(policy), name)
                )
            return self._methods[name](policy, *arguments)
        except (NumbaError, UnsupportedBytecodeError, NotImplementedError, TypeError) as error:
            reason = " ".join(str(error).split())
            kind = type(policy).__name__
            raise PolicyError(f"rule 12: {kind} does not compile (`{name}`: {reason})") from error


def narrow(view: View) -> View:
    """The view with the column types of the compiled kernel, and a memory of its own."""
    return view._replace(
        length=view.length.astype(np.int32),
        tier=view.tier.astype(np.int8),
        next=view.next.astype(np.int32),
        memory=view.memory.copy(),
        take=np.zeros_like(view.take),
    )
