"""What is asked of a model beside the sample itself: the mirrored image, where a sample has one."""

import numpy as np
import pytest

from pipeline.inference.prediction import predict
from pipeline.inputs.arrays import ModelInputs, stored

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 1), dtype=np.uint8)
VECTORS = np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32)
ROWS = np.arange(5)


class LeftHalf:
    """Answers how bright the left half of an image is, and what a vector begins with."""

    name = "left"
    numbers_per_sample = 1

    def predict_on_batch(self, batch):
        """Return one number per sample."""
        given = batch if isinstance(batch, dict) else {"inputs": batch}
        found = [array for array in given.values() if array.ndim == 4]
        bright = found[0][:, :, :2].mean(axis=(1, 2, 3)) if found else 0.0
        return (bright + given.get("vector", np.zeros((1, 1)))[:, 0])[:, None].astype(np.float32)

    def get_weights(self):
        """Return none."""
        return []


LEFT = IMAGES[:, :, :2].mean(axis=(1, 2, 3))
BOTH = IMAGES.mean(axis=(1, 2, 3))


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (IMAGES, BOTH),
        (ModelInputs(5, [stored({"inputs": IMAGES})]), BOTH),
        ({"image": IMAGES, "vector": VECTORS}, BOTH + VECTORS[:, 0]),
        ({"image": IMAGES, "vector": VECTORS, "side": VECTORS}, LEFT + VECTORS[:, 0]),
        ({"image": IMAGES, "vector": VECTORS, "categories": VECTORS}, LEFT + VECTORS[:, 0]),
        ({"inputs": IMAGES, "side": VECTORS}, LEFT),
        ({"tokens": VECTORS, "vector": VECTORS}, VECTORS[:, 0]),
    ],
    ids=[
        "images",
        "made on demand",
        "beside features",
        "columns too",
        "categories too",
        "beside columns",
        "none",
    ],
)
def test_an_image_is_mirrored_where_nothing_stands_beside_it_but_what_was_made_of_it(inputs, expected):
    """The mean of both ways, however the image comes; beside columns training mirrors nothing, and neither does this."""
    received = predict(LeftHalf(), inputs, ROWS, test_time_flip=True)
    assert received[:, 0] == pytest.approx(expected, rel=1e-6)
    once = predict(LeftHalf(), inputs, ROWS)
    assert np.allclose(received, once) == np.allclose(expected, once[:, 0])
