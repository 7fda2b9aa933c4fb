"""Series in files of their own find their rows in the tables; the second opinion is Python's csv."""

import csv
import zipfile

import numpy as np
import pytest

from pipeline.runtime.errors import DataRefused, WronglyCalled
from pipeline.sources import series_files
from tests.helpers.read_source import described, read_source

FILES = {
    "x/data/S_1.csv": b"a,b\n1,2\n3,\n",
    "x/data/S_2.csv": b"\xef\xbb\xbf#a, b\r\n5,6\r\n",
    "x/target.csv": b"#id, class, room\n2,yes,B1\n1,no,A\n",
    "x/more.csv": b"id,age,path\n1, 30,4\n2,?,5\n",
    "x/README.txt": b"about\n",
}
OPTIONS = {"files": "S_*.csv", "targets": "target.csv", "tables": ["more.csv"], "label": "class", "group": "room",
           "side": ["age", "path"], "categorical": ["path"]}  # fmt: skip


def read(changes=None, **options):
    """Return the samples of the small files, some of them changed."""
    return read_source(series_files, FILES | (changes or {}), **(OPTIONS | options))


def test_a_series_is_joined_with_its_rows():
    """Class, group and side features are found by the part of the name that * stands for."""
    first, second = read()
    np.testing.assert_array_equal([[1, 2], [3, np.nan]], first.series)
    assert (("a", "b"), "no", "A", {"age": 30.0, "path": "4"}) == (
        first.channels,
        first.label,
        first.group,
        first.side,
    )
    assert (("a", "b"), "yes", "B1", {"age": None, "path": "5"}) == (
        second.channels, second.label, second.group, second.side
    )  # fmt: skip
    assert ["S_1", "S_2"] == [first.sample_id, second.sample_id]
    assert np.float32 == first.series.dtype


def test_indoor_movement_is_read_as_its_files_say(benchmarks):
    """314 sequences, 13,197 steps, classes, environments and paths as the csv module reads them."""
    with zipfile.ZipFile(benchmarks / "indoor-movement" / "IndoorMovement.zip") as packed:
        files = {name: packed.read(name) for name in packed.namelist() if not name.endswith("/")}

    def column(name):
        return dict(
            row for row in csv.reader(files[name].decode().splitlines()) if not row[0].startswith("#")
        )

    samples = read_source(
        series_files, files, files="dataset/MovementAAL_RSS_*.csv", targets="MovementAAL_target.csv",
        tables=["MovementAAL_DatasetGroup.csv", "MovementAAL_Paths.csv"], label="class_label", group="dataset_ID",
        side=["path_ID"], categorical=["path_ID"],
    )  # fmt: skip
    ids = [sample.sample_id.rpartition("_")[2] for sample in samples]
    labels, groups = column("dataset/MovementAAL_target.csv"), column("groups/MovementAAL_DatasetGroup.csv")
    paths = column("groups/MovementAAL_Paths.csv")
    assert (314, 13_197) == (len(samples), sum(len(sample.series) for sample in samples))
    assert [(labels[name], groups[name], paths[name]) for name in ids] == [
        (sample.label, sample.group, sample.side["path_ID"]) for sample in samples
    ]
    lines = files["dataset/MovementAAL_RSS_100.csv"].decode().splitlines()
    expected = np.loadtxt(lines, delimiter=",", comments="#", dtype=np.float32)
    np.testing.assert_array_equal(expected, samples[ids.index("100")].series)


def test_a_target_may_be_a_number_and_a_split_may_be_given():
    """Regression, with a column that says train, val or test."""
    table = b"id,y,part\n1,0.5,train\n2,-3,Test\n"
    first, second = read({"x/target.csv": table}, label="", group="", target="y", split="part")
    assert [(0.5, "train"), (-3.0, "test")] == [(sample.target, sample.split) for sample in (first, second)]


