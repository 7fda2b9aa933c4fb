"""How long a model takes for a single prediction, measured here and now."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.inference.keras_files import load_model
from pipeline.inputs.arrays import Inputs, take

WARM_UP = 5
"""The first call traces the graph; the next ones fill caches."""
REPETITIONS = 51
"""Odd, so that the median is one of them."""


def single_prediction_ms(model_path: Path, inputs: Inputs, rows: np.ndarray) -> float:
    """Return the median time of `predict_on_batch` with one sample, in milliseconds.

    Samples are taken in turn and before the clock starts: they may differ in length.

    Args:
        model_path: The `.keras` file.
        inputs: All samples as the model takes them.
        rows: Of which samples, at least one.
    """
    model = load_model(model_path)
    rounds = np.resize(rows, WARM_UP + REPETITIONS)
    seconds = [_timed(model, take(inputs, rounds[place : place + 1])) for place in range(len(rounds))]
    return float(np.median(seconds[WARM_UP:]) * 1000)


def _timed(model: Any, sample: Any) -> float:
    start = time.perf_counter()
    model.predict_on_batch(sample)
    return time.perf_counter() - start
