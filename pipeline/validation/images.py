"""Statistics of single images: what suites, reports and reviewers look at instead of pixels."""

import base64
import io
from collections.abc import Mapping

import numpy as np
import pandas as pd
from PIL import Image

from pipeline.duplicates.images import find_duplicates
from pipeline.validation.profile import DataProfile, Preview, Show, _refuse

THUMBNAIL_PX = 96


def image_previews(images: np.ndarray) -> Show:
    """Return how samples of a payload of images are shown.

    Args:
        images: Pixels, uint8, shape (num_samples, height, width, channels).
    """
    return lambda row: Preview(source=thumbnail(images[row]))


def thumbnail(image: np.ndarray) -> str:
    """Return an image as the `src` of an `<img>`: PNG of at most 96 x 96 pixels inside the text.

    Args:
        image: Pixels, uint8, shape (height, width, 1 or 3).
    """
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    content = io.BytesIO()
    picture.save(content, format="PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode("ascii")


CHUNK_PIXELS = 1 << 22
"""Pixel values worked on at once: the histogram step needs about 20 bytes of memory for each."""
DECIMALS = 6
"""Digits kept: the last bits of a logarithm differ between processors, these do not."""


def payload_problems(images: np.ndarray, rows: np.ndarray) -> list[str]:
    """Return what is wrong with a payload as a whole, one message each; empty if nothing is.

    Args:
        images: What should be pixels, uint8, shape (num_samples, height, width, channels).
        rows: Where each sample says that its image is, shape (num_samples,).
    """
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        problem = (
            "The payload is not a stack of images. Expected at least one image, uint8, of shape (samples, height, "
            f"width, 1 or 3). Received: {images.dtype} {images.shape}."
        )
        return [problem]
    if not np.array_equal(np.sort(rows), np.arange(len(images))):
        problem = (
            "Payload and sample table disagree. Expected one sample for each image. "
            f"Received: images={len(images)}, samples={len(rows)}, different rows={len(np.unique(rows))}."
        )
        return [problem]
    return []


def image_statistics(images: np.ndarray) -> dict[str, np.ndarray]:
    """Return one number per image and statistic, all over every pixel and channel of the image.

    Args:
        images: Pixels, uint8, shape (num_images, height, width, channels); may be memory-mapped.

    Returns:
        Arrays of shape (num_images,) by name. Pixels count as 0 to 1: `mean`, `standard_deviation`,
        `minimum`, `maximum`; `black_share` and `white_share`: share of pixel values at 0 and at 255;
        `entropy_bits`: of the 256-bin histogram, 0 (constant) to 8.
    """
    pixels_per_image = int(np.prod(images.shape[1:]))
    step = max(1, CHUNK_PIXELS // max(1, pixels_per_image))
    chunks = [_statistics(_histograms(images[start : start + step])) for start in range(0, len(images), step)]
    if not chunks:
        return {name: np.empty(0) for name in _statistics(np.ones((1, 256), np.int64))}
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _histograms(images: np.ndarray) -> np.ndarray:
    """Return how often each of 256 values occurs per image, int64, shape (num_images, 256)."""
    values = images.reshape(len(images), -1)
    places = np.arange(len(images), dtype=np.int32)[:, None] * 256 + values
    return np.bincount(places.ravel(), minlength=len(images) * 256).reshape(-1, 256)


def _statistics(histograms: np.ndarray) -> dict[str, np.ndarray]:
    # Sums of whole numbers are exact, so mean and deviation do not depend on chunks or on the processor.
    levels = np.arange(256)
    count = histograms.sum(axis=1)
    total = histograms @ levels
    squares = histograms @ levels**2
    present = histograms > 0
    share = histograms / count[:, None]
    logarithms = np.log2(share, out=np.zeros_like(share), where=present)
    statistics = {
        "mean": total / count / 255,
        "standard_deviation": np.sqrt(count * squares - total**2) / count / 255,
        "minimum": present.argmax(axis=1) / 255,
        "maximum": (255 - present[:, ::-1].argmax(axis=1)) / 255,
        "black_share": share[:, 0],
        "white_share": share[:, 255],
        "entropy_bits": -(share * logarithms).sum(axis=1),
    }
    # Adding 0 turns the -0.0 of a constant image into 0.0.
    return {name: values.round(DECIMALS) + 0.0 for name, values in statistics.items()}


PIXELATED_BELOW_PX = 48
"""Images smaller than this are enlarged with their pixels visible instead of blurred."""


def profile_images(samples: pd.DataFrame, payload: np.ndarray, near: Mapping[str, float]) -> DataProfile:
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
    return DataProfile(
        statistics=image_statistics(payload),
        duplicates=find_duplicates(samples["content_sha256"].tolist(), payload, distance, difference),
        show=image_previews(payload),
        description=f"{len(payload):,} {'grey' if channels == 1 else 'colour'} images of {width} x {height} pixels",
        pixelated=max(height, width) < PIXELATED_BELOW_PX,
    )
