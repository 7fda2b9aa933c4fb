"""One page tells the whole run, offline, with equal bytes for equal reports."""

import io
import json
import re

import pytest
from rich.console import Console

from pipeline.metrics.names import primary_called
from pipeline.reports.console import print_report
from pipeline.reports.dashboard import CANDIDATES, links, shared_view, version_page
from pipeline.reports.run import pages_beside, run_report
from pipeline.reports.run import test_score as score_in_words
from pipeline.runtime import paths
from pipeline.runtime.files import read_json, write_json
from tests.helpers.synthetic_project import make_project

DECISION = {"candidate": "cnn", "decision": "promoted", "reasons": ["cnn beats <linear>."]}


@pytest.fixture(autouse=True)
def finished(tmp_path, monkeypatch):
    """Stand in a finished project."""
    monkeypatch.chdir(make_project(tmp_path / "project", ("cnn", "linear")))


def test_the_page_holds_verdict_candidates_data_and_pictures():
    """What a reader looks for is there, and text is escaped."""
    page = run_report(DECISION)
    for part in (
        "cnn became champion",
        "cnn beats &lt;linear&gt;.",
        "0.9000",
        "0.850 to 0.950",
        "32 of 32",
        "image/png",
    ):
        assert part in page


def test_several_labels_have_a_table():
    """A row per label, the lowest F1 first, with its threshold; an empty cell where nothing was said."""
    assert "Label by label" not in run_report(DECISION)
    numbers = ",".join(
        f"{name},{name}_low,{name}_high" for name in ("precision", "recall", "f1", "average_precision")
    )
    (paths.EVALUATE_TABLES_DIR / "per_label.csv").write_text(
        f"label,train_samples,test_examples,threshold,{numbers}\n"
        "billing,1200,40,0.4321,0.9,0.8,0.95,0.9,0.8,0.95,0.912,0.8,0.95,0.9,0.8,0.95\n"
        "log<in>,30,4,0.5,,,,0.5,0.1,0.9,0.456,0.1,0.9,0.5,0.1,0.9\n"
    )
    page = run_report(DECISION)
    assert page.index("log&lt;in&gt;") < page.index("billing")
    for part in ("Label by label", "1,200", "0.43", "0.912", "0.456"):
        assert part in page


def with_thresholds(select_by="accuracy"):
    """Give both candidates a threshold, as two classes have, and one of them the place of who could be chosen."""
    path = paths.EVALUATE_TABLES_DIR / "candidates.json"
    rows = read_json(path)
    for row, threshold in zip(rows, (0.4851, 0.2), strict=True):
        row["operating_point"] = {"positive_class": "spam", "threshold": threshold}
        row["baseline_val"] = {"argmax_accuracy": 0.7777, "loss": 0.5}
    write_json(path, rows)
    path = paths.EVALUATE_TABLES_DIR / "selection.json"
    ranking = [{"candidate": "cnn", "parameters": 1, "score": 0.6543, "threshold": 0.4321}]
    write_json(path, read_json(path) | {"ranking": ranking, "select_by": select_by})


def test_the_threshold_stands_beside_the_scores():
    """On top, in a column for test, and below the score that chose; a score of the argmax is called so."""
    assert "from 0." not in run_report(DECISION)
    assert "argmax" not in run_report(DECISION)
    with_thresholds()
    page = run_report(DECISION)
    for part in (
        "<b>0.4851</b><span>probability from which on it says spam",
        '<th class="number">test: spam from</th>',
        '<td class="number">0.4851</td>',
        '<td class="number">0.2000</td>',
        "0.6543<small>from 0.4321</small>",
        '<th class="number">before tuning, val argmax accuracy</th>',
        '<td class="number">0.7777</td>',
    ):
        assert part in page, part


def test_the_score_of_a_card_names_its_threshold():
    """Of two classes and of labels; alarms have thresholds of their own, and ten classes none."""
    card = {
        "primary": {"name": "positive_f1"},
        "test": {"positive_f1": {"value": 0.8, "low": 0.7, "high": 0.9}},
    }
    score = "test positive F1 0.8000 (0.7000 to 0.9000)"
    point = {"positive_class": "spam", "threshold": 0.4851}
    assert f"{score}, spam from 0.4851 on" == score_in_words(card | {"operating_point": point})
    labels = {"operating_point": {"thresholds": {"a": 0.25, "b": 0.5}}}
    assert f"{score}, each label from its own threshold on (0.2500 to 0.5000)" == score_in_words(
        card | labels
    )
    assert score == score_in_words(card | labels | {"task": "anomaly"}) == score_in_words(card)


