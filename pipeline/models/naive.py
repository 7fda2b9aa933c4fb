"""Family `naive`: forecasts repeat the last value, or the last season; nothing is trained.

Without a season the training windows choose it: the one whose repetition errs least, in squares.
"""

from typing import Any

import keras
import numpy as np
from keras import layers

from pipeline.inputs.arrays import MAIN_INPUT, named, take, take_targets
from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.inputs.train_data import TrainData
from pipeline.models.layers.heads import require_forecasting
from pipeline.models.layers.inputs import begin, selected_channels
from pipeline.models.solvers.folds import evenly

MOST_WINDOWS = 5_000
"""Training windows that choose, evenly spaced."""
CHUNK_ROWS = 500


def build(input_spec: InputSpec, output_spec: OutputSpec, *, season: int | None = None) -> keras.Model:
    """Return the model.

    Values pass through, so that series must be scaled as targets are: features.series.scaling=channel.

    Args:
        input_spec: Of kind `series`.
        output_spec: Of task forecasting.
        season: Steps after which a series is expected to repeat itself; 1 repeats the last value. None: `solve`
            chooses it.

    Returns:
        Series in, (batch, horizon, num_targets) out: the value `season` steps before, the values of the last
        season over and over where the horizon is longer.

    Raises:
        ValueError: Another task, or a history shorter than a season.
    """
    require_forecasting(output_spec, "Family naive")
    start = begin(input_spec, ("series",))
    steps = start.hidden
    length, horizon = steps.shape[1], output_spec.horizon
    values = selected_channels(steps, output_spec.target_channels, "targets")
    if season is None:
        past = layers.Permute((2, 1), name="targets_first")(values)
        ahead = layers.Dense(horizon, use_bias=False, name="repeated")(past)
        output = layers.Permute((2, 1), name="predictions")(ahead)
        model = keras.Model(start.model_inputs, output, name="naive")
        model.trainable = False
        return model
    if not 1 <= season <= length:
        raise ValueError(
            f"A season does not fit into the history. Expected 1 to {length} (data.windows.length). "
            f"Received: season={season}. Lower it, or raise the length."
        )
    values = layers.Cropping1D((length - season, 0), name="last_season")(values)
    repeats = -(-horizon // season)
    if repeats > 1:
        values = layers.Concatenate(axis=1, name="repeated")([values] * repeats)
    output = layers.Cropping1D((0, repeats * season - horizon), name="predictions")(values)
    return keras.Model(start.model_inputs, output, name="naive")


def solve(
    model: keras.Model, data: TrainData, *, season: int | None = None, **_settings: Any
) -> dict[str, Any]:
    """Choose the season of a model that was built without one.

    Args:
        model: From `build` with the same settings; its weights are set.
        data: Its training rows are read, and no other.
        season: As for `build`; one that is given is left as it is.

    Returns:
        The season.
    """
    if season is not None:
        return {"season": season}
    length, horizon = data.input_spec.shape[0], data.output_spec.horizon
    rows = data.train_rows[evenly(len(data.train_rows), MOST_WINDOWS)]
    errors = np.zeros(length)
    for first in range(0, len(rows), CHUNK_ROWS):
        part = rows[first : first + CHUNK_ROWS]
        past = named(take(data.inputs, part))[MAIN_INPUT][..., list(data.output_spec.target_channels)]
        ahead = take_targets(data.inputs, data.targets, part)
        for steps in range(1, length + 1):
            said = past[:, _places(length, horizon, steps)]
            errors[steps - 1] += float(np.square(said - ahead, dtype=np.float64).sum())
    best = int(errors.argmin()) + 1
    kernel = np.zeros((length, horizon), np.float32)
    kernel[_places(length, horizon, best), np.arange(horizon)] = 1
    model.get_layer("repeated").set_weights([kernel])
    return {"season": best}


def _places(length: int, horizon: int, season: int) -> np.ndarray:
    """Return which step of the history each step ahead repeats."""
    return length - season + np.arange(horizon) % season
