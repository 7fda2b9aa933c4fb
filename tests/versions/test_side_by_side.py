"""Two versions side by side: the same rows, the same arithmetic as the gate, and what they were made from."""

import base64
import io
import json
import re
import shutil
from contextlib import chdir
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn.metrics
from PIL import Image

from pipeline import cli
from pipeline.data.label_sets import as_cell
from pipeline.data.windows import Timeline
from pipeline.evaluation.ledger import Holdout, all_uses
from pipeline.evaluation.measures import Yardstick
from pipeline.evaluation.results import Bootstrap
from pipeline.evaluation.rows import EvaluationRows
from pipeline.evaluation.scoring import Answers
from pipeline.metrics.anomalies import AlarmRules
from pipeline.metrics.classification import accuracy_score
from pipeline.metrics.paired import difference_bounds, paired_difference
from pipeline.runtime.files import file_digest, read_json, write_json
from pipeline.runtime.strict_yaml import read_yaml
from pipeline.versions import side_by_side as beside
from pipeline.versions.side_by_side import Asking, lines_of, side_by_side, write_page
from pipeline.versions.whole import Whole
from tests.helpers.registration import (
    images_and_labels,
    make_ready_project,
    model,
    put_best,
    run_register,
    save,
)
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
        draw(root, confusion=10)
        run_register(uncommitted="")
        (root / "params.yaml").write_text(params.replace("  learning_rate: 2e-3", "  learning_rate: 5e-3", 1))
        draw(root, confusion=20, per_class=30)
        put_best(root, model(9.0, confused=20.0))
        run_register(uncommitted="")
        (root / "params.yaml").write_text(params)
    return root


def draw(root, **grey_levels):
    """Put pictures of one pixel each where `evaluate` puts its own."""
    for name, level in grey_levels.items():
        Image.new("L", (1, 1), level).save(root / f"reports/evaluate/pictures/{name}.png")


def pictures_on(page):
    """Return the alt text and the grey level of each picture on a page, in its order."""
    found = re.findall(r'<img alt="([^"]*)" src="data:image/png;base64,([^"]*)">', page.read_text())
    assert page.read_text().count("<img") == len(found)
    return [
        (alt, Image.open(io.BytesIO(base64.b64decode(content))).getpixel((0, 0))) for alt, content in found
    ]


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
    assert {"rows": 90, "why": "", "note": ""} == content["asked"]
    _images, labels = images_and_labels()
    truth = labels[::2]
    said = {"first": truth, "other": np.where(truth == 0, 1, truth)}
    accuracy = content["metrics"]["accuracy"]
    for side, answers in said.items():
        assert sklearn.metrics.accuracy_score(truth, answers) == pytest.approx(accuracy["now"][side])
    assert pytest.approx(1 / 3) == accuracy["difference"]["value"]
    gate = paired_difference(
        accuracy_score, accuracy_score, truth, np.eye(3)[truth], np.eye(3)[said["other"]],
        resamples=1000, confidence=0.95, seed=7, unseen_loss=1 / 90,
    )  # fmt: skip
    assert pytest.approx(gate.low, abs=1e-6) == accuracy["difference"]["low"]
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


def test_pictures_that_both_have_stand_side_by_side(project, tmp_path):
    """Each as its own run keeps it, in the page itself; what one of them has alone is told."""
    page = tmp_path / "page.html"
    with chdir(project):
        cli.main(["compare", "digits/1", "digits/2", "--page", str(page)])
    title = "What was taken for what"
    assert [(f"{title}: digits version 1", 10), (f"{title}: digits version 2", 20)] == pictures_on(page)
    assert "Of digits version 2 alone: class by class." in page.read_text()


