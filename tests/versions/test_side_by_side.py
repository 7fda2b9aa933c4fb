"""Two versions side by side: the same rows, the same arithmetic as the gate, and what they were made from."""

import json
import shutil
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics

from pipeline import cli
from pipeline.runtime.files import read_json, write_json
from pipeline.runtime.strict_yaml import read_yaml
from tests.helpers.registration import images_and_labels, make_ready_project, model, put_best, run_register
from tests.helpers.synthetic_project import HERE

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with two versions: a good one, and one that takes a for b, of another learning rate."""
    root = make_ready_project(tmp_path_factory.mktemp("compare") / "project")
    params = (HERE / "params.yaml").read_text()
    with chdir(root), pytest.MonkeyPatch.context() as patched:
        patched.setattr("pipeline.tracking.registry.check_in_fresh_process", lambda _folder: None)
        (root / "params.yaml").write_text(params)
        run_register(uncommitted="")
        (root / "params.yaml").write_text(params.replace("  learning_rate: 2e-3", "  learning_rate: 5e-3", 1))
        put_best(root, model(9.0, confused=20.0))
        run_register(uncommitted="")
        (root / "params.yaml").write_text(params)
    return root


def compared(project, *called, capsys):
    with chdir(project):
        cli.main(["compare", *map(str, called), "--json"])
    return json.loads(capsys.readouterr().out)


def test_both_are_asked_the_rows_that_neither_has_seen(project, capsys):
    """Scores are scikit-learn's, the difference is paired, and who is better follows from its interval."""
    content = compared(project, "digits/1", "digits/2", capsys=capsys)
    assert ("digits version 1", "digits version 2") == (
        content["first"]["called"],
        content["other"]["called"],
    )
    assert {"rows": 90, "why": ""} == content["asked"]
    _images, labels = images_and_labels()
    truth = labels[::2]
    said = {"first": truth, "other": np.where(truth == 0, 1, truth)}
    accuracy = content["metrics"]["accuracy"]
    for side, answers in said.items():
        assert sklearn.metrics.accuracy_score(truth, answers) == pytest.approx(accuracy["now"][side])
    assert pytest.approx(1 / 3) == accuracy["difference"]["value"]
    assert accuracy["difference"]["low"] > 0.2
    assert "first" == accuracy["better"] == content["metrics"]["log_loss"]["better"]
    turned = compared(project, "digits/2", "digits/1", capsys=capsys)["metrics"]
    assert "other" == turned["accuracy"]["better"] == turned["log_loss"]["better"]
    assert pytest.approx(-1 / 3) == turned["accuracy"]["difference"]["value"]
    assert {"high": 0.95, "low": 0.85, "value": 0.9} == accuracy["on_its_own_test_set"]["first"]


def test_what_they_were_made_from_is_compared(project, capsys):
    """Parameters key by key, files of dvc.lock by kind, rows that both were fitted on."""
    content = compared(project, "digits/1", "digits/2", capsys=capsys)
    assert {"training.learning_rate": {"first": 0.002, "other": 0.005}} == content["params"]
    assert [path for path in content["files"]["models"] if path.startswith("models/tuned/cnn")]
    assert [] == content["files"]["data"] == content["files"]["code"]
    assert {"first": 90, "other": 90, "both": 90} == content["rows"]


def test_a_model_beside_itself_is_no_better(project, capsys):
    """And nothing differs."""
    content = compared(project, "digits/2", "models/best", capsys=capsys)
    assert {""} == {row["better"] for row in content["metrics"].values()}
    assert {0.0} == {row["difference"]["value"] for row in content["metrics"].values()}


def test_people_get_lines_and_a_page(project, tmp_path, capsys):
    """With the champion where no second model is named; names are escaped."""
    with chdir(project):
        cli.main(["compare", "digits/2", "--page", str(tmp_path / "page.html")])
    told = capsys.readouterr().out
    assert "On 90 test rows of today that neither has seen" in told
    assert "digits version 1 is better" in told
    assert "training.learning_rate 0.005 -> 0.002" in told
    assert "fitted on: 90 and 90 different rows, 90 shared" in told
    page = (tmp_path / "page.html").read_text()
    assert "<td>accuracy</td>" in page
    assert '<td class="better">digits version 1</td>' in page
    assert "training.learning_rate" in page


def test_where_they_cannot_be_asked_their_own_scores_are_told(project, tmp_path, capsys):
    """No test rows here, other classes, a model that does not say what it saw: a reason each, and exit code 0."""
    root = tmp_path / "project"
    shutil.copytree(project, root)
    best = root / "models/best"
    shutil.copytree(best, root / "unknown")
    (root / "unknown/trained_on.parquet").unlink()
    content = compared(root, "unknown", "digits/1", capsys=capsys)
    assert 0 == content["asked"]["rows"]
    assert "trained_on.parquet is not among its papers" in content["asked"]["why"]
    assert 0.9 == content["metrics"]["accuracy"]["on_its_own_test_set"]["first"]["value"]
    shutil.copytree(best, root / "renamed")
    write_json(root / "renamed/state.json", read_json(best / "state.json") | {"classes": ["a", "b", "x"]})
    assert "different classes" in compared(root, "renamed", "digits/1", capsys=capsys)["asked"]["why"]
    (root / "data/features/state.json").unlink()
    with chdir(root):
        cli.main(["compare", "digits/2", "digits/1"])
    told = capsys.readouterr().out
    assert "Not asked the same rows: there are no test rows here" in told
    assert "accuracy               0.9000 against 0.9000" in told
    assert read_yaml(Path(root / "params.yaml"))["seed"] == 7
