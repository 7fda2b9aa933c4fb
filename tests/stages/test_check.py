"""The first stage refuses what cannot work, at once and fast."""

import subprocess
import sys
import time

import msgspec
import pytest

from pipeline.checks.contradictions import contradictions
from pipeline.fetching.source import Location, read_source
from pipeline.params.load import load_params
from pipeline.runtime import paths
from tests.helpers import load


def edited(project, *replacements):
    """Return the contradictions of params.yaml after some textual replacements."""
    path = project / "params.yaml"
    text = path.read_text()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)
    return contradictions(load_params(), read_source())


def test_the_shipped_parameters_pass(project_without_code):
    """params.yaml as cloned has no contradiction."""
    assert edited(project_without_code) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("val_share: 0.15", "val_share: 0.85", "val_share + split.test_share must stay below 1"),
        ("val_share: 0.15", "val_share: 0.0", "split.val_share must be above 0"),
        ("method: stratified", "method: given", "needs a source that brings a split"),
        ("filters: [32, 64]  ", "filters: [32, 64, 8, 8]", "block 4 of 4 shrinks the image of 8x8 below 1x1"),
        (
            "filters: [16, 32]  ",
            "filters: [16, 32, 3, 4]",
            "",
        ),
        ("batch_size: 32", "batch_size: 4000", "batch_size must not exceed the training set of about 1168"),
        ("weight_decay: 0.0", "weight_decay: 0.1", "would ignore it"),
        ("shift_px: 1", "shift_px: 8", "augment.shift_px must be smaller than the image of 8x8"),
        ("min_epochs: 10", "min_epochs: 90", "tune.min_epochs must not exceed its 60 epochs"),
        ("groups: [texture, edges]", "groups: []", "features.groups must name at least one group"),
        (
            "family: linear\n",
            "family: majority\n",
            "candidates must hold one of family linear",
        ),
        ("training.learning_rate:", "training.learning_rat:", "learning_rat"),
    ],
)
def test_a_contradiction_is_named(project_without_code, old, new, message):
    """Each impossible combination gives a message with the reason."""
    problems = edited(project_without_code, (old, new))
    if message:
        assert any(message in problem for problem in problems)
    else:
        assert problems == []  # a conv setting of a dense autoencoder is not used


def test_the_image_size_of_idx_files_is_known_before_they_are_read(project):
    """data/source.json says 28x28, so a stack that shrinks below 1x1 is refused by the check, not by Keras."""
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("filters: [32, 64]  ", "filters: [8, 8, 8, 8, 8]"))
    source = msgspec.structs.replace(
        read_source(), kind="idx", location=Location(path="x"), image_size=(28, 28)
    )
    problems = "\n".join(contradictions(load_params(), source))
    assert "block 5 of 5 shrinks the image of 28x28 below 1x1" in problems


def test_all_contradictions_come_together(project):
    """Three contradictions give three messages in one run, and exit code 78."""
    path = project / "params.yaml"
    text = (
        path.read_text().replace("val_share: 0.15", "val_share: 0.85").replace("shift_px: 1", "shift_px: 8")
    )
    path.write_text(text.replace("weight_decay: 0.0", "weight_decay: 0.1"))
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.stages.check"],
        capture_output=True,
        text=True,
        check=False,
        cwd=project,
    )
    assert done.returncode == 78
    for part in ("must stay below 1", "shift_px must be smaller", "would ignore it"):
        assert part in done.stderr
    assert "Traceback" not in done.stderr


def test_it_takes_less_than_two_seconds_and_no_tensorflow(project, stage_environment):
    """The check is cheap enough to run before everything."""
    code = (
        "import sys, runpy\nsys.argv = ['check']\nrunpy.run_module('pipeline.stages.check', run_name='__main__')\n"
        "print([name for name in ('tensorflow', 'mlflow', 'great_expectations', 'pandas') if name in sys.modules])"
    )
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=stage_environment,
        capture_output=True,
        text=True,
        check=True,
        cwd=project,
    )
    assert time.monotonic() - start < load.seconds(2.0)
    assert done.stdout.splitlines()[-1] == "[]"


def test_models_of_removed_candidates_are_forgotten(project):
    """A candidate that left params.yaml leaves models/tuned too, so that evaluate does not see it."""
    (project / paths.tuned_dir("old")).mkdir(parents=True)
    (project / paths.tuned_dir("cnn")).mkdir(parents=True)
    subprocess.run(
        [sys.executable, "-m", "pipeline.stages.check"], check=True, cwd=project, capture_output=True
    )
    assert not (project / paths.tuned_dir("old")).exists()
    assert (project / paths.tuned_dir("cnn")).exists()


def test_contradictions_show_beside_unusable_values(project):
    """A misspelt key, a wrong word and a contradiction elsewhere come in one run."""
    path = project / "params.yaml"
    text = (
        path.read_text()
        .replace("val_share: 0.15", "val_share: 0.85")
        .replace("optimizer: adam ", "optimizer: adamm ")
    )
    path.write_text(text.replace("min_samples_per_class", "min_sample_per_class"))
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.stages.check"],
        capture_output=True,
        text=True,
        check=False,
        cwd=project,
    )
    assert done.returncode == 78
    for part in (
        "must stay below 1",
        "training.optimizer is not usable",
        "Did you mean validate.min_samples_per_class?",
    ):
        assert part in done.stderr
    assert "batch_size" not in done.stderr  # no advice that would not help


def test_own_data_needs_a_model_name_of_its_own(project):
    """Photographs are not registered as versions of `digits`."""
    source = msgspec.structs.replace(read_source(), kind="image_folder", location=Location(path="x"))
    assert any("register.model_name=digits" in problem for problem in contradictions(load_params(), source))
