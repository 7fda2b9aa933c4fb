"""`from millrace import Project, load_model`: three lines of a notebook, on a project with a champion."""

import subprocess
import sys
from contextlib import chdir

import numpy as np
import pytest
from PIL import Image

import millrace
from pipeline.runtime.errors import InputMissing
from tests.helpers.registration import CLASSES, images_and_labels, make_ready_project, run_register
from tests.helpers.synthetic_project import HERE

NAMES = ["cnn", "linear", "majority"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project whose model became champion."""
    root = make_ready_project(tmp_path_factory.mktemp("door") / "project")
    (root / "params.yaml").write_text((HERE / "params.yaml").read_text())
    with chdir(root):
        decision = run_register(uncommitted="")
    assert "promoted" == decision["decision"]
    return root


def test_the_champion_answers_pixels_bytes_and_paths_alike(project, tmp_path, monkeypatch):
    """By its name in the registry, from anywhere in the project; as `models/best` answers."""
    images, labels = images_and_labels()
    Image.fromarray(images[0, :, :, 0]).save(tmp_path / "one.png")
    monkeypatch.chdir(project / "models")
    model = millrace.load_model("models:/digits@champion")
    path = tmp_path / "one.png"
    answers = model.predict([images[0], path.read_bytes(), path, {"image": path}])
    assert [CLASSES[labels[0]]] * 4 == [answer["class"] for answer in answers]
    assert answers == millrace.load_model(project / "models/best").predict([images[0]]) * 4
    assert answers == millrace.Project(project).champion().predict([path]) * 4


def test_a_record_that_cannot_be_answered_has_problems_and_the_others_answers(project):
    """In order, and every problem in words."""
    images, _labels = images_and_labels()
    first, second = millrace.load_model(project / "models/best").predict(
        [images[0], np.zeros((1, 1, 1), np.uint8)]
    )
    assert "class" in first
    assert "shape" in second["problems"][0]


def test_the_leaderboard_has_a_row_per_candidate_the_chosen_one_first(project):
    """What the terminal shows, as pandas."""
    board = millrace.Project(project).leaderboard()
    assert NAMES[0] == board["candidate"][0]
    assert sorted(NAMES) == sorted(board["candidate"])
    assert [True, False, False] == board["chosen"].tolist()
    assert {"val_accuracy", "test_accuracy", "test_accuracy_low", "test_accuracy_high"} <= set(board.columns)


def test_what_is_not_there_is_told_as_on_the_command_line(project, tmp_path, monkeypatch):
    """No project, no such alias, an empty folder."""
    with pytest.raises(FileNotFoundError, match=r"No dvc.yaml"):
        millrace.Project(tmp_path)
    with pytest.raises(InputMissing, match="digits has no alias tomorrow"):
        millrace.Project(project).model("digits@tomorrow")
    with pytest.raises(InputMissing, match="no model that can answer"):
        millrace.load_model(tmp_path)


def test_answers_need_neither_tensorflow_nor_mlflow(project):
    """Of a folder, in a fresh process."""
    code = (
        "import sys, millrace, numpy\n"
        "print(millrace.load_model(sys.argv[1]).predict([numpy.zeros((4, 4, 1), numpy.uint8)])[0]['class'])\n"
        "assert not {'tensorflow', 'keras', 'mlflow', 'pandas'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(project / "models/best")]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    assert done.stdout.strip() in CLASSES


def test_the_command_does_not_look_for_modules_beside_itself(tmp_path):
    """`verify` would take the folder of programs for one that nobody pinned; a module there is not ours."""
    (tmp_path / "pandas.py").write_text("raise SystemExit('imported')")
    script = tmp_path / "millrace"
    script.write_text(
        "import sys, atexit\nfrom millrace import main\natexit.register(lambda: print(sys.path))\nsys.exit(main())\n"
    )
    done = subprocess.run(
        [sys.executable, script, "--version"], cwd=HERE, capture_output=True, text=True, check=True
    )
    assert str(tmp_path) not in done.stdout
    assert done.stdout.splitlines()[1].startswith(f"['{HERE}'")
