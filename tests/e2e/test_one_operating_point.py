"""Every number of a run of two classes that has one name is one number, wherever it stands: pages, files, MLflow.

The classes are told apart at the threshold that validation set: what counts answers is counted again here by
scikit-learn, from the stored answers for the test rows and the threshold of the model's card.
"""

import csv
import html
import io
import json
import re
from contextlib import chdir, suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn.metrics as reference
from rich.console import Console

from pipeline.evaluation.measures import Yardstick
from pipeline.evaluation.results import Bootstrap
from pipeline.gate.question import Rules
from pipeline.inference import backend
from pipeline.metrics.names import format_value, primary_called
from pipeline.reports import charts, console
from pipeline.reports.run import chosen_as
from pipeline.runtime import paths
from pipeline.runtime.files import read_json
from pipeline.serving.scorer import Scorer
from pipeline.stages import register
from pipeline.tracking import registry
from pipeline.tracking.runs import CANDIDATE, KIND
from pipeline.tracking.store import open_store
from tests.helpers.empty_store import put_store
from tests.helpers.featured import TEXT, run_features, write_texts
from tests.helpers.judged import judged
from tests.helpers.synthetic_project import make_project
from tests.helpers.tuned import write_tuned

pytestmark = pytest.mark.timeout(600)
DENSE = {"units": [8], "activation": "relu", "batch_normalization": False, "dropout": 0.0, "l2": 0.0}
CANDIDATES = {
    "dense": ("dense", DENSE, 6),
    "linear": ("linear", {"l2": 0.02}, 0),
    "majority": ("majority", {}, 0),
}
BASELINES = ["linear", "majority"]
SELECT_BY = "positive_f1"
YARDSTICK = Yardstick(10, "spam", None, SELECT_BY)
COUNTING = {
    "accuracy": reference.accuracy_score,
    "balanced_accuracy": reference.balanced_accuracy_score,
    "macro_f1": lambda truth, said: reference.f1_score(truth, said, average="macro"),
    "positive_f1": lambda truth, said: reference.f1_score(truth, said),
}
NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"


