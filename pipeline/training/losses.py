"""What training minimises. Every loss takes `(targets, predictions)` and returns one number per sample."""

from collections.abc import Callable, Sequence
from functools import partial

import keras

from pipeline.inputs.specs import PAD

Loss = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]

FOCUS = 2.0
"""Exponent of the focal loss; the value of Lin et al., ICCV 2017."""
HUBER_DELTA = 1.0
"""Where Huber's loss turns from square to line, in deviations of the target."""
SMALLEST_PROBABILITY = 1e-7
"""As Keras' own clipping."""
LOSSES = {
    "classification": ("cross_entropy", "focal"),
    "multilabel": ("cross_entropy", "focal"),
    "regression": ("mse", "mae", "huber"),
    "forecasting": ("mse", "mae", "huber"),
    "anomaly": ("mse",),
}
"""Per task; the first one is `auto`."""


def create_loss(
    task: str,
    *,
    loss: str = "auto",
    class_counts: Sequence[int] = (),
    class_weights: str = "none",
    label_smoothing: float = 0.0,
) -> Loss:
    """Return the loss of a task.

    Args:
        task: `classification`, `multilabel`, `regression`, `forecasting` or `anomaly`, which stands for every
            reconstruction: that of images, series and texts.
        loss: `auto`, or one of `LOSSES` for the task.
        class_counts: Classification: training samples per class, all at least 1.
        class_weights: `none`; or `balanced`: a sample weighs num_samples / (num_classes * samples of its
            class), as in scikit-learn, so that all classes weigh the same and the mean weight is 1.
        label_smoothing: Share of each target spread evenly over all classes, in [0, 1).

    Returns:
        A function of targets and predictions, each (batch, ...). Classification: class indices (batch,), and
        probabilities (batch, num_classes), or (batch, 1) for the second of two classes. Multilabel: 0 or 1 and a
        probability per label, each (batch, num_classes). Keras computes it
        from the logits below softmax or sigmoid, so that a vanishing probability stays finite.

    Raises:
        ValueError: The loss is none of the task.
    """
    known = LOSSES[task]
    if loss not in ("auto", *known):
        raise ValueError(
            f"training.loss is none of task {task}. Expected one of auto, {', '.join(known)}. Received: loss={loss}."
        )
    if task == "anomaly":
        return reconstruction
    if task == "multilabel":
        return binary_focal if loss == "focal" else binary_cross_entropy
    if task != "classification":
        return {"auto": squared_error, "mse": squared_error, "mae": absolute_error, "huber": huber}[loss]
    weights: list[float] = []
    if class_weights == "balanced":
        weights = [sum(class_counts) / (len(class_counts) * count) for count in class_counts]
    focus = FOCUS if loss == "focal" else 0.0
    return classification(len(class_counts), label_smoothing, weights=weights, focus=focus)


def classification(
    num_classes: int, label_smoothing: float = 0.0, *, weights: Sequence[float] = (), focus: float = 0.0
) -> Loss:
    """Return the cross-entropy between class indices and probabilities.

    Args:
        num_classes: How many there are.
        label_smoothing: Share of each target spread evenly over all classes, in [0, 1).
        weights: Per class a factor; () for 1 each.
        focus: The loss is multiplied by (1 - probability of the class) to this power; 0 for cross-entropy.
    """
    return partial(
        _classification,
        num_classes=num_classes,
        weights=list(weights),
        focus=focus,
        label_smoothing=label_smoothing,
    )


def binary_cross_entropy(targets: keras.KerasTensor, probabilities: keras.KerasTensor) -> keras.KerasTensor:
    """Return the mean over labels of the cross-entropy between 0 or 1 and a probability, per sample."""
    return keras.losses.binary_crossentropy(keras.ops.cast(targets, probabilities.dtype), probabilities)


def binary_focal(targets: keras.KerasTensor, probabilities: keras.KerasTensor) -> keras.KerasTensor:
    """Return the same, each label times (1 - probability of what is true of it) to the power of `FOCUS`."""
    truth = keras.ops.cast(targets, probabilities.dtype)
    return keras.losses.binary_focal_crossentropy(truth, probabilities, gamma=FOCUS)


def squared_error(targets: keras.KerasTensor, predictions: keras.KerasTensor) -> keras.KerasTensor:
    """Return the mean squared error per sample; both hold as many numbers per sample."""
    return _per_sample(keras.ops.square(_alike(targets, predictions) - predictions))


