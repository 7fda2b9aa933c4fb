"""Which stage differs first, by which of its inputs, and by how much the models differ."""

import copy
import json
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline import cli
from pipeline.commands.reproduce import comparison_words, exit_code
from pipeline.evaluation import scoring
from pipeline.provenance.training_lock import TRAINING_LOCK
from pipeline.runtime.files import file_digest
from pipeline.runtime.strict_yaml import read_yaml
from pipeline.versions import comparison
from pipeline.versions.comparison import compare, differing_metrics, first_difference, stages_in_order
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
    """A registered version and the tree of its rebuild, with the same toy model."""
    from pipeline.inference import backend

    with suppress(RuntimeError):  # another file of this worker may have started TensorFlow already
        backend.prepare_tensorflow(2, 7)
    from tests.helpers.registration import make_registration_project

    root = tmp_path_factory.mktemp("models")
    tree, registered = make_registration_project(root / "tree"), root / "registered"
    shutil.copytree(tree / "models/best", registered / "millrace")
    (registered / "data").mkdir()
    (registered / "millrace/model.keras").replace(registered / "data/model.keras")
    return root


def compared(models, tmp_path, strength, rebuilt, alter=lambda _tree: None):
    """Compare after the rebuild gave a model of some strength and some stages, and `alter` changed its files."""
    from tests.helpers.registration import model, put_best

    shutil.copytree(models, tmp_path / "copy")
    registered, tree = tmp_path / "copy/registered", tmp_path / "copy/tree"
    put_best(tree, model(strength))
    (tree / "dvc.lock").write_text(yaml.safe_dump({"stages": rebuilt}))
    alter(tree)
    digest = file_digest(registered / "data/model.keras", "sha256")
    made = replace(origin(tree, "c" * 40, registered), model_sha256=digest)
    answer = compare(made, tree, tolerance=1e-3)
    more = {"model": "digits", "version": 3, "registered_sha256": digest, "seconds": 1.0, "worktree": None}
    return answer | more


TRAINED = (("train@cnn", "outs", 0), ("evaluate", "deps", 0), ("evaluate", "outs", 0))
"""What differs where only a training gave other bytes."""


def test_equal_bytes_are_bit_identical(models, tmp_path):
    """Exit code 0, every stage counted, no numbers needed."""
    answer = compared(models, tmp_path, 9.0, stages())
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
    answer = compared(models, tmp_path, 9.0, changed(("evaluate", "outs", 0)))
    assert ("differs", "evaluate", 3) == (answer["answer"], answer["stage"]["stage"], exit_code(answer))


def test_a_training_that_ended_a_little_elsewhere_is_within_tolerance(models, tmp_path):
    """The largest difference of a weight is what was added; all test rows are compared, and the stage is named."""
    answer = compared(models, tmp_path, 9.001, changed(*TRAINED))
    assert ("equal within tolerance", 0) == (answer["answer"], exit_code(answer))
    found = answer["differences"]
    assert found["weights"] == pytest.approx(0.001, abs=1e-6)
    assert 0 < found["predictions"] < 1e-3 * found["scale"]
    assert (90, {}, None) == (found["rows"], found["metrics"], answer["unexplained"])
    assert "From stage train@cnn on" in comparison_words(answer)
    assert "90 test predictions differ by up to" in comparison_words(answer)


def other_params():
    """Return the stages after a training under another parameter."""
    made = changed(*TRAINED)
    made["train@cnn"]["params"]["params.yaml"]["training.epochs"] = 3
    return made


@pytest.mark.parametrize(
    ("rebuilt", "reason"),
    [
        (changed(*TRAINED, ("train@cnn", "deps", 0)), "train@cnn had other inputs (data/raw/source.tar)"),
        (
            changed(*TRAINED, ("train@cnn", "deps", 1)),
            "train@cnn had other inputs (pipeline/stages/train.py)",
        ),
        (changed(*TRAINED, ("train@cnn", "deps", 2)), "train@cnn had other inputs (requirements.lock)"),
        (other_params(), "train@cnn had other inputs (training.epochs)"),
        (
            changed(*TRAINED, ("fetch", "outs", 0), ("train@cnn", "deps", 0)),
            "fetch gave another result from the same inputs, and trains nothing",
        ),
        (changed(("evaluate", "outs", 0)), "evaluate gave another result from the same inputs"),
        ({**changed(*TRAINED), "train@rnn": {}}, "made without stage train@rnn"),
        ({name: stage for name, stage in stages().items() if name != "fetch"}, "stage fetch was not run"),
    ],
    ids=["data", "code", "packages", "params", "fetch", "evaluate", "more stages", "fewer stages"],
)
def test_what_training_does_not_explain_is_never_within_tolerance(models, tmp_path, rebuilt, reason):
    """The answers are near, but they are not those of the registered code, data, parameters and packages."""
    answer = compared(models, tmp_path, 9.001, rebuilt)
    assert "differs" == answer["answer"]
    assert exit_code(answer) in (3, 65)
    assert reason in answer["unexplained"]
    assert f"No tolerance holds here: {answer['unexplained']}." in comparison_words(answer)


