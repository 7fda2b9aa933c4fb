"""The pictures of the course, drawn by the product's own functions on data that scikit-learn bundles.

`python docs/course/draw.py` writes them all into docs/course/pictures, in about a minute; with names, only those.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure
from skimage.filters import sobel
from skimage.transform import resize
from sklearn.datasets import load_digits, load_sample_image
from sklearn.decomposition import TruncatedSVD

from pipeline.features.images import feature_names, image_features
from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.metrics.classification import confidence_bins
from pipeline.models import cnn, dense
from pipeline.models.autoencoder import build_autoencoder
from pipeline.models.layers.blocks import BATCH_NORMALIZATION_MOMENTUM
from pipeline.models.layers.recurrent import CELLS
from pipeline.reduction.methods import fit_pca, flat_pixels, pca_codes, pca_reconstruction, tsne_plane
from pipeline.reports.style import BLUE, CLASS_COLOURS, GREY, LINE_COLOURS, ORANGE, save_figure, styled
from pipeline.training import losses
from pipeline.training.optimizers import create_schedule

FOLDER = Path(__file__).parent / "pictures"
SEED = 7
TRAIN = 1200
"""Digits that train; the other 597 are held out."""


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return the 1,797 images, uint8 (8, 8, 1), and their classes."""
    images, classes = load_digits(return_X_y=True)
    return np.round(images.reshape(-1, 8, 8, 1) * 255 / 16).astype(np.uint8), classes.astype(np.int64)


def specs(images: np.ndarray) -> tuple[InputSpec, OutputSpec]:
    """Return what a model of the digits reads and answers."""
    pixels = images[:TRAIN] / 255
    counts = tuple(np.bincount(digits()[1][:TRAIN]).tolist())
    return (
        InputSpec(
            "image", (8, 8, 1), mean=(float(pixels.mean()),), standard_deviation=(float(pixels.std()),)
        ),
        OutputSpec(classes=tuple("0123456789"), class_counts=counts),
    )


def panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """Return a figure and its axes, (rows, columns)."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, np.asarray(figure.subplots(rows, columns, squeeze=False))


@styled
def features() -> Figure:
    """A photograph, its colour histogram, its edges, and the histogram of its texture."""
    photo = np.round(resize(load_sample_image("flower.jpg"), (128, 192)) * 255).astype(np.uint8)
    groups = ("colour", "texture", "edges")
    names = feature_names(photo.shape, groups, 16, 16)
    vector = image_features(photo, groups, 16, 16)
    figure, axes = panels(1, 4, 16, 3.6)
    photo_axes, colour, edges, texture = axes[0]
    photo_axes.imshow(photo)
    photo_axes.set_title(f"{len(vector):,} numbers for it")
    for channel, line in (("red", "#CC3311"), ("green", "#117733"), ("blue", "#0072B2")):
        bins = [place for place, name in enumerate(names) if name.startswith(f"colour/{channel}/bin_")]
        colour.plot(np.linspace(0, 1, len(bins)), vector[bins], color=line)
    colour.set(title="Colour", xlabel="value of a channel", ylabel="share of pixels")
    edges.imshow(sobel(photo.mean(axis=2) / 255), cmap="gray")
    edges.set_title("Edges: length of the gradient")
    bins = [place for place, name in enumerate(names) if name.startswith("texture/pattern_8_1/")]
    texture.bar(np.arange(len(bins)), vector[bins], color=BLUE)
    texture.set(title="Texture: local patterns", xlabel="neighbours brighter than the centre", ylabel="share")
    for shown in (photo_axes, edges):
        shown.set_xticks([])
        shown.set_yticks([])
    return figure


@styled
def outputs() -> Figure:
    """Softmax, sigmoid and tanh of the numbers below them."""
    raw = np.linspace(-6, 6, 241).astype(np.float32)
    figure, axes = panels(1, 3, 15, 3.8)
    sigmoid, tanh, softmax = axes[0]
    sigmoid.plot(raw, keras.ops.sigmoid(raw), color=BLUE)
    sigmoid.set(title="sigmoid: one of two, or yes and no", xlabel="z", ylabel="probability")
    tanh.plot(raw, keras.ops.tanh(raw), color=ORANGE)
    tanh.set(title="tanh: a number between -1 and 1", xlabel="z")
    three = np.stack([raw, np.full_like(raw, 1), np.zeros_like(raw)], axis=1)
    for shares, name, line in zip(
        np.asarray(keras.ops.softmax(three)).T, ("z", "1", "0"), LINE_COLOURS, strict=False
    ):
        softmax.plot(raw, shares, color=line, label=f"class with {name}")
    softmax.set(title="softmax: shares of several classes", xlabel="z of the first class")
    softmax.legend()
    return figure


@styled
def loss() -> Figure:
    """What one sample costs, by the answer it got."""
    figure, axes = panels(1, 2, 13, 4.2)
    classes, numbers = axes[0]
    said = np.linspace(0.01, 0.999, 200).astype(np.float32)
    answers = np.stack([said, 1 - said], axis=1)
    truth = np.zeros(len(said), np.int64)
    three = np.concatenate([answers, np.zeros((len(said), 1), np.float32)], axis=1)
    for name, focus, line in (("cross-entropy", 0.0, BLUE), ("focal", losses.FOCUS, ORANGE)):
        cost = losses.classification(3, focus=focus)(truth, three)
        classes.plot(said, np.asarray(cost), color=line, label=name)
    classes.set(title="Classes", xlabel="probability given to the true class", ylabel="loss")
    classes.legend()
    errors = np.linspace(-3, 3, 201).astype(np.float32)[:, np.newaxis]
    for line, function in zip(
        LINE_COLOURS, (losses.squared_error, losses.absolute_error, losses.huber), strict=False
    ):
        cost = np.asarray(function(np.zeros_like(errors), errors))
        numbers.plot(errors[:, 0], cost, color=line, label=function.__name__.replace("_", " "))
    numbers.set(title="Numbers", xlabel="error, in deviations of the target", ylim=(0, 5))
    numbers.legend()
    return figure


@styled
def schedules() -> Figure:
    """The four ways in which the learning rate may fall, over 30 epochs of 20 steps."""
    figure, axes = panels(1, 1, 9, 4)
    steps = np.arange(600)
    for line, name in zip(LINE_COLOURS, ("constant", "exponential", "step", "cosine"), strict=False):
        made = create_schedule(
            name,
            learning_rate=2e-3,
            epochs=30,
            steps_per_epoch=20,
            warmup_share=0.05,
            decay_rate=0.5,
            decay_epochs=10,
        )
        rates = [float(made(step)) if callable(made) else made for step in steps]
        axes[0, 0].plot(steps / 20, rates, color=line, label=name)
    axes[0, 0].set(title="training.schedule", xlabel="epoch", ylabel="learning rate")
    axes[0, 0].legend()
    return figure


def vectors(images: np.ndarray) -> tuple[np.ndarray, InputSpec]:
    """Return the pixels of the digits as vectors, and how a dense network reads them."""
    pixels = flat_pixels(images, np.arange(len(images)))
    train = pixels[:TRAIN]
    mean, deviation = train.mean(axis=0), np.maximum(train.std(axis=0), 0.05)
    return pixels, InputSpec(
        "vector", (64,), mean=tuple(mean.tolist()), standard_deviation=tuple(deviation.tolist())
    )


@styled
def overfitting() -> Figure:
    """A wide network on 100 digits, without a penalty and with one: loss by epoch, and the best epoch."""
    images, classes = digits()
    pixels, spec = vectors(images)
    cost = losses.classification(10)
    figure, axes = panels(1, 2, 13, 4.2)
    for shown, l2, dropout in ((axes[0, 0], 0.0, 0.0), (axes[0, 1], 1e-2, 0.5)):
        keras.utils.set_random_seed(SEED)
        built = dense.build(
            spec, specs(images)[1], units=(256,), batch_normalization=False, dropout=dropout, l2=l2
        )
        built.compile(keras.optimizers.Adam(3e-3), cost)
        curves: dict[str, list[float]] = {"the 100 that train": [], "held out": []}
        for _epoch in range(60):
            built.fit(pixels[:100], classes[:100], epochs=1, batch_size=25, verbose=0)
            for curve, rows in zip(curves.values(), (slice(0, 100), slice(TRAIN, None)), strict=True):
                curve.append(float(np.mean(cost(classes[rows], built(pixels[rows])))))
        val = curves["held out"]
        best = int(np.argmin(val))
        for line, (name, curve) in zip(LINE_COLOURS, curves.items(), strict=False):
            shown.plot(np.arange(1, 61), curve, color=line, label=name)
        shown.axvline(best + 1, color=GREY, linestyle=":")
        title = f"l2 {l2:g}, dropout {dropout:g}: kept epoch {best + 1}, {val[best]:.3f}"
        shown.set(title=title, xlabel="epoch", ylabel="cross-entropy", ylim=(0, 1.2))
        shown.legend(loc="upper right")
    return figure


@styled
def normalisation() -> Figure:
    """What a layer hands on while it trains: with and without batch normalisation."""
    images, _classes = digits()
    generator = np.random.default_rng(SEED)
    hidden = (images[:256].reshape(256, -1) / 255).astype(np.float32)
    plain, normalised = hidden, hidden
    figure, axes = panels(2, 5, 15, 5)
    for depth in range(5):
        kernel = generator.normal(0.05, 0.2, (64, 64)).astype(np.float32)
        plain = np.maximum(plain @ kernel, 0)
        layer = keras.layers.BatchNormalization(momentum=BATCH_NORMALIZATION_MOMENTUM)
        normalised = np.maximum(np.asarray(layer(normalised @ kernel, training=True)), 0)
        for row, values in enumerate((plain, normalised)):
            axes[row, depth].hist(values.ravel(), bins=40, color=(ORANGE, BLUE)[row], log=True)
            axes[row, depth].set_title(f"layer {depth + 1}" if row == 0 else "")
            axes[row, depth].set_xlabel(f"deviation {values.std():.3g}")
    axes[0, 0].set_ylabel("as it comes")
    axes[1, 0].set_ylabel("normalised")
    return figure


@styled
def convolution() -> Figure:
    """A digit, six kernels that were trained, what they answer, and what pooling leaves."""
    images, classes = digits()
    keras.utils.set_random_seed(SEED)
    built = cnn.build(*specs(images), filters=(6,), units=0, dropout=0.0)
    built.compile(keras.optimizers.Adam(3e-3), losses.classification(10))
    built.fit(images[:TRAIN], classes[:TRAIN], epochs=15, verbose=0)
    layer = next(item for item in built.layers if isinstance(item, keras.layers.Conv2D))
    activation = next(item for item in built.layers if isinstance(item, keras.layers.Activation))
    maps = np.asarray(keras.Model(built.inputs, activation.output)([images[3:4]]))
    kernels = np.asarray(layer.get_weights()[0])[:, :, 0]
    figure, axes = panels(4, 7, 14, 8)
    rows = (
        ("kernels, 3 x 3", kernels, "RdBu"),
        ("answers, 8 x 8", maps[0], "gray"),
        ("max pooling, 4 x 4", np.asarray(keras.layers.MaxPooling2D(2)(maps))[0], "gray"),
        ("average pooling", np.asarray(keras.layers.AveragePooling2D(2)(maps))[0], "gray"),
    )
    for row, (name, shown, colours) in enumerate(rows):
        for column in range(6):
            axes[row, column + 1].imshow(shown[:, :, column], cmap=colours)
        axes[row, 0].text(0.5, 0.5, name, ha="center", va="center", wrap=True)
    axes[1, 0].clear()
    axes[1, 0].imshow(images[3, :, :, 0], cmap="gray")
    axes[1, 0].set_title("image; answers:", fontsize=12)
    for item in axes.ravel():
        item.set_xticks([])
        item.set_yticks([])
        for side in item.spines.values():
            side.set_visible(False)
    return figure


@styled
def memory() -> Figure:
    """How much the last state of each cell still knows of a step: the length of its gradient."""
    import tensorflow as tf

    steps = 60
    figure, axes = panels(1, 1, 9, 4.2)
    noise = np.random.default_rng(SEED).normal(size=(32, steps, 8)).astype(np.float32)
    for line, (name, cell) in zip(LINE_COLOURS, CELLS.items(), strict=False):
        keras.utils.set_random_seed(SEED)
        layer = cell(32)
        inputs = tf.convert_to_tensor(noise)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            total = tf.reduce_sum(layer(inputs))
        gradient = np.asarray(tape.gradient(total, inputs))
        sizes = np.linalg.norm(gradient, axis=2).mean(axis=0)
        axes[0, 0].semilogy(np.arange(steps) - steps, sizes / sizes[-1], color=line, label=name)
    axes[0, 0].set(
        title="Untrained cells of 32 units", xlabel="steps before the end", ylabel="gradient, last step 1"
    )
    axes[0, 0].legend()
    return figure


def _autoencoder(images: np.ndarray, codes: int) -> tuple[keras.Model, np.ndarray]:
    keras.utils.set_random_seed(SEED)
    built = build_autoencoder(specs(images)[0], codes=codes, units=(128,))
    built.compile(keras.optimizers.Adam(2e-3), losses.reconstruction)
    built.fit(images[:TRAIN], images[:TRAIN] / np.float32(255), epochs=60, batch_size=64, verbose=0)
    return built, np.asarray(built.get_layer("encoder")(images[TRAIN:]))


@styled
def autoencoder() -> Figure:
    """Digits nobody trained with, and what an autoencoder and a PCA of 8 numbers each make of them."""
    images, _classes = digits()
    built, _codes = _autoencoder(images, 8)
    pixels = flat_pixels(images, np.arange(len(images)))
    pca = fit_pca(pixels[:TRAIN], 8, SEED)
    held = images[TRAIN:] / 255
    rebuilt = (
        np.asarray(built(images[TRAIN:])),
        pca_reconstruction(pca, pixels[TRAIN:]).reshape(-1, 8, 8, 1),
    )
    figure, axes = panels(3, 10, 14, 4.6)
    for row, (name, shown) in enumerate(
        zip(("as they are", "autoencoder", "PCA"), (held, *rebuilt), strict=True)
    ):
        error = "" if row == 0 else f"\nerror {np.mean((shown - held) ** 2):.4f}"
        for column in range(10):
            axes[row, column].imshow(shown[column, :, :, 0], cmap="gray", vmin=0, vmax=1)
            axes[row, column].set_xticks([])
            axes[row, column].set_yticks([])
        axes[row, 0].set_ylabel(name + error, rotation=0, ha="right", va="center")
    return figure


@styled
def planes() -> Figure:
    """The digits in two numbers each, four ways; colours are classes, which none of them was told."""
    images, classes = digits()
    pixels = flat_pixels(images, np.arange(len(images)))
    places = {
        "PCA": pca_codes(fit_pca(pixels[:TRAIN], 2, SEED), pixels[TRAIN:]),
        "truncated SVD": TruncatedSVD(2, random_state=SEED).fit(pixels[:TRAIN]).transform(pixels[TRAIN:]),
        "autoencoder": _autoencoder(images, 2)[1],
        "t-SNE": tsne_plane(pixels[TRAIN:], SEED),
    }
    figure, axes = panels(1, 4, 16, 4.2)
    for item, (name, plane) in zip(axes[0], places.items(), strict=True):
        for number in range(10):
            own = classes[TRAIN:] == number
            item.scatter(plane[own, 0], plane[own, 1], s=9, color=CLASS_COLOURS[number], label=str(number))
        item.set_title(name)
        item.set_xticks([])
        item.set_yticks([])
    axes[0, 3].legend(fontsize=10, markerscale=2, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


@styled
def confidence() -> Figure:
    """Whether answers that were given with 80 % are right in 80 of 100: a network on the digits."""
    images, classes = digits()
    pixels, spec = vectors(images)
    keras.utils.set_random_seed(SEED)
    built = dense.build(spec, specs(images)[1], units=(64,), dropout=0.0)
    built.compile(keras.optimizers.Adam(2e-3), losses.classification(10))
    built.fit(pixels[:200], classes[:200], epochs=40, verbose=0)
    answers = np.asarray(built(pixels[TRAIN:]), dtype=np.float64)
    sure, right = answers.max(axis=1), answers.argmax(axis=1) == classes[TRAIN:]
    found = confidence_bins(sure, 10)
    bins = [(sure[found == number].mean(), right[found == number].mean()) for number in np.unique(found)]
    figure, axes = panels(1, 1, 6.5, 5)
    axes[0, 0].plot([0, 1], [0, 1], color=GREY, linestyle=":")
    axes[0, 0].plot(*zip(*bins, strict=True), "o-", color=BLUE)
    axes[0, 0].set(
        title="Trained on 200 digits",
        xlabel="confidence",
        ylabel="share that is right",
        xlim=(0, 1),
        ylim=(0, 1.02),
    )
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    item.__name__: item
    for item in (
        features, outputs, loss, schedules, overfitting, normalisation, convolution, memory, autoencoder, planes,
        confidence,
    )
}  # fmt: skip


def main() -> None:
    """Draw them."""
    for name in sys.argv[1:] or PICTURES:
        save_figure(PICTURES[name](), FOLDER / f"{name}.png")
        print(FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
