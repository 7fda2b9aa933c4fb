"""Which stage differs first, by which of its inputs, and by how much the models differ."""

import copy
import json
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline.commands.reproduce import comparison_words, exit_code
from pipeline.provenance.training_lock import TRAINING_LOCK
from pipeline.runtime.strict_yaml import read_yaml
from pipeline.versions.comparison import compare, first_difference, stages_in_order
from tests.helpers.rebuilt_project import origin, stages

ROOT = Path(__file__).resolve().parents[2]


def changed(*edits):
    """Return the recorded stages with other hashes: (stage, kind, index)."""
    made = copy.deepcopy(stages())
    for stage, kind, index in edits:
        made[stage][kind][index]["md5"] = "f" * 32
    return made


def test_stages_come_in_the_order_of_the_graph():
    """In this project's own dvc.lock no stage comes before one whose output it reads."""
    recorded = read_yaml(ROOT / "dvc.lock")["stages"]
    order = stages_in_order(recorded)
    assert sorted(order) == sorted(recorded)
    made = {out["path"]: name for name, stage in recorded.items() for out in stage.get("outs", [])}
    for name in order:
        for dep in recorded[name]["deps"]:
            if dep["path"] in made:
                assert order.index(made[dep["path"]]) < order.index(name)
    assert ["fetch", "train@cnn", "evaluate"] == stages_in_order(stages())


def test_equal_stages_have_no_difference_and_extra_ones_do_not_count():
    """A stage that the rebuild did not need is left out."""
    rebuilt = stages()
    del rebuilt["fetch"]
    assert first_difference(stages(), stages()) is None
    assert first_difference(stages(), rebuilt) is None


def test_the_first_stage_is_named_with_its_cause():
    """Data that changed shows at fetch, although everything after it differs too."""
    everything = changed(
        ("fetch", "outs", 0), ("train@cnn", "deps", 0), ("train@cnn", "outs", 0), ("evaluate", "outs", 0)
    )
    assert "fetch" == first_difference(stages(), everything).stage
    assert "none of its inputs" in first_difference(stages(), everything).cause()
    train = changed(("train@cnn", "deps", 0), ("train@cnn", "outs", 0))
    assert "data (data/raw/source.tar)" == first_difference(stages(), train).cause()


@pytest.mark.parametrize(
    ("index", "cause"), [(1, "code (pipeline/stages/train.py)"), (2, "environment (requirements.lock)")]
)
def test_code_and_environment_are_told_apart(index, cause):
    """Both are files that a stage reads."""
    found = first_difference(stages(), changed(("train@cnn", "deps", index), ("train@cnn", "outs", 0)))
    assert ("train@cnn", cause) == (found.stage, found.cause())


def test_the_packages_that_can_move_bits_are_environment_as_the_whole_lock_was():
    """Versions registered before depend on requirements.lock, later ones on the part of it that matters."""
    recorded, rebuilt = stages(), changed(("train@cnn", "deps", 2), ("train@cnn", "outs", 0))
    for both in (recorded, rebuilt):
        both["train@cnn"]["deps"][2]["path"] = TRAINING_LOCK.as_posix()
    assert "environment (requirements-training.lock)" == first_difference(recorded, rebuilt).cause()


