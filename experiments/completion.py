"""Words for shell completion: scenarios, policies and their kinds, profiles, runs, stacks.

Each is found without importing anything heavy, since a shell asks at every press of the tab key:
names are those of files, and tables of names are read from their source.
"""

from __future__ import annotations

import ast
import contextlib
import json
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer

HERE = Path(__file__).parent
SCENARIOS = (HERE / "scenarios", HERE / "iteration" / "scenarios")
RUNS = Path("runs")
"""Where runs are kept unless --out says otherwise."""
STEPS = ".steps"
"""How the names of files of iterations end."""
RUNS_MOST = 100
"""A folder of thousands of runs must not make a shell wait."""
SUBJECTS = ("scenario", "source", "run")
"""What commands call the scenario or the run that they are about.  Where the word being typed is
the value of an option, it is still among ``ctx.args``."""


def scenarios(incomplete: str) -> list[str]:
    """Names of the shipped scenarios, and TOML files below what is typed."""
    names = [name for folder in SCENARIOS for name in sorted(p.stem for p in folder.glob("*.toml"))]
    return _beginning(incomplete, [*names, *_files(incomplete, ".toml")])


def runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """``latest``, scenarios that have runs, and folders of runs, the newest first."""
    root = Path(ctx.params.get("out") or RUNS)
    found = sorted(root.glob("*/*/manifest.json"), key=_age, reverse=True)[:RUNS_MOST]
    folders = [str(path.parent) for path in found]
    owners = dict.fromkeys(path.parent.parent.name for path in found)
    latest = ["latest"] if folders else []
    return _beginning(incomplete, [*latest, *owners, *folders])


def scenarios_and_runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """What either may be called."""
    return list(dict.fromkeys([*scenarios(incomplete), *runs(ctx, incomplete)]))


def policies(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the policies of the scenario, or run, that stands on the line."""
    given = _given(ctx)
    names = list(_policies_of(given, Path(ctx.params.get("out") or RUNS))) if given else []
    return _beginning(incomplete, names or kinds(incomplete, of_tokens=_is_for_tokens(given)))


def _given(ctx: typer.Context) -> str | None:
    """The scenario or run that stands on the line."""
    said = [word for word in ctx.args if not word.startswith("-")]
    params = [str(ctx.params[key]) for key in SUBJECTS if ctx.params.get(key)]
    return next(iter([*said, *params]), None)


def policies_and_kinds(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the scenario's policies, and every kind: a tuner takes both."""
    own = kinds(incomplete, of_tokens=_is_for_tokens(_given(ctx)))
    return list(dict.fromkeys([*policies(ctx, incomplete), *own]))


def kinds(incomplete: str, *, of_tokens: bool = False) -> list[str]:
    """Kinds of policy, as the table of :mod:`policies` has them, or of scenarios with an engine."""
    folder = _folder("policies")
    path, table = folder / "__init__.py", "POLICIES"
    if of_tokens:
        path, table = folder / "iteration" / "__init__.py", "RULES"
    return _beginning(incomplete, _keys_of_table(path, table))


def stacks(incomplete: str) -> list[str]:
    """Serving stacks; their table imports nothing."""
    from .export import STACKS

    return _beginning(incomplete, list(STACKS))


def tried_stacks(incomplete: str) -> list[str]:
    """Serving stacks whose server can be run; their table imports nothing."""
    from .stacks import STACKS

    return _beginning(incomplete, list(STACKS))


def reference_models(incomplete: str) -> list[str]:
    """Models that are built in."""
    from profiles.models.catalogue import MODELS

    return _beginning(incomplete, list(MODELS))


def profiles(incomplete: str) -> list[str]:
    """Names of the shipped profiles, and side files of others below what is typed."""
    found = sorted(path.stem for path in _folder("profiles").glob("*/*.json"))
    shipped = sorted(found, key=lambda name: name.endswith(STEPS))  # those of iterations last
    names = [name.removesuffix(STEPS) for name in shipped]
    return _beginning(incomplete, [*names, *_files(incomplete, ".json")])


def datasets(incomplete: str) -> list[str]:
    """Names of the shipped length data sets, and CSV files below what is typed."""
    shipped = sorted(path.stem for path in (_folder("sim") / "datasets").glob("*.csv"))
    return _beginning(incomplete, [*shipped, *_files(incomplete, ".csv")])


def _beginning(incomplete: str, words: list[str]) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


def _files(incomplete: str, ending: str) -> list[str]:
    """Files with an ending, and folders, in the folder that is typed so far."""
    typed = incomplete.rpartition("/")[0]
    before = f"{typed}/" if "/" in incomplete else ""
    found = []
    with contextlib.suppress(OSError):
        for path in sorted(Path(before or ".").expanduser().iterdir()):
            if path.name.endswith(ending) and path.is_file():
                found.append(f"{before}{path.name}")
            elif before and path.is_dir():
                found.append(f"{before}{path.name}/")
    return found


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # it has gone meanwhile
        return 0.0


def _folder(package: str) -> Path:
    """Where a package is, without importing it."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return HERE
    return Path(spec.origin).parent


def _keys_of_table(path: Path, name: str) -> list[str]:
    """Keys of a dictionary that a module assigns to a name."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.target.id == name
            and isinstance(node.value, ast.Dict)
        ):
            keys = [key.value for key in node.value.keys if isinstance(key, ast.Constant)]
            return [key for key in keys if isinstance(key, str)]
    return []


def _policies_of(given: str, root: Path) -> Iterator[str]:
    """Names in a scenario's file, or in the result of a run."""
    shipped = (folder / f"{given}.toml" for folder in SCENARIOS)
    for path in (*shipped, Path(given).expanduser()):
        if path.is_file():
            yield from _named(path)
            return
    for folder in _folders(given, root):
        with contextlib.suppress(OSError, ValueError):
            result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
            yield from result.get("policies", {})
            return


def _folders(given: str, root: Path) -> Iterator[Path]:
    """Where the result of a run may be: its folder, or what ``latest`` points to."""
    yield from (Path(given), root / given)
    pointer = root / "latest" if given == "latest" else root / given / "latest"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        yield pointer.parent / pointer.read_text(encoding="utf-8").strip()


def _is_for_tokens(given: str | None) -> bool:
    """Whether a scenario has an engine; what cannot be read has none."""
    if given is None:
        return False
    for path in (*(folder / f"{given}.toml" for folder in SCENARIOS), Path(given).expanduser()):
        with contextlib.suppress(OSError, ValueError):
            return "engine" in tomllib.loads(path.read_text(encoding="utf-8-sig"))
    return False


def _named(path: Path) -> Iterator[str]:
    with contextlib.suppress(OSError, ValueError):
        table: Any = tomllib.loads(path.read_text(encoding="utf-8-sig")).get("policies")
        yield from table if isinstance(table, dict) else ()
