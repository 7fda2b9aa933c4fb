"""What the evaluation writes down for people, DVC and the register stage: JSON and CSV, equal bytes for equal content.

Numbers are rounded to six digits: a test set tells no more, and the last bits of a sum may differ by machine.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.data.label_sets import as_cell
from pipeline.evaluation.exported import write_exported
from pipeline.evaluation.golden import GOLDEN_ANSWERS, golden_answers, write_npz
from pipeline.evaluation.results import (
    Candidate,
    Evaluation,
    measures_of_anomalies,
    measures_of_labels,
    series_results,
)
from pipeline.evaluation.rows import TRAINED_ON, EvaluationRows, write_trained_on
from pipeline.evaluation.scoring import inputs_of
from pipeline.inputs.arrays import named, take
from pipeline.inputs.specs import kinds_read
from pipeline.metrics.intervals import DIGITS, Groups, Interval, rounded
from pipeline.metrics.names import argmax_name
from pipeline.metrics.values import (
    by_target,
    errors_by_step,
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)
from pipeline.runtime import paths
from pipeline.runtime.files import finite, read_json, write_bytes, write_csv, write_json

if TYPE_CHECKING:
    from pipeline.evaluation.codes import CodesComparison


# --- Tables of a search for anomalies: what every candidate found in every series, and the chosen one's events.


def write_anomaly_tables(folder: Path, evaluation: Evaluation) -> None:
    """Write per_series.csv of all candidates and events.csv of the chosen one."""
    columns = ["candidate", "series", "threshold", "anomalies", "found", "false_alarms", "event_f1"]
    write_csv(folder / "per_series.csv", columns, _per_series(evaluation, list(evaluation.candidates)))
    write_csv(folder / "events.csv", ["series", "first_step", "last_step", "outcome"], _events(evaluation))


def _per_series(evaluation: Evaluation, names: Sequence[str]) -> Iterable[list[Any]]:
    for name in names:
        for result in series_results(evaluation, name):
            f1 = result.event_f1
            counts = [result.anomalies, result.found, result.false_alarms]
            threshold = float(f"{result.threshold:.{DIGITS}g}")
            yield [name, result.series, threshold, *counts, "" if f1 is None else round(f1, DIGITS)]


def _events(evaluation: Evaluation) -> Iterable[list[Any]]:
    measures = measures_of_anomalies(evaluation)
    timeline, events = measures.timeline, measures.events(evaluation.scored(evaluation.choice.chosen))
    found = []
    for (first, last), false in zip(events.raised, events.false, strict=True):
        end = int(timeline.starts[last]) + timeline.length - 1
        outcome = "false alarm" if false else "found an anomaly"
        found.append([timeline.names[timeline.series[first]], int(timeline.starts[first]), end, outcome])
    for ((series, first, end), _), seen in zip(timeline.touched(), events.found, strict=True):
        if not seen:
            found.append([timeline.names[series], first, end - 1, "missed anomaly"])
    return sorted(found)


# --- The folder `models/best`: the chosen model with all that is needed to use, check and compare it elsewhere.

NUM_GOLDEN = 16
"""Inputs whose predictions travel with the model, to prove elsewhere that it still gives them."""


def write_best(folder: Path, evaluation: Evaluation, test: EvaluationRows, card: Mapping[str, Any]) -> None:
    """Write the chosen model and its papers; card.json comes last and makes the folder complete.

    Args:
        folder: Gets model.keras, settings.json, state.json, trained_on.parquet, golden.npz (arrays by the
            names of the model's inputs, and `predictions`), model.onnx, test_predictions.npy,
            baseline_<name>_predictions.npy and card.json.
        evaluation: Of the evaluation that chose it.
        test: The test rows.
        card: Content of card.json.

    Raises:
        ValueError: A number in it is not finite.
        NotPermitted: The model cannot be exported.
        AnswersDiffer: The exported model answers otherwise.
    """
    finite(dict(card), "card.json")
    chosen = evaluation.chosen
    for name in ("model.keras", "settings.json"):
        write_bytes(folder / name, (chosen.folder / name).read_bytes())
    state = read_json(paths.FEATURES_STATE, "features")
    write_json(folder / "state.json", state)
    write_trained_on(folder / TRAINED_ON, windowed=bool(state.get("windows")))
    _write_golden(folder, test)
    _write_array(folder / "test_predictions.npy", evaluation.answers)
    for name in evaluation.baselines:
        _write_array(folder / f"baseline_{name}_predictions.npy", evaluation.predictions[name])
    write_exported(folder)
    write_json(folder / "card.json", card)


def _write_golden(folder: Path, test: EvaluationRows) -> None:
    """Write a few test inputs and what the model in `folder` answers.

    Predicted as the check will do it, these inputs alone in one batch: the last bits depend on the batch.
    """
    few = np.unique(np.linspace(0, len(test.rows) - 1, NUM_GOLDEN).astype(np.int64))
    state, settings = (read_json(folder / f"{name}.json") for name in ("state", "settings"))
    inputs = named(take(inputs_of("test", kinds_read(state, settings)), test.rows[few]))
    answers = golden_answers(folder / "model.keras", folder, inputs)
    write_npz(folder / "golden.npz", {**inputs, GOLDEN_ANSWERS: answers})


def _write_array(path: Path, array: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_bytes(path, buffer.getvalue())


# --- Tables of a classification: class by class, confusions, mistakes.


def write_class_tables(folder: Path, evaluation: Evaluation) -> None:
    """Write per_class.csv, confusion.csv and mistakes.csv of the chosen candidate."""
    write_csv(folder / "per_class.csv", *_per_class(evaluation))
    write_csv(folder / "confusion.csv", ["actual", "predicted"], _confusion(evaluation))
    columns = ["sample_id", "actual", "predicted", "probability_of_predicted", "probability_of_actual"]
    write_csv(folder / "mistakes.csv", columns, _mistakes(evaluation))


def _per_class(evaluation: Evaluation) -> tuple[list[str], list[list[Any]]]:
    """Return columns and rows; a cell without a value (no such example) stays empty."""
    parts = ("value", "low", "high")
    columns = ["class", "test_examples"]
    for name in evaluation.per_class:
        columns += [name, f"{name}_low", f"{name}_high"]
    rows: list[list[Any]] = []
    for index, label in enumerate(evaluation.classes):
        row: list[Any] = [label, int(np.sum(evaluation.y_true == index))]
        for intervals in evaluation.per_class.values():
            interval = intervals[index]
            row += ["", "", ""] if interval is None else [interval.rounded()[part] for part in parts]
        rows.append(row)
    return columns, rows


def _confusion(evaluation: Evaluation) -> Iterable[list[str]]:
    for actual, predicted in zip(evaluation.y_true, evaluation.said(), strict=True):
        yield [evaluation.classes[actual], evaluation.classes[predicted]]


def _mistakes(evaluation: Evaluation) -> Iterable[list[Any]]:
    said = evaluation.said()
    for row in evaluation.mistakes():
        answers, actual, predicted = evaluation.answers[row], evaluation.y_true[row], said[row]
        yield [
            evaluation.rows.sample_ids[row],
            evaluation.classes[actual],
            evaluation.classes[predicted],
            round(float(answers[predicted]), DIGITS),
            round(float(answers[actual]), DIGITS),
        ]


# --- Tables of several labels: label by label, and what was missed or said wrongly.


def write_label_tables(folder: Path, evaluation: Evaluation) -> None:
    """Write per_label.csv and mistakes.csv of the chosen candidate."""
    columns, rows = _per_class(evaluation)
    columns = ["label", "train_samples", *columns[1:2], "threshold", *columns[2:]]
    thresholds = measures_of_labels(evaluation).thresholds(evaluation.chosen.point)
    trained = evaluation.spec.class_counts
    supports = evaluation.y_true.sum(axis=0, dtype=np.int64).tolist()
    whole = [
        [row[0], trained[index], supports[index], rounded(thresholds[index]), *row[2:]]
        for index, row in enumerate(rows)
    ]
    write_csv(folder / "per_label.csv", columns, whole)
    columns = ["sample_id", "actual", "predicted", "missed", "wrongly_said"]
    write_csv(folder / "mistakes.csv", columns, _label_mistakes(evaluation))


def _label_mistakes(evaluation: Evaluation) -> Iterable[list[str]]:
    truth, said = evaluation.y_true.astype(bool), evaluation.labels_said()
    names = np.array(evaluation.classes, dtype=object)
    for row in np.flatnonzero((truth != said).any(axis=1)):
        sets = (truth[row], said[row], truth[row] & ~said[row], said[row] & ~truth[row])
        yield [evaluation.rows.sample_ids[row], *(as_cell(names[inside]) for inside in sets)]


# --- Tables of a regression or a forecast: target by target, step by step, and the predictions themselves.

MOST_PREDICTIONS = 20_000
"""Rows of predictions.csv; of more examples the first are written."""


def write_value_tables(folder: Path, evaluation: Evaluation) -> None:
    """Write per_target.csv and predictions.csv of the chosen candidate, and errors_by_step.csv of all.

    Errors by step are in units of each target's deviation on train, so that targets of different size count
    alike; everything else is in the units of the data.
    """
    metrics = {
        "root_mean_squared_error": root_mean_squared_error,
        "mean_absolute_error": mean_absolute_error,
        "r2": r2_score,
    }
    truth, predicted = by_target(evaluation.y_true), by_target(evaluation.answers.astype(float))
    rows = []
    for index, target in enumerate(evaluation.spec.targets):
        pair = truth[..., index : index + 1], predicted[..., index : index + 1]
        values = [float(metric(*pair, None)) for metric in metrics.values()]
        rows.append([target, *("" if np.isnan(value) else round(value, DIGITS) for value in values)])
    write_csv(folder / "per_target.csv", ["target", *metrics], rows)
    columns = ["sample_id", "step", "target", "actual", "predicted"]
    write_csv(folder / "predictions.csv", columns, _predictions(evaluation, truth, predicted))
    if evaluation.spec.horizon > 1:
        write_csv(folder / "errors_by_step.csv", ["candidate", "step", "error"], _errors_by_step(evaluation))


def _predictions(evaluation: Evaluation, truth: np.ndarray, predicted: np.ndarray) -> Iterable[list[Any]]:
    per_example = truth[0].size
    shown = max(1, MOST_PREDICTIONS // per_example)
    for row, sample_id in enumerate(evaluation.rows.sample_ids[:shown]):
        for (step, target), actual in np.ndenumerate(truth[row]):
            said = round(float(predicted[row, step, target]), DIGITS)
            name = evaluation.spec.targets[target]
            yield [sample_id, step + 1, name, round(float(actual), DIGITS), said]


def _errors_by_step(evaluation: Evaluation) -> Iterable[list[Any]]:
    for name, answers in evaluation.predictions.items():
        errors = errors_by_step(evaluation.y_true, answers, evaluation.spec.target_standard_deviation)
        yield from ([name, step + 1, round(float(error), DIGITS)] for step, error in enumerate(errors))


# --- What the evaluation writes down for people, DVC and the register stage.

CURVE_COLUMNS = ("loss", "accuracy", "val_loss", "val_accuracy")
"""Of these a curve has what the task has."""
TASK_TABLES = {
    "classification": write_class_tables,
    "multilabel": write_label_tables,
    "regression": write_value_tables,
    "forecasting": write_value_tables,
    "anomaly": write_anomaly_tables,
}


def write_tables(folder: Path, evaluation: Evaluation, codes: "CodesComparison | None") -> None:
    """Write candidates.json, learning_curves.csv, codes.json, and the tables of the task.

    Args:
        folder: Where.
        evaluation: What to write down.
        codes: The comparison with PCA; without an autoencoder there is none and no codes.json.
    """
    write_json(
        folder / "candidates.json", [_candidate_row(evaluation, name) for name in evaluation.candidates]
    )
    histories = [epoch for item in evaluation.candidates.values() for epoch in item.history["epochs"]]
    columns = [column for column in CURVE_COLUMNS if any(column in epoch for epoch in histories)]
    write_csv(folder / "learning_curves.csv", ["candidate", "epoch", *columns], _curves(evaluation, columns))
    TASK_TABLES[evaluation.spec.task](folder, evaluation)
    if evaluation.reach is not None:
        write_json(folder / "prediction_intervals.json", evaluation.reach.as_json())
    if codes is not None:
        write_json(folder / "codes.json", codes.as_json())


def summary(evaluation: Evaluation, codes: "CodesComparison | None") -> dict[str, Any]:
    """Return the content of metrics.json: few numbers, nested, as `dvc metrics show` and MLflow show them.

    Args:
        evaluation: What to sum up.
        codes: The comparison with PCA, if there is an autoencoder.
    """
    primary = evaluation.primary.name
    score = evaluation.test[evaluation.choice.chosen][primary].rounded()
    thresholds = {
        name: {"threshold": rounded(at.value)} if (at := evaluation.threshold(name)) else {}
        for name in evaluation.candidates
    }
    content: dict[str, Any] = {
        **thresholds[evaluation.choice.chosen],
        "val": _rounded(evaluation.chosen.val),
        "test": _values(evaluation.test[evaluation.choice.chosen])
        | {f"{primary}_low": score["low"], f"{primary}_high": score["high"]},
        "baselines": {
            name: {f"test_{primary}": rounded(evaluation.test[name][primary].value), **thresholds[name]}
            for name in evaluation.baselines
        },
    }
    if evaluation.reach is not None:
        content["coverage"] = {
            "confidence": evaluation.reach.confidence
        } | evaluation.reach.coverage.rounded()
    if codes is not None:
        content["codes"] = {
            "autoencoder_error": round(codes.errors["autoencoder"], DIGITS),
            "autoencoder_probe_accuracy": round(codes.probes["autoencoder"].value, DIGITS),
            "pca_error": round(codes.errors["pca"], DIGITS),
            "pca_probe_accuracy": round(codes.probes["pca"].value, DIGITS),
        }
    return content


def card(evaluation: Evaluation, confidence: float) -> dict[str, Any]:
    """Return what travels with the model: what it is, how it was chosen, how it was judged.

    Args:
        evaluation: Of the evaluation that chose it.
        confidence: Of its intervals.
    """
    blocks = evaluation.measures.blocks
    told: dict[str, Any] = {"test_groups": len(blocks)} if isinstance(blocks, Groups) else {}
    if evaluation.chosen.members:
        told["members"] = list(evaluation.chosen.members)
    return told | {
        "baseline_operating_points": {
            name: dict(evaluation.candidates[name].point) for name in evaluation.baselines
        },
        "baselines": {name: _intervals(evaluation.test[name]) for name in evaluation.baselines},
        "candidate": evaluation.chosen.name,
        "classes": list(evaluation.classes),
        "confidence": confidence,
        "family": evaluation.chosen.family,
        "operating_point": dict(evaluation.chosen.point),
        "parameters": evaluation.chosen.parameters,
        "prediction_intervals": evaluation.reach.as_json() if evaluation.reach else None,
        "primary": evaluation.primary.as_json(),
        "reason": evaluation.choice.reason,
        "refit": evaluation.chosen.refit,
        "select_by": evaluation.choice.select_by,
        "task": evaluation.spec.task,
        "temperature": evaluation.chosen.temperature,
        "test": _intervals(evaluation.test[evaluation.chosen.name]),
        "test_rows": len(evaluation.y_true),
        "val": _rounded(evaluation.chosen.val),
    }


def alarms(evaluation: Evaluation) -> dict[str, Any]:
    """Return what a card says of alarms: over how many windows errors are averaged, and how far they lie apart."""
    if evaluation.spec.task != "anomaly":
        return {}
    measures = measures_of_anomalies(evaluation)
    steps = {"merge_steps": measures.rules.merge_steps, "smoothing_steps": measures.rules.smoothing_steps}
    return {"alarms": steps | {"stride": measures.timeline.stride}}


def _candidate_row(evaluation: Evaluation, name: str) -> dict[str, Any]:
    candidate = evaluation.candidates[name]
    point = _shown_point(evaluation, candidate)
    return ({"operating_point": point} if point else {}) | {
        "baseline": name in evaluation.baselines,
        "baseline_val": _baseline_val(candidate, argmax=evaluation.threshold(name) is not None),
        "candidate": name,
        "chosen": name == evaluation.choice.chosen,
        "family": candidate.family,
        "parameters": candidate.parameters,
        "refit": candidate.refit is not None,
        "test": _intervals(evaluation.test[name]),
        "trials": len(candidate.trials) - 1,
        "val": _rounded(candidate.val),
    }


def _shown_point(evaluation: Evaluation, candidate: Candidate) -> dict[str, Any]:
    """Return the operating point of classes and labels, rounded; {} where it has no threshold, or is of series."""
    point = candidate.point
    if evaluation.spec.task == "multilabel":
        return {"thresholds": {name: rounded(value) for name, value in point["thresholds"].items()}}
    at = evaluation.threshold(candidate.name)
    return {"positive_class": point["positive_class"], "threshold": rounded(at.value)} if at else {}


def _baseline_val(candidate: Candidate, *, argmax: bool) -> dict[str, float]:
    """Return the validation metrics before tuning, those that trials have: trial 0.

    Args:
        candidate: Whose.
        argmax: Whether other scores of it are taken at a threshold: what counts answers of a trial, which is of the
            most probable class, is called by that name then.
    """
    found = {
        name.removeprefix("val_"): rounded(float(value))
        for name, value in candidate.trials[0]["metrics"].items()
        if name.startswith("val_") and name != "val_reconstruction_error"
    }
    return {argmax_name(name) if argmax else name: value for name, value in found.items()}


def _curves(evaluation: Evaluation, columns: list[str]) -> Iterable[list[Any]]:
    for name, candidate in evaluation.candidates.items():
        for epoch in candidate.history["epochs"]:
            yield [name, epoch["epoch"], *(round(epoch[column], DIGITS) for column in columns)]


def _intervals(metrics: dict[str, Interval]) -> dict[str, dict[str, float]]:
    return {name: interval.rounded(DIGITS) for name, interval in metrics.items()}


def _values(metrics: dict[str, Interval]) -> dict[str, float]:
    return {name: rounded(interval.value) for name, interval in metrics.items()}


def _rounded(metrics: dict[str, float]) -> dict[str, float]:
    return {name: rounded(value) for name, value in metrics.items()}
