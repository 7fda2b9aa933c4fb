"""Single samples out of the payload that `ingest` wrote: texts and series; images are its rows."""

from collections.abc import Iterator

import numpy as np


def text_at(payload: np.ndarray, start: int, length: int) -> str:
    """Return one text.

    Args:
        payload: UTF-8, uint8, shape (total_bytes,); may be a memmap.
        start: Its first byte.
        length: Bytes.
    """
    return bytes(payload[start : start + length]).decode()


def texts(payload: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> Iterator[str]:
    """Yield texts one by one.

    Args:
        payload: As in `text_at`.
        starts: First byte of each.
        lengths: Bytes of each.
    """
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        yield text_at(payload, start, length)


def series_at(payload: np.ndarray, start: int, length: int) -> np.ndarray:
    """Return one series, float32, shape (steps, channels); NaN where a value is missing.

    Args:
        payload: float32, shape (total_steps, channels); may be a memmap.
        start: Its first step.
        length: Steps.
    """
    steps: np.ndarray = payload[start : start + length]
    return steps
