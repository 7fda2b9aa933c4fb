"""Who is near whom, counted by hand and by brute force."""

import numpy as np
import pytest

from pipeline.reduction.methods import nearest, neighbourhood_preservation, trustworthiness


def brute_force_nearest(points: np.ndarray, neighbours: int) -> np.ndarray:
    """Return the nearest others by sorting all distances."""
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return np.argsort(distances, axis=1)[:, :neighbours]


def test_nearest_others_are_those_of_brute_force():
    """The same neighbours as from the whole matrix of distances, a point never among its own."""
    points = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    assert [set(row) for row in brute_force_nearest(points, 6)] == [set(row) for row in nearest(points, 6)]


def test_neighbourhoods_that_stay_are_worth_one():
    """Turning and stretching moves nobody's neighbours."""
    points = np.random.default_rng(1).normal(size=(30, 2)).astype(np.float32)
    turned = points @ np.array([[0, 2], [-2, 0]], np.float32)
    assert 1.0 == neighbourhood_preservation(points, turned, 5)
    assert 1.0 == pytest.approx(trustworthiness(points, turned, 5))


def test_preservation_by_hand():
    """Of four points on a line 0, 1, 2.5, 10 and a copy with the ends exchanged, one in four neighbours stays."""
    line = np.array([[0.0], [1.0], [2.5], [10.0]], np.float32)
    moved = np.array([[10.0], [1.0], [2.5], [0.0]], np.float32)
    # nearest on the line: 1, 0, 1, 2; after the exchange: 2, 3, 1, 1
    assert 1 / 4 == neighbourhood_preservation(line, moved, 1)


def test_trustworthiness_by_its_formula():
    """Venna and Kaski's sum over false neighbours, written out."""
    random = np.random.default_rng(2)
    high, low = random.normal(size=(25, 4)).astype(np.float32), random.normal(size=(25, 2)).astype(np.float32)
    count, neighbours = 25, 4
    rank = np.argsort(np.argsort(np.linalg.norm(high[:, None] - high[None], axis=2), axis=1), axis=1)
    near_low = brute_force_nearest(low, neighbours)
    penalty = sum(
        max(0, int(rank[row, other]) - neighbours) for row in range(count) for other in near_low[row]
    )
    expected = 1 - 2 * penalty / (count * neighbours * (2 * count - 3 * neighbours - 1))
    assert expected == pytest.approx(trustworthiness(high, low, neighbours))
