"""Models and their answers on today's test rows, as the gate wants them.

Stored answers are never compared: the rows, the labels or the champion may have changed since.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.data.samples import read_sample_rows
from pipeline.evaluation.judged_content import row_keys, rows_digest
from pipeline.evaluation.ledger import Judges
from pipeline.evaluation.measures import Predictions
from pipeline.evaluation.rows import JudgedRows, load_rows
from pipeline.evaluation.same_question import obstacles, reads_alike
from pipeline.evaluation.trained_on import TRAINED_ON, unseen
from pipeline.inference import prediction
from pipeline.inference.keras_files import load_model
from pipeline.inputs.arrays import Inputs
from pipeline.inputs.from_state import NotReadable, rebuilt_inputs
from pipeline.inputs.specs import output_spec
from pipeline.inputs.train_data import load_split_rows
from pipeline.runtime import paths
from pipeline.runtime.files import file_digest, read_json
from pipeline.runtime.stage import DataRefused


class NotComparable(Exception):
    """A model cannot be asked what today's data asks, or nobody knows what it has seen."""


@dataclass(frozen=True)
class Answers:
    """A model and what it predicts for rows.

    Attributes:
        name: How messages call it.
        model_sha256: Digest (hex) of its file.
        classes: Class names in the order of the columns of `predictions`; () for other tasks.
        sample_ids: Of the rows, in order.
        predictions: As `prediction.answers` gives them.
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
    """Return a sha256 (hex) over all that judges; nothing that was fitted moves it, see `judged_content`."""
    return rows_digest(test)


def judges_of(test: JudgedRows) -> Judges:
    """Return the rows as the ledger of the test set knows them."""
    return Judges.of(scored_digest(test), row_keys(test))


def unseen_positions(test: JudgedRows, details_dirs: Sequence[Path]) -> npt.NDArray[np.int64]:
    """Return the positions of the rows that none of some models was trained on or chosen by.

    Args:
        test: The rows.
        details_dirs: Of each model the folder where its `trained_on.parquet` lies.

    Returns:
        Positions in `test`, ascending; content decides, see `pipeline.evaluation.trained_on`.

    Raises:
        NotComparable: A model does not say what it was trained on.
    """
    new = np.ones(len(test), bool)
    for folder in details_dirs:
        try:
            new &= unseen(test, folder)
        except FileNotFoundError as error:
            raise NotComparable(
                f"Nobody knows which rows a model was trained on: {TRAINED_ON} is not among its papers, because "
                "it was registered by an earlier version."
            ) from error
    return np.flatnonzero(new).astype(np.int64)


def score(name: str, model_path: Path, details_dir: Path, test: JudgedRows) -> Answers:
    """Load a model and let it answer for some rows, read in its own way where that differs from today's.

    Args:
        name: How the gate's sentences call it.
        model_path: The `.keras` file.
        details_dir: Where its `settings.json` lies, and its `state.json` if it has one of its own.
        test: The rows, of any split.

    Raises:
        NotComparable: It was asked something else, or what it reads is no longer there.
    """
    settings = read_json(details_dir / "settings.json")
    today = read_json(paths.FEATURES_STATE, "features")
    own = details_dir / "state.json"
    state = read_json(own) if own.is_file() else today
    problems = obstacles(state, today, read_sample_rows().side_kinds) if own.is_file() else []
    if problems:
        raise _not_comparable(name, problems)
    spec = output_spec(state)
    ask = partial(prediction.answers, load_model(model_path))
    if reads_alike(state, today, settings["family"]):
        predictions = ask(inputs_of(settings["family"], "test"), test.rows, settings["training"], spec)
    else:
        with tempfile.TemporaryDirectory(prefix="millrace-") as scratch:
            try:
                inputs = rebuilt_inputs(state, settings["family"], test.rows, test.timeline, Path(scratch))
                predictions = ask(inputs, np.arange(len(test)), settings["training"], spec)
            except (NotReadable, DataRefused) as error:
                raise _not_comparable(name, [str(error)]) from error
    classes, predictions = _in_order(spec.classes, predictions, output_spec(today).classes)
    return Answers(name, file_digest(model_path, "sha256"), classes, test.sample_ids, predictions)


def _in_order(
    classes: tuple[str, ...], predictions: Predictions, wanted: tuple[str, ...]
) -> tuple[tuple[str, ...], Predictions]:
    """Return the columns in the order of today's classes where the classes are the same; else as they are."""
    if classes == wanted or set(classes) != set(wanted):
        return classes, predictions
    return wanted, predictions[:, [classes.index(name) for name in wanted]]


def _not_comparable(name: str, problems: Sequence[str]) -> NotComparable:
    return NotComparable(f"{name} cannot be asked what today's data asks: {'; '.join(problems)}.")


def inputs_of(family: str, split: str) -> Inputs:
    """Return what models of a family read, for the rows of `load_rows(split)`."""
    return load_split_rows(split, family).inputs
