"""The folder `models/best`: the chosen model with all that is needed to use, check and compare it elsewhere."""

import io
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.artifacts import canonical_zip, finite, read_json, write_bytes, write_json
from pipeline.contenders import TestRows, score
from pipeline.judgement import Judgement

NUM_GOLDEN = 16
"""Inputs whose predictions travel with the model, to prove elsewhere that it still gives them."""


def write_best(folder: Path, judgement: Judgement, test: TestRows, card: Mapping[str, Any]) -> None:
    """Write the chosen model and its papers; card.json comes last and makes the folder complete.

    Args:
        folder: Gets model.keras, settings.json, state.json, golden.npz (`inputs`, `probabilities`),
            test_probabilities.npy, baseline_<name>_probabilities.npy and card.json.
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
    write_json(folder / "state.json", read_json(paths.FEATURES_STATE, "features"))
    _write_golden(folder, chosen.family, test)
    _write_array(folder / "test_probabilities.npy", judgement.answers)
    for name in judgement.baselines:
        _write_array(folder / f"baseline_{name}_probabilities.npy", judgement.probabilities[name])
    write_json(folder / "card.json", card)


def _write_golden(folder: Path, family: str, test: TestRows) -> None:
    """Write a few test inputs and what the model in `folder` answers.

    Predicted as the check will do it, these inputs alone in one batch: the last bits depend on the batch.
    """
    few = np.unique(np.linspace(0, len(test.rows) - 1, NUM_GOLDEN).astype(np.int64))
    golden = replace(test, sample_ids=tuple(test.sample_ids[index] for index in few), rows=test.rows[few])
    answers = score("golden", folder / "model.keras", folder, golden).probabilities
    inputs = np.load(paths.FEATURES_NPY if family == "dense" else paths.IMAGES_NPY, mmap_mode="r")
    with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
        as_numpy_writes = Path(temporary) / "golden.npz"
        np.savez(as_numpy_writes, inputs=inputs[golden.rows], probabilities=answers)
        # Python 3.11.2 and 3.11.7 write other bytes for the same arrays; rewritten, they are equal.
        canonical_zip(as_numpy_writes, folder / "golden.npz")


def _write_array(path: Path, array: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_bytes(path, buffer.getvalue())
