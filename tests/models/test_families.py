"""Every family keeps the same contract, and each does what its settings say."""

import importlib
import inspect
import itertools

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from pipeline.inference.backend import prepare_tensorflow
from pipeline.inference.keras_files import load_model, save_model
from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.inputs.train_data import TrainData
from pipeline.models import autoencoder, cnn, dense, linear, majority, rnn
from pipeline.models.layers.shapes import conv_output_sizes
from pipeline.params.families import FAMILIES
from tests.models.combination_cases import answers_of, learn_by_heart, trunk

prepare_tensorflow(2, 7)

import keras  # noqa: E402

IMAGES = InputSpec("image", (8, 8, 1), (0.3,), (0.25,))
VECTORS = InputSpec("vector", (5,), (1.0, 2.0, 3.0, 4.0, 5.0), (1.0, 1.0, 2.0, 2.0, 1.0))
CLASSES = OutputSpec(("a", "b", "c"), (5, 3, 2))

# One row per way to build a model: family, settings, parameters counted by hand.
WALK = {
    # 3*3*1*4+4, then 4*4*4 numbers to 3 logits
    "cnn plain": ("cnn", {"filters": [4], "batch_normalization": False, "units": 0}, 40 + 64 * 3 + 3),
    # kernels 9*4 and 9*4*6 without bias, 4 numbers per channel to normalise, average, 6 to 5 units, 5 to 3
    "cnn global average": (
        "cnn",
        {"filters": [4, 6], "head": "global_average", "units": 5, "block_dropout": 0.1},
        (36 + 16) + (216 + 24) + (30 + 20) + 18,
    ),
    # as without shortcuts; 1*4 and 4*6 for the places themselves, and 4 numbers per channel to normalise them
    "cnn shortcuts": (
        "cnn",
        {"filters": [4, 6], "head": "global_average", "units": 0, "shortcuts": True},
        (36 + 16) + (216 + 24) + (4 + 16) + (24 + 24) + 21,
    ),
    # 8 rows of 8 numbers; 4 gates of (8+6+1)*6 weights; 6 to 3
    "rnn lstm": ("rnn", {"cell": "lstm", "units": [6]}, 4 * 15 * 6 + 21),
    # 3 gates of (8+6)*6 weights and two biases; 6 to 3
    "rnn gru": ("rnn", {"cell": "gru", "units": [6]}, 3 * (14 * 6 + 12) + 21),
    # one state; both ways doubles it; the second layer reads 12 numbers
    "rnn simple both ways": (
        "rnn",
        {"cell": "simple", "units": [6, 4], "bidirectional": True},
        2 * 15 * 6 + 2 * (12 + 4 + 1) * 4 + 27,
    ),
    # encoder 64-10-4; 4 numbers per code to normalise; 4-7-3
    "autoencoder dense": (
        "autoencoder",
        {"units": [10], "codes": 4, "classifier_units": [7], "encoder": "fine_tuned"},
        650 + 44 + 16 + 35 + 24,
    ),
    # 9*1*3+3 and 9*3*5+5; 2*2*5 numbers to 4 codes; 4 to 3 logits
    "autoencoder conv": (
        "autoencoder",
        {"kind": "conv", "filters": [3, 5], "codes": 4, "classifier_units": [], "encoder": "fine_tuned"},
        30 + 140 + 84 + 16 + 15,
    ),
    # 5 features to 6 without bias, 24 to normalise, 6 to 3
    "dense": ("dense", {"units": [6]}, 30 + 24 + 21),
    "dense plain": (
        "dense",
        {"units": [6, 4], "batch_normalization": False, "activation": "tanh"},
        36 + 28 + 15,
    ),
    "linear": ("linear", {}, 64 * 3 + 3),
    # 64 numbers of the trunk to 6 units, 6 to 3
    "pretrained": ("pretrained", {"units": [6], "dropout": 0.1}, 64 * 6 + 6 + 21),
    # 5 features to 3 splits each of 2 trees for 3 classes; 3 splits to 4 leaves of each tree; 24 leaves to 3
    "boosting": ("boosting", {"iterations": 2, "leaves": 4}, 6 * 18 + 6 * 16 + 24 * 3 + 3),
    # one mean grey value to 3 logits, none of it trainable
    "majority": ("majority", {}, 6),
}
LEARNING = {name: row for name, row in WALK.items() if FAMILIES[row[0]].trained}


