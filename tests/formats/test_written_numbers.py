"""Numbers as people write them are read as stated, and otherwise refused with the options that read them."""

import random
from itertools import product

import numpy as np
import pyarrow as pa
import pytest

from pipeline.formats.cells import number_cells, plain_number
from pipeline.formats.delimited import Batch
from pipeline.formats.problems import Problems, typed_in
from pipeline.formats.side_cells import SideCells
from pipeline.formats.written_numbers import THOUSANDS, NumberWriting, advice, looks_marked
from pipeline.runtime.errors import DataRefused

POINTS = {"point": ".", "comma": ","}
WRITINGS = [
    NumberWriting(decimal, thousands, units)
    for decimal, thousands, units in product(POINTS, THOUSANDS, [(), ("%",), ("$", "kg")])
    if decimal != thousands
]


def written(number, digits, writing, rng):
    """A number as a person writes it, made by Python's own format and exchange of signs: the second source."""
    mark, point = THOUSANDS[writing.thousands], POINTS[writing.decimal]
    text = f"{number:,.{digits}f}".replace(",", "\0").replace(".", point)
    text = text.replace("\0", rng.choice(mark) if mark and rng.random() < 0.9 else "")
    if writing.units and rng.random() < 0.8:
        unit, blank = rng.choice(writing.units), rng.choice(["", " ", "\u00a0"])
        text = f"{unit}{blank}{text}" if rng.random() < 0.5 else f"{text}{blank}{unit}"
    return text


def test_ten_thousand_written_numbers_are_what_was_written():
    """Every decimal and thousands sign, units before and behind; cell by cell and as a column."""
    rng = random.Random(5)
    for writing in WRITINGS:
        assert writing.problems == []
        numbers = [(rng.uniform(-1, 1) * 10 ** rng.randint(0, 9), rng.randint(0, 4)) for _ in range(400)]
        cells = [written(number, digits, writing, rng) for number, digits in numbers]
        expected = [float(f"{number:.{digits}f}") for number, digits in numbers]
        assert expected == [plain_number(cell, writing) for cell in cells]
        batch = Batch("a.csv", "line", range(2, 402), {"c": pa.array(cells)})
        assert expected == number_cells(batch, ["c"], Problems(), writing)[:, 0].tolist()
    assert len(WRITINGS) * 400 > 9_000


@pytest.mark.parametrize(
    ("cell", "writing"),
    [
        ("1.5", NumberWriting("comma")),
        ("1.5", NumberWriting("comma", "point")),
        ("1,5", NumberWriting("point", "comma")),
        ("12,34,567", NumberWriting("point", "comma")),
        ("1.234.56", NumberWriting("comma", "point")),
        ("1 234 5", NumberWriting("point", "blank")),
        ("5 kg", NumberWriting("point", "none", ("%",))),
        ("%", NumberWriting("point", "none", ("%",))),
        ("1,2,3", NumberWriting("comma")),
        ("0.125", NumberWriting("comma", "point")),
        ("0,125", NumberWriting("point", "comma")),
        ("", NumberWriting("comma")),
        ("\u0663,5", NumberWriting("comma")),
    ],
)
def test_what_is_not_written_as_stated_is_no_number(cell, writing):
    """Also where a plain number could be seen in it: 1.5 is no 15 and no 1.5 once commas begin fractions."""
    assert plain_number(cell, writing) is None
    problems = Problems()
    values = number_cells(
        Batch("a.csv", "line", range(2, 4), {"c": pa.array([cell, "7"])}), ["c"], problems, writing
    )
    assert np.isnan(values[0, 0])
    assert problems.count == (1 if cell else 0)


@pytest.mark.parametrize(
    ("cells", "options"),
    [
        (["598,72", "1.362,85"], "--set decimal=comma --set thousands=point"),
        (["1,409.93", "12,000.00"], "--set thousands=comma"),
        (["0,5", "12,25"], "--set decimal=comma"),
        (["1,234,567"], "--set thousands=comma"),
        (["1.234.567"], "--set decimal=comma --set thousands=point"),
        (["1,409"], "--set thousands=comma if 1,409 is 1409, --set decimal=comma if it is 1.409"),
        (["49 %", "7%"], "--set units=%"),
        (["$12.24", "$3"], "--set units='$'"),
        (["1 234", "7 000 000"], "--set thousands=blank"),
        (["1'234.5"], "--set thousands=apostrophe"),
        (["1 234,5 \u20ac"], "--set units=\u20ac --set decimal=comma --set thousands=blank"),
        (["#NV", "k.A."], "--set missing='#NV,k.A.'"),
        (["#NV", "1,5"], "--set decimal=comma --set missing='#NV'"),
        (["1,5", "word"], ""),
        (["01.02.2026"], ""),
        (["1.2.3"], ""),
        (["192.168.0.1"], ""),
        (["030 123 456"], ""),
        (["S", "M", "XL"], ""),
        (["$20.5", "\u20ac21.5"], ""),
    ],
)
def test_the_options_that_read_such_cells_are_named(cells, options):
    """Or none, for what is no number: dates, versions, addresses, phone numbers, sizes."""
    assert options == advice(cells)


