"""Models and their answers on today's test rows, as the gate wants them.

Stored answers are never compared: the rows, the labels or the champion may have changed since.
"""

from collections.abc import Sequence
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

    @property
    def digest(self) -> str:
        """Return a sha256 over which samples judge, and their labels."""
        return content_key([self.sample_ids, self.labels])

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
    if _input_description(state, vector) != _input_description(current, vector):
        raise NotComparable(f"{name} takes inputs of another shape or meaning than the present data has.")
    inputs = np.load(paths.FEATURES_NPY if vector else paths.IMAGES_NPY, mmap_mode="r")
    flip = bool(settings["training"]["test_time_flip"]) and not vector
    probabilities = training.predict(load_model(model_path), inputs, test.rows, test_time_flip=flip)
    return Contender(
        name, file_digest(model_path, "sha256"), list(state["classes"]), list(test.sample_ids), probabilities
    )


def _input_description(state: dict[str, Any], vector: bool) -> Any:
    return state["handmade"]["names"] if vector else state["image"]["shape"]
