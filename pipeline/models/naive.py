"""Family `naive`: forecasts repeat the last value, or the last season; nothing is trained."""

import keras
from keras import layers

from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.models.layers.heads import require_forecasting
from pipeline.models.layers.inputs import begin, selected_channels


def build(input_spec: InputSpec, output_spec: OutputSpec, *, season: int = 1) -> keras.Model:
    """Return the model without weights.

    Values pass through, so that series must be scaled as targets are: features.series.scaling=channel.

    Args:
        input_spec: Of kind `series`.
        output_spec: Of task forecasting.
        season: Steps after which a series is expected to repeat itself; 1 repeats the last value.

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
    if not 1 <= season <= length:
        raise ValueError(
            f"A season does not fit into the history. Expected 1 to {length} (data.windows.length). "
            f"Received: season={season}. Lower it, or raise the length."
        )
    values = selected_channels(steps, output_spec.target_channels, "targets")
    values = layers.Cropping1D((length - season, 0), name="last_season")(values)
    repeats = -(-horizon // season)
    if repeats > 1:
        values = layers.Concatenate(axis=1, name="repeated")([values] * repeats)
    output = layers.Cropping1D((0, repeats * season - horizon), name="predictions")(values)
    return keras.Model(start.model_inputs, output, name="naive")