def test_a_model_without_pictures_is_said_to_have_none(project, tmp_path):
    """Those of models/best lie in the project; a folder elsewhere has none, nor has a version whose run lost them."""
    root = tmp_path / "project"
    shutil.copytree(project, root)
    shutil.copytree(root / "models/best", root / "elsewhere")
    page = tmp_path / "page.html"
    with chdir(root):
        cli.main(["compare", "models/best", "digits/1", "--page", str(page)])
        assert [20, 10] == [level for _alt, level in pictures_on(page)]
        cli.main(["compare", "elsewhere", "models/best", "--page", str(page)])
        assert [] == pictures_on(page)
        assert "None is kept of elsewhere" in page.read_text()
        for drawn in (root / "mlartifacts").rglob("pictures"):
            shutil.rmtree(drawn)
        cli.main(["compare", "digits/1", "models/best", "--page", str(page)])
    assert "None is kept of digits version 1" in page.read_text()


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
    (root / "data/features/state.json").unlink()
    with chdir(root):
        cli.main(["compare", "digits/2", "digits/1"])
    told = capsys.readouterr().out
    assert "Not asked the same rows: something that it takes is not here: data/features/state.json" in told
    assert "accuracy               0.9000 against 0.9000" in told
    assert read_yaml(Path(root / "params.yaml"))["seed"] == 7


def exit_code(project, *options):
    with chdir(project), pytest.raises(SystemExit) as ended:
        cli.main(["compare", *map(str, options)])
    return ended.value.code


@pytest.fixture
def copied(project, tmp_path):
    """A copy of the project with two folders of its model."""
    root = tmp_path / "project"
    shutil.copytree(project, root)
    for name in ("one", "two"):
        shutil.copytree(root / "models/best", root / name)
    return root


def with_classes(folder, classes):
    write_json(folder / "state.json", read_json(folder / "state.json") | {"classes": classes})


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (["a", "b", "x"], "it alone knows x; it does not know c"),
        (["a", "b", "c", "d"], "it alone knows d"),
    ],
)
def test_classes_are_those_of_today_or_there_is_no_comparison(copied, capsys, classes, told):
    """Also where both models know the same others, which say nothing about today's rows."""
    for name in ("one", "two"):
        with_classes(copied / name, classes)
    content = compared(copied, "one", "two", capsys=capsys)
    assert {"rows": 0, "why": f"one was made for other classes than today's: {told}", "note": ""} == content[
        "asked"
    ]
    assert not any("now" in row for row in content["metrics"].values())


def test_a_test_label_that_nobody_knows_is_a_reason(copied, capsys):
    """Today's state knows a, b and x, the rows are labelled a, b and c."""
    for folder in ("one", "two", "data/features"):
        with_classes(copied / folder, ["a", "b", "x"])
    asked = compared(copied, "one", "two", capsys=capsys)["asked"]
    assert 0 == asked["rows"]
    assert "Received: ['c']" in asked["why"]


def test_another_order_of_the_same_classes_is_no_difference(copied, capsys):
    """Columns are put into today's order: a model that says c, a, b for a, b, c is wrong everywhere."""
    with_classes(copied / "two", ["c", "a", "b"])
    accuracy = compared(copied, "one", "two", capsys=capsys)["metrics"]["accuracy"]
    same = sklearn.metrics.accuracy_score
    truth = images_and_labels()[1][::2]
    answers = np.where(truth == 0, 1, truth)
    assert pytest.approx(same(truth, answers)) == accuracy["now"]["first"]
    assert pytest.approx(same(truth, (answers + 2) % 3)) == accuracy["now"]["other"]


def test_missing_papers_are_not_known(copied, capsys):
    """No dvc.lock and no params.yaml: nothing is said to differ, and nothing to be the same."""
    content = compared(copied, "one", "models/best", capsys=capsys)
    assert (None, None) == (content["params"], content["files"])
    with chdir(copied):
        cli.main(["compare", "one", "models/best", "--page", str(copied / "page.html")])
    told = capsys.readouterr().out
    assert "params: not known" in told
    assert "data, code, models: not known" in told
    page = (copied / "page.html").read_text()
    assert "Not known." in page
    assert "The same." not in page


def test_params_yaml_of_this_project_says_nothing_of_models_best(copied, capsys):
    """It may have changed since: where dvc.lock records nothing, nobody knows."""
    shutil.copy(copied / "params.yaml", copied / "one/params.yaml")
    shutil.copy(copied / "params.yaml", copied / "two/params.yaml")
    assert {} == compared(copied, "one", "two", capsys=capsys)["params"]
    assert compared(copied, "one", "models/best", capsys=capsys)["params"] is None


