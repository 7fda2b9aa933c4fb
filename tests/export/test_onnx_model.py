"""An exported model answers as the Keras model does, for every row of the table of families, and for every layer."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from pipeline.inference.backend import prepare_tensorflow
from pipeline.inference.keras_config import ACTIVATIONS, CLASSES
from pipeline.inputs.specs import PAD
from pipeline.params.families import COMBINATIONS
from tests.models.combination_cases import as_fed, built, input_spec, samples

prepare_tensorflow(2, 7)

import keras  # noqa: E402
from keras import layers  # noqa: E402

from pipeline.export import onnx_layers  # noqa: E402
from pipeline.export.onnx_model import onnx_bytes  # noqa: E402
from pipeline.export.onnx_session import OnnxModel  # noqa: E402

TOLERANCE = 1e-5
"""Of the largest answer, or of 1: sums in another order."""
VARIANTS = {
    "cnn": [
        {"pooling": "average", "padding": "valid", "batch_normalization": True},
        {"pooling": "none", "strides": 2, "head": "global_average", "convolutions_per_block": 2},
        {"filters": [4, 4], "head": "global_max", "activation": "sigmoid"},
    ],
    "rnn": [
        {"cell": "lstm", "units": [5, 4]},
        {"cell": "simple", "bidirectional": True},
        {"cell": "gru", "units": [5, 4], "bidirectional": True, "attention": True},
        {"cell": "lstm", "bidirectional": True},
    ],
    "autoencoder": [{"kind": "conv", "filters": [4, 8]}, {"kind": "sequence", "units": [6], "cell": "gru"}],
    "dense": [{"batch_normalization": True, "units": [6, 5], "activation": "tanh"}],
    "naive": [{"season": 3}],
}
PLAIN = [(row, {}, side) for row in COMBINATIONS for side in (False, True)]
VARIED = [(row, more, True) for row in COMBINATIONS for more in VARIANTS.get(row.family, [])]


def said(case):
    row, more, side = case
    windows = " windows" if row.windowed else ""
    return f"{row.family} {row.payload}{windows} {row.task}{' side' if side else ''} {more or ''}"


def one_of_each(cases):
    """Return the first case of each family, way of reading and settings; the others are `long`."""
    seen = set()
    for row, more, side in cases:
        key = (row.family, row.reads, str(more), row.windowed)
        marks = [pytest.mark.long] if key in seen else []
        seen.add(key)
        yield pytest.param((row, more, side), marks=marks, id=said((row, more, side)))


def exported(model):
    """Return the exported model, which ONNX's own checker has read, ready to run."""
    content = onnx_bytes(model)
    onnx.checker.check_model(onnx.load_model_from_string(content), full_check=True)
    return OnnxModel(Path("model.onnx"), content)


def difference(model, made):
    """Return the largest difference between the two, against the largest answer or 1; also alone and in pairs."""
    running, worst = exported(model), 0.0
    whole = np.asarray(model(as_fed(made), training=False))
    for rows in (slice(None), slice(0, 1), slice(2, 4)):
        expected = whole[rows]
        received = running.predict_on_batch(as_fed({name: array[rows] for name, array in made.items()}))
        assert expected.shape == received.shape
        worst = max(worst, np.abs(expected - received).max() / max(1.0, np.abs(expected).max()))
    return worst


def of_several_lengths(made, spec):
    """Return samples of which one is nothing but padding, where there is any."""
    if spec.kind in ("tokens", "pieces"):
        made["inputs"][3] = 0
    if spec.has_padding:
        made["inputs"][3] = PAD
    return made


@pytest.mark.parametrize("case", one_of_each(PLAIN + VARIED))
def test_every_family_answers_as_keras_does(case):
    """Every row of docs/combinations.md, with more settings of each family; moving statistics are no longer 0 and 1."""
    row, more, side = case
    model = built(row, side=side, **more)
    random = np.random.default_rng(5)
    for layer in model._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    spec = input_spec(row, side=side)
    assert difference(model, of_several_lengths(samples(spec), spec)) < TOLERANCE


