"""One record, as a CSV row or a JSON object has it, as the arrays that the features stage made of such samples.

By kind of data a record holds

- `image`: the bytes of an image file (or these as base64 text), brought to size as `data` of params.yaml said; or
  pixels 0 to 255 of the model's own shape (height, width, channels);
- `text`: a string;
- `series`: the steps, each a list of its channels, or a plain list of numbers where there is one channel;
  null, NaN or "" is missing. Windows: at least `length` steps right before the step to predict (anomalies:
  the steps themselves); those further back only help to fill gaps;
- `time`: windows with calendar features: ISO 8601, of the first step to predict; with an offset if the times of
  the source had one, without if they had none;
- `known`: windows: what is known about that step, by column;
- `id`: windows: which series it is, where series have scales of their own; of one that was not there at
  training `pooled_scale: true` takes the scale of all;
- `side`: side features by column.

What is missing is treated as in training; what is malformed is refused, all problems at once.
"""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from pipeline.inputs.arrays import Named, window_inputs
from pipeline.inputs.from_state import from_samples, from_side
from pipeline.inputs.specs import InputKind
from pipeline.monitoring.measured import Kept
from pipeline.preprocessing.series import Scale, SeriesScaler, scaler_of
from pipeline.preprocessing.side import has_offset, seconds_of, window_side_of
from pipeline.preprocessing.statistics import exact_statistics
from pipeline.runtime.errors import DataRefused

Record = Mapping[str, Any]
NAMED = 10
"""Series that a message names."""
SHOWN = 60
"""Characters of a value that a message shows."""


def model_inputs_of(record: Record, state: Mapping[str, Any], kinds: Sequence[InputKind]) -> Named:
    """Return the inputs of a model for one record; see `Transform`, which is quicker for many."""
    return Transform(state, kinds)(record)


class Transform:
    """From records to inputs of one model, by the state of the features stage alone.

    Args:
        state: Content of the `state.json` that travels with the model.
        kinds: What the model reads, see `pipeline.inputs.specs.kinds_read`.
    """

    def __init__(self, state: Mapping[str, Any], kinds: Sequence[InputKind]) -> None:
        self._beside = from_side(state)
        self._main = _windows(state) if state.get("windows") else _whole(state, kinds)

    def __call__(self, record: Record) -> Named:
        """Return name of input to array, first dimension 1.

        Raises:
            DataRefused: The record is not as the model's data was; names what and all of it.
        """
        of_main, of_side = _Problems(), _Problems()
        with np.errstate(over="ignore"):
            beside = of_side.noted(lambda: self._beside(_columns(record, "side"), 1))
            made = of_main.noted(lambda: self._main(record, beside or {}))
        if made is None or of_side.found:
            raise DataRefused("\n".join([*of_main.found, *of_side.found]))
        large = sorted(
            name for name, array in made.items() if array.dtype.kind == "f" and not np.isfinite(array).all()
        )
        if large:  # of a number that was finite, once it is to scale: behind a ReLU nobody would notice
            raise _refused(
                "numbers", "those of the range of the model's data", f"infinite ones in {', '.join(large)}"
            )
        return made


T = TypeVar("T")


