"""What stands in a file decides how it is read: compressed, UTF-16, a spreadsheet, another format than its suffix says."""

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import tarfile
import tracemalloc
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.fetching.look import look_at
from pipeline.fetching.plain_files import plain_files
from pipeline.fetching.snapshot import take_snapshot
from pipeline.fetching.source import KINDS, Location, stored_tar
from pipeline.runtime.errors import DataRefused, NotPermitted
from pipeline.sources.kinds import options_of, source_of, stated_options
from tests.helpers.picture_folders import picture

GIB = 2**30
WORDS = ["the parcel never came", "please refund gr\u00f6\u00dfe", "how do I log in again"]
ROWS = [{"text": f"{WORDS[n % 3]} {n}", "label": "spam" if n % 3 else "ham"} for n in range(12)]
CSV = "text,label\r\n" + "".join(f"{row['text']},{row['label']}\r\n" for row in ROWS)
JSON_LINES = "".join(f"{json.dumps(row)}\n" for row in ROWS)
JSON_ARRAY = json.dumps(ROWS, indent=1)
TIMES = "time,value\n" + "".join(f"2026-01-{day:02d},{day}\n" for day in range(1, 21))
SERIES = "".join(
    ",".join([f"{(n * step) % 7}.5" for step in range(8)] + ["ab"[n % 2]]) + "\n" for n in range(10)
)
SERIES = ",".join([*(f"v{step}" for step in range(8)), "label"]) + "\n" + SERIES


def parquet(table):
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


PARQUET = parquet(pa.Table.from_pylist(ROWS))
PACKED = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def taken(kind, name, content, *options):
    """Return the snapshot of a file, and its samples, as `millrace init` reads them."""
    with open(name, "wb") as file:
        file.write(content)
    stated = stated_options(kind, options)
    snapshot = take_snapshot(kind, Location(path=name), max_bytes=GIB, options=stated)
    with tarfile.open(stored_tar(snapshot.source.sha256)) as archive:
        return snapshot, list(source_of(kind).read(archive, options_of(kind, stated)))


def texts(name, content, *options):
    """Return what a table of texts says."""
    _, samples = taken("text_table", name, content, "label=label", *options)
    return [{"text": sample.text, "label": sample.label} for sample in samples]


# --- Compressed files.


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize(
    ("kind", "name", "content", "options"),
    [
        ("text_table", "a.csv", CSV.encode(), ["label=label"]),
        ("text_table", "a.tsv", CSV.replace(",", "\t").encode(), ["label=label"]),
        ("text_table", "a.jsonl", JSON_LINES.encode(), ["label=label"]),
        ("text_table", "a.json", JSON_ARRAY.encode(), ["label=label"]),
        ("text_table", "a.parquet", PARQUET, ["label=label"]),
        ("series_table", "a.csv", TIMES.encode(), []),
        ("series_rows", "a.csv", SERIES.encode(), ["label=label"]),
        ("text_lines", "a.txt", "".join(f"{r['label']}\t{r['text']}\n" for r in ROWS).encode(), ["separator=tab"]),
    ],
)  # fmt: skip
def test_one_compressed_file_is_read_as_the_file_inside(suffix, kind, name, content, options):
    """Sample ids, digest and samples are those of the plain file."""
    plain, samples = taken(kind, name, content, *options)
    packed, unpacked = taken(kind, f"{name}.{suffix}", PACKED[suffix](content), *options)
    assert plain.source.sha256 == packed.source.sha256
    assert [sample.sample_id for sample in samples] == [sample.sample_id for sample in unpacked]
    assert any(suffix in line or "compressed" in line for line in packed.described)


def test_a_compressed_file_is_known_by_its_bytes():
    """Called `.csv`, it is gzip all the same."""
    assert texts("a.csv", gzip.compress(CSV.encode())) == ROWS


