"""The kinds of sources, by the name that `millrace init --kind` and data/source.json use.

Imported here one by one, so that dvc.yaml's dependencies can be compared with the code behind a stage.
"""

import tarfile
from collections.abc import Iterator, Sequence
from typing import Protocol

from pipeline.sources import digits, idx, image_folder
from pipeline.sources.raw_sample import RawSample


class SourceModule(Protocol):
    """What a file under pipeline/sources offers; see `pipeline/sources/raw_sample.py`."""

    LAYOUT: str

    def select(self, names: Sequence[str]) -> dict[str, str]:
        """Return which files belong to the data, as {name in the archive: given name}."""

    def read(self, archive: tarfile.TarFile) -> Iterator[RawSample]:
        """Yield the samples, ordered by sample_id."""


SOURCES: dict[str, SourceModule] = {"digits": digits, "idx": idx, "image_folder": image_folder}
