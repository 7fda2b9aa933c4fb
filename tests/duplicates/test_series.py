"""Exact and near copies among series."""

import hashlib
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import zscore

from pipeline.duplicates import series as duplicates_series
from pipeline.duplicates.clusters import Clusters
from pipeline.duplicates.series import (
    find_series_duplicates,
    near_series_pairs,
    scaled_channel,
    shape_distance,
)


def walks(number, steps=40, channels=1, seed=0):
    """Return random walks, float32, shape (steps, channels) each."""
    random = np.random.default_rng(seed)
    return list(random.standard_normal((number, steps, channels)).cumsum(axis=1).astype(np.float32))


def contents(series):
    """Return a hash per series."""
    return [hashlib.sha256(one.tobytes()).hexdigest() for one in series]


def groups_of(number, pairs):
    """Return who stands together, as a set of sets."""
    groups = Clusters(number)
    groups.join(np.array(pairs, dtype=np.int64).reshape(-1, 2))
    return {frozenset(np.flatnonzero(groups.labels == label).tolist()) for label in set(groups.labels)}


def drifting(seed, number=60, channels=2):
    """Return walks of 12 to 40 steps with neighbours at growing distance, in other units."""
    random = np.random.default_rng(seed)
    series = []
    while len(series) < number:
        first = walks(1, int(random.integers(12, 40)), channels, int(random.integers(2**31)))[0]
        for _ in range(4):
            noise = random.standard_normal(first.shape) * random.choice([0, 0.01, 0.1, 0.3])
            series.append(((first + noise) * random.uniform(1, 5) + random.uniform(-9, 9)).astype(np.float32))
        series.append(np.repeat(first, 2, axis=0))
    return series


def brute_force(series, distance):
    """Return who stands together after comparing all that have a shape with all."""
    shaped = [any(scaled_channel(one[:, channel]).any() for channel in range(one.shape[1])) for one in series]
    pairs = [
        (i, j)
        for j in range(len(series))
        for i in range(j)
        if shaped[i] and shaped[j] and shape_distance(series[i], series[j]) <= distance
    ]
    return groups_of(len(series), pairs)


def test_scaling_agrees_with_scipy():
    """A channel without gaps is its z-score."""
    values = walks(1)[0][:, 0]
    np.testing.assert_allclose(zscore(values.astype(np.float64)), scaled_channel(values), atol=1e-12)


def test_gaps_are_bridged_by_straight_lines():
    """Missing and infinite values are interpolated between their neighbours, and held at the ends."""
    values = np.array([np.nan, 1, 2, np.nan, 4, 5, np.inf, 7, 8, 9, 10, np.nan], np.float32)
    filled = np.array([1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10], np.float64)
    np.testing.assert_allclose(zscore(filled), scaled_channel(values), atol=1e-12)


@pytest.mark.parametrize(
    "values",
    [np.full(20, 3.0), np.array([1.0, 2.0, 3.0]), np.full(20, np.nan), np.float32(1e6) + np.zeros(20)],
)
def test_a_channel_without_course_has_no_shape(values):
    """Constant, short and unknown channels are zeros."""
    assert not scaled_channel(values.astype(np.float32)).any()


def test_the_distance_is_the_root_mean_square_by_hand():
    """Over equal steps and two channels it is what NumPy computes of the z-scores."""
    first, second = walks(2, 30, 2)
    expected = np.sqrt(np.mean((zscore(first.astype(float)) - zscore(second.astype(float))) ** 2))
    assert shape_distance(first, second) == pytest.approx(expected, abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 30), st.integers(8, 30), st.integers(0, 2**31 - 1))
def test_other_lengths_are_compared_over_relative_time(steps, others, seed):
    """As if each step were written so often that both have the same length."""
    first, second = walks(1, steps, 1, seed)[0], walks(1, others, 1, seed + 1)[0]
    expected = shape_distance(np.repeat(first, others, axis=0), np.repeat(second, steps, axis=0))
    assert shape_distance(first, second) == pytest.approx(expected, abs=2e-5)


