"""The handwritten digits that scikit-learn brings along: 1,797 grey images of 8 x 8 pixels.

UCI "Optical Recognition of Handwritten Digits" (test part). They make a fresh clone run offline.
"""

import gzip
import tarfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from pipeline.raw.sample import NO_OPTIONS, NoOptions, RawSample
from pipeline.runtime.errors import DataRefused, InputMissing

LAYOUT = "the digits come with scikit-learn and need no files"
Options = NoOptions
MEMBER = "digits.csv"
SIDE_PX = 8
HIGHEST_VALUE = 16


def bundled_files() -> dict[str, bytes]:
    """Return the archive's content: the table as plain CSV, since gzip bytes differ between packagings.

    Raises:
        InputMissing: scikit-learn is not installed, or keeps the table elsewhere.
    """
    # `importlib.resources` would import scikit-learn, a second of start-up for one file of 57 kB.
    spec = find_spec("sklearn")
    folder = Path(spec.origin).parent if spec and spec.origin else Path("sklearn")
    path = folder / "datasets" / "data" / "digits.csv.gz"
    if not path.is_file():
        raise InputMissing(
            f"The bundled digits are not where scikit-learn keeps them. Expected {path.name} in its package. "
            f"Received: path={path}. Install the locked packages with `make .venv`."
        )
    return {MEMBER: gzip.decompress(path.read_bytes())}


def select(names: Sequence[str], options: NoOptions = NO_OPTIONS) -> dict[str, str]:  # noqa: ARG001  # as every source
    """Refuse: there is nothing to choose from.

    Raises:
        DataRefused: Always; the digits are bundled.
    """
    raise DataRefused(
        f"Kind `digits` takes no files: {LAYOUT}. Received: {len(names)} files. "
        "Use `millrace init --kind digits`, or another kind for your own data."
    )


def describe(archive: tarfile.TarFile, options: NoOptions = NO_OPTIONS) -> list[str]:  # noqa: ARG001  # as every source
    """Return nothing: there is no choice in how these files are read."""
    return []


def read(archive: tarfile.TarFile, options: NoOptions = NO_OPTIONS) -> Iterator[RawSample]:  # noqa: ARG001  # as every source
    """Yield the digits in the order of the table.

    Values 0..16 become uint8 by `round(value * 255 / 16)`, halves upwards, in exact integer arithmetic.

    Raises:
        DataRefused: A line does not hold 64 values from 0 to 16 and a digit.
    """
    file = archive.extractfile(MEMBER)
    if file is None:
        raise DataRefused(f"The archive holds no file {MEMBER}. Run `millrace init --kind digits`.")
    for index, line in enumerate(file):
        values = _values(line, index)
        pixels = (values[:-1] * 255 + HIGHEST_VALUE // 2) // HIGHEST_VALUE
        image = pixels.astype(np.uint8).reshape(SIDE_PX, SIDE_PX, 1)
        yield RawSample(sample_id=f"{index:06d}", label=str(values[-1]), split=None, image=image)


def _values(line: bytes, index: int) -> np.ndarray:
    cells = line.strip().split(b",")
    if len(cells) == SIDE_PX * SIDE_PX + 1 and all(cell.isdigit() for cell in cells):
        values = np.array([int(cell) for cell in cells])
        if values[:-1].max() <= HIGHEST_VALUE and values[-1] <= 9:
            return values
    raise DataRefused(
        f"{MEMBER}, line {index + 1} is not a digit. Expected 64 whole numbers from 0 to {HIGHEST_VALUE} and "
        f"a label from 0 to 9. Received: {line[:60]!r}. Reinstall scikit-learn."
    )
