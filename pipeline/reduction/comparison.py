"""Dimensionality reduction compared: the same rows through autoencoders, PCA and truncated SVD.

Everything is fitted on train, and measured on test. Import it after `backend.prepare_tensorflow`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from sklearn.decomposition import PCA, TruncatedSVD
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

from pipeline.inference import prediction
from pipeline.inputs.arrays import Inputs, reconstruction_targets, take
from pipeline.inputs.specs import PAD, InputSpec
from pipeline.inputs.train_data import TrainData
from pipeline.metrics.classification import accuracy_score
from pipeline.models.autoencoder import build_autoencoder
from pipeline.reduction import methods
from pipeline.reduction.methods import neighbourhood_preservation, trustworthiness
from pipeline.reports import samples
from pipeline.reports.html import Told, pictures, render
from pipeline.reports.style import GREY, LINE_COLOURS, canvas, save_figure, styled
from pipeline.training import fit, losses, optimizers
from pipeline.training.batches import VAL_BATCH_SIZE, BatchedData

# --- What the comparison of reductions looks like: pictures, and one page that opens offline.

Array = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
PROBE_ROWS = 10_000
"""Training samples a probe classifier sees; more change its third digit and cost minutes."""
CHUNK_ROWS = 4096


@dataclass(frozen=True)
class Reduced:
    """What a method made of the samples with some number of dimensions.

    Attributes:
        method: `autoencoder`, `pca` or `svd`.
        dimensions: Numbers per sample.
        train: Codes of the training rows, shape (num_train, dimensions).
        test: Codes of the test rows.
        error: Mean squared error of the reconstructed test rows.
        explained_variance: Share of the variance of the test rows that the reconstruction keeps; below 0
            where the mean of train would be closer.
        reconstructed: Some test rows after their codes, flat.
    """

    method: str
    dimensions: int
    train: Array
    test: Array
    error: float
    explained_variance: float
    reconstructed: Array


@dataclass(frozen=True)
class AutoencoderSettings:
    """How the autoencoders of the comparison are built and trained.

    Attributes:
        units: Width of each layer of the encoder; the decoder mirrors them.
        activation: `relu`, `sigmoid` or `tanh`.
        epochs: Passes over the training rows.
        batch_size: Samples per step.
        learning_rate: At the start; falls along a cosine.
        seed: Weights and order follow from it.
    """

    units: tuple[int, ...]
    activation: str
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int


def flat(inputs: Inputs, rows: Rows) -> Array:
    """Return samples as rows of numbers: pixels in [0, 1], or scaled steps with 0 behind the end.

    Args:
        inputs: All samples; may be a memmap.
        rows: Index array.

    Returns:
        Shape (len(rows), numbers per sample).
    """
    chunks = []
    for start in range(0, len(rows), CHUNK_ROWS):
        part = rows[start : start + CHUNK_ROWS]
        values = reconstruction_targets(take(inputs, part)).reshape(len(part), -1)
        chunks.append(np.where(values == np.float32(PAD), np.float32(0), values))
    return np.concatenate(chunks)


def train_autoencoder(
    data: TrainData,
    dimensions: int,
    settings: AutoencoderSettings,
    checkpoint_path: Path,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> keras.Model:
    """Return an autoencoder with so many codes, at its best epoch by validation; a killed training continues.

    Args:
        data: Inputs and rows.
        dimensions: Width of the codes.
        settings: How it is built and trained.
        checkpoint_path: Of this training alone.
        on_epoch: Called at the end of each epoch.
    """
    keras.utils.set_random_seed(settings.seed)
    model = build_autoencoder(
        data.input_spec, kind="dense", codes=dimensions, units=settings.units, activation=settings.activation
    )
    train = BatchedData(
        data.inputs,
        data.train_rows,
        None,
        batch_size=settings.batch_size,
        seed=settings.seed,
        shuffle=True,
        reconstruct=True,
    )
    val = BatchedData(
        data.inputs,
        data.monitored_rows,
        None,
        batch_size=VAL_BATCH_SIZE,
        seed=settings.seed,
        shuffle=False,
        reconstruct=True,
    )
    rate = optimizers.create_schedule(
        "cosine",
        learning_rate=settings.learning_rate,
        epochs=settings.epochs,
        steps_per_epoch=train.num_batches,
        warmup_share=0.05,
        decay_rate=1.0,
        decay_epochs=1.0,
    )
    optimizer = optimizers.create_optimizer(
        "adam", rate, momentum=0.0, weight_decay=0.0, ema_momentum=0.0, clip_norm=0.0
    )
    fit.fit(
        model,
        losses.create_loss("anomaly"),
        train,
        val,
        optimizer=optimizer,
        epochs=settings.epochs,
        checkpoint_path=checkpoint_path,
        on_epoch=on_epoch,
    )
    return model


def by_autoencoder(
    model: keras.Model, data: TrainData, test_rows: Rows, shown: npt.NDArray[np.intp]
) -> Reduced:
    """Return the codes of a trained autoencoder, and what it brings back of the test rows.

    Args:
        model: With a layer `encoder`.
        data: Inputs and training rows.
        test_rows: Rows that judge.
        shown: Positions among them that are kept after reconstruction.
    """
    encoder = model.get_layer("encoder")
    test = flat(data.inputs, test_rows)
    restored = prediction.predict(model, data.inputs, test_rows).reshape(test.shape)
    codes = prediction.predict(encoder, data.inputs, test_rows)
    return Reduced(
        "autoencoder",
        codes.shape[1],
        prediction.predict(encoder, data.inputs, data.train_rows),
        codes,
        methods.mean_squared_error(test, restored),
        _explained(test, restored),
        restored[shown],
    )


def by_projection(
    method: str, train: Array, test: Array, dimensions: int, *, seed: int, shown: npt.NDArray[np.intp]
) -> Reduced:
    """Return the codes of PCA or of a truncated SVD, which does not subtract the mean first.

    Args:
        method: `pca` or `svd`.
        train: Flat training rows.
        test: Flat test rows.
        dimensions: Components to keep.
        seed: Of randomised solvers.
        shown: Positions among the test rows that are kept after reconstruction.
    """
    model: PCA | TruncatedSVD = methods.fit_pca(train, dimensions, seed)
    if method == "svd":
        with threadpool_limits(1):
            model = TruncatedSVD(min(dimensions, *train.shape), random_state=seed).fit(train)
    with threadpool_limits(1):
        codes = np.asarray(model.transform(test), dtype=np.float32)
        restored = np.asarray(model.inverse_transform(codes), dtype=np.float32)
        of_train = np.asarray(model.transform(train), dtype=np.float32)
    error = methods.mean_squared_error(test, restored)
    return Reduced(
        method, codes.shape[1], of_train, codes, error, _explained(test, restored), restored[shown]
    )


def measured(
    reduced: Reduced,
    test: Array,
    compared: npt.NDArray[np.intp],
    neighbours: int,
    labels: "Labels | None",
) -> dict[str, Any]:
    """Return the figures of a method, rounded for a file.

    Args:
        reduced: Its codes.
        test: Flat test rows.
        compared: Positions among them whose neighbourhoods are compared.
        neighbours: How many nearest ones.
        labels: Classes for the probe; None leaves it out.
    """
    high, low = test[compared], reduced.test[compared]
    figures: dict[str, Any] = {
        "method": reduced.method,
        "dimensions": reduced.dimensions,
        "reconstruction_error": round(reduced.error, 6),
        "explained_variance": round(reduced.explained_variance, 6),
        "trustworthiness": round(trustworthiness(high, low, neighbours), 6),
        "neighbourhood_preservation": round(neighbourhood_preservation(high, low, neighbours), 6),
    }
    if labels is not None:
        seen = methods.evenly_spaced(len(labels.train), PROBE_ROWS)
        answers = methods.probe_predictions(
            reduced.train[seen], labels.train[seen], reduced.test, labels.num_classes
        )
        figures["probe_accuracy"] = round(float(accuracy_score(labels.test, answers)), 6)
    return figures


@dataclass(frozen=True)
class Labels:
    """Class indices of the rows that are reduced.

    Attributes:
        train: Per training row.
        test: Per test row.
        num_classes: Of the problem.
    """

    train: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]
    num_classes: int


def cumulative_explained_variance(train: Array, dimensions: int, seed: int) -> Iterator[tuple[int, float]]:
    """Yield how much of the variance of train the first 1, 2, ... principal components explain."""
    pca = methods.fit_pca(train, dimensions, seed)
    for number, share in enumerate(np.cumsum(pca.explained_variance_ratio_), start=1):
        yield number, round(float(share), 6)


def can_reduce(spec: InputSpec) -> bool:
    """Return whether samples of this kind can be laid flat and brought back: images and whole series."""
    return spec.kind in ("image", "series")


def _explained(expected: Array, restored: Array) -> float:
    """Return 1 - squared error / variance around the mean sample (Bishop 2006, 12.1)."""
    error = np.sum((expected - restored) ** 2, dtype=np.float64)
    spread = np.sum((expected - expected.mean(axis=0)) ** 2, dtype=np.float64)
    return float(1 - error / spread) if spread else 0.0


# --- Charts that compare reductions by their number of dimensions.


@styled
def by_dimensions(rows: Sequence[Mapping[str, Any]], metric: str, names: Mapping[str, str]) -> Figure:
    """Return one line per method over the number of dimensions.

    Args:
        rows: Figures with `method`, `dimensions` and the metric.
        metric: Which one.
        names: Method to how it is called.
    """
    figure, axes = canvas(8, 5.2)
    axes.set_title(f"{metric.replace('_', ' ').capitalize()} on test")
    axes.set_xlabel("dimensions")
    axes.set_xscale("log", base=2)
    axes.grid(axis="y")
    ticks = sorted({row["dimensions"] for row in rows})
    for index, method in enumerate(dict.fromkeys(row["method"] for row in rows)):
        points = sorted((row["dimensions"], row[metric]) for row in rows if row["method"] == method)
        x, y = zip(*points, strict=True)
        axes.plot(x, y, marker="o", markersize=8, color=LINE_COLOURS[index], label=names[method])
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.legend()
    return figure


@styled
def cumulative_variance(variance: Sequence[tuple[int, float]], rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Return the variance that principal components explain together, and where the autoencoders stand.

    Args:
        variance: Number of components and their share together, on train.
        rows: Figures of all methods.
    """
    figure, axes = canvas(8, 5.2)
    axes.set_title("Explained variance")
    axes.set_xlabel("dimensions")
    axes.set_ylim(0, 1.02)
    axes.grid(axis="y")
    x, y = zip(*variance, strict=True)
    axes.plot(x, y, color=GREY, label="principal components (train)")
    points = sorted(
        (row["dimensions"], row["explained_variance"]) for row in rows if row["method"] == "autoencoder"
    )
    if points:
        x, y = zip(*points, strict=True)
        axes.scatter(x, y, s=70, color=LINE_COLOURS[0], label="autoencoder (test)", zorder=3)
    axes.legend(loc="lower right")
    return figure


