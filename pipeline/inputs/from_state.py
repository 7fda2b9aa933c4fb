"""Raw samples as a model reads them, by the state that travels with it: its own vocabulary, scales and categories.

`from_samples` and `from_side` are the one way from pixels, texts, series and side columns to the inputs of a model;
a single record (`pipeline.serving.record`) and today's rows for an older model take it. Windows are put together by
`pipeline.inputs.arrays`.

Nothing grows with the data: texts and whole series are made a batch at a time, windows are an index over one file
of scaled series.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.samples import SampleRows, Values, mapped, read_sample_rows, texts
from pipeline.data.windows import Timeline, WindowIndex
from pipeline.inputs.arrays import MAIN_INPUT, ModelInputs, Named, Reader, padded, window_reader
from pipeline.inputs.specs import InputKind, called
from pipeline.preprocessing.pieces import pieces_of
from pipeline.preprocessing.series import scaler_of, write_series
from pipeline.preprocessing.side import has_offset, side_features_of, window_side_of
from pipeline.preprocessing.texts import bag_of, tokenizer_of
from pipeline.runtime import paths

State = Mapping[str, Any]
FromSamples = Callable[[Sequence[Any]], Named]
FromSide = Callable[[Mapping[str, Values], int], Named]


class NotReadable(Exception):
    """A model cannot read today's rows in its own way."""


def from_samples(state: State, kinds: Sequence[InputKind]) -> FromSamples:
    """Return what makes the main input (and `weights` of a bag) of whole samples; of several kinds those of each.

    Args:
        state: Content of the `state.json` that travels with the model.
        kinds: What it reads, see `pipeline.inputs.specs.kinds_read`.

    Returns:
        A function of images (uint8, of the shape the model reads), texts (str), or series (float32 (steps, channels),
        channels in the order of the state, NaN where a value is missing).
    """
    # Pieces bring the one bag with them.
    made_once = [kind for kind in kinds if kind != "bag" or "pieces" not in kinds]
    makers = [(kind, _of_one_kind(state, kind)) for kind in made_once]

    def make(samples: Sequence[Any]) -> Named:
        return {
            called(name, kind, kinds): array
            for kind, made_of in makers
            for name, array in made_of(samples).items()
        }

    return make


def _of_one_kind(state: State, kind: InputKind) -> FromSamples:
    if kind == "image":
        return lambda images: {MAIN_INPUT: np.asarray(images)}
    if kind == "vector":
        from pipeline.features.images import image_features  # scikit-image, which other kinds do without

        made = state["handmade"]
        settings = made["groups"], made["edge_cell_px"], made["colour_bins"]
        return lambda images: {MAIN_INPUT: np.stack([image_features(image, *settings) for image in images])}
    if kind == "tokens":
        tokenizer = tokenizer_of(state["text"]["tokens"])
        return lambda read: {MAIN_INPUT: tokenizer.transform(read)}
    if kind == "bag":
        bag = bag_of(state["text"]["bag"])
        return lambda read: dict(zip((MAIN_INPUT, "weights"), bag.transform(read), strict=True))
    if kind == "pieces":
        pieces, beside = pieces_of(state["text"]["pieces"]), bag_of(state["text"]["bag"])
        names = ("bag", "bag_weights")
        return lambda read: {
            MAIN_INPUT: pieces.transform(read),
            **dict(zip(names, beside.transform(read), strict=True)),
        }
    scaler, longest = scaler_of(state["series"]), state["series"]["max_length"]
    return lambda series: {MAIN_INPUT: padded([scaler.transform_whole(one) for one in series], longest)}


def from_side(state: State) -> FromSide:
    """Return what makes the inputs `side` and `categories` of side columns; what a model has none of is left out.

    Args:
        state: As in `from_samples`.

    Returns:
        A function of columns by name and the number of their rows; raises `DataRefused` for what is no number.
    """
    if not state.get("side"):
        return lambda _columns, _num_rows: {}
    side = side_features_of(state["side"])

    def make(columns: Mapping[str, Values], num_rows: int) -> Named:
        made = zip(("side", "categories"), side.transform(columns, num_rows), strict=True)
        return {name: array for name, array in made if array.shape[1]}

    return make


