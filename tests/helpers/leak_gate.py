"""The real split and the real gate on small data, and small data to put through them."""

import numpy as np

from pipeline.stages.leaks import leaks
from pipeline.stages.split import split
from tests.helpers.split_data import numbered_texts, write_data

SHARES = {"val_share": 0.2, "test_share": 0.25, "salt": "millrace"}
GATE = {"max_single_score": 0.98, "near_text_similarity": 0.9, "near_series_distance": 0.01}


def run_split(method="stratified", task="classification", windows=None, **changes):
    """Split what was written; return the summary."""
    window = None if windows is None else (windows.length, windows.horizon)
    return split(method, task=task, windows=window, **{**SHARES, **changes})


def run_gate(method="stratified", task="classification", windows=None, **changes):
    """Put the split through the gate; return the summary, or raise what it raises."""
    return leaks(method=method, task=task, windows=windows, **{**GATE, **changes})


def split_and_gate(method="stratified", task="classification", windows=None, **changes):
    """Split and gate."""
    run_split(method, task, windows, **changes)
    return run_gate(method, task, windows)


def two_classes(count, seed=0):
    """Return labels drawn at random."""
    return np.random.default_rng(seed).choice(["hat", "shoe"], count).tolist()


def write_texts(count=400, **columns):
    """Write texts without anything in common, of two classes."""
    write_data(numbered_texts(count), **{"labels": two_classes(count), **columns})


def days(count):
    """Return that many days, one after the other."""
    first = np.datetime64("2020-01-01")
    return [str(first + number) for number in range(count)]


def word_of(number):
    """Return a word for a number: letters, since digits are all alike to whoever looks for near duplicates."""
    return "".join("bcdfghklmn"[int(digit)] + "aeiou"[int(digit) % 5] for digit in str(number))


def words(seed, count=300):
    """Return texts of ten words each out of a thousand."""
    rng = np.random.default_rng(seed)
    return [" ".join(word_of(number) for number in rng.integers(0, 1000, 10)) for _ in range(count)]
