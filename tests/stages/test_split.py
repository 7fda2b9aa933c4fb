"""The split stage: reads the verdict, writes one table, refuses what cannot be split."""

import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused, InputMissing
from pipeline.stages.split import split
from tests.helpers.split_data import numbered_texts, read_split_rows, write_data

SETTINGS = {"method": "stratified", "val_share": 0.2, "test_share": 0.2, "salt": "millrace"}


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def validated(labels, given=None, clusters=None, passed=True, **columns):
    """Write what ingest and validate leave behind; every sample its own cluster unless told."""
    write_data(
        numbered_texts(len(labels)), labels=labels, given=given, clusters=clusters, passed=passed, **columns
    )


def test_every_sample_has_one_line_in_order_of_row():
    """All samples row by row, each over its whole length; the summary counts them."""
    validated(["hat", "shoe"] * 60)
    summary = split(**SETTINGS)
    assert [row["row"] for row in read_split_rows()] == list(range(120))
    assert [row["sample_id"] for row in read_split_rows()][:2] == ["000000", "000001"]
    assert ["sample_id", "row", "label", "target", "split", "start", "stop"] == list(read_split_rows()[0])
    assert {(0, 64)} == {(row["start"], row["stop"]) for row in read_split_rows()}
    for name in ("train", "val", "test"):
        assert summary["samples"][name] == sum(row["split"] == name for row in read_split_rows()) > 0
    assert summary["overlap"]["clusters_in_two_splits"] == 0
    assert summary == json.loads(paths.SPLIT_SUMMARY.read_text())


def test_a_second_run_writes_the_same_bytes():
    """Table and summary are the same for the same data."""
    validated(["hat", "shoe"] * 60)
    split(**SETTINGS)
    first = paths.SPLIT_PARQUET.read_bytes(), paths.SPLIT_SUMMARY.read_bytes()
    split(**SETTINGS)
    assert first == (paths.SPLIT_PARQUET.read_bytes(), paths.SPLIT_SUMMARY.read_bytes())


def test_every_label_is_wanted_everywhere():
    """Several labels per sample: each is counted in each split, and one that three samples have is refused by name."""
    cells = ['["hat"]', '["hat", "shoe"]', "[]"] * 60
    validated(cells)
    summary = split(**SETTINGS, task="multilabel")
    rows = read_split_rows()
    assert {"hat", "shoe"} == summary["classes"].keys()
    for name in ("train", "val", "test"):
        assert summary["classes"]["hat"][name] == sum(
            "hat" in row["label"] and row["split"] == name for row in rows
        )
    validated(['["hat", "rare"]'] * 2 + cells)
    with pytest.raises(DataRefused, match=r"label 'rare' has no sample in \w+. .*2 different contents"):
        split(**SETTINGS, task="multilabel")


def test_copies_stay_together():
    """Samples of one cluster get one split, also under different labels."""
    clusters = [f"{number // 3}" for number in range(120)]
    validated(["hat", "shoe"] * 60, clusters=clusters)
    split(**SETTINGS)
    found = {(cluster, row["split"]) for cluster, row in zip(clusters, read_split_rows(), strict=True)}
    assert len(found) == 40


def test_given_splits_are_honoured_and_audited():
    """Test stays as given; its copies in train are excluded and counted."""
    labels = ["hat", "shoe"] * 40
    given = ["train"] * 60 + ["test"] * 20
    clusters = [f"c{number}" for number in range(80)]
    clusters[0] = clusters[79]
    validated(labels, given, clusters)
    summary = split(**{**SETTINGS, "method": "given"})
    assert {row["split"] for row in read_split_rows()[60:]} == {"test"}
    assert read_split_rows()[0]["split"] == "excluded"
    assert summary["samples"]["excluded"] == 1
    assert summary["overlap"]["excluded_copies_given_as"] == {"train": 1, "val": 0, "test": 0}


def test_groups_stay_together_with_their_copies():
    """No person is in two splits, also where two persons share a content."""
    persons = [f"p{number // 4}" for number in range(240)]
    clusters = [f"c{number}" for number in range(240)]
    clusters[1] = clusters[9]
    validated(["hat", "shoe"] * 120, clusters=clusters, groups=persons)
    summary = split(**{**SETTINGS, "method": "group"})
    found = {(person, row["split"]) for person, row in zip(persons, read_split_rows(), strict=True)}
    assert 60 == len(found) == summary["groups"]
    assert read_split_rows()[1]["split"] == read_split_rows()[9]["split"]


