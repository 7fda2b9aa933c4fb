"""What the evaluation writes down for people, DVC and the register stage: JSON and CSV, equal bytes for equal content.

Numbers are rounded to six digits: a test set tells no more, and the last bits of a sum may differ by machine.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.artifacts import write_json, write_text
from pipeline.intervals import Interval
from pipeline.judgement import Candidate, Judgement

if TYPE_CHECKING:  # it imports Keras, which nothing here needs
    from pipeline.codes_comparison import CodesComparison

DIGITS = 6
CURVE_COLUMNS = ("loss", "accuracy", "val_loss", "val_accuracy")


def write_tables(folder: Path, judgement: Judgement, codes: "CodesComparison | None") -> None:
    """Write candidates.json, per_class.csv, confusion.csv, learning_curves.csv, mistakes.csv and codes.json.

    Args:
        folder: Where.
        judgement: What to write down.
        codes: The comparison with PCA; without an autoencoder there is none and no codes.json.
    """
    write_json(folder / "candidates.json", [_candidate_row(judgement, name) for name in judgement.candidates])
    _write_csv(folder / "per_class.csv", *_per_class(judgement))
    _write_csv(folder / "confusion.csv", ["actual", "predicted"], _confusion(judgement))
    _write_csv(folder / "learning_curves.csv", ["candidate", "epoch", *CURVE_COLUMNS], _curves(judgement))
    columns = ["sample_id", "actual", "predicted", "probability_of_predicted", "probability_of_actual"]
    _write_csv(folder / "mistakes.csv", columns, _mistakes(judgement))
    if codes is not None:
        write_json(folder / "codes.json", codes.as_json())


def summary(judgement: Judgement, codes: "CodesComparison | None") -> dict[str, Any]:
    """Return the content of metrics.json: few numbers, nested, as `dvc metrics show` and MLflow show them.

    Args:
        judgement: What to sum up.
        codes: The comparison with PCA, if there is an autoencoder.
    """
    accuracy = judgement.test[judgement.choice.chosen]["accuracy"].rounded()
    content: dict[str, Any] = {
        "val": _rounded(judgement.chosen.val),
        "test": _values(judgement.test[judgement.choice.chosen])
        | {"accuracy_low": accuracy["low"], "accuracy_high": accuracy["high"]},
        "baselines": {
            name: {"test_accuracy": round(judgement.test[name]["accuracy"].value, DIGITS)}
            for name in judgement.baselines
        },
    }
    if codes is not None:
        content["codes"] = {
            "autoencoder_error": round(codes.errors["autoencoder"], DIGITS),
            "autoencoder_probe_accuracy": round(codes.probes["autoencoder"].value, DIGITS),
            "pca_error": round(codes.errors["pca"], DIGITS),
            "pca_probe_accuracy": round(codes.probes["pca"].value, DIGITS),
        }
    return content


def card(judgement: Judgement, confidence: float) -> dict[str, Any]:
    """Return what travels with the model: what it is, how it was chosen, how it was judged.

    Args:
        judgement: Of the evaluation that chose it.
        confidence: Of its intervals.
    """
    return {
        "baselines": {name: _intervals(judgement.test[name]) for name in judgement.baselines},
        "candidate": judgement.chosen.name,
        "classes": list(judgement.classes),
        "confidence": confidence,
        "family": judgement.chosen.family,
        "parameters": judgement.chosen.parameters,
        "reason": judgement.choice.reason,
        "select_by": judgement.choice.select_by,
        "test": _intervals(judgement.test[judgement.chosen.name]),
        "test_rows": len(judgement.y_true),
        "val": _rounded(judgement.chosen.val),
    }


def _candidate_row(judgement: Judgement, name: str) -> dict[str, Any]:
    candidate = judgement.candidates[name]
    return {
        "baseline": name in judgement.baselines,
        "baseline_val": _baseline_val(candidate),
        "candidate": name,
        "chosen": name == judgement.choice.chosen,
        "family": candidate.family,
        "parameters": candidate.parameters,
        "test": _intervals(judgement.test[name]),
        "trials": len(candidate.trials) - 1,
        "val": _rounded(candidate.val),
    }


def _baseline_val(candidate: Candidate) -> dict[str, float]:
    """Return the validation metrics before tuning: trial 0."""
    return {
        name.removeprefix("val_"): round(float(value), DIGITS)
        for name, value in candidate.trials[0]["metrics"].items()
        if name in ("val_accuracy", "val_loss")
    }


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


def _curves(judgement: Judgement) -> Iterable[list[Any]]:
    for name, candidate in judgement.candidates.items():
        for epoch in candidate.history["epochs"]:
            yield [name, epoch["epoch"], *(round(epoch[column], DIGITS) for column in CURVE_COLUMNS)]


def _mistakes(judgement: Judgement) -> Iterable[list[Any]]:
    for row in judgement.mistakes():
        answers, actual = judgement.answers[row], judgement.y_true[row]
        predicted = answers.argmax()
        yield [
            judgement.sample_ids[row],
            judgement.classes[actual],
            judgement.classes[predicted],
            round(float(answers[predicted]), DIGITS),
            round(float(answers[actual]), DIGITS),
        ]


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _intervals(metrics: dict[str, Interval]) -> dict[str, dict[str, float]]:
    return {name: interval.rounded(DIGITS) for name, interval in metrics.items()}


def _values(metrics: dict[str, Interval]) -> dict[str, float]:
    return {name: round(interval.value, DIGITS) for name, interval in metrics.items()}


def _rounded(metrics: dict[str, float]) -> dict[str, float]:
    return {name: round(value, DIGITS) for name, value in metrics.items()}