def built(family: str, **settings) -> keras.Model:
    keras.utils.set_random_seed(3)
    module = importlib.import_module(f"pipeline.models.{family}")
    if FAMILIES[family].frozen:
        settings["trunk"] = trunk(IMAGES)
    return module.build(VECTORS if reads_features(family) else IMAGES, CLASSES, **settings)


def reads_features(family: str) -> bool:
    return FAMILIES[family].image == "vector"


def batch(family: str, size: int = 8) -> np.ndarray:
    random = np.random.default_rng(1)
    if reads_features(family):
        return random.normal(3, 2, (size, 5)).astype(np.float32)
    return random.integers(0, 256, (size, 8, 8, 1), dtype=np.uint8)


def without_dropout(family: str, settings: dict) -> dict:
    known = inspect.signature(importlib.import_module(f"pipeline.models.{family}").build).parameters
    return settings | {name: 0.0 for name in ("dropout", "block_dropout") if name in known}


def walk(rows=WALK):
    return pytest.mark.parametrize(("family", "settings", "parameters"), rows.values(), ids=rows)


def test_every_family_that_answers_images_has_a_row():
    """A family that is only in the table would never be built here."""
    answering = {
        name for name, family in FAMILIES.items() if ("image", "classification", False) in family.answers
    }
    assert answering == {family for family, _settings, _parameters in WALK.values()}


@walk()
def test_every_row_gets_probabilities_that_sum_to_one(family, settings, parameters):
    """Raw inputs in, one probability per class out, from layers of the agreed names and dtypes."""
    model = built(family, **settings)
    probabilities = answers_of(model, batch(family))
    assert probabilities.shape == (8, 3)
    assert np.ones(8) == pytest.approx(probabilities.sum(axis=1), abs=1e-6)
    assert model.inputs[0].name == "inputs"
    assert ("float32" if reads_features(family) else "uint8") == model.inputs[0].dtype
    assert [layer.name for layer in model.layers[-2:]] == ["logits", "probabilities"]


@walk()
def test_parameters_are_those_counted_by_hand(family, settings, parameters):
    """No layer is larger, smaller or missing than its settings say."""
    assert parameters == built(family, **settings).count_params()


@walk()
def test_a_saved_model_predicts_the_same(family, settings, parameters, tmp_path):
    """Loading in safe mode gives the same numbers, to the last bit."""
    model = built(family, **settings)
    save_model(model, tmp_path / "model.keras")
    inputs = batch(family)
    assert np.array_equal(answers_of(model, inputs), answers_of(load_model(tmp_path / "model.keras"), inputs))


@walk()
def test_only_layers_of_keras_with_names_of_their_own(family, settings, parameters):
    """Two builds in one process have the same layer names, all of them Keras' own classes."""

    def names(model):
        return [layer.name for layer in model._flatten_layers()]

    model = built(family, **settings)
    assert names(model) == names(built(family, **settings))
    assert {"keras"} == {type(layer).__module__.split(".")[0] for layer in model._flatten_layers()}


@walk(LEARNING)
def test_one_step_lowers_the_loss(family, settings, parameters):
    """The gradient reaches the weights: a small step makes the same batch less of a surprise."""
    model = built(family, **without_dropout(family, settings))
    inputs, targets = batch(family), np.arange(8) % 3
    model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy", run_eagerly=True)
    before = model.train_on_batch(inputs, targets)
    assert model.train_on_batch(inputs, targets) < before