def test_a_folder_of_compressed_tables_is_one_of_tables(tmp_path):
    """Beside a plain file of the same name a compressed one is its copy, and left out."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    (tmp_path / "data/test.csv").write_text(CSV)
    (tmp_path / "data/test.csv.gz").write_bytes(gzip.compress(b"other"))
    snapshot = take_snapshot("text_table", Location(path="data"), max_bytes=GIB, options={"label": "label"})
    assert {("train", "ham"), ("test", "ham"), ("train", "spam"), ("test", "spam")} == set(snapshot.counts)
    assert snapshot.source.left_out == {"*.gz": 1}


def test_a_compressed_table_beside_its_images(tmp_path):
    """Pointed at, or found in the folder."""
    for name in ("1.png", "2.png"):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(picture(len(name)))
    (tmp_path / "photos/labels.csv.gz").write_bytes(gzip.compress(b"path,label\n1.png,a\n2.png,b\n"))
    for place in ("photos", "photos/labels.csv.gz"):
        snapshot = take_snapshot(
            "image_table", Location(path=place), max_bytes=GIB, options={"label": "label"}
        )
        assert 2 == snapshot.source.count


def test_a_compressed_file_is_proposed_like_a_plain_one(tmp_path):
    """Without --kind."""
    (tmp_path / "mail.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    trials, _ = look_at(Location(path="mail.csv.gz"), list(KINDS), stated={}, max_bytes=GIB)
    assert ("text_table", "") == (trials[0].proposal.kind, trials[0].refused)


@pytest.mark.parametrize("suffix", PACKED)
def test_a_bomb_is_stopped_while_it_goes_off(tmp_path, suffix):
    """At a hundred bytes out per byte in, and in little memory."""
    (tmp_path / f"a.csv.{suffix}").write_bytes(PACKED[suffix](b"a,b\n" * (1 << 20)))
    tracemalloc.start()
    with pytest.raises(NotPermitted, match="decompression bomb"):
        take_snapshot(
            "text_table", Location(path=f"a.csv.{suffix}"), max_bytes=GIB, options={"label": "label"}
        )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20
    with pytest.raises(DataRefused, match="--max-gib"):
        plain_files(_random(tmp_path, suffix).parent, [f"r.csv.{suffix}"], tmp_path / "out", max_bytes=1000)


def _random(folder, suffix):
    path = folder / f"r.csv.{suffix}"
    path.write_bytes(PACKED[suffix](CSV.encode() * 100))
    return path


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize(
    "damage", [lambda raw: raw[: len(raw) // 2], lambda raw: raw[:40] + b"\xff\xff" + raw[42:]]
)
def test_a_damaged_compressed_file_is_refused(suffix, damage):
    """Half of it, or one with other bytes inside."""
    with pytest.raises(DataRefused, match="cannot be unpacked"):
        texts(f"a.csv.{suffix}", damage(PACKED[suffix](CSV.encode())))


# --- UTF-16.


@pytest.mark.parametrize("codec", ["utf-16", "utf-32"])
@pytest.mark.parametrize("kind", ["text_table", "text_lines"])
def test_utf_16_with_its_mark_needs_no_option(kind, codec):
    """As Excel's "Unicode text" and PowerShell write it."""
    if kind == "text_table":
        assert texts("a.csv", CSV.encode(codec)) == ROWS
    else:
        lines = "".join(f"{row['label']}\t{row['text']}\n" for row in ROWS).encode(codec)
        snapshot, samples = taken("text_lines", "a.txt", lines, "separator=tab")
        assert [row["text"] for row in ROWS] == [sample.text for sample in samples]
        assert any("UTF-16" in line or "UTF-32" in line for line in snapshot.described)


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_its_mark_is_refused_with_the_option_that_reads_it(codec):
    """And the option does."""
    content = CSV.replace("\r", "").encode(codec)
    with pytest.raises(DataRefused, match=f"--set encoding={codec}") as refused:
        texts("a.csv", content)
    assert "iconv" not in str(refused.value)
    assert texts("a.csv", content, f"encoding={codec}") == ROWS


def test_utf_16_big_endian_with_its_mark(tmp_path):
    """The other order of bytes, also where the order was stated."""
    content = b"\xfe\xff" + CSV.encode("utf-16-be")
    assert texts("a.csv", content) == ROWS
    assert texts("a.csv", content, "encoding=utf-16") == ROWS


@pytest.mark.parametrize("kind", ["series_table", "series_rows", "series_files"])
def test_series_in_utf_16(kind, tmp_path):
    """Every kind of delimited text."""
    content, options = {
        "series_table": (TIMES, []),
        "series_rows": (SERIES, ["label=label"]),
        "series_files": ("a,b\n" + "1,2\n" * 20, []),
    }[kind]
    if kind == "series_files":
        for name in ("x/1.csv", "x/2.csv", "y/1.csv", "y/2.csv"):
            (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / name).write_bytes(content.encode("utf-16"))
        snapshot = take_snapshot(kind, Location(path="data"), max_bytes=GIB, options={})
        assert 4 == snapshot.source.count
    else:
        assert taken(kind, "a.csv", content.encode("utf-16"), *options)[0].source.count