def test_without_a_pattern_the_id_is_the_name_of_the_file():
    """Tables that are named are no series; everything else with a known suffix is."""
    files = {"1.csv": b"1\n2\n", "2.csv": b"3\n", "t.csv": b"id,c\n1,a\n2,b\n"}
    first, second = read_source(series_files, files, targets="t.csv", label="c", header=False)
    assert [("1", "a", [[1.0], [2.0]], ("1",)), ("2", "b", [[3.0]], ("1",))] == [
        (sample.sample_id, sample.label, sample.series.tolist(), sample.channels)
        for sample in (first, second)
    ]


def test_series_without_tables_have_no_labels():
    """Anomaly detection learns from series alone; columns may be chosen, in another order."""
    samples = read_source(series_files, FILES, files="S_*.csv", columns=["b", "a"])
    assert ["", ""] == [sample.label for sample in samples]
    assert [[6.0, 5.0]] == samples[1].series.tolist()


@pytest.mark.parametrize(
    ("changes", "options", "messages"),
    [
        ({"x/data/S_1.csv": b"a,b\n1,x\n", "x/data/S_2.csv": b"a,b\ninf,2\n"}, {},
         ["S_1.csv, line 2, column 'b'", "'x'", "S_2.csv, line 2, column 'a'", "'inf'"]),
        ({"x/data/S_2.csv": b"a,c\n1,2\n"}, {}, ["S_2.csv, line 1", "a, b", "'a, c'"]),
        ({"x/data/S_2.csv": b"a,b\n"}, {}, ["at least one step"]),
        ({"x/data/S_2.csv": b"a,b\n1,2,3\n"}, {}, ["S_2.csv, line 2"]),
        ({"x/data/S_3.csv": b"a,b\n1,2\n"}, {}, ["target.csv: expected a row for every", "more.csv", "'3'"]),
        ({"x/target.csv": b"id,class,room\n1,a,b\n2,b,b\n9,a,c\n"}, {}, ["target.csv: expected only ids", "'9'"]),
        ({"x/target.csv": b"id,class,room\n1,a,b\n2,b,b\n2,a,c\n"}, {}, ["line 4", "'2' again, as in line 3"]),
        ({"x/target.csv": b"id,class,room\n1,,b\n2,b,\n"}, {}, ["line 2, column 'class'", "line 3, column 'room'"]),
        ({}, {"label": "colour", "id": "nr"}, ["column 'nr'", "column 'colour'"]),
        ({"x/more.csv": b"id,age,path,class\n1,3,4,a\n2,3,4,b\n"}, {}, ["one that has a column 'class'"]),
        ({}, {"split": "room"}, ["train, val or test", "'A'"]),
        ({}, {"target": "class"}, ["line 2, column 'class'", "'yes'"]),
        ({"x/more.csv": b"id,age,path\n1,old,4\n2,3,5\n"}, {}, ["mixes numbers and words"]),
        ({"x/data/S_1.csv": b""}, {}, ["S_1.csv is empty"]),
        ({"x/new/S_1.csv": b"a,b\n1,2\n"}, {}, ["an id of its own"]),
    ],
)  # fmt: skip
def test_every_problem_is_named_with_its_place(changes, options, messages):
    """Cells, columns, ids without a partner: file, line and column."""
    with pytest.raises(DataRefused) as refused:
        read(changes, **options)
    assert [] == [message for message in messages if message not in str(refused.value)]


@pytest.mark.parametrize("options", [{"targets": "no.csv"}, {"files": "Z_*.csv"}, {"tables": ["target.csv"]}])
def test_files_that_are_not_there_are_refused(options):
    """A table or a pattern that matches nothing, or one table twice."""
    with pytest.raises(DataRefused, match="Expected"):
        read(**options)


@pytest.mark.parametrize("options", [{"targets": "", "tables": []}, {"categorical": ["room"]}])
def test_options_that_contradict_each_other_are_refused(options):
    """A label without a table, a category that is no side feature."""
    with pytest.raises(WronglyCalled, match="Expected"):
        read(**options)


