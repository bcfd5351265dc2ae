"""Opening a model by name, and a function of the user's; no torch is needed for these."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

from profiles.models import MODELS, open_runner
from profiles.runner import ModelError, OutOfMemory, Runner

MODULE = """
import numpy as np

def good(lengths):
    return [sum(lengths)] * len(lengths)

good.length_unit = "audio_ms"
good.longest = 5000

def texts(lengths): return ["yes"] * len(lengths)
def none(lengths): return None
def short(lengths): return lengths[1:]
def nan(lengths): return np.full((len(lengths), 2), np.nan)
def broken(lengths): return 1 / 0
def full(lengths): raise MemoryError
class OutOfMemoryError(RuntimeError): pass
def full_gpu(lengths): raise OutOfMemoryError("CUDA out of memory")
def unit(lengths): return lengths
unit.length_unit = "words"
number = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_model.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    sys.modules.pop("own_model", None)
    yield lambda function: open_runner(f"callable:own_model:{function}", device="cuda")
    sys.modules.pop("own_model", None)


def test_a_function_of_the_working_folder_is_a_runner(own):
    runner = own("good")
    assert isinstance(runner.serve([3, 4]).wall_ns, int)
    assert runner.serve([3, 4]).device_ns is None
    assert (runner.name, runner.length_unit, runner.longest) == (
        "callable:own_model:good",
        "audio_ms",
        5000,
    )
    assert runner.about()["device"] == "cuda"
    assert runner.peak_memory_bytes([3]) is None
    runner.close()
    checked: Runner = runner
    assert checked is runner


def test_outputs_that_are_no_numbers_are_counted(own):
    assert own("texts").serve([1, 2, 3]).wall_ns > 0
    assert own("texts").length_unit == "tokens"


WRONG = {
    "none": "must return one output per request, but returned NoneType",
    "short": "must return one output per request, but returned 1 for a batch of 2",
    "nan": "returned NaN or infinity for a batch of 2",
    "broken": "raised ZeroDivisionError: division by zero",
}


@pytest.mark.parametrize("function", WRONG)
def test_a_wrong_function_is_said_in_one_sentence(own, function):
    with pytest.raises(ModelError) as error:
        own(function).serve([5, 6])
    assert str(error.value) == f"callable:own_model:{function} {WRONG[function]}"


@pytest.mark.parametrize("function", ["full", "full_gpu"])
def test_a_function_without_memory_is_a_limit(own, function):
    with pytest.raises(OutOfMemory) as error:
        own(function).serve([5, 6])
    assert str(error.value) == (
        f"callable:own_model:{function}: a batch of 2 padded to 6 tokens does not fit into memory"
    )


@pytest.mark.parametrize("lengths", [[], [5001], [0, 1]])
def test_lengths_that_a_function_does_not_take_are_refused(own, lengths):
    with pytest.raises(ModelError) as error:
        own("good").serve(lengths)
    assert str(error.value) == (
        f"callable:own_model:good takes batches of lengths from 1 to 5000, but got {lengths}"
    )


NOT_FOUND = {
    "callable:own_model": "a function is named as callable:package.module:function, "
    "but got 'callable:own_model'",
    "callable:own_model:other": "callable:own_model:other: own_model has no function 'other'",
    "callable:own_model:number": "callable:own_model:number: own_model has no function 'number'",
    "callable:no_such_model:f": "callable:no_such_model:f: the module cannot be imported: "
    "No module named 'no_such_model'",
    "callable:own_model:unit": "callable:own_model:unit: `length_unit` must be tokens or audio_ms, "
    "but is 'words'",
    "bert-bse": "there is no model 'bert-bse'; the nearest is bert-base, and "
    "callable:MODULE:FUNCTION is one of your own",
}


@pytest.mark.parametrize("name", NOT_FOUND)
def test_a_model_that_is_not_there_is_said_in_one_sentence(own, name):
    with pytest.raises(ModelError) as error:
        open_runner(name)
    assert str(error.value) == NOT_FOUND[name]


def test_without_torch_a_sentence_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "profiles.models.serving", raising=False)
    with pytest.raises(ModelError) as error:
        open_runner("bert-tiny")
    assert str(error.value) == (
        "running a model needs torch, which is not installed: pip install 'batchwright[models]'"
    )


EXTRAS = (
    ("hf:mine", "transformers", "hf"),
    ("hf:mine", "torch", "hf"),
    ("onnx:mine.onnx", "onnxruntime", "onnx"),
    ("onnx:mine.onnx", "onnx", "onnx"),
)


@pytest.mark.parametrize(("model", "package", "extra"), EXTRAS)
def test_a_sentence_says_which_extra_a_model_of_ones_own_needs(monkeypatch, model, package, extra):
    for name in {row[1] for row in EXTRAS} - {package}:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for name in [name for name in sys.modules if name.startswith("profiles.models.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModelError) as error:
        open_runner(model)
    assert str(error.value) == (
        f"running a model needs {package}, which is not installed: "
        f"pip install 'batchwright[{extra}]'"
    )


def test_naming_the_models_imports_nothing_that_runs_them():
    names = {"torch", "transformers", "onnxruntime", "onnx"}
    code = f"import sys, profiles.models; sys.exit(bool({names} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_table_says_what_a_model_takes():
    for name, row in MODELS.items():
        assert row.unit == ("tokens" if name.startswith(("bert", "minilm")) else "audio_ms")
        assert 0 < row.shortest < row.longest
        assert row.parameters > 10**6
    assert np.all(np.diff([MODELS[f"bert-{size}"].parameters for size in SIZES]) > 0)


SIZES = ("tiny", "mini", "base", "large")