def write_messages() -> None:
    """Write 420 different texts, one in six spam, which shares most of its words with the others."""
    generator = np.random.default_rng(11)
    spam = generator.random(420) < 1 / 6
    words = {
        False: ["see", "you", "home", "later", "free", "call", "win"],
        True: ["win", "free", "prize", "call", "you", "see"],
    }
    texts = [f"{' '.join(generator.choice(words[bool(item)], 3))} {row}" for row, item in enumerate(spam)]
    splits = ["train"] * 180 + ["val"] * 120 + ["test"] * 120
    write_texts(Path(), texts, splits, ["spam" if item else "ham" for item in spam])
    pq.write_table(
        pa.table(pq.read_table(paths.SPLIT_PARQUET).to_pydict()), paths.SPLIT_PARQUET
    )  # plain strings
    run_features(text=TEXT)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A pipeline of two classes that was run to its end: evaluated, registered, recorded; read only."""
    with suppress(RuntimeError):  # another file of this worker may have started TensorFlow already
        backend.prepare_tensorflow(2, 7)
    root = make_project(tmp_path_factory.mktemp("messages") / "project", tuple(CANDIDATES))
    put_store(root)
    with chdir(root), pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(registry, "check_in_fresh_process", lambda _folder: None)
        drawn = {}
        for name in ("confusion_matrix", "class_bars", "candidates"):
            patch.setattr(charts, name, kept(drawn, name, getattr(charts, name)))
        write_messages()
        for name, (family, model, epochs) in CANDIDATES.items():
            write_tuned(name, family, model, epochs)
        families = {name: family for name, (family, _, _) in CANDIDATES.items()}
        settings = {"select_by": SELECT_BY, "yardstick": YARDSTICK}
        evaluation = judged(families, again=True, bootstrap=Bootstrap(200, 0.95, 0), **settings)
        printed = io.StringIO()
        report = console.print_report
        patch.setattr(console, "print_report", lambda *_, **__: report(Console(file=printed, width=200)))
        decision = register.register(
            candidates=list(CANDIDATES),
            baselines=BASELINES,
            model_name="messages",
            experiment="messages",
            rules=Rules(primary_called(SELECT_BY), 0.0, 0.95, 200, 7),
            yardstick=YARDSTICK,
            uncommitted="a project of a test",
        )
        yield {"drawn": drawn, "evaluation": evaluation, "printed": printed.getvalue(), "decision": decision}


def kept(drawn: dict, name: str, draw):
    """Return a function that draws as `draw` does, and keeps what it was given."""

    def draw_and_keep(*given, **named):
        drawn[name] = given, named
        return draw(*given, **named)

    return draw_and_keep


@pytest.fixture(scope="module")
def said(finished):
    """What each candidate says of the test rows: from its stored answers and the threshold of the card."""
    card, evaluation = read_json(paths.BEST_DIR / "card.json"), finished["evaluation"]
    points = {card["candidate"]: card["operating_point"], **card["baseline_operating_points"]}
    answers = {name: np.load(paths.BEST_DIR / f"baseline_{name}_predictions.npy") for name in BASELINES}
    answers[card["candidate"]] = np.load(paths.BEST_DIR / "test_predictions.npy")
    assert ("ham", "spam") == evaluation.classes
    return {name: (given[:, 1] >= points[name]["threshold"]).astype(int) for name, given in answers.items()}


def rows() -> dict[str, dict]:
    """Return the rows of candidates.json by candidate."""
    return {row["candidate"]: row for row in read_json(paths.EVALUATE_TABLES_DIR / "candidates.json")}


def text_of(page: str) -> str:
    """Return what a reader sees of a page, without pictures and styles."""
    page = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


def table_of(page: str) -> list[dict[str, list[float]]]:
    """Return the table of candidates of a page: heading to the numbers of the cell, and `name` to the candidate."""
    (table,) = re.findall(r"<h2>Candidates</h2>.*?<table>(.*?)</table>", page, flags=re.DOTALL)
    head, *lines = re.findall(r"<tr.*?</tr>", table, flags=re.DOTALL)
    names = [text_of(cell).strip() for cell in re.findall(r"<th.*?</th>", head, flags=re.DOTALL)]
    found = []
    for line in lines:
        cells = [text_of(cell) for cell in re.findall(r"<t[dh].*?</t[dh]>", line, flags=re.DOTALL)]
        numbers = [[float(item) for item in re.findall(NUMBER, cell.replace(",", ""))] for cell in cells]
        found.append({**dict(zip(names, numbers, strict=True)), "name": cells[0].split()[0]})
    return found


def close(value: float) -> float:
    """Return a value as people read it."""
    return float(format_value(value))


def test_thresholds_make_a_difference_here(finished, said):
    """Else nothing below could fail: at the argmax the chosen model would have another accuracy and another F1."""
    answers, truth = finished["evaluation"].answers, finished["evaluation"].y_true
    argmax = answers.argmax(axis=1)
    for score in COUNTING.values():
        assert score(truth, argmax) != pytest.approx(score(truth, said["dense"]))


@pytest.mark.parametrize("metric", COUNTING)
def test_files_hold_what_scikit_learn_counts_at_the_threshold(finished, said, metric):
    """metrics.json, the card and the rows of all candidates, baselines too."""
    truth, score = finished["evaluation"].y_true, COUNTING[metric]
    for name, own in said.items():
        assert pytest.approx(score(truth, own), abs=1e-6) == rows()[name]["test"][metric]["value"]
    expected = pytest.approx(score(truth, said["dense"]), abs=1e-6)
    card, metrics = read_json(paths.BEST_DIR / "card.json"), read_json(paths.EVALUATE_METRICS)
    assert expected == card["test"][metric]["value"] == metrics["test"][metric]
    for name in BASELINES:
        assert rows()[name]["test"][metric]["value"] == card["baselines"][name][metric]["value"]


def test_the_page_shows_these_numbers_and_no_other(finished, said):
    """Every cell of the table of candidates, and the large numbers on top, against the files and scikit-learn."""
    page, truth = paths.RUN_REPORT.read_text(), finished["evaluation"].y_true
    selection = read_json(paths.EVALUATE_TABLES_DIR / "selection.json")
    chose = {entry["candidate"]: entry for entry in selection["ranking"]}
    rows_chose = "out-of-fold" if selection.get("chosen_by") == "out-of-fold" else "val"
    table = table_of(page)
    assert set(CANDIDATES) == {line["name"] for line in table}
    for line in table:
        name, row = line["name"], rows()[line["name"]]
        assert [close(row["operating_point"]["threshold"])] == line["test: spam from"]
        value, threshold = line[f"{chosen_as(selection)}, {rows_chose} {words(SELECT_BY)}"]
        entry = chose.get(name, {"score": row["val"][SELECT_BY], **row["operating_point"]})
        assert (close(entry["score"]), close(entry["threshold"])) == (value, threshold)
        for metric in ("positive_f1", "macro_f1"):
            assert close(COUNTING[metric](truth, said[name])) == line[f"test {words(metric)}"][0]
        assert close(row["test"]["log_loss"]["value"]) == line["test log loss"][0]
    tiles = {
        text_of(caption): float(number.replace(",", ""))
        for number, caption in re.findall(r'class="tile"><b>(.*?)</b><span>(.*?)</span>', page)
    }
    headline = next(value for caption, value in tiles.items() if caption.startswith("test positive F1 ("))
    assert close(COUNTING["positive_f1"](truth, said["dense"])) == headline
    threshold = rows()["dense"]["operating_point"]["threshold"]
    assert close(threshold) == tiles["probability from which on it says spam"]
    best = max(COUNTING["positive_f1"](truth, said[name]) for name in BASELINES)
    assert close(best) == tiles["test positive F1 of the better baseline"]
    reason = re.search(rf"best validation positive F1: ({NUMBER})", text_of(page))
    assert close(max(entry["score"] for entry in selection["ranking"])) == float(reason[1])


def words(metric: str) -> str:
    """Return the name of a metric as pages have it."""
    return metric.replace("f1", "F1").replace("_", " ")


def test_pictures_and_their_tables_show_the_same_decisions(finished, said):
    """The confusions, drawn and as CSV, F1 of spam in the bars and in per_class.csv; each names the threshold."""
    truth, drawn = finished["evaluation"].y_true, finished["drawn"]
    expected = reference.confusion_matrix(truth, said["dense"])
    counts, _classes, threshold = drawn["confusion_matrix"][0]
    assert expected.tolist() == counts.tolist()
    from_on = f"spam from {format_value(rows()['dense']['operating_point']['threshold'])} on"
    assert from_on == threshold
    pairs = read_table("confusion.csv")
    written = reference.confusion_matrix(
        [pair["actual"] for pair in pairs], [pair["predicted"] for pair in pairs], labels=["ham", "spam"]
    )
    assert expected.tolist() == written.tolist()
    f1, title, _axis = drawn["class_bars"][0]
    assert from_on in title
    f1_of_spam = COUNTING["positive_f1"](truth, said["dense"])
    assert pytest.approx(f1_of_spam) == f1["spam"].value
    per_class = {row["class"]: row for row in read_table("per_class.csv")}
    assert pytest.approx(f1_of_spam, abs=1e-6) == float(per_class["spam"]["f1"])
    recalls = [float(per_class[name]["recall"]) for name in ("ham", "spam")]
    assert pytest.approx(reference.recall_score(truth, said["dense"], average=None), abs=1e-6) == recalls
    named = drawn["candidates"][1]["said_from"]
    thresholds = {name: row["operating_point"]["threshold"] for name, row in rows().items()}
    assert {name: f"spam from {format_value(value)} on" for name, value in thresholds.items()} == named
    test = drawn["candidates"][0][0]
    assert {name: row["test"][SELECT_BY]["value"] for name, row in rows().items()} == pytest.approx(
        {name: interval.value for name, interval in test.items()}, abs=1e-6
    )


def read_table(name: str) -> list[dict[str, str]]:
    """Return a CSV table of the evaluation."""
    with (paths.EVALUATE_TABLES_DIR / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_mistakes_are_those_of_the_decisions(finished, said):
    """As many as scikit-learn counts, each with the class that was said, the surest first."""
    evaluation, mistakes = finished["evaluation"], read_table("mistakes.csv")
    wrong = np.flatnonzero(said["dense"] != evaluation.y_true)
    assert {evaluation.rows.sample_ids[row] for row in wrong} == {item["sample_id"] for item in mistakes}
    assert all(item["actual"] != item["predicted"] for item in mistakes)
    sure = [float(item["probability_of_predicted"]) for item in mistakes]
    assert sorted(sure, reverse=True) == sure


def test_the_gate_judged_at_the_same_thresholds(finished, said):
    """decision.json: differences are those of scikit-learn's F1, and a check tells every threshold; so does the page."""
    truth, decision = finished["evaluation"].y_true, read_json(paths.REGISTER_DECISION)
    assert decision == finished["decision"]
    f1 = {name: COUNTING["positive_f1"](truth, own) for name, own in said.items()}
    for name in BASELINES:
        assert pytest.approx(f1["dense"] - f1[name], abs=1e-6) == decision["differences"][name]["value"]
    (told,) = [check for check in decision["checks"] if check["name"] == "decision thresholds"]
    for name, row in rows().items():
        shown = f"{name} says spam from {format_value(row['operating_point']['threshold'])} on"
        assert shown in told["received"]
        assert shown in text_of(paths.DECISION_PAGE.read_text())


