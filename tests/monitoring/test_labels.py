"""Answers of `millrace predict` against labels that are known already: the metrics of the evaluation, at once."""

import json

import numpy as np
import pytest
import sklearn.metrics

from pipeline import cli
from pipeline.runtime.files import read_json, write_json
from pipeline.serving.described import example_record
from pipeline.serving.scorer import Scorer
from tests.helpers.served_data import served_model


def code_of(*called):
    try:
        cli.main(["predict", *map(str, called)])
    except SystemExit as ended:
        return ended.code
    return 0


@pytest.fixture(scope="module")
def spam(tmp_path_factory):
    """A model of texts, a table with ids and labels, and what the model says of each text."""
    folder = tmp_path_factory.mktemp("spam")
    model = served_model("spam", folder / "made").named.folder
    card = read_json(model / "card.json")
    interval = {"value": 0.7, "low": 0.65, "high": 0.75}
    write_json(
        model / "card.json",
        card | {"primary": {"name": "accuracy", "higher_is_better": True}, "test": {"accuracy": interval}},
    )
    random = np.random.default_rng(0)
    texts = [
        " ".join(random.choice(["win", "a", "prize", "see", "you", "free", "home"], 4)) for _ in range(120)
    ]
    truth = random.choice(["spam", "ham"], 120)
    table = folder / "mails.csv"
    rows = [
        f"m{number},{text},{label}" for number, (text, label) in enumerate(zip(texts, truth, strict=True))
    ]
    table.write_text("\n".join(["mail,text,kind", *rows]) + "\n")
    said = [answer["class"] for answer in Scorer(model).answers([{"text": text} for text in texts])]
    return model, table, truth.tolist(), said


def test_answers_are_scored_at_once_as_scikit_learn_scores_them(spam, tmp_path, capsys):
    """By a column of the same table; beside the test set, on standard error and in a file."""
    model, table, truth, said = spam
    out = tmp_path / "answers.csv"
    called = [model, table, "--out", out, "--id", "mail", "--labels", table, "--label", "kind"]
    assert 0 == code_of(*called)
    content = read_json(tmp_path / "answers.csv.scores.json")
    assert 120 == content["labels"]["judged"]
    live = content["metrics"]["accuracy"]
    assert pytest.approx(sklearn.metrics.accuracy_score(truth, said), abs=1e-6) == live["live"]["value"]
    f1 = sklearn.metrics.f1_score(truth, said, average="macro")
    assert pytest.approx(f1, abs=1e-6) == content["metrics"]["macro_f1"]["live"]["value"]
    told = capsys.readouterr().err
    assert "test 0.7000 (0.6500 to 0.7500)" in told
    assert "120 judged" in told


def test_labels_of_another_table_are_joined_by_id_and_some_may_be_missing(spam, tmp_path):
    """A call that goes on where an earlier one was killed scores all of it."""
    model, table, truth, said = spam
    labels = tmp_path / "truth.jsonl"
    rows = [json.dumps({"mail": f"m{number}", "label": truth[number]}) for number in range(10, 60)]
    labels.write_text("\n".join([*rows, json.dumps({"mail": "nobody", "label": "spam"})]))
    out = tmp_path / "answers.parquet"
    assert 0 == code_of(model, table, "--out", out, "--id", "mail", "--labels", labels)
    content = read_json(tmp_path / "answers.parquet.scores.json")
    assert (50, 1) == (content["labels"]["judged"], content["labels"]["without_an_answer"])
    expected = sklearn.metrics.accuracy_score(truth[10:60], said[10:60])
    assert pytest.approx(expected, abs=1e-6) == content["metrics"]["accuracy"]["live"]["value"]


def test_labels_that_belong_to_nobody_are_refused_and_the_answers_stand(spam, tmp_path, capsys):
    """Ids of another kind, a column without a file, no such file: told; what was answered is written first."""
    model, table, _truth, _said = spam
    out = tmp_path / "answers.csv"
    assert 64 == code_of(model, table, "--label", "kind")
    assert 66 == code_of(model, table, "--labels", tmp_path / "nowhere.csv")
    labels = tmp_path / "truth.csv"
    labels.write_text("id,label\nx,spam\n")
    capsys.readouterr()
    assert 65 == code_of(model, table, "--out", out, "--labels", labels)
    assert "No label belongs to a record that was answered" in capsys.readouterr().err
    assert 121 == len(out.read_text().splitlines())


def test_numbers_are_scored_step_by_step(tmp_path):
    """Of forecasts a column for each target and step."""
    model = served_model("hours", tmp_path / "made").named.folder
    state = read_json(model / "state.json")
    record = example_record(state)
    random = np.random.default_rng(1)
    records = [
        {**record, "name": f"w{number}", "series": random.normal(10, 3, np.shape(record["series"])).tolist()}
        for number in range(40)
    ]
    lines = [
        {**{key: value for key, value in one.items() if key not in ("side", "known")}, **one.get("side", {}), **one.get("known", {})}
        for one in records
    ]  # fmt: skip
    (tmp_path / "records.jsonl").write_text("\n".join(map(json.dumps, lines)))
    answers = Scorer(model).answers([{k: v for k, v in one.items() if k != "name"} for one in records])
    targets = list(answers[0]["values"])
    said = np.array([[answer["values"][name] for name in targets] for answer in answers], float)
    said = said.reshape(40, len(targets), -1)
    truth = said + random.normal(0, 1, said.shape)
    steps = said.shape[2]
    names = targets if steps == 1 else [f"{name}.{step}" for step in range(1, steps + 1) for name in targets]
    rows = [",".join([f"w{number}", *map(repr, truth[number].T.ravel().tolist())]) for number in range(40)]
    (tmp_path / "truth.csv").write_text("\n".join([",".join(["name", *names]), *rows]))
    called = [model, tmp_path / "records.jsonl", "--out", tmp_path / "a.jsonl", "--id", "name"]
    assert 0 == code_of(*called, "--labels", tmp_path / "truth.csv")
    content = read_json(tmp_path / "a.jsonl.scores.json")
    expected = sklearn.metrics.mean_absolute_error(truth.reshape(40, -1), said.reshape(40, -1))
    assert pytest.approx(expected, abs=1e-5) == content["metrics"]["mean_absolute_error"]["live"]["value"]
