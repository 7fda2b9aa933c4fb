"""IDX files are read as their header says, or refused; expected bytes are packed by hand."""

import gzip
import struct
import tarfile
import tracemalloc

import numpy as np
import pytest

from pipeline.fetching.archives import write_tar
from pipeline.runtime.errors import DataRefused
from pipeline.sources import idx
from tests.helpers.archive_of import archive_of

TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def images_file(values, count, height, width):
    """Return an IDX file of images."""
    return struct.pack(">4I", 0x00000803, count, height, width) + bytes(values)


def labels_file(labels):
    """Return an IDX file of labels."""
    return struct.pack(">2I", 0x00000801, len(labels)) + bytes(labels)


def pair(names=TRAIN, count=2):
    """Return a good pair of `count` images of 2 x 3 pixels."""
    values = [index % 256 for index in range(count * 6)]
    return {
        names[0]: images_file(values, count, 2, 3),
        names[1]: labels_file([index % 2 for index in range(count)]),
    }


def read(files):
    """Return all samples of an archive with these files."""
    with archive_of(files) as archive:
        return list(idx.read(archive))


def test_pixels_lie_row_by_row():
    """The last dimension runs fastest, as in the format's description."""
    first, second = read(pair())
    assert first.image.tolist() == [[[0], [1], [2]], [[3], [4], [5]]]
    assert second.image.tolist() == [[[6], [7], [8]], [[9], [10], [11]]]
    assert [(sample.sample_id, sample.label, sample.split) for sample in (first, second)] == [
        ("train/00000000", "0", "train"),
        ("train/00000001", "1", "train"),
    ]


def test_gzip_and_plain_files_hold_the_same_samples():
    """A file may be packed or not; what it holds is the same."""
    packed = {f"{name}.gz": gzip.compress(content) for name, content in pair().items()}
    plain, unpacked = read(pair()), read(packed)
    assert [sample.image.tobytes() for sample in plain] == [sample.image.tobytes() for sample in unpacked]


def test_t10k_is_the_given_test_set_and_order_follows_the_ids():
    """Test comes first because its ids sort first; the table is written in one pass."""
    samples = read(pair(TRAIN, 3) | pair(TEST, 2))
    assert [sample.split for sample in samples] == ["test"] * 2 + ["train"] * 3
    assert sorted(sample.sample_id for sample in samples) == [sample.sample_id for sample in samples]


def test_a_single_pair_has_no_given_split():
    """Without train or t10k in the names, the source says nothing about splits."""
    samples = read(pair(("images-idx3-ubyte", "labels-idx1-ubyte")))
    assert [(sample.sample_id, sample.split) for sample in samples] == [
        ("00000000", None),
        ("00000001", None),
    ]


def test_classes_txt_names_the_labels():
    """Line 1 is label 0."""
    samples = read(pair() | {"classes.txt": b"trouser\r\nbag\n"})
    assert [sample.label for sample in samples] == ["trouser", "bag"]


@pytest.mark.parametrize("content", [b"one\n", b"one\none\n", b"one\n\ntwo\n", b"\xff\ntwo\n"])
def test_unusable_class_names_are_refused(content):
    """Too few, twice the same, an empty one, and bytes that are not UTF-8."""
    with pytest.raises(DataRefused, match=r"classes\.txt"):
        read(pair() | {"classes.txt": content})


IMAGES, LABELS = TRAIN
BROKEN = {
    "too short": ({IMAGES: pair()[IMAGES][:-1]}, "ends too early"),
    "header cut off": ({IMAGES: pair()[IMAGES][:9]}, "ends too early"),
    "too long": ({IMAGES: pair()[IMAGES] + b"x"}, "more bytes than its header says"),
    "labels too long": ({LABELS: pair()[LABELS] + b"x"}, "more bytes than its header says"),
    "labels too short": ({LABELS: pair()[LABELS][:-1]}, "ends too early"),
    "one label less": ({LABELS: labels_file([0])}, "do not belong together"),
    "no image": ({IMAGES: images_file([], 0, 2, 3), LABELS: labels_file([])}, "do not belong together"),
    "int16 values": ({IMAGES: struct.pack(">4I", 0x00000B03, 2, 2, 3) + bytes(24)}, "does not begin like"),
    "wrong dimensions": ({IMAGES: labels_file([0, 1])}, "does not begin like"),
    "gzip under a plain name": ({IMAGES: gzip.compress(pair()[IMAGES])}, "does not begin like"),
    "empty": ({IMAGES: b""}, "an empty file"),
}


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_counts_are_checked_against_bytes(change, message):
    """A header that disagrees with the bytes, in either direction, refuses the data."""
    with pytest.raises(DataRefused, match=message):
        read(pair() | change)


