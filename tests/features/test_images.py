"""Hand-made features against scikit-image and numbers worked out by hand."""

import colorsys
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from skimage.feature import graycomatrix, graycoprops, hog, local_binary_pattern
from skimage.filters import sobel
from sklearn.datasets import load_digits

from pipeline.features.images import CHUNK_ROWS, POOL_ROWS, feature_names, image_features, write_features
from pipeline.features.limits import feature_problems

ALL = ["colour", "texture", "edges"]
RANDOM = np.random.default_rng(5)
GREY = RANDOM.integers(0, 256, (28, 28, 1), dtype=np.uint8)
COLOUR = RANDOM.integers(0, 256, (16, 12, 3), dtype=np.uint8)


# Says when the first rows are done, and has work for minutes.
ENDLESS = """
import sys
from pathlib import Path
import numpy as np
from pipeline.features.images import write_features
images = np.broadcast_to(np.uint8(9), (300_000, 16, 16, 1))
write_features(
    images, Path(sys.argv[1]), groups=["texture"], edge_cell_px=4, colour_bins=4, workers=2,
    on_rows=lambda rows: print(rows, flush=True),
)
"""


def named(image: np.ndarray, groups=ALL, edge_cell_px=4, colour_bins=8) -> dict[str, float]:
    """Features by name; a vector of another length than the names fails here."""
    names = feature_names(image.shape, groups, edge_cell_px, colour_bins)
    vector = image_features(image, groups, edge_cell_px, colour_bins)
    return dict(zip(names, vector.tolist(), strict=True))


def part(features: dict[str, float], prefix: str) -> list[float]:
    return [value for name, value in features.items() if name.startswith(prefix)]


def digits() -> np.ndarray:
    return (load_digits().images[..., None] * 255 / 16).astype(np.uint8)


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (16, 12, 3), (4, 9, 1), (5, 30, 3)])
@pytest.mark.parametrize("groups", [[], ["colour"], ["texture"], ["edges"], ["edges", "colour"], ALL])
def test_every_number_has_a_name_of_its_own(shape, groups):
    """As many float32 numbers as different names, for any size and any choice of groups."""
    image = RANDOM.integers(0, 256, shape, dtype=np.uint8)
    vector = image_features(image, groups, 4, 8)
    names = feature_names(shape, groups, 4, 8)
    assert vector.shape == (len(set(names)),) == (len(names),)
    assert np.float32 == vector.dtype
    assert np.isfinite(vector).all()


@pytest.mark.parametrize("grey", [0, 100, 255])
def test_an_empty_picture_has_finite_features(grey):
    """A picture of one grey has no edges and no contrast, and no 0/0 either."""
    features = named(np.full((8, 8, 1), grey, np.uint8))
    assert np.isfinite(list(features.values())).all()
    assert pytest.approx(
        [features["edges/sobel/max"], features["texture/cooccurrence/contrast_0"]], abs=1e-9
    ) == [0, 0]


def test_grey_colour_features_worked_out_by_hand():
    """Pixels 0, 51, 102, 255 are 0, 0.2, 0.4, 1: mean 0.4, and one in each of bins 0, 0, 1, 3 of four."""
    features = named(np.array([[[0], [51]], [[102], [255]]], np.uint8), ["colour"], colour_bins=4)
    deviation = np.sqrt((0.4**2 + 0.2**2 + 0 + 0.6**2) / 4)
    assert [0.4, deviation, 0.5, 0.25, 0, 0.25] == pytest.approx(list(features.values()), abs=1e-6)


def test_colour_features_of_each_channel_against_the_standard_library():
    """Red, green, blue, and hue, saturation, value as `colorsys` has them."""
    features = named(COLOUR, ["colour"])
    pixels = COLOUR.reshape(-1, 3) / 255
    converted = np.array([colorsys.rgb_to_hsv(*pixel) for pixel in pixels])
    channels = dict(zip(("red", "green", "blue"), pixels.T, strict=True))
    channels |= dict(zip(("hue", "saturation", "value"), converted.T, strict=True))
    for name, values in channels.items():
        shares = np.histogram(values, bins=8, range=(0, 1))[0] / len(values)
        assert shares == pytest.approx(part(features, f"colour/{name}/bin_"), abs=1.5 / len(values))
        if name != "hue":
            assert values.mean() == pytest.approx(features[f"colour/{name}/mean"], abs=1e-6)
            assert values.std() == pytest.approx(features[f"colour/{name}/standard_deviation"], abs=1e-6)
    assert "colour/hue/mean" not in features


def test_patterns_against_scikit_image():
    """Shares of the uniform local binary patterns, both radii."""
    features = named(GREY, ["texture"])
    for neighbours, radius in ((8, 1), (16, 2)):
        codes = local_binary_pattern(GREY[..., 0], neighbours, radius, "uniform")
        expected = [(codes == code).mean() for code in range(neighbours + 2)]
        assert expected == pytest.approx(part(features, f"texture/pattern_{neighbours}_{radius}/"), abs=1e-6)


