"""Notebooks run from a clean kernel, and the outputs that are committed are those of that run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed (extra `notebook`)")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (extra `notebook`)")
pytest.importorskip("ipykernel", reason="ipykernel is not installed (extra `notebook`)")

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def said(notebook):
    """Tables and printed text of the outputs, in order."""
    texts = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error", output
            texts.append(output.get("text") or output.get("data", {}).get("text/html", ""))
    return "\n".join(texts)


def figures(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.filterwarnings("default")  # those of the client's own event loop
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_says_what_is_committed(path, tmp_path):
    committed = nbformat.read(path, 4)
    fresh = nbformat.read(path, 4)
    client = nbclient.NotebookClient(
        fresh, timeout=400, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    old, new = said(committed), said(fresh)
    assert NUMBER.sub("#", old) == NUMBER.sub("#", new)
    for before, after in zip(NUMBER.findall(old), NUMBER.findall(new), strict=True):
        assert float(after) == pytest.approx(float(before), rel=0.02, abs=0.02)
    assert figures(fresh) == figures(committed) > 0


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_a_question_and_small(path):
    notebook = nbformat.read(path, 4)
    assert notebook.cells[0].source.splitlines()[0].endswith("?")
    assert path.stat().st_size < 500_000
    assert all("def " not in cell.source for cell in notebook.cells if cell.cell_type == "code")


def test_there_is_a_notebook():
    assert [path.stem for path in NOTEBOOKS][:1] == ["01_when_does_batching_help"]
