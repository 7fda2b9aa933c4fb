"""How well few dimensions keep who is near whom."""

import numpy as np
import numpy.typing as npt
from sklearn.manifold import trustworthiness as sklearn_trustworthiness
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

Array = npt.NDArray[np.float32]


def trustworthiness(high: Array, low: Array, neighbours: int) -> float:
    """Return how far nearest neighbours in few dimensions are near in many, too (Venna and Kaski 2001).

    Args:
        high: Samples in many dimensions, shape (num_samples, many).
        low: The same in few, shape (num_samples, few).
        neighbours: How many nearest ones; below half the number of samples.

    Returns:
        In [0, 1]; 1 if no false neighbour appears.
    """
    with threadpool_limits(1):
        return float(sklearn_trustworthiness(high, low, n_neighbors=neighbours))


def neighbourhood_preservation(high: Array, low: Array, neighbours: int) -> float:
    """Return the mean share of a sample's nearest neighbours that are the same in few dimensions.

    Args:
        high: Samples in many dimensions, shape (num_samples, many).
        low: The same in few, shape (num_samples, few).
        neighbours: How many nearest ones.
    """
    before, after = nearest(high, neighbours), nearest(low, neighbours)
    shared = [len(np.intersect1d(one, other)) for one, other in zip(before, after, strict=True)]
    return float(np.mean(shared) / neighbours)


def nearest(points: Array, neighbours: int) -> npt.NDArray[np.intp]:
    """Return the row numbers of each point's nearest others (Euclidean), shape (num_points, neighbours)."""
    with threadpool_limits(1):
        found = NearestNeighbors(n_neighbors=neighbours, n_jobs=1).fit(points)
        return np.asarray(found.kneighbors(return_distance=False), dtype=np.intp)
