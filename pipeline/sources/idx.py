"""IDX files, plain or gzip: the format of MNIST, Fashion-MNIST, KMNIST and EMNIST.

Layout of a file: two zero bytes, one byte for the type (8: uint8), one for the number of dimensions,
one big-endian uint32 per dimension, then the values, last dimension fastest
(Y. LeCun, C. Cortes, C. Burges, "The MNIST database").
"""

import gzip
import math
import re
import struct
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO

import numpy as np

from pipeline.raw.sample import NO_OPTIONS, GivenSplit, NoOptions, RawSample
from pipeline.runtime.errors import DataRefused

LAYOUT = (
    "train-images-idx3-ubyte[.gz] and train-labels-idx1-ubyte[.gz], with t10k-... for a given test set; or "
    "one pair images-idx3-ubyte[.gz] and labels-idx1-ubyte[.gz]; classes.txt (one name per line) is optional"
)
Options = NoOptions
UINT8 = 0x08
CHUNK_ROWS = 1024
MAX_IMAGE_BYTES = 1 << 26
"""A header that promises more than 64 MiB per image is damaged; believing it would cost the memory."""
CLASSES = "classes.txt"
NAME = re.compile(
    r"^(?:.*?[-_])??(?P<split>train[-_]|t10k[-_]|test[-_])?(?P<part>images|labels)[-.]idx\d-ubyte(?:\.gz)?$"
)
SPLITS: dict[str, GivenSplit] = {"train": "train", "t10k": "test", "test": "test"}


def select(names: Sequence[str], options: NoOptions = NO_OPTIONS) -> dict[str, str]:  # noqa: ARG001  # as every source
    """Return the IDX files and `classes.txt` among `names`, without their folder.

    Raises:
        DataRefused: No complete pair of images and labels, or more than one candidate for a part.
    """
    chosen: dict[str, str] = {}
    for name in names:
        base = PurePosixPath(name).name
        if not NAME.match(base) and base != CLASSES:
            continue
        if base in chosen:
            raise DataRefused(
                f"{base} is there twice. Expected each file once. Received: {chosen[base]} and {name}. "
                "Point --path at the folder with the right one."
            )
        chosen[base] = name
    pairs(sorted(chosen))
    return chosen


def pairs(names: Sequence[str]) -> dict[GivenSplit | None, tuple[str, str]]:
    """Return, per given split, the names of its images and its labels.

    Args:
        names: Names without folder; those that are no IDX files are passed over.

    Raises:
        DataRefused: A half is missing, or a part is there twice (often once plain and once gzip).
    """
    parts: dict[tuple[GivenSplit | None, str], str] = {}
    for name in names:
        match = NAME.match(name)
        if match is None:
            continue
        split = SPLITS.get((match["split"] or "").rstrip("-_"))
        if (split, match["part"]) in parts:
            other = parts[split, match["part"]]
            raise DataRefused(
                f"Two files for the same part. Expected one of each: {LAYOUT}. Received: {other} and {name}. "
                "Remove one, or point --path at a folder that holds one set."
            )
        parts[split, match["part"]] = name
    splits = sorted({split for split, _ in parts}, key=str)
    complete = all((split, part) in parts for split in splits for part in ("images", "labels"))
    if not complete or splits not in ([None], ["train"], ["test", "train"]):
        raise DataRefused(
            f"These files are no complete IDX data set. Expected {LAYOUT}. "
            f"Received: {', '.join(sorted(parts.values())) or 'no IDX file'}. Add what is missing."
        )
    return {split: (parts[split, "images"], parts[split, "labels"]) for split in splits}


def describe(archive: tarfile.TarFile, options: NoOptions = NO_OPTIONS) -> list[str]:  # noqa: ARG001  # as every source
    """Return nothing: there is no choice in how these files are read."""
    return []


def read(archive: tarfile.TarFile, options: NoOptions = NO_OPTIONS) -> Iterator[RawSample]:  # noqa: ARG001  # as every source
    """Yield the images, split by split; only a chunk of rows is in memory at a time.

    Raises:
        DataRefused: Header and bytes disagree, the counts of images and labels differ, a gzip stream is
            damaged, or a label has no name in `classes.txt`.
    """
    names = archive.getnames()
    classes = _classes(archive) if CLASSES in names else None
    for split, (images, labels) in sorted(pairs(names).items(), key=lambda item: str(item[0])):
        yield from _read_pair(archive, images, labels, split, classes)


