"""Raw records get the answers that evaluation stored for the same test rows, in the user's words."""

import base64
import csv
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image
from rich.progress import Progress

from pipeline.commands import predict as predict_command
from pipeline.commands.predict import predict
from pipeline.data.samples import read_sample_rows, texts
from pipeline.evaluation.measures import Yardstick
from pipeline.inputs.record_columns import flat_columns
from pipeline.metrics.anomalies import alarm_scores
from pipeline.provenance.locked import pinned
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused, InputMissing, StorageFailed
from pipeline.runtime.files import read_json
from pipeline.serving.answer_files import flat
from pipeline.serving.scorer import Refused, Scorer
from pipeline.stages.features import features
from pipeline.tracking.packing import PINNED
from tests.helpers.featured import SERIES, SIDE, TEXT, run_features, write_samples, write_split, write_texts
from tests.helpers.judged import made_once
from tests.helpers.synthetic_project import HERE
from tests.stages.test_evaluate_tasks import DENSE, judged_set
from tests.stages.test_evaluate_tasks import SETS as OF_TASKS

TOLERANCE = 1e-6
"""Of the spread of the answers."""
SPLITS = ["train"] * 80 + ["val"] * 30 + ["test"] * 30
MADE_FROM = {
    "image_size": [8, 8],
    "channels": 1,
    "resize": "pad",
    "policy": {"size": "convert", "mode": "reject", "exif_rotation": "convert", "undecodable": "reject"},
}


def bright_images():
    """Return 140 images of which every third is brighter, as uint8 of 8 x 8."""
    images = np.random.default_rng(0).integers(0, 160, (140, 8, 8, 1), dtype=np.uint8)
    images[::3] += 90
    return images


def write_images():
    """Write them, with hand-made features."""
    images = bright_images()
    write_samples(Path(), images, [1] * 140)
    write_split(Path(), SPLITS, labels=["bright" if row % 3 == 0 else "dark" for row in range(140)])
    features(["texture"], 4, 8, Progress(disable=True), made_from=MADE_FROM)


def write_towns():
    """Write texts with an age and a town beside them, some of them missing."""
    random = np.random.default_rng(1)
    labels = random.choice(["a", "b", "c"], 140)
    lines = [" ".join(random.choice(["x", "y", label * 3], 5)) for label in labels]
    side = {
        "age": [None if row % 9 == 0 else float(row % 70) for row in range(140)],
        "town": [None if row % 7 == 0 else ["Ulm", "Bonn"][row % 2] for row in range(140)],
    }
    write_texts(
        Path(), lines, SPLITS, labels.tolist(), side=side, kinds={"age": "number", "town": "category"}
    )
    run_features(text=TEXT, side=SIDE)


def write_waves():
    """Write whole series of different lengths and two channels, with gaps."""
    random = np.random.default_rng(2)
    lengths = random.integers(3, 9, 140).tolist()
    payload = random.normal(size=(sum(lengths), 2)).astype(np.float32)
    payload[random.random(payload.shape) < 0.05] = np.nan
    labels = ["up" if row % 2 else "down" for row in range(140)]
    write_samples(Path(), payload, lengths, channels=("p", "q"))
    write_split(Path(), SPLITS, labels=labels, stops=lengths)
    run_features(series=SERIES)


CNN = {"filters": [4], "units": 8}
SETTINGS = {"select_by": "accuracy", "yardstick": Yardstick(10)}
SETS = OF_TASKS | {
    "images": (write_images, {"cnn": ("cnn", CNN, 2), "majority": ("majority", {}, 0)}, SETTINGS),
    "towns": (write_towns, {"dense": ("dense", DENSE, 2), "majority": ("majority", {}, 0)}, SETTINGS),
    "waves": (
        write_waves,
        {"rnn": ("rnn", {"cell": "gru", "units": [6]}, 2), "majority": ("majority", {}, 0)},
        SETTINGS,
    ),
}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Return a function that gives the evaluation of a data set, made once; the working directory is its folder."""
    with made_once(tmp_path_factory.mktemp, lambda name: judged_set(SETS[name], pictures=False)) as of:
        yield of


def encoded(pixels):
    """Return an image as the bytes of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0]).save(file, "png")
    return file.getvalue()


