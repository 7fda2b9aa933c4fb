"""What models read: samples as arrays by the names of the inputs, stored as they are or made when they are asked for.

`ModelInputs` is an agreement over readers: functions from row numbers to named arrays. Where the rows are windows, a
row number is a window number. The wiring of windows is here too, once for all that read them: training, an older
champion and a single record.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.data.samples import SampleRows, Values
from pipeline.data.windows import WindowIndex
from pipeline.inputs.specs import PAD
from pipeline.preprocessing.side import WindowSide, seconds_of, window_side_of


def padded(parts: Sequence[np.ndarray], max_length: int) -> np.ndarray:
    """Return series of any length as one array.

    Args:
        parts: Each float32 (steps, channels), already to scale.
        max_length: Steps kept of each, from its begin.

    Returns:
        float32, shape (len(parts), max_length, channels), `PAD` behind the end.
    """
    batch = np.full((len(parts), max_length, parts[0].shape[1]), PAD, np.float32)
    for row, part in enumerate(parts):
        batch[row, : len(part)] = part[:max_length]
    return batch


MAIN_INPUT = "inputs"
Arrays = np.ndarray | dict[str, np.ndarray]
"""What a model takes at once: one array, or one per input, by the names of the inputs."""
Named = dict[str, np.ndarray]
"""Inputs by name, also where there is but one."""
Reader = Callable[[np.ndarray], Named]
"""From row numbers to the inputs of these rows; those of a model may come from several readers."""
TargetReader = Callable[[np.ndarray], np.ndarray]


class ModelInputs:
    """All samples of a model, of which some are made at a time.

    Args:
        num_rows: How many there are.
        readers: Each makes some of the inputs.
        targets: Reads what is to be predicted; None where targets stand in an array of their own.
    """

    def __init__(self, num_rows: int, readers: Sequence[Reader], targets: TargetReader | None = None) -> None:
        self._num_rows = num_rows
        self._readers = tuple(readers)
        self._targets = targets

    def __len__(self) -> int:
        """Return how many samples there are."""
        return self._num_rows

    def take(self, rows: np.ndarray) -> Arrays:
        """Return some samples: an array where the model has one input, else one per name."""
        made = {name: array for read in self._readers for name, array in read(rows).items()}
        return next(iter(made.values())) if len(made) == 1 else made

    def take_targets(self, rows: np.ndarray) -> np.ndarray:
        """Return what is to be predicted for some samples, float32, scaled.

        Raises:
            TypeError: The targets stand in an array of their own.
        """
        if self._targets is None:
            raise TypeError(
                "These inputs do not know their targets. Expected `TrainData.targets` to be used."
            )
        return self._targets(rows)


Inputs = np.ndarray | Mapping[str, np.ndarray] | ModelInputs


def take(inputs: Inputs, rows: np.ndarray) -> Arrays:
    """Return some samples as a model takes them.

    Args:
        inputs: All samples.
        rows: Index array.

    Raises:
        ValueError: A number that was made on demand is not finite.
    """
    if isinstance(inputs, np.ndarray):
        taken: np.ndarray = inputs[rows]
        return taken
    if isinstance(inputs, Mapping):
        return {name: array[rows] for name, array in inputs.items()}
    made = inputs.take(rows)
    for name, array in named(made).items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise ValueError(
                f"Input {name!r} holds a number that is not finite. Expected finite inputs. Received: samples "
                f"{rows[:3].tolist()} and more. Run `dvc repro features`."
            )
    return made


def named(arrays: Arrays) -> Named:
    """Return samples as a model takes them by the names of the inputs, also where there is but one."""
    return arrays if isinstance(arrays, dict) else {MAIN_INPUT: arrays}


def take_targets(inputs: Inputs, targets: np.ndarray | None, rows: np.ndarray) -> np.ndarray:
    """Return what is to be predicted for some samples: from `targets`, or from inputs that know their own."""
    if targets is not None:
        taken: np.ndarray = targets[rows]
        return taken
    if isinstance(inputs, np.ndarray | Mapping):
        raise TypeError(
            "Targets are missing. Expected an array, or inputs that know their own. Received: None."
        )
    return inputs.take_targets(rows)


def reconstruction_targets(inputs: Arrays) -> np.ndarray:
    """Return what an autoencoder must bring back: the main input as float32; pixels in [0, 1]."""
    main = named(inputs)[MAIN_INPUT]
    if main.dtype == np.uint8:
        return main.astype(np.float32) / np.float32(255)
    return main.astype(np.float32)


def require_finite(inputs: Inputs, rows: np.ndarray, chunk_rows: int = 4096) -> None:
    """Check that every number of the given rows is finite; what is made on demand is checked by `take`.

    A network with ReLU answers NaN with healthy-looking probabilities, so nothing later would notice.

    Raises:
        ValueError: Names the first row that is not.
    """
    if not isinstance(inputs, np.ndarray) or not np.issubdtype(inputs.dtype, np.floating):
        return
    for start in range(0, len(rows), chunk_rows):
        part = rows[start : start + chunk_rows]
        bad = ~np.isfinite(inputs[part]).reshape(len(part), -1).all(axis=1)
        if bad.any():
            row = int(part[bad.argmax()])
            raise ValueError(
                f"Sample in row {row} holds a number that is not finite. Expected finite inputs. Received: "
                f"{int(bad.sum())} such rows among the first {start + len(part)}. Run `dvc repro features`."
            )


def stored(arrays: Mapping[str, np.ndarray]) -> Reader:
    """Return a reader of arrays with one entry per row, by the names of the inputs."""
    return lambda rows: {name: np.asarray(array[rows]) for name, array in arrays.items()}


def padded_series(series: np.ndarray, starts: np.ndarray, lengths: np.ndarray, max_length: int) -> Reader:
    """Return a reader of whole series, float32 (rows, max_length, channels).

    Args:
        series: float32 (total_steps, channels), to scale.
        starts: First step per row.
        lengths: Steps per row.
        max_length: Steps of the longest that is read.
    """

    def read(rows: np.ndarray) -> Named:
        ends = starts[rows] + np.minimum(lengths[rows], max_length)
        parts = [series[start:end] for start, end in zip(starts[rows], ends, strict=True)]
        return {MAIN_INPUT: padded(parts, max_length)}

    return read


def window_inputs(
    side: WindowSide,
    steps: np.ndarray | None,
    seconds: np.ndarray,
    known: Mapping[str, Values],
    beside: Mapping[str, np.ndarray],
) -> Named:
    """Return the inputs of windows from their parts: the one place that says which part becomes which input.

    Args:
        side: What is told about the first predicted step; fitted on train.
        steps: float32 (windows, length, channels), to scale; None for models without a history, whose main input
            is what is told.
        seconds: Wall-clock seconds since 1970 of the first predicted step; not looked at without calendar.
        known: Known column to its value at that step, NaN or not there where it is missing.
        beside: Side features of the series of each window: `side`, `categories`, both or neither.
    """
    made = {} if steps is None else {MAIN_INPUT: steps}
    told = side.transform(seconds, known)
    if "side" in beside:
        told = np.hstack([told, beside["side"]])
    if told.shape[1]:
        made["side" if made else MAIN_INPUT] = told
    if "categories" in beside:
        made["categories"] = beside["categories"]
    return made


def window_reader(
    windows: Mapping[str, Any],
    index: WindowIndex,
    samples: SampleRows,
    payload: np.ndarray,
    *,
    series: np.ndarray | None,
    beside: Mapping[str, np.ndarray],
) -> Reader:
    """Return a reader of windows over the payload.

    Args:
        windows: That part of the state.
        index: Where the windows stand.
        samples: The series.
        payload: float32 (total_steps, columns), as ingested.
        series: float32 (total_steps, channels), to scale, each step at its place in the payload; None where models
            read no history.
        beside: Side features of each series: `side`, `categories`, both or neither.
    """
    side, length = window_side_of(windows["side"]), windows["length"]
    steps = np.arange(-length, 0) if windows["horizon"] else np.arange(length)
    places = {name: samples.channels.index(name) for name in side.columns}
    begins = [seconds_of(time) if side.calendar else 0 for time in samples.times]
    first_seconds = np.array(begins, np.float64)

    def read(rows: np.ndarray) -> Named:
        positions = index.locate(rows)
        of = np.searchsorted(samples.starts, positions, side="right") - 1
        values = np.asarray(payload[positions]) if places else payload[:0]
        return window_inputs(
            side,
            None if series is None else np.asarray(series[positions[:, None] + steps]),
            first_seconds[of] + (positions - samples.starts[of]) * samples.step_seconds[of],
            {name: values[:, place] for name, place in places.items()},
            {name: array[of] for name, array in beside.items()},
        )

    return read


def window_targets(
    payload: np.ndarray,
    index: WindowIndex,
    horizon: int,
    columns: Sequence[int],
    scale: tuple[Sequence[float], Sequence[float]],
    *,
    flat: bool,
) -> TargetReader:
    """Return a reader of what windows predict, to scale.

    Args:
        payload: float32 (total_steps, columns), as ingested.
        index: Where the windows stand.
        horizon: Steps from the position on.
        columns: Of the payload, one per target.
        scale: Mean and deviation per target.
        flat: Whether the reader gives float32 (windows, num_targets), as regression has it; the horizon is 1.
            Otherwise (windows, horizon, num_targets).
    """
    mean, deviation = np.array(scale[0]), np.array(scale[1])

    def read(rows: np.ndarray) -> np.ndarray:
        steps = index.locate(rows)[:, None] + np.arange(horizon)
        values = payload[steps][..., list(columns)]
        scaled: np.ndarray = ((values.astype(np.float64) - mean) / deviation).astype(np.float32)
        return scaled[:, 0] if flat else scaled

    return read
