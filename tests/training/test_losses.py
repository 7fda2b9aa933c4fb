"""`pipeline.training.losses` against hand-worked cases, NumPy and scikit-learn."""

import keras
import numpy as np
import pytest
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from pipeline.checks.rules import LOSSES as LOSSES_OF_THE_CHECK
from pipeline.inputs.specs import PAD
from pipeline.training import losses

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]], dtype=np.float32)
POSITIVE = np.array([[0.9], [0.2]], dtype=np.float32)
SERIES = np.arange(12, dtype=np.float32).reshape(2, 3, 2)


def classification(**settings):
    return losses.create_loss("classification", class_counts=(6, 3, 1), **settings)


def binary(**settings):
    return losses.create_loss("classification", class_counts=(6, 2), **settings)


def test_cross_entropy_by_hand():
    """Without smoothing it is -log of the probability of the class."""
    loss = classification()(np.array([0, 1], np.int32), PROBABILITIES)
    np.testing.assert_allclose([-np.log(0.7), -np.log(0.25)], np.asarray(loss), rtol=1e-6)


def test_several_labels_are_binary_cross_entropies_by_hand():
    """The mean over labels of -log of the probability of what is true of each, as scikit-learn's; focal weighs it."""
    truth, said = np.array([[1, 0], [1, 1]], np.uint8), np.array([[0.9, 0.4], [0.2, 0.5]], np.float32)
    of_truth = np.array([[0.9, 0.6], [0.2, 0.5]])
    plain = np.asarray(losses.create_loss("multilabel")(truth, said))
    np.testing.assert_allclose(-np.log(of_truth).mean(axis=1), plain, rtol=1e-5)
    assert log_loss(truth.ravel(), said.ravel()) == pytest.approx(plain.mean(), rel=1e-5)
    focal = np.asarray(losses.create_loss("multilabel", loss="focal")(truth, said))
    np.testing.assert_allclose((-np.log(of_truth) * (1 - of_truth) ** 2).mean(axis=1), focal, rtol=1e-5)


def test_label_smoothing_by_hand():
    """With 0.3 over 3 classes the true class counts 0.8 and each other one 0.1."""
    loss = classification(label_smoothing=0.3)(np.array([0, 1], np.int32), PROBABILITIES)
    first = -(0.8 * np.log(0.7) + 0.1 * np.log(0.2) + 0.1 * np.log(0.1))
    second = -(0.1 * np.log(0.25) + 0.8 * np.log(0.25) + 0.1 * np.log(0.5))
    np.testing.assert_allclose([first, second], np.asarray(loss), rtol=1e-6)


def test_one_sigmoid_by_hand():
    """The output is the probability of the second class; smoothing of 0.2 makes targets 0.9 and 0.1."""
    truth = np.array([1, 1], np.int32)
    plain = np.asarray(binary()(truth, POSITIVE))
    np.testing.assert_allclose([-np.log(0.9), -np.log(0.2)], plain, rtol=1e-6)
    assert log_loss(truth, POSITIVE[:, 0], labels=[0, 1]) == pytest.approx(plain.mean(), rel=1e-6)
    smooth = binary(label_smoothing=0.2)(truth, POSITIVE)
    expected = [-(0.9 * np.log(p) + 0.1 * np.log(1 - p)) for p in (0.9, 0.2)]
    np.testing.assert_allclose(expected, np.asarray(smooth), rtol=1e-5)


def test_balanced_weights_are_those_of_scikit_learn():
    """Samples of class c weigh n / (num_classes * n_c); the mean over a training set of those counts is 1."""
    truth = np.repeat([0, 1, 2], [6, 3, 1]).astype(np.int32)
    uniform = np.full((10, 3), 1 / 3, np.float32)
    weights = compute_class_weight("balanced", classes=np.arange(3), y=truth)
    loss = np.asarray(classification(class_weights="balanced")(truth, uniform))
    np.testing.assert_allclose(np.log(3) * weights[truth], loss, rtol=1e-5)
    assert np.log(3) == pytest.approx(loss.mean(), rel=1e-5)
    two = np.asarray(
        binary(class_weights="balanced")(np.array([0, 1], np.int32), np.full((2, 1), 0.5, "float32"))
    )
    np.testing.assert_allclose(np.log(2) * np.array([8 / 12, 8 / 4]), two, rtol=1e-5)


