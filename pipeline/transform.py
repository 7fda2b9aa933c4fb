"""One record, as a CSV row or a JSON object has it, as the arrays that the features stage made of such samples.

By kind of data a record holds

- `image`: pixels 0 to 255, (height, width, channels), brought to size as `data` of params.yaml says;
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

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.bags import bag_of
from pipeline.calendar_features import has_offset, seconds_of
from pipeline.runtime import DataRefused
from pipeline.series_features import Scale, SeriesScaler, padded, scaler_of
from pipeline.settings.families import input_kind
from pipeline.side_features import side_features_of
from pipeline.tokens import tokenizer_of
from pipeline.window_features import window_side_of

Record = Mapping[str, Any]
Arrays = dict[str, np.ndarray]
Step = Callable[[Record], Arrays]
NAMED = 10
"""Series that a message names."""


def model_inputs_of(record: Record, state: Mapping[str, Any], family: str) -> Arrays:
    """Return the inputs of a model for one record; see `Transform`, which is quicker for many."""
    return Transform(state, family)(record)


class Transform:
    """From records to inputs of one family, by the state of the features stage alone.

    Args:
        state: Content of the `state.json` that travels with the model.
        family: Name of the model's family.
    """

    def __init__(self, state: Mapping[str, Any], family: str) -> None:
        payload = state.get("payload", "image")
        self._steps: list[Step] = [_MAKERS[payload](state, family)]
        if payload != "series" and state.get("side"):
            self._steps.append(_side_step(state))

    def __call__(self, record: Record) -> Arrays:
        """Return name of input to array, first dimension 1.

        Raises:
            DataRefused: The record is not as the model's data was; names what and all of it.
        """
        arrays: Arrays = {}
        problems = []
        for step in self._steps:
            try:
                arrays |= step(record)
            except DataRefused as error:
                problems.append(str(error))
        if problems:
            raise DataRefused("\n".join(problems))
        return arrays


def _image_step(state: Mapping[str, Any], family: str) -> Step:
    shape = tuple(state["image"]["shape"])

    def step(record: Record) -> Arrays:
        pixels = np.asarray(_needed(record, "image"))
        if pixels.shape != shape or not _are_pixels(pixels):
            raise _refused("image", f"whole numbers 0 to 255, shape {shape}", f"shape {pixels.shape}")
        pixels = pixels.astype(np.uint8)
        if input_kind(family, "image") == "image":
            return {"inputs": pixels[None]}
        from pipeline.features import image_features

        made = state["handmade"]
        vector = image_features(pixels, made["groups"], made["edge_cell_px"], made["colour_bins"])
        return {"inputs": vector[None]}

    return step


def _are_pixels(array: np.ndarray) -> bool:
    return array.dtype.kind in "iu" and bool(((array >= 0) & (array <= 255)).all())


def _text_step(state: Mapping[str, Any], family: str) -> Step:
    def text_of(record: Record) -> str:
        text = _needed(record, "text")
        if not isinstance(text, str):
            raise _refused("text", "a string", f"{type(text).__name__} {text!r}")
        return text

    if input_kind(family, "text") == "bag":
        bag = bag_of(state["text"]["bag"])

        def bag_step(record: Record) -> Arrays:
            ids, weights = bag.transform([text_of(record)])
            return {"inputs": ids, "weights": weights}

        return bag_step
    tokenizer = tokenizer_of(state["text"]["tokens"])
    return lambda record: {"inputs": tokenizer.transform([text_of(record)])}


def _side_step(state: Mapping[str, Any]) -> Step:
    side = side_features_of(state["side"])

    def step(record: Record) -> Arrays:
        numbers, categories = side.transform(_columns(record, "side"), 1)
        made = {"side": numbers, "categories": categories}
        return {name: array for name, array in made.items() if array.shape[1]}

    return step


def _series_step(state: Mapping[str, Any], _family: str) -> Step:
    if state.get("windows"):
        return _window_step(state)
    scaler, series = scaler_of(state["series"]), state["series"]
    beside = _side_step(state) if state.get("side") else None

    def step(record: Record) -> Arrays:
        fewest = 1 if series["has_padding"] else series["max_length"]
        values = _series(record, scaler.channels, fewest)
        made = {"inputs": padded([scaler.transform_whole(values)], series["max_length"])}
        return made | (beside(record) if beside else {})

    return step


def _window_step(state: Mapping[str, Any]) -> Step:
    scaler, windows = scaler_of(state["series"]), state["windows"]
    side, length = window_side_of(windows["side"]), windows["length"]
    beside = _side_step(state) if state.get("side") else None
    utc, pooled = windows.get("utc", False), state["series"].get("pooled", ())

    def step(record: Record) -> Arrays:
        made: Arrays = beside(record) if beside else {}
        if side.calendar or side.columns:
            # Known columns are float32 in the payload; so must their values be here.
            known = {name: _float32(name, value) for name, value in _columns(record, "known").items()}
            seconds = np.array([_seconds(record, utc=utc) if side.calendar else 0])
            told = side.transform(seconds, known)
            made["side"] = np.hstack([told, made["side"]]) if "side" in made else told
        if not length:
            return {"inputs": made.pop("side"), **made}
        values = _series(record, scaler.channels, length)
        scaled = scaler.transform(values, _scale(record, scaler, pooled))
        return {"inputs": scaled[None, -length:], **made}

    return step


_MAKERS: dict[str, Callable[[Mapping[str, Any], str], Step]] = {
    "image": _image_step,
    "text": _text_step,
    "series": _series_step,
}


def _series(record: Record, channels: tuple[str, ...], fewest: int) -> np.ndarray:
    rows = _needed(record, "series")
    try:
        values = np.array([_step_values(step) for step in rows], np.float64).astype(np.float32)
    except (TypeError, ValueError):
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
    return [np.nan if value is None or value == "" else float(value) for value in values]


def _float32(name: str, value: Any) -> np.ndarray:
    try:
        number = np.float32(np.nan if value is None or value == "" else value)
    except (TypeError, ValueError):
        number = np.float32(np.inf)
    if np.isinf(number):
        raise _refused(f"known.{name}", "a finite number, or null where it is missing", repr(value))
    return np.array([number])


def _scale(record: Record, scaler: SeriesScaler, pooled: Sequence[str]) -> Scale:
    """Return the scale of the record's series; that of all only where it is known to have none of its own."""
    name, known = record.get("id"), sorted([*scaler.of_series, *pooled])
    if known and name not in known and record.get("pooled_scale") is not True:
        raise _refused(
            "id",
            f"one of {', '.join(known[:NAMED])}{' ...' if len(known) > NAMED else ''}, since each of these series has "
            "a scale of its own, or pooled_scale: true beside it, for a new one the scale of all",
            f"id={name!r}",
        )
    return scaler.scale(str(name))


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