def as_numbers(steps):
    """Return steps as JSON has them."""
    return [[None if np.isnan(value) else float(value) for value in step] for step in steps]


def records_of(rows):
    """Return the test rows as raw records, from what the ingest stage left."""
    samples, payload = read_sample_rows(), np.load(paths.PAYLOAD_NPY)
    state = read_json(paths.FEATURES_STATE)
    if rows.timeline is not None:
        return list(windows(rows.timeline, samples, payload, state))
    places = [samples.sample_ids.index(name) for name in rows.sample_ids]
    if payload.ndim == 4:
        return [{"image": encoded(payload[place])} for place in places]
    starts, lengths = samples.starts[places], samples.lengths[places]
    if payload.ndim == 1:
        raw = [{"text": text} for text in texts(payload, starts, lengths)]
    else:
        spans = zip(starts, starts + lengths, strict=True)
        raw = [{"series": as_numbers(payload[start:stop])} for start, stop in spans]
    beside = [{name: values[place] for name, values in samples.side.items()} for place in places]
    return [record | {"side": side} for record, side in zip(raw, beside, strict=True)]


def windows(timeline, samples, payload, state):
    """Yield the steps before each window, or of the window itself and those before it of the same stretch."""
    length, horizon = state["windows"]["length"], state["windows"]["horizon"]
    channels = len(state["series"]["channels"])
    firsts = {}
    for series, start in zip(timeline.series.tolist(), timeline.starts.tolist(), strict=True):
        first = firsts.setdefault(series, start)
        begin, end = (0, start) if horizon else (max(first, start - timeline.stride), start + length)
        offset = int(samples.starts[series])
        steps = payload[offset + begin : offset + end, :channels]
        yield {"series": as_numbers(steps), "id": samples.sample_ids[series]}


def numbers_in(answers, evaluation):
    """Return answers as evaluation stores them."""
    spec = evaluation.spec
    if spec.task in ("classification", "multilabel"):
        return np.array([[one["probabilities"][name] for name in spec.classes] for one in answers])
    if spec.task == "anomaly":
        return np.array([one["error"] for one in answers])
    return np.array([np.stack([one["values"][name] for name in spec.targets], -1) for one in answers])


LONG = [pytest.mark.long]  # evaluated in tests/stages/test_evaluate_tasks.py already
NAMES = [pytest.param(name, marks=LONG if name in ("spam", "tickets", "regression") else []) for name in SETS]


@pytest.mark.parametrize("name", NAMES)
def test_raw_records_get_the_answers_that_evaluation_stored(evaluated, name):
    """Image files, texts with side columns, series of any length, windows: the same numbers for the same test rows."""
    evaluation = evaluated(name)
    answers = Scorer(paths.BEST_DIR).answers(json_alike(records_of(evaluation.rows)))
    stored = np.load(paths.BEST_DIR / "test_predictions.npy")
    assert np.abs(numbers_in(answers, evaluation) - stored).max() <= TOLERANCE * np.ptp(stored)
    json.dumps(answers, allow_nan=False)


def json_alike(records):
    """Return records as they come out of JSON; images as base64."""
    texts = [
        {
            key: base64.b64encode(value).decode() if isinstance(value, bytes) else value
            for key, value in one.items()
        }
        for one in records
    ]
    return json.loads(json.dumps(texts))