NAMES = {"autoencoder": "autoencoder", "pca": "PCA", "svd": "truncated SVD", "tsne": "t-SNE"}


def draw_charts(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    variance: Sequence[tuple[int, float]],
    planes: Mapping[str, Array],
    y_shown: npt.NDArray[np.integer],
    classes: Sequence[str],
) -> None:
    """Draw the comparison as PNG files.

    Args:
        folder: Where.
        rows: The figures of every method and number of dimensions.
        variance: Number of principal components and the variance they explain together.
        planes: Method to positions in the plane, shape (num_shown, 2).
        y_shown: Class index per position; zeros where there are no classes.
        classes: Names.
    """
    for metric in ("reconstruction_error", "trustworthiness", "neighbourhood_preservation", "probe_accuracy"):
        shown = [row for row in rows if metric in row]
        if shown:
            figure = by_dimensions(shown, metric, NAMES)
            save_figure(figure, folder / f"{metric}.png")
    save_figure(cumulative_variance(variance, rows), folder / "explained_variance.png")
    for method, plane in planes.items():
        title = f"Test samples in two dimensions: {NAMES[method]}"
        save_figure(samples.codes_map(plane, y_shown, classes, title), folder / f"plane_{method}.png")


def draw_reconstructions(folder: Path, rows: Mapping[str, Array], shape: tuple[int, ...]) -> None:
    """Draw some test images and what the methods bring back of them.

    Args:
        folder: Where.
        rows: Label to flat images.
        shape: Of one image, (height, width, channels).
    """
    images = {label: list(values.reshape((-1, *shape))) for label, values in rows.items()}
    save_figure(
        samples.reconstructions(images, "Test images and what is left of them"),
        folder / "reconstructions.png",
    )


