"""Damaged tables of images are refused with a message, or say of every image what an independent reader finds there.

`make test-slow` tries 10,000 damaged files per format, the default run a few hundred.
"""

import csv
import io
import json
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.samples import MISSING
from pipeline.runtime.errors import UserError
from pipeline.sources import image_table
from tests.helpers.mutations import mutations
from tests.helpers.read_source import read_source

NUM_QUICK, NUM_SLOW = 300, 10_000
IMAGES = {f"images/{number}.png": b"%d" % number for number in range(1, 6)}
COLUMNS = ("path", "label", "grams", "site", "use", "zoom", "lens")
ROWS = [
    ("images/1.png", "ball", "1.5", "A", "train", "2", "x"),
    ("2.png", "007", "-2e1", "B", "test", "", "y"),
    ("3", "NA", "3", "A", "train", "4.5", ""),
    ("images\\4.PNG", "gr\u00fcn, hell", "0", "", "val", "1e3", "x"),
    ("./images/5", 'say "hi"', "12", "C", "Training", "NaN", "z"),
]
ROLES = {"label": "label", "target": "grams", "group": "site", "split": "use", "side": ("zoom", "lens"),
         "categorical": ("lens",)}  # fmt: skip
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
          "test": "test", "testing": "test"}  # fmt: skip


def delimited():
    """The rows as CSV with quotes where they are needed."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows([COLUMNS, *ROWS])
    return file.getvalue().encode()


def json_lines():
    """The rows as JSON lines, numbers as numbers, and one null."""
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in ROWS]
    for row in rows:
        row["grams"] = float(row["grams"])
        row["zoom"] = float(row["zoom"]) if row["zoom"] not in ("", "NaN") else None
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode()


def parquet():
    """The same as Parquet without compression, so that damage reaches the values."""
    file = io.BytesIO()
    rows = [json.loads(line) for line in json_lines().splitlines()]
    pq.write_table(pa.Table.from_pylist(rows), file, compression="none", use_dictionary=False)
    return file.getvalue()


def rows_of_csv(content):
    """What Python's csv reads."""
    header, *rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
    return [dict(zip(header, row, strict=True)) for row in rows if row]


def rows_of_json(content):
    """What Python's json reads, of lines or of an array."""
    text = content.decode("utf-8-sig")
    if text.lstrip(" \t\r\n").startswith("["):
        return json.loads(text)
    return [json.loads(line) for line in text.split("\n") if line.strip(" \t\r")]


def rows_of_parquet(content):
    """What pyarrow reads, all at once."""
    return pq.read_table(io.BytesIO(content)).to_pylist()


def image_of(cell):
    """Return the image that a cell names: the one whose number and suffix it has."""
    last = PurePosixPath(str(cell).strip().replace("\\", "/")).name.lower()
    stem = last.removesuffix(".png")
    return f"images/{stem}.png"


def text(cell):
    """Return a cell as the text of a name, a whole number without its point."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell == int(cell):
        cell = int(cell)
    return str(cell)


def number(cell):
    """Return a cell as a number; None where it says none."""
    if cell is None or (isinstance(cell, float) and cell != cell):
        return None
    return None if str(cell).strip(" \t") in MISSING else float(cell)


def check(content, name, rows_of):
    """Every row is found at its image, with its label, target, group, split and side values; no other is there."""
    stated = (
        {"delimiter": "comma", "quoting": "minimal", "encoding": "utf-8"} if name.endswith(".csv") else {}
    )
    samples = read_source(image_table, {name: content, **IMAGES}, **ROLES, **stated)
    rows = {image_of(row["path"]): row for row in rows_of(content)}
    assert len(rows_of(content)) == len(rows) == len(samples)
    for sample in samples:
        row = rows[sample.sample_id]
        assert IMAGES[sample.sample_id] == sample.image
        assert (text(row["label"]).strip(" \t"), text(row["site"]).strip(" \t")) == (
            sample.label.strip(" \t"),
            sample.group.strip(" \t"),
        )
        assert number(row["grams"]) == sample.target
        assert SPLITS[str(row["use"]).strip().casefold()] == sample.split
        lens = text(row["lens"])
        assert (None if lens.strip(" \t") in MISSING else lens.strip(" \t")) == (
            sample.side["lens"] if sample.side["lens"] is None else sample.side["lens"].strip(" \t")
        )
        zoom = sample.side["zoom"]
        assert zoom == (text(row["zoom"]) if isinstance(zoom, str) else number(row["zoom"]))


FORMATS = {
    "csv": (delimited(), "t.csv", rows_of_csv),
    "jsonl": (json_lines(), "t.jsonl", rows_of_json),
    "parquet": (parquet(), "t.parquet", rows_of_parquet),
}


def try_all(form, count, seed):
    """Damage a file in many ways; return how many were read and how many refused."""
    content, name, rows_of = FORMATS[form]
    check(content, name, rows_of)
    read, reasons = 0, set()
    for number_of, damaged in enumerate(mutations(content, count, seed)):
        try:
            check(damaged, name, rows_of)
        except UserError as error:
            reasons.add(str(error))
        except Exception as error:
            raise AssertionError(f"damaged file {number_of} of seed {seed}: {damaged!r}") from error
        else:
            read += 1
    assert "" not in reasons
    return read, count - read


@pytest.mark.parametrize("form", FORMATS)
def test_damaged_tables_are_refused_or_read_as_they_stand(form):
    """A few hundred."""
    read, refused = try_all(form, NUM_QUICK, seed=5)
    assert read
    assert refused > NUM_QUICK / 4


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_ten_thousand_damaged_tables(form):
    """No traceback, and no row that an independent reader does not find."""
    read, refused = try_all(form, NUM_SLOW, seed=6)
    print(f"{form}: {read:,} read, {refused:,} refused")
    assert read
    assert refused > NUM_SLOW / 4
