"""`ingest` of texts and series: one array laid end to end, one table that says where each sample is."""

import hashlib
import json
import math
import shutil
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from pipeline.data.samples import TableFacts, read_samples, series_at, table_facts, texts
from pipeline.fetching.snapshot import take_snapshot
from pipeline.fetching.source import Location, stored_tar, write_source
from pipeline.ingest.sequences import described, ingest_sequences
from pipeline.raw.sample import RawSample
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from pipeline.sources.kinds import options_of, source_of
from pipeline.stages import ingest
from tests.conftest import ROOT
from tests.helpers.archive_of import archive_of

MESSAGES = ["naïve “quotes”", "two\nlines", "NA", "\ufeff日本"]
RAMP = np.array([[1, 10], [2, math.nan], [math.nan, math.nan]], np.float32)
STEP = np.array([[5, 50]], np.float32)


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """An empty project as the working directory."""
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def messages(words=MESSAGES, **more):
    """Return texts as samples 000, 001, ... of classes a and b in turn."""
    return [
        RawSample(sample_id=f"{number:03d}", label="ab"[number % 2], text=word, **more)
        for number, word in enumerate(words)
    ]


def series(arrays=(RAMP, STEP), **more):
    """Return arrays as samples 000, 001, ... of classes a and b in turn, channels x and y."""
    more = {"channels": ("x", "y")} | more
    return [
        RawSample(sample_id=f"{number:03d}", label="ab"[number % 2], series=array, **more)
        for number, array in enumerate(arrays)
    ]


def run(samples, task="classification", **settings):
    """Ingest samples leniently, but for `settings`; return summary, table and payload."""
    settings = {"num_samples": len(samples), "max_rejected_share": 0.99} | settings
    summary = ingest_sequences(samples, task=task, **settings)
    return summary, read_samples(), np.load(paths.PAYLOAD_NPY, mmap_mode="r")


def test_several_labels_are_one_cell_and_counted_one_by_one():
    """A JSON list in the table; the report counts each label, and the sample without one."""
    sets = [("b", "a"), ("a",), (), ("a",)]
    samples = [
        replace(sample, label="", labels=labels) for sample, labels in zip(messages(), sets, strict=True)
    ]
    summary, table, _ = run(samples, task="multilabel")
    assert ['["a", "b"]', '["a"]', "[]", '["a"]'] == table["label"].tolist()
    assert {"a": 3, "b": 1, "": 1} == summary["classes"]


def test_texts_come_back_as_they_were():
    """Letters of several bytes, line feeds, a byte order mark and the text NA; the payload is their UTF-8."""
    summary, table, payload = run(messages())
    assert "".join(MESSAGES).encode() == payload.tobytes()
    assert list(texts(payload, table["start"].to_numpy(), table["length"].to_numpy())) == MESSAGES
    lengths = [len(message.encode()) for message in MESSAGES]
    assert summary["text"] == {
        "length": {"shortest": min(lengths), "longest": max(lengths), "total": sum(lengths)}
    }
    assert summary["classes"] == {"a": 2, "b": 2}
    assert summary == json.loads(paths.INGEST_REPORT.read_text())
    assert described(summary) == "2 classes, text of 2 to 19 bytes"
    assert table_facts() == TableFacts("text")


def test_series_of_unequal_length_lie_end_to_end():
    """Missing values stay NaN; steps without any value are counted as gaps."""
    summary, table, payload = run(series())
    np.testing.assert_array_equal(np.concatenate([RAMP, STEP]), payload)
    assert payload.dtype == np.float32
    assert table["start"].tolist() == [0, 3]
    assert table["length"].tolist() == [3, 1]
    np.testing.assert_array_equal(STEP, series_at(payload, 3, 1))
    assert summary["series"] == {
        "length": {"shortest": 1, "longest": 3, "total": 4},
        "channels": ["x", "y"],
        "missing_values": 3,
        "gaps": 1,
    }
    assert table_facts() == TableFacts("series", ("x", "y"))
    assert described(summary) == (
        "2 classes, series of 1 to 3 steps, channels x, y, 3 missing values, 1 steps without any"
    )


