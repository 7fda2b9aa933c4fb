"""Why a retrain runs: each trigger with its bound and its figures, from files alone."""

import json

import pytest

from pipeline.retraining.triggers import ChangedInputs, all_triggers, changed_inputs
from pipeline.runtime.files import file_digest

CALM = {
    "new_rows": 0,
    "changed_rows": 0,
    "lost_rows": 0,
    "min_new_rows": 10,
    "age_days": 1.0,
    "max_age_days": 7.0,
    "drift": "none",
    "force": False,
    "not_judged": (False, "the committed results were judged"),
}
NOTHING = ChangedInputs(data=False, code=(), params=(), never=())
DATA = ChangedInputs(data=True, code=(), params=(), never=())


def fired(moved=NOTHING, **changes):
    """Return the names of the triggers that fire."""
    return [trigger.name for trigger in all_triggers(moved, **(CALM | changes)) if trigger.fired]


@pytest.mark.parametrize(
    ("moved", "changes", "expected"),
    [
        (NOTHING, {}, []),
        (DATA, {"new_rows": 9}, []),
        (DATA, {"new_rows": 10}, ["new_rows"]),
        (DATA, {"changed_rows": 10}, ["new_rows"]),
        (DATA, {"lost_rows": 10}, ["new_rows"]),
        (DATA, {"new_rows": 3, "changed_rows": 3, "lost_rows": 3}, []),
        (DATA, {"new_rows": 3, "changed_rows": 3, "lost_rows": 4}, ["new_rows"]),
        (DATA, {"new_rows": 1, "age_days": 7.0}, ["age"]),
        (DATA, {"new_rows": 1, "age_days": None}, []),
        (NOTHING, {"age_days": 99.0}, []),
        (DATA, {"drift": "report"}, ["drift"]),
        (ChangedInputs(data=False, code=("pipeline/training/losses.py",), params=(), never=()), {}, ["code"]),
        (ChangedInputs(data=False, code=(), params=("seed",), never=()), {}, ["params"]),
        (ChangedInputs(data=False, code=(), params=(), never=("evaluate",)), {}, ["never_trained"]),
        (NOTHING, {"force": True}, ["force"]),
        (NOTHING, {"not_judged": (True, "nobody judged it")}, ["not_judged"]),
    ],
)
def test_what_fires_a_trigger(moved, changes, expected):
    """Old age alone trains nothing: the same data, code and parameters give the same model."""
    assert fired(moved, **changes) == expected


def test_every_trigger_tells_its_figures():
    """Also those that did not fire."""
    said = {trigger.name: trigger.figures for trigger in all_triggers(DATA, **(CALM | {"new_rows": 3}))}
    assert said["new_rows"] == "3 new rows, 10 are enough"
    changed = all_triggers(DATA, **(CALM | {"new_rows": 3, "changed_rows": 2, "lost_rows": 1}))
    assert "3 new rows, 2 changed, 1 gone, 10 are enough" in {trigger.figures for trigger in changed}
    assert said["age"] == "1.0 days since the last retrain, 7 are allowed"


@pytest.fixture
def tree(tmp_path):
    """A project of two stages whose committed results are up to date."""
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  ingest: {cmd: x}\n  train:\n    foreach: ${candidates}\n    do: {cmd: y}\n"
    )
    (tmp_path / "params.yaml").write_text("seed: 7\ncandidates: {cnn: {family: cnn}}\n")
    for name, text in (("data/source.json", "{}"), ("pipeline/a.py", "a"), ("data/raw.tar", "r")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    def dependency(name):
        return {"path": name, "md5": file_digest(tmp_path / name)}

    stages = {
        "ingest": {
            "deps": [dependency("data/source.json")],
            "outs": [{"path": "data/raw.tar", "md5": "0"}],
        },
        "train@cnn": {
            "deps": [dependency("data/raw.tar"), dependency("pipeline/a.py")],
            "params": {"params.yaml": {"seed": 7, "candidates.cnn": {"family": "cnn"}}},
        },
    }
    (tmp_path / "dvc.lock").write_text(json.dumps({"stages": stages}))
    return tmp_path


def test_nothing_has_moved_in_a_project_that_is_up_to_date(tree):
    """Outputs are not looked at: they follow."""
    (tree / "data/raw.tar").write_text("of a later run")
    assert changed_inputs(tree) == NOTHING


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("data/source.json", '{"count": 2}', DATA),
        ("pipeline/a.py", "b", ChangedInputs(data=False, code=("pipeline/a.py",), params=(), never=())),
        (
            "params.yaml",
            "seed: 8\ncandidates: {cnn: {family: cnn}}\n",
            ChangedInputs(False, (), ("seed",), ()),
        ),
        (
            "params.yaml",
            "seed: 7\ncandidates: {cnn: {family: cnn}, rnn: {family: rnn}}\n",
            ChangedInputs(data=False, code=(), params=(), never=("train@rnn",)),
        ),
        ("dvc.lock", "{}", ChangedInputs(data=False, code=(), params=(), never=("ingest", "train@cnn"))),
    ],
)
def test_what_has_moved_is_named(tree, file, text, expected):
    """Data, code, parameters and new candidates are told apart."""
    (tree / file).write_text(text)
    assert changed_inputs(tree) == expected


def test_a_file_that_is_gone_has_moved(tree):
    """A deleted module is a change of code."""
    (tree / "pipeline/a.py").unlink()
    assert changed_inputs(tree).code == ("pipeline/a.py",)
