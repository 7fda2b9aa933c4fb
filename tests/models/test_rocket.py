"""MiniRocket against a plain writing of its definition, and against its published accuracy."""

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pipeline.inference.backend import prepare_tensorflow
from pipeline.inference.keras_files import load_model, save_model
from pipeline.inference.prediction import predict, rows_at_once
from pipeline.inputs.specs import PAD, InputSpec, OutputSpec
from pipeline.models import rocket

prepare_tensorflow(2, 7)

import keras  # noqa: E402

TWO, THREE = OutputSpec(("a", "b"), (20, 20)), OutputSpec(("a", "b", "c"), (14, 13, 13))
NUMBER = OutputSpec(task="regression", targets=("x",), target_mean=(0.0,), target_standard_deviation=(1.0,))


def solved(spec, output, inputs, targets, features=504, seed=5):
    keras.utils.set_random_seed(seed)
    model = rocket.build(spec, output, features=features)
    rocket.fit_closed_form(model, inputs, targets)
    return model


def waves(count=40, length=40, channels=1, classes=2, seed=2):
    """Return noisy waves whose frequency is their class."""
    random = np.random.default_rng(seed)
    truth = np.arange(count) % classes
    steps = np.arange(length) + random.uniform(0, 9, (count, 1))
    inputs = np.sin(steps / (1.5 + truth[:, None]))[:, :, None] + random.normal(
        0, 0.4, (count, length, channels)
    )
    return inputs.astype(np.float32), truth


def shares_of(model, series):
    """Yield for each feature of the paper, in any order: padding, dilation, kernel, bias and bounds of its share."""
    steep_of = {}
    for layer in model.layers:
        if not layer.name.startswith("convolution"):
            continue
        _, padding, dilation = layer.name.split("_")
        kernels, biases = layer.get_weights()
        for column in range(kernels.shape[2]):
            kernel = kernels[:, :, column].astype(float)
            steep = -kernel[kernel < 0][0]
            steep_of[steep] = True
            found = []
            for end in range(len(series) + 8 * int(dilation)):
                # The last of nine weights stands on step `end`.
                total = 0.0
                for weight, channel in itertools.product(range(9), range(series.shape[1])):
                    step = end - (8 - weight) * int(dilation)
                    inside = 0 <= step < len(series)
                    total += kernel[weight, channel] / steep * (series[step, channel] if inside else 0)
                middle = end - 4 * int(dilation)
                whole = end - 8 * int(dilation) >= 0 and end < len(series)
                if (padding == "same" and 0 <= middle < len(series)) or (padding == "valid" and whole):
                    found.append(total + biases[column] / steep)
            found = np.array(found) if found else -np.ones(1)
            yield (
                padding,
                int(dilation),
                kernel / steep,
                (
                    (found > 2.0**-9 * series.std()).mean() - 1e-6,
                    (found > -1e-5).mean() + 1e-6,
                ),
            )
    assert 1 == len(steep_of)


@pytest.mark.parametrize("padded", [False, True], ids=["equal lengths", "unequal lengths"])
def test_features_are_the_shares_of_the_paper(padded):
    """84 kernels of -1 and 2 at each dilation; above the bias over all steps, or those that a kernel fits around."""
    inputs, truth = waves(channels=2)
    if padded:
        inputs[::2, 31:] = PAD
        inputs[1, 10:] = PAD
    spec = InputSpec("series", (40, 2), has_padding=padded)
    model = solved(spec, TWO, inputs, truth)
    features = keras.Model(model.inputs[0], model.get_layer("features").output)(inputs[:2])
    for row in (0, 1):
        length = {0: 31, 1: 10}[row] if padded else 40
        plain = list(shares_of(model, inputs[row, :length].astype(float)))
        assert 504 == len(plain)
        received = np.asarray(features[row])
        low, high = np.array([bounds for *_, bounds in plain]).T
        assert (low <= received).all()
        assert (received <= high).all()
        assert 0.01 > (high - low).mean()
    # Each kernel six times, at dilations from 1 to (40 - 1) / 8; weights add up to 0.
    kernels = Counter(tuple(np.flatnonzero(kernel.max(axis=1) > 1)) for _, _, kernel, _ in plain)
    assert set(kernels.values()) == {6}
    assert len(kernels) == 84
    assert {1, 2, 3, 4} == {dilation for _, dilation, _, _ in plain}
    assert all(abs(kernel.sum()) < 1e-6 for _, _, kernel, _ in plain)


def test_biases_are_quantiles_of_what_kernels_say_of_training_series():
    """Of one series: the golden ratio's multiples, modulo 1, one after the other."""
    inputs, truth = waves(count=2)
    inputs[1] = inputs[0]
    model = solved(InputSpec("series", (40, 1)), TWO, inputs, truth, features=84)
    kernels, biases = model.get_layer("convolution_same_1").get_weights()
    series = np.pad(inputs[0, :, 0].astype(float), 4)
    expected = []
    for column in range(42):
        said = np.convolve(series, kernels[::-1, 0, column].astype(float), "valid")
        expected.append(-np.quantile(said, (2 * column + 1) * (1 + 5**0.5) / 2 % 1))
    assert expected == pytest.approx(biases.tolist(), rel=1e-4, abs=1e-2)