def test_labelled_anomalies_are_one_column_more():
    """It holds 0 and 1, and is no channel."""
    anomalies = np.array([False, True, True])
    _, _, payload = run(series([RAMP], anomalies=anomalies), task="anomaly")
    np.testing.assert_array_equal(np.column_stack([RAMP, [0, 1, 1]]), payload)
    assert table_facts() == TableFacts("series", ("x", "y"), has_anomalies=True)


def test_everything_known_of_a_sample_is_in_its_row():
    """Split, group, time, target and side features; image columns are empty."""
    sample = RawSample(
        sample_id="a",
        split="val",
        series=STEP,
        channels=("x", "y"),
        target=2.5,
        group="anna",
        time="2026-01-31T12:00:00",
        step_seconds=60.0,
        side={"city": "Bern", "age": 41.0, "late": None},
    )
    other = RawSample(sample_id="b", series=STEP, channels=("x", "y"), target=-1.0, side={"age": None})
    summary, table, _ = run([sample, other], task="regression")
    row = table.iloc[0].to_dict()
    late = row.pop("side.late")
    assert math.isnan(late)
    assert row == {
        "sample_id": "a",
        "label": "",
        "given_split": "val",
        "group": "anna",
        "time": "2026-01-31T12:00:00",
        "content_sha256": hashlib.sha256(b"1x2:" + STEP.tobytes()).hexdigest(),
        "height_original": 0,
        "width_original": 0,
        "mode_original": "",
        "oddities": "",
        "row": 0,
        "target": 2.5,
        "start": 0,
        "length": 1,
        "step_seconds": 60.0,
        "side.age": 41.0,
        "side.city": "Bern",
    }
    assert table[["side.age", "side.city"]].iloc[1].isna().all()
    assert table_facts().side == {"age": "number", "city": "category", "late": "number"}
    assert summary["series"]["target"] == {"lowest": -1.0, "mean": 0.75, "highest": 2.5}


def test_equal_content_has_one_digest_whatever_is_said_of_it():
    """Labels, ids and memory order do not matter; the shape does."""
    square = np.arange(4, dtype=np.float32).reshape(2, 2)
    _, table, _ = run(series([square, np.asfortranarray(square), square + 1]))
    assert table["content_sha256"].nunique() == 2
    _, flat, _ = run(series([square.reshape(4, 1), square.reshape(4, 1) + 1], channels=("x",)))
    assert not set(flat["content_sha256"]) & set(table["content_sha256"])


@pytest.mark.parametrize(("task", "label"), [("regression", ""), ("anomaly", "normal"), ("forecasting", "")])
def test_only_classification_asks_for_classes(task, label):
    """One class, or none, is enough for the others."""
    samples = [RawSample(sample_id="a", label=label, series=STEP, channels=("x", "y"), target=1.0)]
    assert run(samples, task=task)[0]["kept"] == 1
    with pytest.raises(DataRefused, match="at least 2 classes"):
        run(samples)


def test_regression_asks_for_targets_unless_they_are_channels():
    """The message names the option; windows take their targets from the series."""
    with pytest.raises(DataRefused, match="--set target=COLUMN"):
        run(series(), task="regression")
    assert not paths.SAMPLES_PARQUET.exists()
    assert run(series(), task="regression", windowed=True)[1]["target"].isna().all()


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_limit_per_class_is_for_classification(task):
    """Other tasks have no classes to count."""
    samples = messages([f"text {number}" for number in range(10)], target=1.0)
    kept = {"classification": 4, "regression": 10}
    summary, table, _ = run(samples, task=task, limit_per_class=2)
    assert len(table) == kept[task]
    assert summary["beyond_limit"] == 10 - kept[task]


def test_unusable_samples_are_rejected_and_named():
    """Texts of nothing but spaces, series without steps, and targets that are no finite number."""
    summary, table, _ = run(messages(["one", " \n\t", "", "two", "three", "four"]))
    assert summary["rejected"] == {"empty": 2}
    assert summary["rejected_examples"] == {"empty": ["001", "002"]}
    assert table["row"].tolist() == [0, 1, 2, 3]
    assert run(series([STEP, STEP[:0], RAMP, STEP]))[0]["rejected"] == {"empty": 1}
    samples = [
        RawSample(sample_id=str(number), text="x", target=target)
        for number, target in enumerate([1.0, math.inf, math.nan])
    ]
    assert run(samples, task="regression")[0]["rejected"] == {"target": 2}