def test_documents_without_the_mark_of_utf_16(tmp_path):
    """A file per text: the option that reads them is named, and reads them."""
    for name in ("x/1.txt", "x/2.txt", "y/1.txt"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(f"text of {name}".encode("utf-16-be"))
    with pytest.raises(DataRefused, match="--set encoding=utf-16-be"):
        take_snapshot("text_lines", Location(path="data"), max_bytes=GIB, options={})
    options = {"encoding": "utf-16-be"}
    assert (
        3 == take_snapshot("text_lines", Location(path="data"), max_bytes=GIB, options=options).source.count
    )


@pytest.mark.parametrize("options", [[], ["encoding=utf-16"]])
def test_damaged_utf_16_is_refused_with_the_place(options):
    """Half a character at the end, or half a pair inside: nothing is replaced."""
    whole = CSV.encode("utf-16")
    for content in (whole[:-1], whole[:20] + b"\x00\xd8" + whole[22:]):
        with pytest.raises(DataRefused, match=r"byte \d+"):
            texts("a.csv", content, *options)


def test_a_stated_utf_16_that_is_none_is_refused():
    """UTF-8 read by pairs of bytes would be Chinese."""
    with pytest.raises(DataRefused, match="UTF-16"):
        texts("a.csv", CSV.encode(), "encoding=utf-16-le")


def test_utf_16_is_recoded_in_little_memory(tmp_path):
    """Streamed, as everything else."""
    (tmp_path / "a.txt").write_bytes(("x" * 60 + "\n").encode("utf-16") * 1)
    with (tmp_path / "a.txt").open("ab") as file:
        for _ in range(200):
            file.write(("y" * 60 + "\n").encode("utf-16-le") * 1000)
    tracemalloc.start()
    plain_files(tmp_path, ["a.txt"], tmp_path / "out", max_bytes=GIB)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


# --- Forms by bytes.


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", JSON_ARRAY.encode()),
        ("a.csv", JSON_LINES.encode()),
        ("a.csv", PARQUET),
        ("a.tsv", PARQUET),
        ("a.tsv", CSV.encode()),
        ("a.json", JSON_LINES.encode()),
        ("a.jsonl", JSON_ARRAY.encode()),
        ("a.jsonl", CSV.encode()),
        ("a.json", PARQUET),
        ("a.parquet", CSV.encode()),
        ("a.parquet", JSON_LINES.encode()),
        ("a.data", PARQUET),
        ("a.dat", JSON_LINES.encode()),
    ],
)
def test_the_form_is_what_the_first_bytes_say(name, content):
    """Whatever the file is called, stated or found without a kind."""
    assert texts(name, content) == ROWS
    trials, _ = look_at(Location(path=name), list(KINDS), stated={}, max_bytes=GIB)
    assert ("text_table", "") == (trials[0].proposal.kind, trials[0].refused)


def test_texts_that_begin_like_json_stay_texts():
    """A bracket or brace is no JSON yet."""
    rows = 'text,label\n{x} and [y],a\n"{""a"": 1}",b\n'
    assert ["{x} and [y]", '{"a": 1}'] == [row["text"] for row in texts("a.csv", rows.encode())]
    braces = "{text},label\nfine,a\nbad,b\n"
    assert "fine" == taken("text_table", "a.csv", braces.encode(), "text={text}", "label=label")[1][0].text


@pytest.mark.parametrize(("kind", "text"), [("series_table", TIMES), ("series_rows", SERIES)])
def test_series_in_parquet_by_another_name(kind, text):
    """As of tables of texts."""
    content = parquet(pa.Table.from_pandas(pd.read_csv(io.StringIO(text))))
    options = ["label=label"] if kind == "series_rows" else []
    with_suffix = taken(kind, "a.parquet", content, *options)[1]
    assert [sample.series.tolist() for sample in with_suffix] == [
        sample.series.tolist() for sample in taken(kind, "a.csv", content, *options)[1]
    ]


