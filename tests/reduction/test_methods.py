"""PCA, probes and the map of codes: fitted on train, the same bits each time, equal to plain NumPy."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, TruncatedSVD
from threadpoolctl import threadpool_info, threadpool_limits

from pipeline.reduction import comparison, methods


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's digits as uint8 images (NHWC) and their classes."""
    images, classes = load_digits(return_X_y=True)
    return (images.reshape(-1, 8, 8, 1) * 15.9375).round().astype(np.uint8), classes


def test_flat_pixels_are_shares(digits) -> None:
    """Pixels come as float32 in [0, 1], one row per chosen image, in the order asked for."""
    pixels = methods.flat_pixels(digits[0], np.array([5, 2]))
    assert pixels.dtype == np.float32
    assert np.array_equal(pixels[1], digits[0][2].ravel().astype(np.float32) / np.float32(255))


def test_reconstruction_error_equals_the_singular_values_left_out(digits) -> None:
    """On the images it was fitted on, PCA's error is the sum of the squared singular values it dropped."""
    pixels = methods.flat_pixels(digits[0], np.arange(500))
    pca = methods.fit_pca(pixels, 10, seed=0)
    error = methods.mean_squared_error(pixels, methods.pca_reconstruction(pca, pixels))
    dropped = np.linalg.svd(pixels - pixels.mean(axis=0), compute_uv=False)[10:]
    assert error == pytest.approx(np.sum(dropped.astype(float) ** 2) / pixels.size, rel=1e-4)


def watched(reducer, seen):
    """Return a reducer that notes the most threads that any library may use whenever it reckons."""

    def note(name):
        def method(self, *args):
            seen.append((name, max(pool["num_threads"] for pool in threadpool_info())))
            return getattr(reducer, name)(self, *args)

        return method

    return type(reducer.__name__, (reducer,), {name: note(name) for name in REDUCER_VERBS})


REDUCER_VERBS = ("fit", "transform", "inverse_transform")


def test_reducers_reckon_with_one_thread(monkeypatch) -> None:
    """Sums in another order differ in the last digit, and machines have other numbers of threads."""
    seen: list[tuple[str, int]] = []
    monkeypatch.setattr(methods, "PCA", watched(PCA, seen))
    monkeypatch.setattr(comparison, "TruncatedSVD", watched(TruncatedSVD, seen))
    pixels = np.random.default_rng(0).random((30, 12), dtype=np.float32)
    with threadpool_limits(2):
        pca = methods.fit_pca(pixels, 3, seed=0)
        methods.pca_codes(pca, pixels)
        methods.pca_reconstruction(pca, pixels)
        for method in ("pca", "svd"):
            comparison.by_projection(method, pixels, pixels, 3, seed=0, shown=np.arange(5))
    assert {(name, 1) for name in REDUCER_VERBS} == set(seen)


def test_pca_is_fitted_on_train_only(digits) -> None:
    """Its mean is that of the training images, whatever is reconstructed later."""
    train, test = (methods.flat_pixels(digits[0], rows) for rows in (np.arange(300), np.arange(300, 400)))
    pca = methods.fit_pca(train, 5, seed=0)
    before = pca.components_.copy()
    methods.pca_reconstruction(pca, test)
    assert np.allclose(pca.mean_, train.mean(axis=0), atol=1e-6)
    assert np.array_equal(pca.components_, before)


def test_pca_never_has_more_codes_than_images_or_pixels(digits) -> None:
    """Asked for more codes than there can be, PCA keeps all there are, and brings training images back."""
    pixels = methods.flat_pixels(digits[0], np.arange(7))
    pca = methods.fit_pca(pixels, 100, seed=0)
    assert pca.n_components_ == 7
    assert np.allclose(methods.pca_reconstruction(pca, pixels), pixels, atol=1e-5)


