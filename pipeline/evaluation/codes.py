"""What an autoencoder's codes are worth, beside as many codes of a PCA: pixels brought back, classes told apart."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.measures import Predictions
from pipeline.evaluation.results import Bootstrap
from pipeline.inference import prediction
from pipeline.inference.keras_files import load_model
from pipeline.inputs.train_data import TrainData
from pipeline.metrics.classification import accuracy_score
from pipeline.metrics.intervals import DrawnTogether, Interval, metric_intervals
from pipeline.reduction import methods

Rows = npt.NDArray[np.int64]

NUM_RECONSTRUCTIONS = 10
"""Test images that are kept for a picture."""


@dataclass(frozen=True)
class CodesComparison:
    """An autoencoder and a PCA with as many codes, both fitted on train and measured on test.

    Attributes:
        codes: Numbers that stand for one image.
        pca_codes: As `codes`, or fewer where there are fewer pixels or training images.
        errors: `autoencoder` and `pca` to mean squared error over all test pixels in [0, 1].
        probes: `autoencoder` and `pca` to test accuracy of a logistic regression on their codes.
        reconstructions: `input`, `autoencoder` and `pca` to a few test images, pixels in [0, 1].
        plane: 2-D position of some test codes of the autoencoder, shape (num_shown, 2).
        plane_rows: Which test rows those are, as positions in the test set.
    """

    codes: int
    pca_codes: int
    errors: dict[str, float]
    probes: dict[str, Interval]
    reconstructions: dict[str, npt.NDArray[np.float32]]
    plane: npt.NDArray[np.float32]
    plane_rows: npt.NDArray[np.intp]

    def as_json(self) -> dict[str, Any]:
        """Return the numbers, rounded for a file."""
        return {
            "codes": self.codes,
            "pca_codes": self.pca_codes,
            "probe_accuracy": {name: interval.rounded() for name, interval in self.probes.items()},
            "reconstruction_error": {name: round(error, 6) for name, error in self.errors.items()},
        }


def compare_codes(
    autoencoder_path: Path,
    data: TrainData,
    *,
    test_rows: Rows,
    y_test: Rows,
    bootstrap: Bootstrap,
    blocks: DrawnTogether | None = None,
) -> CodesComparison:
    """Measure an autoencoder against PCA on the test images.

    Args:
        autoencoder_path: `autoencoder.keras`, image to reconstruction, with a layer `encoder`.
        data: Images and training rows.
        test_rows: Rows that judge.
        y_test: Their class indices.
        bootstrap: How intervals are made; its seed is also that of PCA.
        blocks: Test rows that are drawn together.

    Raises:
        TypeError: The data is no images with labels.
    """
    inputs, targets = data.inputs, data.targets
    if not isinstance(inputs, np.ndarray) or targets is None:
        raise TypeError("Codes are compared on images with labels. Received: other inputs.")
    autoencoder = load_model(autoencoder_path)
    encoder = autoencoder.get_layer("encoder")
    train_codes = prediction.predict(encoder, data.inputs, data.train_rows)
    test_codes = prediction.predict(encoder, data.inputs, test_rows)
    images = prediction.predict(autoencoder, data.inputs, test_rows)

    pixels = methods.flat_pixels(inputs, test_rows)
    train_pixels = methods.flat_pixels(inputs, data.train_rows)
    pca = methods.fit_pca(train_pixels, train_codes.shape[1], bootstrap.seed)
    from_pca = methods.pca_reconstruction(pca, pixels)

    y_train = targets[data.train_rows]
    num_classes = data.output_spec.num_classes
    probes = {
        "autoencoder": methods.probe_predictions(train_codes, y_train, test_codes, num_classes),
        "pca": methods.probe_predictions(
            methods.pca_codes(pca, train_pixels), y_train, methods.pca_codes(pca, pixels), num_classes
        ),
    }
    # The first example of each class, of some classes.
    shown = np.unique(y_test, return_index=True)[1][:NUM_RECONSTRUCTIONS]
    plane_rows = methods.evenly_spaced(len(test_rows), methods.PLANE_ROWS)
    shape = (-1, *data.input_spec.shape)
    return CodesComparison(
        codes=train_codes.shape[1],
        pca_codes=int(pca.n_components_),
        errors={
            "autoencoder": methods.mean_squared_error(pixels, images.reshape(pixels.shape)),
            "pca": methods.mean_squared_error(pixels, from_pca),
        },
        probes={name: _accuracy(y_test, answers, bootstrap, blocks) for name, answers in probes.items()},
        reconstructions={
            "input": pixels[shown].reshape(shape),
            "autoencoder": images[shown],
            "pca": from_pca[shown].reshape(shape),
        },
        plane=methods.plane_of_codes(test_codes[plane_rows]),
        plane_rows=plane_rows,
    )


def _accuracy(
    y_true: Rows, probabilities: Predictions, bootstrap: Bootstrap, blocks: DrawnTogether | None
) -> Interval:
    metrics = {"accuracy": accuracy_score}
    return metric_intervals(metrics, y_true, probabilities, **bootstrap.over(blocks))["accuracy"]
