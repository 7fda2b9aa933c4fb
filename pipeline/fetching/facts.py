"""What a complete reading finds out about the data beside its samples: `Facts` of data/source.json."""

import glob
import hashlib
import io
import math
import warnings
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import Literal

import numpy as np

from pipeline.fetching.source import MOST_CLASSES, PARTS, Facts, Span
from pipeline.formats.problems import to_list
from pipeline.raw import heif
from pipeline.raw.label_sets import labels_of
from pipeline.raw.sample import RawSample, StepLabels
from pipeline.runtime.errors import DataRefused

GREY_MODES = ("1", "L", "LA", "La", "I", "F")
TURNED = (5, 6, 7, 8)
"""EXIF orientations of photographs that lie on their side."""
ORIENTATION_TAG = 0x0112
MOST_GROUPS = 1000
"""Of more groups a split by hash misses its shares by little, and nobody needs to look at them one by one."""

MOST_TEXTS = 500_000
"""Of so many the copies are counted, in some 60 MB."""


class FactsSeen:
    """Looks at samples that pass; memory grows with the number of different values, not of samples."""

    def __init__(self) -> None:
        self._pictures: Counter[str] = Counter()
        self._unread: dict[str, list[str]] = {}
        self._splits: Counter[str] = Counter()
        self._classes: Counter[str] = Counter()
        self._step_classes: Counter[str] = Counter()
        self._groups: set[str] = set()
        self._groups_of: dict[str, set[str]] = {}
        self._ungrouped: set[str] = set()
        self._members: dict[str, Counter[str]] | None = {}
        self._side: dict[str, Literal["number", "category"]] = {}
        self._channels: tuple[str, ...] = ()
        self._image_channels: set[int] = set()
        self._heights: Counter[int] = Counter()
        self._widths: Counter[int] = Counter()
        self._lengths: Counter[int] = Counter()
        self._steps: set[float] = set()
        self._targets = self._times = self._anomalies = 0
        self._texts: Counter[bytes] | None = Counter()

    def see(self, sample: RawSample) -> None:
        """Look at one sample."""
        self._splits[sample.split or ""] += 1
        self._classes.update(labels_of(sample))
        if sample.group:
            self._groups.add(sample.group)
        if sample.group or sample.step_labels is not None:
            self._see_group(sample.group or sample.sample_id, sample)
        else:
            self._ungrouped.update(_names_of(sample))
        self._targets += sample.target is not None and not math.isnan(sample.target)
        self._times += bool(sample.time)
        for name, value in sample.side.items():
            if value is not None:
                self._side[name] = "category" if isinstance(value, str) else "number"
            else:
                self._side.setdefault(name, "number")
        if sample.text is not None:
            self._lengths[len(sample.text.split())] += 1
            self._see_text(sample.text)
        if sample.series is not None:
            self._see_series(sample.series, sample)
        if sample.image is not None:
            self._pictures.update(_names_of(sample))
            if not self._see_image(sample.image):
                for name in _names_of(sample):
                    self._unread.setdefault(name, []).append(sample.sample_id)

    def found(
        self, joined: Mapping[str, str], rare: Collection[str] = (), groups: Mapping[str, str] | None = None
    ) -> Facts:
        """Return the facts.

        Args:
            joined: Classes that are read as another one.
            rare: Classes that are left out.
            groups: Groups that are read as another one.
        """
        groups_of: dict[str, set[str]] = {}
        for name in self._groups_of.keys() - self._ungrouped:
            seen = self._groups_of[name]
            groups_of.setdefault(joined.get(name, name), set()).update(
                (groups or {}).get(group, group) for group in seen
            )
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
            groups=len({(groups or {}).get(group, group) for group in self._groups}),
            few_groups={
                name: len(seen)
                for name, seen in sorted(groups_of.items())
                if len(seen) < PARTS and name not in rare
            },
            times=self._times,
            side=dict(self._side),
            channels=list(self._channels),
            image_channels=sorted(self._image_channels),
            height=_span(self._heights),
            width=_span(self._widths),
            length=_span(self._lengths),
            step_seconds=min(self._steps, default=0.0),
            anomalies=self._anomalies,
            copies=sum(count for count in (self._texts or {}).values() if count > 1),
        )

    def members(
        self, joined: Mapping[str, str], rare: Collection[str], groups: Mapping[str, str]
    ) -> dict[str, dict[str, int]]:
        """Return the samples (of recordings with a class per step: the steps) of each group by class.

        Args:
            joined: Classes that are read as another one.
            rare: Classes that are left out.
            groups: Groups that are read as another one.

        Returns:
            {} where there are no groups, or more than `MOST_GROUPS`.
        """
        found: dict[str, dict[str, int]] = {}
        for group, held in (self._members or {}).items():
            counts = found.setdefault(groups.get(group, group), {})
            for label, count in held.items():
                name = joined.get(label, label)
                if name not in rare:
                    counts[name] = counts.get(name, 0) + count
        return found

    def _see_group(self, group: str, sample: RawSample) -> None:
        steps = sample.step_labels
        counts = Counter(_names_of(sample)) if steps is None else _steps_of(steps)
        for label in counts if steps is None else ():
            groups = self._groups_of.setdefault(label, set())
            if len(groups) < MOST_GROUPS:
                groups.add(group)
        if self._members is not None:
            self._members.setdefault(group, Counter()).update(counts)
            if len(self._members) > MOST_GROUPS:
                self._members = None

    def _see_text(self, text: str) -> None:
        if self._texts is not None and text.strip():  # empty ones are no copies: `ingest` sorts them out
            self._texts[hashlib.sha256(text.encode(errors="surrogatepass")).digest()[:8]] += 1
            if len(self._texts) > MOST_TEXTS:
                self._texts = None

    def _see_series(self, series: np.ndarray, sample: RawSample) -> None:
        self._lengths[len(series)] += 1
        self._channels = self._channels or sample.channels
        if sample.step_seconds > 0:
            self._steps.add(float(sample.step_seconds))
        if sample.step_labels is not None:
            self._step_classes.update(_steps_of(sample.step_labels))
        if sample.anomalies is not None:
            self._anomalies += int(sample.anomalies.sum())

    def check_pictures(self, joined: Mapping[str, str], rare: Collection[str]) -> None:
        """Refuse classes that would vanish.

        Args:
            joined: Classes that are read as another one.
            rare: Classes that are left out.

        Raises:
            DataRefused: Of their images none can be decoded.
        """
        pictures: Counter[str] = Counter()
        unread_of: dict[str, list[str]] = {}
        for label, count in self._pictures.items():
            name = joined.get(label, label)
            if name not in rare:
                pictures[name] += count
                unread_of.setdefault(name, []).extend(self._unread.get(label, ()))
        gone = [name for name in sorted(pictures) if len(unread_of[name]) == pictures[name]]
        if not gone:
            return
        unread = [image for name in gone for image in unread_of[name]]
        folders = {
            name: all(name in PurePosixPath(image).parts[:-1] for image in unread_of[name]) for name in gone
        }
        which, instead = "", ""
        if gone != sorted(pictures):
            which = f" of class {', '.join(map(repr, gone))}"
            globs = [glob.escape(name) for name in gone if folders[name]]
            instead = f", or pass them over: {to_list('ignore', globs) if globs else '--set ignore=GLOB'}"
        raise DataRefused(
            f"No image{which} can be decoded. Expected files that Pillow reads. Received: {len(unread):,} that it does "
            f"not, such as {unread[0]}. See whether another program opens them, and save them as PNG or JPEG{instead}."
        )

    def _see_image(self, image: np.ndarray | bytes) -> bool:
        """Look at an image; tell whether it can be read, of which the ingest stage says more."""
        if isinstance(image, np.ndarray):
            height, width, channels = image.shape
        else:
            shape = measured(image)
            if shape is None:
                return False
            height, width, channels = shape
        self._heights[height] += 1
        self._widths[width] += 1
        self._image_channels.add(channels)
        return True


def _names_of(sample: RawSample) -> tuple[str, ...]:
    """Return the classes of a sample, "" where it is none that has any."""
    return labels_of(sample) or (("",) if sample.labels is None else ())


def _steps_of(labels: StepLabels) -> Counter[str]:
    """Return the number of steps of each class."""
    codes, counts = np.unique(labels.codes, return_counts=True)
    return Counter(
        {
            labels.names[code]: number
            for code, number in zip(codes.tolist(), counts.tolist(), strict=True)
            if code >= 0
        }
    )


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
