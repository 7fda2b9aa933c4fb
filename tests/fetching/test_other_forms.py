"""Files of forms that nothing reads are refused with a command, and what it makes is read."""

import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing

import h5py
import numpy as np
import pandas as pd
import pytest

from pipeline.commands.init import propose
from pipeline.fetching.look import look_at
from pipeline.fetching.other_forms import conversions
from pipeline.fetching.snapshot import take_snapshot
from pipeline.fetching.source import KINDS, Location
from pipeline.runtime.errors import DataRefused, WronglyCalled
from pipeline.runtime.processes import terminal
from tests.helpers.picture_folders import fill, picture

GIB = 1 << 30
TEXTS = ["the parcel never came", "please refund my money", "how do I log in again"] * 4
ROWS = [{"text": f"{text} {n}", "label": "ab"[n % 2]} for n, text in enumerate(TEXTS)]
COLUMNS = {key: [row[key] for row in ROWS] for key in ("text", "label")}
JSONS = {
    "wrapped": {"count": 12, "data": ROWS},
    "columns": COLUMNS,
    "split": {
        "columns": ["text", "label"],
        "index": list(range(12)),
        "data": [list(row.values()) for row in ROWS],
    },
    "pandas": {key: dict(enumerate(values)) for key, values in COLUMNS.items()},
    "index": dict(enumerate(ROWS)),
}


def looked_at(path, **stated):
    """Return the ways in which files can be read, and what is said of them."""
    trials, there = look_at(Location(path=path), list(KINDS), stated=stated, max_bytes=GIB)
    return [trial for trial in trials if not trial.refused], there


def followed(there, folder):
    """Run the first command that is said."""
    command = re.search(r"`python (-c .+?)`", there[0])[1]
    subprocess.run(f"{sys.executable} {command}", cwd=folder, check=True, shell=True)


@pytest.mark.parametrize("form", JSONS)
def test_rows_inside_a_json_object_are_brought_out_by_the_command_that_is_said(tmp_path, monkeypatch, form):
    """As web services and pandas write them: it ended with the list of all kinds."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").write_text(json.dumps(JSONS[form]), encoding="utf-8")
    fitting, there = looked_at("a.json")
    assert fitting == []
    followed(there, tmp_path)
    (trial,), _ = looked_at("a-rows.jsonl")
    assert {"text": "text", "label": "label"} == dict(trial.proposal.options)
    assert "label 'a', 'the parcel never came 0'" in trial.samples[0]


def test_feather_becomes_parquet_and_hdf5_becomes_arrays(tmp_path, monkeypatch):
    """By the commands that are said."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    pd.DataFrame(COLUMNS).to_feather(tmp_path / "x/a.feather")
    _, there = looked_at("x")
    followed(there, tmp_path / "x")
    (trial,), _ = looked_at("x/a-table.parquet")
    assert trial.proposal.kind == "text_table"
    (tmp_path / "y").mkdir()
    with h5py.File(tmp_path / "y/b.h5", "w") as file:
        file["X"], file["y"] = np.arange(40.0).reshape(4, 10), np.arange(4) % 2
    _, there = looked_at("y")
    followed(there, tmp_path / "y")
    (trial,), _ = looked_at("y/b-arrays.npz")
    assert trial.proposal.kind == "series_arrays"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.db", b"SQLite format 3\0", r"SELECT * FROM \"NAME OF A TABLE\""),
        ("a.csv.zst", b"(\xb5/\xfd\0\0", "zstd -d a.csv.zst"),
        ("it's.7z", b"7z\xbc\xaf'\x1c\0", """7z x 'it'"'"'s.7z'"""),
        ("a.pkl", b"\x80\x05", "a pickle, which runs"),
        ("a.xls", b"<html><table><tr><td>1</td></tr></table>", 'pandas.read_html("a.xls")'),
        ("a.json", b'{\n"text": 1\n}\n{\n"text": 2\n}\n', "jq -c . a.json > a-rows.jsonl"),
    ],
)
def test_what_is_packed_or_no_table_says_what_opens_it(tmp_path, monkeypatch, name, content, said):
    """And never only which kinds there are."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / name).write_bytes(content)
    with pytest.raises(DataRefused, match=re.escape(said)):
        propose(Location(path="a"), [], yes=False, max_bytes=GIB, console=terminal())


def test_an_archive_beside_others_is_named_with_what_unpacks_it(tmp_path, monkeypatch):
    """A folder of train.zip and test.zip."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    for name in ("train.zip", "test.zip"):
        (tmp_path / "a" / name).write_bytes(b"PK\x05\x06" + bytes(18))
    _, there = looked_at("a")
    assert "unzip test.zip -d test" in there[0]