PICTURES: Told = {
    "reconstruction_error": ("Reconstruction error", "What is lost on the way through so few numbers."),
    "reconstructions": ("What is left", "Test images, and what each method brings back of them."),
    "probe_accuracy": ("Probe accuracy", "How well a logistic regression tells the classes by the codes alone."),
    "trustworthiness": ("Trustworthiness", "Whether neighbours among the codes are neighbours among the samples."),
    "neighbourhood_preservation": (
        "Neighbourhoods kept",
        "Whether neighbours among the samples are still neighbours among the codes.",
    ),
    "explained_variance": (
        "Explained variance",
        "How many principal components hold how much of what varies, and where the autoencoders stand.",
    ),
    **{
        f"plane_{method}": (f"In two dimensions: {name}", "Colours are classes: good are clusters of one colour.")
        for method, name in NAMES.items()
    },
}  # fmt: skip
"""What matters most comes first."""


def reduction_page(
    rows: Sequence[Mapping[str, Any]], tsne: Mapping[str, Any] | None, pictures_dir: Path
) -> str:
    """Return the page: a table of all figures, and every picture.

    Args:
        rows: The figures of every method and number of dimensions.
        tsne: Those of t-SNE, which has no way back.
        pictures_dir: Where the pictures lie.
    """
    columns = [
        name
        for name in (
            "reconstruction_error",
            "explained_variance",
            "trustworthiness",
            "neighbourhood_preservation",
            "probe_accuracy",
        )
        if any(name in row for row in rows)
    ]
    all_rows = [*rows, tsne] if tsne else list(rows)
    return render(
        "reduction_report.html.j2",
        rows=[{**row, "name": NAMES[row["method"]]} for row in all_rows],
        columns=columns,
        verdicts=verdicts(rows),
        pictures=pictures(pictures_dir, PICTURES),
    )


def verdicts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence per number of dimensions: who reconstructs better."""
    sentences = []
    for dimensions in sorted({row["dimensions"] for row in rows}):
        errors = {
            row["method"]: row["reconstruction_error"] for row in rows if row["dimensions"] == dimensions
        }
        if {"autoencoder", "pca"} <= errors.keys():
            ours, pca = errors["autoencoder"], errors["pca"]
            word = "below" if ours < pca else "not below"
            sentences.append(
                f"{dimensions} dimensions: autoencoder {ours:.5f}, {word} PCA {pca:.5f} (test error)."
            )
    return sentences
