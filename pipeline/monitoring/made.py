"""The reference that `evaluate` writes: what train rows are like, and what was answered for the test rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pipeline.data.label_sets import as_cell
from pipeline.data.samples import mapped, read_groups, read_sample_rows, read_split, series_at, text_at
from pipeline.evaluation.measures import Yardstick
from pipeline.evaluation.results import Bootstrap, Evaluation
from pipeline.inputs.record_columns import columns_beside
from pipeline.inputs.train_data import windowed_inputs
from pipeline.metrics.intervals import num_units
from pipeline.monitoring.measured import statistics_of
from pipeline.monitoring.reference import FORMAT, Block
from pipeline.preprocessing.side import category_of, numbers_of
from pipeline.runtime import paths
from pipeline.runtime.files import read_json

MOST_ROWS = 20_000
"""Train rows that are measured; of more, so many at equal distances."""
Numbers = dict[str, np.ndarray]
Names = dict[str, list[str | None]]


def reference_of(evaluation: Evaluation, yardstick: Yardstick, bootstrap: Bootstrap) -> dict[str, Any]:
    """Return the content of reference.json.

    Args:
        evaluation: Of the model that was chosen.
        yardstick: How answers are measured.
        bootstrap: How intervals are made.

    Raises:
        InputMissing: A file of an earlier stage is not there.
    """
    state = read_json(paths.FEATURES_STATE, "features")
    return {
        "format": FORMAT,
        "train": train_block(state).as_json(),
        "test": answers_block(evaluation).as_json(),
        "judged": {
            "confidence": bootstrap.confidence,
            "num_bins": yardstick.num_bins,
            "positive_class": yardstick.positive_class,
            "resamples": bootstrap.resamples,
            "seed": bootstrap.seed,
        },
    }


# --- What train rows are like.


def train_block(state: Mapping[str, Any]) -> Block:
    """Return what can be measured of the rows that a model learned from, as of records that are served."""
    if state.get("windows"):
        samples, sample_rows, draws = _windows(state)
    else:
        samples, sample_rows, draws = _whole(state)
    numbers: Numbers = {f"stat.{name}": values for name, values in statistics_of(samples, state).items()}
    sizes = {"height_original", "width_original"} <= set(pq.read_schema(paths.SAMPLES_PARQUET).names)
    if state.get("payload", "image") == "image" and sizes:
        table = pq.read_table(paths.SAMPLES_PARQUET, columns=["row", "height_original", "width_original"])
        table = table.sort_by("row")
        for name in ("height", "width"):
            numbers[f"stat.{name}"] = table[f"{name}_original"].to_numpy()[sample_rows].astype(float)
    side, names = read_sample_rows().side, {}
    for name, kind in columns_beside(state)["side"].items():
        values = [side[name][row] for row in sample_rows]
        if kind == "number":
            numbers[f"side.{name}"] = numbers_of(name, values)
        else:
            names[f"side.{name}"] = [category_of(value) or None for value in values]
    return Block.of(numbers, names, len(sample_rows), draws)


def _whole(state: Mapping[str, Any]) -> tuple[list[Any], np.ndarray, int]:
    """Return samples of train, their rows, and how many of them say something of their own."""
    rows = np.unique(read_split(("train",)).rows)
    draws = len(np.unique(read_groups()[rows]))
    kept = _thinned(rows)
    draws = max(1, round(draws * len(kept) / len(rows)))
    payload, samples = mapped(paths.PAYLOAD_NPY, "ingest"), read_sample_rows()
    kind = state.get("payload", "image")
    if kind == "image":
        return [np.asarray(payload[row]) for row in kept], kept, draws
    ranges = zip(samples.starts[kept].tolist(), samples.lengths[kept].tolist(), strict=True)
    if kind == "text":
        return [text_at(payload, start, length) for start, length in ranges], kept, draws
    channels = len(state["series"]["channels"])
    return (
        [np.asarray(series_at(payload, start, length)[:, :channels]) for start, length in ranges],
        kept,
        draws,
    )


def _windows(state: Mapping[str, Any]) -> tuple[list[Any], np.ndarray, int]:
    windows = state["windows"]
    made = windowed_inputs(state, read_split(("train",)), ("train",))
    numbers = made.numbers("train")
    kept = _thinned(numbers)
    positions = made.index.locate(kept)
    payload, length = mapped(paths.PAYLOAD_NPY, "ingest"), windows["length"]
    steps = np.arange(-length, 0) if windows["horizon"] else np.arange(length)
    channels = len(state["series"]["channels"])
    samples = [np.asarray(payload[position + steps, :channels]) if length else None for position in positions]
    of = np.searchsorted(made.samples.starts, positions, side="right") - 1
    draws = max(1, round(len(kept) / overlap_of(windows["length"], windows["stride"])))
    return samples, of, draws


def overlap_of(length: int, stride: int) -> int:
    """Return how many windows in a row share a step."""
    return max(1, -(-length // stride))


def _thinned(rows: np.ndarray) -> np.ndarray:
    return rows if len(rows) <= MOST_ROWS else rows[np.linspace(0, len(rows) - 1, MOST_ROWS).astype(np.int64)]


# --- What was answered for the test rows.


def answers_block(evaluation: Evaluation) -> Block:
    """Return how the answers of the chosen model for the test rows are distributed."""
    numbers, names = answers_as_columns(evaluation)
    rows = len(evaluation.rows)
    return Block.of(numbers, names, rows, max(1, int(num_units(rows, evaluation.measures.blocks))))


def answers_as_columns(evaluation: Evaluation) -> tuple[Numbers, Names]:
    """Return the answers for the test rows under the names of the log: numbers, and names."""
    answers, spec = evaluation.answers, evaluation.spec
    if spec.task == "classification":
        said = evaluation.said()
        confidence = answers[np.arange(len(answers)), said].astype(float)
        return {"confidence": confidence}, {"answer": [spec.classes[index] for index in said]}
    if spec.task == "multilabel":
        classes = np.array(spec.classes, dtype=object)
        return {}, {"answer": [as_cell(classes[row].tolist()) for row in evaluation.labels_said()]}
    if spec.task == "anomaly":
        scores = evaluation.scored(evaluation.choice.chosen)
        alarms: list[str | None] = ["true" if score > 1 else "false" for score in scores]
        return {"error": answers.astype(float)}, {"alarm": alarms}
    values = answers.astype(float).reshape(len(answers), -1, spec.num_targets).mean(axis=1)
    return {f"value.{name}": values[:, place] for place, name in enumerate(spec.targets)}, {}
