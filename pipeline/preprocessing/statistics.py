"""Means and standard deviations measured on the training rows: what scaling needs, and nothing else sees.

All functions read their memory map in chunks, so that memory does not grow with the data.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

CHUNK_ROWS = 4096
SMALLEST_DEVIATION = 1e-6
"""Relative to the mean (at least to 1): below it a column is constant up to rounding and is not scaled up."""


@dataclass(frozen=True)
class TrainStatistics:
    """One number per channel or feature.

    Attributes:
        mean: Over all training rows.
        standard_deviation: Population deviation, 1 where the column is constant, so that nobody divides by 0.
    """

    mean: list[float]
    standard_deviation: list[float]


def train_image_statistics(images: np.ndarray, train_rows: np.ndarray) -> TrainStatistics:
    """Return mean and standard deviation per channel, pixels scaled to [0, 1].

    The sums are whole numbers, so the answer is exact and does not depend on order or chunks.

    Args:
        images: uint8 pixels, shape (num_images, height, width, channels); a memory map will do.
        train_rows: Row numbers, at least one.

    Returns:
        `mean` and `standard_deviation` of length channels.
    """
    channels = images.shape[3]
    total, total_squared = np.zeros(channels, np.int64), np.zeros(channels, np.int64)
    values = np.arange(256, dtype=np.int64)
    for rows in _chunks(train_rows):
        pixels = images[rows]
        for channel in range(channels):
            counts = np.bincount(pixels[..., channel].ravel(), minlength=256)
            total[channel] += counts @ values
            total_squared[channel] += counts @ values**2
    count = len(train_rows) * images.shape[1] * images.shape[2]
    # Python's whole numbers do not overflow where the square of an int64 sum would.
    variances = [
        (count * int(square) - int(single) ** 2) / count**2
        for single, square in zip(total, total_squared, strict=True)
    ]
    mean = np.array([int(single) / count for single in total]) / 255
    return _statistics(mean, np.sqrt(variances) / 255)


def feature_statistics(features: np.ndarray, train_rows: np.ndarray) -> TrainStatistics:
    """Return mean and standard deviation per feature, in float64 and two passes.

    Args:
        features: float32, shape (num_rows, num_features); a memory map will do.
        train_rows: Row numbers, at least one.

    Returns:
        `mean` and `standard_deviation` of length num_features.
    """
    mean = np.zeros(features.shape[1])
    for rows in _chunks(train_rows):
        mean += features[rows].sum(axis=0, dtype=np.float64)
    mean /= len(train_rows)
    squares = np.zeros(features.shape[1])
    for rows in _chunks(train_rows):
        squares += ((features[rows] - mean) ** 2).sum(axis=0)
    return _statistics(mean, np.sqrt(squares / len(train_rows)))


def exact_statistics(chunks: Callable[[], Iterable[np.ndarray]], columns: int) -> TrainStatistics:
    """Return mean and standard deviation per column of the numbers that are there.

    `math.fsum` rounds once, at the end, so the same numbers in another order give the same bits.

    Args:
        chunks: Called three times per column; gives float arrays (num_rows, columns), NaN where a value is missing.
        columns: How many there are.

    Returns:
        `mean` and `standard_deviation` of length columns; 0 and 1 where a column has no number at all.
    """
    means, deviations = np.zeros(columns), np.zeros(columns)
    for column in range(columns):
        count = sum(int((~np.isnan(chunk[:, column])).sum()) for chunk in chunks())
        if not count:
            continue
        total = math.fsum(value for chunk in chunks() for value in _present(chunk[:, column]).tolist())
        means[column] = mean = total / count
        squares = math.fsum(
            value for chunk in chunks() for value in ((_present(chunk[:, column]) - mean) ** 2).tolist()
        )
        deviations[column] = math.sqrt(squares / count)
    return _statistics(means, deviations)


def _present(values: np.ndarray) -> np.ndarray:
    doubles = values.astype(np.float64)
    return doubles[~np.isnan(doubles)]


def _chunks(rows: np.ndarray) -> list[np.ndarray]:
    # Sorted: a memory map is read forwards, and the same rows in another order give the same sums.
    ordered = np.sort(rows)
    return [ordered[start : start + CHUNK_ROWS] for start in range(0, len(ordered), CHUNK_ROWS)]


def _statistics(mean: np.ndarray, deviation: np.ndarray) -> TrainStatistics:
    constant = deviation <= SMALLEST_DEVIATION * np.maximum(1.0, np.abs(mean))
    return TrainStatistics(mean.tolist(), np.where(constant, 1.0, deviation).tolist())
