"""One series per row of a table; the second opinion is pandas."""

import io

import numpy as np
import pandas as pd
import pytest

from pipeline.runtime.errors import DataRefused, WronglyCalled
from pipeline.sources import series_rows
from tests.helpers.parquet_file import parquet
from tests.helpers.read_source import described, read_source

ROWS = "who,t0,t1,t2,class\nann,1,2,3,up\nben,4,,6,down\ncid,7,8,,up\n"


def read(content, name="a.csv", **options):
    """Return the series of one file."""
    return read_source(
        series_rows, {name: content if isinstance(content, bytes) else content.encode()}, **options
    )


def test_a_row_is_a_series_and_its_class_stands_beside_it():
    """A value that is missing at the end makes a shorter series, one within stays missing."""
    samples = read(ROWS, label="class", group="who")
    np.testing.assert_array_equal([[4], [np.nan], [6]], samples[1].series)
    assert [(3, "up", "ann"), (3, "down", "ben"), (2, "up", "cid")] == [
        (len(sample.series), sample.label, sample.group) for sample in samples
    ]
    assert ["00000000", "00000001", "00000002"] == [sample.sample_id for sample in samples]
    words = described(series_rows, {"a.csv": ROWS.encode()}, label="class", group="who")
    assert "a row is a series of 3 values, 't0' to 't2'; its answer is in 'class'" in words


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("up,1,2\ndown,3,4\n", {"header": False, "label": "first"}),
        ("1,2,up\n3,4,down\n", {"header": False, "label": "last"}),
        ("  1  2   up\n 3\t4 down\n", {"header": False, "label": "last", "delimiter": "blank"}),
        ("c;a;b\nup;1;2\ndown;3;4\n", {"label": "first"}),
        ("last;a;b\nup;1;2\ndown;3;4\n", {"label": "last"}),
        ("device 7\n\na,b,c\nV,V,\n1,2,up\n3,4,down\n", {"label": "last", "skip": 2, "units_row": True}),
    ],
)
def test_the_class_stands_first_last_or_in_a_named_column(content, options):
    """A column of that name goes before the place; with or without a header, lines above it and units."""
    samples = read(content, **options)
    assert [("up", [[1], [2]]), ("down", [[3], [4]])] == [
        (sample.label, sample.series.tolist()) for sample in samples
    ]


@pytest.mark.parametrize(
    ("order", "expected"), [("by_channel", [[1, 4], [2, 5], [3, 6]]), ("by_step", [[1, 2], [3, 4], [5, 6]])]
)
def test_several_channels_lie_one_after_the_other_or_step_by_step(order, expected):
    """As somebody says; what does not divide is refused."""
    row = "1,2,3,4,5,6,up\n"
    (sample,) = read(row, header=False, label="last", channels=2, order=order)
    assert (expected, ("1", "2")) == (sample.series.tolist(), sample.channels)
    with pytest.raises(DataRefused, match="whole series of 4 channels"):
        read(row, header=False, label="last", channels=4)


def test_names_splits_targets_and_side_features_stand_in_columns():
    """Series come in order of their names; a number is predicted; what mixes words and numbers is a category if said."""
    content = "id,y,part,age,x1,x2\nb,1.5,train,3,1,2\na,-2,Test,?,3,4\n"
    first, second = read(content, id="id", target="y", split="part", side=["age"])
    assert [("a", -2.0, "test", {"age": None}), ("b", 1.5, "train", {"age": 3.0})] == [
        (one.sample_id, one.target, one.split, one.side) for one in (first, second)
    ]
    with pytest.raises(DataRefused, match="'a' again"):
        read(content.replace("b,1.5", "a,1.5"), id="id", target="y", drop=["part", "age"])


def test_files_may_give_the_split_and_parquet_is_read():
    """Names as everywhere; typed columns as text."""
    files = {"train.parquet": parquet({"y": [1, 2], "a": [1.0, 2.0], "b": [3.0, None]}),
             "test.csv": b"y,a,b\n2,5,6\n"}  # fmt: skip
    samples = read_source(series_rows, files, label="y")
    assert [
        ("test/00000000", "2", "test"),
        ("train/00000000", "1", "train"),
        ("train/00000001", "2", "train"),
    ] == [(sample.sample_id, sample.label, sample.split) for sample in samples]
    assert [[5.0], [6.0]] == samples[0].series.tolist()