def test_the_page_needs_no_network():
    """No address of a host is in it."""
    assert re.findall(r"https?://", run_report(DECISION)) == []


def test_the_page_is_the_same_every_time():
    """No date and no random id."""
    assert run_report(DECISION) == run_report(DECISION)


def test_the_page_says_how_used_up_the_test_set_is():
    """One sentence beside the one on how the choice was made."""
    assert "It had judged 4 models." in run_report(DECISION, "It had judged 4 models.")


def test_a_refusal_looks_like_one():
    """The head of the page is marked and says it."""
    page = run_report(DECISION | {"decision": "refused"})
    assert "cnn was not promoted" in page
    assert '<header class="refused">' in page


@pytest.mark.parametrize(("number", "drawn"), [(20, False), (21, True)])
def test_more_than_twenty_classes_are_drawn_instead_of_listed(number, drawn):
    """The counts of each split stand in both; the smallest class comes first where they are drawn."""
    split = read_json(paths.SPLIT_SUMMARY)
    split["classes"] = {f"c{n:02d}": {"train": 900 - n, "val": 20, "test": 10} for n in range(number)}
    write_json(paths.SPLIT_SUMMARY, split)
    data = run_report(DECISION).partition("<h2>Data</h2>")[2]
    assert drawn is ('<div class="class counts">' in data)
    assert drawn is not ("<table>" in data)
    last = f"c{number - 1:02d}"
    assert (data.index(last) < data.index("c00")) is drawn
    share = 100 * (900 - 20) / (900 + 30)
    assert (f'<div class="train" style="width: {share:.2f}%"></div>' in data) is drawn


def test_the_column_before_tuning_is_there_where_somebody_has_a_score():
    """An empty column would be a puzzle."""
    assert "before tuning, val accuracy" in run_report(DECISION)
    rows = read_json(paths.EVALUATE_TABLES_DIR / "candidates.json")
    for row in rows:
        row["baseline_val"] = {}
    write_json(paths.EVALUATE_TABLES_DIR / "candidates.json", rows)
    page = run_report(DECISION)
    assert "before tuning, val" not in page
    assert "tuned, val accuracy" in page


def test_a_score_at_a_temperature_is_not_called_tuned():
    """Beside the one before tuning it would look as if the search had made it worse."""
    path = paths.EVALUATE_TABLES_DIR / "selection.json"
    selection = read_json(path)
    name = selection["ranking"][0]["candidate"] if "ranking" in selection else "cnn"
    entry = {"candidate": name, "parameters": 1, "score": 0.9, "temperature": 1.28603}
    write_json(path, selection | {"ranking": [entry]})
    page = run_report(DECISION)
    assert "as served, val accuracy" in page
    assert "tuned, val" not in page
    file = io.StringIO()
    print_report(Console(file=file, width=120))
    for told in (page, " ".join(file.getvalue().split())):
        assert f"logits divided by a temperature ({name} 1.29)" in told
    assert "as served" in file.getvalue()


def test_a_score_on_rows_that_folds_held_out_is_not_called_one_on_validation():
    """The one before tuning is; the two columns have other rows, and may not be compared."""
    path = paths.EVALUATE_TABLES_DIR / "selection.json"
    write_json(path, read_json(path) | {"chosen_by": "out-of-fold"})
    page = run_report(DECISION)
    assert "before tuning, val accuracy" in page
    assert "tuned, out-of-fold accuracy" in page
    file = io.StringIO()
    print_report(Console(file=file, width=120))
    assert "Candidates on out-of-fold rows; untuned on validation" in file.getvalue()


@pytest.mark.parametrize(
    ("refit", "told"),
    [
        (False, "<b>1,220</b><span>samples trained on</span>"),
        (True, "<b>1,467</b><span>samples trained on, "),
    ],
)
def test_the_page_counts_the_samples_that_the_chosen_model_was_trained_on(refit, told):
    """One that was trained again has seen those of validation too."""
    path = paths.EVALUATE_TABLES_DIR / "candidates.json"
    write_json(path, [row | {"refit": refit} for row in read_json(path)])
    split = read_json(paths.SPLIT_SUMMARY)
    split["samples"] |= {"train": 1220, "val": 247}
    write_json(paths.SPLIT_SUMMARY, split)
    assert told in run_report(DECISION)


