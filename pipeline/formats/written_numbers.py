"""Numbers as people write them: `1.362,85`, `1,409.93`, `49 %`, `#NV`; read as stated, and told where nobody stated it.

A comma may end thousands or begin a fraction, and nothing in the cell `1,409` says which. So such cells are never
guessed at: they are numbers once `decimal`, `thousands`, `units` or `missing` say so, and what then is not written that
way is wrong, also where a plain number could be seen in it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from pipeline.data.samples import MISSING
from pipeline.formats.problems import to_list

DecimalOption = Literal["point", "comma"]
ThousandsOption = Literal["none", "point", "comma", "blank", "apostrophe"]
NegativeOption = Literal["before", "behind", "brackets"]
DECIMAL = {"point": ".", "comma": ","}
BLANKS = " \u00a0\u202f\u2009"
APOSTROPHES = "'\u2019"
THOUSANDS = {"none": "", "point": ".", "comma": ",", "blank": BLANKS, "apostrophe": APOSTROPHES}
SIGNS = "%\u2030\u00b0$\u20ac\u00a3\u00a5\u20b9"
"""Per cent, per mille, degrees and currencies: what is taken for a mark of a number where nobody stated units."""
WORDS = (
    "\u00b0C|\u00b0F|km/h|m/s|km|cm|mm|m|mi|ft|kg|mg|g|t|lbs|lb|oz|ml|l|ms|min|s|h|kWh|MWh|kW|MW|W|mA|A|mV|V|kHz|MHz|Hz|"
    "hPa|kPa|Pa|bar|dB|ppm|px|kB|MB|GB|EUR|USD|GBP|CHF|K"
)
"""Units that people write behind numbers, a pattern; of other words a cell may be a name."""
OF_SPREADSHEETS = (
    "#nv",
    "#n/a",
    "#wert!",
    "#value!",
    "#div/0!",
    "#ref!",
    "#bezug!",
    "#name?",
    "#num!",
    "#zahl!",
)
OF_PEOPLE = ("n/a", "n.a.", "na", "k.a.", ".", "..", "nan", "nil", "null", "none", "missing", "unknown")
NO_VALUE = frozenset((*OF_SPREADSHEETS, *OF_PEOPLE, "-", "--", "---", "\u2013", "\u2014"))
"""Words of spreadsheets and people for no value, in lower case; missing values only once somebody says so."""
BETWEEN = rf"[.,{BLANKS}{APOSTROPHES}]"
MARKED = re.compile(
    rf"(?P<open>\()?[{BLANKS}]*+(?P<before>[{SIGNS}]?)[{BLANKS}]*+[+\-\u2212]?[{BLANKS}]*+(?P<before2>[{SIGNS}]?)[{BLANKS}]*+"
    rf"(?P<body>\d+(?:[.,]\d*)?|[1-9]\d{{0,2}}(?P<group>{BETWEEN})\d{{3}}(?:(?P=group)\d{{3}})*(?:[.,]\d+)?)"
    rf"[{BLANKS}]*+(?P<after>(?:{WORDS}|[{SIGNS}])?)[{BLANKS}]*+(?P<behind>[\-\u2212]?)(?(open)[{BLANKS}]*+\))",
    re.ASCII,
)
"""Digits in groups of three, or with one comma or point; `01.02.2026` and `1.2.3` are none."""
IN_POINTS = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+", re.ASCII)
MOSTLY = 0.9
"""Of the cells that are no missing values: a column with more cells that look like numbers holds numbers."""


class NumberOptions(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What a source may say about the writing of numbers in its tables."""

    decimal: DecimalOption = "point"
    """What begins a fraction in number columns: point, or comma as in 1.362,85."""
    thousands: ThousandsOption = "none"
    """What stands between thousands in number columns: none, point, comma, blank or apostrophe."""
    negative: NegativeOption = "before"
    """Where negative numbers have their sign: before, behind (12.5-), or brackets around them: (12.5)."""
    units: tuple[str, ...] = ()
    """What stands before or behind numbers and does not change them: 49 % is 49."""
    missing: tuple[str, ...] = ()
    """Further cells that stand for no value in number and side columns, such as #NV or -9999."""


