"""Tables of a classification: class by class, confusions, mistakes."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.evaluation.judgement import Judgement
from pipeline.metrics.intervals import DIGITS
from pipeline.runtime.files import write_csv


def write_class_tables(folder: Path, judgement: Judgement) -> None:
    """Write per_class.csv, confusion.csv and mistakes.csv of the chosen candidate."""
    write_csv(folder / "per_class.csv", *_per_class(judgement))
    write_csv(folder / "confusion.csv", ["actual", "predicted"], _confusion(judgement))
    columns = ["sample_id", "actual", "predicted", "probability_of_predicted", "probability_of_actual"]
    write_csv(folder / "mistakes.csv", columns, _mistakes(judgement))


def _per_class(judgement: Judgement) -> tuple[list[str], list[list[Any]]]:
    """Return columns and rows; a cell without a value (no such example) stays empty."""
    parts = ("value", "low", "high")
    columns = ["class", "test_examples"]
    for name in judgement.per_class:
        columns += [name, f"{name}_low", f"{name}_high"]
    rows: list[list[Any]] = []
    for index, label in enumerate(judgement.classes):
        row: list[Any] = [label, int(np.sum(judgement.y_true == index))]
        for intervals in judgement.per_class.values():
            interval = intervals[index]
            row += ["", "", ""] if interval is None else [interval.rounded()[part] for part in parts]
        rows.append(row)
    return columns, rows


def _confusion(judgement: Judgement) -> Iterable[list[str]]:
    for actual, predicted in zip(judgement.y_true, judgement.answers.argmax(axis=1), strict=True):
        yield [judgement.classes[actual], judgement.classes[predicted]]


def _mistakes(judgement: Judgement) -> Iterable[list[Any]]:
    for row in judgement.mistakes():
        answers, actual = judgement.answers[row], judgement.y_true[row]
        predicted = answers.argmax()
        yield [
            judgement.rows.sample_ids[row],
            judgement.classes[actual],
            judgement.classes[predicted],
            round(float(answers[predicted]), DIGITS),
            round(float(answers[actual]), DIGITS),
        ]
