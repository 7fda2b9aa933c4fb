"""The split stage: reads the verdict, writes one table, refuses what cannot be split."""

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import paths
from pipeline.runtime import DataRefused, InputMissing
from pipeline.stages.split import split
from tests.ingested import pictures, write_ingested

SETTINGS = {"method": "stratified", "val_share": 0.2, "test_share": 0.2, "salt": "millrace"}


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def validated(tmp_path, labels, given=None, clusters=None, passed=True):
    """Write what ingest and validate leave behind; every sample its own cluster unless told."""
    write_ingested(tmp_path, pictures(len(labels)), labels, given)
    ids = [f"{number:03d}" for number in range(len(labels))]
    contents = pq.read_table(paths.SAMPLES_PARQUET)["content_sha256"].to_pylist()
    paths.DUPLICATES_PARQUET.parent.mkdir(parents=True)
    zeros = [0] * len(labels)
    table = {"sample_id": ids, "cluster": clusters or contents, "exact_copies": zeros, "near_copies": zeros}
    pq.write_table(pa.table(table), paths.DUPLICATES_PARQUET)
    paths.VALIDATE_SUMMARY.parent.mkdir(parents=True)
    paths.VALIDATE_SUMMARY.write_text(json.dumps({"passed": passed}))


def rows():
    """Return the rows of split.parquet."""
    return pq.read_table(paths.SPLIT_PARQUET).to_pylist()


def test_every_sample_has_one_line_in_order_of_row(tmp_path):
    """sample_id, row, label and split of all samples, row by row; the summary counts them."""
    validated(tmp_path, ["hat", "shoe"] * 60)
    summary = split(**SETTINGS)
    assert [row["row"] for row in rows()] == list(range(120))
    assert [row["sample_id"] for row in rows()][:2] == ["000", "001"]
    assert {"sample_id", "row", "label", "split"} == set(rows()[0])
    for name in ("train", "val", "test"):
        assert summary["samples"][name] == sum(row["split"] == name for row in rows()) > 0
    assert summary["overlap"]["clusters_in_two_splits"] == 0
    assert summary == json.loads(paths.SPLIT_SUMMARY.read_text())


def test_a_second_run_writes_the_same_bytes(tmp_path):
    """Table and summary are the same for the same data."""
    validated(tmp_path, ["hat", "shoe"] * 60)
    split(**SETTINGS)
    first = paths.SPLIT_PARQUET.read_bytes(), paths.SPLIT_SUMMARY.read_bytes()
    split(**SETTINGS)
    assert first == (paths.SPLIT_PARQUET.read_bytes(), paths.SPLIT_SUMMARY.read_bytes())


def test_copies_stay_together(tmp_path):
    """Samples of one cluster get one split, also under different labels."""
    clusters = [f"{number // 3}" for number in range(120)]
    validated(tmp_path, ["hat", "shoe"] * 60, clusters=clusters)
    split(**SETTINGS)
    found = {(cluster, row["split"]) for cluster, row in zip(clusters, rows(), strict=True)}
    assert len(found) == 40


def test_given_splits_are_honoured_and_audited(tmp_path):
    """Test stays as given; its copies in train are excluded and counted."""
    labels = ["hat", "shoe"] * 40
    given = ["train"] * 60 + ["test"] * 20
    clusters = [f"c{number}" for number in range(80)]
    clusters[0] = clusters[79]
    validated(tmp_path, labels, given, clusters)
    summary = split(**{**SETTINGS, "method": "given"})
    assert {row["split"] for row in rows()[60:]} == {"test"}
    assert rows()[0]["split"] == "excluded"
    assert summary["samples"]["excluded"] == 1
    assert summary["overlap"]["excluded_copies_given_as"] == {"train": 1, "val": 0, "test": 0}


def test_data_that_did_not_pass_is_not_split(tmp_path):
    """A verdict on disk that says no is a no, also where DVC is bypassed."""
    validated(tmp_path, ["hat", "shoe"] * 60, passed=False)
    with pytest.raises(DataRefused, match="did not pass validation"):
        split(**SETTINGS)
    assert not paths.SPLIT_PARQUET.exists()


def test_a_class_that_is_too_small_is_refused_with_the_number_needed(tmp_path):
    """A class of two contents cannot stand in three splits."""
    validated(tmp_path, ["hat", "shoe"] * 60 + ["bag"] * 2)
    with pytest.raises(DataRefused, match="at least 3 are needed"):
        split(**SETTINGS)
    assert not paths.SPLIT_PARQUET.exists()


def test_a_given_split_without_names_is_refused(tmp_path):
    """method=given on data without a given split says what to set instead."""
    validated(tmp_path, ["hat", "shoe"] * 10)
    with pytest.raises(DataRefused, match=r"split\.method: stratified"):
        split(**{**SETTINGS, "method": "given"})


def test_a_class_missing_from_the_given_test_set_is_refused(tmp_path):
    """The message names class and split."""
    given = ["train"] * 100 + ["val"] * 10 + ["test"] * 10
    labels = ["hat", "shoe"] * 55 + ["hat"] * 10
    validated(tmp_path, labels, given)
    with pytest.raises(DataRefused, match="class 'shoe' has no sample in test"):
        split(**{**SETTINGS, "method": "given"})


def test_duplicates_of_other_data_are_refused(tmp_path):
    """A duplicates table with other ids is not joined in silence."""
    validated(tmp_path, ["hat", "shoe"] * 60)
    table = pq.read_table(paths.DUPLICATES_PARQUET)
    pq.write_table(table.slice(1), paths.DUPLICATES_PARQUET)
    with pytest.raises(DataRefused, match="does not belong to"):
        split(**SETTINGS)


def test_a_missing_table_says_which_stage_makes_it(tmp_path):
    """The message names validate."""
    validated(tmp_path, ["hat", "shoe"] * 60)
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
