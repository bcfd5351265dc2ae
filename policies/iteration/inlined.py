"""Small functions that compiled rules and the compiled loop share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def shared(function: Function) -> Function:
    """Let compiled rules call a small function, and always inline it.

    A view is some hundred and fifty numbers: to hand it to a function that is not inlined takes
    longer than all that the function does.  Called from Python it stays plain Python.
    """
    try:
        from numba.extending import register_jitable
    except ImportError:
        return function
    only_inside = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "forceinline": True}
    inlined: Function = register_jitable(**only_inside)(function)
    return inlined
