"""Statistics of single texts."""

import numpy as np
import pytest

from pipeline.validation.texts import text_statistics


def test_a_hand_worked_text():
    """`Win 20 now!`: 11 characters, 3 words, 3 of 9 visible ones no letters."""
    found = {name: values[0] for name, values in text_statistics(["Win 20 now!"]).items()}
    assert found["characters"] == 11
    assert found["words"] == 3
    assert found["non_letter_share"] == pytest.approx(3 / 9, abs=1e-6)
    assert found["empty"] == 0
    assert found["length_ratio"] == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a\tb\r\nc", 0), ("a\x00b\x1b", 2), ("\x85 \x93so\x94", 3), ("pi\u00f1ata \u20ac", 0)],
)
def test_control_characters_are_counted(text, expected):
    """Tab and line ends are none; what Windows-1252 read as Latin-1 leaves is."""
    assert expected == text_statistics([text])["control_characters"][0]


def test_replacement_characters_are_counted():
    """UTF-8 decoding with errors replaced leaves them."""
    texts = [b"pi\xf1ata na\xefve".decode(errors="replace"), "fine"]
    assert text_statistics(texts)["replacement_characters"].tolist() == [2, 0]


def test_empty_texts_are_named():
    """Nothing, spaces and line ends are empty, and no statistic is NaN."""
    found = text_statistics(["", " \n", "a"])
    assert found["empty"].tolist() == [1, 1, 0]
    assert all(np.isfinite(values).all() for values in found.values())


def test_lengths_are_compared_with_the_median():
    """Lengths 2, 4 and 40 have the median 4: ratios 0.5, 1 and 10."""
    assert text_statistics(["ab", "abcd", "a" * 40])["length_ratio"].tolist() == [0.5, 1, 10]


def test_no_texts_give_empty_statistics():
    """An empty set has statistics of length 0, under the same names."""
    found = text_statistics([])
    assert {"characters", "empty", "length_ratio"} < set(found)
    assert all(len(values) == 0 for values in found.values())
