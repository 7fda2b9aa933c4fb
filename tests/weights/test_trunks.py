"""Trunks say of raw samples what their weights say in the arithmetic of the papers, and come back from their file."""

import numpy as np
import pytest

from pipeline.inference.backend import prepare_tensorflow
from pipeline.inference.keras_files import load_model, save_model
from pipeline.inputs.specs import InputSpec, OutputSpec

prepare_tensorflow(2, 7)

from pipeline.models import pretrained  # noqa: E402
from pipeline.weights import trunks  # noqa: E402


def lite0_tensors(seed=0):
    """Return tensors of the right names and shapes, drawn so that activations neither vanish nor saturate."""
    random, found = np.random.default_rng(seed), {}

    def convolution(name, norm, out, inside, side):
        found[f"{name}.weight"] = random.normal(
            0, (inside * side**2) ** -0.5, (out, inside, side, side)
        ).astype("f4")
        found[f"{norm}.weight"] = random.uniform(0.8, 1.2, out).astype("f4")
        found[f"{norm}.bias"] = random.uniform(-0.2, 0.6, out).astype("f4")
        found[f"{norm}.running_mean"] = random.normal(0, 0.1, out).astype("f4")
        found[f"{norm}.running_var"] = random.uniform(0.5, 1.5, out).astype("f4")

    convolution("_conv_stem", "_bn0", 32, 3, 3)
    index, before = 0, 32
    for blocks, side, _stride, expansion, width in trunks.LITE0_STAGES:
        for _number in range(blocks):
            name, wide = f"_blocks.{index}.", before * expansion
            if expansion > 1:
                convolution(f"{name}_expand_conv", f"{name}_bn0", wide, before, 1)
            convolution(f"{name}_depthwise_conv", f"{name}_bn1", wide, 1, side)
            convolution(f"{name}_project_conv", f"{name}_bn2", width, wide, 1)
            index, before = index + 1, width
    convolution("_conv_head", "_bn1", 1280, 320, 1)
    return found


