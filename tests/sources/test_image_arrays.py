"""Images and labels in files of NumPy are read as NumPy reads them, or refused with what mends them."""

import io
import warnings

import numpy as np
import pytest

from pipeline.fetching.snapshot import take_snapshot
from pipeline.fetching.source import Location
from pipeline.runtime.errors import DataRefused, UserError
from pipeline.sources import image_arrays
from tests.helpers.mutations import mutations
from tests.helpers.read_source import read_source

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (6, 5, 4), dtype=np.uint8)
LABELS = np.array([7, 2, 7, 2, 7, 2])
NUM_QUICK, NUM_SLOW = 300, 10_000


def npy(array):
    """An array as the bytes of a file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def npz(packed=False, **arrays):
    """Arrays as the bytes of one file."""
    file = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(file, **arrays)
    return file.getvalue()


def pixels(samples):
    """All images as one array."""
    return np.stack([sample.image for sample in samples])


def samples_of(files, **options):
    """What is read of these files."""
    return read_source(image_arrays, files, **options)


@pytest.mark.parametrize("packed", [False, True])
def test_keras_mnist_is_read_by_its_own_names(packed):
    """x_train, y_train, x_test, y_test of one file: pixels as they are, labels as names, splits as given."""
    content = npz(packed, x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:2], y_test=LABELS[:2])
    samples = samples_of({"mnist.npz": content})
    assert [sample.sample_id for sample in samples[:2]] == ["test/00000000", "test/00000001"]
    train = [sample for sample in samples if sample.split == "train"]
    assert [str(label) for label in LABELS] == [sample.label for sample in train]
    np.testing.assert_array_equal(IMAGES[..., np.newaxis], pixels(train))


@pytest.mark.parametrize(
    "names",
    [("X.npy", "y.npy"), ("images.npy", "labels.npy"), ("train_images.npy", "train_labels.npy"),
     ("xtrain.npy", "ytrain.npy"), ("train/data.npy", "train/target.npy")],
)  # fmt: skip
def test_pairs_of_files_are_told_by_the_words_of_their_names(names):
    """However people write them."""
    samples = samples_of(dict(zip(names, (npy(IMAGES), npy(LABELS.astype(str))), strict=True)))
    assert ["7", "2", "7", "2", "7", "2"] == [sample.label for sample in samples]
    np.testing.assert_array_equal(IMAGES[..., np.newaxis], pixels(samples))


def test_a_single_npz_file_goes_in_by_init(project, tmp_path):
    """Pointed at, not at its folder: with the counts of both splits."""
    path = tmp_path / "set.npz"
    path.write_bytes(npz(x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:2], y_test=LABELS[:2]))
    snapshot = take_snapshot("image_arrays", Location(path=str(path)), max_bytes=2**30)
    assert {("train", "7"): 3, ("train", "2"): 3, ("test", "7"): 1, ("test", "2"): 1} == snapshot.counts


@pytest.mark.parametrize(
    ("array", "options", "expected"),
    [
        (IMAGES / 255, {}, IMAGES),
        (IMAGES.astype(np.float32), {}, IMAGES),
        (IMAGES.astype(np.int64), {}, IMAGES),
        (IMAGES > 100, {}, np.where(IMAGES > 100, 255, 0)),
        (IMAGES.astype(np.uint16) * 16, {"range": (0.0, 4080.0)}, IMAGES),
        (IMAGES / 127.5 - 1, {"range": (-1.0, 1.0)}, IMAGES),
    ],
    ids=["0 to 1", "float of whole", "int64", "bool", "12 bits", "-1 to 1"],
)
def test_numbers_of_a_known_range_become_the_pixels_they_were_made_of(array, options, expected):
    """Against the bytes that they were computed from."""
    samples = samples_of({"x.npy": npy(array), "y.npy": npy(LABELS)}, **options)
    np.testing.assert_array_equal(expected[..., np.newaxis], pixels(samples))


def test_an_array_that_is_stored_column_by_column_is_read_as_numpy_reads_it():
    """Fortran order, as transposed arrays are saved."""
    samples = samples_of({"x.npy": npy(np.asfortranarray(IMAGES)), "y.npy": npy(LABELS)})
    np.testing.assert_array_equal(IMAGES[..., np.newaxis], pixels(samples))


def test_channels_may_come_first():
    """As PyTorch has them; three channels, each at its place."""
    colours = GENERATOR.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
    files = {"x.npy": npy(np.ascontiguousarray(np.moveaxis(colours, -1, 1))), "y.npy": npy(LABELS)}
    with pytest.raises(DataRefused, match="--set axes=channels_first"):
        samples_of(files)
    np.testing.assert_array_equal(colours, pixels(samples_of(files, axes="channels_first")))


def test_labels_are_whole_numbers_names_or_rows_with_one_1():
    """Four ways to write the same classes."""
    classes = np.array([1, 0, 1, 0, 1, 0])
    for labels in (classes, classes.astype(float), classes[:, None], np.eye(2)[classes]):
        assert list("101010") == [s.label for s in samples_of({"x.npy": npy(IMAGES), "y.npy": npy(labels)})]
    named = samples_of({"x.npy": npy(IMAGES), "y.npy": npy(classes)}, classes=("cat", "dog"))
    assert ["dog", "cat"] == [sample.label for sample in named[:2]]


@pytest.mark.parametrize(
    ("images", "labels", "options", "message"),
    [
        (IMAGES.astype(np.uint16) * 16, LABELS, {}, "--set range=0,3968"),
        (IMAGES / 255 - 1, LABELS, {}, "--set range=-"),
        (IMAGES.astype(np.uint16) // 16, LABELS, {}, "more than an eighth"),
        (IMAGES * np.nan, LABELS, {}, "NaN"),
        (IMAGES.astype(np.float32), LABELS, {"range": (0.0, 100.0)}, "from 0 to 100"),
        (IMAGES.astype(np.float32), LABELS, {"range": (5.0,)}, "LOW,HIGH"),
        (IMAGES, LABELS[:5], {}, "5 labels"),
        (IMAGES, LABELS + 0.5, {}, "image_table"),
        (IMAGES, LABELS * np.inf, {}, "image_table"),
        (IMAGES, np.array(7), {}, "single value"),
        (IMAGES, np.array(["a", "b", "", "a", "b", "a"]), {}, "1 of 6 without"),
        (IMAGES // 32, LABELS, {}, "more than an eighth"),
        (IMAGES, LABELS.astype(object), {}, "running what stands in the file"),
        (IMAGES, LABELS, {"classes": ("a", "b")}, "labels 0 to 1. Received: 2, 7"),
        (IMAGES[0], LABELS, {}, "shape"),
    ],
)  # fmt: skip
def test_what_nobody_can_read_right_is_refused_with_what_mends_it(images, labels, options, message):
    """A range that nobody stated, Python objects, arrays that do not belong together."""
    with pytest.raises(DataRefused, match=message):
        samples_of({"x.npy": npy(images), "y.npy": npy(labels)}, **options)


def test_images_without_labels_are_left_out_only_when_somebody_says_so():
    """An unlabelled test set, as competitions have."""
    content = npz(x_train=IMAGES, y_train=LABELS, x_test=IMAGES)
    with pytest.raises(DataRefused, match="--set unlabelled=leave_out"):
        samples_of({"a.npz": content})
    samples = samples_of({"a.npz": content}, unlabelled="leave_out")
    assert {"train"} == {sample.split for sample in samples if sample.label}
    assert len(IMAGES) == sum(not sample.label for sample in samples)  # see tests/raw/test_answers.py


def check_damaged(content):
    """Refused, or what NumPy reads."""
    try:
        samples = samples_of({"x.npy": content, "y.npy": npy(LABELS)})
    except UserError:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a header as Python 2 wrote it
        array = np.load(io.BytesIO(content))
    found = pixels(samples)[..., 0].astype(float)
    wide = array.astype(float)
    scaled = wide if array.dtype == np.uint8 or wide.max() > 1 else wide * 255
    np.testing.assert_allclose(found.reshape(array.shape), scaled, atol=0.5)
    return True


@pytest.mark.parametrize("count", [NUM_QUICK, pytest.param(NUM_SLOW, marks=pytest.mark.slow)])
def test_damaged_arrays_are_refused_or_read_as_numpy_reads_them(count):
    """No traceback, and no other image."""
    accepted = [check_damaged(content) for content in mutations(npy(IMAGES), count, 0)]
    assert 0 < sum(accepted) < count


@pytest.mark.parametrize("count", [NUM_QUICK, pytest.param(NUM_SLOW, marks=pytest.mark.slow)])
def test_a_damaged_npz_is_refused(count):
    """Its checksums tell; what is read all the same has the same images."""
    whole = npz(True, x=IMAGES, y=LABELS)
    for content in mutations(whole, count, 1):
        try:
            samples = samples_of({"a.npz": content})
        except UserError:
            continue
        np.testing.assert_array_equal(IMAGES[..., np.newaxis], pixels(samples))
