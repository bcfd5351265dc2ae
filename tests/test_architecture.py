"""The packages' own imports against the picture: who may import whom."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("policies", "profiles", "sim", "experiments")

MODELS = ROOT / "profiles" / "models"
RUN_MODELS = {"torch", "safetensors", "transformers", "huggingface_hub", "onnxruntime", "onnx"}
"""What runs a model, or reads its file."""

MAY_IMPORT = {
    "policies": {"numpy", "numba"},
    "profiles": {"numpy", "scipy", "pandas"},
    "sim": {"policies", "profiles", "numpy", "scipy", "simpy", "numba", "pandas", "pyarrow"},
}
"""What each package may name, beside itself and the standard library; ``experiments`` all."""


def imported(path: Path) -> set[str]:
    """The packages that a module names, wherever in it; relative imports are its own."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_it_may(package):
    for path in sorted((ROOT / package).rglob("*.py")):
        able = MAY_IMPORT[package] | {package} | (RUN_MODELS if path.parent == MODELS else set())
        assert imported(path) <= able, path.relative_to(ROOT)


def test_nothing_imports_experiments_but_experiments():
    for package in ("policies", "profiles", "sim"):
        for path in sorted((ROOT / package).rglob("*.py")):
            assert "experiments" not in imported(path), path.relative_to(ROOT)


def test_what_runs_models_is_imported_nowhere_but_where_models_run():
    for path in sorted((ROOT / "experiments").rglob("*.py")):
        assert not RUN_MODELS & imported(path), path.relative_to(ROOT)


def test_the_check_sees_an_import_inside_a_function(tmp_path):
    module = tmp_path / "module.py"
    module.write_text("def f():\n    from experiments.cli import app\n    import torch.nn\n")
    assert imported(module) == {"experiments", "torch"}
