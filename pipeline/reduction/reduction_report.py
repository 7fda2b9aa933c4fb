"""What the comparison of reductions looks like: pictures, and one page that opens offline."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.reduction import reduction_charts
from pipeline.reports import samples
from pipeline.reports.html import pictures, render
from pipeline.reports.style import save

Array = npt.NDArray[np.float32]
NAMES = {"autoencoder": "autoencoder", "pca": "PCA", "svd": "truncated SVD", "tsne": "t-SNE"}


def draw_pictures(
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
            figure = reduction_charts.by_dimensions(shown, metric, NAMES)
            save(figure, folder / f"{metric}.png")
    save(reduction_charts.cumulative_variance(variance, rows), folder / "explained_variance.png")
    for method, plane in planes.items():
        title = f"Test samples in two dimensions: {NAMES[method]}"
        save(samples.codes_map(plane, y_shown, classes, title), folder / f"plane_{method}.png")


def draw_reconstructions(folder: Path, rows: Mapping[str, Array], shape: tuple[int, ...]) -> None:
    """Draw some test images and what the methods bring back of them.

    Args:
        folder: Where.
        rows: Label to flat images.
        shape: Of one image, (height, width, channels).
    """
    images = {label: list(values.reshape((-1, *shape))) for label, values in rows.items()}
    save(
        samples.reconstructions(images, "Test images and what is left of them"),
        folder / "reconstructions.png",
    )


def page(rows: Sequence[Mapping[str, Any]], tsne: Mapping[str, Any] | None, pictures_dir: Path) -> str:
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
        pictures=pictures(pictures_dir),
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
