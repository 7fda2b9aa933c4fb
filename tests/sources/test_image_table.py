"""Image files and a table that labels them: each row finds its file, and what fits nowhere is named."""

import json

import pytest

from pipeline.runtime.errors import DataRefused, WronglyCalled
from pipeline.sources import image_table
from tests.helpers.parquet_file import parquet
from tests.helpers.read_source import described, read_source

IMAGES = {"images/IMG 1.JPG": b"one", "images/IMG 2.JPG": b"two"}


def read(files, /, **options):
    """Return the samples of a table with columns `path` and `label`, unless the options say otherwise."""
    return read_source(image_table, files, **({"label": "label"} | options))


def refusal(files, error=DataRefused, /, **options):
    """Return the message that refuses these files."""
    with pytest.raises(error) as refused:
        read(files, **options)
    return str(refused.value)


def csv(*rows):
    """Return a CSV file of rows with commas."""
    return "\n".join(rows).encode() + b"\n"


def test_every_column_finds_its_place():
    """Label, target, group, time, split, numbers and categories of two rows, in the order of the files' names."""
    table = csv(
        "id,label,grams,site,when,use,zoom,lens",
        "IMG 2,box,2.5,A,2026-01-03,Testing,2,x",
        "IMG 1,ball,1e1,B,2026-01-02,TRAIN,,y",
    )
    roles = {"path": "id", "target": "grams", "group": "site", "time": "when", "split": "use"}
    first, second = read({"labels.csv": table} | IMAGES, **roles, side=("zoom", "lens"))
    assert ("images/IMG 1.JPG", "ball", 10.0, "B", "2026-01-02T00:00:00", "train", b"one") == (
        first.sample_id,
        first.label,
        first.target,
        first.group,
        first.time,
        first.split,
        first.image,
    )
    assert {"zoom": None, "lens": "y"} == first.side
    assert ("images/IMG 2.JPG", "test", {"zoom": 2.0, "lens": "x"}) == (
        second.sample_id,
        second.split,
        second.side,
    )


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("images/IMG 1.JPG", "images/IMG 2.JPG"),
        ("IMG 1.JPG", "IMG 2.JPG"),
        ("IMG 1", "img 2"),
        ("./images/IMG 1.jpg", "images\\IMG 2.JPG"),
        (" images/IMG 1 ", "Images/IMG 2"),
    ],
)
def test_paths_are_read_as_people_write_them(one, two):
    """With and without folder and suffix, from Windows, in another case."""
    table = csv("path,label", f"{one},a", f"{two},b")
    assert ["a", "b"] == [sample.label for sample in read({"labels.csv": table} | IMAGES)]


def test_a_path_starts_at_its_table():
    """Two folders hold files of one name; each table means those beside it, or those it says."""
    files = {"a/1.jpg": b"a", "b/1.jpg": b"b", "meta/t.csv": csv("path,label", "../a/1.jpg,x", "b/1,y")}
    assert [("a/1.jpg", "x"), ("b/1.jpg", "y")] == [
        (sample.sample_id, sample.label) for sample in read(files)
    ]


def test_numbers_and_times_are_read_as_stated():
    """A decimal comma, a mark for no value and a German time; without the options they are refused."""
    rows = "file;g;w;t", "IMG 1;1,5;7;24.12.2025", "IMG 2;2;-9999;1.1.2026"
    files = IMAGES | {"t.csv": "\n".join(rows).encode()}
    roles = {"path": "file", "label": "", "target": "g", "time": "t", "side": ("w",)}
    stated = {"decimal": "comma", "missing": ("-9999",), "time_format": "%d.%m.%Y"}
    first, second = read(files, **roles, **stated)
    assert (1.5, "2025-12-24T00:00:00", {"w": 7.0}) == (first.target, first.time, first.side)
    assert (2.0, {"w": None}) == (second.target, second.side)
    assert "--set decimal=comma" in refusal(files, **roles)


