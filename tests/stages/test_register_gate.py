"""The gate inside the register stage: which rows it asks about, what it measures, and that its answer stands."""

import json
import shutil
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from markupsafe import escape

from pipeline.evaluation import scoring
from pipeline.evaluation.measures import Yardstick
from pipeline.evaluation.rows import TRAINED_ON, write_trained_on
from pipeline.evaluation.scoring import NotComparable
from pipeline.gate import promotion
from pipeline.gate.promotion import LATENCY_MS
from pipeline.gate.question import Rules
from pipeline.metrics.names import primary_called
from pipeline.reports.run import decision_page
from pipeline.runtime import paths
from pipeline.tracking import champions, registry
from pipeline.tracking.store import open_store
from tests.helpers.registration import NUM_ROWS, images_and_labels, make_ready_project, model, put_best

pytestmark = pytest.mark.timeout(180)
TEST_ROWS = NUM_ROWS // 2


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """Make the project and an empty store once."""
    return make_ready_project(tmp_path_factory.mktemp("ready") / "project")


@pytest.fixture
def clone(ready, tmp_path, monkeypatch):
    """Return a function that stands in a new copy of it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(registry, "check_in_fresh_process", lambda _folder: None)

    def make(name="project"):
        shutil.copytree(ready, tmp_path / name)
        monkeypatch.chdir(tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture
def project(clone):
    """Stand in a copy of it."""
    return clone()


def run_register(**rules):
    from pipeline.stages import register

    names = ["cnn", "linear", "majority"]
    original, register.console.print_report = register.console.print_report, lambda *_a, **_k: None
    try:
        return register.register(
            candidates=names,
            baselines=names[1:],
            model_name="digits",
            experiment="digits",
            rules=Rules(primary_called("accuracy"), 0.0, 0.95, 200, 7, **rules),
            yardstick=Yardstick(),
            uncommitted="a project of a test",
        )
    finally:
        register.console.print_report = original


def version_of(project, number):
    return open_store(project, "digits").client.get_model_version("digits", str(number))


def put_groups(project, groups):
    """Give every sample a group."""
    put_column(project, "group", groups)


def put_column(project, name, values):
    """Give every sample a value in a column of the table."""
    path = project / "data/interim/samples.parquet"
    table = pq.read_table(path)
    if "row" not in table.schema.names:
        table = table.append_column("row", pa.array(range(NUM_ROWS)))
    table = table.sort_by("row")
    if name in table.schema.names:
        table = table.drop_columns(name)
    pq.write_table(table.append_column(name, pa.array(values)), path)


def seen(monkeypatch, *positions):
    """Let the models have been trained on some test rows; return which folders were asked."""
    asked = []

    def unseen(test, folders):
        asked.append([folder.name for folder in folders])
        return np.setdiff1d(np.arange(len(test)), positions)

    monkeypatch.setattr(scoring, "unseen_positions", unseen)
    return asked


def test_rows_that_a_model_was_trained_on_do_not_judge(project, monkeypatch):
    """30 of 90 rows were seen: the decision rests on 60 and says how many were left out."""
    asked = seen(monkeypatch, *range(30))
    decision = run_register()
    assert ("promoted", 60, 30) == (
        decision["decision"],
        decision["test_rows"],
        decision["test_rows_left_out"],
    )
    assert [["best"]] == asked


def test_rows_of_the_champion_count_too(project, monkeypatch):
    """The second time the champion's papers, fetched from the registry, are asked as well."""
    put_best(project, model(9.0, confused=12.0))
    run_register()
    put_best(project, model(9.0))
    asked = seen(monkeypatch, *range(30))
    assert "promoted" == run_register()["decision"]
    assert [["best", registry.EXTRA_DIR]] == asked


def test_a_challenger_that_saw_the_test_rows_is_refused(project, monkeypatch):
    """61 of 90 rows were in its training: 29 are left, too few, in words; nobody becomes champion."""
    seen(monkeypatch, *range(61))
    decision = run_register()
    assert "refused" == decision["decision"]
    assert "29 of 90 test rows are left that no model was trained on or chosen by" in decision["reasons"][0]
    assert {} == registry.aliases(open_store(project, "digits"), "digits")


def put_split(project, splits):
    """Give every row a split, and make models/best one that was trained on today's train rows."""
    path = project / "data/split/split.parquet"
    table = pq.read_table(path).sort_by("row")
    table = table.set_column(table.schema.get_field_index("split"), "split", pa.array(splits))
    pq.write_table(table, path)
    write_trained_on(project / "models/best" / TRAINED_ON, windowed=False)


