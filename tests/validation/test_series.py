"""Statistics of single series and sums over channels."""

import numpy as np
import pandas as pd
import pytest

from pipeline.validation import series as validation_series
from pipeline.validation.series import series_statistics, significant


def ragged(seed=0):
    """Return series of 5 to 60 steps and 3 channels with gaps, float32."""
    random = np.random.default_rng(seed)
    series = []
    for steps in (5, 17, 60, 33):
        values = (random.standard_normal((steps, 3)) * [1, 100, 1e-3]).astype(np.float32)
        values[random.random((steps, 3)) < 0.2] = np.nan
        series.append(values)
    return series


def test_statistics_agree_with_pandas():
    """Length, missing share, extremes and mean are what pandas computes of each series."""
    series = ragged()
    found, _ = series_statistics(series)
    for row, values in enumerate(series):
        reference = pd.Series(values.astype(np.float64).ravel())
        assert found["steps"][row] == len(values)
        assert found["missing_share"][row] == pytest.approx(reference.isna().mean(), abs=1e-8)
        assert found["minimum"][row] == pytest.approx(reference.min(), rel=1e-8)
        assert found["mean"][row] == pytest.approx(reference.mean(), rel=1e-7)
        assert found["maximum"][row] == pytest.approx(reference.max(), rel=1e-8)


def test_channels_agree_with_pandas():
    """Sums over all series are those of one table of all steps."""
    series = ragged()
    _, sums = series_statistics(series)
    table = pd.DataFrame(np.concatenate(series).astype(np.float64))
    assert sums.steps == len(table)
    np.testing.assert_array_equal(table.count(), sums.known)
    np.testing.assert_allclose(table.mean(), sums.means(), rtol=1e-12)
    np.testing.assert_array_equal(table.min(), sums.minimum)
    np.testing.assert_array_equal(table.max(), sums.maximum)


def test_constant_channels_and_infinite_values_are_counted():
    """Two channels of three without a course, one infinite value that is neither missing nor an extreme."""
    values = np.array([[1, 5, np.nan], [2, 5, np.nan], [np.inf, np.nan, np.nan]], np.float32)
    found, _ = series_statistics([values])
    assert found["constant_share"][0] == pytest.approx(2 / 3, abs=1e-8)
    assert found["non_finite"][0] == 1
    assert found["missing_share"][0] == pytest.approx(4 / 9, abs=1e-8)
    assert found["maximum"][0] == 5


def test_a_series_without_values_has_no_extremes():
    """All missing: share 1, extremes and mean NaN, no warning."""
    found, sums = series_statistics([np.full((4, 2), np.nan, np.float32)])
    assert found["missing_share"][0] == 1
    assert np.isnan([found[name][0] for name in ("minimum", "mean", "maximum")]).all()
    assert sums.constant().all()


def test_chunks_change_nothing(monkeypatch):
    """The size of a chunk shows in no statistic."""
    series = ragged()
    whole, _ = series_statistics(series)
    monkeypatch.setattr(validation_series, "CHUNK_STEPS", 7)
    for name, values in series_statistics(series)[0].items():
        np.testing.assert_array_equal(whole[name], values)


def test_nine_digits_are_kept():
    """Large and small numbers alike, NaN stays, no negative zero."""
    found = significant(np.array([1234567891.5, 1.23456789154e-7, np.nan, -0.0]))
    np.testing.assert_array_equal([1234567890.0, 1.23456789e-7, np.nan, 0.0], found)
    assert not np.signbit(found[3])
