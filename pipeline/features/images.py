"""Hand-made features of images: colour, texture and edges, as numbers with names; and what is fitted on images.

The vector of an image depends on that image alone, so the result is the same whatever the number of
worker processes. What is learned from data (means and deviations) lives in `pipeline.preprocessing.statistics`.
"""

import itertools
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from skimage.color import rgb2gray, rgb2hsv
from skimage.feature import graycomatrix, graycoprops, hog, local_binary_pattern
from skimage.filters import sobel

from pipeline.data.samples import SplitTable
from pipeline.features.limits import cells_per_block, feature_problems
from pipeline.preprocessing.statistics import feature_statistics, train_image_statistics
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from pipeline.runtime.files import atomic_path, reserve
from pipeline.runtime.processes import die_with_parent

if TYPE_CHECKING:
    from rich.progress import Progress

ORIENTATIONS = 9
"""Directions per cell; 9 over 180 degrees is the choice of Dalal and Triggs (2005)."""
GREY_LEVELS = 16
"""Levels of the co-occurrence matrix; with 256 it would be nearly empty on small images."""
COOCCURRENCE = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation")
ANGLES_DEGREES = (0, 45, 90, 135)
PATTERNS = ((8, 1), (16, 2))
"""Neighbours and radius in pixels of each local binary pattern."""
SOBEL_QUANTILES = (0.5, 0.75, 0.9)
CHUNK_ROWS = 256
POOL_ROWS = 8 * CHUNK_ROWS
"""Below so many images, starting worker processes costs more than they save."""

Shape = tuple[int, int, int]


