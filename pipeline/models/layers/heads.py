"""How every model ends, so that any family can be served, scored and compared like any other.

Two classes: one sigmoid, the probability of the second class. More: softmax. Several labels per sample: one sigmoid
each. Regression: one number per
target. Forecasting: one per step ahead and target. Numbers are in units of the training deviation.
"""

import keras
from keras import layers

from pipeline.inputs.specs import OutputSpec
from pipeline.models.layers.blocks import dense_block, l2_penalty
from pipeline.models.layers.inputs import Start, selected_channels, side_features


def num_outputs(spec: OutputSpec) -> int:
    """Return how many numbers the last layer with weights gives.

    Raises:
        ValueError: Task anomaly, whose answer is a reconstruction.
    """
    if spec.task == "multilabel":
        return spec.num_classes
    if spec.task == "classification":
        return 1 if spec.num_classes == 2 else spec.num_classes
    if spec.task == "anomaly":
        raise ValueError(
            "This family reconstructs nothing. Expected classification, regression or forecasting. Received: "
            "task=anomaly. Use family autoencoder or pca."
        )
    return spec.horizon * spec.num_targets


def answer(
    family: str,
    start: Start,
    hidden: keras.KerasTensor,
    spec: OutputSpec,
    *,
    l2: float,
    fusion_units: tuple[int, ...] = (),
    output_activation: str = "linear",
    last: keras.KerasTensor | None = None,
) -> keras.Model:
    """Return the model that answers from `hidden`.

    Args:
        family: Becomes the name of the model.
        start: Its inputs.
        hidden: (batch, units), what the family made of its inputs, side features joined.
        spec: What is asked.
        l2: Strength of the penalty on kernels.
        fusion_units: Width of each dense layer before the output.
        output_activation: `linear` or `tanh`; regression and forecasting.
        last: As for `finished`.
    """
    hidden = fused(hidden, fusion_units, l2)
    raw = layers.Dense(num_outputs(spec), kernel_regularizer=l2_penalty(l2), name=raw_name(spec))(hidden)
    return finished(family, start, raw, spec, output_activation=output_activation, last=last)


def fused(hidden: keras.KerasTensor, fusion_units: tuple[int, ...], l2: float) -> keras.KerasTensor:
    """Return `hidden` after dense layers of those widths, with relu."""
    for index, width in enumerate(fusion_units):
        hidden = dense_block(
            hidden,
            width,
            name=f"fusion_{index}",
            activation="relu",
            batch_normalization=False,
            dropout=0.0,
            l2=l2,
        )
    return hidden


def raw_name(spec: OutputSpec) -> str:
    """Return the name of the last layer with weights."""
    return "logits" if spec.classes else "values"


def with_side_features(
    raw: keras.KerasTensor, start: Start, spec: OutputSpec, l2: float
) -> keras.KerasTensor:
    """Return `raw` (batch, `num_outputs(spec)`) plus a linear map of all side features, as far as there are."""
    parts = side_features(start)
    if not parts:
        return raw
    side = parts[0] if len(parts) == 1 else layers.Concatenate(name="joined")(parts)
    of_side = layers.Dense(
        num_outputs(spec), use_bias=False, kernel_regularizer=l2_penalty(l2), name="of_side_features"
    )(side)
    return layers.Add(name="with_side_features")([raw, of_side])


def past_per_channel(hidden: keras.KerasTensor, spec: OutputSpec) -> keras.KerasTensor:
    """Return the past of each target alone, (batch, num_targets, length), from (batch, length, channels).

    Dense layers act on the last axis, so that all targets share their weights: of seven channels and a
    thousand windows more is learned about the shape of a day than about which channel follows which.
    """
    require_forecasting(spec, "per_channel")
    history = selected_channels(hidden, spec.target_channels, "target_history")
    return layers.Permute((2, 1), name="targets_first")(history)


def ahead_per_channel(
    hidden: keras.KerasTensor, start: Start, spec: OutputSpec, l2: float
) -> keras.KerasTensor:
    """Return (batch, horizon * num_targets) from (batch, num_targets, units); side features are added at the end."""
    ahead = layers.Dense(spec.horizon, kernel_regularizer=l2_penalty(l2), name=raw_name(spec))(hidden)
    raw = layers.Flatten(name="flatten")(layers.Permute((2, 1), name="steps_first")(ahead))
    return with_side_features(raw, start, spec, l2)


def finished(
    family: str,
    start: Start,
    raw: keras.KerasTensor,
    spec: OutputSpec,
    *,
    output_activation: str = "linear",
    last: keras.KerasTensor | None = None,
) -> keras.Model:
    """Return the model whose last layer is `probabilities` or `predictions`.

    Args:
        family: Becomes the name of the model.
        start: Its inputs.
        raw: (batch, `num_outputs(spec)`).
        spec: What is asked.
        output_activation: `linear` or `tanh`; regression and forecasting.
        last: Forecasting: the last step of the series (batch, 1, channels), which the answer is added to.

    Returns:
        Probabilities (batch, num_classes), of two classes (batch, 1); (batch, num_targets); or
        (batch, horizon, num_targets).
    """
    if spec.classes:
        kind = "sigmoid" if spec.num_classes == 2 or spec.task == "multilabel" else "softmax"
        output = layers.Activation(kind, name="probabilities")(raw)
    elif spec.task == "regression":
        output = layers.Activation(output_activation, name="predictions")(raw)
    else:
        output = _forecast(layers.Activation(output_activation, name="activated")(raw), spec, last)
    return keras.Model(start.model_inputs, output, name=family)


def from_last(hidden: keras.KerasTensor, last: keras.KerasTensor, spec: OutputSpec) -> keras.KerasTensor:
    """Return forecasts that add `hidden` (batch, horizon, num_targets) to the last value of each target."""
    targets = selected_channels(last, spec.target_channels, "last_targets")
    flat = layers.Flatten(name="last_targets_flat")(targets)
    ahead = layers.RepeatVector(spec.horizon, name="last_ahead")(flat)
    return layers.Add(name="predictions")([hidden, ahead])


def _forecast(
    hidden: keras.KerasTensor, spec: OutputSpec, last: keras.KerasTensor | None
) -> keras.KerasTensor:
    name = "predictions" if last is None else "changes"
    hidden = layers.Reshape((spec.horizon, spec.num_targets), name=name)(hidden)
    return hidden if last is None else from_last(hidden, last, spec)


def require_forecasting(spec: OutputSpec, setting: str) -> None:
    """Check that a setting for forecasts alone meets one.

    Raises:
        ValueError: It does not.
    """
    if spec.task != "forecasting":
        raise ValueError(
            f"{setting} is for forecasts. Expected task=forecasting. Received: task={spec.task}. Set it to false."
        )
