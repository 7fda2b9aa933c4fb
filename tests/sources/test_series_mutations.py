"""Damaged files of series are refused with a message, or read as an independent parser reads them.

The .ts format is tried in `test_mutations.py`, ten thousand times; here are the other formats of series.
"""

import csv
import datetime as dt
import io
import math
import random
import re

import numpy as np
import pytest

from pipeline.data.samples import MISSING
from pipeline.formats.cells import label_text, plain_name
from pipeline.runtime.errors import UserError
from pipeline.sources import series_archive, series_arrays, series_files, series_rows, series_table
from tests.helpers.mutations import mutations
from tests.helpers.parquet_file import parquet
from tests.helpers.read_source import read_source

NUM_DAMAGED = 300
RELATIONAL = (
    b"@relation x\n@attribute r relational\n@attribute t1 numeric\n@attribute t2 numeric\n@end r\n"
    b"@attribute class {a,'b c'}\n@data\n'1,2\\n3,4',a\n'1,?\\n-3e2,4',\"b c\"\n"
)
ARFF = (
    b"@relation x\n@attribute t1 numeric\n@attribute t2 real\n@attribute class {a,b}\n@data\n1,2,a\n3,?,b\n"
)
TSV = b"1\t1.5\t-2\n2\tNaN\t3\n1\t4\tNaN\n"
TXT = b"  1.0e+00  1.5 -2\n  2.0e+00  NaN  3\n"
TABLE = (
    b"time,id,x,room,y\n2024-01-01,b,1,R1,2\n2024-01-02,b,3,R1,\n2024-01-01,a,5,R2,6\n2024-01-03,a,7,R2,8\n"
    b'2024-01-04,a,"7",R2,8\n'
)
WINDOWS = b'{"a": [["2024-01-01", "2024-01-02"]], "b": []}'
TARGETS = b"#id, class, room\n2,yes,B1\n1,no,A\n"
SERIES = b"a,b\n1,2\n3,\n"
ROWS = b'device 7\nwho,a,b,class\n,V,V,\nann,1,-2.5,up\n"ben",3e1,,"down"\ncid,?,6,NA\n'
BLANKS = b" 1.5  2\t-3\n4 NaN 6 \n7 8 9\n"
STEPS = b"a,b,doing\n1,2,sit\n3,,walk\n4,5,\n"
VALUES, CLASSES, PACKED = io.BytesIO(), io.BytesIO(), io.BytesIO()
np.save(VALUES, np.array([[1, 2.5, -3], [4, np.nan, 6]]))
np.save(CLASSES, np.array(["up", "down"]))
np.savez_compressed(PACKED, X=np.arange(6.0).reshape(2, 3), y=np.array(["up", "down"]))
VALUES, CLASSES, PACKED = VALUES.getvalue(), CLASSES.getvalue(), PACKED.getvalue()


def number(cell):
    """Return a cell as float32 sees it, by Python's own rules."""
    return math.nan if cell.strip(" \t") in MISSING else np.float32(float(cell))


def check_lines(separator):
    """Return a check of formats with the class first, one series per line."""

    def check(content, suffix):
        samples = read_source(series_archive, {f"S_TRAIN.{suffix}": content})
        lines = [line.removesuffix("\r") for line in content.decode("utf-8-sig", "replace").split("\n")]
        rows = [
            re.split(separator, line.strip(" \t") if suffix == "txt" else line)
            for line in lines
            if line.strip(" \t")
        ]
        assert len(rows) == len(samples)
        for (label, *cells), sample in zip(rows, samples, strict=True):
            values = np.array([number(cell) for cell in cells], np.float32)
            steps = np.flatnonzero(~np.isnan(values))[-1] + 1
            np.testing.assert_array_equal(values[:steps], sample.series[:, 0])
            assert label_text(label) == sample.label

    return check


def check_table(content, _):
    """Every row stands at its step of its series, and there are no others."""
    samples = read_source(
        series_table, {"t.csv": content, "w.json": WINDOWS}, id="id", static=("room",), files="t.csv",
        anomaly_windows="w.json", delimiter="comma", encoding="utf-8",
    )  # fmt: skip
    header, *rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
    names = [name.strip(" \t") for name in header]
    rows = [dict(zip(names, row, strict=True)) for row in rows if row]
    series = {sample.sample_id: sample for sample in samples}
    there = {name: np.full(sample.series.shape, np.nan) for name, sample in series.items()}
    for row in rows:
        sample = series[row["id"].strip(" \t")]
        time = dt.datetime.fromisoformat(row["time"].strip(" \t")).replace(tzinfo=None)
        step = (time - dt.datetime.fromisoformat(sample.time)).total_seconds() / sample.step_seconds
        there[sample.sample_id][int(step)] = [number(row[channel]) for channel in sample.channels]
        assert row["room"].strip(" \t") == (sample.side["room"] or "")
    for name, expected in there.items():
        np.testing.assert_array_equal(expected, series[name].series)