def rebuilt_inputs(
    state: State, kinds: Sequence[InputKind], rows: np.ndarray, timeline: Timeline | None, scratch: Path
) -> ModelInputs:
    """Return what a model reads of some of today's rows; row 0 is the first of `rows`.

    Args:
        state: Content of the `state.json` that travels with the model.
        kinds: What it reads, see `pipeline.inputs.specs.kinds_read`.
        rows: Their numbers among the samples, int64, shape (num_rows,); of windows only their count matters.
        timeline: Where the windows stand; None where a row is a sample of its own.
        scratch: An empty folder for arrays that are memory-mapped, needed for as long as the inputs are used.

    Raises:
        NotReadable: A row holds fewer steps than the model reads, or its calendar is another one.
        DataRefused: A side column holds something else than it did.
        InputMissing: An earlier stage has not run; says which.
    """
    samples, payload, side = read_sample_rows(), mapped(paths.PAYLOAD_NPY, "ingest"), from_side(state)

    def beside(rows: np.ndarray) -> Named:
        chosen = rows.tolist()
        columns = {name: [values[row] for row in chosen] for name, values in samples.side.items()}
        return side(columns, len(rows))

    if state.get("windows"):
        return ModelInputs(
            len(rows), [_windows(state, timeline, samples, payload, beside=beside, scratch=scratch)]
        )
    make, raw = from_samples(state, kinds), _raw(state, samples, payload, rows)
    return ModelInputs(len(rows), [lambda chosen: make(raw(rows[chosen])) | beside(rows[chosen])])


def _raw(
    state: State, samples: SampleRows, payload: np.ndarray, rows: np.ndarray
) -> Callable[[np.ndarray], Sequence[Any]]:
    """Return what reads raw samples by row, once it is known that all of `rows` can be read."""
    kind = state.get("payload", "image")
    if kind == "image":
        return lambda chosen: payload[chosen]
    if kind == "text":
        return lambda chosen: list(texts(payload, samples.starts[chosen], samples.lengths[chosen]))
    series, columns = state["series"], _columns(state, samples)
    fewest = 1 if series["has_padding"] else series["max_length"]
    short = int(np.sum(samples.lengths[rows] < fewest))
    if short:
        raise NotReadable(f"{short} of {len(rows)} series have fewer than the {fewest} steps it reads")

    def read(chosen: np.ndarray) -> list[np.ndarray]:
        stops = samples.starts[chosen] + samples.lengths[chosen]
        ranges = zip(samples.starts[chosen], stops, strict=True)
        return [payload[start:stop][:, columns] for start, stop in ranges]

    return read


def _columns(state: State, samples: SampleRows) -> list[int]:
    """Return where today's payload has the channels of a model."""
    return [samples.channels.index(name) for name in state["series"]["channels"]]


def _windows(
    state: State,
    timeline: Timeline | None,
    samples: SampleRows,
    payload: np.ndarray,
    *,
    beside: Reader,
    scratch: Path,
) -> Reader:
    if timeline is None:
        raise TypeError("Windows have a timeline. Expected one. Received: None.")
    windows = state["windows"]
    length, calendar = windows["length"], window_side_of(windows["side"]).calendar
    short = int(np.sum(timeline.starts < length)) if windows["horizon"] else 0
    if short:
        raise NotReadable(
            f"{short} of {len(timeline)} windows have less history than the {length} steps it reads"
        )
    clocks = {True: "UTC", False: "wall-clock time"}
    before, now = bool(windows.get("utc")), all(map(has_offset, samples.times))
    if calendar and before != now:
        raise NotReadable(f"its calendar is one of {clocks[before]}, today's times are {clocks[now]}")
    series = None
    if length:  # to scale, those that are asked about; the rest stays a hole
        asked = [samples.extent(row) for row in np.unique(timeline.series).tolist()]
        path, scaler = scratch / "series.npy", scaler_of(state["series"])
        write_series(path, payload, asked, scaler, cut_by_time=True, columns=_columns(state, samples))
        series = mapped(path, "features")
    positions = samples.starts[timeline.series] + timeline.starts
    index = WindowIndex(positions, np.ones(len(positions), np.int64), 1)
    told = beside(np.arange(len(samples)))
    return window_reader(windows, index, samples, payload, series=series, beside=told)