@pytest.mark.parametrize(
    ("swapped", "verdict", "rows", "left_out"), [(30, "promoted", 60, 30), (80, "refused", 10, 80)]
)
def test_rows_in_the_papers_of_the_registered_champion_do_not_judge(
    project, monkeypatch, swapped, verdict, rows, left_out
):
    """Another split moves training rows of then into today's test: nothing faked, by way of the registry."""
    then = ["test" if row % 2 == 0 else "train" for row in range(NUM_ROWS)]
    put_best(project, model(9.0, confused=12.0))
    put_split(project, then)
    first = run_register()
    assert ("promoted", 90, 0) == (first["decision"], first["test_rows"], first["test_rows_left_out"])
    put_best(project, model(9.0))
    other = {"test": "train", "train": "test"}
    put_split(project, [other[name] for name in then[: 2 * swapped]] + then[2 * swapped :])
    decision = run_register()
    assert (verdict, rows, left_out) == (
        decision["decision"],
        decision["test_rows"],
        decision["test_rows_left_out"],
    )


def test_a_model_that_does_not_say_what_it_saw_is_refused(project, monkeypatch):
    """Could not check is not good."""

    def unknown(_test, _folders):
        raise NotComparable("Nobody knows which rows a model was trained on.")

    monkeypatch.setattr(scoring, "unseen_positions", unknown)
    decision = run_register()
    assert ("refused", 0) == (decision["decision"], decision["test_rows"])
    assert ["Nobody knows which rows a model was trained on."] == decision["reasons"]


def test_a_class_that_the_model_does_not_know_is_refused(project):
    """A test row of a new class cannot be judged: refused with the names, not skipped."""
    path = project / "data/split/split.parquet"
    table = pq.read_table(path)
    labels = table["label"].to_pylist()
    labels[0] = "unheard of"
    table = table.set_column(table.schema.get_field_index("label"), "label", pa.array(labels))
    pq.write_table(table, path)
    decision = run_register()
    assert "refused" == decision["decision"]
    assert "unheard of" in decision["reasons"][0]


def test_a_slice_that_does_not_exist_is_refused(project):
    """A misspelt column could not be checked, so nothing is promoted."""
    put_column(project, "side.light", ["a", "b"] * TEST_ROWS)
    decision = run_register(slices=("camera",), slice_tolerance=0.1)
    assert "refused" == decision["decision"]
    assert "register.slices names columns that the samples do not have" in decision["reasons"][0]


def test_a_declared_slice_is_judged_against_the_champion(project):
    """Rows of class a in a light of their own, which the challenger confuses: the slice falls."""
    put_column(project, "side.light", ["dark" if row % 3 == 0 else "bright" for row in range(NUM_ROWS)])
    rules = {"slices": ("light",), "slice_tolerance": 0.1}
    run_register(**rules)
    put_best(project, model(9.0, confused=12.0))
    decision = run_register(**rules)
    verdicts = {check["name"]: check["verdict"] for check in decision["checks"]}
    assert ("failed", "met") == (verdicts["slice light=dark"], verdicts["slice light=bright"])


def test_rows_of_few_persons_promote_nobody(project):
    """90 test rows of ten persons are refused; of 45 they promote, and the decision says over how many."""
    put_groups(project, [f"p{row // 18}" for row in range(NUM_ROWS)])
    decision = run_register()
    assert "refused" == decision["decision"]
    assert "Received: groups=10, which say as much as 10.0" in decision["reasons"][0]
    put_groups(project, [f"p{row // 4}" for row in range(NUM_ROWS)])
    decision = run_register()
    assert "promoted" == decision["decision"]
    assert "over 45 groups" in decision["reasons"][0]