def test_the_tables_are_the_lists_of_the_loader():
    """What a model file may hold can be exported, and nothing else has a row."""
    assert CLASSES["keras.layers"] - {"InputLayer"} == set(onnx_layers.LAYERS)
    assert set(onnx_layers.ACTIVATIONS) == ACTIVATIONS


def test_the_same_model_gives_the_same_bytes():
    """Whatever was built before it in the process."""
    row = next(row for row in COMBINATIONS if row.family == "rnn" and row.payload == "text")
    before = onnx_bytes(built(row))
    built(row, cell="lstm")
    assert before == onnx_bytes(built(row))


def of_one_layer(shape, *made):
    """Return a model of one or more layers in a row."""
    hidden = inputs = keras.Input(shape, name="inputs")
    for layer in made:
        hidden = layer(hidden)
    return keras.Model(inputs, hidden, name="m")


def drawn(shape):
    """Return four samples."""
    return {"inputs": np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)}


STRIDES = [
    pytest.param(kind, size, strides, length, marks=[] if (size, length) in ((2, 7), (3, 6)) else [pytest.mark.long])
    for kind in ("Conv1D", "Conv2D", "Conv1DTranspose", "Conv2DTranspose", "DepthwiseConv2D")
    for strides in (1, 2, 3)
    for size in (1, 2, 3, 4, 5)
    for length in (6, 7)
]  # fmt: skip


@pytest.mark.parametrize(("kind", "size", "strides", "length"), STRIDES)
def test_a_convolution_pads_as_tensorflow_does(kind, size, strides, length):
    """Where the number of places to add is odd, TensorFlow adds the one more at the end."""
    shape = (length, 2) if "1D" in kind else (length, length + 1, 2)
    wide = {"depth_multiplier": 2} if kind == "DepthwiseConv2D" else {"filters": 3}
    layer = getattr(layers, kind)(
        kernel_size=size, strides=strides, padding="same", bias_initializer="ones", name="c", **wide
    )
    assert difference(of_one_layer(shape, layer), drawn(shape)) < TOLERANCE


ONE_AXIS = [
    lambda: layers.Conv1D(4, 3, dilation_rate=2, groups=2, name="l"),
    lambda: layers.Conv1D(4, 3, dilation_rate=2, padding="same", name="l"),
    lambda: layers.ZeroPadding1D((2, 1), name="l"),
    lambda: layers.MaxPooling1D(3, padding="same", name="l"),
    lambda: layers.AveragePooling1D(3, strides=2, padding="same", name="l"),
    lambda: layers.Softmax(axis=1, name="l"),
    lambda: layers.ReLU(max_value=0.5, name="l"),
    lambda: layers.BatchNormalization(scale=False, center=False, name="l"),
    lambda: layers.EinsumDense("btc,cd->btd", (7, 3), bias_axes="d", activation="tanh", name="l"),
    lambda: layers.GRU(3, use_bias=False, return_sequences=True, name="l"),
]
TWO_AXES = [
    lambda: layers.ZeroPadding2D(((2, 1), (0, 3)), name="l"),
    lambda: layers.Cropping2D(((2, 1), (0, 3)), name="l"),
    lambda: layers.DepthwiseConv2D((3, 2), padding="valid", activation="relu", name="l"),
    lambda: layers.AveragePooling2D((3, 2), padding="same", name="l"),
    lambda: layers.GlobalMaxPooling2D(name="l"),
]


@pytest.mark.parametrize(
    ("shape", "layer"), [((7, 4), layer) for layer in ONE_AXIS] + [((7, 6, 4), layer) for layer in TWO_AXES]
)
def test_settings_that_no_family_uses_today_are_right_too(shape, layer):
    """A layer on the list may be used otherwise tomorrow."""
    assert difference(of_one_layer(shape, layer()), drawn(shape)) < TOLERANCE


