"""Models and their answers on today's test rows, as the gate wants them.

Stored answers are never compared: the rows, the labels or the champion may have changed since.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.data.samples import Kind, read_sample_rows
from pipeline.evaluation.ledger import Holdout
from pipeline.evaluation.measures import Predictions
from pipeline.evaluation.rows import TRAINED_ON, EvaluationRows, load_rows, row_keys, rows_digest, unseen
from pipeline.inference import prediction
from pipeline.inference.keras_files import load_model
from pipeline.inputs.arrays import Inputs
from pipeline.inputs.from_state import NotReadable, rebuilt_inputs
from pipeline.inputs.specs import InputKind, kinds_read, output_spec
from pipeline.inputs.train_data import load_split_rows
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from pipeline.runtime.files import file_digest, read_json

# --- Whether a model that was made on earlier data can be asked what today's data asks.
#
# What was fitted may differ: a vocabulary, a scale, the categories of a column, the steps of history that are
# read. A model carries all of it and reads today's payload in its own way (`pipeline.inputs.from_state`).
# What is asked may not differ, and what the model reads must still be there.

State = Mapping[str, Any]
STATISTICS = ("mean", "standard_deviation")
WITHOUT_TRACE = ("grey_range", "labelled_windows")
"""Parts of `data` that stand in the state where they are used."""


def incompatibilities(own: State, today: State, side_kinds: Mapping[str, Kind]) -> list[str]:
    """Return why a model cannot answer for today's rows, in words; empty if it can.

    Args:
        own: Content of the `state.json` that travels with the model.
        today: Content of `data/features/state.json`.
        side_kinds: Side columns of today's samples and what they hold.
    """
    for part, usual in (("task", "classification"), ("payload", "image")):
        before, now = own.get(part, usual), today.get(part, usual)
        if before != now:  # nothing else is worth a comparison then
            return [f"its {part} is {before}, today's {now}"]
    checks = [
        _pixels(own, today),
        _made(own, today),
        _columns(own, today),
        _windows(own, today),
        _targets(own, today),
    ]
    return [problem for check in checks for problem in check] + list(_side(own, side_kinds))


def reads_alike(own: State, today: State, kinds: Sequence[InputKind]) -> bool:
    """Return whether a model's inputs are those that lie in `data/features` already."""
    return _inputs(own, kinds) == _inputs(today, kinds)


def _inputs(state: State, kinds: Sequence[InputKind]) -> dict[str, Any]:
    """Return what decides the arrays of these kinds."""
    described = {name: state[name] for name in ("series", "side", "windows") if name in state}
    if "text" in state:
        read: set[str] = set(kinds)
        if "pieces" in read:
            read.add("bag")
        described["text"] = {name: state["text"].get(name) for name in read}
    if "handmade" in state and "vector" in kinds:
        # A model carries the statistics of these inside itself.
        described["handmade"] = {
            name: value for name, value in state["handmade"].items() if name not in STATISTICS
        }
    return described


def _pixels(own: State, today: State) -> Iterator[str]:
    if "image" not in own:
        return
    if own["image"]["shape"] != today["image"]["shape"]:
        yield f"image.shape is {own['image']['shape']}, today's {today['image']['shape']}"


def _made(own: State, today: State) -> Iterator[str]:
    """Yield what of `data` made the samples otherwise: another way of resizing gives images of the same shape."""
    before, now = own.get("data"), today.get("data")
    if not before or not now:
        return  # models from before it was recorded pass
    for name in sorted(before.keys() | now.keys()):
        # What is not used leaves no trace; of the others, which are of images, an older model may know less.
        told = "image" in own and name in before and name in now
        if before.get(name) != now.get(name) and (told or name in WITHOUT_TRACE):
            yield f"data.{name} is {before.get(name)}, today's {now.get(name)}"


def _columns(own: State, today: State) -> Iterator[str]:
    if "series" not in own:
        return
    absent = [name for name in own["series"]["channels"] if name not in today["series"]["channels"]]
    if absent:
        yield f"it reads channels that the series no longer have ({', '.join(absent)})"


def _windows(own: State, today: State) -> Iterator[str]:
    before, now = own.get("windows"), today.get("windows")
    if bool(before) != bool(now):
        yield f"it reads {'windows' if before else 'whole series'}, today's rows are the other kind"
    if not before or not now:
        return
    asked = (
        ["horizon"] if now["horizon"] else ["horizon", "length"]
    )  # of anomalies the window itself is judged
    for name in asked:
        if before[name] != now[name]:
            yield f"data.windows.{name} is {before[name]}, today's {now[name]}"
    ahead = sorted(set(_known(before)) - set(_known(now)))
    if ahead:
        yield f"it is told ahead of time what data.windows no longer names as known ({', '.join(ahead)})"


def _known(windows: State) -> list[str]:
    known = windows["side"]["known"]
    return [column["name"] for column in (*known["numbers"], *known["categories"])]


def _targets(own: State, today: State) -> Iterator[str]:
    before, now = (state.get("target", {}).get("names", []) for state in (own, today))
    if before != now:
        yield f"it predicts {', '.join(before) or 'nothing'}, today's target is {', '.join(now) or 'none'}"


def _side(own: State, side_kinds: Mapping[str, Kind]) -> Iterator[str]:
    for kind, columns in (("number", "numbers"), ("category", "categories")):
        for column in (own.get("side") or {}).get(columns, []):
            found = side_kinds.get(column["name"], "missing")
            if found != kind:
                yield f"it reads the {kind} {column['name']} beside each sample, today's is {found}"


# --- Models and their answers on today's test rows, as the gate wants them.


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


def load_test_rows() -> EvaluationRows:
    """Return the test rows of the current split."""
    return load_rows("test")


def scored_digest(test: EvaluationRows) -> str:
    """Return a sha256 (hex) over all that judges; nothing that was fitted moves it, see `evaluation.rows`."""
    return rows_digest(test)


def holdout_of(test: EvaluationRows) -> Holdout:
    """Return the rows as the ledger of the test set knows them."""
    return Holdout.of(scored_digest(test), row_keys(test))


def unseen_positions(test: EvaluationRows, details_dirs: Sequence[Path]) -> npt.NDArray[np.int64]:
    """Return the positions of the rows that none of some models was trained on or chosen by.

    Args:
        test: The rows.
        details_dirs: Of each model the folder where its `trained_on.parquet` lies.

    Returns:
        Positions in `test`, ascending; content decides, see `pipeline.evaluation.rows`.

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


def score(name: str, model_path: Path, details_dir: Path, test: EvaluationRows) -> Answers:
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
    problems = incompatibilities(state, today, read_sample_rows().side_kinds) if own.is_file() else []
    if problems:
        raise _not_comparable(name, problems)
    spec = output_spec(state)
    ask = partial(prediction.answers, load_model(model_path))
    kinds = kinds_read(state, settings)
    if reads_alike(state, today, kinds):
        predictions = ask(inputs_of("test", kinds), test.rows, settings["training"], spec)
    else:
        with tempfile.TemporaryDirectory(prefix="millrace-") as scratch:
            try:
                inputs = rebuilt_inputs(state, kinds, test.rows, test.timeline, Path(scratch))
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


def inputs_of(split: str, kinds: Sequence[InputKind]) -> Inputs:
    """Return what a model that reads these kinds is given, for the rows of `load_rows(split)`."""
    return load_split_rows(split, kinds).inputs
