"""What a row says that is to be learnt: a class, several labels or a number; one rule for the tables of all kinds.

A row without an answer is refused, or passed on without one where `unlabelled` says so; what becomes of it then is
decided in one place for all kinds, `pipeline/raw/answers.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.formats.cells import (
    LABEL_FIX,
    UNLABELLED_FIX,
    Cell,
    as_label,
    as_number,
    as_target,
    as_truth,
    is_blank,
)
from pipeline.formats.problems import Problems, shown
from pipeline.formats.tables import TextTableOptions, UnlabelledRows
from pipeline.formats.written_numbers import PLAIN, NumberWriting
from pipeline.raw.sample import SPLITS, GivenSplit


@dataclass(frozen=True)
class Answer:
    """What a row says.

    Attributes:
        label: Its class, "" for none.
        labels: Its classes where it may have several, sorted; else None.
        target: What regression predicts.
    """

    label: str = ""
    labels: tuple[str, ...] | None = None
    target: float | None = None


NO_ANSWER = Answer()
NO_LABELS = Answer(labels=())
"""Of several labels none: an answer like any other."""


@dataclass(frozen=True)
class AnswerColumns:
    """Where a table holds answers, and how they are written.

    Attributes:
        label: Column of the class, "" for none.
        target: Column of the number that regression predicts, "" for none.
        label_columns: Columns that are a label each.
        unlabelled: What becomes of rows without an answer; `no_labels`: an empty cell in `label` is one.
        writing: How numbers are written.
    """

    label: str = ""
    target: str = ""
    label_columns: Sequence[str] = ()
    unlabelled: UnlabelledRows = "fail"
    writing: NumberWriting = PLAIN

    @property
    def names(self) -> list[str]:
        """Return the columns, each once."""
        return list(dict.fromkeys([*filter(None, (self.label, self.target)), *self.label_columns]))

    def lacking(self, value_of: Callable[[str], object]) -> bool:
        """Tell whether a row has no answer, and may have none.

        Args:
            value_of: The cell of a column, as the format gives it.
        """
        if self.unlabelled in ("fail", "no_labels"):
            return False
        if self.target and self._is_no_number(value_of(self.target)):
            return True
        return any(is_blank(value_of(column)) for column in self.names)

    def of(self, cell_of: Callable[[str], Cell], problems: Problems) -> Answer:
        """Return what a row says, `NO_ANSWER` where it may say nothing.

        Args:
            cell_of: The cell of a column; blanks around it do not matter where it is a number or 0 and 1.
            problems: Takes empty cells, and those that are no name, number or truth.
        """
        if self.lacking(lambda column: cell_of(column).value):
            return NO_ANSWER
        if self.unlabelled == "no_labels" and self.label and is_blank(cell_of(self.label).value):
            return NO_LABELS
        return Answer(
            (as_label(cell_of(self.label), problems, LABEL_FIX) or "") if self.label else "",
            label_set({column: cell_of(column) for column in self.label_columns}, problems),
            as_target(cell_of(self.target), problems, self.writing, UNLABELLED_FIX) if self.target else None,
        )

    def _is_no_number(self, value: object) -> bool:
        """Tell whether a cell says that there is no number; one that says anything else is another problem."""
        quiet = Problems(limit=None)
        return as_number(Cell("", value), quiet, self.writing) is None and not quiet.count


def label_set(cells: Mapping[str, Cell], problems: Problems) -> tuple[str, ...] | None:
    """Return the labels of a row that has a column for each, sorted; None where there are no such columns.

    Args:
        cells: Label to its cell, 0 or 1.
        problems: Gets cells that say neither.
    """
    return tuple(sorted(name for name, cell in cells.items() if as_truth(cell, problems))) if cells else None


def answer_problems(options: TextTableOptions, label: str, others: Sequence[str] = ()) -> list[str]:
    """Return why options cannot say together where the answers are; none if they can.

    Args:
        options: Of the source.
        label: Column of the class, "" for none.
        others: Columns that are something else.
    """
    problems = []
    if label and options.label_columns:
        problems.append(
            "label and label_columns are both named. Expected one of them: a column of labels, or one for each label"
        )
    twice = sorted(
        {name for name in options.label_columns if name in others or options.label_columns.count(name) > 1}
    )
    if twice:
        problems.append(
            f"label_columns names {', '.join(twice)}, named elsewhere too. Expected one purpose each"
        )
    return problems


# --- What a row says it is for, where the source gives the split.


def as_split(cell: Cell, problems: Problems, splits: Mapping[str, GivenSplit] = SPLITS) -> GivenSplit | None:
    """Return what a cell says a sample is for; None and a problem for what is none of the three.

    Args:
        cell: Of the column that gives the split.
        problems: Where one is kept.
        splits: Word to split.
    """
    split = splits.get(cell.value.strip().casefold()) if isinstance(cell.value, str) else None
    if split is None:
        fix = "Correct these cells, or leave the split to params.yaml: without --set split=."
        problems.add(cell.place, "train, val or test", shown(cell.value), fix)
    return split