def test_a_column_of_families_stands_where_it_says_more_than_the_names():
    """On a phone it would push the scores out of sight."""
    path = paths.EVALUATE_TABLES_DIR / "candidates.json"
    rows = read_json(path)
    write_json(path, [row | {"family": row["candidate"]} for row in rows])
    assert "<th>family</th>" not in run_report(DECISION)
    write_json(path, [row | {"family": "dense"} for row in rows])
    assert "<th>family</th>" in run_report(DECISION)


def test_log_loss_before_tuning_is_what_training_calls_loss():
    """The page and the terminal show the same number."""
    rows = read_json(paths.EVALUATE_TABLES_DIR / "candidates.json")
    for row, loss in zip(rows, (0.4321, 0.8765), strict=True):
        row["baseline_val"], row["val"] = {"loss": loss, "accuracy": 0.9}, {"log_loss": 0.4}
    write_json(paths.EVALUATE_TABLES_DIR / "candidates.json", rows)
    selection = read_json(paths.EVALUATE_TABLES_DIR / "selection.json") | {"select_by": "log_loss"}
    write_json(paths.EVALUATE_TABLES_DIR / "selection.json", selection)
    page = run_report(DECISION)
    assert "before tuning, val log loss" in page
    file = io.StringIO()
    print_report(Console(file=file, width=120))
    for number in ("0.4321", "0.8765"):
        assert f'<td class="number">{number}</td>' in page
        assert number in file.getvalue()


@pytest.mark.parametrize(
    ("primary", "ascending", "columns"),
    [("log_loss", True, ["log_loss", "accuracy", "macro_f1"]), ("accuracy", False, ["accuracy", "macro_f1"])],
)
def test_the_link_to_the_candidates_shows_scores_as_columns(primary, ascending, columns):
    """It names a view that the experiment holds: the runs of this pipeline, best first, the score that counts first."""
    tag, content = shared_view(
        "f00", primary_called(primary), ["log_loss", "accuracy", "macro_f1", "roc_auc"]
    )
    address = links("http://h", "1", ("f00", "f01"), "digits", 1, primary=primary_called(primary))[CANDIDATES]
    assert tag == "mlflow.sharedViewState." + address.split("viewStateShareKey=")[1].split("&")[0]
    view = json.loads(content)
    assert view["searchFilter"] == "tags.`mlflow.parentRunId` = 'f00'"
    assert (view["orderByKey"], view["orderByAsc"]) == (f"metrics.`test/{primary}`", ascending)
    assert view["selectedColumns"] == [
        *(f"metrics.`test/{name}`" for name in columns),
        "metrics.`val/best_loss`",
    ]


def test_the_page_of_a_version_tells_data_baselines_and_the_way_to_the_decision():
    """A person who opens a version in the dashboard need not know a command."""
    card = {
        "candidate": "cnn",
        "primary": {"name": "log_loss"},
        "test": {"log_loss": {"value": 0.0341, "low": 0.018, "high": 0.062}},
        "baselines": {
            "linear": {"log_loss": {"value": 0.1083}},
            "odd": {},
            "cnn": {"log_loss": {"value": 0.0341}},
        },
    }
    source = {"kind": "digits", "count": 1797, "sha256": "c2dcf1394b1ca1049eb"}
    page = version_page(card, source, "badde4c2aaeedafff", "#/experiments/1/runs/f01/artifacts/decision.html")
    assert page.startswith("cnn: test log loss 0.0341 (0.0180 to 0.0620). Baselines: linear 0.1083.\n")
    assert "Data: digits, 1,797 samples" in page
    assert "(#/experiments/1/runs/f01/artifacts/decision.html)" in page


def test_no_page_leads_to_itself():
    """The other two are one click away."""
    texts = [fact.text for fact in pages_beside(paths.RUN_REPORT)]
    assert texts == ["the decision, check by check", "the data, before anything was trained"]
    assert "the whole run" in [fact.text for fact in pages_beside(paths.DECISION_PAGE)]
