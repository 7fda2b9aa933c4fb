"""Batch normalisation in one operation while a model trains: TensorFlow pays for each, and Keras writes it with many.

A layer stays the layer of Keras: `fuse_normalization` gives the instances of a model another `call` for training, of
which their files and their answers know nothing. What is computed is the same up to rounding (Ioffe and Szegedy, 2015).
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import keras
import tensorflow as tf

Tensor = Any


def fuse_normalization(model: keras.Model) -> None:
    """Let the batch normalisations of a model take one operation each in training; decision 42 says what that brings.

    Args:
        model: Built; its training is traced afterwards.
    """
    for layer in layers_within(model):
        if (
            isinstance(layer, keras.layers.BatchNormalization)
            and layer.compute_dtype == "float32"
            and layer.axis == -1
            and layer.scale
            and layer.center
            and not layer.renorm
        ):
            layer.call = partial(_normalized, layer)


def layers_within(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Return the layers of a model, those of models and of both directions in it among them."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from layers_within(layer)
        elif isinstance(layer, keras.layers.Bidirectional):
            yield from (layer.forward_layer, layer.backward_layer)
        else:
            yield layer


def _normalized(
    layer: keras.layers.BatchNormalization,
    inputs: Tensor,
    training: bool | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    if not training or not layer.trainable or mask is not None:
        return type(layer).call(layer, inputs, training=training, mask=mask)
    width = inputs.shape[-1]
    images = inputs if len(inputs.shape) == 4 else tf.reshape(inputs, [-1, 1, 1, width])
    outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        images, layer.gamma.value, layer.beta.value, epsilon=layer.epsilon, is_training=True
    )
    count = tf.cast(tf.size(inputs) // width, tf.float32)
    # Keras' is the variance of the batch, TensorFlow's an estimate of that of all.
    variance *= tf.maximum(count - 1.0, 1.0) / count
    for moving, found in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving.value * layer.momentum + found * (1.0 - layer.momentum))
    return outputs if images is inputs else tf.reshape(outputs, tf.shape(inputs))