@dataclass(frozen=True)
class NumberWriting:
    """How numbers are written, as stated.

    Attributes:
        decimal: What begins a fraction.
        thousands: What stands between groups of three digits.
        units: What may stand before or behind a number, and does not change it: `49 %` is 49.
        missing: Cells that stand for no value, besides those of `MISSING`; a number however it is written.
        negative: Where negative numbers have their sign.
    """

    decimal: DecimalOption = "point"
    thousands: ThousandsOption = "none"
    units: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    negative: NegativeOption = "before"

    @classmethod
    def of(cls, options: NumberOptions) -> "NumberWriting":
        """Return what the options of a source say."""
        return cls(options.decimal, options.thousands, options.units, options.missing, options.negative)

    @property
    def is_plain(self) -> bool:
        """Return whether numbers are written as programs write them."""
        usual = self.decimal == "point" and self.thousands == "none" and self.negative == "before"
        return usual and not self.units

    @property
    def signs(self) -> str:
        """Return what stands in numbers and could be taken for what stands between fields."""
        return "".join(
            sign for sign in (DECIMAL[self.decimal], *THOUSANDS[self.thousands]) if sign in (",", " ")
        )

    @property
    def problems(self) -> list[str]:
        """Return why numbers cannot be written so; none if they can."""
        problems = []
        if THOUSANDS[self.thousands] == DECIMAL[self.decimal]:
            problems.append(
                f"decimal={self.decimal} and thousands={self.thousands} are one sign. Expected two"
            )
        if "comma" in (self.decimal, self.thousands):
            problems += [
                f"missing={first},{second} are two cells, for a comma stands between the items of a list. Expected a "
                f"number with a point, however the files write it: missing={first}.{second}"
                for first, second in pairwise(self.missing)
                if re.fullmatch(r"[+-]?\d+", first) and second.isdigit()
            ]
        return problems

    @cached_property
    def missing_numbers(self) -> frozenset[float]:
        """Return the numbers that stand for no value, however they are written: -9999 and -9999.0."""
        plain = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
        return frozenset(float(np.float32(cell)) for cell in self.missing if plain.fullmatch(cell))

    @property
    def words(self) -> str:
        """Return in words what a cell should hold."""
        if self.is_plain:
            return "a number below 3.4e38 (float32), or nothing"
        thousands = THOUSANDS[self.thousands][:1]
        example = f"1{thousands}234{DECIMAL[self.decimal]}5{' ' + self.units[0] if self.units else ''}"
        return f"a number below 3.4e38 (float32) as {example!r}, or nothing"

    def is_missing(self, cell: str) -> bool:
        """Tell whether a cell without blanks around it stands for no value."""
        return cell in MISSING or cell in self.missing

    def plain(self, cell: str) -> str | None:
        """Return a cell as programs write the number: `1362.85` for `1.362,85`; None where it is none of this writing.

        Args:
            cell: Without blanks around it.
        """
        found = self._number.fullmatch(cell)
        if found is None:
            return None
        digits = found["digits"]
        if self._grouped:
            digits = re.sub(f"[{re.escape(THOUSANDS[self.thousands])}]", "", digits)
        sign = (found["sign"] or "").strip(BLANKS).replace("\u2212", "-").replace("(", "-")
        return sign + digits.replace(",", ".")

    def plain_cells(self, cells: pa.Array) -> pa.Array:
        """Return text as programs write the numbers, null where a cell is neither a number of this writing nor empty.

        Args:
            cells: Text without blanks around it and without nulls.
        """
        if self.missing:
            cells = pc.if_else(pc.is_in(cells, value_set=pa.array(self.missing)), "", cells)
        if self.is_plain:
            return cells
        unique = pc.unique(cells)
        plain = pa.array(
            ["" if self.is_missing(cell) else self.plain(cell) for cell in unique.to_pylist()], pa.string()
        )
        return plain.take(pc.index_in(cells, value_set=unique))

    @property
    def _grouped(self) -> bool:
        return self.thousands != "none"

    @cached_property
    def _number(self) -> re.Pattern[str]:
        point, group = re.escape(DECIMAL[self.decimal]), f"[{re.escape(THOUSANDS[self.thousands])}]"
        whole = rf"(?:[1-9]\d{{0,2}}(?:{group}\d{{3}})+|\d+)" if self._grouped else r"\d+"
        unit = "|".join(map(re.escape, sorted(self.units, key=len, reverse=True))) or "(?!)"
        digits = rf"(?P<digits>(?:{whole}(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?)"
        before, after = rf"(?:(?:{unit})[{BLANKS}]*)?", rf"(?:[{BLANKS}]*(?:{unit}))?"
        pattern = {
            "before": rf"{before}(?P<sign>[+\-\u2212]?[{BLANKS}]*){before}{digits}{after}",
            "behind": rf"{before}{digits}{after}[{BLANKS}]*(?P<sign>[+\-\u2212]?){after}",
            "brackets": rf"(?P<sign>\()?[{BLANKS}]*{before}{digits}{after}(?(sign)[{BLANKS}]*\)){after}",
        }
        return re.compile(pattern[self.negative], re.ASCII)