def test_a_group_larger_than_a_split_is_refused_with_another_salt():
    """Half of the samples are one person's: the message names the number needed and a salt that works."""
    persons = ["big"] * 100 + [f"p{number}" for number in range(100)]
    refusals = []
    for salt in "abcdefgh":
        validated(["hat", "shoe"] * 100, groups=persons)
        try:
            split(**{**SETTINGS, "method": "group", "salt": salt})
        except DataRefused as error:
            refusals.append(str(error))
    assert refusals
    for refusal in refusals:
        assert "group 'big' is larger than" in refusal
        assert "at least 334 samples are needed" in refusal
    offered = refusals[0].split("split.salt: ")[1].split("`")[0]
    validated(["hat", "shoe"] * 100, groups=persons)
    split(**{**SETTINGS, "method": "group", "salt": offered})


def test_a_class_of_two_groups_is_refused():
    """Three splits need three persons, however many samples two of them have."""
    labels = ["hat", "shoe"] * 60 + ["bag"] * 40
    persons = [f"p{number}" for number in range(120)] + ["p0", "p1"] * 20
    validated(labels, groups=persons)
    with pytest.raises(DataRefused, match=r"class 'bag' .* 2 different groups .*at least 3 are needed"):
        split(**{**SETTINGS, "method": "group"})


def test_method_group_without_groups_is_refused():
    """The message says how to name the column."""
    validated(["hat", "shoe"] * 60)
    with pytest.raises(DataRefused, match="--set group="):
        split(**{**SETTINGS, "method": "group"})


def test_time_splits_samples_and_names_the_dates():
    """The last fifth judges; a training copy of a judging sample is excluded; the summary pins the dates."""
    times = [f"2020-{1 + number // 28:02d}-{1 + number % 28:02d}" for number in range(100)]
    clusters = [f"c{number}" for number in range(100)]
    clusters[0] = clusters[99]
    validated(["hat", "shoe"] * 50, clusters=clusters, times=times)
    summary = split(**{**SETTINGS, "method": "time"})
    found = [row["split"] for row in read_split_rows()]
    assert ["excluded"] + ["train"] * 59 + ["val"] * 20 + ["test"] * 20 == found
    assert {"val_start": f"{times[60]}T00:00:00", "test_start": f"{times[80]}T00:00:00"} == summary["dates"]


def test_series_under_windows_are_cut_into_segments():
    """One line per series and split, in steps of the series; the summary counts steps."""
    write_data([np.arange(100.0), np.arange(50.0)], step_seconds=60.0, times=["2020-01-01", "2021-01-01"])
    summary = split(**{**SETTINGS, "method": "time"}, task="forecasting", windows=(10, 5), embargo=2)
    found = [(row["row"], row["split"], row["start"], row["stop"]) for row in read_split_rows()]
    assert [(0, "train", 0, 58), (0, "excluded", 58, 60), (0, "val", 60, 78)] == found[:3]
    assert (1, "test", 40, 50) == found[-1]
    assert {"train": 86, "val": 26, "test": 30, "excluded": 8} == summary["steps"]
    assert {} == summary["classes"]


def test_ranges_of_regression_targets_must_be_everywhere():
    """Three samples cannot carry a fifth of the targets into three splits each."""
    validated([""] * 12, targets=[float(number) for number in range(12)])
    with pytest.raises(DataRefused, match="the range of targets from"):
        split(**SETTINGS, task="regression")
    validated([""] * 300, targets=[float(number) for number in range(300)])
    split(**SETTINGS, task="regression")
    assert [float(number) for number in range(300)] == [row["target"] for row in read_split_rows()]


