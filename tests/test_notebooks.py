"""Notebooks run from a clean kernel, and the outputs that are committed are those of that run."""

from __future__ import annotations

import re

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed (extra `notebook`)")
pytest.importorskip("nbclient", reason="nbclient is not installed (extra `notebook`)")
pytest.importorskip("ipykernel", reason="ipykernel is not installed (extra `notebook`)")

from execute_notebooks import FOLDER, executed, joined  # noqa: E402 - where nbclient is there

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NAMES = [
    "01_when_does_batching_help",
    "02_from_gpu_profile_to_latency_model",
    "03_which_policy_wins_and_by_how_much",
    "04_how_far_from_optimal",
    "05_does_the_simulator_tell_the_truth",
    "06_mixed_sla_on_one_cluster",
    "07_write_your_own_policy",
    "08_when_does_continuous_batching_pay",
]
OWN_POLICY = NAMES[6]
"""The one notebook that defines something: policies."""
PLACE = re.compile(r"/(?:work|home|root|tmp|usr|Users)/")
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def said(notebook):
    """Tables and printed text of the outputs, in order."""
    texts = []
    for output in outputs(notebook):
        assert output["output_type"] != "error", output
        assert output.get("name") != "stderr", output["text"]
        texts.append(output.get("text") or output.get("data", {}).get("text/html", ""))
    return "\n".join(texts)


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def figures(notebook):
    return sum("image/png" in output.get("data", {}) for output in outputs(notebook))


@pytest.mark.filterwarnings("default")  # those of the client's own event loop
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_says_what_is_committed(path):
    there = sorted(FOLDER.iterdir())
    committed = nbformat.read(path, 4)
    fresh = executed(path)
    old, new = said(committed), said(fresh)
    assert NUMBER.sub("#", old) == NUMBER.sub("#", new)
    for before, after in zip(NUMBER.findall(old), NUMBER.findall(new), strict=True):
        assert float(after) == pytest.approx(float(before), rel=0.02, abs=0.02)
    assert figures(fresh) == figures(committed) > 0
    assert sorted(FOLDER.iterdir()) == there, "a notebook leaves nothing behind"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_a_question_and_small(path):
    notebook = nbformat.read(path, 4)
    assert notebook.cells[0].source.splitlines()[0].endswith("?")
    assert path.stat().st_size < 500_000
    if path.stem != OWN_POLICY:
        assert all("def " not in cell.source for cell in code(notebook))


@pytest.mark.parametrize("path", NOTEBOOKS[1:], ids=lambda path: path.stem)
def test_the_numbers_of_the_text_are_asserted_at_the_end(path):
    *_, last = code(nbformat.read(path, 4))
    assert last.source.startswith("# The numbers of the text.")
    assert last.source.count("assert ") >= 4
    assert not last.outputs


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_names_no_place_of_this_machine(path):
    assert not PLACE.search(path.read_text())


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_pieces_of_a_stream_become_one():
    pieces = [{"output_type": "stream", "name": name, "text": name[-1]} for name in ("a", "a", "b")]
    table = {"output_type": "display_data", "data": {}}
    found = joined([table, *pieces, table])
    assert [one.get("text") for one in found] == [None, "aa", "b", None]


def test_a_policy_of_ones_own_is_ten_lines():
    cells = code(nbformat.read(FOLDER / f"{OWN_POLICY}.ipynb", 4))
    (source,) = (cell.source for cell in cells if cell.source.startswith("class ShortAndLong"))
    lines = [line for line in source.splitlines() if line.strip() and '"""' not in line]
    assert len(lines) <= 10


def test_all_notebooks_are_there():
    assert [path.stem for path in NOTEBOOKS] == NAMES
