"""Models and their answers on today's test rows, as the gate wants them.

Stored answers are never compared: the rows, the labels or the champion may have changed since.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet

from pipeline import paths, training
from pipeline.artifacts import content_key, file_digest, read_json
from pipeline.gate import Contender
from pipeline.keras_files import load_model


class NotComparable(Exception):
    """A model takes other inputs than the data has now."""


@dataclass(frozen=True)
class TestRows:
    """The rows that judge.

    Attributes:
        sample_ids: In the order of `rows`.
        rows: Index into images and features, ascending.
        labels: Class names.
    """

    sample_ids: tuple[str, ...]
    rows: npt.NDArray[np.int64]
    labels: tuple[str, ...]

    def class_indices(self, classes: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the class index per row.

        Raises:
            ValueError: A label is not among the classes.
        """
        unknown = sorted(set(self.labels) - set(classes))
        if unknown:
            raise ValueError(
                f"The test rows have classes the model does not know. Expected {list(classes)}. Received: {unknown}."
            )
        order = {name: index for index, name in enumerate(classes)}
        return np.array([order[label] for label in self.labels], dtype=np.int64)


def load_test_rows() -> TestRows:
    """Return the test rows of the current split."""
    table = pyarrow.parquet.read_table(paths.SPLIT_PARQUET, columns=["sample_id", "row", "label", "split"])
    test = sorted(
        (item["row"], item["sample_id"], item["label"])
        for item in table.to_pylist()
        if item["split"] == "test"
    )
    rows, sample_ids, labels = zip(*test, strict=True) if test else ((), (), ())
    return TestRows(tuple(sample_ids), np.array(rows, dtype=np.int64), tuple(labels))


def scored_digest(test: TestRows) -> str:
    """Return a sha256 (hex) over all that judges: which samples, their labels, pixels and hand-made features."""
    inputs = [_rows_digest(path, test.rows) for path in (paths.IMAGES_NPY, paths.FEATURES_NPY)]
    return content_key([test.sample_ids, test.labels, inputs])


def score(name: str, model_path: Path, details_dir: Path, test: TestRows) -> Contender:
    """Load a model and score it on the test rows.

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
    vector = settings["family"] == "dense"
    different = _differences(_input_description(state, vector), _input_description(current, vector))
    if different:
        raise NotComparable(
            f"{name} takes inputs of another shape or meaning than the present data has: "
            f"{', '.join(different)} differ."
        )
    inputs = np.load(paths.FEATURES_NPY if vector else paths.IMAGES_NPY, mmap_mode="r")
    probabilities = training.answers(load_model(model_path), inputs, test.rows, settings["training"])
    return Contender(
        name, file_digest(model_path, "sha256"), list(state["classes"]), list(test.sample_ids), probabilities
    )


def _rows_digest(path: Path, rows: npt.NDArray[np.int64]) -> str:
    array = np.load(path, mmap_mode="r")
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape[1:]}".encode())
    for row in rows:
        digest.update(array[row].tobytes())
    return digest.hexdigest()


def _input_description(state: Mapping[str, Any], vector: bool) -> dict[str, Any]:
    """Return what the numbers mean that a model of this state takes; not the statistics, which it carries itself."""
    description = {"image.shape": state["image"]["shape"]}
    for name, value in state["handmade"].items() if vector else ():
        if name not in ("mean", "standard_deviation"):
            description[f"handmade.{name}"] = value
    # How pixels came about: another way of resizing gives images of the same shape.
    if "data" in state:
        description["data"] = state["data"]
    return description


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the names of what differs; a model from before the data settings were recorded passes on those."""
    unknown = {"data"} - (one.keys() & other.keys())
    return sorted(name for name in {*one, *other} - unknown if one.get(name) != other.get(name))
