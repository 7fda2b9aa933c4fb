"""Files as people have them become records, row by row; what cannot be read is named by its place."""

import errno
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.runtime.errors import DataRefused, InputMissing, WronglyCalled
from pipeline.serving import record_files
from pipeline.serving.record_files import read_records

OF_TEXTS = {
    "task": "classification",
    "payload": "text",
    "side": {"numbers": [{"name": "age"}], "categories": [{"name": "town"}]},
}
OF_SERIES = {"task": "classification", "payload": "series"}
OF_IMAGES = {"task": "classification", "payload": "image"}


def records(path, state, source=None, id_column=""):
    return list(read_records(path, state, source or {}, id_column))


def table(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_csv_row_is_a_text_with_its_side_columns(tmp_path):
    """Commas and line ends in quotes belong to the text, empty cells are missing, other columns are passed over."""
    path = table(tmp_path, "t.csv", 'no,text,age,town\n7,"a, b\nc",31,Ulm\n8,,,\n')
    first, second = records(path, OF_TEXTS)
    assert {"text": "a, b\nc", "side": {"age": 31.0, "town": "Ulm"}} == first.record
    assert {"text": "", "side": {"age": None, "town": None}} == second.record
    assert [("00000000", "t.csv, line 2"), ("00000001", "t.csv, line 4")] == [
        (first.sample_id, first.place),
        (second.sample_id, second.place),
    ]


def test_columns_and_numbers_are_written_as_in_the_data_of_the_model(tmp_path):
    """The source says which column holds the texts, what stands between fields, and that a comma begins a fraction."""
    source = {
        "kind": "text_table",
        "options": {"text": "Meldung", "decimal": "comma", "label": "art", "delimiter": "semicolon"},
    }
    path = table(tmp_path, "t.csv", "Meldung;age;town\nhallo;1,5;Ulm\n")
    (given,) = records(path, OF_TEXTS, source)
    assert {"text": "hallo", "side": {"age": 1.5, "town": "Ulm"}} == given.record


@pytest.mark.parametrize("name", ["t.jsonl", "t.json"])
def test_json_rows_need_every_column_and_null_is_missing(tmp_path, name):
    """Lines or an array; numbers are numbers, and a name of its own stands for the row."""
    rows = [
        '{"text": "x", "age": 3, "town": null, "key": "007"}',
        '{"text": "y", "age": null, "town": "Ulm", "key": 8}',
    ]
    content = "\n".join(rows) if name.endswith("l") else f"[{', '.join(rows)}]"
    first, second = records(table(tmp_path, name, content), OF_TEXTS, id_column="key")
    assert {"text": "x", "side": {"age": 3.0, "town": None}} == first.record
    assert ("007", "8") == (first.sample_id, second.sample_id)


def test_a_cell_that_is_none_is_refused_with_its_place_and_the_others_read(tmp_path):
    """Row by row; a row is refused for all that is wrong with it."""
    path = table(tmp_path, "t.csv", "text,age,town\na,old,Ulm\nb,3,Ulm\n")
    wrong, right = records(path, OF_TEXTS)
    assert right.record
    assert not wrong.record
    assert "t.csv, line 2" == wrong.place
    assert wrong.problems[0].startswith("column 'age'")
    assert "'old'" in wrong.problems[0]


def test_a_column_that_is_not_there_is_refused(tmp_path):
    """Not read as missing without a word."""
    with pytest.raises(DataRefused, match=r"no column age.*Call the columns as in the data"):
        records(table(tmp_path, "t.csv", "text,town\na,Ulm\n"), OF_TEXTS)


ROWS = ['{"text": "a", "age": 1, "town": null}', '{"text": "c", "age": 3, "town": null}']


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("t.csv", "text,age,town\na,1,\nb,2,Ulm,more\nc,3,\n", "t.csv, line 3"),
        ("t.jsonl", f"{ROWS[0]}\n{{bad}}\n{ROWS[1]}\n", "t.jsonl, line 2"),
        ("t.jsonl", f'{ROWS[0]}\n{{"text": "b"}}\n{ROWS[1]}\n', "t.jsonl, line 2"),
        ("t.json", f"[{ROWS[0]}, 7, {ROWS[1]}]", "t.json, row 2"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_under_its_own_number(tmp_path, name, content, place):
    """It counts like any other, so that no answer stands under the number of another row."""
    first, wrong, last = records(table(tmp_path, name, content), OF_TEXTS)
    assert ("00000000", "a") == (first.sample_id, first.record["text"])
    assert ("00000001", place, {}) == (wrong.sample_id, wrong.place, wrong.record)
    assert wrong.problems[0].startswith(("expected", "column"))
    assert ("00000002", "c") == (last.sample_id, last.record["text"])


def test_empty_lines_are_rows_that_cannot_be_read(tmp_path):
    """Each is told, and so is what is wrong with the row behind it, in its own words."""
    path = table(tmp_path, "t.csv", "text,age,town\na,1,\n\nb\nc,3,\n")
    found = records(path, OF_TEXTS)
    assert ["", "an empty line", "1 in 'b'", ""] == [
        given.problems[0].partition("received ")[2] if given.problems else "" for given in found
    ]
    assert ("00000003", "c") == (found[3].sample_id, found[3].record["text"])


def test_a_file_name_that_is_no_utf_8_is_told_in_letters(tmp_path):
    """Its record is answered, and what is said of it can be written down."""
    (tmp_path / "in").mkdir()
    with open(os.fsencode(tmp_path / "in") + b"/photo\xe9.png", "wb") as file:
        file.write(b"1")
    (given,) = records(tmp_path / "in", OF_IMAGES)
    assert "photo\\xe9.png" == given.sample_id
    given.place.encode()


def test_many_rows_that_cannot_be_read_keep_their_numbers(tmp_path):
    """In the middle, at the end, more than a message names, and one whose bytes are no text."""
    rows = ["a,1,", *["b,2,x,y"] * 9, "c,3,", "d\udcff,4,", *["e,x"] * 5]
    path = tmp_path / "t.csv"
    path.write_bytes("\n".join(["text,age,town", *rows, ""]).encode("utf-8", "surrogateescape"))
    source = {"kind": "text_table", "options": {"encoding": "utf-8"}}
    found = records(path, OF_TEXTS, source)
    assert [f"{number:08d}" for number in range(17)] == [given.sample_id for given in found]
    assert {0: "a", 10: "c"} == {
        int(given.sample_id): given.record["text"] for given in found if given.record
    }
    assert all(given.problems for given in found if not given.record)


def test_what_is_wrong_with_the_whole_file_is_no_record(tmp_path):
    """An array that breaks off: what was read is answered, then the file is refused whatever is allowed."""
    reading, read = read_records(table(tmp_path, "t.json", f"[{ROWS[0]}, {{"), OF_TEXTS, {}), []
    with pytest.raises(DataRefused, match="after row 1"):
        read.extend(iter(reading))
    assert ["a"] == [given.record["text"] for given in read]


def test_an_archive_ends_at_a_row_that_cannot_be_read(tmp_path):
    """Nobody knows the number of those behind it."""
    text = "@problemName x\n@univariate true\n@classLabel true a b\n@data\n1,2:a\n1,x:a\n3,4:b\n"
    reading, read = read_records(table(tmp_path, "X_TEST.ts", text), OF_SERIES, {}), []
    with pytest.raises(DataRefused, match="line 6"):
        read.extend(iter(reading))
    assert ["00000000"] == [given.sample_id for given in read]


def test_files_without_side_columns_are_refused_where_the_model_reads_some(tmp_path):
    """A folder, one image and an archive hold none: they would be missing without a word."""
    side = {"side": {"numbers": [{"name": "age"}], "categories": []}}
    (tmp_path / "a.png").write_bytes(b"1")
    for path in (tmp_path, tmp_path / "a.png"):
        with pytest.raises(DataRefused, match=r"the model reads of each record: age.*columns path, age"):
            records(path, OF_IMAGES | side)
    with pytest.raises(DataRefused, match="columns series, age"):
        records(table(tmp_path, "X_TEST.ts", "@data\n"), OF_SERIES | side)


def test_a_column_of_ids_is_refused_where_there_are_no_columns(tmp_path):
    """Not passed over without a word."""
    (tmp_path / "a.png").write_bytes(b"1")
    with pytest.raises(WronglyCalled, match=r"Expected no --id\. Received: --id key"):
        records(tmp_path, OF_IMAGES, id_column="key")
    source = {"kind": "series_table", "options": {"time": "t"}}
    path = table(tmp_path, "t.csv", "t,p\n2026-01-01T00:00,1\n")
    with pytest.raises(WronglyCalled, match=r"Expected no --id\. Received: --id key"):
        records(path, OF_SERIES | {"series": {"channels": ["p"]}}, source, id_column="key")


def test_brackets_without_end_are_no_steps(tmp_path):
    """Python gives up on them in another way than on other nonsense."""
    (given,) = records(table(tmp_path, "t.csv", f'series\n"{"[" * 50_000}"\n'), OF_SERIES)
    assert "a list of steps" in given.problems[0]


def test_images_are_the_files_of_a_folder_or_of_a_column(tmp_path):
    """Below it at any depth, named by their path; a file that is not there is refused with its row."""
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/b.png").write_bytes(b"1")
    (tmp_path / "in/deep/a.jpg").write_bytes(b"2")
    (tmp_path / "in/notes.txt").write_text("none")
    assert [("b.png", b"1"), ("deep/a.jpg", b"2")] == [
        (given.sample_id, given.record["image"]) for given in records(tmp_path / "in", OF_IMAGES)
    ]
    (alone,) = records(tmp_path / "in/b.png", OF_IMAGES)
    assert b"1" == alone.record["image"]
    source = {"kind": "image_table", "options": {"path": "file"}}
    there, gone = records(table(tmp_path, "t.csv", "file\nin/b.png\nin/c.png\n"), OF_IMAGES, source)
    assert b"1" == there.record["image"]
    assert "in/c.png" in gone.problems[0]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataRefused, match="no image file"):
        records(tmp_path / "empty", OF_IMAGES)


def test_a_table_names_files_below_its_folder_and_no_others(tmp_path):
    """Neither by a path of the machine nor by steps upwards: such a row is refused and nothing of the file is read."""
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(b"1")
    (tmp_path / "in/link.png").symlink_to("../secret.png")
    names = ["a.png", "../secret.png", str(tmp_path / "secret.png"), "link.png", ".", "/dev/zero", "n" * 300]
    given = records(table(tmp_path / "in", "t.csv", "\n".join(["path", *names, ""])), OF_IMAGES)
    assert [b"1", *[None] * 6] == [row.record.get("image") for row in given]
    assert all("leads elsewhere" in given[place].problems[0] for place in (1, 2, 3, 5))
    assert "which is no file" in given[4].problems[0]
    assert "File name too long" in given[6].problems[0]
    assert [b"1", None] == [row.record.get("image") for row in records(tmp_path / "in", OF_IMAGES)]


def test_an_image_that_cannot_be_read_is_refused_and_the_others_come(tmp_path, monkeypatch):
    """Too large, or a disk that fails: its name and why."""
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(b"12")
    (tmp_path / "b.png").write_bytes(b"123")
    monkeypatch.setattr(record_files, "MOST_IMAGE_BYTES", 2)
    read = Path.read_bytes

    def failing(path):
        if path.name == "c.png":
            raise OSError(errno.EIO, "Input/output error")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    whole, large, broken = records(tmp_path, OF_IMAGES)
    assert {"image": b"12"} == whole.record
    assert "'b.png' of 3 bytes" in large.problems[0]
    assert "Input/output error" in broken.problems[0]


def test_series_are_lists_of_steps(tmp_path):
    """As JSON in a cell of CSV, as lists in Parquet, and as lines of an archive's file."""
    first, second = records(table(tmp_path, "t.csv", 'series\n"[[1, 2], [3, null]]"\nnonsense\n'), OF_SERIES)
    assert {"series": [[1, 2], [3, None]]} == first.record
    assert "a list of steps" in second.problems[0]
    pq.write_table(pa.table({"series": [[[1.0, 2.0]], [[3.0, None]]]}), tmp_path / "t.parquet")
    assert [[3.0, None]] == records(tmp_path / "t.parquet", OF_SERIES)[1].record["series"]
    text = "@problemName x\n@univariate false\n@dimensions 2\n@classLabel true a b\n@data\n1,2:3,?:a\n"
    (given,) = records(table(tmp_path, "X_TEST.ts", text), OF_SERIES)
    assert {"series": [[1.0, 3.0], [2.0, None]]} == given.record


def test_nothing_and_folders_of_tables_are_refused(tmp_path):
    """With what was expected."""
    with pytest.raises(InputMissing, match="There is no"):
        records(tmp_path / "none.csv", OF_TEXTS)
    with pytest.raises(DataRefused, match=r"is a folder\. Expected a table of text records"):
        records(tmp_path, OF_TEXTS)


def test_a_table_of_steps_is_read_as_the_data_of_the_model_was(tmp_path):
    """Whole series by their id, columns in the model's order, gaps as missing; of windows with known columns not."""
    source = {"kind": "series_table", "options": {"time": "t", "id": "run", "label": "class", "step": 60.0}}
    state = OF_SERIES | {"series": {"channels": ["q", "p"]}}
    rows = ["2026-01-01T00:00,a,1,2", "2026-01-01T00:02,a,3,4", "2026-01-01T00:00,b,5,6"]
    path = table(tmp_path, "t.csv", "\n".join(["t,run,p,q", *rows, ""]))
    first, second = records(path, state, source)
    assert [[2.0, 1.0], [None, None], [4.0, 3.0]] == first.record["series"]
    assert ("b", [[6.0, 5.0]]) == (second.sample_id, second.record["series"])
    told = source | {
        "facts": {"step_seconds": 3600.0},
        "options": source["options"] | {"files": "train*.csv"},
    }
    wrong, _ = records(path, state, told)
    assert "a step every 3600 s" in wrong.problems[0]
    known = {"numbers": [{"name": "warm"}], "categories": []}
    windows = {"length": 3, "horizon": 1, "side": {"known": known, "calendar": []}}
    with pytest.raises(DataRefused, match=r"known about the step ahead.*\.jsonl"):
        records(path, state | {"windows": windows}, source)
