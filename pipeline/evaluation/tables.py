"""What the evaluation writes down for people, DVC and the register stage: JSON and CSV, equal bytes for equal content.

Numbers are rounded to six digits: a test set tells no more, and the last bits of a sum may differ by machine.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.evaluation.anomaly_tables import write_anomaly_tables
from pipeline.evaluation.class_tables import write_class_tables
from pipeline.evaluation.judgement import Candidate, Judgement
from pipeline.evaluation.value_tables import write_value_tables
from pipeline.metrics.intervals import DIGITS, Groups, Interval, rounded
from pipeline.runtime.files import write_csv, write_json

if TYPE_CHECKING:  # it imports Keras, which nothing here needs
    from pipeline.evaluation.codes import CodesComparison

CURVE_COLUMNS = ("loss", "accuracy", "val_loss", "val_accuracy")
"""Of these a curve has what the task has."""
TASK_TABLES = {
    "classification": write_class_tables,
    "regression": write_value_tables,
    "forecasting": write_value_tables,
    "anomaly": write_anomaly_tables,
}


def write_tables(folder: Path, judgement: Judgement, codes: "CodesComparison | None") -> None:
    """Write candidates.json, learning_curves.csv, codes.json, and the tables of the task.

    Args:
        folder: Where.
        judgement: What to write down.
        codes: The comparison with PCA; without an autoencoder there is none and no codes.json.
    """
    write_json(folder / "candidates.json", [_candidate_row(judgement, name) for name in judgement.candidates])
    histories = [epoch for item in judgement.candidates.values() for epoch in item.history["epochs"]]
    columns = [column for column in CURVE_COLUMNS if any(column in epoch for epoch in histories)]
    write_csv(folder / "learning_curves.csv", ["candidate", "epoch", *columns], _curves(judgement, columns))
    TASK_TABLES[judgement.spec.task](folder, judgement)
    if codes is not None:
        write_json(folder / "codes.json", codes.as_json())


def summary(judgement: Judgement, codes: "CodesComparison | None") -> dict[str, Any]:
    """Return the content of metrics.json: few numbers, nested, as `dvc metrics show` and MLflow show them.

    Args:
        judgement: What to sum up.
        codes: The comparison with PCA, if there is an autoencoder.
    """
    primary = judgement.primary.name
    score = judgement.test[judgement.choice.chosen][primary].rounded()
    content: dict[str, Any] = {
        "val": _rounded(judgement.chosen.val),
        "test": _values(judgement.test[judgement.choice.chosen])
        | {f"{primary}_low": score["low"], f"{primary}_high": score["high"]},
        "baselines": {
            name: {f"test_{primary}": rounded(judgement.test[name][primary].value)}
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
    blocks = judgement.measures.blocks
    groups = {"test_groups": len(blocks)} if isinstance(blocks, Groups) else {}
    return groups | {
        "baseline_operating_points": {
            name: dict(judgement.candidates[name].point) for name in judgement.baselines
        },
        "baselines": {name: _intervals(judgement.test[name]) for name in judgement.baselines},
        "candidate": judgement.chosen.name,
        "classes": list(judgement.classes),
        "confidence": confidence,
        "family": judgement.chosen.family,
        "operating_point": dict(judgement.chosen.point),
        "parameters": judgement.chosen.parameters,
        "primary": judgement.primary.as_json(),
        "reason": judgement.choice.reason,
        "select_by": judgement.choice.select_by,
        "task": judgement.spec.task,
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
    """Return the validation metrics before tuning, those that trials have: trial 0."""
    return {
        name.removeprefix("val_"): rounded(float(value))
        for name, value in candidate.trials[0]["metrics"].items()
        if name.startswith("val_") and name != "val_reconstruction_error"
    }


def _curves(judgement: Judgement, columns: list[str]) -> Iterable[list[Any]]:
    for name, candidate in judgement.candidates.items():
        for epoch in candidate.history["epochs"]:
            yield [name, epoch["epoch"], *(round(epoch[column], DIGITS) for column in columns)]


def _intervals(metrics: dict[str, Interval]) -> dict[str, dict[str, float]]:
    return {name: interval.rounded(DIGITS) for name, interval in metrics.items()}


def _values(metrics: dict[str, Interval]) -> dict[str, float]:
    return {name: rounded(interval.value) for name, interval in metrics.items()}


def _rounded(metrics: dict[str, float]) -> dict[str, float]:
    return {name: rounded(value) for name, value in metrics.items()}