PLAIN = NumberWriting()


# --- What a column of cells that are no plain numbers looks like.


def looks_marked(cell: str) -> bool:
    """Tell whether a cell is no plain number, and looks like one with marks: `1.362,85`, `49 %`, `$12`."""
    found = MARKED.fullmatch(cell)
    if found is None:
        return False
    signs = found["before"] or found["before2"] or found["after"] or found["open"] or found["behind"]
    return bool(signs) or not re.fullmatch(r"\d+(\.\d*)?", found["body"])


def means_nothing(cell: str) -> bool:
    """Tell whether a cell is a word for no value: `#NV`, `k.A.`, `-`."""
    return cell.casefold() in NO_VALUE


def advice(cells: Iterable[str], writing: NumberWriting = PLAIN) -> str:
    """Return the options that would read these cells as numbers, in words; "" where they do not look like numbers.

    Args:
        cells: Those of one column that are no numbers of this writing, without blanks around them.
        writing: What is stated already.
    """
    marked, nothing, in_points = [], [], False
    for cell in cells:
        if looks_marked(cell):
            marked.append(cell)
        elif means_nothing(cell):
            nothing.append(cell)
        elif writing.decimal == "comma" and IN_POINTS.fullmatch(cell):
            in_points = True
        else:
            return ""
    if len(_signs(marked)) > 1:
        return ""  # dollars and euros are not one unit
    options = [*_signs_of(marked, writing.units), *_marks_of(marked), *_negatives_of(marked)]
    if in_points and "--set thousands=point" not in options:
        options.append("--set thousands=point")
    if nothing:
        options.append(to_list("missing", dict.fromkeys([*writing.missing, *nothing])))
    return " ".join(options)


def _signs(cells: Sequence[str]) -> set[str]:
    found = [MARKED.fullmatch(cell) for cell in cells]
    return {
        sign
        for match in found
        if match
        for sign in (match["before"], match["before2"], match["after"])
        if sign
    }


def _signs_of(cells: Sequence[str], stated: Sequence[str]) -> list[str]:
    return [to_list("units", dict.fromkeys([*stated, sign])) for sign in _signs(cells)]


def _negatives_of(cells: Sequence[str]) -> list[str]:
    found = [match for cell in cells if (match := MARKED.fullmatch(cell))]
    behind, brackets = any(match["behind"] for match in found), any(match["open"] for match in found)
    return [f"--set negative={word}" for word, there in (("behind", behind), ("brackets", brackets)) if there]


def _marks_of(cells: Sequence[str]) -> list[str]:
    """Return options of what begins a fraction and what ends thousands; both readings where the cells leave a doubt."""
    bodies = [match["body"] for cell in cells if (match := MARKED.fullmatch(cell))]
    blank = any(set(body) & set(BLANKS) for body in bodies)
    apostrophe = any(set(body) & set(APOSTROPHES) for body in bodies)
    between = "blank" if blank else "apostrophe" if apostrophe else ""
    bodies = [re.sub(f"[{BLANKS}{APOSTROPHES}]", "", body) for body in bodies]
    both = [body for body in bodies if "," in body and "." in body]
    commas = any("," in body for body in bodies)
    several_points = any(body.count(".") > 1 for body in bodies)
    options = [f"--set thousands={between}"] if between else []
    if both or several_points:
        comma_last = several_points or all(body.rindex(",") > body.rindex(".") for body in both)
        if comma_last:
            return ["--set decimal=comma", "--set thousands=point"]
        return ["--set thousands=comma"]
    if not commas:
        return options
    several_commas = any(body.count(",") > 1 for body in bodies)
    if several_commas:
        return ["--set thousands=comma"]
    fractions = any(not re.fullmatch(r"\d{1,3},\d{3}", body) for body in bodies if "," in body)
    if fractions or between:
        return ["--set decimal=comma", *options]
    example = next(body for body in bodies if "," in body)
    whole, fraction = example.replace(",", ""), example.replace(",", ".")
    return [f"--set thousands=comma if {example} is {whole}, --set decimal=comma if it is {fraction}"]