def test_parameters_of_models_best_are_those_of_its_dvc_lock(copied, capsys):
    """Not what params.yaml says by now."""
    lock = read_yaml(copied / "dvc.lock")
    for folder, rate in ((copied, 0.1), (copied / "one", 0.2)):
        lock["stages"]["tune@cnn"]["params"] = {"params.yaml": {"candidates.cnn": {"rate": rate, "same": 1}}}
        (folder / "dvc.lock").write_text(json.dumps(lock))
    content = compared(copied, "models/best", "one", capsys=capsys)
    assert {"candidates.cnn.rate": {"first": 0.1, "other": 0.2}} == content["params"]


def test_both_count_as_judged(copied, capsys):
    """A line each in the ledger of the test set, once; none where nobody was asked."""
    (copied / ".millrace/test_ledger.jsonl").unlink(missing_ok=True)
    save(copied / "two", model(3.0), "cnn")
    compared(copied, "one", "two", capsys=capsys)
    compared(copied, "one", "two", capsys=capsys)
    digests = {file_digest(copied / name / "model.keras", "sha256") for name in ("one", "two")}
    with chdir(copied):
        found = all_uses()
    assert ["compare", "compare"] == [use.by for use in found]
    assert digests == {use.model_sha256 for use in found}
    with_classes(copied / "two", ["a", "b", "x"])
    (copied / ".millrace/test_ledger.jsonl").unlink()
    compared(copied, "one", "two", capsys=capsys)
    with chdir(copied):
        assert [] == all_uses()


def test_two_folders_of_one_name_are_called_by_their_paths(copied, tmp_path, capsys):
    """Below the project as they were typed, elsewhere in full."""
    shutil.copytree(copied / "one", copied / "old/one")
    shutil.copytree(copied / "one", tmp_path / "else/one")
    content = compared(copied, "one", "old/one", capsys=capsys)
    assert ("one", "old/one") == (content["first"]["called"], content["other"]["called"])
    content = compared(copied, "one", tmp_path / "else/one", capsys=capsys)
    assert str(tmp_path / "else/one") == content["other"]["called"]


def test_a_page_is_html(copied):
    """A report over params.yaml would be one too many."""
    assert 64 == exit_code(copied, "one", "two", "--page", "params.yaml")
    assert (copied / "params.yaml").read_text().startswith("#")


@pytest.mark.parametrize(
    "gone", ["data/split/split.parquet", "data/interim/samples.parquet", "one/settings.json"]
)
def test_a_file_that_is_missing_is_a_reason(copied, capsys, gone):
    """And what else is known of the two is told."""
    (copied / gone).unlink()
    content = compared(copied, "one", "two", capsys=capsys)
    assert 0 == content["asked"]["rows"]
    assert Path(gone).name in content["asked"]["why"]
    assert {"first": 90, "other": 90, "both": 90} == content["rows"]


def test_a_bundle_is_compared_where_it_holds_the_keras_model(copied, capsys):
    """One without is told how; which rows it was fitted on no bundle says."""
    with chdir(copied):
        cli.main(["export", "one", "--format", "keras", "--out", "with.zip"])
        cli.main(["export", "one", "--out", "without.zip"])
    capsys.readouterr()
    content = compared(copied, "with.zip", "one", capsys=capsys)
    assert ("with.zip", "one") == (content["first"]["called"], content["other"]["called"])
    assert "bundles and versions of early releases have none" in content["asked"]["why"]
    assert exit_code(copied, "without.zip", "one") == 66
    assert "millrace export --format keras" in capsys.readouterr().err


# --- Every task, with stand-ins for models and rows.

CLASSES_OF_TWO = {"classes": ["a", "b"], "class_counts": [30, 10]}