def without_gaps_at_the_end(values):
    """Return a row of numbers up to its last one."""
    return values[: np.flatnonzero(~np.isnan(values))[-1] + 1]


def check_rows(content, _):
    """Every row is a series with its class, as Python's csv reads it."""
    samples = read_source(
        series_rows, {"a.csv": content}, label="class", group="who", delimiter="comma", encoding="utf-8", skip=1,
        units_row=True,
    )  # fmt: skip
    lines = io.StringIO(content.decode("utf-8-sig", "replace").split("\n", 1)[1], newline="")
    names, *rows = [row for row in csv.reader(lines, strict=True) if row]
    rows = rows[1:]  # below the units
    rows = [dict(zip([name.strip(" \t") for name in names], row, strict=True)) for row in rows]
    while rows and not "".join(rows[-1].values()).strip():
        rows.pop()
    assert len(rows) == len(samples)
    for row, sample in zip(rows, samples, strict=True):
        assert (row.pop("class").strip(" \t"), row.pop("who").strip(" \t")) == (sample.label, sample.group)
        values = np.array([number(cell) for cell in row.values()], np.float32)
        np.testing.assert_array_equal(without_gaps_at_the_end(values), sample.series[:, 0])


def check_blanks(content, _):
    """Rows of numbers between blanks are what splitting them gives."""
    (sample,) = read_source(
        series_files, {"a.txt": content}, header=False, delimiter="blank", encoding="utf-8"
    )
    rows = [
        re.split("[ \t]+", line.removesuffix("\r").strip(" \t"))
        for line in content.decode("utf-8-sig").split("\n")
    ]
    unquoted = [[re.sub(r'^"(.*)"$', r"\1", cell) for cell in row] for row in rows if row != [""]]
    expected = [[number(cell) for cell in row] for row in unquoted]
    np.testing.assert_array_equal(np.array(expected, np.float32), sample.series)


def check_steps(content, _):
    """A class per step is the cell that stands there, and no channel."""
    samples = read_source(
        series_files, {"ann/1.csv": content, "ben/1.csv": STEPS}, folders="group", step_label="doing", delimiter="comma",
        encoding="utf-8",
    )  # fmt: skip
    names, *rows = [
        row for row in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True) if row
    ]
    rows = [dict(zip([name.strip(" \t") for name in names], row, strict=True)) for row in rows]
    steps = samples[0].step_labels
    assert [row.pop("doing").strip(" \t") for row in rows] == [
        ("", *steps.names)[code + 1] for code in steps.codes
    ]
    np.testing.assert_array_equal(
        np.array([[number(cell) for cell in row.values()] for row in rows], np.float32), samples[0].series
    )


def check_arrays(content, _):
    """Series and classes are what NumPy loads."""
    samples = read_source(series_arrays, {"X.npy": content, "y.npy": CLASSES})
    values = np.load(io.BytesIO(content), allow_pickle=False)
    assert [name.strip() for name in np.load(io.BytesIO(CLASSES))] == [sample.label for sample in samples]
    for row, sample in zip(values.astype(np.float32), samples, strict=True):
        np.testing.assert_array_equal(without_gaps_at_the_end(row), sample.series[:, 0])


def check_classes(content, _):
    """The same, of a damaged array of classes."""
    samples = read_source(series_arrays, {"X.npy": VALUES, "y.npy": content})
    classes = np.load(io.BytesIO(content), allow_pickle=False).reshape(-1).tolist()
    assert [name.strip(" \t") if isinstance(name, str) else plain_name(name) for name in classes] == [
        sample.label for sample in samples
    ]


def check_npz(content, _):
    """The same, of arrays packed into one file."""
    samples = read_source(series_arrays, {"a.npz": content})
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            values, classes = arrays["X"], arrays["y"]
    except ValueError:
        # A place one byte before the file: within a tar file it is the beginning, and the checksums are right.
        values, classes = np.arange(6.0).reshape(2, 3), np.array(["up", "down"])
    assert classes.tolist() == [sample.label for sample in samples]
    np.testing.assert_array_equal(
        values.astype(np.float32), np.stack([sample.series[:, 0] for sample in samples])
    )


def only_read(source, names, **options):
    """Return a check that reads, for formats whose second parser would be this one again."""

    def check(content, suffix):
        files = {name: content if given is None else given for name, given in names.items()}
        assert read_source(source, files, **options)

    return check


