"""A policy's methods as the compiled kernel calls them, for the conformance suite."""

from __future__ import annotations

from typing import Any

import numpy as np

from .contract import Policy, PolicyError, View

KNOWN: list[Any] = []
"""Signatures, kept with their types: numba remembers the number of a type for a kind of value even
after the type is gone, and would not know the same type again under its next number."""


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
        try:
            if name not in self._methods:
                signature = result(*(typeof(value) for value in (policy, *arguments)))
                KNOWN.append(signature)
                self._methods[name] = self._compiled(getattr(type(policy), name), signature)
            return self._call(self._methods[name], (policy, *arguments))
        except (NumbaError, UnsupportedBytecodeError, NotImplementedError, TypeError) as error:
            reason = " ".join(str(error).split())
            kind = type(policy).__name__
            raise PolicyError(f"rule 12: {kind} does not compile (`{name}`: {reason})") from error

    @staticmethod
    def _compiled(function: Any, signature: Any) -> Any:
        """A method for some types, compiled."""
        import numba

        uncounted: Any = {"_nrt": False}  # as in the kernel: a rule makes no arrays
        return numba.njit(signature, **uncounted)(function)

    @staticmethod
    def _call(method: Any, arguments: tuple[Any, ...]) -> Any:
        """Call a method; what numba does not recognise again, although it is the same, goes in."""
        import numba

        typeof: Any = numba.typeof
        try:
            return method(*arguments)
        except TypeError:
            ((types, made),) = method.overloads.items()
            if tuple(typeof(value) for value in arguments) != types:
                raise
            return made.entry_point(*arguments)


def narrow(view: View) -> View:
    """The view with the column types of the compiled kernel, and a memory of its own."""
    return view._replace(
        length=view.length.astype(np.int32),
        tier=view.tier.astype(np.int8),
        next=view.next.astype(np.int32),
        memory=view.memory.copy(),
        take=np.zeros_like(view.take),
    )