def test_units_offsets_and_doubled_steps_keep_the_shape():
    """A copy in Fahrenheit, and one with each step written three times, are near duplicates at distance 0."""
    (first,) = walks(1)
    series = [first, (first * 1.8 + 32).astype(np.float32), np.repeat(first, 3, axis=0), *walks(1, seed=1)]
    found = find_series_duplicates(contents(series), series, 0.0)
    assert found.near_copies.tolist() == [2, 2, 2, 0]
    assert found.exact_copies.sum() == 0
    assert found.cluster[0] == min(contents(series)[:3])


def test_a_mirrored_series_is_another():
    """Upside down and backwards are other shapes."""
    (first,) = walks(1)
    assert len(near_series_pairs([first, -first, first[::-1].copy()], 0.1)) == 0


@pytest.mark.long
@pytest.mark.parametrize("distance", [0.0, 0.02, 0.1, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_clusters_agree_with_comparing_all(seed, distance):
    """The search along a line over coarse shapes finds exactly the clusters of comparing all with all."""
    series = drifting(seed)
    assert brute_force(series, distance) == groups_of(len(series), near_series_pairs(series, distance))


def test_coarse_shapes_and_blocks_change_no_cluster(monkeypatch):
    """With few segments and tiny blocks the same clusters are found."""
    series = drifting(9)
    expected = brute_force(series, 0.05)
    for name, value in (("COARSE_VALUES", 1), ("BLOCK_ROWS", 5), ("BLOCK_COLUMNS", 7), ("BATCH_PAIRS", 3)):
        monkeypatch.setattr(duplicates_series, name, value)
    assert expected == groups_of(len(series), near_series_pairs(series, 0.05))


def test_spikes_at_other_steps_are_told_apart():
    """A flat line of 1,000 steps with one spike: coarse shapes may agree, the full ones do not."""
    series = [np.zeros((1000, 1), np.float32) for _ in range(2)]
    series[0][500], series[1][501] = 1, 1
    assert len(near_series_pairs(series, 0.1)) == 0


def test_constant_series_are_not_glued_together():
    """Series without a course have exact copies only."""
    series = [np.full((20, 1), level, np.float32) for level in (1, 2, 2)]
    found = find_series_duplicates(contents(series), series, 0.5)
    assert found.near_copies.tolist() == [0, 0, 0]
    assert found.exact_copies.tolist() == [0, 1, 1]


def test_the_order_of_rows_does_not_matter():
    """Shuffled series get the same cluster, each."""
    series = drifting(4)
    order = np.random.default_rng(2).permutation(len(series))
    straight = find_series_duplicates(contents(series), series, 0.1)
    shuffled_series = [series[place] for place in order]
    shuffled = find_series_duplicates(contents(shuffled_series), shuffled_series, 0.1)
    assert straight.cluster[order].tolist() == shuffled.cluster.tolist()


def test_thousands_of_series_take_seconds():
    """20,000 walks with one planted copy: found, without comparing 200 million pairs in full."""
    series = walks(20_000, 32)
    series[17] = (series[4321] * 2 + 1).astype(np.float32)
    start = time.perf_counter()
    pairs = near_series_pairs(series, 0.01)
    assert time.perf_counter() - start < 10
    assert {frozenset(pair) for pair in pairs.tolist()} == {frozenset((17, 4321))}


def test_many_copies_of_one_shape_stay_few_pairs():
    """2,000 copies in other units are connected without two million comparisons."""
    (first,) = walks(1)
    series = [(first * (1 + number)).astype(np.float32) for number in range(2000)]
    pairs = near_series_pairs(series, 0.0)
    assert groups_of(2000, pairs) == {frozenset(range(2000))}
    assert len(pairs) < 10_000


@pytest.mark.parametrize("number", [0, 1])
def test_too_few_series_have_no_duplicates(number):
    """No series, or one, is fine."""
    series = walks(number)
    assert len(find_series_duplicates(contents(series), series, 0.1).cluster) == number
