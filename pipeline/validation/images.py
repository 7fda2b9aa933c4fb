"""Statistics of single images: what suites, reports and reviewers look at instead of pixels."""

import numpy as np

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
