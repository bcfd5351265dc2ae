"""Run notebooks from a clean kernel, each in its own folder; as a script, write what they say.

``python tests/execute_notebooks.py notebooks/05*.ipynb`` after a change of what they show; without
names all of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbclient
import nbformat

FOLDER = Path(__file__).parent.parent / "notebooks"
SECONDS = 400
"""The longest that a cell may take, on a busy machine."""


def executed(path):
    """The notebook of a file with fresh outputs; what a cell printed is one output."""
    notebook = nbformat.read(path, 4)
    nbclient.NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3",
        resources={"metadata": {"path": str(Path(path).parent)}},
    ).execute()  # fmt: skip
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
    return notebook


def joined(outputs):
    """Outputs with the pieces of a stream put together."""
    found = []
    for output in outputs:
        same = found and output["output_type"] == "stream" and found[-1].get("name")
        if same and same == output["name"]:
            found[-1]["text"] += output["text"]
        else:
            found.append(output)
    return found


def main(paths):
    for path in paths or sorted(FOLDER.glob("*.ipynb")):
        version = nbformat.read(path, 4).metadata
        notebook = executed(path)
        notebook.metadata = version  # that of Python changes from machine to machine
        nbformat.write(notebook, path)
        print(path)


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