def test_it_says_how_it_reads():
    """The tables and the first series, with what was found out."""
    words = described(series_files, FILES, **OPTIONS)
    assert ["tables/more.csv", "tables/target.csv", "series/S_1.csv"] == [
        line.partition(":")[0] for line in words
    ]
    assert "comma" in words[0]


CLASSES = {
    "in/dog/rec_0.csv": b"a,b\n1,2\n3,4\n",
    "in/dog/rec_1.csv": b"a,b\n5,6\n",
    "in/horn/rec_0.csv": b"a,b\n7,8\n",
}


def test_the_folder_of_a_series_is_its_class():
    """As for images and texts; files in two folders may be called alike, and it is said that this was found out."""
    samples = read_source(series_files, CLASSES)
    assert [
        ("dog/rec_0", "dog", [[1, 2], [3, 4]]),
        ("dog/rec_1", "dog", [[5, 6]]),
        ("horn/rec_0", "horn", [[7, 8]]),
    ] == [(sample.sample_id, sample.label, sample.series.tolist()) for sample in samples]
    assert "the folder of a series is its class (detected)" in described(series_files, CLASSES)
    assert {""} == {sample.label for sample in read_source(series_files, CLASSES, folders="nothing")}


def test_folders_of_a_split_may_stand_above_those_of_classes():
    """All of them, with train among them; a class without split beside them is refused."""
    given = {f"train/{name}": text for name, text in CLASSES.items()} | {"test/horn/x.csv": b"a,b\n1,1\n"}
    files = {name.replace("/in/", "/"): text for name, text in given.items()}
    samples = read_source(series_files, files)
    assert [("horn", "test"), ("dog", "train"), ("dog", "train"), ("horn", "train")] == [
        (sample.label, sample.split) for sample in samples
    ]
    with pytest.raises(DataRefused, match="Expected CLASS/FILE"):
        read_source(series_files, files | {"cat/x.csv": b"a,b\n1,1\n"}, folders="class")


def test_the_folder_of_a_series_may_be_its_group_and_a_column_the_class_of_its_steps():
    """A folder per person, a recording per file; the column is no channel."""
    files = {
        "anna/1.csv": b"x,y,doing\n1,2,sit\n3,4,walk\n",
        "anna/2.csv": b"x,y,doing\n5,6, walk\n",
        "ben/1.csv": b"x,y,doing\n7,8,\n",
    }
    samples = read_source(series_files, files, folders="group", step_label="doing")
    assert ["anna", "anna", "ben"] == [sample.group for sample in samples]
    assert [["sit", "walk"], ["walk"], [None]] == [
        [sample.step_labels.names[code] if code >= 0 else None for code in sample.step_labels.codes]
        for sample in samples
    ]
    assert {("x", "y")} == {sample.channels for sample in samples}
    with pytest.raises(DataRefused, match="doing"):
        read_source(series_files, files | {"ben/2.csv": b"x,y\n1,2\n"}, folders="group", step_label="doing")
    with pytest.raises(DataRefused, match="Expected GROUP/FILE"):
        read_source(
            series_files, files | {"2.csv": b"x,y,doing\n1,2,sit\n"}, folders="group", step_label="doing"
        )


def test_lines_above_every_series_are_passed_over():
    """A header of the recorder, and a row of units; blanks between fields."""
    files = {"a/1.txt": b"rec 17\n x  y\n m  s\n1  2\n", "b/1.txt": b"\n x  y\n m  s\n3  4\n"}
    samples = read_source(series_files, files, skip=1, units_row=True, delimiter="blank")
    assert [[[1.0, 2.0]], [[3.0, 4.0]]] == [sample.series.tolist() for sample in samples]


