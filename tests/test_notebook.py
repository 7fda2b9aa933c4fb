"""examples/notebook.ipynb: three lines a cell, run before it was committed, and run anew here."""

import json
import re
import shutil
from contextlib import chdir

import pytest
from PIL import Image

from docs.notebook import NOTEBOOK, executed
from tests.helpers.registration import CLASSES, images_and_labels, make_ready_project, run_register
from tests.helpers.synthetic_project import HERE

COMMITTED = json.loads((HERE / NOTEBOOK).read_text())
CODE = [cell for cell in COMMITTED["cells"] if cell["cell_type"] == "code"]


def plain(cell) -> str:
    """Return the output of a cell as text."""
    (output,) = cell["outputs"]
    return "".join(output["data"]["text/plain"])


def test_the_notebook_is_small_and_was_run():
    """Three cells of three lines, each with its output, numbered from one; nothing of the machine that ran it."""
    text = (HERE / NOTEBOOK).read_text()
    assert len(text) < 16_384
    assert [3, 3, 3] == [len(cell["source"]) for cell in CODE]
    assert [1, 2, 3] == [cell["execution_count"] for cell in CODE]
    assert {"'three': ('3',", "'eight': ('8',", "'five': ('5',"} == set(
        re.findall(r"'\w+': \('\d',", plain(CODE[1]))
    )
    assert "cnn" in plain(CODE[2])
    assert [] == re.findall(r"(?<![\w.<])/(?:home|root|tmp|work|usr|var|opt)\b|\bC:", text)


def test_it_runs_anew_on_the_champion_of_a_project(tmp_path):
    """The same cells, beside another model: its answers and its candidates stand there; other outputs are forgotten."""
    root = make_ready_project(tmp_path / "project")
    shutil.copy(HERE / "params.yaml", root / "params.yaml")
    with chdir(root):
        run_register(uncommitted="")
    (root / "examples/digits").mkdir(parents=True)
    for place, pixels in enumerate(images_and_labels()[0][:3]):
        Image.fromarray(pixels[:, :, 0]).save(root / f"examples/digits/{place}.png")
    with chdir(root / "examples"):
        done = executed(COMMITTED)
    code = [cell for cell in done["cells"] if cell["cell_type"] == "code"]
    assert ["".join(cell["source"]) for cell in CODE] == ["".join(cell["source"]) for cell in code]
    assert plain(code[0]).startswith("('cnn', {")
    assert 3 == len(re.findall(rf"\('({'|'.join(CLASSES)})', [01]\.\d+\)", plain(code[1])))
    html = "".join(code[2]["outputs"][0]["data"]["text/html"])
    for name in ("cnn", "linear", "majority"):
        assert f"<td>{name}</td>" in html


def test_a_cell_that_fails_ends_it():
    """No output of an earlier run is left in its place."""
    cell = {"cell_type": "code", "source": ["1 / 0"], "outputs": [], "metadata": {}}
    with pytest.raises(ZeroDivisionError):
        executed({"cells": [cell]})