@pytest.mark.long
def test_two_classes_are_told_apart_at_the_threshold_of_the_card(evaluated):
    """Spam is what reaches the threshold, in doubles."""
    evaluation = evaluated("spam")
    answers = Scorer(paths.BEST_DIR).answers(records_of(evaluation.rows))
    card = read_json(paths.BEST_DIR / "card.json")
    point, column = (
        card["operating_point"],
        evaluation.spec.classes.index(card["operating_point"]["positive_class"]),
    )
    reached = evaluation.answers[:, column].astype(float) >= point["threshold"]
    other = evaluation.spec.classes[1 - column]
    assert [point["positive_class"] if yes else other for yes in reached] == [one["class"] for one in answers]
    assert {point["threshold"]} == {one["threshold"] for one in answers}
    assert all(one["probability"] == one["probabilities"][one["class"]] for one in answers)


@pytest.mark.long
def test_several_labels_are_said_at_their_own_thresholds(evaluated):
    """Those that evaluation counted."""
    evaluation = evaluated("tickets")
    names = np.array(evaluation.spec.classes)
    answers = Scorer(paths.BEST_DIR).answers(records_of(evaluation.rows))
    assert [names[row].tolist() for row in evaluation.labels_said()] == [one["labels"] for one in answers]


def test_numbers_come_with_the_interval_of_the_card(evaluated):
    """As wide as half widths say, for each step and target."""
    evaluation = evaluated("forecast")
    reach = read_json(paths.BEST_DIR / "card.json")["prediction_intervals"]
    answer = Scorer(paths.BEST_DIR).answers(records_of(evaluation.rows)[:1])[0]
    low, high = np.array(answer["low"]["load"]), np.array(answer["high"]["load"])
    np.testing.assert_allclose(2 * np.array(reach["half_widths"])[:, 0], high - low)
    np.testing.assert_allclose(answer["values"]["load"], (low + high) / 2)
    assert reach["confidence"] == answer["confidence"]


def test_an_alarm_is_the_one_that_evaluation_raised(evaluated):
    """Errors of two windows are averaged, and counted in units of the threshold of the series."""
    evaluation = evaluated("anomaly")
    answers = Scorer(paths.BEST_DIR).answers(records_of(evaluation.rows))
    measures, point = evaluation.measures, read_json(paths.BEST_DIR / "card.json")["operating_point"]
    expected = alarm_scores(evaluation.answers, evaluation.rows.timeline, point["thresholds"], measures.rules)
    np.testing.assert_allclose(expected, [one["score"] for one in answers], rtol=1e-5)
    assert (expected > 1).tolist() == [one["alarm"] for one in answers]
    assert any(one["alarm"] for one in answers)


def test_malformed_records_are_refused_and_the_others_answered(evaluated):
    """Each with all that is wrong with it, where it stands."""
    evaluation = evaluated("towns")
    good = records_of(evaluation.rows)[:2]
    bad = {"text": 3, "side": {"age": "old"}}
    first, refused, second = Scorer(paths.BEST_DIR).answers([good[0], bad, good[1]])
    assert [first, second] == Scorer(paths.BEST_DIR).answers(good)
    assert isinstance(refused, Refused)
    assert ["a string" in refused.problems[0], "age='old'" in refused.problems[1]] == [True, True]
    assert all(isinstance(one, Refused) for one in Scorer(paths.BEST_DIR).answers([{}, bad]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no image", "an intact image file.*no known image format"),
        ("@@", "as base64 text"),
        (encoded(np.zeros((8, 8, 1), np.uint8))[:-30], "an intact image file"),
        ("colour", "refused for mode"),
    ],
)
def test_an_image_file_is_refused_as_the_ingest_stage_refused_it(evaluated, content, message):
    """Broken, cut off, or of another mode where data.policy rejects these."""
    evaluated("images")
    if content == "colour":
        file = io.BytesIO()
        Image.new("RGB", (8, 8), (1, 2, 3)).save(file, "png")
        content = file.getvalue()
    (refused,) = Scorer(paths.BEST_DIR).answers([{"image": content}])
    assert isinstance(refused, Refused)
    assert re.search(message, " ".join(refused.problems))


