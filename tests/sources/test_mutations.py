"""Damaged files are refused with a message, or read as an independent parser reads them, row for row.

`make test-slow` tries 10,000 damaged files per format, the default run a few hundred.
"""

import csv
import gzip
import io
import random
import struct

import msgspec
import numpy as np
import pytest

from pipeline.data.samples import MISSING
from pipeline.formats.delimited import dialect_of
from pipeline.runtime.errors import UserError
from pipeline.sources import idx, series_archive, text_table
from tests.helpers.mutations import mutations
from tests.helpers.read_source import read_source

NUM_QUICK = 300
NUM_SLOW = 10_000

CSV = (
    'text,label,age,code\n"Hello, ""you""",NA,31,007\nplain,b,,010\n"two\nlines\n",NA,-2.5,123\n'
    "\u00e9t\u00e9 \u2026,b,1e3,9\nlast one,NA,0,\n"
).encode()
TSV = b'ham\tsay "hi"\nspam\tWINNER!! \'free\' "\nham\t\xc2\xa33, ok;\nspam\tcall 007\r\nham\tNA\n'
JSONL = (
    '{"text": "Hello, \\"you\\"\\n", "label": "NA", "age": 31}\n{"text": "\u00e9t\u00e9", "label": 2, "age": null}\n'
    '{"text": "\\u00e9", "label": "2", "age": -2.5e1}\n{"text": "", "label": "NA", "age": 0}\n'
).encode()
TS = (
    b"# a comment\n@problemName Small\n@timeStamps false\n@missing true\n@univariate false\n@dimensions 2\n"
    b"@equalLength false\n@classLabel true a b\n@data\n1,2.5,-3:4,5,6:a\n1e1,?:7,8:b\n0,0,0,1:1,1,1,0:a\n"
)
IDX_IMAGES = struct.pack(">4I", 0x00000803, 3, 2, 2) + bytes(range(12))
IDX_LABELS = struct.pack(">2I", 0x00000801, 3) + bytes([0, 1, 1])


def delimited_rows(content, name, **stated):
    """Return the fields as `csv` and `bytes.decode` see them, given the dialect that we say it is."""
    dialect = dialect_of(io.BytesIO(content), name, **stated)
    text = content.decode("utf-8-sig" if dialect.encoding == "utf-8" else dialect.encoding)
    quoting = {"minimal": csv.QUOTE_MINIMAL, "none": csv.QUOTE_NONE}[dialect.quoting]
    lines = io.StringIO(text, newline="")
    rows = csv.reader(lines, delimiter=dialect.delimiter, quoting=quoting, strict=True)
    return [row for row in rows if row]


def same_side(value, cell):
    """Tell whether a side value is what a cell says: its number, its word, or nothing."""
    if value is None:
        return cell.strip() in MISSING
    return value == (float(cell) if isinstance(value, float) else cell)


def check_csv(content):
    """Compare samples of a CSV file with what `csv` reads."""
    samples = read_source(text_table, {"a.csv": content}, label="label", side=("age",), id="code")
    header, *rows = delimited_rows(content, "a.csv")
    assert len(rows) == len(samples)
    for fields, sample in zip(rows, samples, strict=True):
        row = dict(zip(header, fields, strict=True))
        assert (row["label"], row["text"]) == (sample.label, sample.text)
        assert same_side(sample.side["age"], row["age"])
        assert (row["code"] or None) == sample.side["code"]


def check_tsv(content):
    """Compare samples of a TSV file without quoting with what `csv` reads."""
    stated = {"quoting": "none", "header": False, "encoding": "utf-8"}
    samples = read_source(text_table, {"a.tsv": content}, label="1", text="2", **stated)
    rows = delimited_rows(content, "a.tsv", delimiter="tab", **stated)
    assert [row[:2] for row in rows] == [[sample.label, sample.text] for sample in samples]
    assert len({len(row) for row in rows}) == 1