def test_unicode_forms_of_a_name_are_one():
    """A Mac writes names taken apart, a spreadsheet composed."""
    files = {
        "Gro\u0308\u00dfe.png": b"x",
        "b.png": b"y",
        "t.csv": csv("path,label", "Gr\u00f6\u00dfe,x", "b,y"),
    }
    assert ["x", "y"] == sorted(sample.label for sample in read(files))


def test_whole_numbers_of_parquet_and_json_are_names():
    """`7` means 7.png, as pandas and JSON write it."""
    images = {"7.png": b"x", "8.png": b"y"}
    lines = [json.dumps({"path": 7, "label": "a"}), json.dumps({"path": 8, "label": "b"})]
    for name, content in (
        ("t.jsonl", csv(*lines)),
        ("t.parquet", parquet({"path": [7, 8], "label": ["a", "b"]})),
    ):
        assert ["a", "b"] == [sample.label for sample in read(images | {name: content})]


def test_paths_of_another_machine_lose_what_they_begin_with():
    """`prefix` is taken off; without it the message says what it is, also of Windows."""
    files = IMAGES | {"t.csv": csv("path,label", "/home/ana/x/IMG 1.JPG,a", "/home/ana/x/IMG 2.JPG,b")}
    assert "--set prefix=/home/ana/x/" in refusal(files)
    windows = IMAGES | {"t.csv": csv("path,label", "C:\\a\\IMG 1.JPG,a", "C:\\a\\IMG 2.JPG,b")}
    assert "--set prefix='C:\\a\\'" in refusal(windows)
    assert ["a", "b"] == [sample.label for sample in read(windows, prefix="C:\\a\\")]
    assert ["a", "b"] == [sample.label for sample in read(files, prefix="/home/ana/x/")]


def test_all_that_does_not_fit_is_named_at_once_by_cause():
    """Rows without a file, for several files, twice; files without a row: with counts and examples."""
    table = csv("path,label", "a/1,x", "a/1.jpg,y", "1,z", "gone,x", "lost,y")
    message = refusal({"t.csv": table, "a/1.jpg": b"", "b/1.jpg": b"", "c/new.png": b""})
    for part in (
        "2 rows name no file here, such as t.csv, line 5: 'gone'; t.csv, line 6: 'lost'",
        "1 rows name several files, such as t.csv, line 4: '1' (a/1.jpg, b/1.jpg)",
        "1 rows name a file that an earlier row has, such as t.csv, line 3: 'a/1.jpg' (a/1.jpg)",
        "2 files have no row: 1 x b/*.jpg, 1 x c/*.png, such as b/1.jpg",
        "--set unmatched=leave_out",
        "Keep one row per image",
    ):
        assert part in message


def test_what_is_alone_may_be_left_out_and_is_counted():
    """Rows without file and files without row; a file under two rows is refused all the same."""
    files = IMAGES | {"t.csv": csv("path,label", "IMG 1,a", "gone,b")}
    assert ["a"] == [sample.label for sample in read(files, unmatched="leave_out")]
    _, rows, images = described(image_table, files, label="label", unmatched="leave_out")
    assert "left out - 1 rows name no file here" in rows
    assert "left out - 1 files have no row: 1 x images/*.JPG" in images
    twice = IMAGES | {"t.csv": csv("path,label", "IMG 1,a", "IMG 1.JPG,b", "IMG 2,b")}
    assert "Keep one row per image" in refusal(twice, unmatched="leave_out")
    strangers = IMAGES | {"t.csv": csv("path,label", "x,a", "y,b")}
    assert "--set path=COLUMN" in refusal(strangers, unmatched="leave_out")


def test_names_of_tables_give_the_split_where_no_column_does():
    """train.csv and test.csv, each for its own images."""
    files = IMAGES | {"train.csv": csv("path,label", "IMG 1,a"), "test.csv": csv("path,label", "IMG 2,b")}
    assert ["train", "test"] == [sample.split for sample in read(files)]
    files |= {"test.csv": csv("path,label", "IMG 2,b", "nothing,c")}
    assert ["train", "test"] == [sample.split for sample in read(files, unmatched="leave_out")]