def test_focal_loss_by_hand():
    """The cross-entropy times the square of what is missing to certainty, for softmax and sigmoid."""
    softmax = classification(loss="focal")(np.array([0, 2], np.int32), PROBABILITIES)
    np.testing.assert_allclose(
        [-(0.3**2) * np.log(0.7), -(0.5**2) * np.log(0.5)], np.asarray(softmax), rtol=1e-5
    )
    sigmoid = binary(loss="focal")(np.array([0, 1], np.int32), POSITIVE)
    np.testing.assert_allclose(
        [-(0.9**2) * np.log(0.1), -(0.8**2) * np.log(0.2)], np.asarray(sigmoid), rtol=1e-5
    )


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_sure_and_wrong_stays_finite_in_training(label_smoothing):
    """Logits of -200 for the true class: the loss of a model is taken from its logits, here about 200."""
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Activation("softmax")(inputs))
    model.compile(
        loss=losses.create_loss("classification", class_counts=(1, 1), label_smoothing=label_smoothing)
    )
    received = model.evaluate(np.array([[-200.0, 0.0]]), np.array([0]), verbose=0)
    assert received == pytest.approx(200 * (1 - label_smoothing / 2), rel=1e-5)


@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_a_sure_and_wrong_sigmoid_stays_finite_in_training(loss):
    """A logit of -200 for a true second class costs 200, as it does with softmax."""
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Activation("sigmoid")(inputs))
    model.compile(loss=binary(loss=loss))
    assert 200 == pytest.approx(model.evaluate(np.array([[-200.0]]), np.array([1]), verbose=0), rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "of_error"),
    [
        ("auto", np.square),
        ("mse", np.square),
        ("mae", np.abs),
        ("huber", lambda e: np.where(np.abs(e) < 1, e**2 / 2, np.abs(e) - 0.5)),
    ],
)
@pytest.mark.parametrize("task", ["regression", "forecasting"])
def test_losses_of_numbers_by_numpy(task, loss, of_error):
    """One number per sample, the mean over all its targets and steps."""
    truth = np.random.default_rng(1).normal(size=(5, 4, 2)).astype(np.float32) * 2
    guess = np.zeros((5, 4, 2), np.float32)
    received = np.asarray(losses.create_loss(task, loss=loss)(truth, guess))
    np.testing.assert_allclose(of_error(truth).mean(axis=(1, 2)), received, rtol=1e-5)


def test_targets_of_windows_are_not_broadcast():
    """Targets (batch, 1, 2) against predictions (batch, 2) are compared sample by sample, also in training."""
    truth = np.array([[[1.0, 2.0]], [[3.0, 4.0]]], np.float32)
    guess = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)
    np.testing.assert_allclose([0.0, 0.5], np.asarray(losses.create_loss("regression")(truth, guess)))
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Activation("linear")(inputs))
    model.compile(loss=losses.create_loss("regression"))
    assert 0.25 == pytest.approx(model.evaluate(guess, truth, verbose=0))


def test_reconstruction_of_images_by_hand():
    """The mean over all pixels of one image of the squared difference."""
    images = np.zeros((2, 1, 2, 1), np.float32)
    guesses = np.array([[[[0.5], [0.1]]], [[[0.0], [1.0]]]], np.float32)
    loss = losses.create_loss("anomaly")(images, guesses)
    np.testing.assert_allclose([0.13, 0.5], np.asarray(loss), rtol=1e-6)


def test_reconstruction_of_series_passes_over_padding():
    """Only steps that are there count, and what a model says about padding gets no gradient."""
    import tensorflow as tf

    truth = SERIES.copy()
    truth[1, 1:] = PAD
    guess = tf.constant(SERIES + np.array([[[1.0, 2.0]]], np.float32))
    with tf.GradientTape() as tape:
        tape.watch(guess)
        loss = losses.reconstruction(tf.constant(truth), guess)
    np.testing.assert_allclose([2.5, 2.5], np.asarray(loss))
    gradient = np.asarray(tape.gradient(loss, guess))
    np.testing.assert_allclose(np.zeros((2, 2)), gradient[1, 1:])
    np.testing.assert_allclose([1.0, 2.0], gradient[1, 0])


def test_reconstruction_of_texts_by_hand():
    """The mean of -log of the probability of each token; padding, and an empty text, cost nothing."""
    ids = np.array([[1, 2, 2], [2, 0, 0], [0, 0, 0]], np.float32)
    probabilities = np.array([[0.1, 0.5, 0.4], [0.2, 0.3, 0.5], [0.2, 0.3, 0.5]], np.float32)
    expected = [-(np.log(0.5) + 2 * np.log(0.4)) / 3, -np.log(0.5), 0.0]
    received = np.asarray(losses.reconstruction(ids, probabilities))
    np.testing.assert_allclose(expected, received, rtol=1e-5)


@pytest.mark.parametrize(
    ("task", "loss"), [("classification", "mse"), ("regression", "focal"), ("anomaly", "mae")]
)
def test_a_loss_of_another_task_is_refused(task, loss):
    """The message names the losses of the task."""
    with pytest.raises(ValueError, match=rf"none of task {task}.*auto, .*Received: loss={loss}"):
        losses.create_loss(task, loss=loss)


def test_the_check_knows_the_same_losses():
    """`millrace check` lets through what `create` takes, and nothing else."""
    assert {task: ("auto", *names) for task, names in losses.LOSSES.items()} == LOSSES_OF_THE_CHECK
