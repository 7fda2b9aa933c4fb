"""What training minimises. Every loss takes `(targets, predictions)` and returns one number per sample."""

from collections.abc import Callable

import keras

Loss = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]


def classification(num_classes: int, label_smoothing: float = 0.0) -> Loss:
    """Return the cross-entropy between class indices and softmax probabilities.

    Args:
        num_classes: Width of the prediction.
        label_smoothing: Share of each target spread evenly over all classes, in [0, 1).

    Returns:
        A function of class indices int `(batch,)` and probabilities `(batch, num_classes)`. Keras computes it
        from the logits below the softmax, so that a vanishing probability stays finite.
    """

    def cross_entropy(targets: keras.KerasTensor, probabilities: keras.KerasTensor) -> keras.KerasTensor:
        if label_smoothing == 0:
            return keras.losses.sparse_categorical_crossentropy(targets, probabilities)
        one_hot = keras.ops.one_hot(targets, num_classes)
        return keras.losses.categorical_crossentropy(one_hot, probabilities, label_smoothing=label_smoothing)

    return cross_entropy


def reconstruction(images: keras.KerasTensor, reconstructed: keras.KerasTensor) -> keras.KerasTensor:
    """Return the mean squared error per image, pixels in [0, 1].

    Args:
        images: Targets `(batch, height, width, channels)`.
        reconstructed: Same shape.
    """
    axes = tuple(range(1, len(images.shape)))
    return keras.ops.mean(keras.ops.square(images - reconstructed), axis=axes)
