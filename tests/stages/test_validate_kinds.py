"""The gate on texts and series: sound data passes, each planted defect is refused by name."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from pipeline.stages.validate import validate
from tests.helpers.ingested_kinds import write_series, write_texts

BOUNDS = {
    "min_samples_per_class": 5,
    "max_class_ratio": 3.0,
    "max_label_conflicts": 0,
    "max_duplicate_share": 0.1,
}
NEAR = {"near_text_similarity": 0.9, "near_series_distance": 0.01}
OUTS = (
    paths.STATISTICS_PARQUET,
    paths.DUPLICATES_PARQUET,
    paths.VALIDATE_SUMMARY,
    paths.VALIDATE_FAILING,
    paths.VALIDATE_HTML,
)
WORDS = [
    "river",
    "stone",
    "cloud",
    "apple",
    "train",
    "window",
    "paper",
    "garden",
    "silver",
    "music",
    "bridge",
    "yellow",
]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def texts(number=24):
    """Return different sentences of ten random words."""
    random = np.random.default_rng(0)
    return [" ".join(random.choice(WORDS, 10)) for _ in range(number)]


def walks(number=24, steps=30, channels=2):
    """Return random walks, float32."""
    random = np.random.default_rng(0)
    return list(random.standard_normal((number, steps, channels)).cumsum(axis=1).astype(np.float32))


LABELS = ["ham"] * 14 + ["spam"] * 10


def test_every_label_of_several_is_judged_by_its_size():
    """Labels of 24 and 12 samples pass; one of three samples is refused, and the page shows labels, not sets."""
    several = ['["ham"]', '["ham", "spam"]'] * 12
    write_texts(Path(), texts(), several)
    summary = validate(BOUNDS, NEAR, "multilabel")
    assert {"ham": 24, "spam": 12} == summary["classes"]
    page = paths.VALIDATE_HTML.read_text()
    assert ">spam</span>" in page
    assert "&#34;spam&#34;" not in page.split("Some samples")[0].split('class="name"')[1]
    write_texts(Path(), texts(), ['["ham", "rare"]'] * 3 + several[3:])
    message, failing = refused("multilabel")
    assert "No class is smaller than validate.min_samples_per_class" in message
    assert 3 == len(failing["class_samples"])


def refused(*arguments):
    """Return the message of the refusal, and the failing samples of critical expectations by column."""
    with pytest.raises(DataRefused) as error:
        validate(BOUNDS, NEAR, *arguments)
    failing = pd.read_csv(paths.VALIDATE_FAILING, dtype=str, keep_default_na=False)
    critical = failing[failing["severity"] == "critical"]
    return str(error.value), critical.groupby("column")["sample_id"].apply(list)


def warned(summary):
    """Return the columns with a warning."""
    return sorted(entry["column"] for entry in summary["not_met"] if entry["severity"] == "warning")


@pytest.mark.parametrize("kind", ["texts", "series"])
def test_sound_data_passes(tmp_path, kind):
    """Everything is met, all files are there, a second run writes the same bytes."""
    if kind == "texts":
        write_texts(tmp_path, texts(), LABELS, side={"age": [float(number % 7) for number in range(24)]})
    else:
        write_series(tmp_path, walks(), LABELS)
    summary = validate(BOUNDS, NEAR)
    assert summary["not_met"] == []
    assert summary["classes"] == {"ham": 14, "spam": 10}
    assert summary == json.loads(paths.VALIDATE_SUMMARY.read_text())
    first = [path.read_bytes() for path in OUTS]
    validate(BOUNDS, NEAR)
    assert first == [path.read_bytes() for path in OUTS]


@pytest.mark.parametrize("kind", ["texts", "series"])
def test_duplicates_have_the_same_columns_for_every_kind(tmp_path, kind):
    """Sample id, cluster, exact and near copies, in the order of the samples."""
    if kind == "texts":
        given = texts()
        given[3], given[5] = given[4], given[6].upper() + "!"
        write_texts(tmp_path, given, LABELS)
    else:
        given = walks()
        given[3], given[5] = given[4], given[6] * 2 + 1
        write_series(tmp_path, given, LABELS)
    validate(BOUNDS, NEAR)
    table = pd.read_parquet(paths.DUPLICATES_PARQUET)
    assert table.columns.tolist() == ["sample_id", "cluster", "exact_copies", "near_copies"]
    assert table["sample_id"].tolist() == [f"{number:03d}" for number in range(24)]
    assert np.flatnonzero(table["exact_copies"]).tolist() == [3, 4]
    assert np.flatnonzero(table["near_copies"]).tolist() == [5, 6]
    assert table["cluster"][3] == table["cluster"][4] != table["cluster"][5] == table["cluster"][6]


def test_a_text_under_two_labels_is_refused(tmp_path):
    """Both samples are named, and shown side by side in the report."""
    given = texts()
    given[20] = given[2]
    write_texts(tmp_path, given, LABELS)
    message, failing = refused()
    assert "contents stand under two labels" in message
    assert failing["opens_conflict"] == ["002", "020"]
    assert "One content, two labels" in paths.VALIDATE_HTML.read_text()


def test_near_copies_under_two_labels_are_a_warning(tmp_path):
    """The same text with other digits and signs, under another label."""
    given = texts()
    given[2], given[20] = "Call 0800 now, river stone!", "call 0900 now river stone"
    write_texts(tmp_path, given, LABELS)
    summary = validate(BOUNDS, NEAR)
    assert warned(summary) == ["near_conflict"]
    assert summary["duplicates"]["near_copies_under_two_labels"] == 2


def test_empty_texts_and_a_wrong_encoding_are_refused(tmp_path):
    """More than 1 % of either; all texts are named."""
    given = texts()
    given[1], given[7] = "  ", "pi\ufffdata"
    write_texts(tmp_path, given, LABELS)
    _, failing = refused()
    assert failing["empty"] == ["001"]
    assert failing["replacement_characters"] == ["007"]


def test_rows_glued_together_by_a_quote_are_a_warning(tmp_path):
    """One text of sixty others, with line ends and a stray control character."""
    given = texts()
    given[4] = "\n".join(texts(60)) + "\x85"
    write_texts(tmp_path, given, LABELS)
    assert warned(validate(BOUNDS, NEAR)) == ["control_characters", "length_ratio"]


def test_side_columns_without_use_are_warnings(tmp_path):
    """A constant column and one of ids are named in the summary."""
    side = {"country": ["ch"] * 24, "user": [f"u{number}" for number in range(24)], "age": [1.5, None] * 12}
    write_texts(tmp_path, texts(), LABELS, side=side)
    summary = validate(BOUNDS, NEAR)
    assert warned(summary) == ["constant", "looks_like_id"]
    assert summary["columns"] == {
        "constant": ["side.country", "side.age"],
        "looks_like_id": ["side.user"],
        "far_out": [],
    }


def test_what_a_logger_writes_for_no_value_is_a_warning(tmp_path):
    """-9999 in three steps of one channel."""
    given = walks()
    for one in given[:3]:
        one[4, 0] = -9999
    write_series(tmp_path, given, LABELS)
    summary = validate(BOUNDS, NEAR)
    assert "far_out" in warned(summary)
    assert len(summary["columns"]["far_out"]) == 1


def test_infinite_and_missing_series_are_refused(tmp_path):
    """An infinite value, and a series of nothing; half a series missing is a warning."""
    given = walks()
    given[1][3, 0] = np.inf
    given[2][:] = np.nan
    given[9][:20] = np.nan
    write_series(tmp_path, given, LABELS)
    _, failing = refused()
    assert failing["non_finite"] == ["001"]
    assert failing["missing_share"] == ["002"]
    assert {"missing_share", "constant_share"} <= set(warned(json.loads(paths.VALIDATE_SUMMARY.read_text())))


def test_regression_needs_targets_and_no_classes(tmp_path):
    """Labels are not looked at; a sound target passes."""
    write_series(tmp_path, walks(), targets=np.linspace(0, 1, 24))
    summary = validate(BOUNDS, NEAR, "regression")
    assert summary["passed"] is True
    assert "classes" not in summary


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({3: np.nan}, "Every sample has a target."),
        ({3: np.inf}, "Every target is finite."),
        (dict.fromkeys(range(24), 2.0), "There are different targets to tell apart."),
    ],
)
def test_targets_without_sense_are_refused(tmp_path, change, said):
    """Missing, infinite, or all the same."""
    targets = np.linspace(0, 1, 24)
    for row, value in change.items():
        targets[row] = value
    write_texts(tmp_path, texts(), targets=targets)
    assert said in refused("regression")[0]


def test_windowed_series_are_their_own_clusters(tmp_path):
    """Forecasting: no labels, no targets per sample; near copies are not looked for, exact ones are."""
    given = walks(8)
    given[3], given[4] = given[5] * 2, given[6]
    write_series(tmp_path, given, channels=["load", "temp"])
    windows = {"targets": ("load",), "known": ("temp",)}
    summary = validate(BOUNDS | {"max_duplicate_share": 0.5}, NEAR, "forecasting", windows)
    assert summary["passed"] is True
    assert summary["duplicates"]["clusters"] == 7
    assert summary["duplicates"]["samples_with_near_copy"] == 0


def test_a_constant_target_channel_is_refused(tmp_path):
    """Nothing can be learned about it."""
    given = walks(3)
    for one in given:
        one[:, 1] = 4
    write_series(tmp_path, given, channels=["load", "temp"])
    assert (
        "No channel that is to be predicted is constant."
        in refused("forecasting", {"targets": ("temp",), "known": ()})[0]
    )


def test_unknown_channels_are_refused_before_anything_is_measured(tmp_path):
    """The message names the key, the channels there are, and the ones there are not."""
    write_series(tmp_path, walks(3), channels=["load", "temp"])
    with pytest.raises(DataRefused, match=r"data\.windows names columns.*load, temp\. Received: wind"):
        validate(BOUNDS, NEAR, "forecasting", {"targets": ("load",), "known": ("wind",)})


def test_anomalies_are_no_channel(tmp_path):
    """The column of labelled steps is neither measured nor listed, and must be 0 or 1."""
    given = [np.concatenate([one, np.zeros((30, 1), np.float32)], axis=1) for one in walks(6)]
    write_series(tmp_path, given, channels=["load", "temp"], has_anomalies=True)
    windows = {"targets": (), "known": ()}
    columns = {"constant": [], "looks_like_id": [], "far_out": []}
    assert validate(BOUNDS, NEAR, "anomaly", windows)["columns"] == columns
    given[0][4, 2] = 7
    write_series(tmp_path, given, channels=["load", "temp"], has_anomalies=True)
    with pytest.raises(DataRefused, match="0 or 1"):
        validate(BOUNDS, NEAR, "anomaly", windows)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    """The sample is named with the reason."""
    write_texts(tmp_path, texts(), LABELS)
    payload = np.load(paths.PAYLOAD_NPY)
    payload[0] = 0xFF
    np.save(paths.PAYLOAD_NPY, payload)
    with pytest.raises(DataRefused, match=r"not UTF-8.*000 \(invalid start byte\)"):
        validate(BOUNDS, NEAR)
