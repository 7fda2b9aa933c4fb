"""Several labels in one cell: taken apart where that is said, refused where it only looks like it."""

import json

import numpy as np
import pytest

from pipeline.fetching.snapshot import take_snapshot
from pipeline.fetching.source import Location
from pipeline.raw.label_sets import label_cell, lists_among, taken_apart, with_label_sets
from pipeline.raw.sample import RawSample
from pipeline.runtime.errors import DataRefused, WronglyCalled
from pipeline.sources import image_table, series_files, series_rows, series_table, text_table
from pipeline.sources.kinds import common_options, stated_options
from tests.helpers.read_source import read_source

GIB = 2**30
TAGS = ["login", "delivery", "billing|login", "billing", "billing|delivery|login", "delivery|login"]


def table(folder, labels, header="text,tags"):
    """Write a text per label; return the options that name the column."""
    quoted = [f'"{label}"'.replace('""', '"') if "," in label else label for label in labels]
    lines = [f"text number {number},{label}" for number, label in enumerate(quoted)]
    (folder / "tags.csv").write_text("\n".join([header, *lines]), encoding="utf-8")
    return {"label": "tags"}


def snapshot(folder, **options):
    """Read the folder as `millrace init` does."""
    return take_snapshot("text_table", Location(path=str(folder)), max_bytes=GIB, options=options)


# --- What looks like lists.


@pytest.mark.parametrize("separator", ["|", ";", ",", "\t", "/", "+", "&", " "])
def test_labels_that_fall_apart_into_others_look_like_lists(separator):
    """Whatever stands between them, with or without blanks around it."""
    for between in {separator, f"{separator} ", f" {separator} "}:
        found = lists_among([label.replace("|", between) for label in TAGS])
        assert found is not None
        assert {"billing", "login"} == set(taken_apart(f"billing{between}login", found.separator))


@pytest.mark.parametrize("seed", range(20))
def test_random_sets_of_labels_look_like_lists(seed):
    """Drawn sets of one to three out of eight names, by any separator that is sure, or as lists."""
    rng = np.random.default_rng(seed)
    names = [f"topic {number}" for number in range(8)]
    sets = [rng.choice(names, rng.integers(1, 4), replace=False).tolist() for _ in range(60)]
    for join in ("|".join, ";".join, ", ".join, json.dumps, repr):
        found = lists_among([join(labels) for labels in sets])
        assert found is not None
        assert all(tuple(sorted(labels)) == taken_apart(join(labels), found.separator) for labels in sets)


@pytest.mark.parametrize(
    "names",
    [
        ["T-shirt/top", "Trouser", "Pullover", "Ankle boot"],
        ["credit card", "debit card", "card", "account"],
        ["new york", "new jersey", "york", "boston"],
        ["Food, drink", "Toys, games", "Books"],
        ["R&D", "sales", "HR"],
        ["1,5", "2,5", "3"],
        ["north", "east", "north east"],
        ["[other]", "spam", "ham"],
        ["a_b", "a", "b"],
        ["card_arrival", "card_linking", "age_limit"],
        [],
    ],
)
def test_names_of_classes_with_signs_in_them_are_no_lists(names):
    """Parts that occur nowhere else, or too few of them, are part of a name."""
    assert lists_among(names) is None


def test_a_column_that_looks_like_lists_is_refused_until_it_is_said(tmp_path):
    """With how many there are, one of them taken apart, and the two options; either is taken."""
    options = table(tmp_path, TAGS * 10)
    with pytest.raises(DataRefused) as error:
        snapshot(tmp_path, **options)
    assert str(error.value) == (
        "Labels look like lists of labels. Expected one class per sample. Received: 3 of 6 different labels, on 30 of "
        "60 samples; 'delivery|login' (10 samples) may be 'delivery', 'login'. Say to `millrace init` what they are: "
        "--set labels_separator=pipe for several labels per sample (task multilabel), or --set labels_separator=none "
        "where each is the name of one class."
    )
    several = snapshot(tmp_path, **options, labels_separator="pipe")
    assert {"billing": 30, "delivery": 30, "login": 40} == {
        name: n for (_, name), n in several.counts.items()
    }
    assert 60 == several.source.count
    assert several.source.several_labels
    assert "labels per sample: 1 (30 samples), 2 (20 samples), 3 (10 samples)" in several.described
    alone = snapshot(tmp_path, **options, labels_separator="none")
    assert 6 == len(alone.counts)
    assert not alone.source.several_labels