@pytest.mark.parametrize("method", ["stratified", "group", "given"])
def test_new_rows_move_no_old_one(method):
    """Forty rows more, of old and new groups and at the front of the table: what judges stays, whoever drew it."""
    texts, given = numbered_texts(240), ["train"] * 200 + ["test"] * 40
    persons = [f"p{number % 60}" for number in range(240)]
    labels = ["hat", "shoe"] * 120
    ids = [f"b{number:06d}" for number in range(240)]
    write_data(texts, labels=labels, groups=persons, given=given, ids=ids)
    settings = {**SETTINGS, "method": method}
    if method == "given":
        persons = [""] * 240
        write_data(texts, labels=labels, given=given, ids=ids)
    split(**settings)
    before = {row["sample_id"]: row["split"] for row in read_split_rows()}
    new = 40
    write_data(
        numbered_texts(new, "new") + texts,
        labels=["hat", "shoe"] * 20 + labels,
        groups=[f"p{number + 40}" if persons[0] else "" for number in range(new)] + persons,
        given=["train"] * new + given,
        ids=[f"a{number:06d}" for number in range(new)] + ids,
    )
    split(**settings)
    after = {row["sample_id"]: row["split"] for row in read_split_rows()}
    moved = [{before[name], own} for name, own in after.items() if before.get(name, own) != own]
    # Of a given train set val is counted out class by class, and follows its share; what judges never moves.
    assert all(pair == {"train", "val"} for pair in moved)
    assert len(moved) <= (new // 10 if method == "given" else 0)
    assert 280 == len(after)


@pytest.mark.parametrize("method", ["stratified", "group", "given", "time"])
def test_shuffled_rows_get_the_same_split(method):
    """The order of rows says nothing: every sample is where it was."""
    texts, labels = numbered_texts(240), ["hat", "shoe"] * 120
    columns = {
        "labels": labels,
        "groups": [f"p{number % 60}" if method == "group" else "" for number in range(240)],
        "given": ["train"] * 200 + ["test"] * 40,
        "times": [f"2020-{1 + number // 28:02d}-{1 + number % 28:02d}" for number in range(240)],
        "ids": [f"{number:06d}" for number in range(240)],
    }
    order = np.random.default_rng(0).permutation(240)
    found = []
    for rows in (range(240), order):
        shuffled = {name: [column[row] for row in rows] for name, column in columns.items()}
        write_data([texts[row] for row in rows], **shuffled)
        split(**{**SETTINGS, "method": method})
        found.append({row["sample_id"]: row["split"] for row in read_split_rows()})
    assert found[0] == found[1]


def test_data_that_did_not_pass_is_not_split():
    """A verdict on disk that says no is a no, also where DVC is bypassed."""
    validated(["hat", "shoe"] * 60, passed=False)
    with pytest.raises(DataRefused, match="did not pass validation"):
        split(**SETTINGS)
    assert not paths.SPLIT_PARQUET.exists()


def test_a_class_that_is_too_small_is_refused_with_the_number_needed():
    """A class of two contents cannot stand in three splits."""
    validated(["hat", "shoe"] * 60 + ["bag"] * 2)
    with pytest.raises(DataRefused, match="at least 3 are needed"):
        split(**SETTINGS)
    assert not paths.SPLIT_PARQUET.exists()


def test_a_given_split_without_names_is_refused():
    """method=given on data without a given split says what to set instead."""
    validated(["hat", "shoe"] * 10)
    with pytest.raises(DataRefused, match=r"split\.method: stratified"):
        split(**{**SETTINGS, "method": "given"})


def test_a_class_missing_from_the_given_test_set_is_refused():
    """The message names class and split."""
    given = ["train"] * 100 + ["val"] * 10 + ["test"] * 10
    labels = ["hat", "shoe"] * 55 + ["hat"] * 10
    validated(labels, given)
    with pytest.raises(DataRefused, match="class 'shoe' has no sample in test"):
        split(**{**SETTINGS, "method": "given"})


def test_duplicates_of_other_data_are_refused():
    """A duplicates table with other ids is not joined in silence."""
    validated(["hat", "shoe"] * 60)
    table = pq.read_table(paths.DUPLICATES_PARQUET)
    pq.write_table(table.slice(1), paths.DUPLICATES_PARQUET)
    with pytest.raises(DataRefused, match="does not belong to"):
        split(**SETTINGS)


def test_a_missing_table_says_which_stage_makes_it():
    """The message names validate."""
    validated(["hat", "shoe"] * 60)
    paths.DUPLICATES_PARQUET.unlink()
    with pytest.raises(InputMissing, match="dvc repro validate"):
        split(**SETTINGS)


def test_the_stage_starts_lean():
    """Splitting imports neither Great Expectations nor pandas, scikit-learn, matplotlib or TensorFlow."""
    heavy = "{'great_expectations', 'pandas', 'sklearn', 'matplotlib', 'tensorflow', 'mlflow', 'scipy'}"
    code = f"import sys, pipeline.stages.split; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=paths.__file__.rsplit("/pipeline/")[0],
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "[]", done.stderr