def test_a_version_without_a_lock_is_never_within_tolerance(models, tmp_path, monkeypatch):
    """Nobody knows from what it was made, so near is not the same."""
    monkeypatch.setattr("tests.helpers.rebuilt_project.stages", dict)
    answer = compared(models, tmp_path, 9.001, {})
    assert ("differs", True) == (answer["answer"], "no dvc.lock" in answer["unexplained"])


def one_answer_is_another(tree):
    """Change what the rebuilt model says of one test row that is no golden one."""
    path = tree / "models/best/test_predictions.npy"
    answers = np.load(path)
    answers[70] = np.roll(answers[70], 1)
    np.save(path, answers)


def another_accuracy(tree):
    """Change a test metric of the rebuilt model."""
    path = tree / "models/best/card.json"
    card = json.loads(path.read_text())
    card["test"]["accuracy"]["value"] = 0.667
    path.write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("alter", "told"),
    [
        (one_answer_is_another, "90 test predictions differ by up to 0.99"),
        (another_accuracy, "Test metrics that differ, registered and rebuilt: accuracy 0.9 and 0.667."),
        (lambda tree: (tree / "models/best/test_predictions.npy").unlink(), "cannot be compared"),
        (lambda tree: shutil.rmtree(tree / "data"), "cannot be compared"),
    ],
    ids=["one row", "a metric", "no predictions", "no test rows"],
)
def test_every_test_row_and_every_metric_must_agree(models, tmp_path, alter, told):
    """Sixteen golden answers that agree are not enough; what cannot be compared is no pass."""
    answer = compared(models, tmp_path, 9.001, changed(*TRAINED), alter)
    assert ("differs", 3) == (answer["answer"], exit_code(answer))
    assert told in comparison_words(answer)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_differences_are_measured_by_the_spread_of_each_target(tmp_path, monkeypatch, unit):
    """A model that answers 0 for one of two targets is another one, however small that target's unit is."""
    registered = np.linspace(0.5, 9, 50, dtype=np.float32)[:, None] * np.float32([1e3, unit])
    rebuilt = registered * np.float32([1, 0])
    (tmp_path / "models/best").mkdir(parents=True)
    np.save(tmp_path / "models/best/test_predictions.npy", rebuilt)
    monkeypatch.setattr(scoring, "load_test_rows", lambda: None)
    monkeypatch.setattr(scoring, "score", lambda *_arguments: scoring.Answers("it", "", (), (), registered))
    found = comparison._prediction_differences(tmp_path, tmp_path)
    assert found["predictions"] == pytest.approx(9 * unit)
    assert found["scale"] == pytest.approx(8.5 * unit)


@pytest.mark.parametrize(("task", "new", "same"), [
    ("regression", 2.5001e-5, True), ("regression", 2.6e-5, False), ("classification", 0.0, True),
    ("regression", None, False),
])  # fmt: skip
def test_errors_are_compared_in_their_own_unit(task, new, same):
    """Of targets in millionths, an error that is 4 % larger; a share of rows has the unit 1."""
    old = {"task": task, "test": {"it": {"value": 2.5e-5}}}
    rebuilt = {"test": {"it": {"value": new}} if new is not None else {}}
    assert ({} if same else {"it": [2.5e-5, new]}) == differing_metrics(old, rebuilt, 1e-3)


def test_a_large_difference_differs(models, tmp_path):
    """Exit code 3; 65 where the data was another."""
    answer = compared(models, tmp_path, 1.0, changed(("fetch", "outs", 0), ("fetch", "deps", 0)))
    assert ("differs", 65) == (answer["answer"], exit_code(answer))
    assert answer["differences"]["predictions"] > 0.1
    answer["stage"]["stage"] = "train@cnn"
    assert exit_code(answer) == 3


def test_largest_differences_know_other_shapes():
    """Arrays of other shapes are no number."""
    from pipeline.versions.comparison import _largest

    assert _largest([np.array([1.0, 2.0])], [np.array([1.0, 2.5])]) == 0.5


@pytest.mark.parametrize("tolerance", ["nan", "inf", "1", "-0.1"])
def test_a_tolerance_that_passes_everything_is_refused(tolerance, capsys):
    """Exit code 64."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["reproduce", "--tolerance", tolerance])
    assert 64 == ended.value.code
    assert "Expected 0 to below 1" in capsys.readouterr().err