@pytest.mark.parametrize("kind", ["series_table", "series_rows"])
def test_series_in_json_are_refused_with_the_command_that_converts(kind, tmp_path):
    """Which then must work."""
    rows = pd.read_csv(io.StringIO(TIMES if kind == "series_table" else SERIES))
    options = ["label=label"] if kind == "series_rows" else []
    lines = kind == "series_table"
    for content in [rows.to_json(orient="records", lines=lines)]:
        with pytest.raises(DataRefused, match="JSON") as refused:
            taken(kind, "a.csv", content.encode(), *options)
        written = converted(str(refused.value), tmp_path)
        assert taken(kind, written, (tmp_path / written).read_bytes(), *options)[0].source.count


def test_parquet_where_a_file_per_series_is_read_is_refused(tmp_path):
    """Not as text full of NUL."""
    for name in ("x/1.csv", "y/1.csv"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(PARQUET)
    with pytest.raises(DataRefused, match="is Parquet"):
        take_snapshot("series_files", Location(path="data"), max_bytes=GIB, options={})


def converted(said, folder):
    """Do as a refusal says, in a shell, and return what was written; a second time it fails and replaces nothing."""
    command = next(part for part in said.split("`") if part.startswith("python -c "))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    before = set(folder.iterdir())

    def called():
        done = subprocess.run(
            ["sh", "-c", command],
            check=False,
            cwd=folder,
            env=os.environ | {"PATH": path},
            capture_output=True,
        )
        return done.returncode

    assert 0 == called()
    (written,) = set(folder.iterdir()) - before
    assert 0 != called()
    return written.name


# --- Spreadsheets.


def workbook(path):
    frame = pd.DataFrame([[*row.values()] for row in ROWS] + [["NA", "ham"], [None, "spam"], ["007", "ham"]])
    frame.to_excel(path, index=False, header=["text", "label"])
    return path.read_bytes()


@pytest.mark.parametrize("name", ["a.xlsx", "a.csv", "it's a.xlsx"])
def test_a_spreadsheet_is_refused_with_a_command_that_converts_it(tmp_path, name):
    """And the command works: words that mean "missing" to pandas stay words, blanks stay blank, 007 stays 007."""
    content = workbook(tmp_path / "a.xlsx")
    (tmp_path / "a.xlsx").rename(tmp_path / name)
    with pytest.raises(DataRefused, match="CSV UTF-8") as refused:
        texts(name, content)
    written = converted(str(refused.value), tmp_path)
    found = pd.read_csv(tmp_path / written, dtype=str, keep_default_na=False)
    assert [*found["text"]] == [*(row["text"] for row in ROWS), "NA", "", "007"]


def test_a_folder_of_spreadsheets_alone_says_what_to_do(tmp_path):
    """Where no table is found, that is the reason; beside tables one is left out and said."""
    (tmp_path / "data").mkdir()
    workbook(tmp_path / "data/a.xlsx")
    with pytest.raises(DataRefused, match="CSV UTF-8"):
        take_snapshot("text_table", Location(path="data"), max_bytes=GIB, options={"label": "label"})
    (tmp_path / "data/a.csv").write_text(CSV)
    found = take_snapshot("text_table", Location(path="data"), max_bytes=GIB, options={"label": "label"})
    assert {"*.xlsx": 1} == dict(found.source.left_out)


@pytest.mark.parametrize("name", ["a.xls", "a.csv"])
def test_an_old_spreadsheet_is_refused_too(name):
    """The bytes of Excel 97."""
    with pytest.raises(DataRefused, match="CSV UTF-8"):
        texts(name, bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600))


def test_a_spreadsheet_without_a_kind(tmp_path):
    """The same answer."""
    workbook(tmp_path / "a.xlsx")
    with pytest.raises(DataRefused, match="CSV UTF-8"):
        look_at(Location(path="a.xlsx"), list(KINDS), stated={}, max_bytes=GIB)


@pytest.mark.parametrize(
    "content", [parquet(pa.table({"id": [1, 2], "y": ["a", "b"]})), b'[{"id": 1, "y": "a"}]']
)
def test_a_table_beside_series_in_another_format_is_refused(tmp_path, content):
    """With the command that converts it."""
    for name in ("1.csv", "2.csv"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).write_text("a,b\n1,2\n3,4\n")
    (tmp_path / "data/t.csv").write_bytes(content)
    options = {"targets": "t.csv", "label": "y"}
    with pytest.raises(DataRefused, match="Convert it"):
        take_snapshot("series_files", Location(path="data"), max_bytes=GIB, options=options)