def write_image_features(
    images: np.ndarray,
    split: SplitTable,
    *,
    groups: Sequence[str],
    edge_cell_px: int | None,
    colour_bins: int | None,
    progress: "Progress",
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
    pixels = train_image_statistics(images, train_rows)
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


def feature_names(shape: Shape, groups: Sequence[str], edge_cell_px: int, colour_bins: int) -> list[str]:
    """Return the name of every number in the vector of `image_features`, in its order.

    Args:
        shape: Height, width (pixels) and channels of the images.
        groups: Any of `colour`, `texture`, `edges`, in the order wanted.
        edge_cell_px: Side of a cell in the histogram of oriented gradients, in pixels.
        colour_bins: Bins of each colour histogram.
    """
    names_of: dict[str, Callable[[], list[str]]] = {
        "colour": lambda: _colour_names(shape, colour_bins),
        "texture": _texture_names,
        "edges": lambda: _edge_names(shape, edge_cell_px),
    }
    return [f"{group}/{name}" for group in groups for name in names_of[group]()]


def image_features(
    image: np.ndarray, groups: Sequence[str], edge_cell_px: int, colour_bins: int
) -> np.ndarray:
    """Return the feature vector of one image.

    Args:
        image: uint8 pixels, shape (height, width, channels) with 1 or 3 channels.
        groups: As in `feature_names`.
        edge_cell_px: As in `feature_names`.
        colour_bins: As in `feature_names`.

    Returns:
        float32, shape (num_features,).
    """
    grey = _grey(image)
    vector_of: dict[str, Callable[[], np.ndarray]] = {
        "colour": lambda: _colour_features(image, colour_bins),
        "texture": lambda: _texture_features(grey),
        "edges": lambda: _edge_features(grey, edge_cell_px),
    }
    parts = [vector_of[group]() for group in groups]
    return np.concatenate([np.empty(0), *parts]).astype(np.float32)


def write_features(
    images: np.ndarray,
    path: Path,
    *,
    groups: Sequence[str],
    edge_cell_px: int,
    colour_bins: int,
    workers: int = 1,
    on_rows: Callable[[int], None] = lambda _rows: None,
) -> None:
    """Write the features of all images as one `.npy`, all or nothing; memory does not grow with the data.

    Args:
        images: uint8 pixels, shape (num_images, height, width, channels); a memory map will do.
        path: The file; float32, shape (num_images, num_features).
        groups: As in `feature_names`; none gives zero columns.
        edge_cell_px: As in `feature_names`.
        colour_bins: As in `feature_names`.
        workers: Processes side by side; the bytes do not depend on it.
        on_rows: Told how many more images are done, for a progress bar.

    Raises:
        ValueError: A feature is not a finite number.
    """
    height, width, channels = images.shape[1:]
    names = feature_names((height, width, channels), groups, edge_cell_px, colour_bins)
    extract = partial(_chunk_features, groups=groups, edge_cell_px=edge_cell_px, colour_bins=colour_bins)
    with atomic_path(path) as temporary:
        # An empty array cannot be memory-mapped.
        if not names or not len(images):
            np.save(temporary, np.empty((len(images), len(names)), np.float32))
            return
        shape = (len(images), len(names))
        table = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
        reserve(temporary)
        start = 0
        for vectors in _mapped(extract, images, workers):
            _check_finite(vectors, start, names)
            table[start : start + len(vectors)] = vectors
            start += len(vectors)
            on_rows(len(vectors))
        table.flush()


def _mapped(
    extract: Callable[[np.ndarray], np.ndarray], images: np.ndarray, workers: int
) -> Iterator[np.ndarray]:
    """Yield `extract` of each chunk of images, in order."""
    chunks = [np.asarray(images[start : start + CHUNK_ROWS]) for start in range(0, len(images), CHUNK_ROWS)]
    if workers == 1 or len(images) < POOL_ROWS:
        yield from map(extract, chunks)
        return
    # spawn: a forked child would inherit the stage's lock and threads in an unknown state.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _follow_parent, (os.getpid(),)) as pool:
        yield from pool.map(extract, chunks)


def _follow_parent(parent: int) -> None:
    """Die with the stage: a worker whose stage was killed would wait for work for ever."""
    os.environ["MILLRACE_PARENT"] = str(parent)
    die_with_parent()


def _chunk_features(
    images: np.ndarray, groups: Sequence[str], edge_cell_px: int, colour_bins: int
) -> np.ndarray:
    return np.stack([image_features(image, groups, edge_cell_px, colour_bins) for image in images])


def _check_finite(vectors: np.ndarray, start: int, names: list[str]) -> None:
    broken = np.argwhere(~np.isfinite(vectors))
    if len(broken):
        row, column = broken[0]
        raise ValueError(
            f"Feature {names[column]} of image row {start + row} is not finite. Expected a number. "
            f"Received: {vectors[row, column]}. Look at that image."
        )


def _grey(image: np.ndarray) -> np.ndarray:
    """Return uint8 grey values, shape (height, width)."""
    if image.shape[2] == 1:
        return image[:, :, 0]
    grey: np.ndarray = np.rint(rgb2gray(image) * 255).astype(np.uint8)
    return grey


def _colour_names(shape: Shape, colour_bins: int) -> list[str]:
    channels = ("grey",) if shape[2] == 1 else ("red", "green", "blue", "hue", "saturation", "value")
    statistics = ("mean", "standard_deviation", *(f"bin_{index}" for index in range(colour_bins)))
    # The mean of an angle says little: red is both 0 and 1.
    return [
        f"{channel}/{statistic}"
        for channel in channels
        for statistic in statistics
        if channel != "hue" or statistic.startswith("bin_")
    ]


def _colour_features(image: np.ndarray, colour_bins: int) -> np.ndarray:
    channels = image / 255.0
    if image.shape[2] == 3:
        channels = np.concatenate([channels, rgb2hsv(image)], axis=2)
    parts = []
    for index in range(channels.shape[2]):
        channel = channels[:, :, index]
        if index != 3:
            parts.append(np.array([channel.mean(), channel.std()]))
        counts, _edges = np.histogram(channel, bins=colour_bins, range=(0, 1))
        parts.append(counts / channel.size)
    return np.concatenate(parts)


def _texture_names() -> list[str]:
    patterns = [
        f"pattern_{neighbours}_{radius}/bin_{index}"
        for neighbours, radius in PATTERNS
        for index in range(neighbours + 2)
    ]
    pairs = [f"cooccurrence/{name}_{angle}" for name in COOCCURRENCE for angle in ANGLES_DEGREES]
    return patterns + pairs


def _texture_features(grey: np.ndarray) -> np.ndarray:
    parts = []
    for neighbours, radius in PATTERNS:
        codes = local_binary_pattern(grey, neighbours, radius, method="uniform").astype(np.int64)
        parts.append(np.bincount(codes.ravel(), minlength=neighbours + 2) / grey.size)
    matrix = graycomatrix(
        grey // (256 // GREY_LEVELS),
        distances=[1],
        angles=np.radians(ANGLES_DEGREES),
        levels=GREY_LEVELS,
        symmetric=True,
        normed=True,
    )
    parts += [graycoprops(matrix, name)[0] for name in COOCCURRENCE]
    return np.concatenate(parts)


def _edge_names(shape: Shape, edge_cell_px: int) -> list[str]:
    down, across = cells_per_block(shape, edge_cell_px)
    blocks = (shape[0] // edge_cell_px - down + 1, shape[1] // edge_cell_px - across + 1)
    sides = (*blocks, down, across, ORIENTATIONS)
    gradients = [
        f"gradients/block_{block_row}_{block_column}/cell_{row}_{column}/orientation_{orientation}"
        for block_row, block_column, row, column, orientation in itertools.product(*map(range, sides))
    ]
    quantiles = [f"sobel/quantile_{quantile}" for quantile in SOBEL_QUANTILES]
    return [*gradients, "sobel/mean", "sobel/standard_deviation", "sobel/max", *quantiles]


def _edge_features(grey: np.ndarray, edge_cell_px: int) -> np.ndarray:
    gradients = hog(
        grey,
        orientations=ORIENTATIONS,
        pixels_per_cell=(edge_cell_px, edge_cell_px),
        cells_per_block=cells_per_block((*grey.shape, 1), edge_cell_px),
        block_norm="L2-Hys",
    )
    magnitude = sobel(grey / 255.0)
    statistics = [magnitude.mean(), magnitude.std(), magnitude.max()]
    return np.concatenate([gradients, statistics, np.quantile(magnitude, SOBEL_QUANTILES)])
