"""Images that lie in an array of NumPy: `.npz` files such as Keras' mnist.npz, or pairs of `.npy` files.

An array of images has shape (samples, height, width) or (samples, height, width, channels), one of labels as many
entries: `x_train` and `y_train`, `images.npy` and `labels.npy`, `X` and `y` of a file `train.npz`. What their names say
in words between `_`, `-`, `.` and `/` tells images from labels and the split; whatever else the name says, the same of
both, makes them a pair. Format of the files: NumPy Enhancement Proposal 1.
"""

import math
import re
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
from msgspec import Struct

from pipeline.formats.npy import SUFFIXES, ArrayFile, array_names, opened_array, whole
from pipeline.formats.tables import Unlabelled
from pipeline.formats.text_file import open_member
from pipeline.raw.sample import GivenSplit, RawSample, check_splits, choose_files, split_in, stem_of
from pipeline.runtime.errors import DataRefused

LAYOUT = (
    "arrays of images with one label each: a .npz with x and y, x_train and y_train, images and labels, ... or .npy "
    "files of such names; train, val and test in the names give the split"
)
IMAGES = frozenset(("x", "image", "images", "img", "imgs", "data", "pixels"))
LABELS = frozenset(("y", "label", "labels", "target", "targets", "class", "classes"))
MAX_IMAGE_BYTES = 1 << 26
MOST_NAMED = 20
"""A header that promises more than 64 MiB per image is damaged; believing it would cost the memory."""
USED = 1 / 8
"""Of the range of pixels: images that use less of it are nearly black, so the range is another one."""
NUMERIC = ("b", "u", "i", "f")
"""Kinds of dtypes that are numbers, as NumPy calls them."""
GLUED = re.compile(r"([xy])(train|val|valid|test)", re.IGNORECASE)


