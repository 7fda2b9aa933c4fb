"""Table and array are written in pieces and read as one."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.data.samples import SCHEMA, TableFacts, read_samples, table_facts
from pipeline.ingest import writers
from pipeline.ingest.writers import npy_writer, sample_writer
from pipeline.runtime.errors import DataRefused

ROW = {field.name: "" if field.type == "string" else 0 for field in SCHEMA}


@pytest.mark.parametrize(("count", "shape", "dtype"), [(1, (2,), np.uint8), (1000, (3, 4, 1), np.float32)])
def test_the_array_is_numpys(tmp_path, count, shape, dtype):
    """Row by row gives the bytes that `np.save` gives for the whole."""
    expected = np.random.default_rng(0).integers(0, 100, (count, *shape)).astype(dtype)
    with npy_writer(tmp_path / "a.npy") as writer:
        for row in expected:
            writer.append(row)
    np.save(tmp_path / "b.npy", expected)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    np.testing.assert_array_equal(expected, np.load(tmp_path / "a.npy", mmap_mode="r"))


def test_rows_in_any_memory_order_are_written_in_c_order(tmp_path):
    """A transposed view is not its memory."""
    row = np.arange(6, dtype=np.uint8).reshape(2, 3).T
    with npy_writer(tmp_path / "a.npy") as writer:
        writer.append(row)
    np.testing.assert_array_equal(row[np.newaxis], np.load(tmp_path / "a.npy"))


@pytest.mark.parametrize("second", [np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.int8)])
def test_all_rows_have_one_shape_and_type(tmp_path, second):
    """Anything else is refused, and no file appears."""
    with pytest.raises(ValueError, match="does not fit the array"), npy_writer(tmp_path / "a.npy") as writer:
        writer.append(np.zeros((2, 3), np.uint8))
        writer.append(second)
    assert list(tmp_path.iterdir()) == []


def test_an_array_without_rows_is_refused(tmp_path):
    """Nobody knows the shape of nothing."""
    with pytest.raises(ValueError, match="at least one row"), npy_writer(tmp_path / "a.npy"):
        pass


def test_the_table_is_written_in_groups(tmp_path, monkeypatch):
    """Seven rows in groups of three, all there and in order."""
    monkeypatch.setattr(writers, "ROWS_PER_GROUP", 3)
    with sample_writer(tmp_path / "a.parquet") as writer:
        for index in range(7):
            writer.append(ROW | {"sample_id": f"{index}", "row": index})
    assert list(range(7)) == read_samples(tmp_path / "a.parquet")["row"].tolist()
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 3


def test_labels_that_look_like_missing_values_stay_labels(tmp_path):
    """`NA`, `None`, `null`, `nan` and the empty string are names of classes like any other."""
    labels = ["NA", "None", "null", "nan", "", "007", "True"]
    with sample_writer(tmp_path / "a.parquet") as writer:
        for index, label in enumerate(labels):
            writer.append(ROW | {"sample_id": str(index), "label": label})
    assert labels == read_samples(tmp_path / "a.parquet")["label"].tolist()


@pytest.mark.parametrize("row", [{}, ROW | {"colour": "red"}])
def test_rows_have_exactly_the_columns(tmp_path, row):
    """A forgotten column would otherwise be silently empty."""
    with pytest.raises(ValueError, match="wrong columns"), sample_writer(tmp_path / "a.parquet") as writer:
        writer.append(row)


def test_a_missing_table_names_its_stage(tmp_path):
    """And a table of another version is refused."""
    with pytest.raises(FileNotFoundError, match="dvc repro ingest"):
        read_samples(tmp_path / "a.parquet")
    import pyarrow as pa

    pq.write_table(pa.table({"sample_id": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="other columns"):
        read_samples(tmp_path / "a.parquet")


def written(path, *sides, facts=None):
    """Write rows with these side features, ids 0, 1, ..., and return the table."""
    with sample_writer(path) as writer:
        writer.facts = facts or TableFacts()
        for index, side in enumerate(sides):
            writer.append(ROW | {"sample_id": str(index)}, side)
    return read_samples(path)


def test_side_columns_come_after_the_others_in_alphabetical_order(tmp_path):
    """Numbers are numbers, words are categories, and what is missing is missing in both."""
    table = written(tmp_path / "a.parquet", {"size": 1, "colour": "NA"}, {"size": None, "colour": None}, {})
    assert table.columns.tolist() == [*SCHEMA.names, "side.colour", "side.size"]
    assert table["side.size"].dtype == np.float64
    assert table["side.size"].isna().tolist() == [False, True, True]
    assert table["side.colour"].iloc[0] == "NA"
    assert table["side.colour"].isna().tolist() == [False, True, True]
    assert table_facts(tmp_path / "a.parquet").side == {"colour": "category", "size": "number"}


def test_what_the_samples_are_is_kept_with_the_table(tmp_path):
    """Payload, channels and labelled anomalies; side columns follow from the rows."""
    facts = TableFacts("series", ("x", "y"), has_anomalies=True)
    written(tmp_path / "a.parquet", {"age": 1.0}, facts=facts)
    expected = TableFacts("series", ("x", "y"), {"age": "number"}, has_anomalies=True)
    assert table_facts(tmp_path / "a.parquet") == expected
    content = json.loads(pq.read_schema(tmp_path / "a.parquet").metadata[b"millrace"])
    assert content == {
        "payload": "series",
        "channels": ["x", "y"],
        "side": {"age": "number"},
        "has_anomalies": True,
    }


def test_facts_of_a_missing_table_name_its_stage(tmp_path):
    """As the table itself does."""
    with pytest.raises(FileNotFoundError, match="dvc repro ingest"):
        table_facts(tmp_path / "a.parquet")


def test_a_side_column_has_one_kind(tmp_path, monkeypatch):
    """A word among numbers is refused wherever it stands, with the option that says what the column is."""
    for rows_per_group in (1, 8192):
        monkeypatch.setattr(writers, "ROWS_PER_GROUP", rows_per_group)
        with pytest.raises(DataRefused, match="--set categorical=COLUMN"):
            written(tmp_path / "a.parquet", {"size": 1.0}, {"size": "large"})
    assert list(tmp_path.iterdir()) == []


def test_a_side_column_that_appears_late_is_refused(tmp_path, monkeypatch):
    """It would otherwise be dropped without a word."""
    monkeypatch.setattr(writers, "ROWS_PER_GROUP", 1)
    with pytest.raises(ValueError, match=r"appear late.*side\.size"):
        written(tmp_path / "a.parquet", {}, {"size": 1.0})


def test_several_rows_at_once_are_numpys(tmp_path):
    """Pieces of unequal length end up in one array."""
    pieces = [np.full((length, 2), length, np.float32) for length in (3, 1, 4)]
    with npy_writer(tmp_path / "a.npy") as writer:
        for piece in pieces:
            writer.extend(piece)
    np.testing.assert_array_equal(np.concatenate(pieces), np.load(tmp_path / "a.npy"))