@pytest.mark.long
@walk(LEARNING)
def test_eight_examples_can_be_learnt_by_heart(family, settings, parameters):
    """A family that cannot memorise eight examples is wired wrongly."""
    model = built(family, **without_dropout(family, settings))
    inputs, targets = batch(family), np.arange(8) % 3
    model.compile(keras.optimizers.Adam(0.03), "sparse_categorical_crossentropy")

    def learnt(_loss):
        return targets.tolist() == answers_of(model, inputs).argmax(axis=1).tolist()

    assert learnt(learn_by_heart(model, inputs, targets, 100, learnt))


def test_images_are_scaled_by_the_statistics_of_the_spec():
    """Pixels become (x / 255 - mean) / deviation, per channel."""
    spec = InputSpec("image", (2, 2, 3), (0.1, 0.2, 0.3), (0.5, 0.25, 0.1))
    model = linear.build(spec, CLASSES)
    scaled = keras.Model(model.inputs, model.get_layer("normalization").output)
    image = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3) * 20
    expected = (image / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.25, 0.1]
    assert expected == pytest.approx(scaled.predict_on_batch(image), abs=1e-5)


def test_features_are_scaled_by_the_statistics_of_the_spec():
    """Features become (x - mean) / deviation, per feature."""
    model = dense.build(VECTORS, CLASSES)
    scaled = keras.Model(model.inputs, model.get_layer("normalization").output)
    expected = (batch("dense") - np.array(VECTORS.mean)) / VECTORS.standard_deviation
    assert expected == pytest.approx(scaled.predict_on_batch(batch("dense")), abs=1e-5)


def test_a_family_refuses_the_wrong_kind_of_input():
    """`dense` on pixels and `cnn` on features are mistakes that say so."""
    with pytest.raises(ValueError, match=r"Expected vector.*kind=image"):
        dense.build(IMAGES, CLASSES)
    with pytest.raises(ValueError, match=r"Expected image.*kind=vector"):
        cnn.build(VECTORS, CLASSES)


STACKS = list(
    itertools.product(
        [(28, 28), (9, 14)], [1, 2], [2, 3], [1, 2], ["same", "valid"], ["max", "average", "none"]
    )
)


@pytest.mark.parametrize(("size", "per_block", "kernel", "strides", "padding", "pooling"), STACKS[::5])
def test_sizes_without_keras_are_those_of_keras(size, per_block, kernel, strides, padding, pooling):
    """`conv_output_sizes` agrees with the real stack, and says 0 exactly where Keras refuses to build."""
    stack = {
        "filters": [2, 2],
        "convolutions_per_block": per_block,
        "kernel_size": kernel,
        "strides": strides,
        "padding": padding,
        "pooling": pooling,
        "pool_size": 2,
    }
    expected = conv_output_sizes(size, **stack)
    spec = InputSpec("image", (*size, 1), (0.0,), (1.0,))
    if min(expected[-1]) < 1:
        with pytest.raises(ValueError, match="size"):
            cnn.build(spec, CLASSES, **stack)
        return
    flat = cnn.build(spec, CLASSES, **stack).get_layer("flatten")
    assert expected[-1] == tuple(flat.input.shape[1:3])


def test_a_shortcut_hands_the_input_of_a_block_on():
    """Kernels of zeros leave the input alone, and nothing where the shortcut is not."""
    image = np.random.default_rng(1).integers(0, 256, (3, 8, 8, 1)).astype(np.uint8)
    plain = {"filters": [1], "batch_normalization": False, "pooling": "none", "units": 0, "dropout": 0.0}
    for shortcuts in (True, False):
        model = built("cnn", **plain, shortcuts=shortcuts, convolutions_per_block=2)
        for index in (0, 1):
            layer = model.get_layer(f"block_0_convolution_{index}")
            layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
        before, after = model.get_layer("normalization").output, model.get_layer("flatten").input
        ahead, behind = keras.Model(model.inputs[0], [before, after])(image)
        assert np.array_equal(behind, np.maximum(ahead, 0) * shortcuts)
    with pytest.raises(ValueError, match=r"Expected padding=same\. Received: padding=valid"):
        built("cnn", shortcuts=True, padding="valid")


