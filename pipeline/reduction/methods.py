"""Few numbers for many: what an autoencoder is compared with, and pictures of its codes.

Everything is fitted on training data only and computed on one thread, so that the bits depend neither on the
number of cores nor on which thread ends first.
"""

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.manifold import trustworthiness as sklearn_trustworthiness
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

COVARIANCE_PIXELS = 2048
"""Up to so many pixels per image PCA goes through the exact covariance matrix; above, it is randomised."""
PLANE_ROWS = 2000
"""More dots in a picture would only cover each other."""
PROBE_ITERATIONS = 1000
TSNE_COMPONENTS = 32
"""Principal components that t-SNE starts from; the rest is noise that costs time."""
# --- How well few dimensions keep who is near whom.

Array = npt.NDArray[np.float32]


def flat_pixels(images: npt.NDArray[np.uint8], rows: npt.NDArray[np.integer]) -> Array:
    """Return some images as rows of pixels in [0, 1].

    Args:
        images: All images, NHWC; may be a memmap.
        rows: Index array.

    Returns:
        Shape (len(rows), height * width * channels).
    """
    chosen = np.asarray(images[rows], dtype=np.float32) / np.float32(255)
    return np.reshape(chosen, (len(rows), -1))


def fit_pca(train: Array, codes: int, seed: int) -> PCA:
    """Return a PCA of the training images; it cannot have more codes than images or pixels.

    Args:
        train: Pixels in [0, 1], shape (num_images, num_pixels).
        codes: Numbers that stand for one image.
        seed: Of the randomised solver, for large images.
    """
    kept = min(codes, *train.shape)
    solver = "covariance_eigh" if train.shape[1] <= COVARIANCE_PIXELS else "randomized"
    with threadpool_limits(1):
        return PCA(kept, svd_solver=solver, random_state=seed).fit(train)


def pca_codes(pca: PCA, pixels: Array) -> Array:
    """Return the codes of images, shape (num_images, codes)."""
    with threadpool_limits(1):
        return np.asarray(pca.transform(pixels), dtype=np.float32)


def pca_reconstruction(pca: PCA, pixels: Array) -> Array:
    """Return what is left of images after their codes, shaped as `pixels`; may leave [0, 1] a little."""
    with threadpool_limits(1):
        return np.asarray(pca.inverse_transform(pca.transform(pixels)), dtype=np.float32)


def mean_squared_error(pixels: Array, reconstruction: Array) -> float:
    """Return the squared difference of pixels in [0, 1], mean over all pixels of all images.

    Raises:
        ValueError: Shapes differ.
    """
    if pixels.shape != reconstruction.shape:
        raise ValueError(
            f"Images and reconstructions must match. Expected shape: {pixels.shape}. "
            f"Received: {reconstruction.shape}."
        )
    return float(np.mean(np.square(pixels - reconstruction), dtype=np.float64))


def probe_predictions(
    train_codes: Array, train_classes: npt.NDArray[np.integer], codes: Array, num_classes: int
) -> Array:
    """Return how a logistic regression on codes classifies: what the codes alone are worth.

    Args:
        train_codes: Shape (num_train, num_codes).
        train_classes: Class index per row of `train_codes`.
        codes: What to classify, shape (num_examples, num_codes).
        num_classes: Of the problem; classes without a training row get probability 0.

    Returns:
        Probabilities, shape (num_examples, num_classes).
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=PROBE_ITERATIONS))
    probabilities = np.zeros((len(codes), num_classes), dtype=np.float32)
    with threadpool_limits(1):
        model.fit(train_codes, train_classes)
        probabilities[:, model.classes_] = model.predict_proba(codes)
    return probabilities


def evenly_spaced(num_rows: int, limit: int) -> npt.NDArray[np.intp]:
    """Return at most `limit` row numbers spread over all rows."""
    return np.unique(np.linspace(0, num_rows - 1, min(num_rows, limit)).round().astype(np.intp))


def plane_of_codes(codes: Array) -> Array:
    """Return a position in the plane per code: the first two principal axes of the scaled codes.

    Not t-SNE: it makes another picture of codes that differ in their last bit, also for another Python or
    another environment, and the picture is an output that two clones must agree on (docs/log.md).

    Args:
        codes: Shape (num_examples, num_codes).

    Returns:
        Shape (num_examples, 2), rounded to 4 decimals.
    """
    scaled = np.asarray(StandardScaler().fit_transform(codes.astype(np.float64)))
    plane = np.zeros((len(scaled), 2))
    kept = min(2, scaled.shape[1])
    if len(scaled) > kept:  # a single example has no axis: it stays in the middle
        with threadpool_limits(1):
            plane[:, :kept] = PCA(kept, svd_solver="full").fit_transform(scaled)
    return np.round(plane, 4).astype(np.float32)


def tsne_plane(points: Array, seed: int) -> Array:
    """Return a position in the plane per sample by t-SNE (van der Maaten and Hinton 2008).

    Its bits depend on the environment, so it serves pictures that nobody compares.

    Args:
        points: Shape (num_examples, many).
        seed: Of the random start.

    Returns:
        Shape (num_examples, 2).
    """
    perplexity = min(30.0, (len(points) - 1) / 3)
    with threadpool_limits(1):
        start = PCA(min(TSNE_COMPONENTS, *points.shape), random_state=seed).fit_transform(points)
        placed = TSNE(2, perplexity=perplexity, init="pca", random_state=seed, n_jobs=1).fit_transform(start)
    return np.asarray(placed, dtype=np.float32)


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
