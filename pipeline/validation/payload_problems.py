"""What can be wrong with a payload as a whole, before any single sample is looked at."""

import numpy as np

from pipeline.validation.images import payload_problems as image_problems

__all__ = ["image_problems", "series_problems", "text_problems"]


def text_problems(
    payload: np.ndarray, rows: np.ndarray, starts: np.ndarray, lengths: np.ndarray
) -> list[str]:
    """Return what is wrong with a payload of texts, one message each; empty if nothing is.

    Args:
        payload: What should be UTF-8, uint8, shape (bytes,).
        rows: Number of each sample, shape (num_samples,).
        starts: First byte of each sample.
        lengths: Bytes of each sample.
    """
    if payload.ndim != 1 or payload.dtype != np.uint8:
        problem = (
            "The payload holds no texts. Expected bytes in one row, uint8. "
            f"Received: {payload.dtype} {payload.shape}."
        )
        return [problem]
    return _range_problems(len(payload), rows, starts, lengths)


def series_problems(
    payload: np.ndarray,
    rows: np.ndarray,
    starts: np.ndarray,
    lengths: np.ndarray,
    columns: int,
    *,
    has_anomalies: bool,
) -> list[str]:
    """Return what is wrong with a payload of series, one message each; empty if nothing is.

    Args:
        payload: What should be steps, float32, shape (steps, columns).
        rows: Number of each sample, shape (num_samples,).
        starts: First step of each sample.
        lengths: Steps of each sample.
        columns: How many channels there should be, the one of labelled anomalies included.
        has_anomalies: Whether the last of them says which steps are labelled.
    """
    if payload.ndim != 2 or payload.dtype != np.float32 or payload.shape[1] != columns or 0 in payload.shape:
        problem = (
            "The payload holds no series. Expected at least one step, float32, of shape (steps, "
            f"{columns}). Received: {payload.dtype} {payload.shape}."
        )
        return [problem]
    problems = _range_problems(len(payload), rows, starts, lengths)
    if has_anomalies and not _zeros_and_ones(payload[:, -1]):
        problems.append(
            "The payload does not say of every step whether it is labelled. Expected 0 or 1 in the last channel. "
            "Received: other values."
        )
    return problems


def channel_problems(channels: tuple[str, ...], wanted: tuple[str, ...]) -> list[str]:
    """Return which columns that params.yaml names are no channels of the data, as messages.

    Args:
        channels: Names of the channels.
        wanted: `data.windows.targets`, `known` and `known_categorical` together.
    """
    unknown = sorted(set(wanted) - set(channels))
    if not unknown:
        return []
    problem = (
        "params.yaml: data.windows names columns that the series do not have. Expected some of "
        f"{', '.join(channels)}. Received: {', '.join(unknown)}. Correct targets, known or known_categorical."
    )
    return [problem]


def _range_problems(size: int, rows: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> list[str]:
    """Return whether the samples are the payload: every element in exactly one of them, in order of row."""
    if not np.array_equal(np.sort(rows), np.arange(len(rows))):
        problem = (
            "The sample table does not number its samples. Expected rows 0, 1, 2 and so on. "
            f"Received: samples={len(rows)}, different rows={len(np.unique(rows))}."
        )
        return [problem]
    order = np.argsort(rows, kind="stable")
    stops = np.concatenate([[0], (starts + lengths)[order]])
    if np.array_equal(stops[:-1], starts[order]) and (lengths >= 0).all() and stops[-1] == size:
        return []
    problem = (
        "Payload and sample table disagree. Expected samples one after the other, up to the end of the payload. "
        f"Received: payload of {size}, samples that end at {int(stops.max())} and hold {int(lengths.sum())} together."
    )
    return [problem]


def _zeros_and_ones(values: np.ndarray) -> bool:
    return bool(((values == 0) | (values == 1)).all())