def by_hand(pixels, tensors):
    """Return the features of images in plain NumPy, without folding anything: (batch, 1280)."""

    def convolved(hidden, name, norm, stride=1, depthwise=False):
        kernel = tensors[f"{name}.weight"].astype(float)
        side, size = kernel.shape[2], hidden.shape[2]
        out = -(-size // stride)
        pad = max((out - 1) * stride + side - size, 0)
        hidden = np.pad(hidden, ((0, 0), (0, 0), *2 * ((pad // 2, pad - pad // 2),)))
        patches = np.lib.stride_tricks.sliding_window_view(hidden, (side, side), (2, 3))[
            :, :, ::stride, ::stride
        ]
        made = (
            np.einsum("bchwij,cij->bchw", patches, kernel[:, 0])
            if depthwise
            else np.einsum("bchwij,ocij->bohw", patches, kernel)
        )
        mean, variance, gamma, beta = (
            tensors[f"{norm}.{part}"].astype(float)[:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (made - mean) / np.sqrt(variance + 1e-3) * gamma + beta

    def cut(hidden):
        return np.clip(hidden, 0, 6)

    hidden = (pixels.astype(float).transpose(0, 3, 1, 2) - 127) / 128
    hidden = cut(convolved(hidden, "_conv_stem", "_bn0", 2))
    index = 0
    for blocks, _side, first, expansion, width in trunks.LITE0_STAGES:
        for number in range(blocks):
            name, stride, before = f"_blocks.{index}.", first if number == 0 else 1, hidden
            if expansion > 1:
                hidden = cut(convolved(hidden, f"{name}_expand_conv", f"{name}_bn0"))
            hidden = cut(convolved(hidden, f"{name}_depthwise_conv", f"{name}_bn1", stride, depthwise=True))
            hidden = convolved(hidden, f"{name}_project_conv", f"{name}_bn2")
            hidden = hidden + before if stride == 1 and before.shape[1] == width else hidden
            index += 1
    return cut(convolved(hidden, "_conv_head", "_bn1")).mean(axis=(2, 3))


def test_efficientnet_lite0_is_its_paper_in_numpy(tmp_path):
    """The same features as a second reckoning without Keras and without folding; and to the bit from its file."""
    tensors = lite0_tensors()
    pixels = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    trunk = trunks.efficientnet_lite0((32, 32, 3), tensors)
    features = trunk.predict_on_batch(pixels)
    expected = by_hand(pixels, tensors)
    assert 0.05 < expected.std() < 6
    assert features == pytest.approx(expected, rel=1e-3, abs=1e-3)
    assert [] == trunk.trainable_weights
    save_model(trunk, tmp_path / "trunk.keras")
    assert np.array_equal(features, load_model(tmp_path / "trunk.keras").predict_on_batch(pixels))
    del tensors["_blocks.3._bn1.bias"]
    with pytest.raises(ValueError, match=r"no _blocks\.3\._bn1\.bias"):
        trunks.efficientnet_lite0((32, 32, 3), tensors)


def test_texts_are_the_mean_of_their_vectors():
    """Padding does not count, and a text without any piece is 0."""
    vectors = np.random.default_rng(2).normal(size=(5, 3)).astype("f4")
    trunk = trunks.mean_of_vectors(4, vectors)
    answers = trunk.predict_on_batch(np.array([[1, 5, 0, 0], [2, 2, 2, 2], [0, 0, 0, 0]], np.int32))
    assert answers == pytest.approx(
        np.stack([vectors[[0, 4]].mean(axis=0), vectors[1], 0 * vectors[0]]), abs=1e-6
    )


@pytest.mark.parametrize("bag", [False, True])
def test_a_head_behind_its_trunk_answers_as_the_head_alone(bag, tmp_path):
    """What was trained on cached vectors is what serves from raw samples, also from the file."""
    random = np.random.default_rng(3)
    trunk = trunks.mean_of_vectors(6, random.normal(size=(11, 4)).astype("f4"))
    beside = {"max_bag": 5, "bag_size": 20}
    raw = InputSpec("pieces", (6,), vocabulary_size=12, **beside)
    frozen = InputSpec("vector", (4,), (0.1, 0.2, 0.3, 0.4), (1.0, 2.0, 0.5, 1.0), **beside)
    classes, settings = OutputSpec(("a", "b", "c"), (1, 1, 1)), {"units": [7], "bag": bag}
    head = pretrained.build(frozen, classes, **settings)
    head.set_weights([random.normal(size=array.shape) for array in head.get_weights()])
    whole = pretrained.with_trunk(head, trunk, raw, classes, frozen, **settings)
    inputs = {
        "inputs": random.integers(0, 12, (9, 6)).astype(np.int32),
        "bag": random.integers(0, 20, (9, 5)).astype(np.int32),
        "bag_weights": random.uniform(size=(9, 5)).astype("f4"),
    }
    vectors = trunk.predict_on_batch(inputs["inputs"])
    expected = head.predict_on_batch({**inputs, "inputs": vectors})
    assert expected == pytest.approx(whole.predict_on_batch(inputs), abs=1e-6)
    changed = whole.predict_on_batch({**inputs, "bag_weights": inputs["bag_weights"] * 3})
    assert bag == bool(np.abs(changed - expected).max() > 1e-3)
    save_model(whole, tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras").predict_on_batch(inputs)
    assert np.array_equal(again, whole.predict_on_batch(inputs))


def test_raw_samples_need_a_trunk():
    """And vectors have none."""
    raw, classes = InputSpec("image", (8, 8, 3), (0.5,) * 3, (0.2,) * 3), OutputSpec(("a", "b"), (1, 1))
    with pytest.raises(ValueError, match="trunk=False"):
        pretrained.build(raw, classes)


@pytest.mark.long
def test_a_network_of_keras_applications_can_be_a_trunk(tmp_path):
    """As the guide builds it; the weights are drawn here."""
    import keras

    pixels = keras.Input((64, 64, 3), dtype="uint8", name="inputs")
    network = keras.applications.MobileNetV2(
        input_shape=(64, 64, 3), include_top=False, pooling="avg", weights=None, name="mobilenet"
    )
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)
    model = keras.Model(pixels, network(scaled), name="trunk")
    save_model(model, tmp_path / "trunk.keras")
    images = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    again = load_model(tmp_path / "trunk.keras")
    assert (None, 1280) == again.output_shape
    assert np.array_equal(model.predict_on_batch(images), again.predict_on_batch(images))
