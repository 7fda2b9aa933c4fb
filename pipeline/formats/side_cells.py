"""What a side column holds, numbers or categories: told by all of its cells, and refused where they leave a doubt."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.data.samples import MISSING
from pipeline.formats.cells import PADDED, SideKind, is_missing, is_number, plain_number
from pipeline.formats.delimited import Batch
from pipeline.formats.problems import shown, to_list, typed_in
from pipeline.formats.written_numbers import MOSTLY, PLAIN, NumberWriting, advice, looks_marked, means_nothing
from pipeline.runtime.errors import DataRefused

LISTS = ("units", "missing")
"""Options of the writing of numbers that take several values."""


class SideCells:
    """What the cells of one side column are, seen one by one.

    Args:
        column: Its name.
        typed: Whether the format tells text from numbers; else numbers are what is written as such.
        writing: How numbers are written.
        role: What the column is, for messages.
    """

    def __init__(
        self, column: str, *, typed: bool, writing: NumberWriting = PLAIN, role: str = "side column"
    ) -> None:
        self._column = column
        self._role = role
        self._typed = typed
        self._writing = writing
        self._padded = False
        self._number = ""
        self._word = ""
        self._numbers = self._words = 0
        self._odd: dict[str, int] = {}
        self._odd_place = ""

    def see(self, place: str, value: Any) -> None:
        """Look at one cell; `place` is for messages."""
        text = value.strip(" \t") if isinstance(value, str) else ""
        if is_missing(value) or text in self._writing.missing:
            return
        # What was said about the writing of numbers makes text of a typed format numbers, too.
        written = bool(text) and self._typed and self._writing.is_plain
        self._padded = self._padded or (not self._typed and PADDED.fullmatch(text) is not None)
        if not written and plain_number(value, self._writing) is not None:
            self._numbers += 1
            self._number = self._number or f"{shown(value)} at {place}"
        elif text not in MISSING - {""}:
            self._words += 1
            self._word = self._word or f"{shown(value)} at {place}"
            if looks_marked(text) or means_nothing(text) or (is_number(text) and not self._typed):
                self._odd_place = self._odd_place or f"{shown(value)} at {place}"
                self._odd[text] = self._odd.get(text, 0) + 1

    def kind(self) -> SideKind:
        """Return `category` where any cell is padded with zeros (an id), or all are words; else `number`.

        Raises:
            DataRefused: Words and numbers are mixed, or the cells look like numbers with marks.
        """
        if self._role == "target column":
            self._refuse_marks()
            return "number"  # what is none is told with its line, by whoever reads it
        if self._words and not self._padded:
            self._refuse_marks()
        if self._number and self._word and not self._padded:
            raise DataRefused(
                f"The side column {self._column!r} mixes numbers and words. Expected one or the other. Received: "
                f"{self._number}, and {self._word}. Correct the cells, or say that they are categories: "
                f"{to_list('categorical', [self._column])}."
            )
        return "category" if self._word or self._padded else "number"

    def _refuse_marks(self) -> None:
        """Refuse cells that are numbers to every reader, and words to a program: `1.362,85`, `49 %`, `#NV`.

        Raises:
            DataRefused: Nine of ten cells look like numbers, and some are none as numbers are said to be written.
        """
        nothing = sum(count for text, count in self._odd.items() if means_nothing(text))
        odd = sum(self._odd.values())
        like_numbers, others = self._numbers + odd - nothing, self._words - odd
        if not odd or not like_numbers or like_numbers < MOSTLY * (like_numbers + others):
            return
        options = advice(self._odd, self._writing)
        said = f"Say how they are written: {options}." if options else "Correct them."
        if self._role == "side column":
            said += f" What only looks like numbers: {to_list('categorical', [self._column])}."
        raise DataRefused(
            f"The {self._role} {self._column!r} looks like numbers written for people. Expected {self._writing.words}. "
            f"Received: {odd:,} of {self._numbers + self._words:,} cells that are not, such as {self._odd_place}. "
            f"{said}"
        )


def kinds_of(seen: Mapping[str, SideCells]) -> dict[str, SideKind]:
    """Return what each side column holds.

    Raises:
        DataRefused: Some mix numbers and words, or look like numbers that are written in another way; all of them.
    """
    kinds: dict[str, SideKind] = {}
    refusals = []
    for column, cells in seen.items():
        try:
            kinds[column] = cells.kind()
        except DataRefused as refused:
            refusals.append(str(refused))
    if refusals:
        raise DataRefused("\n".join([*refusals, *_together(refusals)]))
    return kinds


def _together(refusals: Sequence[str]) -> list[str]:
    """Return what reads all columns at once, where each is written in a way of its own and no two contradict."""
    said = [pair for refused in refusals for pairs in typed_in(refused) for pair in pairs]
    options: dict[str, list[str]] = {}
    for name, value in said:
        if name != "categorical":
            options.setdefault(name, []).extend(
                one for one in value.split(",") if one not in options.get(name, ())
            )
    if len(refusals) < 2 or any(len(values) > 1 for name, values in options.items() if name not in LISTS):
        return []
    return (
        [f"All of them: {' '.join(to_list(name, values) for name, values in options.items())}."]
        if options
        else []
    )


def kinds_by_reading(
    batches: Iterable[Batch], columns: Sequence[str], *, target: str = "", typed: bool, writing: NumberWriting
) -> dict[str, SideKind]:
    """Return what each side column holds, from all rows.

    Args:
        batches: Of all tables; rows that cannot be read are named by whoever reads them for their samples.
        columns: Side columns whose kind nobody stated.
        target: Column that regression predicts, whose cells must not be numbers in another writing; "" for none.
        typed: Whether the format tells text from numbers.
        writing: How numbers are written.

    Raises:
        DataRefused: As `kinds_of`.
    """
    seen = {column: SideCells(column, typed=typed, writing=writing) for column in columns}
    if target:
        seen[target] = SideCells(target, typed=typed, writing=writing, role="target column")
    for batch in batches:
        for row, cells in enumerate(batch.rows(list(seen))):
            for column, cell in zip(seen, cells, strict=True):
                seen[column].see(batch.place(row), cell)
    found = kinds_of(seen)
    return {column: found[column] for column in columns}