def test_large_images_use_a_seeded_solver() -> None:
    """Above 2,048 pixels PCA is randomised, with the same answer for the same seed."""
    pixels = np.random.default_rng(0).random((30, 2100)).astype(np.float32)
    first, second = (methods.pca_codes(methods.fit_pca(pixels, 3, seed=4), pixels) for _ in range(2))
    assert np.array_equal(first, second)


def test_mean_squared_error_by_hand() -> None:
    """Two pixels off by 0.5 of eight give 0.0625; shapes that differ are refused instead of broadcast."""
    images = np.zeros((2, 4), dtype=np.float32)
    other = images.copy()
    other[0, :2] = 0.5
    assert methods.mean_squared_error(images, other) == 0.0625
    with pytest.raises(ValueError, match="must match"):
        methods.mean_squared_error(images, other[:1])


def test_probe_classifies_by_codes(digits) -> None:
    """A logistic regression on 16 PCA codes of digits is right in more than 90 %, with probabilities."""
    train, test = (methods.flat_pixels(digits[0], rows) for rows in (np.arange(1000), np.arange(1000, 1300)))
    pca = methods.fit_pca(train, 16, seed=0)
    codes = methods.pca_codes(pca, train), methods.pca_codes(pca, test)
    answers = methods.probe_predictions(codes[0], digits[1][:1000], codes[1], 10)
    assert np.allclose(answers.sum(axis=1), 1, atol=1e-5)
    assert np.mean(answers.argmax(axis=1) == digits[1][1000:1300]) > 0.9


def test_probe_keeps_the_columns_of_absent_classes() -> None:
    """A class without a training row has probability 0 in its own column and shifts nobody else's."""
    codes = np.array([[0.0], [0.1], [5.0], [5.1]], dtype=np.float32)
    answers = methods.probe_predictions(codes, np.array([0, 0, 2, 2]), codes, 4)
    assert answers.shape == (4, 4)
    assert answers.argmax(axis=1).tolist() == [0, 0, 2, 2]
    assert answers[:, [1, 3]].max() == 0


def test_evenly_spaced_rows() -> None:
    """At most so many rows, from the first to the last, each once."""
    assert methods.evenly_spaced(9, 3).tolist() == [0, 4, 8]
    assert methods.evenly_spaced(3, 10).tolist() == [0, 1, 2]


def test_map_of_codes_is_that_of_the_principal_axes_and_ignores_last_bits() -> None:
    """It equals NumPy's SVD of the scaled codes up to sign, and noise of 1e-7 does not move a dot's pixel."""
    generator = np.random.default_rng(0)
    codes = (generator.normal(size=(200, 3)) @ generator.normal(size=(3, 10))).astype(np.float32)
    plane = methods.plane_of_codes(codes)
    exact = codes.astype(np.float64)
    scaled = (exact - exact.mean(axis=0)) / exact.std(axis=0)
    left, values, _ = np.linalg.svd(scaled, full_matrices=False)
    np.testing.assert_allclose(np.abs(plane), np.abs(left[:, :2] * values[:2]), atol=1e-3)
    moved = methods.plane_of_codes(codes * np.float32(1 + 1e-7))
    np.testing.assert_allclose(plane, moved, atol=2e-4)


@pytest.mark.parametrize("shape", [(4, 10), (50, 2), (50, 1), (1, 3)])
def test_few_codes_are_shown_by_their_axes(shape) -> None:
    """Few examples or codes still give a finite position in the plane each."""
    plane = methods.plane_of_codes(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    assert plane.shape == (shape[0], 2)
    assert np.isfinite(plane).all()


def test_pca_of_small_images_is_exact_and_knows_no_seed():
    """Up to 2,048 pixels nothing is drawn: another seed gives the same axes to the last bit."""
    noise = np.random.default_rng(5).random((300, 400), dtype=np.float32)
    one, other = (methods.fit_pca(noise, 8, seed).components_ for seed in (1, 2))
    assert np.array_equal(one, other)
