"""Today's rows as a model reads them that has a state of its own: another vocabulary, other scales or categories.

The rows are made from the canonical payload by the functions the features stage uses, with what the model was
fitted on. Nothing grows with the data: texts and whole series are made a batch at a time, windows are an index
over one file of scaled series.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.artifacts import reserve
from pipeline.bags import bag_of
from pipeline.calendar_features import has_offset, seconds_of
from pipeline.input_files import mapped
from pipeline.input_specs import side_shape
from pipeline.judged_rows import JudgedRows
from pipeline.model_inputs import (
    ModelInputs,
    Reader,
    rows_of,
    series_of_windows,
    window_series,
    window_side,
)
from pipeline.sample_rows import SampleRows, read_sample_rows
from pipeline.series_features import padded, scaler_of, steps_of, write_series
from pipeline.settings.families import input_kind
from pipeline.side_features import SideFeatures, side_features_of
from pipeline.text_features import texts_of
from pipeline.tokens import tokenizer_of
from pipeline.window_features import window_side_of
from pipeline.windows import WindowIndex

State = Mapping[str, Any]
Readers = dict[str, Reader]


class NotReadable(Exception):
    """A model cannot read today's rows in its own way."""


def rebuilt_inputs(state: State, family: str, test: JudgedRows, scratch: Path) -> ModelInputs:
    """Return what a model reads of some rows; row 0 is the first of `test`.

    Args:
        state: Content of the `state.json` that travels with the model.
        family: Name of its family.
        test: The rows.
        scratch: An empty folder for arrays that are memory-mapped, needed for as long as the inputs are used.

    Raises:
        NotReadable: A row holds fewer steps than the model reads, or its calendar is another one.
        DataRefused: A side column holds something else than it did.
        InputMissing: An earlier stage has not run; says which.
    """
    samples, payload = read_sample_rows(), mapped(paths.PAYLOAD_NPY, "ingest")
    if state.get("windows"):
        readers = _windows(state, test, samples, payload, scratch)
    else:
        rows = test.rows
        kind = state.get("payload", "image")
        made = {"image": _images, "text": _texts, "series": _whole_series}[kind](
            state, family, samples, payload, rows
        )
        readers = made | _side(state, samples, rows)
    return ModelInputs(len(test), readers)


def _images(
    state: State, family: str, _samples: SampleRows, payload: np.ndarray, rows: np.ndarray
) -> Readers:
    if input_kind(family, "image") == "image":
        return {"inputs": lambda chosen: np.asarray(payload[rows[chosen]])}
    from pipeline.features import image_features  # scikit-image, which other families do without

    made = state["handmade"]
    settings = made["groups"], made["edge_cell_px"], made["colour_bins"]
    return {
        "inputs": lambda chosen: np.stack([image_features(payload[row], *settings) for row in rows[chosen]])
    }


def _texts(state: State, family: str, samples: SampleRows, payload: np.ndarray, rows: np.ndarray) -> Readers:
    def texts(chosen: np.ndarray) -> list[str]:
        return list(texts_of(payload, samples.starts, samples.lengths, rows[chosen]))

    if input_kind(family, "text") == "tokens":
        tokenizer = tokenizer_of(state["text"]["tokens"])
        return {"inputs": lambda chosen: tokenizer.transform(texts(chosen))}
    bag = bag_of(state["text"]["bag"])
    ids, weights = _halves(lambda chosen: bag.transform(texts(chosen)))
    return {"inputs": ids, "weights": weights}


def _whole_series(
    state: State, _family: str, samples: SampleRows, payload: np.ndarray, rows: np.ndarray
) -> Readers:
    series, scaler = state["series"], scaler_of(state["series"])
    fewest = 1 if series["has_padding"] else series["max_length"]
    short = int(np.sum(samples.lengths[rows] < fewest))
    if short:
        raise NotReadable(f"{short} of {len(rows)} series have fewer than the {fewest} steps it reads")
    places = _places(scaler.channels, samples)

    def read(chosen: np.ndarray) -> np.ndarray:
        starts = samples.starts[rows[chosen]]
        stops = starts + samples.lengths[rows[chosen]]
        parts = [payload[start:stop][:, places] for start, stop in zip(starts, stops, strict=True)]
        return padded([scaler.transform_whole(part) for part in parts], series["max_length"])

    return {"inputs": read}


