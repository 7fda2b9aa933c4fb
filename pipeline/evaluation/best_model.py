"""The folder `models/best`: the chosen model with all that is needed to use, check and compare it elsewhere."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.evaluation.golden import GOLDEN_ANSWERS, golden_answers, write_npz
from pipeline.evaluation.judgement import Judgement
from pipeline.evaluation.rows import JudgedRows
from pipeline.evaluation.scoring import inputs_of
from pipeline.evaluation.trained_on import TRAINED_ON, write_trained_on
from pipeline.inputs.arrays import named, take
from pipeline.runtime import paths
from pipeline.runtime.files import finite, read_json, write_bytes, write_json

NUM_GOLDEN = 16
"""Inputs whose predictions travel with the model, to prove elsewhere that it still gives them."""


def write_best(folder: Path, judgement: Judgement, test: JudgedRows, card: Mapping[str, Any]) -> None:
    """Write the chosen model and its papers; card.json comes last and makes the folder complete.

    Args:
        folder: Gets model.keras, settings.json, state.json, trained_on.parquet, golden.npz (arrays by the
            names of the model's inputs, and `predictions`), test_predictions.npy,
            baseline_<name>_predictions.npy and card.json.
        judgement: Of the evaluation that chose it.
        test: The test rows.
        card: Content of card.json.

    Raises:
        ValueError: A number in it is not finite.
    """
    finite(dict(card), "card.json")
    chosen = judgement.chosen
    for name in ("model.keras", "settings.json"):
        write_bytes(folder / name, (chosen.folder / name).read_bytes())
    state = read_json(paths.FEATURES_STATE, "features")
    write_json(folder / "state.json", state)
    write_trained_on(folder / TRAINED_ON, windowed=bool(state.get("windows")))
    _write_golden(folder, chosen.family, test)
    _write_array(folder / "test_predictions.npy", judgement.answers)
    for name in judgement.baselines:
        _write_array(folder / f"baseline_{name}_predictions.npy", judgement.predictions[name])
    write_json(folder / "card.json", card)


def _write_golden(folder: Path, family: str, test: JudgedRows) -> None:
    """Write a few test inputs and what the model in `folder` answers.

    Predicted as the check will do it, these inputs alone in one batch: the last bits depend on the batch.
    """
    few = np.unique(np.linspace(0, len(test.rows) - 1, NUM_GOLDEN).astype(np.int64))
    inputs = named(take(inputs_of(family, "test"), test.rows[few]))
    answers = golden_answers(folder / "model.keras", folder, inputs)
    write_npz(folder / "golden.npz", {**inputs, GOLDEN_ANSWERS: answers})


def _write_array(path: Path, array: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_bytes(path, buffer.getvalue())