@pytest.mark.parametrize("name", ["towns", "forecast", "anomaly"])
@pytest.mark.parametrize(
    "value", [3e38, 9.97e36, 1e40, pytest.param(10**400, id="400 digits"), float("inf"), True, "1_0"]
)
def test_a_number_far_beyond_is_refused_and_the_others_are_answered(evaluated, name, value):
    """What float32 cannot hold, what scaling or squaring drives out of it, and what is no number; no answer is none."""
    records = records_of(evaluated(name).rows)[:3]
    odd = json.loads(json.dumps(records[1]))
    if name == "towns":
        odd["side"]["age"] = value
    else:
        odd["series"][-1][0] = value
    before, (first, refused, last) = (
        Scorer(paths.BEST_DIR).answers(records),
        Scorer(paths.BEST_DIR).answers([records[0], odd, records[2]]),
    )
    assert (before[0], before[2]) == (first, last)
    if not isinstance(refused, Refused):  # large, but the model can say something of it
        assert value in (3e38, 9.97e36)
        assert all(np.isfinite(number) for number in flat(refused).values() if isinstance(number, float))


def test_a_series_is_called_by_a_name(evaluated):
    """Of anomalies each has its threshold; a list is no name, and no end of the others either."""
    records = records_of(evaluated("anomaly").rows)[:2]
    first, refused = Scorer(paths.BEST_DIR).answers([records[0], {**records[1], "id": ["a"]}])
    assert "alarm" in first
    assert "the name of a series" in refused.problems[0]


def test_an_image_of_another_size_is_brought_to_size_as_the_data_was(evaluated):
    """Padded to a square, as params.yaml said of the training images."""
    evaluated("images")
    wide = np.full((4, 8, 1), 200, np.uint8)
    padded = np.zeros((8, 8, 1), np.uint8)
    padded[2:6] = 200
    first, second = Scorer(paths.BEST_DIR).answers([{"image": encoded(wide)}, {"image": padded}])
    assert first == second


def test_nothing_of_it_needs_tensorflow_or_mlflow(evaluated):
    """A process in which these cannot be imported answers."""
    evaluated("towns")
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['tensorflow', 'keras', 'mlflow', 'sklearn', 'skimage']));"
        "from pathlib import Path; from pipeline.serving.scorer import Scorer;"
        f"print(Scorer(Path({str(paths.BEST_DIR.absolute())!r})).answers([{{'text': 'aaa aaa'}}])[0]['class'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() in ("a", "b", "c")


def test_a_folder_that_cannot_answer_is_refused(evaluated, tmp_path):
    """Files are missing, or another model lies there than the golden answers are of."""
    evaluated("towns")
    with pytest.raises(InputMissing, match=r"no card.json.*model.onnx"):
        Scorer(tmp_path)
    folder = shutil.copytree(paths.BEST_DIR, tmp_path / "best")
    evaluated("waves")
    shutil.copyfile(paths.BEST_DIR / "model.onnx", folder / "model.onnx")
    with pytest.raises(StorageFailed, match="Expected inputs of the shapes it was made for"):
        Scorer(folder)
    (folder / "model.onnx").write_bytes(b"nonsense")
    with pytest.raises(StorageFailed, match="damaged or no model"):
        Scorer(folder)


# --- `millrace predict`: files in, files out.


def as_rows(records):
    """Return records as flat rows of a table."""
    return [
        {key: value for key, value in one.items() if key != "side"} | one.get("side", {}) for one in records
    ]