def test_parameters_are_a_cause():
    """A value that differs is named by its key."""
    rebuilt = changed(("train@cnn", "outs", 0))
    rebuilt["train@cnn"]["params"]["params.yaml"]["training.epochs"] = 3
    assert "params (training.epochs)" == first_difference(stages(), rebuilt).cause()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A registered version and a rebuilt one, with the same toy model."""
    from pipeline.inference import backend

    with suppress(RuntimeError):  # another file of this worker may have started TensorFlow already
        backend.prepare_tensorflow(2, 7)
    from pipeline.evaluation.golden import GOLDEN_ANSWERS, golden_answers, write_npz
    from pipeline.inference.keras_files import save_model
    from tests.helpers.registration import feature_state, images_and_labels, model
    from tests.helpers.synthetic_project import write_json

    root = tmp_path_factory.mktemp("models")
    registered, best = root / "registered", root / "tree/models/best"
    settings = {"family": "cnn", "training": {"test_time_flip": False}, "seed": 7, "threads": 2}
    for details in (registered / "millrace", best):
        details.mkdir(parents=True)
        write_json(details / "settings.json", settings)
        write_json(details / "state.json", feature_state())
    (registered / "data").mkdir()
    save_model(model(9.0), registered / "data/model.keras")
    shutil.copyfile(registered / "data/model.keras", best / "model.keras")
    inputs = {"inputs": images_and_labels()[0][:16]}
    answers = golden_answers(best / "model.keras", best, inputs)
    write_npz(registered / "millrace/golden.npz", {**inputs, GOLDEN_ANSWERS: answers})
    return root


def answer_of(models, tmp_path, strength, rebuilt):
    """Compare after the rebuild gave a model of some strength and some stages."""
    from dataclasses import replace

    from pipeline.inference.keras_files import save_model
    from pipeline.runtime.files import file_digest
    from tests.helpers.registration import model

    shutil.copytree(models, tmp_path / "copy")
    registered, tree = tmp_path / "copy/registered", tmp_path / "copy/tree"
    save_model(model(strength), tree / "models/best/model.keras")
    (tree / "dvc.lock").write_text(yaml.safe_dump({"stages": rebuilt}))
    made = origin(tree, "c" * 40, registered)
    made = replace(made, model_sha256=file_digest(registered / "data/model.keras", "sha256"))
    answer = compare(made, tree, tolerance=1e-3)
    more = {
        "model": "digits",
        "version": 3,
        "registered_sha256": made.model_sha256,
        "seconds": 1.0,
        "worktree": None,
    }
    return answer | more


def test_equal_bytes_are_bit_identical(models, tmp_path):
    """Exit code 0, every stage counted, no numbers needed."""
    answer = answer_of(models, tmp_path, 9.0, stages())
    assert ("bit-identical", None, 3, 0) == (
        answer["answer"],
        answer["stage"],
        answer["compared"],
        exit_code(answer),
    )
    assert "All 3 stages gave the recorded outputs." in comparison_words(answer)
    assert json.dumps(answer)


def test_equal_model_after_another_stage_is_still_told(models, tmp_path):
    """A report that differs is a difference, also where the model is the same."""
    answer = answer_of(models, tmp_path, 9.0, changed(("evaluate", "outs", 0)))
    assert ("differs", "evaluate", 3) == (answer["answer"], answer["stage"]["stage"], exit_code(answer))


def test_a_small_difference_is_within_tolerance(models, tmp_path):
    """The largest difference of a weight is what was added; the stage is named all the same."""
    answer = answer_of(models, tmp_path, 9.001, changed(("train@cnn", "outs", 0)))
    assert ("equal within tolerance", 0) == (answer["answer"], exit_code(answer))
    assert answer["differences"]["weights"] == pytest.approx(0.001, abs=1e-6)
    assert 0 < answer["differences"]["predictions"] < 1e-3
    assert "From stage train@cnn on" in comparison_words(answer)


def test_a_large_difference_differs(models, tmp_path):
    """Exit code 3; 65 where the data was another."""
    answer = answer_of(models, tmp_path, 1.0, changed(("fetch", "outs", 0), ("fetch", "deps", 0)))
    assert ("differs", 65) == (answer["answer"], exit_code(answer))
    assert answer["differences"]["predictions"] > 0.1
    answer["stage"]["stage"] = "train@cnn"
    assert exit_code(answer) == 3


def test_largest_differences_know_other_shapes():
    """Arrays of other shapes are no number."""
    from pipeline.versions.comparison import _largest

    assert _largest([np.array([1.0, 2.0])], [np.array([1.0, 2.5])]) == 0.5
