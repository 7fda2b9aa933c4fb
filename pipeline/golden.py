"""Golden predictions: what a model answers to a few inputs that travel with it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline import prediction
from pipeline.artifacts import read_json
from pipeline.keras_files import load_model
from pipeline.specs import output_spec

GOLDEN_ANSWERS = "predictions"
"""Name in golden.npz of what the model answers; all others are names of its inputs."""


def golden_answers(model_path: Path, details_dir: Path, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return what a model answers to some inputs, in the units of the data.

    Args:
        model_path: The `.keras` file.
        details_dir: Where its settings.json and state.json lie.
        inputs: Arrays by the names of the model's inputs.
    """
    settings, state = read_json(details_dir / "settings.json"), read_json(details_dir / "state.json")
    only = next(iter(inputs.values()))
    given = only if len(inputs) == 1 else dict(inputs)
    rows = np.arange(len(only))
    return prediction.answers(load_model(model_path), given, rows, settings["training"], output_spec(state))