@pytest.mark.parametrize("length", [3, 9, 17, 24, 96, 1344])
def test_as_many_features_as_asked_for_at_dilations_within_the_series(length):
    """9996 in all; from 1 to (length - 1) / 8 steps, and nothing inside of what is shorter than a kernel."""
    made = rocket.dilations(length, 9996)
    assert 9996 == sum(dilation.features * (len(dilation.padded) + len(dilation.inside)) for dilation in made)
    assert max(1, (length - 1) // 8) >= max(dilation.steps for dilation in made)
    assert all(length >= 9 or not dilation.inside for dilation in made)
    assert 32 >= len(made)
    with pytest.raises(ValueError, match=r"features >= 84\. Received: features=83"):
        rocket.dilations(length, 83)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("output", [TWO, THREE], ids=["two classes", "three"])
def test_new_waves_are_told_apart_and_probabilities_hold(output, channels, tmp_path):
    """Of 400 new series nearly all; the mean of the largest probability is about the share of right answers."""
    inputs, truth = waves(channels=channels, classes=output.num_classes)
    new, expected = waves(count=400, channels=channels, classes=output.num_classes, seed=9)
    spec = InputSpec("series", (40, channels))
    model = solved(spec, output, inputs, truth)
    answers = predict(model, new, np.arange(400))
    both = np.hstack([1 - answers, answers]) if output is TWO else answers
    right = (both.argmax(axis=1) == expected).mean()
    assert right > 0.9
    assert both.max(axis=1).mean() == pytest.approx(right, abs=0.12)
    again = solved(spec, output, inputs, truth)
    save_model(model, tmp_path / "model.keras")
    save_model(again, tmp_path / "again.keras")
    assert (tmp_path / "model.keras").read_bytes() == (tmp_path / "again.keras").read_bytes()
    assert np.array_equal(answers, predict(load_model(tmp_path / "model.keras"), new, np.arange(400)))
    other = solved(spec, output, inputs, truth, seed=6)
    assert not np.array_equal(answers, predict(other, new, np.arange(400)))


def test_numbers_and_several_labels_are_answered():
    """The frequency of a wave as a number, and as two labels that may hold together."""
    random = np.random.default_rng(4)
    frequency = random.uniform(0.2, 1, (300, 1))
    inputs = np.sin(np.arange(40) * frequency + random.uniform(0, 6, (300, 1)))[:, :, None].astype(np.float32)
    scaled = (frequency - frequency.mean()) / frequency.std()
    spec = InputSpec("series", (40, 1))
    model = solved(spec, NUMBER, inputs[:200], scaled[:200].astype(np.float32))
    received = predict(model, inputs[200:], np.arange(100))
    assert 0.1 > np.mean((received - scaled[200:]) ** 2)
    labels = np.hstack([frequency > 0.4, frequency > 0.7]).astype(np.uint8)
    several = OutputSpec(("a", "b"), (150, 75), "multilabel", train_samples=200)
    model = solved(spec, several, inputs[:200], labels[:200])
    received = predict(model, inputs[200:], np.arange(100))
    assert 0.9 < ((received > 0.5) == labels[200:]).mean()
    with pytest.raises(ValueError, match="targets=none"):
        rocket.fit_closed_form(model, inputs, None)


def test_long_series_are_answered_few_at_a_time():
    """What all layers give for one batch stays below 2^29 numbers, and the answers are the same."""
    long = rocket.build(InputSpec("series", (1344, 1)), TWO)
    assert 10 < rows_at_once(long) < 60
    small = rocket.build(InputSpec("series", (24, 1)), TWO, features=84)
    assert rows_at_once(small) > 512


def archive(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return series (num_series, length, 1), to the scale of all, and class names of a `.ts` file of equal lengths."""
    lines = path.read_text().lower().partition("@data\n")[2].split()
    values, names = zip(*(line.rsplit(":", 1) for line in lines), strict=True)
    return np.array([value.split(",") for value in values], np.float32)[:, :, None], np.array(names)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "published"), [("ItalyPowerDemand", 0.963), ("GunPoint", 0.993)])
def test_published_accuracy_is_reached(name, published, benchmarks):
    """Within two and a half binomial deviations and a hundredth of MiniRocket in tsml-eval, fold 0, defaults."""
    folder = benchmarks / "ucr-a" / name
    (train, names), (test, expected) = (archive(folder / f"{name}_{part}.ts") for part in ("TRAIN", "TEST"))
    classes, truth = np.unique(names, return_inverse=True)
    mean, deviation = train.mean(), train.std()
    output = OutputSpec(tuple(classes), tuple(np.bincount(truth).tolist()))
    model = solved(InputSpec("series", train.shape[1:]), output, (train - mean) / deviation, truth, 9996)
    answers = predict(model, (test - mean) / deviation, np.arange(len(test)))
    accuracy = (classes[(answers[:, 0] > 0.5).astype(int)] == expected).mean()
    assert abs(accuracy - published) < 2.5 * (published * (1 - published) / len(test)) ** 0.5 + 0.01
