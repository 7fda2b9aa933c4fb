"""Single samples come out of the payload as they went in."""

import numpy as np

from pipeline.data.samples import series_at, text_at, texts

WORDS = ["naïve", "", "日本\n語", "a"]


def payload_of(words):
    """Return UTF-8 bytes of all words, and start and length of each in bytes."""
    encoded = [word.encode() for word in words]
    lengths = np.array([len(part) for part in encoded])
    return np.frombuffer(b"".join(encoded), np.uint8), np.cumsum(lengths) - lengths, lengths


def test_texts_are_cut_at_bytes_and_not_at_characters():
    """Starts and lengths count bytes of UTF-8; letters of one, two and three bytes come back whole."""
    payload, starts, lengths = payload_of(WORDS)
    assert list(texts(payload, starts, lengths)) == WORDS
    assert text_at(payload, int(starts[2]), int(lengths[2])) == WORDS[2]


def test_a_series_is_a_view_of_its_steps():
    """Nothing is copied, and missing values stay missing."""
    payload = np.array([[1, 2], [np.nan, 4], [5, 6], [7, 8]], np.float32)
    series = series_at(payload, 1, 2)
    np.testing.assert_array_equal([[np.nan, 4], [5, 6]], series)
    assert np.shares_memory(payload, series)