def test_a_layer_used_twice_is_held_once():
    """A table of vectors that two inputs share costs its size once."""
    table = layers.Embedding(1000, 64, name="table")
    ids = [keras.Input((3,), dtype="int32", name=name) for name in ("first", "second")]
    flat = [layers.Flatten(name=f"flat_{each.name}")(table(each)) for each in ids]
    model = keras.Model(ids, layers.Add(name="sum")(flat), name="m")
    made = {name: np.arange(12, dtype=np.int32).reshape(4, 3) for name in ("first", "second")}
    assert difference(model, made) < TOLERANCE
    assert len(onnx_bytes(model)) < 1000 * 64 * 4 * 1.1


def test_the_mean_of_several_models_is_exported_too():
    """Three maps of one input, averaged."""
    inputs = keras.Input((4,), name="inputs")
    maps = [layers.Dense(3, activation="softmax", name=f"map_{number}")(inputs) for number in range(3)]
    model = keras.Model(inputs, layers.Average(name="mean")(maps), name="m")
    assert difference(model, drawn((4,))) < TOLERANCE


def test_the_file_says_what_a_sample_takes_of_memory():
    """The numbers that all layers give, so that a batch is no larger than memory."""
    model = of_one_layer((7, 4), layers.Conv1D(3, 3, name="c"), layers.Flatten(name="f"))
    assert exported(model).numbers_per_sample == 5 * 3 + 15


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.LayerNormalization(name="l"),
        lambda: layers.ReLU(negative_slope=0.1, name="l"),
        lambda: layers.Conv1D(4, 3, padding="causal", name="l"),
        lambda: layers.Dense(4, activation="gelu", name="l"),
        lambda: layers.GRU(3, reset_after=False, name="l"),
        lambda: layers.LSTM(3, activation="relu", name="l"),
        lambda: layers.Bidirectional(layers.GRU(3), merge_mode="sum", name="l"),
        lambda: layers.GlobalAveragePooling1D(keepdims=True, name="l"),
        lambda: layers.BatchNormalization(axis=1, name="l"),
        lambda: layers.EinsumDense("btc,cd->btd", (None, 3), name="l"),
    ],
)
def test_what_would_be_wrong_is_refused(layer):
    """By the name of the layer; nothing is left out in silence."""
    with pytest.raises(NotImplementedError, match="'l'"):
        onnx_bytes(of_one_layer((7, 4), layer()))


def test_what_keras_fits_together_otherwise_is_refused():
    """Axes of other ranks from the left, which ONNX takes from the right; a softmax over several axes."""
    first, second = keras.Input((7, 4), name="first"), keras.Input((4,), name="second")
    model = keras.Model([first, second], layers.Add(name="l")([first, second]), name="m")
    with pytest.raises(
        NotImplementedError, match=r"'l' cannot be exported\. Expected inputs of equally many"
    ):
        onnx_bytes(model)
    with pytest.raises(NotImplementedError, match=r"'l' cannot be exported\. Expected one axis"):
        onnx_bytes(of_one_layer((7, 4), layers.Softmax(axis=(1, 2), name="l")))


def test_whole_numbers_that_are_moved_about_stay_whole_numbers():
    """Pixels that change places before they are scaled."""
    inputs = keras.Input((4, 3), dtype="uint8", name="inputs")
    moved = layers.Reshape((12,), name="r")(layers.Permute((2, 1), name="p")(inputs))
    model = keras.Model(inputs, layers.Rescaling(1 / 255, name="s")(moved), name="m")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    assert difference(model, {"inputs": pixels}) < TOLERANCE


def test_a_mask_that_nobody_reads_is_refused():
    """Without it a softmax would share itself out over padding too."""
    inputs, mask = keras.Input((7,), name="inputs"), keras.Input((7,), name="mask", dtype="bool")
    model = keras.Model([inputs, mask], layers.Softmax(name="l")(inputs, mask=mask), name="m")
    with pytest.raises(NotImplementedError, match=r"'l' cannot be exported\. Expected no mask"):
        onnx_bytes(model)


def test_a_weight_that_is_no_number_is_not_exported():
    """NaN behind a ReLU would answer like any other."""
    model = of_one_layer((4,), layers.Dense(2, name="broken"))
    model.get_layer("broken").set_weights([np.full((4, 2), np.nan), np.zeros(2)])
    with pytest.raises(ValueError, match="'broken' is not finite"):
        onnx_bytes(model)
