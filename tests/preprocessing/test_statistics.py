"""Means and deviations of the training rows against NumPy, and blind to every other row."""

import numpy as np
import pytest

from pipeline.preprocessing.statistics import exact_statistics, feature_statistics, train_image_statistics

RANDOM = np.random.default_rng(2)
IMAGES = RANDOM.integers(0, 256, (50, 6, 5, 3), dtype=np.uint8)
FEATURES = RANDOM.normal(5, 3, (50, 4)).astype(np.float32)
TRAIN = np.array([3, 1, 4, 15, 9, 26, 5, 35, 8, 49])


def test_image_statistics_are_those_of_numpy():
    """Per channel, pixels in [0, 1], training rows only."""
    statistics = train_image_statistics(IMAGES, TRAIN)
    pixels = IMAGES[TRAIN] / 255
    assert pixels.mean(axis=(0, 1, 2)) == pytest.approx(statistics.mean, abs=1e-12)
    assert pixels.std(axis=(0, 1, 2)) == pytest.approx(statistics.standard_deviation, abs=1e-12)


def test_feature_statistics_are_those_of_numpy():
    """Per feature, training rows only."""
    statistics = feature_statistics(FEATURES, TRAIN)
    exact = FEATURES[TRAIN].astype(np.float64)
    assert exact.mean(axis=0) == pytest.approx(statistics.mean, abs=1e-9)
    assert exact.std(axis=0) == pytest.approx(statistics.standard_deviation, abs=1e-6)


@pytest.mark.parametrize(
    ("measure", "table"), [(train_image_statistics, IMAGES), (feature_statistics, FEATURES)]
)
def test_rows_outside_the_training_split_change_nothing(measure, table):
    """Nothing learned from data sees val or test: other rows there, the same numbers to the last bit."""
    changed = table.copy()
    others = np.setdiff1d(np.arange(50), TRAIN)
    changed[others] = table[others][::-1] // 2 + 1
    assert measure(table, TRAIN) == measure(changed, TRAIN)


@pytest.mark.parametrize(
    ("measure", "table"), [(train_image_statistics, IMAGES), (feature_statistics, FEATURES)]
)
def test_neither_order_nor_chunks_show(measure, table, monkeypatch):
    """Rows named in another order give the same bits; smaller chunks the same numbers."""
    expected = measure(table, TRAIN)
    assert expected == measure(table, TRAIN[::-1])
    monkeypatch.setattr("pipeline.preprocessing.statistics.CHUNK_ROWS", 3)
    chunked = measure(table, TRAIN)
    assert expected.mean == pytest.approx(chunked.mean, rel=1e-12)
    assert expected.standard_deviation == pytest.approx(chunked.standard_deviation, rel=1e-12)


def test_what_is_constant_is_not_blown_up():
    """A column without variation gets deviation 1, so that scaling never divides by 0 or by rounding."""
    features = np.full((50, 2), 0.1, np.float32)
    features[:, 1] = 0
    assert feature_statistics(features, TRAIN).standard_deviation == [1.0, 1.0]
    assert train_image_statistics(np.full((50, 2, 2, 1), 7, np.uint8), TRAIN).standard_deviation == [1.0]


def test_sums_of_bright_pixels_do_not_overflow():
    """White images count up to 255 squared per pixel: mean 1, exactly."""
    white = np.full((4, 300, 300, 1), 255, np.uint8)
    white[0, 0, 0] = 0
    assert pytest.approx(train_image_statistics(white, np.arange(4)).mean[0], abs=1e-12) == 1 - 1 / 360_000


def test_exact_statistics_do_not_depend_on_order_or_chunks():
    """20,000 numbers of very different size, some missing: NumPy's answer, and the same bits in any order."""
    generator = np.random.default_rng(0)
    values = generator.normal(0, 1, (20_000, 2)) * 10.0 ** generator.integers(-6, 7, (20_000, 2))
    values[::7, 1] = np.nan
    measured = exact_statistics(lambda: [values], 2)
    np.testing.assert_allclose(np.nanmean(values, axis=0), measured.mean, rtol=1e-9)
    np.testing.assert_allclose(np.nanstd(values, axis=0), measured.standard_deviation, rtol=1e-9)
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(values)
        assert measured == exact_statistics(lambda shuffled=shuffled: np.array_split(shuffled, 7), 2)


def test_a_column_without_numbers_has_mean_0_and_deviation_1():
    """Nothing is divided by 0 and nothing is NaN."""
    measured = exact_statistics(lambda: [np.full((3, 1), np.nan)], 1)
    assert ([0.0], [1.0]) == (measured.mean, measured.standard_deviation)