def side(cells, writing=None, typed=False):
    """What a side column of these cells is."""
    looker = SideCells("amount", typed=typed, writing=writing or NumberWriting())
    for line, cell in enumerate(cells, 2):
        looker.see(f"a.csv, line {line}", cell)
    return looker.kind()


@pytest.mark.parametrize("typed", [False, True])
def test_a_side_column_of_written_numbers_never_becomes_categories(typed):
    """Refused with the options; read as numbers once they are stated; categories only if somebody says so."""
    cells = ["598,72", "1.362,85", "", "7,5", "1,1", "2,2", "3,3"]
    with pytest.raises(DataRefused, match="--set decimal=comma --set thousands=point"):
        side(cells, typed=typed)
    assert side(cells, NumberWriting("comma", "point"), typed) == "number"
    with pytest.raises(DataRefused, match="6 of 7 cells") as refused:
        side([*cells, "12"])
    assert "'598,72' at a.csv, line 2" in str(refused.value)


def test_numbers_and_words_for_no_value_are_not_called_categories():
    """`#NV` of a spreadsheet: missing, once somebody says so."""
    with pytest.raises(DataRefused, match="--set missing='#NV'"):
        side(["1", "2", "#NV"])
    assert side(["1", "2", "#NV"], NumberWriting(missing=("#NV",))) == "number"
    with pytest.raises(DataRefused, match="mixes numbers and words"):
        side(["1", "two", "#NV"])


@pytest.mark.parametrize(
    "cells", [["red", "1,5", "blue"], ["01.02.2026", "02.02.2026"], ["S", "M"], ["-", "a", "b"]]
)
def test_words_stay_categories(cells):
    """A few cells that look like numbers, or nothing, do not make a column of numbers."""
    assert side(cells) == "category"


def test_values_that_stand_for_nothing_are_missing():
    """-9999 of a logger, in a column of numbers."""
    for cells in (["-9999", "1.5", "-9999.0"], [-9999.0, 1.5, -9999.0]):
        batch = Batch("a.csv", "line", range(2, 5), {"c": pa.array(cells)})
        values = number_cells(batch, ["c"], Problems(), NumberWriting(missing=("-9999",)))[:, 0]
        assert [True, False, True] == np.isnan(values).tolist()


def test_one_sign_cannot_mean_two_things():
    """Thousands and fractions."""
    assert "one sign" in str(NumberWriting("comma", "comma").problems)
    assert "one sign" in str(NumberWriting("point", "point").problems)


def test_plain_numbers_do_not_look_marked():
    """Whatever a program writes."""
    assert [] == [cell for cell in ("1", "1.5", "-2", "+3.", "1e5", "007", "inf", "") if looks_marked(cell)]


@pytest.mark.parametrize(("cell", "value"), [("\u22125 %", -5.0), ("- 5 %", -5.0), ("+5%", 5.0)])
def test_a_minus_may_be_typeset_and_stand_apart(cell, value):
    """As spreadsheets and people write it; what the advice says reads it."""
    assert advice([cell]) == "--set units=%"
    assert value == plain_number(cell, NumberWriting(units=("%",)))


def test_a_missing_value_with_a_comma_is_refused_and_with_a_point_understood():
    """The comma of a list is that of a fraction; float32 and exponents do not hide a value."""
    assert "missing=-99.9" in NumberWriting("comma", missing=("-99", "9")).problems[0]
    for cells in (["-99,9", "1,5", "1e20"], np.array([-99.9, 1.5, 1e20], np.float32)):
        batch = Batch("a.csv", "line", range(2, 5), {"c": pa.array(cells)})
        values = number_cells(batch, ["c"], Problems(), NumberWriting("comma", missing=("-99.9", "1e20")))[
            :, 0
        ]
        assert [True, False, True] == np.isnan(values).tolist()


@pytest.mark.parametrize(
    ("cells", "options", "read"),
    [
        (
            ["12,50-", "1.234,00-", "3,00"],
            "--set decimal=comma --set thousands=point --set negative=behind",
            "-12.50",
        ),
        (["(1,234.50)", "(3.10)"], "--set thousands=comma --set negative=brackets", "-1234.50"),
        (["3.5 kg", "4 kg"], "--set units=kg", "3.5"),
        (["-12.5 °C", "4 °C"], "--set units=°C", "-12.5"),
        (["($3.50)", "$12"], "--set units='$' --set negative=brackets", "-3.50"),
    ],
)
def test_signs_behind_brackets_and_units_are_told_and_read_as_advised(cells, options, read):
    """As accounting writes them; they became categories without a word, or ended without an option."""
    assert advice(cells) == options
    said = dict(pair for pairs in typed_in(options) for pair in pairs)
    units = (said["units"],) if "units" in said else ()
    writing = NumberWriting(
        said.get("decimal", "point"),
        said.get("thousands", "none"),
        units,
        negative=said.get("negative", "before"),
    )
    assert writing.plain(cells[0]) == read
    assert None not in map(writing.plain, cells)


def test_blanks_without_end_take_no_time():
    """Of a column that holds anything; some thousand blanks took minutes."""
    assert not looks_marked("1" + " " * 20_000 + "x")