def put_days(project, rows_of_a_day):
    """Split by time, with so many samples of each day."""
    first = date(2026, 1, 1)
    days = [first + timedelta(days=row // rows_of_a_day) for row in range(NUM_ROWS)]
    put_column(project, "time", [f"{day}T08:00:00+00:00" for day in days])
    path = project / "reports/split/summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"method": "time"}))


def test_rows_of_a_day_are_drawn_together_where_the_split_is_by_time(project):
    """90 rows of 45 days: whole days are drawn. Of ten days too few to be: told, with what it may cost."""
    put_days(project, 4)
    assert "over 45 groups" in run_register()["reasons"][0]
    put_best(project, model(8.0))
    put_days(project, 18)
    decision = run_register()
    found = check(decision, "rows of a day")
    assert ("told", True) == (found["verdict"], found["received"].startswith("10 days"))
    assert "Warning: Rows of a day" in " ".join(decision["reasons"])
    assert "groups" not in decision["reasons"][0]


def test_persons_of_whom_rows_are_left_out_do_not_count(project, monkeypatch):
    """Of 45 persons 20 were trained on: 25 are left, and too few."""
    put_groups(project, [f"p{row // 4}" for row in range(NUM_ROWS)])
    seen(monkeypatch, *range(40))
    decision = run_register()
    assert ("refused", 50) == (decision["decision"], decision["test_rows"])
    assert "Received: groups=25" in decision["reasons"][0]


def test_two_clones_write_equal_decisions_though_their_clocks_differ(clone):
    """The measured time stands on the version; decision.json holds the budget and whether it was kept."""
    written, times = [], []
    for name in ("one", "other"):
        root = clone(name)
        run_register(max_latency_ms=1000.0, max_size_mib=1.0, class_tolerance=0.05)
        written.append((root / "reports/register/decision.json").read_bytes())
        times.append(float(version_of(root, 1).tags[LATENCY_MS]))
    assert written[0] == written[1]
    assert all(0 < time < 1000 for time in times)
    assert "promoted" == json.loads(written[0])["decision"]


def test_latency_is_that_of_the_exported_model(project, monkeypatch):
    """What is deployed is asked, one test row at a time, and warmed before the clock counts."""
    asked = []

    class Watched(promotion.OnnxModel):
        def __init__(self, path):
            asked.append(path)
            super().__init__(path)

        def predict_on_batch(self, batch):
            asked.append(len(batch))
            return super().predict_on_batch(batch)

    monkeypatch.setattr(promotion, "OnnxModel", Watched)
    run_register(max_latency_ms=1000.0)
    assert [paths.BEST_DIR / "model.onnx"] + [1] * (promotion.WARM_UP + promotion.REPETITIONS) == asked


def test_a_model_that_is_too_slow_or_too_large_is_refused(project):
    """No model answers in a nanosecond, none fits into a hundred bytes."""
    decision = run_register(max_latency_ms=1e-6, max_size_mib=1e-4)
    assert "refused" == decision["decision"]
    assert "Size of the model: expected at most 0.0001 MiB" in decision["reasons"][-2]
    assert (
        "Latency: expected median of a single prediction at most 1e-06 ms, received slower."
        == decision["reasons"][-1]
    )


def test_the_champion_itself_is_unchanged_under_other_terms(project, monkeypatch):
    """One digest is one model: nothing is scored, whatever the terms have become."""
    run_register()

    def never(*_arguments):
        raise AssertionError("scored")

    monkeypatch.setattr("pipeline.gate.promotion.score", never)
    decision = run_register(min_support=11, floors={"accuracy": 0.99})
    assert ("unchanged", []) == (decision["decision"], decision["checks"])
    assert "cnn is the champion already" in decision_page(decision)


def test_a_refusal_edited_in_the_registry_promotes_nobody(project):
    """Somebody writes promoted into the tag of a refused version: the next run judges anew and moves nothing."""
    run_register()
    put_best(project, model(9.0, confused=12.0))
    run_register()
    store = open_store(project, "digits")
    edited = json.loads(version_of(project, 2).tags[registry.DECISION]) | {"decision": "promoted"}
    store.client.set_model_version_tag("digits", "2", registry.DECISION, json.dumps(edited))
    store.client.set_model_version_tag("digits", "2", registry.APPLIED, "false")
    assert "refused" == run_register()["decision"]
    assert 1 == registry.aliases(store, "digits")["champion"]


def test_the_page_tells_every_check_of_any_decision(project):
    """Promoted and refused: the verdict, each check with its words, no address outside, equal bytes again."""
    decisions = [run_register(class_tolerance=0.05)]
    put_best(project, model(9.0, confused=12.0))
    decisions.append(run_register(class_tolerance=0.05))
    for decision, title in zip(decisions, ("cnn became champion", "cnn was not promoted"), strict=True):
        page = decision_page(decision)
        assert page == decision_page(json.loads(json.dumps(decision)))
        assert f"<h1>{title}</h1>" in page
        assert page.count('<span class="badge') == len(decision["checks"]) > 0
        for check in decision["checks"]:
            assert f'<th scope="row">{escape(check["name"])}</th>' in page
        assert "http" not in page
    assert '<span class="badge failed">failed</span>' in decision_page(decisions[1])


def check(decision, name):
    """Return the one check of that name."""
    (found,) = [item for item in decision["checks"] if item["name"] == name]
    return found


@pytest.mark.long
def test_each_model_is_a_look_and_a_promotion_begins_a_new_reign(project):
    """Two refused models make the third a third look; the page says so. The next champion's reign begins at 1."""
    put_best(project, model(9.0, confused=12.0))
    looks = [run_register()]
    for strength in (3.0, 2.0):
        put_best(project, model(strength, confused=strength + 4))
        looks.append(run_register())
    put_best(project, model(9.0))
    looks.append(run_register())
    put_best(project, model(9.0, confused=11.0))
    looks.append(run_register())
    assert ["promoted", "refused", "refused", "promoted", "refused"] == [look["decision"] for look in looks]
    name = "chance that an equal model is promoted"
    said = [check(look, name)["received"] for look in looks if look["decision"] != "unchanged"]
    for text, look in zip(said, ((1, 1), (2, 1), (3, 2), (4, 3), (5, 1)), strict=True):
        assert f"look {look[0]} at these rows, look {look[1]} of this reign" in text
    assert "look 5 at these rows" in (project / "reports/register/decision.html").read_text()
    assert "Look 5 at the test set" in (project / "reports/register/report.html").read_text()


def test_a_fresh_clone_knows_the_looks_of_the_registry(project):
    """The ledger of the machine is gone, that of the registry is not: the second model is the second look."""
    put_best(project, model(9.0, confused=12.0))
    run_register()
    put_best(project, model(3.0, confused=7.0))
    run_register()
    (project / ".millrace/test_ledger.jsonl").unlink()
    put_best(project, model(9.0))
    received = check(run_register(), "chance that an equal model is promoted")["received"]
    assert "look 3 at these rows, look 2 of this reign" in received


def confused_on(rows_lost):
    """Return a model that takes so many test rows of class a for b, all others right."""
    images, labels = images_and_labels()
    judges = (labels == 0) & (np.arange(NUM_ROWS) % 2 == 0)
    second = np.sort(images.reshape(NUM_ROWS, -1)[judges, 1] / 255)[::-1]
    # Pixel 0 is 1 there: class b wins where 9 times pixel 1 and the weight are more than 9 and the bias of a.
    between = (second[rows_lost - 1] + second[rows_lost]) / 2
    return model(9.0, confused=float(9.1 - 9 * between))


def test_refreshes_are_measured_against_the_last_superior_model(project):
    """Two rows lost, then two more: each within the margin, together not; the registry knows who was better last."""
    terms = {"mode": "non_inferiority", "non_inferiority_margin": 0.1, "floors": {"accuracy": 0.5}}

    def refresh(made):
        put_best(project, made)
        return run_register(**terms)

    assert "promoted" == run_register()["decision"]  # the first champion: better than the baselines
    first = refresh(confused_on(2))
    assert "promoted" == first["decision"]
    assert not [item for item in first["checks"] if "last promoted as better" in item["name"]]
    second = refresh(confused_on(4))
    found = check(second, "is not worse than the last promoted as better")
    assert "the sum of 2 refreshes since" in found["received"]
    assert found["interval"]["value"] == pytest.approx(-4 / (NUM_ROWS // 2), abs=1e-6)
    assert ("refused", "failed") == (second["decision"], found["verdict"])
    assert "met" == check(second, "is not worse than champion")["verdict"]


@pytest.mark.long
def test_a_refresh_stays_one_whatever_is_decided_of_it_later(project):
    """The list of champions is written once: a later refusal of the same model does not make it a better one."""
    terms = {"mode": "non_inferiority", "non_inferiority_margin": 0.1, "floors": {"accuracy": 0.5}}
    run_register()
    for strength in (8.9, 8.8):
        put_best(project, model(strength))
        assert "promoted" == run_register(**terms)["decision"]
    put_best(project, model(8.9))
    assert "refused" == run_register()["decision"]
    store = open_store(project, "digits")
    assert ["promoted", *["promoted as not worse"] * 2] == [
        entry.reason for entry in champions.champions(store, "digits")
    ]
    put_best(project, model(8.7))
    received = check(run_register(**terms), "is not worse than the last promoted as better")["received"]
    assert "the sum of 3 refreshes since" in received