def test_class_folders_may_be_lists_too(tmp_path):
    """The rule is one for every kind: folders called `cat,dog`, `cat` and `dog`."""
    for number, name in enumerate(["cat", "dog", "cat,dog"]):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "1.txt").write_text(f"text {number}")
    location = Location(path=str(tmp_path / "data"))
    with pytest.raises(DataRefused, match="--set labels_separator=comma"):
        take_snapshot("text_lines", location, max_bytes=GIB)
    read = take_snapshot("text_lines", location, max_bytes=GIB, options={"labels_separator": "comma"})
    assert {("", "cat"): 2, ("", "dog"): 2} == read.counts


# --- Taken apart.


@pytest.mark.parametrize(
    ("cell", "separator", "labels"),
    [
        ("b|a", "pipe", ("a", "b")),
        (" b ;a; ", "semicolon", ("a", "b")),
        ("a, a,b", ",", ("a", "b")),
        ("a -- b", "--", ("a", "b")),
        ("one", "pipe", ("one",)),
        ('["b", "a"]', "list", ("a", "b")),
        ("['b', 'a']", "list", ("a", "b")),
        ("{'b', 'a'}", "list", ("a", "b")),
        ("[2, 1]", "list", ("1", "2")),
        ("[]", "list", ()),
        ("b", "list", None),
        ("[b, a]", "list", None),
        ('[["a"]]', "list", None),
        ('{"a": 1}', "list", None),
    ],
)
def test_a_cell_is_taken_apart(cell, separator, labels):
    """By the word, the separator itself, or as a JSON or Python list; each label once, sorted."""
    assert labels == taken_apart(cell, separator)


def test_cells_that_are_no_lists_are_counted():
    """All samples are looked at; one of the cells is shown."""
    samples = [RawSample("1", '["a"]'), RawSample("2", "a"), RawSample("3", "a")]
    with pytest.raises(DataRefused, match=r"2 samples with something else, such as 'a' \(2 samples\)"):
        list(with_label_sets(samples, "list"))


def test_without_a_separator_nothing_changes():
    """Classes stay what they are, and so does what the table of samples holds."""
    samples = [RawSample("1", "a|b"), RawSample("2")]
    assert samples == list(with_label_sets(samples, None)) == list(with_label_sets(samples, "none"))
    assert ["a|b", ""] == [label_cell(sample) for sample in samples]
    (several,) = with_label_sets(samples[:1], "pipe")
    assert '["a", "b"]' == label_cell(several)


# --- Tables.


def test_lists_of_json_lines_are_read_as_such():
    """A cell that is a list, also an empty one, whatever the order."""
    lines = "\n".join(json.dumps({"text": "x", "tags": tags}) for tags in (["b", "a"], [], ["a"]))
    read = read_source(text_table, {"a.jsonl": lines.encode()}, label="tags")
    assert ['["a", "b"]', "[]", '["a"]'] == [sample.label for sample in read]
    assert [("a", "b"), (), ("a",)] == [one.labels for one in with_label_sets(read, "list")]


STEPS = b"time,id,load,tags\n" + b"".join(
    b"2026-01-0%d,%s,1,%s\n" % (day, name, tags)
    for name, tags in ((b"a", b"x|y"), (b"b", b""), (b"c", b"y"))
    for day in (1, 2)
)
RUNS = {f"run_{name}.csv": b"a\n1\n2\n" for name in "123"}
OF_KINDS = [
    (text_table, {"a.csv": b"text,tags\nd,x|y\ne,\nf,y\n"}, {"text": "text"}),
    (text_table, {"a.jsonl": b'{"text": "d", "tags": "x|y"}\n{"text": "e", "tags": null}\n{"text": "f", "tags": "y"}\n'},
     {"text": "text"}),
    (image_table, {"t.csv": b"path,tags\n1,x|y\n2, \n3,y\n", "1.png": b"1", "2.png": b"2", "3.png": b"3"}, {}),
    (series_table, {"a.csv": STEPS}, {"id": "id"}),
    (series_rows, {"a.csv": b"p,q,tags\n1,2,x|y\n3,4,\n5,6,y\n"}, {}),
    (series_files, {**RUNS, "t.csv": b"run,tags\nrun_1,x|y\nrun_2,\nrun_3,y\n"}, {"targets": "t.csv", "id": "run"}),
]  # fmt: skip