class _Problems:
    """Refusals that wait until all of a record was looked at."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def noted(self, read: Callable[[], T]) -> T | None:
        """Return what was read, or None after it was refused."""
        try:
            return read()
        except DataRefused as error:
            self.found.append(str(error))
            return None


def _whole(state: Mapping[str, Any], kinds: Sequence[InputKind]) -> Callable[[Record, Named], Named]:
    read = {"image": _image, "text": _text, "series": _whole_series}[state.get("payload", "image")](state)
    make = from_samples(state, kinds)

    def made(record: Record, beside: Named) -> Named:
        sample = read(record)
        if isinstance(record, Kept):
            record.sample = sample
        return make([sample]) | beside

    return made


def _windows(state: Mapping[str, Any]) -> Callable[[Record, Named], Named]:
    scaler, windows = scaler_of(state["series"]), state["windows"]
    side, length = window_side_of(windows["side"]), windows["length"]
    utc, pooled = windows.get("utc", False), state["series"].get("pooled", ())

    def make(record: Record, beside: Named) -> Named:
        problems = _Problems()
        seconds: int | None = 0
        known: dict[str, np.ndarray] = {}
        values = scale = None
        if side.calendar or side.columns:
            # Known columns are float32 in the payload; so must their values be here.
            given = problems.noted(lambda: _columns(record, "known")) or {}
            read = {name: problems.noted(partial(_float32, name, value)) for name, value in given.items()}
            known = {name: value for name, value in read.items() if value is not None}
            seconds = problems.noted(lambda: _seconds(record, utc=utc)) if side.calendar else 0
        if length:
            values = problems.noted(lambda: _series(record, scaler.channels, length))
            scale = problems.noted(lambda: _scale(record, scaler, pooled))
            if isinstance(record, Kept) and values is not None:
                record.sample = values[-length:]
        if problems.found:
            raise DataRefused("\n".join(problems.found))
        steps = None if values is None or scale is None else scaler.transform(values, scale)[None, -length:]
        return window_inputs(side, steps, np.array([seconds or 0]), known, beside)

    return make


def _image(state: Mapping[str, Any]) -> Callable[[Record], np.ndarray]:
    shape = tuple(state["image"]["shape"])
    made_from = state.get("data") or {}

    def read(record: Record) -> np.ndarray:
        given = _needed(record, "image")
        if isinstance(given, bytes | str):
            pixels, size = _fitted(_content(given), shape, made_from)
            if isinstance(record, Kept):
                record.size = size
            return pixels
        try:
            pixels = np.asarray(given)
        except ValueError:  # ragged
            pixels = np.empty(0)
        if pixels.shape != shape or not _are_pixels(pixels):
            raise _refused("image", f"whole numbers 0 to 255, shape {shape}", f"shape {pixels.shape}")
        return pixels.astype(np.uint8)

    return read


def _content(given: bytes | str) -> bytes:
    if isinstance(given, bytes):
        return given
    try:
        return base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refused("image", "an image file as base64 text", repr(given[:40])) from error


def _fitted(
    content: bytes, shape: tuple[int, int, int], made_from: Mapping[str, Any]
) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the pixels of an image file as the ingest stage made those that the model knows, or refuse it as it did.

    Beside them its own height and width.

    Args:
        content: Of the file.
        shape: Of what the model reads.
        made_from: `data` of the state: how files became samples.
    """
    from pipeline.ingest.images import UndecodableImage, decode, oddities, resized  # Pillow, for images alone

    grey_range, policy = made_from.get("grey_range"), made_from.get("policy") or {}
    try:
        image = decode(content, tuple(grey_range) if grey_range else None)
    except UndecodableImage as error:
        raise _refused("image", "an intact image file", str(error)) from error
    odd = oddities(image, shape[:2], shape[2])
    refused = [name for name in odd if policy.get(name) == "reject"]
    # Where params.yaml named no size or channels all images had the same, and nothing is changed unasked.
    own = image.pixels.shape
    if made_from.get("image_size") is None and own[:2] != shape[:2]:
        refused.append("size")
    if made_from.get("channels") is None and own[2] != shape[2]:
        refused.append("channels")
    if refused:
        raise _refused(
            "image",
            f"{shape[0]} x {shape[1]} pixels, {shape[2]} channels, as the model's data had them",
            f"{own[0]} x {own[1]} pixels, mode {image.mode} (refused for {', '.join(dict.fromkeys(refused))})",
        )
    pixels = resized(image.pixels, shape[:2], shape[2], made_from.get("resize") or "stretch")
    return pixels, (own[0], own[1])


def _are_pixels(array: np.ndarray) -> bool:
    return array.dtype.kind in "iu" and bool(((array >= 0) & (array <= 255)).all())


def _text(_state: Mapping[str, Any]) -> Callable[[Record], str]:
    def read(record: Record) -> str:
        text = _needed(record, "text")
        if not isinstance(text, str):
            raise _refused("text", "a string", f"{type(text).__name__} {text!r}")
        return text

    return read


def _whole_series(state: Mapping[str, Any]) -> Callable[[Record], np.ndarray]:
    series = state["series"]
    channels, fewest = tuple(series["channels"]), 1 if series["has_padding"] else series["max_length"]
    return lambda record: _series(record, channels, fewest)


