"""Statistics of single texts: what suites, reports and reviewers look at before they read."""

import re
from collections.abc import Iterable

import numpy as np

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