@pytest.mark.parametrize(
    "options",
    [{"folders": "class", "label": "class", "targets": "t.csv"}, {"step_label": "x", "folders": "class"},
     {"step_label": "x", "columns": ["x"]}, {"folders": "group", "group": "g", "targets": "t.csv"}],
)  # fmt: skip
def test_two_answers_are_refused(options):
    """A class comes from one place."""
    with pytest.raises(WronglyCalled, match="Expected one of them"):
        read_source(series_files, CLASSES, **options)


def test_folders_of_which_some_are_splits_are_no_classes():
    """train, test and extra: nobody can say what the third is."""
    files = {f"{folder}/{n}.csv": b"a\n1\n2\n" for folder in ("train", "test", "extra") for n in range(2)}
    with pytest.raises(DataRefused, match="say only in part"):
        read_source(series_files, files)


def test_every_file_has_its_own_encoding_and_may_end_in_blank_rows():
    """One logger writes cp1252, the next UTF-8; a spreadsheet ends tables with rows of delimiters."""
    text = "a;c\n1;gr\u00fcn\n2;rot\n;\n;\n"
    files = {"1.csv": text.encode("cp1252"), "2.csv": text.encode()}
    samples = read_source(series_files, files, step_label="c", files="*.csv")
    assert [2, 2] == [len(sample.series) for sample in samples]
    assert ("gr\u00fcn", "rot") == samples[1].step_labels.names


@pytest.mark.parametrize(
    ("content", "options", "values"),
    [
        ("1,5\n2,5\n3,5\n", {"decimal": "comma", "header": False}, [[1.5], [2.5], [3.5]]),
        ("a;b\n1,5;2,5\n3,5;4,5\n", {"decimal": "comma"}, [[1.5, 2.5], [3.5, 4.5]]),
        ("1,5;2,5\n3,5;4,5\n", {"decimal": "comma", "header": False}, [[1.5, 2.5], [3.5, 4.5]]),
        ("kW\n1 234\n5 678\n", {"thousands": "blank"}, [[1234.0], [5678.0]]),
        ("kW\n1,234\n5,678\n", {"thousands": "comma"}, [[1234.0], [5678.0]]),
        ('a,b\n"1,234",2\n"5,678",3\n', {"thousands": "comma"}, [[1234.0, 2.0], [5678.0, 3.0]]),
    ],
)
def test_a_sign_that_stands_in_numbers_is_not_what_stands_between_fields(content, options, values):
    """One column of 1,5 is no two of 1 and 5, once somebody said what the comma is."""
    (sample,) = read_source(series_files, {"a/1.csv": content.encode()}, folders="nothing", **options)
    assert values == sample.series.tolist()


def test_the_path_of_a_series_may_say_its_class_and_its_person():
    """By a pattern of names or of folders, without a table; of anything else the ways are named."""
    flat = {
        f"{label}_p{person}_{n}.csv": b"a\n1\n2\n"
        for label in ("run", "sit")
        for person in "12"
        for n in "34"
    }
    samples = read_source(series_files, flat, label="{label}_p{group}_#.csv")
    assert {(name.removesuffix(".csv"), *name.split("_p")[:1], name.split("_")[1][1]) for name in flat} == {
        (sample.sample_id, sample.label, sample.group) for sample in samples
    }
    below = {
        f"{split}/p1/{label}/{n}.csv": b"a\n1\n"
        for split in ("train", "test")
        for label in ("run", "sit")
        for n in "12"
    }
    found = read_source(series_files, below, label="{group}/{label}/*")
    assert {("train", "run", "p1"), ("test", "sit", "p1")} <= {
        (sample.split, sample.label, sample.group) for sample in found
    }
    assert "says its class by label=parent" in described(series_files, below, label="parent")[-1]
    with pytest.raises(DataRefused, match="do not say two classes"):
        read_source(series_files, below, label="{label}_#.csv")
    with pytest.raises(WronglyCalled, match=r"label=first, parent or a pattern"):
        read_source(series_files, flat, label="class")