def test_pooling_is_max_or_average():
    """The pooling layers are of the kind named, and absent for `none`."""
    kinds = {"max": keras.layers.MaxPooling2D, "average": keras.layers.AveragePooling2D}
    for pooling, kind in kinds.items():
        assert isinstance(built("cnn", pooling=pooling).get_layer("block_0_pooling"), kind)
    assert not [layer for layer in built("cnn", pooling="none").layers if "pooling" in layer.name]


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_the_activation_is_the_one_named(activation):
    """cnn, dense and autoencoder use the activation of their settings."""
    for model, name in (
        (built("cnn", activation=activation), "block_0_convolution_0_activation"),
        (built("cnn", activation=activation), "head_activation"),
        (built("dense", activation=activation), "dense_0_activation"),
        (built("autoencoder", activation=activation).get_layer("encoder"), "encode_0_activation"),
        (built("autoencoder", activation=activation), "classifier_0_activation"),
    ):
        assert activation == model.get_layer(name).activation.__name__


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("cnn", {}),
        ("rnn", {"bidirectional": True}),
        ("rnn", {"cell": "simple"}),
        ("dense", {}),
        ("autoencoder", {"encoder": "fine_tuned"}),
        ("autoencoder", {"encoder": "fine_tuned", "kind": "conv"}),
    ],
)
def test_l2_adds_its_strength_times_the_squares_of_all_kernels(family, settings):
    """The penalty is that of the formula, over every kernel and no bias."""
    assert built(family, **settings, l2=0.0).losses == []
    model = built(family, **settings, l2=0.01)
    kernels = [np.asarray(w) for w in model.trainable_weights if w.name in ("kernel", "recurrent_kernel")]
    assert 0.01 * sum((k**2).sum() for k in kernels) == pytest.approx(float(sum(model.losses)), rel=1e-5)


def test_rows_are_the_time_steps():
    """An image of 4 rows, 3 columns and 2 channels is read as 4 steps of 6 numbers, row by row."""
    spec = InputSpec("image", (4, 3, 2), (0.0, 0.0), (1.0, 1.0))
    model = rnn.build(spec, CLASSES)
    image = np.arange(24, dtype=np.uint8).reshape(1, 4, 3, 2)
    steps = keras.Model(model.inputs, model.get_layer("rows").output).predict_on_batch(image)
    assert image.reshape(1, 4, 6) / 255 == pytest.approx(steps, abs=1e-6)


@pytest.mark.parametrize(("cell", "kind"), [("simple", "SimpleRNN"), ("lstm", "LSTM"), ("gru", "GRU")])
def test_the_cell_is_the_one_named_and_reads_both_ways(cell, kind):
    """Each layer is of the cell named; both ways doubles what it gives."""
    one_way, both_ways = (
        built("rnn", cell=cell, units=[6]),
        built("rnn", cell=cell, units=[6], bidirectional=True),
    )
    assert kind == type(one_way.get_layer("recurrent_0")).__name__
    assert kind == type(both_ways.get_layer("both_ways_0").forward_layer).__name__
    assert both_ways.get_layer("both_ways_0").backward_layer.go_backwards
    assert (
        one_way.get_layer("logits").input.shape[1],
        both_ways.get_layer("logits").input.shape[1],
    ) == (6, 12)


@pytest.mark.parametrize("shape", [(28, 28, 1), (8, 8, 1), (64, 48, 3), (7, 5, 1)])
@pytest.mark.parametrize(
    "settings", [{"kind": "dense"}, {"kind": "conv"}, {"kind": "conv", "filters": [4, 4, 4]}]
)
def test_a_reconstruction_has_the_size_of_its_image(shape, settings):
    """Dense or conv, even or odd sizes: pixels in [0, 1], in the shape of the input."""
    spec = InputSpec("image", shape, (0.3,) * shape[2], (0.2,) * shape[2])
    model = autoencoder.build_autoencoder(spec, codes=5, **settings)
    pixels = model.predict_on_batch(np.full((2, *shape), 200, np.uint8))
    assert (2, *shape) == pixels.shape
    assert 0 <= pixels.min() <= pixels.max() <= 1
    assert model.get_layer("encoder").output_shape == (None, 5)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_an_autoencoder_learns_to_reconstruct(kind):
    """Eight images come back better after training than their mean does."""
    images = (load_digits().images[:8, ..., None] * 255 / 16).astype(np.uint8)
    keras.utils.set_random_seed(3)
    model = autoencoder.build_autoencoder(IMAGES, kind=kind, codes=8, units=[32], filters=[8, 8])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    targets = images / 255

    def learnt(error):
        return error < targets.var(axis=0).mean() / 2

    assert learnt(learn_by_heart(model, images, targets, 150, learnt))