def test_what_is_stated_is_tried_before_a_kind_is_named(tmp_path, monkeypatch):
    """`--set encoding=` is what a refusal advises, and was refused itself; a kind without such an option does not fit."""
    monkeypatch.chdir(tmp_path)
    text = "text,label\n" + "".join(f"{row['text']} \u00fc,{row['label']}\n" for row in ROWS)
    (tmp_path / "a.csv").write_bytes(text.encode("utf-16-le"))
    _, there = looked_at("a.csv")
    assert "--set encoding=utf-16-le" in " ".join(there)
    (trial,), _ = looked_at("a.csv", encoding="utf-16-le")
    assert {"text": "text", "label": "label", "encoding": "utf-16-le"} == dict(trial.proposal.options)
    assert looked_at("a.csv", encoding="utf-16-le", prefix="x")[0] == []
    with pytest.raises(WronglyCalled, match="no kind has an option encodings"):
        propose(Location(path="a.csv"), ["encodings=x"], yes=False, max_bytes=GIB, console=terminal())


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_of_a_recording_each_become_tables_in_class_folders(tmp_path, monkeypatch, suffix):
    """By the command and the options that are said; the advice was to pass all of them over."""
    monkeypatch.chdir(tmp_path)
    for label in ("run", "walk"):
        (tmp_path / "a" / label).mkdir(parents=True)
        for number in range(5):
            values = np.arange(6.0).reshape(3, 2) + number
            if suffix == ".npy":
                np.save(tmp_path / "a" / label / f"{number}.npy", values)
            else:
                np.savez(tmp_path / "a" / label / f"{number}.npz", signal=values, rate=50)
    fitting, there = looked_at("a")
    assert fitting == []
    followed(there, tmp_path / "a")
    assert "--kind series_files --set header=false --set ignore=*.np*" in there[0]
    trials, _ = looked_at("a", header="false", ignore=["*.np*"])
    assert "label 'run', 3 steps of 1, 2: 0 1; 2 3; 4 5" in trials[0].samples[0]


def test_two_arrays_without_names_are_read_as_the_refusal_says(tmp_path, monkeypatch):
    """As np.savez calls them."""
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "a.npz", np.arange(40.0).reshape(4, 10), np.arange(4) % 2)
    (trial, *_), _ = looked_at("a.npz")
    assert {"x": "arr_0", "y": "arr_1"} == dict(trial.proposal.options)


def test_pictures_inside_parquet_become_files_beside_a_table(tmp_path, monkeypatch):
    """As Hugging Face keeps them."""
    monkeypatch.chdir(tmp_path)
    rows = [{"image": {"bytes": picture(n), "path": f"{n}.png"}, "label": n % 2} for n in range(6)]
    (tmp_path / "a").mkdir()
    pd.DataFrame(rows).to_parquet(tmp_path / "a/train.parquet")
    fitting, there = looked_at("a")
    assert fitting == []
    followed(there, tmp_path / "a")
    (tmp_path / "a/train.parquet").unlink()
    (trial, *_), _ = looked_at("a")
    assert {"path": "path", "label": "label"} == dict(trial.proposal.options)


