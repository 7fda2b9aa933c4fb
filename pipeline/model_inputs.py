"""Samples that are made when they are asked for: several inputs at once, padded series, windows.

`ModelInputs` is an agreement over readers: functions from row numbers to an array. Their names are those of
the inputs of the Keras models. Where the rows are windows, a row number is a window number.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pipeline.series_features import padded
from pipeline.window_features import WindowSide
from pipeline.windows import WindowIndex

Reader = Callable[[np.ndarray], np.ndarray]
Arrays = np.ndarray | dict[str, np.ndarray]


class ModelInputs:
    """All samples of a model, of which some are made at a time.

    Args:
        num_rows: How many there are.
        readers: Name of each input to what reads it.
        targets: Reads what is to be predicted; None where targets stand in an array of their own.
    """

    def __init__(self, num_rows: int, readers: Mapping[str, Reader], targets: Reader | None = None) -> None:
        self._num_rows = num_rows
        self._readers = dict(readers)
        self._targets = targets

    def __len__(self) -> int:
        """Return how many samples there are."""
        return self._num_rows

    def take(self, rows: np.ndarray) -> Arrays:
        """Return some samples: an array where the model has one input, else one per name."""
        made = {name: read(rows) for name, read in self._readers.items()}
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


def rows_of(array: np.ndarray) -> Reader:
    """Return a reader of an array with one entry per row."""
    return lambda rows: np.asarray(array[rows])


def padded_series(series: np.ndarray, starts: np.ndarray, lengths: np.ndarray, max_length: int) -> Reader:
    """Return a reader of whole series, float32 (rows, max_length, channels).

    Args:
        series: float32 (total_steps, channels), to scale.
        starts: First step per row.
        lengths: Steps per row.
        max_length: Steps of the longest that is read.
    """

    def read(rows: np.ndarray) -> np.ndarray:
        ends = starts[rows] + np.minimum(lengths[rows], max_length)
        return padded([series[start:end] for start, end in zip(starts[rows], ends, strict=True)], max_length)

    return read


def window_series(series: np.ndarray, index: WindowIndex, steps: np.ndarray) -> Reader:
    """Return a reader of steps around the position of windows, float32 (windows, len(steps), columns).

    Args:
        series: float32 (total_steps, columns).
        index: Where the windows stand.
        steps: Relative to the position: -3, -2, -1 are the three before it.
    """
    return lambda rows: np.asarray(series[index.locate(rows)[:, None] + steps])


def window_targets(
    payload: np.ndarray,
    index: WindowIndex,
    horizon: int,
    columns: Sequence[int],
    scale: tuple[Sequence[float], Sequence[float]],
    *,
    flat: bool,
) -> Reader:
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


def window_side(
    payload: np.ndarray,
    index: WindowIndex,
    side: WindowSide,
    *,
    channels: Sequence[str],
    starts: np.ndarray,
    seconds: np.ndarray,
    step_seconds: np.ndarray,
    static: np.ndarray | None,
) -> Reader:
    """Return a reader of what windows are told about their first predicted step, float32 (windows, columns).

    Args:
        payload: float32 (total_steps, columns), as ingested.
        index: Where the windows stand.
        side: Fitted on train.
        channels: Names of the first columns of the payload.
        starts: First step of each series in the payload, ascending.
        seconds: Wall-clock seconds of the first step of each series.
        step_seconds: Time from one step to the next, per series.
        static: Side features of each series, float32 (num_series, columns); None for none.
    """
    places = {name: list(channels).index(name) for name in side.columns}

    def read(rows: np.ndarray) -> np.ndarray:
        positions = index.locate(rows)
        series = np.searchsorted(starts, positions, side="right") - 1
        times = seconds[series] + (positions - starts[series]) * step_seconds[series]
        values = np.asarray(payload[positions])
        told = side.transform(times, {name: values[:, place] for name, place in places.items()})
        return told if static is None else np.hstack([told, static[series]])

    return read


def series_of_windows(reader: Reader, index: WindowIndex, starts: np.ndarray) -> Reader:
    """Return a reader that gives windows what another reader gives their series.

    Args:
        reader: From row numbers of series.
        index: Where the windows stand.
        starts: First step of each series in the payload, ascending.
    """
    return lambda rows: reader(np.searchsorted(starts, index.locate(rows), side="right") - 1)
