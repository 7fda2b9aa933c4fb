"""Models and their answers on today's test rows, as the gate wants them.

Stored answers are never compared: the rows, the labels or the champion may have changed since.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import paths, training
from pipeline.artifacts import content_key, file_digest, read_json
from pipeline.datasets import MAIN_INPUT, Inputs, take
from pipeline.input_specs import output_spec
from pipeline.judged_rows import JudgedRows, load_rows
from pipeline.keras_files import load_model
from pipeline.measures import Predictions
from pipeline.train_data import load_split_rows

DIGEST_ROWS = 512
"""Rows that are read at once."""
SECTIONS = ("task", "payload", "text", "series", "side", "windows")
"""Parts of state.json that say what inputs other than images mean; with their statistics, which the arrays of
`data/features` hold already."""


class NotComparable(Exception):
    """A model takes other inputs than the data has now."""


@dataclass(frozen=True)
class Answers:
    """A model and what it predicts for rows.

    Attributes:
        name: How messages call it.
        model_sha256: Digest (hex) of its file.
        classes: Class names in the order of the columns of `predictions`; () for other tasks.
        sample_ids: Of the rows, in order.
        predictions: As `training.answers` gives them.
    """

    name: str
    model_sha256: str
    classes: tuple[str, ...]
    sample_ids: tuple[str, ...]
    predictions: Predictions


def load_test_rows() -> JudgedRows:
    """Return the test rows of the current split."""
    return load_rows("test")


def scored_digest(test: JudgedRows) -> str:
    """Return a sha256 (hex) over all that judges: which samples, what is true of them, and their inputs."""
    truth = [] if test.targets is None else [hashlib.sha256(test.targets.tobytes()).hexdigest()]
    labelled = [] if test.timeline is None else test.timeline.labelled
    inputs = [_rows_digest(item, test.rows) for item in _all_inputs()]
    return content_key([test.sample_ids, test.labels, truth, labelled, inputs])


def score(name: str, model_path: Path, details_dir: Path, test: JudgedRows) -> Answers:
    """Load a model and let it answer for the test rows.

    Args:
        name: How the gate's sentences call it.
        model_path: The `.keras` file.
        details_dir: Where its `settings.json` lies, and its `state.json` if it has one of its own.
        test: The rows.

    Raises:
        NotComparable: It takes inputs of another kind or shape than the data has now.
    """
    settings = read_json(details_dir / "settings.json")
    current = read_json(paths.FEATURES_STATE, "features")
    own = details_dir / "state.json"
    state = read_json(own) if own.is_file() else current
    family = settings["family"]
    different = _differences(_input_description(state, family), _input_description(current, family))
    if different:
        raise NotComparable(
            f"{name} takes inputs of another shape or meaning than the present data has: "
            f"{', '.join(different)} differ."
        )
    spec = output_spec(state)
    model, inputs = load_model(model_path), inputs_of(family, "test")
    predictions = training.answers(model, inputs, test.rows, settings["training"], spec)
    return Answers(name, file_digest(model_path, "sha256"), spec.classes, test.sample_ids, predictions)


def inputs_of(family: str, split: str) -> Inputs:
    """Return what models of a family read, for the rows of `load_rows(split)`."""
    return load_split_rows(split, family).inputs


def taken_arrays(inputs: Inputs, rows: npt.NDArray[np.int64]) -> dict[str, np.ndarray]:
    """Return some samples as arrays by the names of the model's inputs."""
    taken = take(inputs, rows)
    return taken if isinstance(taken, dict) else {MAIN_INPUT: taken}


def _all_inputs() -> Iterator[Inputs]:
    """Yield what any family reads of the test rows."""
    yield inputs_of("cnn", "test")
    payload = read_json(paths.FEATURES_STATE, "features").get("payload", "image")
    if payload == "text":
        yield inputs_of("dense", "test")  # a bag of n-grams
    elif payload == "image" and paths.FEATURES_NPY.is_file():
        yield np.load(paths.FEATURES_NPY, mmap_mode="r")


def _rows_digest(inputs: Inputs, rows: npt.NDArray[np.int64]) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(rows), DIGEST_ROWS):
        for name, array in sorted(taken_arrays(inputs, rows[start : start + DIGEST_ROWS]).items()):
            digest.update(f"{name} {array.dtype.str} {array.shape[1:]}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _input_description(state: Mapping[str, Any], family: str) -> dict[str, Any]:
    """Return what the numbers mean that a model of this state takes; not the statistics it carries itself."""
    description = {name: state[name] for name in SECTIONS if name in state}
    if "image" in state:
        description["image.shape"] = state["image"]["shape"]
        for name, value in state["handmade"].items() if family == "dense" else ():
            if name not in ("mean", "standard_deviation"):
                description[f"handmade.{name}"] = value
    # How pixels came about: another way of resizing gives images of the same shape.
    if "data" in state:
        description["data"] = state["data"]
    return description


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the names of what differs; a model from before something was recorded passes on that."""
    unknown = {"data", "task", "payload"} - (one.keys() & other.keys())
    return sorted(name for name in {*one, *other} - unknown if one.get(name) != other.get(name))