def absolute_error(targets: keras.KerasTensor, predictions: keras.KerasTensor) -> keras.KerasTensor:
    """Return the mean absolute error per sample; both hold as many numbers per sample."""
    return _per_sample(keras.ops.abs(_alike(targets, predictions) - predictions))


def huber(targets: keras.KerasTensor, predictions: keras.KerasTensor) -> keras.KerasTensor:
    """Return Huber's loss per sample: half the square below an error of 1, the error less a half above."""
    error = keras.ops.abs(_alike(targets, predictions) - predictions)
    below = keras.ops.minimum(error, HUBER_DELTA)
    return _per_sample(below * (error - below / 2))


def reconstruction(targets: keras.KerasTensor, reconstructed: keras.KerasTensor) -> keras.KerasTensor:
    """Return how badly each sample was brought back.

    Args:
        targets: Images (batch, height, width, channels) in [0, 1]; series (batch, length, channels), `PAD`
            behind the end; or token ids (batch, max_tokens), 0 behind the end.
        reconstructed: Same shape; of texts probabilities (batch, vocabulary_size).

    Returns:
        (batch,). Images and series: mean squared error over all numbers that are no padding. Texts: mean of
        -log of the probability of each token; 0 for an empty one.
    """
    if len(targets.shape) == 4:
        return _per_sample(keras.ops.square(targets - reconstructed))
    if len(targets.shape) == 3:
        present = keras.ops.cast(targets > PAD / 2, reconstructed.dtype)
        # Before squaring: what is multiplied by 0 afterwards still passes its gradient through 1e18.
        errors = keras.ops.square(keras.ops.where(present > 0, targets - reconstructed, 0.0))
        return _total(errors) / keras.ops.maximum(_total(present), 1.0)
    ids = keras.ops.cast(targets, "int32")
    present = keras.ops.cast(ids > 0, reconstructed.dtype)
    of_tokens = keras.ops.take_along_axis(reconstructed, ids, axis=1)
    surprise = -keras.ops.log(keras.ops.maximum(of_tokens, SMALLEST_PROBABILITY))
    return _total(surprise * present) / keras.ops.maximum(_total(present), 1.0)


def _classification(
    targets: keras.KerasTensor,
    probabilities: keras.KerasTensor,
    *,
    num_classes: int,
    weights: list[float],
    focus: float,
    label_smoothing: float,
) -> keras.KerasTensor:
    classes = keras.ops.cast(keras.ops.reshape(targets, (-1,)), "int32")
    binary = probabilities.shape[-1] == 1
    loss = _cross_entropy(classes, probabilities, num_classes, label_smoothing, binary=binary)
    if focus:
        loss = loss * (1 - _of_truth(classes, probabilities, binary=binary)) ** focus
    if weights:
        loss = loss * keras.ops.take(keras.ops.convert_to_tensor(weights, dtype=loss.dtype), classes)
    return loss


def _cross_entropy(
    classes: keras.KerasTensor,
    probabilities: keras.KerasTensor,
    num_classes: int,
    label_smoothing: float,
    *,
    binary: bool,
) -> keras.KerasTensor:
    if binary:
        column = keras.ops.cast(classes[:, None], probabilities.dtype)
        return keras.losses.binary_crossentropy(column, probabilities, label_smoothing=label_smoothing)
    if label_smoothing == 0:
        return keras.losses.sparse_categorical_crossentropy(classes, probabilities)
    one_hot = keras.ops.one_hot(classes, num_classes)
    return keras.losses.categorical_crossentropy(one_hot, probabilities, label_smoothing=label_smoothing)


def _of_truth(
    classes: keras.KerasTensor, probabilities: keras.KerasTensor, *, binary: bool
) -> keras.KerasTensor:
    """Return the probability of each sample's own class, (batch,)."""
    if binary:
        positive = probabilities[:, 0]
        return keras.ops.where(classes == 1, positive, 1 - positive)
    return keras.ops.take_along_axis(probabilities, classes[:, None], axis=1)[:, 0]


def _alike(targets: keras.KerasTensor, predictions: keras.KerasTensor) -> keras.KerasTensor:
    """Return targets in the shape of the predictions: (batch, 1, targets) against (batch, targets) would broadcast."""
    return keras.ops.reshape(targets, keras.ops.shape(predictions))


def _per_sample(errors: keras.KerasTensor) -> keras.KerasTensor:
    return keras.ops.mean(errors, axis=tuple(range(1, len(errors.shape))))


def _total(numbers: keras.KerasTensor) -> keras.KerasTensor:
    return keras.ops.sum(numbers, axis=tuple(range(1, len(numbers.shape))))