@pytest.mark.parametrize(
    ("content", "options", "messages"),
    [
        ("a,b,c\n1,x,up\n", {"label": "c"}, ["line 2, column 'b'", "'x'"]),
        ("a,b,c\n,,up\n1,2,up\n", {"label": "c"}, ["line 2", "at least one value"]),
        ("a,b,c\n1,2,\n", {"label": "c"}, ["line 2, column 'c'"]),
        ("a,b\n1,2\n", {"label": "klass"}, ["a column 'klass'", "'a, b'"]),
        ("a,b,s\n1,2,dev2\n", {"label": "none", "split": "s"}, ["train, val or test", "dev2"]),
        ("a,b\n1,2\n", {"label": "none", "id": "a", "columns": ["a", "b"]}, []),
        ("c\nup\n", {"label": "c"}, ["columns of values"]),
    ],
)
def test_every_problem_is_named_with_its_place(content, options, messages):
    """File, line and column."""
    with pytest.raises((DataRefused, WronglyCalled), match="xpected") as refused:
        read(content, **options)
    assert [] == [message for message in messages if message not in str(refused.value)]


def test_tables_have_the_same_values():
    """A column more in one of them would be a step more."""
    with pytest.raises(
        DataRefused, match=r"b.csv, header: expected the values of the first table, 'x' to 'y'"
    ):
        read_source(series_rows, {"a.csv": b"c,x,y\nu,1,2\n", "b.csv": b"c,x,z\nu,1,2\n"}, label="c")


def test_where_the_class_stands_must_be_said():
    """A column of numbers that nobody names would be a step of every series."""
    with pytest.raises(WronglyCalled, match="label=none where there is none"):
        read("1,2,3\n", header=False)
    assert "" == read("1,2,3\n", header=False, label="none")[0].label


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("1,2,up\n3,1,down\n4,5,up\n", {"label": "last"}),
        ("1,3,2,up\n3,1,4,down\n", {"label": "last"}),
        ("1,2,3,Up\n3,1,4,down\n4,5,6,up\n", {"label": "last"}),
        ("7,1,2,4\n8,3,1,2\n", {"label": "first"}),
        ("1.5,1,2,4\n2.5,3,1,2\n", {"target": "first"}),
        ("1,2,4,1.5\n3,1,2,2.5\n", {"target": "last"}),
        ("1,2,NaN,4,1.5\n3,1,2,3,2.5\n", {"target": "last"}),
        ("1,5;1;2;4\n2,5;3;1;2\n", {"target": "first", "decimal": "comma", "delimiter": "semicolon"}),
        ("up;1,5;1,2;4\nup;3;1;2\n", {"label": "first", "decimal": "comma", "delimiter": "semicolon"}),
        ("1 2 4 1.5\n3 1 2 2.5\n", {"target": "last", "delimiter": "blank"}),
        ("ann,1,2,4,1.5\nben,3,1,2,2.5\n", {"target": "last", "id": "ann"}),
    ],
)
def test_a_first_row_that_is_a_series_is_no_header(content, options):
    """It would be lost; following the advice literally reads it."""
    with pytest.raises(DataRefused, match="--set header=false"):
        read(content, **options)
    options |= {"id": "1"} if "id" in options else {}
    assert content.count("\n") == len(read(content, **options, header=False))


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("0,1,2,3\n0,5,2,3\n1,7,1,1\n", {"label": "0"}),
        ("0,1,2,3\n1,5,2,3.5\n1,7,1,1.5\n", {"target": "3"}),
        ("400,410,420,kind\n1,5,2,a\n1,7,1,b\n", {"label": "kind"}),
        ("400.5,410,420.5,y\n1,5,2,3.5\n1,7,1,1.5\n", {"target": "y"}),
        ("id,0,1,2,3\na,1,5,2,3.5\nb,1,7,1,1.5\n", {"target": "3", "id": "id"}),
    ],
)
def test_wavelengths_and_numbers_that_pandas_gives_are_names(content, options):
    """No row is lost, and none too many is read."""
    assert 2 == len(read(content, **options))


def test_a_real_set_equals_what_pandas_reads(benchmarks):
    """GunPoint has its class first, and no header."""
    path = benchmarks / "ucr-a/GunPoint/GunPoint_TRAIN.tsv"
    samples = read(path.read_bytes(), "GunPoint_TRAIN.tsv", header=False, label="first")
    expected = pd.read_csv(io.BytesIO(path.read_bytes()), sep="\t", header=None)
    assert expected[0].astype(str).tolist() == [sample.label for sample in samples]
    np.testing.assert_array_equal(
        expected.iloc[:, 1:].to_numpy(np.float32), np.stack([sample.series[:, 0] for sample in samples])
    )
