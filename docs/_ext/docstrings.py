"""How docstrings are read, and where the names in them lead.

1. Google's sections are read in functions and classes.  The words below an attribute are words: a
   colon in them divides nothing.
2. Fields of named tuples that say nothing are left out.
3. A name that leads to no page is shown without a link if the code knows it: as an import of the
   module that names it, or by its full name.  Any other is a mistake, and Sphinx says so.
"""

from __future__ import annotations

import ast
import inspect
from functools import cache
from importlib import import_module
from typing import Any

from docutils import nodes
from sphinx.addnodes import desc, desc_signature, pending_xref
from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

ALIAS = "Alias for field number"
WORDS_ALONE = ("attribute", "data", "property")
NAPOLEON = Config(napoleon_use_rtype=False, napoleon_use_ivar=False)


def read(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Turn Google's sections into fields, in place."""
    if what not in WORDS_ALONE:
        lines[:] = GoogleDocstring(lines, NAPOLEON, app, what, name, thing, options).lines()


def skip(
    _app: Sphinx, _what: str, _name: str, member: Any, _skips: bool, _options: Any
) -> bool | None:
    """Leave out what Python says by itself of a named tuple's fields."""
    doc = getattr(member, "__doc__", None)
    return True if isinstance(doc, str) and doc.startswith(ALIAS) else None


def plain(
    _app: Sphinx, _what: str, _name: str, _thing: Any, _options: Any, arguments: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:  # fmt: skip
    """Defaults that a factory makes are no Python in a signature."""
    return arguments and arguments.replace("<factory>", "..."), returns


def without_link(
    _app: Sphinx, _env: Any, node: pending_xref, words: nodes.Element
) -> nodes.Element | None:
    """The name as it stands where the code knows it; None (a warning) where nobody does."""
    if node.get("refdomain") != "py":
        return None
    target = node.get("reftarget", "")
    modules = {node.get("py:module"), *modules_around(node)} - {None}
    return words if exists(target) or any(is_named_in(one, target) for one in modules) else None


def modules_around(node: nodes.Node) -> set[str]:
    """The modules of what the description around a name is about: as named, and as written."""
    found: set[str] = set()
    at = node.parent
    while at is not None:
        signature = at if isinstance(at, desc_signature) else None
        if isinstance(at, desc):
            signature = at.next_node(desc_signature)
        if signature is not None and signature.get("module"):
            found |= {signature["module"], written_in(signature["module"], signature["fullname"])}
        at = at.parent
    return found


@cache
def written_in(module: str, name: str) -> str:
    """The module in which something is written that another one passes on."""
    thing: Any = import_module(module)
    for part in name.split("."):
        thing = getattr(thing, part, thing)
    return getattr(thing, "__module__", None) or module


@cache
def exists(name: str) -> bool:
    """Whether a full name can be imported."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = import_module(".".join(parts[:end]))
        except (ImportError, ValueError):
            continue
        return has(found, parts[end:])
    return has(__builtins__, parts) if isinstance(__builtins__, dict) else False


def has(thing: Any, path: list[str]) -> bool:
    """Whether attributes, or fields that are only annotated, lead on from an object."""
    for part in path:
        if part in getattr(thing, "__annotations__", {}):
            return True
        if not hasattr(thing, part):
            return False
        thing = getattr(thing, part)
    return True


def is_named_in(module: str, name: str) -> bool:
    """Whether a module defines or imports a name, be it for its types alone."""
    first, *rest = name.split(".")
    source = imported_from(module).get(first)
    if source is not None:
        return exists(".".join([source, *rest]))
    return has(import_module(module), [first, *rest])


@cache
def imported_from(module: str) -> dict[str, str]:
    """Names that a module imports anywhere, and what they are called where they come from."""
    thing = import_module(module)
    if not hasattr(thing, "__file__"):
        return {}
    package = thing.__package__ or ""
    found = {}
    for node in ast.walk(ast.parse(inspect.getsource(thing))):
        if isinstance(node, ast.Import):
            found |= {one.asname or one.name: one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            source = ".".join(filter(None, (above, node.module)))
            found |= {one.asname or one.name: f"{source}.{one.name}" for one in node.names}
    return found


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx asks for this."""
    app.connect("autodoc-process-docstring", read)
    app.connect("autodoc-process-signature", plain)
    app.connect("autodoc-skip-member", skip)
    app.connect("missing-reference", without_link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