@pytest.mark.parametrize(("source", "files", "options"), OF_KINDS)
def test_an_empty_cell_says_none_of_several_labels_where_that_is_said(source, files, options):
    """In every kind with a column of labels; refused until then, with the option named; the sample itself is read."""
    with pytest.raises(DataRefused, match=r"(?s)column 'tags'.*--set unlabelled=no_labels"):
        read_source(source, files, **options, label="tags")
    read = read_source(source, files, **options, label="tags", unlabelled="no_labels")
    assert [("x", "y"), (), ("y",)] == [one.labels for one in with_label_sets(read, "pipe")]
    assert all(one.text or one.image is not None or one.series is not None for one in read)


def test_an_empty_cell_that_says_none_of_them_needs_several_labels():
    """A class that is missing is no class: what stands between labels must be said beside it."""
    alone = stated_options("text_table", ["label=tags", "unlabelled=no_labels"])
    for options in (alone, alone | {"labels_separator": "none"}):
        with pytest.raises(WronglyCalled, match="--set labels_separator=pipe"):
            common_options(options)
    assert "pipe" == common_options(alone | {"labels_separator": "pipe"}).labels_separator


def test_rows_without_any_label_are_samples_of_the_data_set(tmp_path):
    """They are counted, and are no class of their own."""
    options = table(tmp_path, [*TAGS, "", ""])
    taken = snapshot(tmp_path, **options, text="text", labels_separator="pipe", unlabelled="no_labels")
    assert 8 == taken.source.count
    assert {"billing", "delivery", "login"} == set(taken.source.facts.classes)


def test_one_column_per_label():
    """0 and 1, also as numbers with a point and as truths; none of them is no label."""
    rows = "text,toxic,threat,insult\na,1,0,true\nb,0,0,False\nc,1.0,0.0,0\n"
    read = read_source(text_table, {"a.csv": rows.encode()}, label_columns=("toxic", "threat", "insult"))
    assert [("insult", "toxic"), (), ("toxic",)] == [sample.labels for sample in read]


@pytest.mark.parametrize("cell", ["2", "", "-1", "0.5", "maybe"])
def test_a_label_column_holds_nothing_but_truths(cell):
    """An uncertain or missing answer is none."""
    rows = f"text,toxic\na,1\nb,{cell}\n"
    with pytest.raises(DataRefused, match="line 3, column 'toxic': expected 0 or 1") as error:
        read_source(text_table, {"a.csv": rows.encode()}, label_columns=("toxic",))
    assert "each label either applies or does not" in str(error.value)


def test_one_column_of_labels_or_one_for_each():
    """Both are refused before anything is read."""
    with pytest.raises(WronglyCalled, match="label and label_columns are both named"):
        read_source(text_table, {"a.csv": b"text,a\n"}, label="a", label_columns=("a",))


@pytest.mark.parametrize("name", ["{{1}}", "[" * 5000 + "]" * 5000, "{1: 2}"])
def test_odd_brackets_are_names(name):
    """No traceback: what Python cannot read as a list of names is none."""
    assert lists_among([name, "b"]) is None


def test_arrays_as_pandas_writes_them_are_lists_of_their_names():
    """Python reads `['a' 'b']` as one name, `ab`."""
    assert taken_apart("['billing' 'vip'\n 'late']", "list") == ("billing", "late", "vip")
    assert taken_apart('["it\'s"]', "list") == ("it's",)


def test_classes_of_one_sample_each_are_names_of_samples(tmp_path, monkeypatch):
    """Forty files were forty classes; the refusal names what leaves rare ones out, and that works."""
    monkeypatch.chdir(tmp_path)
    options = table(tmp_path, [f"file{n}" for n in range(20)] + ["a", "a", "b", "b"])
    with pytest.raises(DataRefused, match="22 classes of 24 samples, 20 of them with one"):
        take_snapshot("text_table", Location(path=str(tmp_path)), max_bytes=GIB, options=options)
    kept = take_snapshot(
        "text_table", Location(path=str(tmp_path)), max_bytes=GIB, options={**options, "least_per_class": 2}
    )
    assert 4 == kept.source.count
