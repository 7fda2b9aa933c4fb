"""Labels that come after the answers: joined by id, and what became of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.data.label_sets import as_cell, labels_in
from pipeline.formats.cells import Cell, as_name, as_truth, plain_number
from pipeline.formats.problems import Problems
from pipeline.formats.tables import TableOptions, Writing, table_with
from pipeline.inputs.specs import OutputSpec
from pipeline.runtime.errors import DataRefused, InputMissing, WronglyCalled

MOST_JUDGED = 50_000
"""Labelled answers that are judged; of more the newest."""
FIX = "Name the columns by --id and --label."
Truth = str | tuple[float, ...]


@dataclass
class Labels:
    """Labels of a file, and the answers that were found for them.

    Attributes:
        spec: What the model answers.
        truth: Id to its label: a class, a cell of labels, "true" or "false", or numbers.
        rows: Of the file.
        repeated: Rows that say once more what an earlier one said.
        contradicted: Ids that were given two labels; they do not count.
        unlabelled: Rows without id or label.
        unknown: Labels that the model does not know, which do not count either.
        answered_again: Answers to an id that was answered before, which do not count.
        joined: Truth and answer of each id that has both, in the order of the log.
    """

    spec: OutputSpec
    truth: dict[str, Truth] = field(default_factory=dict)
    rows: int = 0
    repeated: int = 0
    contradicted: set[str] = field(default_factory=set)
    unlabelled: int = 0
    unknown: int = 0
    answered_again: int = 0
    joined: dict[str, tuple[Truth, Any]] = field(default_factory=dict)

    @property
    def column(self) -> str:
        """Return which part of a row of the log labels are held against."""
        shares = dict.fromkeys(("classification", "multilabel"), "probabilities")
        return {"anomaly": "alarm", **shares}.get(self.spec.task, "values")

    def join(self, batch: Mapping[str, pa.Array], answered: np.ndarray) -> None:
        """Look for labels of some answers."""
        ids = batch["id"].to_pylist()
        places = [place for place in np.flatnonzero(answered).tolist() if ids[place] in self.truth]
        if not places:
            return
        answers = batch[self.column].take(pa.array(places)).to_pylist()
        for place, answer in zip(places, answers, strict=True):
            self.note(ids[place], answer)

    def note(self, name: str, answer: Any) -> None:
        """Take in what was answered to an id: probabilities, an alarm, or numbers step by step; None for nothing."""
        if answer is None or name not in self.truth:
            return
        if name in self.joined:
            self.answered_again += 1
        else:
            self.joined[name] = self.truth[name], answer

    @property
    def unanswered(self) -> int:
        """Return how many labels have no answer in the log."""
        return len(self.truth) - len(self.joined)

    def counts(self) -> dict[str, int]:
        """Return what became of the labels, as JSON content."""
        return {
            "rows": self.rows,
            "joined": len(self.joined),
            "without_an_answer": self.unanswered,
            "repeated": self.repeated,
            "contradicted": len(self.contradicted),
            "unlabelled": self.unlabelled,
            "unknown_labels": self.unknown,
            "answered_again": self.answered_again,
            "judged": min(len(self.joined), MOST_JUDGED),
        }


def read_labels(path: Path, id_column: str, label_columns: Sequence[str], spec: OutputSpec) -> Labels:
    """Return the labels of a table: CSV, TSV, JSON lines, JSON or Parquet.

    Args:
        path: The file.
        id_column: Holds ids as the log has them.
        label_columns: One; of forecasts or several targets one for each number, see `label_names`.
        spec: What the model answers.

    Raises:
        InputMissing: There is no such file.
        DataRefused: It has no such columns, or cells that are no labels.
        WronglyCalled: Fewer or more columns are needed.
    """
    if not path.is_file():
        raise InputMissing(f"There is no {path}. Expected a table of labels. Check --labels.")
    wanted = label_names(spec)
    columns = list(label_columns) if len(label_columns) == len(wanted) else wanted
    if label_columns and len(label_columns) != len(wanted):
        raise WronglyCalled(
            f"The model answers {len(wanted)} numbers. Expected so many columns in --label, or none for those called "
            f"{', '.join(wanted[:5])}. Received: {len(label_columns)}. Correct --label."
        )
    found, problems = Labels(spec), Problems()
    known = set(spec.classes)
    with path.open("rb") as file:
        writing = Writing.of(TableOptions())
        table = table_with(file, path.name, [id_column, *columns], writing, problems, fix=FIX)
        for batch in table.batches([id_column, *columns]):
            for row, (name, *cells) in enumerate(batch.rows([id_column, *columns])):
                found.rows += 1
                if _is_nothing(name) or any(map(_is_nothing, cells)):
                    found.unlabelled += 1
                    continue
                place = batch.place(row)
                told = as_name(Cell(f"{place}, column {id_column!r}", name), problems)
                truth = _truth(
                    spec,
                    [Cell(f"{place}, column {c!r}", v) for c, v in zip(columns, cells, strict=True)],
                    problems,
                )
                if told is None or truth is None:
                    continue
                if isinstance(truth, str) and known and not _is_known(truth, known, spec):
                    found.unknown += 1
                elif found.truth.get(told, truth) != truth:
                    found.contradicted.add(told)
                elif told in found.truth:
                    found.repeated += 1
                else:
                    found.truth[told] = truth
    problems.check()
    for name in found.contradicted:
        del found.truth[name]
    return found


def label_names(spec: OutputSpec) -> list[str]:
    """Return how the columns of labels are called where nobody says so: as in a table of answers without `values.`."""
    if not spec.targets:
        return ["label"]
    if spec.horizon == 1:
        return list(spec.targets)
    return [f"{name}.{step}" for step in range(1, spec.horizon + 1) for name in spec.targets]


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip()) or value != value  # noqa: PLR0124  # NaN


def _is_known(truth: str, known: set[str], spec: OutputSpec) -> bool:
    return set(labels_in(truth)) <= known if spec.task == "multilabel" else truth in known


def _truth(spec: OutputSpec, cells: Sequence[Cell], problems: Problems) -> Truth | None:
    if spec.task == "anomaly":
        return "true" if as_truth(cells[0], problems) else "false"
    if spec.targets:
        numbers = [plain_number(cell.value) for cell in cells]
        for cell, number in zip(cells, numbers, strict=True):
            if number is None:
                problems.add(cell.place, "a number", repr(cell.value)[:60], "Correct these cells.")
        return None if None in numbers else tuple(float(number or 0.0) for number in numbers)
    told = as_name(cells[0], problems)
    if spec.task == "multilabel" and told is not None:
        try:
            return as_cell(labels_in(told))
        except ValueError:
            problems.add(
                cells[0].place, 'a list of labels, ["a", "b"]', repr(told)[:60], "Correct these cells."
            )
            return None
    return told


def require_joined(labels: Labels) -> None:
    """Refuse labels of which none belongs to an answer: ids of another kind, most of the time.

    Raises:
        DataRefused: None does.
    """
    if labels.truth and not labels.joined:
        shown = ", ".join(list(labels.truth)[:3])
        raise DataRefused(
            f"No label belongs to an answer of this model in this time. Expected ids as in the column id of the log: "
            f"the record's own id, else x-request-id, with /index where a request held several. Received: {shown}. "
            "Check --id, --since and --until."
        )
