"""Pieces that several families are built from: dense blocks, dropout, and pooling that passes over padding.

All layers carry names of their own: Keras numbers unnamed layers through the life of the process, and
the bytes of a saved model would tell how many were built before.
"""

import keras
from keras import layers

BATCH_NORMALIZATION_MOMENTUM = 0.9
"""Keras' 0.99 forgets the start after some 500 steps; small data sets train for fewer per epoch than that."""
NEVER = 1e9
"""Taken off the score of a padded step, so that its share under a softmax is exactly 0 in float32."""


def dense_block(
    hidden: keras.KerasTensor,
    units: int,
    *,
    name: str,
    activation: str,
    batch_normalization: bool,
    dropout: float,
    l2: float,
) -> keras.KerasTensor:
    """Return `hidden` after a dense layer, normalisation, activation and dropout.

    Args:
        hidden: Shape (batch, features).
        units: Width of the layer.
        name: First part of the names of its layers.
        activation: `relu`, `sigmoid` or `tanh`.
        batch_normalization: Whether to normalise before the activation.
        dropout: Share of outputs set to 0 while training; 0 adds no layer.
        l2: Strength of the penalty on the kernel.
    """
    hidden = layers.Dense(
        units,
        use_bias=not batch_normalization,
        kernel_initializer=initializer(activation),
        kernel_regularizer=l2_penalty(l2),
        name=name,
    )(hidden)
    hidden = normalized_activation(hidden, name, activation, batch_normalization)
    return dropped(hidden, dropout, f"{name}_dropout")


def normalized_activation(
    hidden: keras.KerasTensor,
    name: str,
    activation: str,
    batch_normalization: bool,
    mask: keras.KerasTensor | None = None,
) -> keras.KerasTensor:
    """Return `hidden` after batch normalisation, where wanted, and the activation.

    Args:
        hidden: Shape (batch, ..., features).
        name: First part of the names of its layers.
        activation: `relu`, `sigmoid` or `tanh`.
        batch_normalization: Whether to normalise before the activation.
        mask: (batch, steps), 0 for steps that must not count in the mean and variance of a batch.
    """
    if batch_normalization:
        normalization = layers.BatchNormalization(
            momentum=BATCH_NORMALIZATION_MOMENTUM, name=f"{name}_normalization"
        )
        hidden = normalization(hidden) if mask is None else normalization(hidden, mask=mask)
    return layers.Activation(activation, name=f"{name}_activation")(hidden)


def dropped(hidden: keras.KerasTensor, dropout: float, name: str) -> keras.KerasTensor:
    """Return `hidden` after dropout; a share of 0 adds no layer."""
    return layers.Dropout(dropout, name=name)(hidden) if dropout else hidden


def initializer(activation: str) -> str:
    """Return the kernel initialiser that keeps the variance of signals under this activation."""
    return "he_normal" if activation == "relu" else "glorot_uniform"


def l2_penalty(strength: float) -> keras.regularizers.Regularizer | None:
    """Return the L2 penalty of that strength, None for 0."""
    return keras.regularizers.L2(strength) if strength else None


def step_mask(present: keras.KerasTensor | None, name: str = "mask") -> keras.KerasTensor | None:
    """Return (batch, steps) of ones and zeros from (batch, steps, 1); None, where nothing is padded, stays."""
    return None if present is None else layers.Reshape((present.shape[1],), name=name)(present)


def only_present(
    hidden: keras.KerasTensor, present: keras.KerasTensor | None, name: str
) -> keras.KerasTensor:
    """Return `hidden` with padded steps at 0, and without the mask that a layer may have hung on it.

    The mask goes because Keras warns at each layer that knows no masks; a product with a tensor that has
    none drops it without a word.
    """
    return hidden if present is None else layers.Multiply(name=name)([hidden, present])


def mean_over_steps(
    hidden: keras.KerasTensor,
    present: keras.KerasTensor | None,
    name: str,
    scores: keras.KerasTensor | None = None,
) -> keras.KerasTensor:
    """Return the mean over all steps that are no padding, weighted by the softmax of their scores.

    Args:
        hidden: Shape (batch, steps, features).
        present: (batch, steps, 1), 0 for padding; None: there is none.
        name: Of the layer that ends it, and first part of the others' names.
        scores: (batch, steps); None weighs all steps alike.

    Returns:
        Shape (batch, features). Where all steps are padding, the mean of what stands there.
    """
    if present is None and scores is None:
        return layers.GlobalAveragePooling1D(name=name)(hidden)
    if present is not None:
        penalty = _absent(step_mask(present, f"{name}_mask"), -NEVER, name)
        scores = penalty if scores is None else layers.Add(name=f"{name}_masked_scores")([scores, penalty])
    weights = layers.Softmax(name=f"{name}_weights")(scores)
    return layers.Dot(axes=(1, 1), name=name)([hidden, weights])


def max_over_steps(
    hidden: keras.KerasTensor, present: keras.KerasTensor | None, name: str
) -> keras.KerasTensor:
    """Return the largest value of each feature over all steps that are no padding, (batch, features).

    Args:
        hidden: (batch, steps, features), not below -1, which holds for relu, sigmoid and tanh; 0 at padding.
        present: (batch, steps, 1), 0 for padding; None: there is none.
        name: Of the layer that ends it, and first part of the others' names.
    """
    if present is not None:
        hidden = layers.Add(name=f"{name}_masked")([hidden, _absent(present, -1.0, name)])
    return layers.GlobalMaxPooling1D(name=name)(hidden)


def _absent(present: keras.KerasTensor, value: float, name: str) -> keras.KerasTensor:
    """Return 0 where `present` is 1, and `value` where it is 0."""
    flipped = layers.Rescaling(-1.0, offset=1.0, name=f"{name}_flipped")(present)
    # The ReLU changes nothing but the order of sums: without it TensorFlow's optimiser of graphs computes
    # (score + 1e9) - 1e9, and float32 has no digit left for the score.
    absent = layers.ReLU(name=f"{name}_absent")(flipped)
    return layers.Rescaling(value, name=f"{name}_penalty")(absent)