def write_table(path, rows):
    """Write rows as the suffix says; lists in CSV as JSON."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            for row in rows:
                cells = {
                    key: json.dumps(cell) if isinstance(cell, list) else cell for key, cell in row.items()
                }
                writer.writerow(cells)
    return path


def written(path):
    """Return what a file of answers says, as flat rows."""
    if path.suffix == ".jsonl":
        return [flat(json.loads(line)) for line in path.read_text().splitlines()]
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def numbers_of(rows, spec):
    """Return flat answers as evaluation stores them."""
    if spec.task == "classification":
        columns = [f"probabilities.{name}" for name in spec.classes]
        return np.array([[float(row[column]) for column in columns] for row in rows])
    steps = range(1, spec.horizon + 1)
    return np.array(
        [[[float(row[f"values.{name}.{step}"]) for name in spec.targets] for step in steps] for row in rows]
    )


@pytest.mark.parametrize(
    ("name", "given", "out"),
    [
        ("images", "folder", "a.csv"),
        ("images", "paths.csv", "a.jsonl"),
        ("towns", "t.csv", "a.parquet"),
        ("towns", "t.jsonl", "a.csv"),
        ("waves", "t.csv", "a.csv"),
        ("waves", "t.parquet", "a.parquet"),
        ("forecast", "t.jsonl", "a.csv"),
    ],
)
def test_predict_answers_files_as_evaluation_answered(evaluated, tmp_path, name, given, out):
    """From files as people have them to a table of answers: what evaluation stored for the test rows."""
    evaluation = evaluated(name)
    records = records_of(evaluation.rows)
    path = tmp_path / given
    if name == "images":
        (tmp_path / "folder").mkdir()
        for number, record in enumerate(records):
            (tmp_path / f"folder/{number:03d}.png").write_bytes(record["image"])
        if given != "folder":
            write_table(path, [{"path": f"folder/{number:03d}.png"} for number in range(len(records))])
    else:
        write_table(path, as_rows(records))
    assert (len(records), 0) == predict(paths.BEST_DIR, path, tmp_path / out, source={})
    stored = np.load(paths.BEST_DIR / "test_predictions.npy")
    rows = written(tmp_path / out)
    assert np.abs(numbers_of(rows, evaluation.spec) - stored).max() <= TOLERANCE * np.ptp(stored)
    if given == "folder":
        assert [f"{number:03d}.png" for number in range(len(records))] == [row["id"] for row in rows]
    else:
        assert [f"{number:08d}" for number in range(len(records))] == [row["id"] for row in rows]


def test_predict_names_what_it_refuses_and_answers_the_others(evaluated, tmp_path, capsys):
    """A file of refusals beside the answers, each with its place; 65 unless so many are allowed."""
    evaluated("towns")
    rows = [
        {"text": "aaa", "age": "3", "town": "Ulm", "key": "x1"},
        {"text": "bbb", "age": "old", "town": "", "key": "x2"},
        {"text": "ccc", "age": "", "town": "Bonn", "key": "x3"},
    ]
    path, out = write_table(tmp_path / "t.csv", rows), tmp_path / "a.csv"
    with pytest.raises(DataRefused, match=r"1 of 3 records were refused.*line 3.*'old'"):
        predict(paths.BEST_DIR, path, out, source={}, id_column="key")
    assert ["x1", "x3"] == [row["id"] for row in written(out)]
    (refused,) = map(json.loads, (tmp_path / "a.csv.refused.jsonl").read_text().splitlines())
    assert ("x2", "t.csv, line 3") == (refused["id"], refused["place"])
    assert (2, 1) == predict(paths.BEST_DIR, path, out, source={}, id_column="key", max_refused=1)
    assert "answered 2 records" in capsys.readouterr().err


def test_predict_goes_chunk_by_chunk_to_the_same_bytes(evaluated, tmp_path, monkeypatch):
    """Answers do not depend on how many are made together."""
    evaluation = evaluated("waves")
    path = write_table(tmp_path / "t.jsonl", as_rows(records_of(evaluation.rows)))
    predict(paths.BEST_DIR, path, tmp_path / "one.jsonl", source={})
    asked = []
    answers = Scorer.answers
    monkeypatch.setattr(Scorer, "answers", lambda self, some: asked.append(len(some)) or answers(self, some))
    monkeypatch.setattr(predict_command, "CHUNK", 7)
    predict(paths.BEST_DIR, path, tmp_path / "many.jsonl", source={})
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "many.jsonl").read_bytes()
    assert [7, 7, 7, 7, 2] == asked


def test_large_images_go_fewer_at_a_time(evaluated, tmp_path, monkeypatch):
    """What is in memory together is bounded by bytes too; a refused one counts nothing and ends nothing."""
    evaluation = evaluated("images")
    for number, record in enumerate(records_of(evaluation.rows)[:5]):
        (tmp_path / f"{number}.png").write_bytes(record["image"])
    (tmp_path / "9.png").mkdir()
    asked = []
    answers = Scorer.answers
    monkeypatch.setattr(Scorer, "answers", lambda self, some: asked.append(len(some)) or answers(self, some))
    size = (tmp_path / "0.png").stat().st_size
    monkeypatch.setattr(predict_command, "CHUNK_BYTES", int(1.5 * size))
    assert (5, 0) == predict(paths.BEST_DIR, tmp_path, tmp_path / "a.jsonl", source={})
    assert [2, 2, 1] == asked


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_predict_that_was_killed_goes_on_to_the_same_bytes(evaluated, tmp_path, monkeypatch, name):
    """What was answered is not asked again; a record that changed meanwhile is, and nothing is left beside the file."""
    rows = as_rows(records_of(evaluated("waves").rows))
    path = write_table(tmp_path / "t.jsonl", rows)
    monkeypatch.setattr(predict_command, "CHUNK", 7)
    predict(paths.BEST_DIR, path, tmp_path / f"whole-{name}", source={})
    asked = []
    answers = Scorer.answers

    def dying(self, some):
        asked.append(len(some))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return answers(self, some)

    monkeypatch.setattr(Scorer, "answers", dying)
    with pytest.raises(KeyboardInterrupt):
        predict(paths.BEST_DIR, path, tmp_path / name, source={})
    assert not (tmp_path / name).exists()
    asked.extend([0, 0])
    predict(paths.BEST_DIR, path, tmp_path / name, source={})
    assert [7, 7, 2] == asked[5:]
    assert (tmp_path / f"whole-{name}").read_bytes() == (tmp_path / name).read_bytes()
    assert {"t.jsonl", name, f"whole-{name}"} == {found.name for found in tmp_path.iterdir()}
    with pytest.raises(KeyboardInterrupt):
        asked.clear()
        predict(paths.BEST_DIR, path, tmp_path / name, source={})
    write_table(path, [rows[1], *rows[1:]])
    predict(paths.BEST_DIR, path, tmp_path / name, source={})
    assert [7, 7, 7, 7, 7, 7, 2] == asked, "the first part is another, the second is not"
    first, second = written(tmp_path / name)[:2]
    assert {**first, "id": second["id"]} == second


def test_predict_keeps_an_older_file_where_nothing_can_be_read(evaluated, tmp_path):
    """A column is missing: no answer, and what stood there before still stands."""
    evaluated("towns")
    path, out = write_table(tmp_path / "t.csv", [{"text": "aaa", "age": "3"}]), tmp_path / "a.csv"
    out.write_text("before")
    with pytest.raises(DataRefused, match="no column town"):
        predict(paths.BEST_DIR, path, out, source={})
    assert "before" == out.read_text()
    assert ["a.csv", "t.csv"] == sorted(file.name for file in tmp_path.iterdir())


def test_a_table_of_measurements_is_read_as_the_data_of_the_model_was(evaluated, tmp_path):
    """A row per hour and meter, up to a test window: the forecast of what comes next, per meter."""
    evaluation = evaluated("forecast")
    timeline, payload = evaluation.rows.timeline, np.load(paths.PAYLOAD_NPY)
    firsts = [int(np.flatnonzero(timeline.series == series)[0]) for series in (0, 1)]
    rows = []
    for series, window in enumerate(firsts):
        for step in range(int(timeline.starts[window])):
            load, noise = payload[series * 300 + step].tolist()
            time = f"2026-01-{5 + step // 24:02}T{step % 24:02}:00:00"
            rows.append({"when": time, "meter": f"00{series}", "noise": noise, "load": load, "class": "x"})
    source = {"kind": "series_table", "options": {"time": "when", "id": "meter", "label": "class"}}
    path = write_table(tmp_path / "t.csv", rows)
    assert (2, 0) == predict(paths.BEST_DIR, path, tmp_path / "a.csv", source=source)
    answers = written(tmp_path / "a.csv")
    stored = np.load(paths.BEST_DIR / "test_predictions.npy")
    assert ["000", "001"] == [row["id"] for row in answers]
    found = numbers_of(answers, evaluation.spec)
    assert np.abs(found - stored[firsts]).max() <= TOLERANCE * np.ptp(stored)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_records(evaluated, tmp_path):
    """Ten times as many rows take a few megabytes more at most."""
    evaluated("towns")
    best = paths.BEST_DIR.absolute()
    code = (
        "import sys; from pathlib import Path; from pipeline.commands.predict import predict;"
        "from tests.helpers.peak_memory import peak_kib;"
        "predict(*map(Path, sys.argv[1:]), source={}); print(peak_kib())"
    )
    peaks = []
    for count in (4_000, 40_000):
        path = write_table(tmp_path / "t.csv", [{"text": "aaa bbb x y", "age": 3, "town": "Ulm"}] * count)
        command = [sys.executable, "-c", code, str(best), str(path), str(tmp_path / "a.csv")]
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True, timeout=300)
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 16 * 1024


# --- The same through MLflow: what a registered version is, packed and loaded as MLflow's own tools do.


@pytest.fixture(scope="module")
def loaded(evaluated, tmp_path_factory):
    """Return a function that gives what MLflow loads of a packed model."""
    import mlflow

    from pipeline.inference.keras_files import load_model
    from pipeline.tracking.packing import pack_model

    def of(name):
        evaluated(name)
        folder = tmp_path_factory.mktemp("packed") / name
        columns = flat_columns(read_json(paths.BEST_DIR / "state.json"))
        model = load_model(paths.BEST_DIR / "model.keras")
        pack_model(model, paths.BEST_DIR, folder, ["onnxruntime"], columns=columns)
        return mlflow.pyfunc.load_model(str(folder)), folder

    return of


@pytest.mark.parametrize("name", ["images", "towns", "waves", "forecast", "anomaly"])
def test_mlflow_answers_raw_records_as_the_scorer_does(evaluated, loaded, name):
    """A frame with the columns of the signature; the keras flavour is still there, and no pickle is."""
    records = records_of(evaluated(name).rows)[:4]
    model, folder = loaded(name)
    frame = pd.DataFrame(as_rows(records))
    if name == "images":
        frame = pd.DataFrame({"image": [record["image"] for record in records]})
    frame = frame[[name for name in model.metadata.get_input_schema().input_names() if name in frame]]
    assert Scorer(paths.BEST_DIR).answers(records) == model.predict(frame)
    assert {"keras", "python_function"} == set(model.metadata.flavors)
    assert [] == [path for path in folder.rglob("*") if path.suffix in (".pkl", ".py")]


def test_mlflow_takes_whole_numbers_for_numbers(evaluated, loaded):
    """As pandas and JSON make them where every value happens to be one."""
    records = records_of(evaluated("towns").rows)[:3]
    for age, record in zip((34, 51, 0), records, strict=True):
        record["side"]["age"] = age
    model, _ = loaded("towns")
    assert Scorer(paths.BEST_DIR).answers(records) == model.predict(pd.DataFrame(as_rows(records)))


def test_mlflow_names_the_rows_that_cannot_be_answered(loaded):
    """As a mistake of the caller, which its server answers with 400; all of them at once."""
    from mlflow.exceptions import MlflowException

    model, _ = loaded("images")
    frame = pd.DataFrame({"image": [b"no image", encoded(np.zeros((8, 8, 1), np.uint8)), b"none either"]})
    with pytest.raises(
        MlflowException, match=r"2 of 3 records cannot be answered\.\nrow 0: .*\nrow 2: "
    ) as refused:
        model.predict(frame)
    assert "INVALID_PARAMETER_VALUE" == refused.value.error_code


@pytest.mark.long
def test_mlflow_serves_a_version_over_http(evaluated, loaded, tmp_path):
    """`mlflow models serve`, in a process of its own: the same answers, for pictures as base64."""
    records = records_of(evaluated("images").rows)[:4]
    _, folder = loaded("images")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["models", "serve", "-m", str(folder), "--env-manager", "local", "-p", str(port), "-w", "1"]
    environment = os.environ | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "PYTHONPATH": str(HERE)}
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *command],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        data = [[base64.b64encode(record["image"]).decode()] for record in records]
        body = {"dataframe_split": {"columns": ["image"], "data": data}}
        deadline = time.monotonic() + 120
        while True:
            try:
                reply = requests.post(f"http://127.0.0.1:{port}/invocations", json=body, timeout=60)
                break
            except requests.ConnectionError:
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.5)
        assert Scorer(paths.BEST_DIR).answers(records) == reply.json()["predictions"]
        body["dataframe_split"]["data"][1] = [base64.b64encode(b"no image").decode()]
        wrong = requests.post(f"http://127.0.0.1:{port}/invocations", json=body, timeout=60)
        assert (400, True) == (wrong.status_code, "row 1: " in wrong.text)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def needed_by(names):
    """Return the names of distributions, and of all that they need here."""
    found, waiting = set(), [canonicalize_name(name) for name in names]
    while waiting:
        if (name := waiting.pop()) in found:
            continue
        found.add(name)
        for line in metadata.requires(name) or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(needed.name))
    return found


WITHOUT = """
import sys
from importlib.metadata import packages_distributions
folder, image, *installed = sys.argv[1:]
of = packages_distributions()
class Absent:
    def find_spec(self, name, path=None, target=None):
        from_whom = of.get(name.partition(".")[0])
        if from_whom and not any(one.lower().replace("_", "-").replace(".", "-") in installed for one in from_whom):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