@pytest.fixture
def stood_in(tmp_path, monkeypatch):
    """Return a function that puts two stand-ins side by side: their answers for val and test, and their cards."""
    monkeypatch.chdir(tmp_path)
    models = [Whole(name, "", tmp_path / name, tmp_path / name / "model.keras") for name in ("one", "two")]

    def call(
        state,
        test,
        said,
        *,
        val=None,
        said_of_val=(),
        cards=({}, {}),
        method="random",
        season=None,
        alarms=None,
    ):
        write_json(tmp_path / "data/features/state.json", state)
        write_json(tmp_path / "reports/split/summary.json", {"method": method})
        none = EvaluationRows((), np.empty(0, np.int64))
        asked = []

        def load_rows(split, season=None):
            asked.append((split, season))
            return test if split == "test" else val or none

        def score(name, _keras, folder, rows):
            answers = (said if rows.sample_ids == test.sample_ids else said_of_val)[folder.name == "two"]
            return Answers(name, "", (), rows.sample_ids, np.asarray(answers, np.float64))

        for one, card in zip(models, cards, strict=True):
            write_json(one.folder / "card.json", card)
            one.keras_file.write_bytes(one.name.encode())
            pq.write_table(pa.table({"content_sha256": ["x"]}), one.folder / "trained_on.parquet")
        monkeypatch.setattr(beside, "load_rows", load_rows)
        monkeypatch.setattr(beside, "score", score)
        monkeypatch.setattr(beside, "unseen_positions", lambda rows, _folders: np.arange(len(rows)))
        monkeypatch.setattr(beside, "holdout_of", lambda rows: Holdout.of("d", rows.sample_ids))
        asking = Asking(Yardstick(alarms=alarms), Bootstrap(200, 0.95, 7), 30, season)
        content = side_by_side(*models, asking)
        assert {season} == {number for split, number in asked if split == "test"}
        return content

    return call


def rows_of(labels, **more):
    return EvaluationRows(
        tuple(f"s{row}" for row in range(len(labels))), np.arange(len(labels)), tuple(labels), **more
    )


def two_columns(of_b):
    return np.column_stack([1 - np.asarray(of_b), of_b])


LABELS = ["b" if row % 4 == 0 else "a" for row in range(160)]
IS_B = np.array([label == "b" for label in LABELS])
SURE = two_columns(np.where(IS_B, 0.9, 0.1))
UNSURE = two_columns(np.where(IS_B, 0.4, 0.1))
AT_HALF = {"operating_point": {"positive_class": "b", "threshold": 0.5}}


def test_a_threshold_for_the_other_class_is_turned(stood_in):
    """0.7 for a is 0.3 for b, which today looks for: everything is right, as scikit-learn counts it."""
    card = {"operating_point": {"positive_class": "a", "threshold": 0.7}}
    content = stood_in(CLASSES_OF_TWO, rows_of(LABELS), (UNSURE, SURE), cards=(card, AT_HALF))
    now = content["metrics"]["positive_f1"]["now"]
    assert pytest.approx(sklearn.metrics.f1_score(IS_B, UNSURE[:, 1] >= 0.3)) == now["first"]
    assert 1.0 == now["first"] == now["other"]


def test_thresholds_are_those_of_todays_validation(stood_in):
    """As a champion gets one: that of the card was chosen on other rows."""
    val = EvaluationRows(tuple(f"v{row}" for row in range(160)), np.arange(160), tuple(LABELS))
    content = stood_in(
        CLASSES_OF_TWO,
        rows_of(LABELS),
        (UNSURE, SURE),
        val=val,
        said_of_val=(UNSURE, SURE),
        cards=(AT_HALF, {}),
    )
    assert {"first": 1.0, "other": 1.0} == content["metrics"]["positive_f1"]["now"]