FORMATS = {
    "tsv": (TSV, check_lines("\\t")),
    "txt": (TXT, check_lines("[ \\t]+|,")),
    "table": (TABLE, check_table),
    "rows": (ROWS, check_rows),
    "blanks": (BLANKS, check_blanks),
    "steps": (STEPS, check_steps),
    "arrays": (VALUES, check_arrays),
    "classes": (CLASSES, check_classes),
    "npz": (PACKED, check_npz),
    "arff": (ARFF, only_read(series_archive, {"S_TRAIN.arff": None})),
    "relational arff": (RELATIONAL, only_read(series_archive, {"S_TRAIN.arff": None})),
    "windows": (WINDOWS, only_read(series_table, {"t.csv": TABLE, "w.json": None}, id="id", static=("room",),
                                   anomaly_windows="w.json", files="t.csv")),
    "parquet": (parquet({"time": ["2024-01-01", "2024-01-02"], "x": [1.0, 2.0]}),
                only_read(series_table, {"t.parquet": None})),
    "targets": (TARGETS, only_read(series_files, {"S_1.csv": SERIES, "S_2.csv": SERIES, "t.csv": None},
                                   files="S_*.csv", targets="t.csv", label="class", side=("room",))),
    "series": (SERIES, only_read(series_files, {"S_1.csv": None, "S_2.csv": SERIES}, files="S_*.csv")),
}  # fmt: skip


NEW = ("rows", "blanks", "steps", "arrays", "classes", "npz")
"""Tried ten thousand times by `make test-slow`."""


def try_all(name, count, seed):
    """Return how many damaged files were accepted, each compared."""
    good, check = FORMATS[name]
    check(good, name)
    accepted, messages = 0, []
    for damaged in mutations(good, count, seed):
        try:
            check(damaged, name)
        except UserError as error:
            messages.append(str(error))
            continue
        except Exception as error:
            raise AssertionError(f"{name}: {damaged!r}") from error
        accepted += 1
    assert [] == [message for message in messages if "xpected" not in message]
    return accepted


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_refused_or_read_as_another_parser_reads_them(name):
    """No traceback, no value that differs; some are accepted and some refused, so that both are tried."""
    assert NUM_DAMAGED // 50 <= try_all(name, NUM_DAMAGED, seed=3) < NUM_DAMAGED


@pytest.mark.slow
@pytest.mark.parametrize("name", NEW)
def test_ten_thousand_damaged_files_per_format(name):
    """The same, for long."""
    print(f"{name}: {try_all(name, 10_000, seed=4)} of 10,000 accepted and equal")


JUNK = (
    *(
        "",
        "24:00",
        "30.02.2024",
        "0000-00-00",
        "9" * 25,
        "1e400",
        "nan",
        "inf",
        "2024-10-27 02:30",
        "1e18",
        "\u00e9",
    ),
    *("31.12.9999 24:00", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00+12:00", "2024-02-30", "no time"),
)
POLICIES = {
    "timezone": ("", "Europe/Berlin"),
    "step": ("auto", "months", "3600", "0.000001", "3e9"),
    "off_grid": ("fail", "nearest"),
    "gaps": ("auto", "fill", "hold", "fail"),
    "duplicates": ("fail", "mean", "first"),
    "missing_hour": ("fail", "drop", "shift"),
}


@pytest.mark.parametrize(
    "text",
    [
        "auto",
        "%d.%m.%Y %H:%M",
        "%Y-%m-%d %H:%M CET%z",
        "%Y-%m-%d %H:%M %Z",
        "%G-W%V",
        "%m/%d/%y %I:%M %p",
        "seconds",
    ],
)
def test_drawn_time_stamps_are_read_or_refused_with_any_policy(text):
    """Regular, with jitter, out of order, through changes of the clock, with odd cells: no traceback in 150 tables."""
    rng = random.Random(text)
    outcomes = set()
    for _ in range(150):
        options = {name: rng.choice(values) for name, values in POLICIES.items()}
        if text == "seconds" or "%z" in text:
            options["timezone"] = ""
        step, spread = rng.choice((60, 900, 3600, 86_400, 31 * 86_400)), rng.choice((0, 0, 0.3))
        first = dt.datetime(2024, rng.choice((1, 3, 10)), 20)  # noqa: DTZ001
        rows = []
        for number in range(rng.choice((1, 2, 30, 100))):
            time = first + dt.timedelta(seconds=round((number + rng.uniform(-spread, spread)) * step))
            cell = str(round((time - dt.datetime(1970, 1, 1)).total_seconds())) if text == "seconds" else ""  # noqa: DTZ001
            cell = cell or (time.isoformat() if text == "auto" else time.strftime(text.replace("%Z", "CET")))
            cell = cell + "+0100" * text.endswith("%z")
            rows.append(f"{rng.choice(JUNK) if rng.random() < 0.01 else cell},{number % 2},{number}")
        order = rng.choice(("as it is", "as it is", "sorted", "newest first", "any"))
        if order == "any":
            rng.shuffle(rows)
        elif order != "as it is":
            rows.sort(reverse=order == "newest first")
        content = "\n".join(["t,i,v", *rows, ""]).encode()
        try:
            samples = read_source(
                series_table, {"a.csv": content}, time="t", time_format=text, id="i", **options
            )
            assert (
                len(rows) == sum(sample.timeline.rows for sample in samples)
                or options["missing_hour"] == "drop"
            )
            outcomes.add("read")
        except UserError:
            outcomes.add("refused")
    assert {"read", "refused"} == outcomes
