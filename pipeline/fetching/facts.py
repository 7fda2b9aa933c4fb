"""What a complete reading finds out about the data beside its samples: `Facts` of data/source.json."""

import io
import math
import warnings
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Literal

import numpy as np

from pipeline.fetching.source import MOST_CLASSES, Facts, Span
from pipeline.raw import heif
from pipeline.raw.label_sets import labels_of
from pipeline.raw.sample import RawSample

GREY_MODES = ("1", "L", "LA", "La", "I", "F")
TURNED = (5, 6, 7, 8)
"""EXIF orientations of photographs that lie on their side."""
ORIENTATION_TAG = 0x0112


class FactsSeen:
    """Looks at samples that pass; memory grows with the number of different values, not of samples."""

    def __init__(self) -> None:
        self._splits: Counter[str] = Counter()
        self._classes: Counter[str] = Counter()
        self._step_classes: Counter[str] = Counter()
        self._groups: set[str] = set()
        self._side: dict[str, Literal["number", "category"]] = {}
        self._channels: tuple[str, ...] = ()
        self._image_channels: set[int] = set()
        self._heights: Counter[int] = Counter()
        self._widths: Counter[int] = Counter()
        self._lengths: Counter[int] = Counter()
        self._steps: set[float] = set()
        self._targets = self._times = self._anomalies = 0

    def see(self, sample: RawSample) -> None:
        """Look at one sample."""
        self._splits[sample.split or ""] += 1
        self._classes.update(labels_of(sample))
        if sample.group:
            self._groups.add(sample.group)
        self._targets += sample.target is not None and not math.isnan(sample.target)
        self._times += bool(sample.time)
        for name, value in sample.side.items():
            if value is not None:
                self._side[name] = "category" if isinstance(value, str) else "number"
            else:
                self._side.setdefault(name, "number")
        if sample.text is not None:
            self._lengths[len(sample.text.split())] += 1
        if sample.series is not None:
            self._see_series(sample.series, sample)
        if sample.image is not None:
            self._see_image(sample.image)

    def found(self, joined: Mapping[str, str], rare: Collection[str] = ()) -> Facts:
        """Return the facts.

        Args:
            joined: Classes that are read as another one.
            rare: Classes that are left out.
        """
        classes: Counter[str] = Counter()
        for name, count in self._classes.items():
            classes[joined.get(name, name)] += count
        for name in rare:
            classes.pop(name, None)
        return Facts(
            splits=dict(sorted(self._splits.items())) if set(self._splits) != {""} else {},
            classes=dict(sorted(classes.items())) if len(classes) <= MOST_CLASSES else {},
            num_classes=len(classes),
            step_classes=dict(sorted(self._step_classes.items()))
            if len(self._step_classes) <= MOST_CLASSES
            else {},
            targets=self._targets,
            groups=len(self._groups),
            times=self._times,
            side=dict(self._side),
            channels=list(self._channels),
            image_channels=sorted(self._image_channels),
            height=_span(self._heights),
            width=_span(self._widths),
            length=_span(self._lengths),
            step_seconds=min(self._steps, default=0.0),
            anomalies=self._anomalies,
        )

    def _see_series(self, series: np.ndarray, sample: RawSample) -> None:
        self._lengths[len(series)] += 1
        self._channels = self._channels or sample.channels
        if sample.step_seconds > 0:
            self._steps.add(float(sample.step_seconds))
        if sample.step_labels is not None:
            codes, counts = np.unique(sample.step_labels.codes, return_counts=True)
            for code, number in zip(codes.tolist(), counts.tolist(), strict=True):
                if code >= 0:
                    self._step_classes[sample.step_labels.names[code]] += number
        if sample.anomalies is not None:
            self._anomalies += int(sample.anomalies.sum())

    def _see_image(self, image: np.ndarray | bytes) -> None:
        if isinstance(image, np.ndarray):
            height, width, channels = image.shape
        else:
            shape = measured(image)
            if shape is None:  # the ingest stage says what is wrong with it
                return
            height, width, channels = shape
        self._heights[height] += 1
        self._widths[width] += 1
        self._image_channels.add(channels)


def measured(content: bytes) -> tuple[int, int, int] | None:
    """Return height, width and channels of an upright encoded image from its header; None if nothing reads it."""
    from PIL import Image

    heif.let_pillow_read()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content)) as image:
                grey = image.mode in GREY_MODES or image.mode.startswith("I;")
                turned = image.getexif().get(ORIENTATION_TAG) in TURNED
                sides = image.size if turned else image.size[::-1]
                return (*sides, 1 if grey else 3)
    # Pillow raises whatever a format's code happens to raise; `ingest` names every such file with its reason.
    except Exception:  # noqa: BLE001
        return None


def _span(counts: Counter[int]) -> Span | None:
    """Return smallest, middle and largest value; None of nothing."""
    if not counts:
        return None
    values = sorted(counts)
    half, passed = counts.total() / 2, 0
    for value in values:
        passed += counts[value]
        if passed >= half:
            return values[0], value, values[-1]
    return values[0], values[-1], values[-1]