def _read_pair(
    archive: tarfile.TarFile, images: str, labels: str, split: GivenSplit | None, classes: list[str] | None
) -> Iterator[RawSample]:
    prefix = f"{split}/" if split else ""
    with _open(archive, images) as image_file, _open(archive, labels) as label_file:
        image_shape = _read_header(image_file, images, num_dimensions=3)
        label_shape = _read_header(label_file, labels, num_dimensions=1)
        if image_shape[0] != label_shape[0] or not math.prod(image_shape):
            raise DataRefused(
                f"{images} and {labels} do not belong together. Expected one label per image, at least one. "
                f"Received: {image_shape[0]} images of {image_shape[1:]} pixels, {label_shape[0]} labels. "
                "Download both again."
            )
        if math.prod(image_shape[1:]) > MAX_IMAGE_BYTES:
            raise DataRefused(
                f"{images} promises images that are too large. Expected at most {MAX_IMAGE_BYTES:,} pixels each. "
                f"Received: {image_shape[1]} x {image_shape[2]}. Download it again."
            )
        chunk_rows = max(1, min(CHUNK_ROWS, MAX_IMAGE_BYTES // math.prod(image_shape[1:])))
        for start in range(0, image_shape[0], chunk_rows):
            rows = min(chunk_rows, image_shape[0] - start)
            chunk = _read_rows(image_file, images, (rows, *image_shape[1:], 1))
            chunk_labels = _read_rows(label_file, labels, (rows,))
            for offset, (image, label) in enumerate(zip(chunk, chunk_labels.tolist(), strict=True)):
                sample_id = f"{prefix}{start + offset:08d}"
                yield RawSample(sample_id, _class_name(label, classes, sample_id), split, image)
        _refuse_more(image_file, images)
        _refuse_more(label_file, labels)


@contextmanager
def _open(archive: tarfile.TarFile, name: str) -> Iterator[IO[bytes]]:
    file = archive.extractfile(name)
    if file is None:
        raise DataRefused(f"{name} is not a regular file. Expected {LAYOUT}. Pack the data again.")
    try:
        if not name.endswith(".gz"):
            yield file
            return
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield unpacked  # type: ignore[misc]  # GzipFile reads bytes, but is no IO[bytes] by name
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataRefused(
            f"{name} is a damaged gzip file. Expected an intact one. Received: {error}. Download it again."
        ) from error


def _read_header(file: IO[bytes], name: str, num_dimensions: int) -> tuple[int, ...]:
    header = file.read(4)
    if header != bytes((0, 0, UINT8, num_dimensions)):
        raise DataRefused(
            f"{name} does not begin like an IDX file. Expected the bytes 0 0 {UINT8} {num_dimensions} "
            f"(uint8, {num_dimensions} dimensions). Received: "
            f"{' '.join(map(str, header)) or 'an empty file'}. "
            "Check that the file is what its name says, and not packed twice."
        )
    sizes = file.read(4 * num_dimensions)
    if len(sizes) != 4 * num_dimensions:
        raise _too_short(name, 4 * num_dimensions, len(sizes))
    return struct.unpack(f">{num_dimensions}I", sizes)


def _read_rows(file: IO[bytes], name: str, shape: tuple[int, ...]) -> np.ndarray:
    content = file.read(math.prod(shape))
    if len(content) != math.prod(shape):
        raise _too_short(name, math.prod(shape), len(content))
    return np.frombuffer(content, np.uint8).reshape(shape)


def _too_short(name: str, expected: int, received: int) -> DataRefused:
    return DataRefused(
        f"{name} ends too early: its header promises more. Expected {expected} more bytes. "
        f"Received: {received}. Download it again."
    )


def _refuse_more(file: IO[bytes], name: str) -> None:
    # Reading to the end also makes gzip compare its checksum.
    if file.read(1):
        raise DataRefused(
            f"{name} holds more bytes than its header says. Expected the end of the file. "
            "Received: at least 1 byte more. Check that nothing was appended, and download it again."
        )


def _classes(archive: tarfile.TarFile) -> list[str]:
    with _open(archive, CLASSES) as file:
        text = file.read().decode(errors="replace")
    names = [line.strip() for line in text.removesuffix("\n").split("\n")]
    if "" in names or "\ufffd" in text or len(set(names)) != len(names):
        raise DataRefused(
            f"{CLASSES} does not name the classes. Expected UTF-8, one different name per line, "
            f"the first for label 0. Received: {names}. Correct it."
        )
    return names


def _class_name(label: int, classes: list[str] | None, sample_id: str) -> str:
    if classes is None:
        return str(label)
    if label >= len(classes):
        raise DataRefused(
            f"{CLASSES} has no name for a label. Expected at least {label + 1} lines. "
            f"Received: label={label} of {sample_id}, {len(classes)} lines. Add the missing names."
        )
    return classes[label]