def test_a_handful_of_groups_in_validation_leaves_the_threshold_of_the_card(stood_in):
    """At 0.5 the unsure one finds nothing, which rows of five groups do not mend; without a card nobody guesses."""
    val = EvaluationRows(
        tuple(f"v{row}" for row in range(160)), np.arange(160), tuple(LABELS),
        groups=tuple(str(row % 5) for row in range(160)),
    )  # fmt: skip
    told = {"val": val, "said_of_val": (UNSURE, SURE)}
    both = stood_in(CLASSES_OF_TWO, rows_of(LABELS), (UNSURE, SURE), cards=(AT_HALF, AT_HALF), **told)
    assert {"first": 0.0, "other": 1.0} == both["metrics"]["positive_f1"]["now"]
    one = stood_in(CLASSES_OF_TWO, rows_of(LABELS), (UNSURE, SURE), cards=(AT_HALF, {}), **told)
    assert "the card of two has no operating point for what is asked today" in one["asked"]["why"]


@pytest.mark.parametrize("card", [{}, {"operating_point": {"positive_class": "x", "threshold": 0.5}}])
def test_no_operating_point_is_a_reason(stood_in, card):
    """Nobody guesses one half."""
    content = stood_in(CLASSES_OF_TWO, rows_of(LABELS), (SURE, SURE), cards=(AT_HALF, card))
    assert "the card of two has no operating point for what is asked today" in content["asked"]["why"]


def worse(share):
    """Return answers that are wrong for one row in so many."""
    return np.where((np.arange(len(LABELS)) % share == 0)[:, None], SURE[:, ::-1], SURE)


@pytest.mark.parametrize(("count", "better"), [(40, "first"), (4, "")])
def test_few_groups_name_nobody(stood_in, count, better):
    """Rows of forty people tell who is better, those of four do not, and it is said."""
    groups = tuple(f"g{row * count // len(LABELS)}" for row in range(len(LABELS)))
    content = stood_in(
        CLASSES_OF_TWO, rows_of(LABELS, groups=groups), (SURE, worse(3)), cards=(AT_HALF, AT_HALF)
    )
    assert better == content["metrics"]["accuracy"]["better"]
    assert (not better) == ("too few groups to judge by" in content["asked"]["note"])
    assert not better or not content["asked"]["note"]
    assert better or "Nobody is called better" in "\n".join(lines_of(content))


def test_what_no_row_shows_lost_may_be_lost_all_the_same(stood_in):
    """Three answers won and none lost of 160: as sure as Tango's interval, whichever model stands first."""
    lost = np.where((np.arange(len(LABELS)) % 60 == 0)[:, None], SURE[:, ::-1], SURE)
    cards = (AT_HALF, AT_HALF)
    found, turned = (
        stood_in(CLASSES_OF_TWO, rows_of(LABELS), said, cards=cards)["metrics"]["accuracy"]
        for said in ((SURE, lost), (lost, SURE))
    )
    tango = difference_bounds(3, 0, len(LABELS), 0.025)
    assert 3 / 160 == pytest.approx(found["difference"]["value"])
    assert pytest.approx(tango.low, abs=0.001) == found["difference"]["low"]
    assert pytest.approx(-found["difference"]["low"]) == turned["difference"]["high"]
    assert pytest.approx(-found["difference"]["high"]) == turned["difference"]["low"]
    assert "" == found["better"] == turned["better"]


def test_few_rows_name_nobody(stood_in):
    """Fewer than the gate would decide by."""
    rows = rows_of(LABELS[:20])
    content = stood_in(CLASSES_OF_TWO, rows, (SURE[:20], SURE[:20, ::-1]), cards=(AT_HALF, AT_HALF))
    assert {""} == {row["better"] for row in content["metrics"].values()}
    assert "20 rows are too few" in content["asked"]["note"]