def check_jsonl(content):
    """Compare samples of a JSON lines file with what msgspec reads."""
    samples = read_source(text_table, {"a.jsonl": content}, label="label", side=("age",))
    lines = [line for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
    rows = [msgspec.json.decode(line) for line in lines]
    words = {True: "true", False: "false"}
    assert len(rows) == len(samples)
    for row, sample in zip(rows, samples, strict=True):
        label = row["label"]
        assert (words[label] if isinstance(label, bool) else str(label), row["text"]) == (
            sample.label,
            sample.text,
        )
        age = row["age"]
        age = words[age] if isinstance(age, bool) else age
        assert sample.side["age"] == (
            None if age == "" or (age in MISSING and sample.side["age"] is None) else age
        )


def check_ts(content):
    """Compare series of a .ts file with what splitting its lines gives."""
    samples = read_source(series_archive, {"Small_TRAIN.ts": content})
    lines = content.decode("utf-8-sig", errors="backslashreplace").split("\n")
    start = next(
        number
        for number, line in enumerate(lines)
        if line.strip().split()[:1] == ["@data"] or line.strip().lower() == "@data"
    )
    rows = [line.strip().split(":") for line in lines[start + 1 :] if line.strip()]
    assert len(rows) == len(samples)
    for (*channels, label), sample in zip(rows, samples, strict=True):
        values = [
            [
                float(cell) if cell.strip() not in ("?", "NaN", "nan") else np.nan
                for cell in channel.split(",")
            ]
            for channel in channels
        ]
        np.testing.assert_array_equal(np.array(values, np.float32).T, sample.series)
        assert label.strip() == sample.label


def check_idx(content):
    """Compare images of IDX files, the damaged one in front of the good one, with NumPy's reading of the bytes."""
    (images_name, images), (labels_name, labels) = content.items()
    samples = read_source(idx, content)
    images = gzip.decompress(images) if images_name.endswith(".gz") else images
    labels = gzip.decompress(labels) if labels_name.endswith(".gz") else labels
    shape = np.frombuffer(images, ">u4", 3, offset=4)
    expected = np.frombuffer(images, np.uint8, offset=16).reshape(*shape, 1)
    np.testing.assert_array_equal(expected, np.stack([sample.image for sample in samples]))
    assert [str(label) for label in labels[8:]] == [sample.label for sample in samples]


def damaged_idx(content, count, seed):
    """Yield pairs of IDX files of which one is damaged, plain or packed."""
    del content
    rng = random.Random(seed)
    pairs = zip(mutations(IDX_IMAGES, count, seed), mutations(IDX_LABELS, count, seed + 1), strict=True)
    names = ("images-idx3-ubyte", "labels-idx1-ubyte")
    for images, labels in pairs:
        damage = rng.choice(["images", "labels", "packed images", "images before packing"])
        if damage == "labels":
            yield dict(zip(names, (IDX_IMAGES, labels), strict=True))
        elif damage == "images":
            yield dict(zip(names, (images, IDX_LABELS), strict=True))
        else:
            packed = gzip.compress(IDX_IMAGES if damage == "packed images" else images, mtime=0)
            packed = next(mutations(packed, 1, rng.random())) if damage == "packed images" else packed
            yield {f"{names[0]}.gz": packed, names[1]: IDX_LABELS}


FORMATS = {
    "csv": (CSV, mutations, check_csv),
    "tsv": (TSV, mutations, check_tsv),
    "jsonl": (JSONL, mutations, check_jsonl),
    "ts": (TS, mutations, check_ts),
    "idx": (None, damaged_idx, check_idx),
}


def try_all(name, count, seed):
    """Return how many of `count` damaged files were accepted, each compared, and how many were refused."""
    content, damage, check = FORMATS[name]
    accepted, messages = 0, []
    for damaged in damage(content, count, seed):
        try:
            check(damaged)
        except UserError as error:
            messages.append(str(error))
        except Exception as error:
            raise AssertionError(f"{name}: {damaged!r}") from error
        else:
            accepted += 1
    # A message that helps has what was expected and what came instead.
    assert [message for message in messages if not ("xpected" in message and "eceived" in message)] == []
    return accepted, len(messages)


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_refused_or_read_as_another_parser_reads_them(name):
    """No traceback and no row that differs; some files are accepted and some refused, so that both are tried."""
    accepted, refused = try_all(name, NUM_QUICK, seed=1)
    assert accepted + refused == NUM_QUICK
    assert min(accepted, refused) >= NUM_QUICK // 50


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_ten_thousand_damaged_files_per_format(name):
    """The same, for long."""
    accepted, refused = try_all(name, NUM_SLOW, seed=2)
    assert accepted + refused == NUM_SLOW
    print(f"{name}: {accepted} accepted and equal, {refused} refused")


@pytest.mark.parametrize("name", ["csv", "tsv", "jsonl", "ts"])
def test_the_files_that_get_damaged_are_good(name):
    """Without damage every format is accepted, and equal."""
    content, _, check = FORMATS[name]
    check(content)


def test_equal_seeds_give_equal_damage():
    """A failure can be repeated from its seed."""
    assert list(mutations(CSV, 50, 7)) == list(mutations(CSV, 50, 7))
    assert len(set(mutations(CSV, 50, 7))) > 40