import mlflow.pyfunc, pandas
model = mlflow.pyfunc.load_model(folder)
print(model.predict(pandas.DataFrame({"image": [open(image, "rb").read()]})))
"""
"""Asks MLflow where only some distributions are installed, and Millrace is importable."""


@pytest.mark.long
def test_an_image_that_mlflow_makes_lacks_what_the_guide_adds(loaded, tmp_path):
    """Its Dockerfile installs MLflow and what a version lists; the flavour loads more, all of it in our slim lock."""
    _, folder = loaded("images")
    command = ["generate-dockerfile", "-m", str(folder), "-d", str(tmp_path / "image")]
    subprocess.run([sys.executable, "-m", "mlflow", "models", *command], check=True, timeout=120)
    lines = (tmp_path / "image/Dockerfile").read_text().splitlines()
    assert f"RUN pip install mlflow=={metadata.version('mlflow')}" in lines
    (copied,) = [line for line in lines if line.startswith("COPY ")]
    assert copied.endswith(" /opt/ml/model"), "the version alone"
    assert lines[-1].startswith("ENTRYPOINT")
    (tmp_path / "one.png").write_bytes(encoded(np.zeros((8, 8, 1), np.uint8)))
    listed = needed_by(["mlflow", *PINNED])
    lock = {canonicalize_name(one.name) for one in pinned((HERE / "requirements-serve.lock").read_text())}

    def answers_with(installed):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT, str(folder), str(tmp_path / "one.png"), *installed],
            env=os.environ | {"PYTHONPATH": str(HERE)}, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        return done.stdout or done.stderr

    assert "No module named 'filelock'" in answers_with(listed)
    assert "probabilities" in answers_with(listed | lock)
    guide = (HERE / "docs/guides/models-out.md").read_text()
    assert "RUN pip install -r /opt/millrace/requirements-serve.lock\nENV PYTHONPATH=/opt/millrace" in guide
