"""What every source yields: the agreement between `pipeline/sources/<kind>.py` and the ingest stage.

A source is a file with five names:

- `LAYOUT`: one sentence that says which files it understands, for messages.
- `Options`: a frozen struct of what `millrace init --set name=value` may say about the files.
- `select(names, options)`: which of the given files belong to the data, as `{name in the archive: given name}`.
- `describe(archive, options)`: how the files will be read, in words, where that was found out and not said.
- `read(archive, options)`: the samples of `data/raw/source.tar`, ordered by `sample_id`, streaming.

It is found by its name; what its samples are (`image`, `text` or `series`) says its row in `source_file.KINDS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from msgspec import Struct

GivenSplit = Literal["train", "val", "test"]


class NoOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The options of a kind that takes none."""


NO_OPTIONS = NoOptions()


@dataclass(frozen=True)
class RawSample:
    """One sample as the source has it; exactly one of `image`, `text` and `series` is there.

    Attributes:
        sample_id: Unique, the same for the same sample whenever and wherever it is read.
        label: Name of its class; "" where there is none.
        split: What the source says it is for; None where the source says nothing.
        image: Pixels, uint8, shape (height, width, channels) with 1 or 3 channels; or the bytes of an
            encoded file (JPEG, PNG, ...) that nobody has decoded yet.
        text: As it stands in the file.
        series: float32, shape (steps, channels); NaN where a value is missing.
        channels: Names of the columns of `series`.
        target: What regression predicts.
        group: Person, machine or document it belongs to; "" for none.
        time: ISO 8601; of the first step of a series with time stamps. "" for none.
        step_seconds: Time from one step to the next, where there are time stamps; else 0.
        anomalies: bool, shape (steps,); which steps are labelled as not normal.
        side: Side features by name; a string is a category, None is missing.
    """

    sample_id: str
    label: str = ""
    split: GivenSplit | None = None
    image: np.ndarray | bytes | None = None
    text: str | None = None
    series: np.ndarray | None = None
    channels: tuple[str, ...] = ()
    target: float | None = None
    group: str = ""
    time: str = ""
    step_seconds: float = 0.0
    anomalies: np.ndarray | None = None
    side: Mapping[str, str | float | None] = field(default_factory=dict)