def _series(record: Record, channels: tuple[str, ...], fewest: int) -> np.ndarray:
    rows = _needed(record, "series")
    try:
        with np.errstate(over="ignore"):  # seen below
            values = np.array([_step_values(step) for step in rows], np.float64).astype(np.float32)
    except (TypeError, ValueError, OverflowError):
        values = np.empty((0, 0), np.float32)
    if values.ndim != 2 or values.shape[1] != len(channels) or len(values) < fewest:
        raise _refused(
            "series",
            f"at least {fewest} steps, each a list of {len(channels)} numbers ({', '.join(channels)})",
            f"shape {values.shape}" if values.size else "something that is no table of numbers",
        )
    if np.isinf(values).any():
        raise _refused("series", "finite numbers, or null where one is missing", "an infinite one")
    return values


def _step_values(step: Any) -> list[float]:
    values = step if isinstance(step, list | tuple | np.ndarray) else [step]
    return [np.nan if value is None or value == "" else _number(value) for value in values]


def _number(value: Any) -> float:
    """Return what a number or its text is; Python would also take true for 1, and 1_000 for 1000."""
    if isinstance(value, bool | np.bool_) or (isinstance(value, str) and "_" in value):
        raise TypeError
    return float(value)


def _float32(name: str, value: Any) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):
            number = np.float32(np.nan if value is None or value == "" else _number(value))
    except (TypeError, ValueError, OverflowError):
        number = np.float32(np.inf)
    if np.isinf(number):
        raise _refused(f"known.{name}", "a finite number, or null where it is missing", repr(value))
    return np.array([number])


def _scale(record: Record, scaler: SeriesScaler, pooled: Sequence[str]) -> Scale:
    """Return the scale of the record's series; that of all only where it is known to have none of its own."""
    name, known = series_name(record), sorted([*scaler.of_series, *pooled])
    if known and name not in known and record.get("pooled_scale") is not True:
        raise _refused(
            "id",
            f"one of {', '.join(known[:NAMED])}{' ...' if len(known) > NAMED else ''}, since each of these series has "
            "a scale of its own, or pooled_scale: true beside it, for a new one the scale of all",
            f"id={name!r}",
        )
    return scaler.scale(str(name))


def means_read(record: Record, state: Mapping[str, Any]) -> np.ndarray:
    """Return the mean of each channel in the scale that the series of a record is read by, shape (channels,).

    Raises:
        DataRefused: The record is not as the model's data was.
    """
    series = state["series"]
    scaler = scaler_of(series)
    if state.get("windows"):
        return _scale(record, scaler, series.get("pooled", ()))[0]
    means = scaler.scale()[0]
    if scaler.scaling != "series":
        return means
    values = _series(record, scaler.channels, 1)
    own = exact_statistics(lambda: [values], len(means)).mean
    return np.where(np.isnan(values).all(axis=0), means, own)


def series_name(record: Record) -> str | None:
    """Return which series a record is of; None where it does not say.

    Raises:
        DataRefused: By something that is no name.
    """
    name = record.get("id")
    if name is not None and (isinstance(name, bool) or not isinstance(name, str | int)):
        raise _refused("id", "the name of a series", f"id={name!r}"[:100])
    return None if name is None else str(name)


def _seconds(record: Record, *, utc: bool) -> int:
    time = str(_needed(record, "time"))
    try:
        seconds = seconds_of(time)
    except ValueError as error:
        raise DataRefused(str(error)) from error
    if has_offset(time) != utc:
        written = "with an offset (2026-11-23T14:00+01:00)" if utc else "without an offset (2026-11-23T14:00)"
        raise _refused("time", f"a time {written}, as the training data had them", f"time={time!r}")
    return seconds


def _columns(record: Record, key: str) -> dict[str, Any]:
    columns = record.get(key) or {}
    if not isinstance(columns, Mapping):
        raise _refused(key, "an object of columns and their values", type(columns).__name__)
    nested = [
        name for name, value in columns.items() if isinstance(value, list | tuple | Mapping | np.ndarray)
    ]
    if nested:
        told = [_refused(f"{key}.{name}", "one value", repr(columns[name])[:SHOWN]) for name in nested]
        raise DataRefused("\n".join(map(str, told)))
    return {name: [value] for name, value in columns.items()} if key == "side" else dict(columns)


def _needed(record: Record, key: str) -> Any:
    if record.get(key) is None:
        raise _refused(key, "it in every record", f"only {', '.join(sorted(record)) or 'an empty record'}")
    return record[key]


def _refused(key: str, expected: str, received: str) -> DataRefused:
    return DataRefused(
        f"The record's {key} is not what the model reads. Expected {expected}. Received: {received}. "
        "Mend the record."
    )