def test_too_many_rejected_refuse_the_data_and_write_nothing():
    """As it is for images."""
    with pytest.raises(DataRefused, match=r"data.max_rejected_share=0.1 of 4"):
        run(messages(["one", "", "two", "three"]), max_rejected_share=0.1)
    assert not paths.SAMPLES_PARQUET.exists()
    assert not paths.PAYLOAD_NPY.exists()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"channels": ("y", "x")}, "other channels than the first"),
        ({"anomalies": np.array([True])}, "differ in having labelled anomalies"),
    ],
)
def test_all_series_have_the_same_columns(second, message):
    """Swapped columns would otherwise train silently; the sample is named."""
    first, other = series([RAMP])[0], series([STEP], **second)[0]
    samples = [first, RawSample(**(vars(other) | {"sample_id": "001"}))]
    with pytest.raises(DataRefused, match=f"001.*{message}"):
        run(samples, task="anomaly")


@pytest.mark.parametrize("samples", [messages(), series()])
def test_the_same_samples_give_the_same_bytes(samples):
    """So that DVC finds nothing to do."""
    run(samples)
    first = [path.read_bytes() for path in (paths.SAMPLES_PARQUET, paths.PAYLOAD_NPY, paths.INGEST_REPORT)]
    run(samples)
    assert first == [
        path.read_bytes() for path in (paths.SAMPLES_PARQUET, paths.PAYLOAD_NPY, paths.INGEST_REPORT)
    ]


def test_a_table_of_texts_goes_from_file_to_data_set():
    """Options, given split and side columns arrive; numbers that are stated categories stay strings."""
    files = {
        "train.csv": b"message,class,age,code\nhello,ham,41,007\nbuy now,spam,,7\n",
        "test.csv": b"message,class,age,code\nbye,ham,3,07\n",
    }
    content = {"text": "message", "label": "class", "side": ["age", "code"], "categorical": ["code"]}
    module, options = source_of("text_table"), options_of("text_table", content)
    with archive_of(files) as archive:
        _, table, payload = run(list(module.read(archive, options)))
    assert table["sample_id"].tolist() == ["test/00000000", "train/00000000", "train/00000001"]
    assert table["given_split"].tolist() == ["test", "train", "train"]
    assert table["side.code"].tolist() == ["07", "007", "7"]
    np.testing.assert_array_equal([3, 41, math.nan], table["side.age"])
    assert payload.tobytes() == b"byehellobuy now"
    assert table_facts().side == {"age": "number", "code": "category"}


def test_the_stage_leaves_out_what_init_left_out(project):
    """Rows without an answer and rare classes, so that both count the same samples."""
    rows = "".join(f"text {n},{'' if n == 7 else 'odd' if n == 9 else 'xy'[n % 2]}\n" for n in range(40))
    (project / "dvc.yaml").write_text("stages:\n  ingest:\n    cmd: pipeline/run ingest\n")
    (project / "mail.csv").write_text(f"text,label\n{rows}")
    shutil.copy(ROOT / "examples/quick/sms-spam.yaml", project / "params.yaml")
    options = {"label": "label", "unlabelled": "leave_out", "least_per_class": 2}
    source = take_snapshot(
        "text_table", Location(path=str(project / "mail.csv")), max_bytes=1 << 20, options=options
    ).source
    write_source(source)
    paths.RAW_TAR.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(stored_tar(source.sha256), paths.RAW_TAR)
    ingest.main()
    summary = json.loads(paths.INGEST_REPORT.read_text())
    assert (38, 38) == (source.count, summary["kept"])
    assert {"x": 20, "y": 18} == summary["classes"]
    write_source(msgspec.structs.replace(source, options=source.options | {"unlabelled": "reject"}))
    with pytest.raises(SystemExit, match="65"):  # one of 39 is more than a hundredth
        ingest.main()
    params = (project / "params.yaml").read_text()
    assert "max_rejected_share: 0.01" in params
    (project / "params.yaml").write_text(
        params.replace("max_rejected_share: 0.01", "max_rejected_share: 0.1")
    )
    ingest.main()
    summary = json.loads(paths.INGEST_REPORT.read_text())
    assert (38, 39, {"unlabelled": 1}) == (summary["kept"], summary["read"], summary["rejected"])