def test_a_damaged_gzip_file_is_refused():
    """Truncated, and with a wrong checksum at the very end."""
    packed = gzip.compress(pair()[IMAGES])
    for damaged in (packed[:-12], packed[:-8] + bytes(4) + packed[-4:], b"no gzip at all"):
        with pytest.raises(DataRefused, match="damaged gzip"):
            read({f"{IMAGES}.gz": damaged, LABELS: pair()[LABELS]})


def test_a_header_that_promises_too_much_is_refused_without_the_memory():
    """Four billion images cost an error message, not four gigabytes."""
    huge = struct.pack(">4I", 0x00000803, 2**32 - 1, 28, 28)
    labels = struct.pack(">2I", 0x00000801, 2**32 - 1) + bytes(2000)
    with pytest.raises(DataRefused, match="ends too early"):
        read({IMAGES: huge, LABELS: labels})


def test_memory_does_not_grow_with_the_data(tmp_path):
    """Reading eight times as many rows peaks at about the same height."""

    def peak(count):
        path = tmp_path / f"{count}.tar"
        images = images_file(np.zeros(count * 784, np.uint8).tobytes(), count, 28, 28)
        files = {f"{IMAGES}.gz": gzip.compress(images, 1), LABELS: labels_file(bytes(count))}
        write_tar(path, files)
        tracemalloc.start()
        with tarfile.open(path) as archive:
            for _ in idx.read(archive):
                pass
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(16384) < 1.2 * peak(4096)


def test_select_takes_the_pair_out_of_any_folder():
    """Only IDX files and classes.txt belong to the data; their folder does not matter."""
    names = [
        "LICENSE",
        *(f"MNIST/raw/{name}.gz" for name in TRAIN),
        "MNIST/raw/classes.txt",
        "notes/readme.md",
    ]
    assert idx.select(names) == {
        "classes.txt": "MNIST/raw/classes.txt",
        "train-images-idx3-ubyte.gz": "MNIST/raw/train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz": "MNIST/raw/train-labels-idx1-ubyte.gz",
    }


@pytest.mark.parametrize(
    ("name", "split", "part"),
    [
        ("train-images-idx3-ubyte.gz", "train-", "images"),
        ("train-images.idx3-ubyte", "train-", "images"),
        ("emnist-letters-test-labels-idx1-ubyte.gz", "test-", "labels"),
        ("t10k-labels-idx1-ubyte", "t10k-", "labels"),
        ("images-idx3-ubyte", None, "images"),
    ],
)
def test_usual_names_are_known(name, split, part):
    """MNIST, its mirrors with a dot, and EMNIST."""
    match = idx.NAME.match(name)
    assert (split, part) == (match["split"], match["part"])


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["LICENSE"],
        [TRAIN[0]],
        list(TEST),
        [*TRAIN, TEST[0]],
        [*TRAIN, f"{TRAIN[0]}.gz"],
        [*TRAIN, "images-idx3-ubyte", "labels-idx1-ubyte"],
        [f"a/{TRAIN[0]}", f"b/{TRAIN[0]}", TRAIN[1]],
    ],
)
def test_incomplete_or_ambiguous_files_are_refused(names):
    """No half pairs, no test set alone, no guess which of two files is meant."""
    with pytest.raises(DataRefused, match="Expected"):
        idx.select(names)


def test_fashion_mnist_begins_as_published(benchmarks):
    """First labels and first pixels of the real files equal those read with NumPy alone."""
    folder = benchmarks / "fashion-mnist"
    names = {f"{name}.gz": (folder / f"{name}.gz") for name in TRAIN}
    with gzip.open(names[f"{TRAIN[0]}.gz"]) as file:
        expected = np.frombuffer(file.read(16 + 3 * 784), np.uint8)[16:].reshape(3, 28, 28, 1)
    with archive_of({name: path.read_bytes() for name, path in names.items()}) as archive:
        samples = [sample for sample, _ in zip(idx.read(archive), range(3), strict=False)]
    np.testing.assert_array_equal(expected, np.stack([sample.image for sample in samples]))
    assert [sample.label for sample in samples] == ["9", "0", "0"]
