"""What is measured of the samples of each kind of data, and how they are shown: images, texts, series."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.data.samples import series_at, text_at
from pipeline.duplicates.clusters import Duplicates, group_copies, no_near_pairs
from pipeline.duplicates.images import find_duplicates
from pipeline.duplicates.series import find_series_duplicates
from pipeline.duplicates.texts import find_text_duplicates
from pipeline.runtime.stage import DataRefused
from pipeline.validation.exhibits import Show, image_exhibits, series_exhibits, text_exhibits
from pipeline.validation.images import image_statistics, payload_problems
from pipeline.validation.payload_problems import series_problems, text_problems
from pipeline.validation.series import ChannelSums, series_statistics
from pipeline.validation.texts import text_statistics

PIXELATED_BELOW_PX = 48
"""Images smaller than this are enlarged with their pixels visible instead of blurred."""


@dataclass(frozen=True)
class Examination:
    """What was found out about all samples.

    Attributes:
        statistics: Arrays of shape (num_samples,) by name, in the order of the payload.
        duplicates: In the order of the samples.
        show: How the sample of a row is shown.
        description: What the data is, in a few words.
        pixelated: Whether images are so small that their pixels should be seen.
        sums: Of series: what is known of each channel.
    """

    statistics: Mapping[str, np.ndarray]
    duplicates: Duplicates
    show: Show
    description: str
    pixelated: bool = False
    sums: ChannelSums | None = None


def examine_images(samples: pd.DataFrame, payload: np.ndarray, near: Mapping[str, float]) -> Examination:
    """Return what there is to know of images.

    Args:
        samples: As `read_samples` returns them, sorted by row.
        payload: Pixels, uint8, shape (num_samples, height, width, channels).
        near: `near_hash_distance` and `near_pixel_difference`.

    Raises:
        DataRefused: Payload and samples do not fit.
    """
    _refuse(payload_problems(payload, samples["row"].to_numpy()))
    _, height, width, channels = payload.shape
    distance, difference = int(near["near_hash_distance"]), near["near_pixel_difference"]
    return Examination(
        statistics=image_statistics(payload),
        duplicates=find_duplicates(samples["content_sha256"].tolist(), payload, distance, difference),
        show=image_exhibits(payload),
        description=f"{len(payload):,} {'grey' if channels == 1 else 'colour'} images of {width} x {height} pixels",
        pixelated=max(height, width) < PIXELATED_BELOW_PX,
    )


def examine_texts(samples: pd.DataFrame, payload: np.ndarray, near: Mapping[str, float]) -> Examination:
    """Return what there is to know of texts.

    Args:
        samples: As `read_samples` returns them, sorted by row.
        payload: UTF-8, uint8, shape (bytes,).
        near: `near_text_similarity`.

    Raises:
        DataRefused: Payload and samples do not fit, or it is not UTF-8.
    """
    rows, starts, lengths = _ranges(samples)
    _refuse(text_problems(payload, rows, starts, lengths))
    texts = _decoded(samples["sample_id"].tolist(), payload, starts, lengths)
    statistics = text_statistics(texts)
    characters = statistics["characters"]
    return Examination(
        statistics=statistics,
        duplicates=find_text_duplicates(
            samples["content_sha256"].tolist(), texts, near["near_text_similarity"]
        ),
        show=text_exhibits(texts),
        description=f"{len(texts):,} texts of {_span(characters)} characters",
    )


def examine_series(
    samples: pd.DataFrame,
    payload: np.ndarray,
    near: Mapping[str, float],
    channels: Sequence[str],
    *,
    has_anomalies: bool,
    windowed: bool,
) -> Examination:
    """Return what there is to know of series.

    Args:
        samples: As `read_samples` returns them, sorted by row.
        payload: float32, shape (steps, channels), NaN where a value is missing; one channel more with anomalies.
        near: `near_series_distance`.
        channels: Their names.
        has_anomalies: Whether the last channel says which steps are labelled.
        windowed: Whether samples are windows over these series: each series is a cluster of its own then.

    Raises:
        DataRefused: Payload and samples do not fit.
    """
    rows, starts, lengths = _ranges(samples)
    columns = len(channels) + has_anomalies
    _refuse(series_problems(payload, rows, starts, lengths, columns, has_anomalies=has_anomalies))
    values = np.asarray(payload)[
        :, : len(channels)
    ]  # slices of a plain array are cheaper than of a memory map
    series = [
        series_at(values, start, length)
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
    ]
    statistics, sums = series_statistics(series)
    content = samples["content_sha256"].tolist()
    return Examination(
        statistics=statistics,
        duplicates=group_copies(content, no_near_pairs)
        if windowed
        else find_series_duplicates(content, series, near["near_series_distance"]),
        show=series_exhibits(series),
        description=f"{len(series):,} series of {_span(lengths)} steps, {len(channels)} "
        f"channel{'s' if len(channels) > 1 else ''}",
        sums=sums,
    )


def _ranges(samples: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return samples["row"].to_numpy(), samples["start"].to_numpy(), samples["length"].to_numpy()


def _span(numbers: np.ndarray) -> str:
    low, high = int(numbers.min()), int(numbers.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _decoded(
    sample_ids: Sequence[str], payload: np.ndarray, starts: np.ndarray, lengths: np.ndarray
) -> list[str]:
    texts, problems = [], []
    for sample_id, start, length in zip(sample_ids, starts.tolist(), lengths.tolist(), strict=True):
        try:
            texts.append(text_at(payload, start, length))
        except UnicodeDecodeError as error:
            problems.append(f"{sample_id} ({error.reason})")
    if problems:
        shown = ", ".join(problems[:5]) + (" ..." if len(problems) > 5 else "")
        _refuse(
            [f"The payload is not UTF-8. Expected texts. Received: {len(problems):,} that are none: {shown}."]
        )
    return texts


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise DataRefused("\n".join([*problems, "Run `dvc repro ingest`."]))
