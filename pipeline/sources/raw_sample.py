"""What every source yields: the agreement between `pipeline/sources/<kind>.py` and the ingest stage.

A source is a file with three names:

- `LAYOUT`: one sentence that says which files it understands, for messages.
- `select(names)`: which of the given files belong to the data, as `{name in the archive: given name}`.
- `read(archive)`: the samples of `data/raw/source.tar`, ordered by `sample_id`, streaming.

A new kind has its row in `pipeline/source_kinds.py` and its name in `pipeline/source_file.py`.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

GivenSplit = Literal["train", "val", "test"]


@dataclass(frozen=True)
class RawSample:
    """One sample as the source has it.

    Attributes:
        sample_id: Unique, the same for the same sample whenever and wherever it is read.
        label: Name of its class.
        split: What the source says it is for; None where the source says nothing.
        image: Pixels, uint8, shape (height, width, channels) with 1 or 3 channels; or the bytes of an
            encoded file (JPEG, PNG, ...) that nobody has decoded yet.
    """

    sample_id: str
    label: str
    split: GivenSplit | None
    image: np.ndarray | bytes