def _windows(
    state: State, test: JudgedRows, samples: SampleRows, payload: np.ndarray, scratch: Path
) -> Readers:
    windows, timeline = state["windows"], test.timeline
    if timeline is None:
        raise TypeError("Windows have a timeline. Expected one. Received: None.")
    length, side = windows["length"], window_side_of(windows["side"])
    history = length if windows["horizon"] else 0
    short = int(np.sum(timeline.starts < history))
    if short:
        raise NotReadable(
            f"{short} of {len(test)} windows have less history than the {length} steps it reads"
        )
    clocks = {True: "UTC", False: "wall-clock time"}
    before, now = bool(windows.get("utc")), all(map(has_offset, samples.times))
    if side.calendar and before != now:
        raise NotReadable(f"its calendar is one of {clocks[before]}, today's times are {clocks[now]}")
    positions = samples.starts[timeline.series] + timeline.starts
    index = WindowIndex(positions, np.ones(len(positions), np.int64), 1)
    readers: Readers = {}
    if length:
        steps = np.arange(-length, 0) if history else np.arange(length)
        series = _scaled_series(state, np.unique(timeline.series), samples, payload, scratch)
        readers["inputs"] = window_series(series, index, steps)
    static, categories = _side_of_series(state, samples)
    num_side, _sizes = side_shape(state)
    if num_side:
        calendar = (
            [float(seconds_of(time)) for time in samples.times] if side.calendar else [0.0] * len(samples)
        )
        readers["side" if length else "inputs"] = window_side(
            payload,
            index,
            side,
            channels=samples.channels,
            starts=samples.starts,
            seconds=np.array(calendar),
            step_seconds=samples.step_seconds,
            static=static if num_side > len(side.names) else None,
        )
    if categories.shape[1]:
        readers["categories"] = series_of_windows(rows_of(categories), index, samples.starts)
    return readers


def _scaled_series(
    state: State, series: np.ndarray, samples: SampleRows, payload: np.ndarray, scratch: Path
) -> np.ndarray:
    """Write the series that are asked about to scale, each at its place in the payload; the rest stays a hole."""
    scaler = scaler_of(state["series"])
    places = _places(scaler.channels, samples)
    if places != list(range(len(places))):
        payload = _chosen_columns(payload, places, scratch / "columns.npy")
    starts = samples.starts[series].tolist()
    stops = (samples.starts[series] + samples.lengths[series]).tolist()
    names = [samples.sample_ids[row] for row in series]
    path = scratch / "series.npy"
    write_series(path, payload, list(zip(names, starts, stops, strict=True)), scaler, cut_by_time=True)
    return mapped(path, "features")


def _chosen_columns(payload: np.ndarray, places: Sequence[int], path: Path) -> np.ndarray:
    """Write some columns of the payload in another order, a chunk at a time."""
    shape = (len(payload), len(places))
    written = np.lib.format.open_memmap(path, mode="w+", dtype=payload.dtype, shape=shape)
    reserve(path)
    first = 0
    for chunk in steps_of(payload, 0, len(payload), payload.shape[1]):
        written[first : first + len(chunk)] = chunk[:, list(places)]
        first += len(chunk)
    return written


def _places(channels: Sequence[str], samples: SampleRows) -> list[int]:
    return [samples.channels.index(name) for name in channels]


def _side(state: State, samples: SampleRows, rows: np.ndarray) -> Readers:
    """Return readers of side features of whole samples."""
    if not state.get("side"):
        return {}
    side = side_features_of(state["side"])
    numbers, categories = _halves(lambda chosen: _side_arrays(side, samples, rows[chosen]))
    found = {"side": (numbers, side.names), "categories": (categories, side.category_sizes)}
    return {name: reader for name, (reader, width) in found.items() if width}


def _side_of_series(state: State, samples: SampleRows) -> tuple[np.ndarray, np.ndarray]:
    """Return side features of all series, one row per series."""
    count = len(samples)
    if not state.get("side"):
        return np.empty((count, 0), np.float32), np.empty((count, 0), np.int32)
    return _side_arrays(side_features_of(state["side"]), samples, np.arange(count))


def _side_arrays(side: SideFeatures, samples: SampleRows, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    columns = {name: [values[row] for row in rows.tolist()] for name, values in samples.side.items()}
    return side.transform(columns, len(rows))


def _halves(make: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> tuple[Reader, Reader]:
    """Return readers of two arrays that are made together, once per batch."""
    last: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}

    def both(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        key = rows.tobytes()
        if key not in last:
            made = make(rows)
            last.clear()
            last[key] = made
        return last[key]

    return lambda rows: both(rows)[0], lambda rows: both(rows)[1]