def test_cooccurrence_against_scikit_image():
    """Properties of neighbouring greys at distance 1, in four directions."""
    features = named(GREY, ["texture"])
    angles = {0: 0, 45: np.pi / 4, 90: np.pi / 2, 135: 3 * np.pi / 4}
    for degrees, radians in angles.items():
        matrix = graycomatrix(GREY[..., 0] // 16, [1], [radians], levels=16, symmetric=True, normed=True)
        for name in ("contrast", "dissimilarity", "homogeneity", "energy", "correlation"):
            expected = graycoprops(matrix, name)[0, 0]
            assert expected == pytest.approx(features[f"texture/cooccurrence/{name}_{degrees}"], abs=1e-5)


def test_cooccurrence_worked_out_by_hand():
    """Upright stripes 0, 16, 0, 16 differ by one level beside each other and not at all above each other."""
    features = named(np.tile([0, 16], (4, 2)).astype(np.uint8)[..., None], ["texture"])
    assert pytest.approx(features["texture/cooccurrence/contrast_0"]) == 1
    assert pytest.approx(features["texture/cooccurrence/contrast_90"]) == 0
    assert pytest.approx(features["texture/cooccurrence/correlation_0"]) == -1


def test_gradients_against_scikit_image():
    """The histogram of oriented gradients, names in the order of its numbers."""
    blocks = hog(GREY[..., 0], 9, (4, 4), (2, 2), block_norm="L2-Hys", feature_vector=False)
    features = named(GREY, ["edges"])
    assert blocks.ravel() == pytest.approx(part(features, "edges/gradients/"), abs=1e-6)
    name = "edges/gradients/block_3_5/cell_1_0/orientation_7"
    assert blocks[3, 5, 1, 0, 7] == pytest.approx(features[name], abs=1e-6)


def test_sobel_statistics_against_scikit_image():
    """Mean, deviation, largest and quantiles of the edge strength."""
    magnitude = sobel(GREY[..., 0] / 255)
    features = named(GREY, ["edges"])
    expected = [magnitude.mean(), magnitude.std(), magnitude.max(), *np.quantile(magnitude, [0.5, 0.75, 0.9])]
    assert expected == pytest.approx(part(features, "edges/sobel/"), abs=1e-6)


def test_an_upright_edge_points_sideways():
    """A step from black to white, left to right: all gradient energy lies in the orientation of that step."""
    image = np.zeros((8, 8, 1), np.uint8)
    image[:, 4:] = 255
    features = named(image, ["edges"])
    strength = [sum(v for n, v in features.items() if n.endswith(f"orientation_{o}")) for o in range(9)]
    assert np.count_nonzero(strength) == 1


def test_cells_adapt_to_images_of_one_cell():
    """Where only one cell fits, a block is one cell; on 8x8 digits a block is 2x2 cells of 4 pixels."""
    assert len(part(named(GREY[:7, :7], ["edges"]), "edges/gradients/")) == 9
    assert len(part(named(GREY[:7, :8], ["edges"]), "edges/gradients/")) == 2 * 9
    assert len(part(named(GREY[:8, :8], ["edges"]), "edges/gradients/")) == 36


def test_too_small_images_are_named_before_anything_runs():
    """Each problem is one message with what was received and the way out; fitting images have none."""
    assert feature_problems((8, 8, 1), ["texture", "edges"], 4) == []
    assert feature_problems((2, 2, 1), ["colour"], 4) == []
    texture, edges = sorted(feature_problems((2, 6, 1), ["texture", "edges"], 4))
    assert "at least 3x3" in texture
    assert "edge_cell_px=4, images of 2x6. Lower edge_cell_px to at most 2" in edges
    assert "texture more than once" in feature_problems((8, 8, 1), ["texture", "texture"], 4)[0]


def test_the_file_holds_one_row_per_image(tmp_path):
    """Rows of the table are the vectors of the images, across the border of a chunk."""
    images = digits()[: CHUNK_ROWS + 5]
    seen = []
    write_features(images, tmp_path / "f.npy", groups=ALL, edge_cell_px=4, colour_bins=4, on_rows=seen.append)
    table = np.load(tmp_path / "f.npy")
    assert seen == [CHUNK_ROWS, 5]
    for row in (0, CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 4):
        assert np.array_equal(image_features(images[row], ALL, 4, 4), table[row])


def test_no_groups_give_no_columns(tmp_path):
    """With `groups: []` there is a table all the same, with a row per image and nothing in it."""
    write_features(digits()[:7], tmp_path / "f.npy", groups=[], edge_cell_px=4, colour_bins=4)
    assert np.load(tmp_path / "f.npy").shape == (7, 0)


@pytest.mark.long
def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path):
    """One process or two: the same file, and no process is left behind."""
    images = np.resize(digits(), (POOL_ROWS + 3, 8, 8, 1))
    for workers in (1, 2):
        write_features(
            images,
            tmp_path / f"{workers}.npy",
            groups=["texture", "edges"],
            edge_cell_px=4,
            colour_bins=4,
            workers=workers,
        )
    assert (tmp_path / "1.npy").read_bytes() == (tmp_path / "2.npy").read_bytes()
    children = psutil.Process(os.getpid()).children(recursive=True)
    assert [child for child in children if "spawn_main" in " ".join(child.cmdline())] == []


@pytest.mark.long
def test_no_worker_outlives_a_killed_stage(tmp_path):
    """kill -9 of the process that started them ends the workers too, instead of leaving them to wait for ever."""
    command = [sys.executable, "-c", ENDLESS, str(tmp_path / "f.npy")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        parent.stdout.readline()
        children = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
    workers = [child for child in children if child.is_running()]
    assert len(children) >= 2
    assert psutil.wait_procs(workers, timeout=20)[1] == []


def test_a_number_that_is_not_finite_is_refused_by_name(tmp_path, monkeypatch):
    """A broken feature is never written; the message names feature and row."""
    monkeypatch.setattr("pipeline.features.images._colour_features", lambda image, _bins: np.full(6, np.nan))
    with pytest.raises(ValueError, match="colour/grey/mean of image row 0 is not finite"):
        write_features(digits()[:3], tmp_path / "f.npy", groups=["colour"], edge_cell_px=4, colour_bins=4)
    assert list(tmp_path.iterdir()) == []
