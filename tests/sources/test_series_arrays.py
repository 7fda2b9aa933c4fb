"""Series in arrays of NumPy; the second opinion is NumPy's own reading, and the same set in its other format."""

import io

import numpy as np
import pytest

from pipeline.runtime.errors import DataRefused, WronglyCalled
from pipeline.sources import series_archive, series_arrays
from tests.helpers.read_source import described, read_source

X = np.arange(12, dtype=np.float64).reshape(2, 3, 2)
Y = np.array(["up", "down"])


def saved(array, **how):
    """Return the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, **how)
    return buffer.getvalue()


def packed(**arrays):
    """Return the bytes of a .npz file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("axes", "turned"), [("steps_channels", X), ("channels_steps", X.transpose(0, 2, 1))]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_row_is_a_series_whatever_lies_beside_what_in_memory(axes, turned, order):
    """Axes as somebody says; what nobody says is refused with both readings."""
    files = {"d/X.npy": saved(np.array(turned, order=order)), "d/y.npy": saved(Y)}
    samples = read_source(series_arrays, files, axes=axes)
    np.testing.assert_array_equal(X, np.stack([sample.series for sample in samples]))
    assert [("00000000", "up", None), ("00000001", "down", None)] == [
        (sample.sample_id, sample.label, sample.split) for sample in samples
    ]
    assert ("1", "2") == samples[0].channels
    with pytest.raises(DataRefused, match=r"axes=steps_channels .* or axes=channels_steps"):
        read_source(series_arrays, files)
    assert "X.npy: 2 series of 3 steps and 2 channels, answers in y" in described(
        series_arrays, files, axes=axes
    )


@pytest.mark.parametrize(
    "names", [("X_train", "y_train", "X_test", "y_test"), ("train_x", "train_labels", "test_x", "test_labels"),
              ("xtrain", "ytrain", "xtest", "ytest"), ("train/X", "train/y", "test/X", "test/y")]
)  # fmt: skip
def test_names_give_the_split(names):
    """Before or after the name, in one word, or by the folder; a train set must be there."""
    arrays = (X[:, :, 0], Y, X[:1, :, 1], Y[:1])
    files = {f"{name}.npy": saved(array) for name, array in zip(names, arrays, strict=True)}
    samples = read_source(series_arrays, files)
    assert [("test/00000000", "test"), ("train/00000000", "train"), ("train/00000001", "train")] == [
        (sample.sample_id, sample.split) for sample in samples
    ]
    assert [[1.0], [3.0], [5.0]] == samples[0].series.tolist()


def test_one_file_may_hold_all_arrays():
    """Of a .npz, compressed; groups, numbers to predict, steps without a value at the end."""
    values = np.array([[1, 2, np.nan], [np.nan, 4, 5]])
    content = packed(signals=values, score=np.array([0.5, -1]), who=np.array([[7], [8]]))
    first, second = read_source(
        series_arrays, {"d.npz": content}, x="signals", y="score", answer="target", group="who"
    )
    np.testing.assert_array_equal([[1], [2]], first.series)
    np.testing.assert_array_equal([[np.nan], [4], [5]], second.series)
    assert [(0.5, "7"), (-1.0, "8")] == [(one.target, one.group) for one in (first, second)]


def test_basic_motions_as_arrays_is_the_archive_s_set(benchmarks):
    """The same rows as its .ts file: names, splits, classes, channels and every value."""
    files = {path.name: path.read_bytes() for path in (benchmarks / "uea-a/BasicMotions").glob("*.ts")}
    expected = read_source(series_archive, files)
    arrays = {}
    for split in ("train", "test"):
        own = [sample for sample in expected if sample.split == split]
        arrays[f"X_{split}.npy"] = saved(np.stack([sample.series.T for sample in own]))
        arrays[f"y_{split}.npy"] = saved(np.array([sample.label for sample in own]))
    found = read_source(series_arrays, arrays, axes="channels_steps")
    assert len(expected) == len(found) == 80
    for one, other in zip(expected, found, strict=True):
        assert (one.sample_id, one.label, one.split, one.channels) == (
            other.sample_id, other.label, other.split, other.channels
        )  # fmt: skip
        np.testing.assert_array_equal(one.series, other.series)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"X.npy": saved(X[:, :, 0])}, "no array y for the series"),
        ({"X.npy": saved(X[:, :, 0]), "y.npy": saved(Y[:1])}, "Expected 2 rows in both. Received: 1"),
        ({"X.npy": saved(X[:, :, 0]), "y.npy": saved(np.eye(2))}, r"y.argmax\(axis=1\)"),
        ({"X.npy": saved(X[:, :, 0]), "y.npy": saved(np.array([0.5, 1]))}, "row 0: expected a name or a whole number"),
        ({"X.npy": saved(X[:, :, 0]), "y.npy": saved(Y.astype(object), allow_pickle=True)}, "astype"),
        ({"X.npy": saved(X[:, :, 0].astype(complex)), "y.npy": saved(Y)}, "holds no series"),
        ({"X.npy": saved(np.full((2, 3), np.inf)), "y.npy": saved(Y)}, "row 0, step 0, channel 1: expected a number"),
        ({"X.npy": saved(np.full((2, 3), np.nan)), "y.npy": saved(Y)}, "row 0: expected at least one value"),
        ({"X.npy": saved(X[:, :, 0])[:-3], "y.npy": saved(Y)}, "the end of the file"),
        ({"X.npy": saved(X[:, :, 0]) + b"1", "y.npy": saved(Y)}, "more bytes than that"),
        ({"X.npy": saved(X[:, :, 0]), "y.npy": saved(Y).replace("p".encode("utf-32-le"), b"\0\0\x8c\xc6")}, "0xc68c0000"),
        ({"X.npy": saved(X[:, :, 0]), "y.npy": saved(Y).replace("p".encode("utf-32-le"), b"\0\xd8\0\0")}, "0xd800"),
        ({"X.npy": b"no array", "y.npy": saved(Y)}, "cannot be read"),
        ({"a.npz": b"no zip"}, "cannot be read"),
        ({"a.npz": packed(X=X[:, :, 0], y=Y), "X.npy": saved(X[:, :, 0])}, "for x"),
        ({"X_test.npy": saved(X[:, :, 0]), "y_test.npy": saved(Y)}, "only in part what is for training"),
    ],
)  # fmt: skip
def test_what_is_not_clear_or_damaged_is_refused(files, message):
    """With the file, and what was expected."""
    with pytest.raises(DataRefused, match=message):
        read_source(series_arrays, files)


def test_series_without_answers_are_asked_for():
    """Silence is no answer; one array cannot be two."""
    files = {"X.npy": saved(X[:, :, 0])}
    assert ["", ""] == [sample.label for sample in read_source(series_arrays, files, y="none")]
    with pytest.raises(WronglyCalled, match="one array twice"):
        read_source(series_arrays, files, y="x")
