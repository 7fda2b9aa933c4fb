"""The data that training may see: the splits that train and choose, never the one that judges."""

from dataclasses import dataclass

import numpy as np
import pyarrow.parquet

from pipeline import paths
from pipeline.artifacts import read_json
from pipeline.input_specs import input_spec, output_spec
from pipeline.specs import InputSpec, OutputSpec


@dataclass(frozen=True)
class TrainData:
    """What a candidate may see: all samples as stored, and which of them train and which choose. Never test.

    Attributes:
        inputs: uint8 images NHWC or float32 features, all rows, memory-mapped.
        targets: Class index int32 per row; -1 for rows that are neither train nor val.
        train_rows: Rows that train, ascending.
        val_rows: Rows that choose, ascending.
        input_spec: Shape and scale of the inputs.
        output_spec: The classes.
    """

    inputs: np.ndarray
    targets: np.ndarray
    train_rows: np.ndarray
    val_rows: np.ndarray
    input_spec: InputSpec
    output_spec: OutputSpec


def load_train_data(family: str) -> TrainData:
    """Return the data of the project as a family needs it.

    Args:
        family: `dense` reads hand-made features, all others raw pixels.

    Raises:
        FileNotFoundError: An earlier stage has not run; says which.
        ValueError: The split has a class that the training set does not know.
    """
    state = read_json(paths.FEATURES_STATE, made_by="features")
    used = pyarrow.parquet.read_table(
        paths.SPLIT_PARQUET, columns=["row", "label", "split"], filters=[("split", "in", ["train", "val"])]
    ).sort_by("row")
    rows, split = used["row"].to_numpy().astype(np.int64), used["split"].to_numpy()
    labels = used["label"].to_pylist()
    unknown = sorted(set(labels) - set(state["classes"]))
    if unknown:
        raise ValueError(
            f"The split has classes without training samples. Expected {state['classes']}. "
            f"Received: {unknown}. Run `dvc repro features`."
        )
    inputs = np.load(paths.FEATURES_NPY if family == "dense" else paths.IMAGES_NPY, mmap_mode="r")
    # By name, from the one list of classes: numbering those of each split shifts labels where one lacks.
    index_of = {name: index for index, name in enumerate(state["classes"])}
    targets = np.full(len(inputs), -1, dtype=np.int32)
    targets[rows] = [index_of[label] for label in labels]
    return TrainData(
        inputs,
        targets,
        rows[split == "train"],
        rows[split == "val"],
        input_spec(state, family),
        output_spec(state),
    )
