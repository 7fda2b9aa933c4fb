"""Tables of a regression or a forecast: target by target, step by step, and the predictions themselves."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.evaluation.judgement import Judgement
from pipeline.metrics.intervals import DIGITS
from pipeline.metrics.values import (
    by_target,
    errors_by_step,
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)
from pipeline.runtime.files import write_csv

MOST_PREDICTIONS = 20_000
"""Rows of predictions.csv; of more examples the first are written."""


def write_value_tables(folder: Path, judgement: Judgement) -> None:
    """Write per_target.csv and predictions.csv of the chosen candidate, and errors_by_step.csv of all.

    Errors by step are in units of each target's deviation on train, so that targets of different size count
    alike; everything else is in the units of the data.
    """
    metrics = {
        "root_mean_squared_error": root_mean_squared_error,
        "mean_absolute_error": mean_absolute_error,
        "r2": r2_score,
    }
    truth, predicted = by_target(judgement.y_true), by_target(judgement.answers.astype(float))
    rows = []
    for index, target in enumerate(judgement.spec.targets):
        pair = truth[..., index : index + 1], predicted[..., index : index + 1]
        values = [float(metric(*pair, None)) for metric in metrics.values()]
        rows.append([target, *("" if np.isnan(value) else round(value, DIGITS) for value in values)])
    write_csv(folder / "per_target.csv", ["target", *metrics], rows)
    columns = ["sample_id", "step", "target", "actual", "predicted"]
    write_csv(folder / "predictions.csv", columns, _predictions(judgement, truth, predicted))
    if judgement.spec.horizon > 1:
        write_csv(folder / "errors_by_step.csv", ["candidate", "step", "error"], _errors_by_step(judgement))


def _predictions(judgement: Judgement, truth: np.ndarray, predicted: np.ndarray) -> Iterable[list[Any]]:
    per_example = truth[0].size
    shown = max(1, MOST_PREDICTIONS // per_example)
    for row, sample_id in enumerate(judgement.rows.sample_ids[:shown]):
        for (step, target), actual in np.ndenumerate(truth[row]):
            said = round(float(predicted[row, step, target]), DIGITS)
            name = judgement.spec.targets[target]
            yield [sample_id, step + 1, name, round(float(actual), DIGITS), said]


def _errors_by_step(judgement: Judgement) -> Iterable[list[Any]]:
    for name, answers in judgement.predictions.items():
        errors = errors_by_step(judgement.y_true, answers, judgement.spec.target_standard_deviation)
        yield from ([name, step + 1, round(float(error), DIGITS)] for step, error in enumerate(errors))