def test_the_terminal_shows_the_same_numbers(finished, said):
    """The table of the test set: threshold, accuracy and F1 of every candidate."""
    truth, lines = (
        finished["evaluation"].y_true,
        finished["printed"].split("Test set, opened once")[1].splitlines(),
    )
    order = ["dense", *sorted(BASELINES, key=lambda name: -rows()[name]["test"][SELECT_BY]["value"])]
    expected = {
        "spam from": [rows()[name]["operating_point"]["threshold"] for name in order],
        "accuracy": [COUNTING["accuracy"](truth, said[name]) for name in order],
        "positive F1": [COUNTING["positive_f1"](truth, said[name]) for name in order],
    }
    heads = [[part.strip() for part in line.split("┃")[1:-1]] for line in lines if line.startswith("┃")]
    headings = [" ".join(filter(None, parts)) for parts in zip(*heads, strict=True)]
    shown = [line.split("│")[1:-1] for line in lines if line.startswith("│")]
    for heading, values in expected.items():
        cells = [row[headings.index(heading)].split()[0] for row in shown]
        assert [format_value(value) for value in values] == cells


def test_mlflow_has_the_numbers_of_the_files(finished):
    """The run of the pipeline, those of the candidates, and the version; argmax is in the name of what is argmax."""
    store = open_store(Path.cwd(), "messages")
    metrics = read_json(paths.EVALUATE_METRICS)
    runs = store.client.search_runs([store.experiment_id])
    (parent,) = [run for run in runs if run.data.tags.get(KIND) == "pipeline"]
    flat = {f"test/{name}": value for name, value in metrics["test"].items()}
    flat |= {f"val/{name}": value for name, value in metrics["val"].items()}
    flat |= {"test/threshold": metrics["threshold"]}
    assert flat == {name: parent.data.metrics[name] for name in flat}
    for run in runs:
        if run.data.tags.get(KIND) != "candidate":
            continue
        row = rows()[run.data.tags[CANDIDATE]]
        numbers = {f"test/{name}": item["value"] for name, item in row["test"].items()}
        numbers["test/threshold"] = row["operating_point"]["threshold"]
        assert numbers == {name: run.data.metrics[name] for name in numbers}
        assert "spam" == run.data.tags["operating_point.positive_class"]
        assert str(numbers["test/threshold"]) == run.data.tags["operating_point.threshold"]
        assert "val/best_accuracy" not in run.data.metrics
        assert row["baseline_val"]["argmax_accuracy"] == pytest.approx(
            run.data.metrics["val/best_argmax_accuracy"], abs=1e-6
        )
    version = store.client.get_model_version("messages", "1")
    assert str(metrics["threshold"]) == version.tags["operating_point.threshold"]
    shown = f"spam from {format_value(metrics['threshold'])} on"
    assert shown in version.description
    assert shown in parent.data.tags["mlflow.note.content"]


def test_serving_decides_as_the_page_counts(finished, said):
    """The exported model with its card says the same class of every test text, and names its threshold."""
    evaluation = finished["evaluation"]
    scorer, payload = Scorer(paths.BEST_DIR), np.load(paths.PAYLOAD_NPY)
    from pipeline.data.samples import read_sample_rows

    samples = read_sample_rows()
    texts = [
        payload[samples.starts[row] : samples.starts[row] + samples.lengths[row]].tobytes().decode()
        for row in evaluation.rows.rows
    ]
    answers = scorer.answers([{"text": text} for text in texts])
    assert [evaluation.classes[index] for index in said["dense"]] == [answer["class"] for answer in answers]
    card = json.loads((paths.BEST_DIR / "card.json").read_text())
    assert {card["operating_point"]["threshold"]} == {answer["threshold"] for answer in answers}