def test_boxes_on_images_become_a_table_of_what_is_on_them(tmp_path, monkeypatch):
    """Names of an image once each; COCO is otherwise not read."""
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "a", {f"i/{n}.png": picture(n) for n in range(6)})
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 4} for n in range(6)],
        "annotations": [{"id": n, "image_id": n // 2, "category_id": n % 3} for n in range(12)],
        "categories": [{"id": n, "name": name} for n, name in enumerate(("cat", "dog", "hat"))],
    }
    (tmp_path / "a/boxes.json").write_text(json.dumps(content), encoding="utf-8")
    fitting, there = looked_at("a")
    assert fitting == []
    followed(there, tmp_path / "a")
    assert (tmp_path / "a/boxes-labels.csv").read_text(encoding="utf-8").splitlines()[:3] == [
        "file_name,name",
        "0.png,cat|dog",
        "1.png,cat|hat",
    ]


PACKED_LOOK = {
    "a.feather": b"ARROW1",
    "a.parquet": b"ARROW1",
    "a.avro": b"Obj\x01",
    "a.npz": b"\x89HDF\r\n\x1a\n",
    "a.mat": b"MATLAB 5.0",
    "a.csv": b"RIFF\x24\0\0\0WAVE",
    "b.csv": b"SQLite format 3\0",
    "c.csv": b"\xef\xbb\xbf\n<!DOCTYPE html><table><tr><td>1</td></tr></table>",
    "pretty.jsonl": b'{\n"text": 1\n}\n{\n"text": 2\n}\n',
    "a-rows.jsonl": json.dumps(JSONS["wrapped"]).encode(),
    "labels.csv": json.dumps({"images": [], "annotations": [], "categories": []}).encode(),
}


@pytest.mark.parametrize("name", PACKED_LOOK)
def test_no_advice_writes_to_a_name_that_is_taken(tmp_path, name):
    """A shell empties `pretty.jsonl` before `jq -c . pretty.jsonl > pretty.jsonl` has read a byte of it."""
    path = tmp_path / name
    path.write_bytes(PACKED_LOOK[name])
    for _ in range(2):
        (said,) = conversions({name: path})
        made = re.search(r"""(?:>|to_csv\(|to_parquet\(|savez\(|savetxt\(|to_json\() ?"?([^",) `]+)""", said)[
            1
        ]
        assert not (tmp_path / made).exists()
        (tmp_path / made).touch()


def test_a_picture_in_parquet_never_replaces_a_file(tmp_path):
    """Nor does the table beside the pictures replace the file they are in, whatever its suffix."""
    pd.DataFrame([{"image": {"bytes": picture(1)}, "label": 1}]).to_parquet(tmp_path / "a.csv")
    (tmp_path / "a-000000.png").write_bytes(b"mine")
    before = (tmp_path / "a.csv").read_bytes()
    with pytest.raises(subprocess.CalledProcessError):
        followed(conversions({"a.csv": tmp_path / "a.csv"}), tmp_path)
    assert (before, b"mine") == ((tmp_path / "a.csv").read_bytes(), (tmp_path / "a-000000.png").read_bytes())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b'text,label\n"write <table> here",a\n'),
        ("a.jsonl", b'{"text": "<html><table><tr>", "label": "a"}\n\n{"text": "b", "label": "b"}\n'),
        ("a.webp", b"RIFF\x24\0\0\0WEBPVP8 "),
    ],
)
def test_what_only_resembles_another_form_is_not_called_so(tmp_path, name, content):
    """Texts about pages, a blank line between objects, pictures that begin as sound does."""
    (tmp_path / name).write_bytes(content)
    assert [] == conversions({name: tmp_path / name})


def test_names_with_quotes_do_not_break_the_command(tmp_path, monkeypatch):
    """`it's.json`, read by a real shell."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "it's.json").write_text(json.dumps(JSONS["wrapped"]), encoding="utf-8")
    _, there = looked_at("it's.json")
    followed(there, tmp_path)
    assert looked_at("it's-rows.jsonl")[0]


def test_a_database_says_how_its_first_table_is_read(tmp_path, monkeypatch):
    """By its name, which may need quotes, with those of the others."""
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect("a.db")) as database:
        pd.DataFrame(ROWS).to_sql("the order", database, index=False)
        pd.DataFrame(ROWS).to_sql("other", database, index=False)
    _, there = looked_at("a.db")
    assert there[0].endswith("Other tables: other.")
    followed(there, tmp_path)
    (trial,), _ = looked_at("a-table.csv")
    assert {"text": "text", "label": "label"} == dict(trial.proposal.options)


def test_a_file_that_the_kind_reads_is_not_told_to_become_another(tmp_path, monkeypatch):
    """Where `files` chose none of them, the form of the others says nothing."""
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "a", {"a.csv": PACKED_LOOK["c.csv"], "b.xls": PACKED_LOOK["c.csv"]})
    with pytest.raises(DataRefused) as refused:
        take_snapshot(
            "text_table",
            Location(path="a"),
            max_bytes=GIB,
            options={"text": "x", "label": "y", "files": "*.tsv"},
        )
    assert "b.xls is a page of HTML" in str(refused.value)
    assert "a.csv is" not in str(refused.value)