class Options(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Which arrays are which, and what their numbers mean."""

    images: str = ""
    """Word in the names of arrays of images; "" for x, images, data and their like."""
    labels: str = ""
    """Word in the names of arrays of labels; "" for y, labels, targets and their like."""
    classes: tuple[str, ...] = ()
    """Names of the classes, the first for label 0; without it labels are their own names."""
    range: tuple[float, ...] = ()
    """Lowest and highest value of a pixel, black and white, such as 0,4095. Without it 0 to 255, or 0 to 1."""
    axes: Literal["channels_last", "channels_first"] = "channels_last"
    """Where the channels are: (samples, height, width, channels), or PyTorch's (samples, channels, height, width)."""
    unlabelled: Unlabelled = "fail"
    """Images with an empty name for a class: fail, reject them, which counts against data.max_rejected_share, or leave
    them out, which is counted apart; so are whole arrays of images without one of labels."""
    files: str = ""
    """Glob that chooses files; "" for all .npz and .npy."""


@dataclass(frozen=True)
class _Array:
    """Where an array lies: a file of the archive, and its name within where that is a .npz."""

    file: str
    name: str

    def __str__(self) -> str:
        return f"{self.file}[{self.name}]" if self.file.lower().endswith(".npz") else self.file


@dataclass(frozen=True)
class _Pair:
    """Images and their labels, None where they have none and need none; `key` is what both names share."""

    key: str
    split: GivenSplit | None
    images: _Array
    labels: _Array | None


def select(names: Sequence[str], options: Options) -> dict[str, str]:
    """Return the files of arrays among `names`, named from the folder that holds them all.

    Raises:
        DataRefused: There is none.
    """
    return choose_files(names, SUFFIXES, options.files, LAYOUT)


def describe(archive: tarfile.TarFile, options: Options) -> list[str]:
    """Return which arrays are read as what, and the range of pixels where nobody stated it.

    Raises:
        DataRefused: As `read` does.
    """
    described = []
    for pair in _pairs(archive, options):
        with _opened(archive, pair.images) as header:
            shape = _images_shape(header, pair.images, options)
        if pair.labels is None:
            described.append(f"{pair.images}: {shape} {header.dtype.name}, without labels")
            continue
        low, high = _range(archive, pair.images, options)
        stated = "" if options.range or header.dtype == np.uint8 else " (found)"
        described.append(
            f"{pair.images}: {shape} {header.dtype.name}, pixels from {low:g} to "
            f"{high:g}{stated}, labels of {pair.labels}"
        )
    return described


def read(archive: tarfile.TarFile, options: Options) -> Iterator[RawSample]:
    """Yield the images, called by their array and row: `train/00000042`; a chunk of rows is in memory at a time.

    Raises:
        DataRefused: No pair, images without labels, shapes that do not fit, numbers whose range nobody knows, Python
            objects, or a file that is damaged.
    """
    for pair in _pairs(archive, options):
        with _opened(archive, pair.images) as header:
            shape = _images_shape(header, pair.images, options)
        if pair.labels is None:
            # Nobody reads their pixels; see `pipeline.raw.answers`.
            yield from (RawSample(f"{pair.key}{row:08d}", split=pair.split) for row in range(shape[0]))
            continue
        low, high = _range(archive, pair.images, options)
        labels = _labels(archive, pair.labels, options)
        if shape[0] != len(labels) or not labels:
            raise DataRefused(
                f"{pair.images} and {pair.labels} do not belong together. Expected one label per image, at least one. "
                f"Received: {shape[0]} images, {len(labels)} labels. Save both again."
            )
        row = 0
        for chunk in _image_chunks(archive, pair.images, options):
            pixels = (
                chunk if chunk.dtype == np.uint8 and (low, high) == (0, 255) else _scaled(chunk, low, high)
            )
            for image in pixels:
                yield RawSample(f"{pair.key}{row:08d}", labels[row], pair.split, image)
                row += 1


# --- Which arrays there are.


def _pairs(archive: tarfile.TarFile, options: Options) -> list[_Pair]:
    """Return pairs of images and labels by their key.

    Raises:
        DataRefused: There is none, images lack labels, or two arrays are the same part.
    """
    parts: dict[str, dict[str, _Array]] = {}
    splits: dict[str, GivenSplit | None] = {}
    others = []
    for array in _arrays(archive):
        found = _part(array, options)
        if found is None:
            others.append(str(array))
            continue
        part, words = found
        key = "".join(f"{word}/" for word in words)
        if part in parts.setdefault(key, {}):
            raise DataRefused(
                f"Two arrays for the same part. Expected one array of {part} each. Received: {parts[key][part]} and "
                f"{array}. Name the right one's word: --set {part}=WORD."
            )
        parts[key][part] = array
        splits[key] = next((split for word in words if (split := split_in(word))), None)
    without = [str(found["images"]) for found in parts.values() if "labels" not in found]
    complete = {key: found for key, found in parts.items() if len(found) == 2}
    if not complete:
        raise DataRefused(
            f"No arrays of images with labels. Expected {LAYOUT}. Received: "
            f"{', '.join([*without, *others][:MOST_NAMED]) or 'labels alone'}. Name the words: --set images=WORD --set "
            "labels=WORD."
        )
    if without and options.unlabelled == "fail":
        raise DataRefused(
            f"Images without labels. Expected an array of labels beside each array of images. Received: none for "
            f"{', '.join(without)}. Add it, or leave these images out: --set unlabelled=leave_out."
        )
    check_splits({key: splits[key] for key in complete})
    return [
        _Pair(key, splits[key], found["images"], found.get("labels"))
        for key, found in sorted(parts.items())
        if "images" in found
    ]


def _arrays(archive: tarfile.TarFile) -> Iterator[_Array]:
    for file in sorted(archive.getnames()):
        with open_member(archive, file) as opened:
            for name in array_names(opened, file):
                yield _Array(file, name)


@contextmanager
def _opened(archive: tarfile.TarFile, array: _Array) -> Iterator[ArrayFile]:
    with open_member(archive, array.file) as file, opened_array(file, array.file, array.name) as found:
        yield found


def _part(array: _Array, options: Options) -> tuple[str, tuple[str, ...]] | None:
    """Return whether an array holds images or labels, and the other words of its name; None for neither."""
    file, packed = stem_of(array.file), array.file.lower().endswith(".npz")
    words = _words(GLUED.sub(r"\1_\2", array.name if packed else file))
    outer = _words(file) if packed else []
    if len(outer) == 1 and split_in(outer[0]) is None:
        outer = []  # the only word of `mnist.npz` names the set, not a part of it
    for part, stated, known in (("images", options.images, IMAGES), ("labels", options.labels, LABELS)):
        wanted = {stated.casefold()} if stated else known
        place = next(
            (place for place in reversed(range(len(words))) if words[place].casefold() in wanted), None
        )
        if place is not None:
            return part, (*outer, *words[:place], *words[place + 1 :])
    return None


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[-_./ ]+", name) if word]


# --- What is in them.


def _images_shape(header: ArrayFile, array: _Array, options: Options) -> tuple[int, int, int, int]:
    """Return (samples, height, width, channels) with 1 or 3 channels.

    Raises:
        DataRefused: The array has another shape.
    """
    shape = header.shape
    if header.dtype.kind not in NUMERIC:
        raise DataRefused(
            f"{array} is no array of images. Expected numbers. Received: {header.dtype}. If it holds labels, name the "
            "words: --set images=WORD --set labels=WORD."
        )
    if len(shape) == 3:
        shape = (*shape, 1)
    elif len(shape) == 4 and options.axes == "channels_first":
        shape = (shape[0], shape[2], shape[3], shape[1])
    if len(shape) != 4 or shape[3] not in (1, 3) or 0 in shape[1:]:
        first = len(header.shape) == 4 and header.shape[1] in (1, 3) and options.axes == "channels_last"
        advice = (
            "Channels come first here: --set axes=channels_first."
            if first
            else "Save the images in this shape, alpha and further channels left out."
        )
        raise DataRefused(
            f"{array} is no array of images. Expected shape (samples, height, width), or with 1 or 3 channels at the "
            f"end. Received: {header.shape}. {advice}"
        )
    if math.prod(shape[1:]) * header.dtype.itemsize > MAX_IMAGE_BYTES:
        raise DataRefused(
            f"{array} promises images that are too large. Expected at most {MAX_IMAGE_BYTES:,} bytes each. Received: "
            f"{shape[1]} x {shape[2]} x {shape[3]}. Save them smaller, or as files in one folder per class."
        )
    return shape


def _image_chunks(archive: tarfile.TarFile, array: _Array, options: Options) -> Iterator[np.ndarray]:
    """Yield images, shape (rows, height, width, channels), in the dtype of the file."""
    with _opened(archive, array) as found:
        _images_shape(found, array, options)
        for rows in found.rows():
            chunk = rows
            if chunk.ndim == 3:
                chunk = chunk[..., np.newaxis]
            elif options.axes == "channels_first":
                chunk = np.moveaxis(chunk, 1, -1)
            yield np.ascontiguousarray(chunk)


def _range(archive: tarfile.TarFile, array: _Array, options: Options) -> tuple[float, float]:
    """Return the values of black and white: as stated, or as the numbers show without a doubt.

    Raises:
        DataRefused: They leave a doubt, or lie outside of what was stated.
    """
    if options.range and (len(options.range) != 2 or not options.range[0] < options.range[1]):
        raise DataRefused(
            f"--set range= must be two numbers. Expected LOW,HIGH, such as 0,4095. Received: "
            f"{','.join(f'{value:g}' for value in options.range)}. Correct it."
        )
    low, high, whole, narrow = math.inf, -math.inf, True, True
    for chunk in _image_chunks(archive, array, options):
        if not np.isfinite(chunk).all():
            raise DataRefused(
                f"{array} holds values that are no numbers. Expected finite ones. Received: NaN or infinity. Fill them."
            )
        low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
        whole = whole and (chunk.dtype.kind != "f" or bool((chunk == np.round(chunk)).all()))
        narrow = narrow and chunk.dtype.kind in "bf"
    if options.range:
        black, white = options.range
    elif narrow and low >= 0 and high <= 1:
        black, white = 0.0, 1.0
    elif whole and low >= 0 and high <= 255:
        black, white = 0.0, 255.0
    else:
        black, white = math.nan, math.nan
    if not (black <= low and high <= white):
        expected = (
            f"values from {black:g} to {white:g}" if options.range else "values from 0 to 255, or from 0 to 1"
        )
    elif not options.range and high - low < USED * (white - black):
        expected = f"values that use more than an eighth of {black:g} to {white:g}"
    else:
        return black, white
    raise DataRefused(
        f"Nobody can say which values of {array} are black and white. Expected {expected}. Received: values from "
        f"{low:g} to {high:g} ({_dtype_of(archive, array)}). State both: --set range={low:g},{high:g}, or those of the "
        "camera."
    )


def _dtype_of(archive: tarfile.TarFile, array: _Array) -> str:
    with _opened(archive, array) as found:
        return found.dtype.name


def _scaled(chunk: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return pixels as uint8: `low` is 0, `high` is 255."""
    return np.round((chunk.astype(np.float64) - low) * (255.0 / (high - low))).astype(np.uint8)


def _labels(archive: tarfile.TarFile, array: _Array, options: Options) -> list[str]:
    """Return the class of each row.

    Raises:
        DataRefused: They are no classes: values with fractions, several per row, or without a name.
    """
    with _opened(archive, array) as header:
        if header.dtype.kind not in (*NUMERIC, "S", "U"):
            raise DataRefused(
                f"{array} holds no classes. Expected numbers or names. Received: {header.dtype}."
            )
        if not header.shape:
            raise DataRefused(f"{array} holds no classes. Expected one per image. Received: a single value.")
        values = whole(header)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    elif values.ndim == 2 and values.dtype.kind in NUMERIC:
        one_hot = ((values == 0) | (values == 1)).all() and (values.sum(axis=1) == 1).all()
        values = values.argmax(axis=1) if one_hot else values
    fractions = values.dtype.kind == "f" and not (np.isfinite(values) & (values == np.round(values))).all()
    if values.ndim != 1 or fractions:
        raise DataRefused(
            f"{array} holds no classes. Expected one whole number or name per image, or rows with a single 1. "
            f"Received: shape {header.shape}, {header.dtype.name}{', with fractions' if fractions else ''}. Numbers to "
            "predict, and several labels per image, come in a table beside image files: --kind image_table."
        )
    if values.dtype.kind == "S":
        try:
            names = [value.decode() for value in values.tolist()]
        except UnicodeDecodeError as error:
            raise DataRefused(
                f"{array} holds names that are no UTF-8. Expected text. Received: {error}. Save it as text: "
                "labels.astype(str)."
            ) from error
    elif values.dtype.kind == "U":
        names = values.tolist()
    else:
        names = [str(int(value)) for value in values.tolist()]
    if "" in names and options.unlabelled == "fail":
        raise DataRefused(
            f"{array} holds empty names. Expected a class for each image. Received: {names.count('')} of {len(names)} "
            "without. Fill them in, or leave these images out, counted: --set unlabelled=leave_out."
        )
    if not options.classes:
        return names
    known = {"": ""} | {str(number): name for number, name in enumerate(options.classes)}
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise DataRefused(
            f"--set classes= has no name for some labels. Expected labels 0 to {len(options.classes) - 1}. Received: "
            f"{', '.join(unknown[:10])} of {array}. Name every class, in the order of their numbers."
        )
    return [known[name] for name in names]
