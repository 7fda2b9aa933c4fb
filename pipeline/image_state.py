"""What the features stage fits on images and writes of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.progress import Progress

from pipeline import paths
from pipeline.feature_rules import feature_problems
from pipeline.features import feature_names, write_features
from pipeline.runtime import DataRefused
from pipeline.split_rows import SplitTable
from pipeline.train_statistics import feature_statistics, image_statistics


def write_image_features(
    images: np.ndarray,
    split: SplitTable,
    *,
    groups: Sequence[str],
    edge_cell_px: int | None,
    colour_bins: int | None,
    progress: Progress,
    workers: int,
) -> dict[str, Any]:
    """Write the hand-made features of all images, and measure pixels and features on train.

    Args:
        images: uint8 pixels, shape (num_images, height, width, channels).
        split: Who trains.
        groups: Any of `colour`, `texture`, `edges`.
        edge_cell_px: Side of a cell in the histogram of oriented gradients, in pixels.
        colour_bins: Bins of each colour histogram.
        progress: Shows how far the images are.
        workers: Processes side by side; the result does not depend on it.

    Returns:
        The parts `image` and `handmade` of the state.

    Raises:
        DataRefused: The features cannot be computed on these images.
    """
    if edge_cell_px is None or colour_bins is None:
        raise DataRefused(
            "features.edge_cell_px and features.colour_bins are missing in params.yaml. Expected both for images."
        )
    shape = images.shape[1:]
    problems = feature_problems(shape, groups, edge_cell_px)
    if problems:
        raise DataRefused("\n".join(problems))
    train_rows = split.rows_of("train")
    task = progress.add_task("features", total=len(images))
    write_features(
        images,
        paths.FEATURES_NPY,
        groups=groups,
        edge_cell_px=edge_cell_px,
        colour_bins=colour_bins,
        workers=workers,
        on_rows=lambda rows: progress.advance(task, rows),
    )
    pixels = image_statistics(images, train_rows)
    handmade = feature_statistics(np.load(paths.FEATURES_NPY, mmap_mode="r"), train_rows)
    return {
        "image": {
            "shape": list(shape),
            "mean": pixels.mean,
            "standard_deviation": pixels.standard_deviation,
        },
        "handmade": {
            "groups": list(groups),
            "edge_cell_px": edge_cell_px,
            "colour_bins": colour_bins,
            "names": feature_names(shape, groups, edge_cell_px, colour_bins),
            "mean": handmade.mean,
            "standard_deviation": handmade.standard_deviation,
        },
    }