def test_globs_choose_tables_and_images():
    """A table of other things and images of other suffixes."""
    files = {
        "set/a.dat": b"x",
        "set/b.dat": b"y",
        "set/l.csv": csv("path,label", "a,1", "b,2"),
        "set/o.csv": b"q\n1\n",
    }
    chosen = {"files": "l.csv", "images": "*.dat"}
    assert [b"x", b"y"] == [sample.image for sample in read(files, **chosen)]
    assert "o.csv has no column path, label. Expected one of its 1 columns: q" in refusal(
        files, images="*.dat"
    )


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (("path,label", "IMG 1,a", "IMG 2,"), {}, "line 3, column 'label': expected a name"),
        (
            ("path,w", "IMG 1,2", "IMG 2,x"),
            {"label": "", "target": "w"},
            "line 3, column 'w': expected a number",
        ),
        (("path,label,s", "IMG 1,a,train", "IMG 2,b,later"), {"split": "s"}, "received 'later'"),
        (("path,label,s", "IMG 1,a,test", "IMG 2,b,val"), {"split": "s"}, "leaves nothing to train on"),
        (("path,label,s", "IMG 1,a,1", "IMG 2,b,x"), {"side": ("s",)}, "mixes numbers and words"),
        (("file,label", "IMG 1,a", "IMG 2,b"), {}, "t.csv has no column path"),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows, options, message):
    """With place, what was expected and what stands there."""
    assert message in refusal(IMAGES | {"t.csv": csv(*rows)}, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": ""}, "nothing to learn is named"),
        ({"path": ""}, "no column of paths is named"),
        ({"side": ("label",)}, "side names label"),
        ({"categorical": ("x",)}, "categorical names x"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, message):
    """Before anything is read."""
    assert message in refusal(IMAGES | {"t.csv": b"path,label\n"}, WronglyCalled, **options)


def test_table_and_images_must_both_be_there():
    """Each refusal says what is missing and where to point."""
    assert "No table found" in refusal(IMAGES | {"README.md": b""})
    assert "No image file found" in refusal({"t.csv": b"path,label\n"})


def test_the_order_of_rows_does_not_matter():
    """A shuffled table gives the same samples in the same order, and the archive can be read again."""
    rows = [f"{number}.png,{'ab'[number % 2]}" for number in range(20)]
    images = {f"{number}.png": bytes([number]) for number in range(20)}
    expected = read(images | {"t.csv": csv("path,label", *rows)})
    assert expected == read(images | {"t.csv": csv("path,label", *reversed(rows))})
    assert sorted(images) == [sample.sample_id for sample in expected]


@pytest.mark.parametrize(
    ("rows", "named", "bare"),
    [
        (("IMG 1.JPG,a", "IMG 2.JPG,b"), {"path": "IMG 1.JPG", "label": "a"}, {"path": "1", "label": "2"}),
        (
            ("IMG 1,2.5", "IMG 2,3"),
            {"path": "IMG 1", "label": "", "target": "2.5"},
            {"path": "1", "label": "", "target": "2"},
        ),
    ],
)
@pytest.mark.parametrize("unmatched", ["refuse", "leave_out"])
def test_a_first_row_that_is_data_is_no_header(rows, named, bare, unmatched):
    """Its path as the name of the column would lose it; following the advice literally reads it."""
    files = {"t.csv": csv(*rows)} | IMAGES
    assert "--set header=false" in refusal(files, **named, unmatched=unmatched)
    assert 2 == len(read(files, **bare, header=False, unmatched=unmatched))


def test_a_column_may_be_called_like_an_image():
    """`image` beside image.png."""
    files = {"t.csv": csv("image,label", "image,a", "IMG 1,b"), "image.png": b"x", "IMG 1.JPG": b"y"}
    assert 2 == len(read(files, path="image"))