@pytest.mark.parametrize("count", [40, 4])
def test_days_are_drawn_where_there_are_enough(stood_in, monkeypatch, count):
    """Whole days that are lost make the interval wider; of few days rows are drawn, and it is said."""
    days = [
        f"2026-{1 + row * count // 160 // 28:02d}-{1 + row * count // 160 % 28:02d}T00:00"
        for row in range(160)
    ]
    monkeypatch.setattr("pipeline.evaluation.rows.read_sample_rows", lambda: type("", (), {"times": days}))
    lost = np.where((np.arange(160) * 40 // 160 % 4 == 0)[:, None], SURE[:, ::-1], SURE)
    cards = (AT_HALF, AT_HALF)
    by_row, by_day = (
        stood_in(CLASSES_OF_TWO, rows_of(LABELS), (SURE, lost), cards=cards, method=method)
        for method in ("random", "time")
    )
    ends = [found["metrics"]["accuracy"]["difference"]["low"] for found in (by_row, by_day)]
    assert (ends[1] < ends[0] - 0.02) == (count == 40)
    assert ("of 4 days only" in by_day["asked"]["note"]) == (count == 4)


def test_forecasts_have_a_scaled_error_where_a_season_is_known(stood_in, tmp_path):
    """With the naive errors of today's rows; what does not exist for them is said, and no old score stands there."""
    state = {
        "task": "forecasting", "payload": "series", "classes": [], "class_counts": [],
        "target": {"names": ["load"], "mean": [0.0], "standard_deviation": [1.0], "channels": [0]}, "windows": {"horizon": 2, "length": 3},
        "series": {"channels": ["load"]},
    }  # fmt: skip
    truth = np.random.default_rng(3).normal(size=(60, 2, 1))
    rows = EvaluationRows(
        tuple(f"s@{row}" for row in range(60)), np.arange(60), targets=truth,
        timeline=Timeline(("s",), np.zeros(60, np.int64), np.arange(60), 2), naive_errors=np.full((60, 1), 2.0),
    )  # fmt: skip
    own = {"test": {"roc_auc": {"value": 0.77, "low": 0.7, "high": 0.8}}}
    content = stood_in(state, rows, (truth + 0.1, truth + 1.0), cards=(own, {}), season=3)
    assert {"first": 0.05, "other": 0.5} == pytest.approx(
        content["metrics"]["mean_absolute_scaled_error"]["now"]
    )
    assert "first" == content["metrics"]["mean_absolute_error"]["better"]
    (line,) = [line for line in lines_of(content) if "ROC AUC" in line]
    assert line.endswith("not defined on these rows")
    write_page(tmp_path / "page.html", content)
    page = (tmp_path / "page.html").read_text()
    assert '<td colspan="4">not defined on these rows</td>' in page
    assert "0.77" not in page


def test_labels_have_a_threshold_each(stood_in):
    """Those of the card where validation is empty; a label without one is a reason."""
    state = {"task": "multilabel", "train_samples": 60, "classes": ["a", "b"], "class_counts": [30, 30]}
    sets = [("a",) if row % 2 else ("a", "b") if row % 3 else ("b",) for row in range(90)]
    truth = np.array([["a" in one, "b" in one] for one in sets])
    rows = rows_of([as_cell(one) for one in sets])
    card = {"operating_point": {"thresholds": {"a": 0.3, "b": 0.3}}}
    low, high = np.where(truth, 0.4, 0.1), np.where(truth, 0.9, 0.6)
    content = stood_in(state, rows, (low, high), cards=(card, card))
    now = content["metrics"]["macro_f1"]["now"]
    for side, answers in (("first", low), ("other", high)):
        assert sklearn.metrics.f1_score(truth, answers >= 0.3, average="macro") == pytest.approx(now[side])
    assert "first" == content["metrics"]["macro_f1"]["better"]
    card = {"operating_point": {"thresholds": {"a": 0.3}}}
    assert "has no operating point" in stood_in(state, rows, (low, high), cards=(card, card))["asked"]["why"]


def test_alarms_without_thresholds_are_a_reason(stood_in):
    """Scores are in units of the threshold: without one there are none."""
    state = {
        "task": "anomaly",
        "payload": "series",
        "classes": [],
        "class_counts": [],
        "series": {"channels": ["c"]},
    }
    timeline = Timeline(("s",), np.zeros(60, np.int64), np.arange(60), 2, labelled=((0, 20, 24),))
    rows = EvaluationRows(tuple(f"s@{row}" for row in range(60)), np.arange(60), timeline=timeline)
    errors = np.linspace(0.1, 1, 60)
    content = stood_in(state, rows, (errors, errors), alarms=AlarmRules(0.99, 1.0, 1, 1))
    assert "the card of one has no operating point" in content["asked"]["why"]
