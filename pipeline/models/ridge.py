"""Family `ridge`: forecasts by one linear map for all channels, each from its own past; solved, not trained.

What is mapped are distances from the last value (NLinear; Zeng et al., AAAI 2023). How much of the past is read, and
the penalty, are those that forecast the last part of train best from what is before it: windows overlap, so that
leaving out one would leave its neighbours to answer for it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from operator import add

import keras
import numpy as np
from keras import layers
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.models.layers.heads import finished, past_per_channel
from pipeline.models.layers.inputs import begin, relative_to_last

PENALTIES = tuple(float(penalty) for penalty in np.logspace(-7, 1, 17))
"""As shares of the mean square of a distance, per row: they mean the same for few windows and for many."""
ORIGINS = (0.6, 0.7, 0.8, 0.9)
"""Shares of the training windows before which is solved and behind which, up to the next, is judged."""
CHUNK_ROWS = 1024


@dataclass(frozen=True)
class Moments:
    """All that least squares needs to know of some rows, float64.

    Attributes:
        count: Rows.
        sums: Of the inputs (num_steps,) and of the targets (horizon,), one behind the other.
        products: Of each of those with each, (num_steps + horizon,) * 2.
    """

    count: int
    sums: np.ndarray
    products: np.ndarray

    def __add__(self, other: "Moments") -> "Moments":
        """Return the moments of both."""
        return Moments(self.count + other.count, self.sums + other.sums, self.products + other.products)


def build(
    input_spec: InputSpec, output_spec: OutputSpec, *, look_backs: Sequence[int] = (336,)
) -> keras.Model:
    """Return the map before it is solved; side features are not read.

    Args:
        input_spec: Of kind `series`.
        output_spec: Of task forecasting.
        look_backs: Steps of the past to choose from, each 2 or more and at most the length of a window.

    Returns:
        Series in, (batch, horizon, num_targets) out.

    Raises:
        ValueError: Another task or kind of input, or a window does not reach so far back.
    """
    if output_spec.task != "forecasting":
        raise ValueError(
            "Family ridge forecasts. Expected task=forecasting. Received: "
            f"task={output_spec.task}. Use family linear or rocket."
        )
    start = begin(input_spec, ("series",))
    length = input_spec.shape[0]
    if min(look_backs) < 2 or max(look_backs) > length:
        raise ValueError(
            f"A window does not hold what is to be read. Expected look_backs of 2 to {length}, which is "
            f"data.windows.length. Received: look_backs={list(look_backs)}. Change either."
        )
    hidden, last = relative_to_last(start)
    ahead = layers.Dense(output_spec.horizon, name="values")(past_per_channel(hidden, output_spec))
    raw = layers.Flatten(name="flatten")(layers.Permute((2, 1), name="steps_first")(ahead))
    model = finished("ridge", start, raw, output_spec, last=last)
    model.trainable = False
    model.look_backs = tuple(look_backs)  # for `fit_closed_form`; no file keeps it
    return model


def fit_closed_form(model: keras.Model, inputs: np.ndarray, targets: np.ndarray | None) -> None:
    """Choose look-back and penalty, and solve the map on all training windows.

    Args:
        model: From `build`; its weights are set, those of steps before the look-back to 0.
        inputs: All training windows in the order of time, float32 (num_train, length, channels). Of several series
            one stands behind the other, so that the last ones judge.
        targets: What follows, scaled, float32 (num_train, horizon, num_targets).

    Raises:
        ValueError: Targets are missing, or there are too few windows to judge by.
    """
    count = len(inputs)
    if targets is None or count < len(PENALTIES):
        raise ValueError(
            f"Family ridge needs windows and what follows them. Expected at least {len(PENALTIES)}. Received: "
            f"{count}, targets={'none' if targets is None else len(targets)}. Give train a longer part."
        )
    values = model.get_layer("values")
    past = keras.Model(
        model.get_layer("inputs").output,
        [values.input, model.get_layer("last_targets_flat").output],
    )
    origins = [int(share * count) for share in ORIGINS]
    # What a window predicts must be over when the next one to be judged begins.
    ends = [max(1, origin - values.units) for origin in origins]
    cuts = sorted({0, *origins, *ends, count})
    parts = {}
    with threadpool_limits(1):  # the last bits of a product depend on how many threads share it
        for first, stop in pairwise(cuts):
            parts[first] = _moments(past, inputs, targets, first, stop)
        length = values.kernel.shape[0]
        scores = np.zeros((len(model.look_backs), len(PENALTIES)))
        for origin, end, following in zip(origins, ends, [*origins[1:], count], strict=True):
            known = reduce(add, (part for first, part in parts.items() if first < end))
            judged = reduce(add, (part for first, part in parts.items() if origin <= first < following))
            for index, look_back in enumerate(model.look_backs):
                for place, (kernel, bias) in enumerate(_solved(known, length, look_back, PENALTIES)):
                    scores[index, place] += _squared_error(judged, kernel, bias)
        index, place = divmod(int(scores.argmin()), len(PENALTIES))
        whole = reduce(add, parts.values())
        [(kernel, bias)] = _solved(whole, length, model.look_backs[index], PENALTIES[place : place + 1])
    values.set_weights([kernel, bias])


def _moments(past: keras.Model, inputs: np.ndarray, targets: np.ndarray, first: int, stop: int) -> Moments:
    """Return the moments of the windows `first` to `stop`; a window has a row for each target."""
    found = []
    for start in range(first, stop, CHUNK_ROWS):
        rows = slice(start, min(start + CHUNK_ROWS, stop))
        distances, last = (np.asarray(part, np.float64) for part in past(inputs[rows], training=False))
        ahead = targets[rows].astype(np.float64).transpose(0, 2, 1) - last[:, :, None]
        both = np.concatenate([distances, ahead], axis=2).reshape(-1, distances.shape[2] + ahead.shape[2])
        found.append(Moments(len(both), both.sum(axis=0), both.T @ both))
    return reduce(add, found)


def _solved(
    known: Moments, length: int, look_back: int, penalties: Sequence[float]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the kernel (length, horizon) and the bias (horizon,) of least squares for each penalty."""
    used = slice(length - look_back, length)
    mean = known.sums / known.count
    spread = known.products / known.count - np.outer(mean, mean)
    squares, vectors = np.linalg.eigh(spread[used, used])
    size = max(float(np.trace(spread[used, used])) / look_back, np.finfo(np.float64).tiny)
    projected = vectors.T @ spread[used, length:]
    for penalty in penalties:
        kernel = np.zeros((length, spread.shape[1] - length))
        kernel[used] = vectors @ (projected / (np.maximum(squares, 0) + penalty * size)[:, None])
        yield kernel, mean[length:] - mean[:length] @ kernel


def _squared_error(judged: Moments, kernel: np.ndarray, bias: np.ndarray) -> float:
    """Return the sum of squared errors over rows and steps ahead."""
    # Of [inputs, targets, 1] the errors are a linear map.
    horizon = len(bias)
    moments = np.block(
        [[judged.products, judged.sums[:, None]], [judged.sums[None], np.array([[judged.count]])]]
    )
    to_error = np.vstack([-kernel, np.eye(horizon), -bias[None]])
    return float(np.einsum("ij,ij->", to_error, moments @ to_error))
