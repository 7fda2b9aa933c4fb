"""Table and array are written in pieces and read as one."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline import sample_table
from pipeline.sample_table import SCHEMA, npy_writer, read_samples, sample_writer

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
    monkeypatch.setattr(sample_table, "ROWS_PER_GROUP", 3)
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