def test_a_saved_autoencoder_reconstructs_the_same(tmp_path):
    """Encoder and decoder survive the file, and can be taken out of it by name."""
    model = autoencoder.build_autoencoder(IMAGES, kind="conv", codes=4)
    save_model(model, tmp_path / "autoencoder.keras")
    loaded = load_model(tmp_path / "autoencoder.keras")
    images = batch("autoencoder")
    assert np.array_equal(model.predict_on_batch(images), loaded.predict_on_batch(images))
    codes = loaded.get_layer("encoder").predict_on_batch(images)
    assert np.array_equal(model.get_layer("encoder").predict_on_batch(images), codes)


def test_a_frozen_encoder_has_nothing_to_train():
    """Training the classifier moves no weight of a frozen encoder, and moves those of a fine-tuned one."""
    trained = autoencoder.build_autoencoder(IMAGES, units=[10], codes=4).get_layer("encoder")
    original = [weight.copy() for weight in trained.get_weights()]
    for mode, moves in (("frozen", False), ("fine_tuned", True)):
        model = built("autoencoder", encoder=mode, trained_encoder=trained)
        assert moves == bool(model.get_layer("encoder").trainable_weights)
        model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        model.train_on_batch(batch("autoencoder"), np.arange(8) % 3)
        after = model.get_layer("encoder").get_weights()
        assert moves != all(map(np.array_equal, original, after))
        assert all(map(np.array_equal, original, trained.get_weights())), (
            "the autoencoder itself stays as it is"
        )


def test_the_classifier_starts_from_the_trained_codes():
    """The codes inside the classifier are those of the encoder it was given."""
    trained = autoencoder.build_autoencoder(IMAGES, codes=4).get_layer("encoder")
    model = built("autoencoder", trained_encoder=trained, codes=4)
    images = batch("autoencoder")
    assert np.array_equal(
        trained.predict_on_batch(images), model.get_layer("encoder").predict_on_batch(images)
    )


def test_majority_answers_with_the_class_shares():
    """Counts 5, 3, 2 give 0.5, 0.3, 0.2 for every image; nothing can be trained."""
    model = majority.build(IMAGES, CLASSES)
    expected = np.tile([0.5, 0.3, 0.2], (8, 1))
    assert expected == pytest.approx(model.predict_on_batch(batch("majority")), abs=1e-6)
    assert model.trainable_weights == []


def test_linear_is_as_good_as_logistic_regression_of_scikit_learn():
    """On digits both are softmax regression; accuracies differ by at most 1.5 points, whatever the penalty."""
    digits = load_digits()
    images = (digits.images[..., None] * 255 / 16).astype(np.uint8)
    train, test = np.arange(0, 1200), np.arange(1200, 1797)
    scaler = StandardScaler().fit(digits.data[train])
    reference = LogisticRegression(max_iter=500).fit(
        scaler.transform(digits.data[train]), digits.target[train]
    )
    expected = reference.score(scaler.transform(digits.data[test]), digits.target[test])

    pixels = images[train] / 255
    spec = InputSpec("image", (8, 8, 1), (float(pixels.mean()),), (float(pixels.std()),))
    output = OutputSpec(tuple("0123456789"), (1,) * 10)
    model = linear.build(spec, output)
    linear.solve(model, TrainData(images, digits.target, train, test, spec, output, groups=np.arange(1797)))
    predicted = model.predict_on_batch(images[test]).argmax(axis=1)
    assert expected == pytest.approx((predicted == digits.target[test]).mean(), abs=0.015)
