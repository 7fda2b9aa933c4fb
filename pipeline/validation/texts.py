"""Statistics of single texts: what suites, reports and reviewers look at before they read."""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from pipeline.data.samples import text_at
from pipeline.duplicates.texts import find_text_duplicates
from pipeline.validation.profile import DataProfile, Preview, Show, _range_problems, _ranges, _refuse, _span

SHOWN_CHARACTERS = 160
CONTROL_PICTURES = {code: 0x2400 + code for code in range(32)} | {0x7F: 0x2421}
"""A control character is shown by the sign that Unicode has for it: HTML knows no NUL."""


def text_previews(texts: Sequence[str]) -> Show:
    """Return how texts are shown: by their first 160 characters, control characters made visible."""
    return lambda row: Preview(text=shortened(texts[row]))


def shortened(text: str) -> str:
    """Return the beginning of a text with control characters made visible; of an empty one, that it is."""
    if not text.strip():
        return "(empty)"
    beginning = text[:SHOWN_CHARACTERS].translate(CONTROL_PICTURES)
    return beginning + ("\N{HORIZONTAL ELLIPSIS}" if len(text) > SHOWN_CHARACTERS else "")


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


DECIMALS = 6
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Control characters but tab and line ends; those from 0x80 on are what Windows-1252 read as Latin-1 leaves."""


def text_statistics(texts: Iterable[str]) -> dict[str, np.ndarray]:
    """Return one number per text and statistic.

    Args:
        texts: As they are; read once.

    Returns:
        Arrays of shape (num_texts,) by name. `characters`; `words`: pieces between white space;
        `non_letter_share`: of the characters that are not white space, 0 for none; `control_characters`:
        without tab and line ends; `replacement_characters`: what a wrong encoding leaves; `empty`: 1 if there
        is nothing but white space, else 0; `length_ratio`: characters divided by their median, at least 1.
    """
    names = (
        "characters",
        "words",
        "non_letter_share",
        "control_characters",
        "replacement_characters",
        "empty",
    )
    measured = np.array([_measure(text) for text in texts], np.float64).reshape(-1, len(names))
    statistics = dict(zip(names, measured.T, strict=True))
    median = float(np.median(statistics["characters"])) if len(measured) else 1.0
    statistics["length_ratio"] = (statistics["characters"] / max(median, 1.0)).round(DECIMALS)
    return statistics


def _measure(text: str) -> tuple[float, ...]:
    words = text.split()
    visible = sum(map(len, words))
    letters = sum(map(str.isalpha, text))
    return (
        len(text),
        len(words),
        round(1 - letters / visible, DECIMALS) if visible else 0.0,
        len(text) - len(_CONTROL.sub("", text)),
        text.count(REPLACEMENT),
        float(not words),
    )


def profile_texts(samples: pd.DataFrame, payload: np.ndarray, near: Mapping[str, float]) -> DataProfile:
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
    return DataProfile(
        statistics=statistics,
        duplicates=find_text_duplicates(
            samples["content_sha256"].tolist(), texts, near["near_text_similarity"]
        ),
        show=text_previews(texts),
        description=f"{len(texts):,} texts of {_span(characters)} characters",
    )


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
