"""Image files in one folder per class, with `train/ val/ test/` above them where the split is given.

Classes may also stand higher or lower in the path, or in the names of the files: option `label`.
"""

import glob
import tarfile
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from msgspec import Struct

from pipeline.formats.problems import to_list, to_set
from pipeline.formats.tables import FORMATS
from pipeline.formats.text_file import open_member
from pipeline.raw import heif
from pipeline.raw.left_out import by_folder_and_suffix, covers, in_words, refuse_unread_pictures
from pipeline.raw.sample import RawSample, members
from pipeline.runtime.errors import DataRefused
from pipeline.sources.path_labels import (
    FOLDERS,
    SPLITS,
    Labels,
    Place,
    compiled,
    give_splits,
    proposed,
    split_of,
    top_of,
)

LAYOUT = (
    "class folders with image files (hat/1.jpg), or train/, val/ (validation/, valid/) and test/ above them "
    "(train/hat/1.jpg)"
)
SUFFIXES = heif.SUFFIXES | frozenset(
    [".avif", ".bmp", ".gif", ".j2k", ".jfif", ".jp2", ".jpeg", ".jpg", ".jpx", ".mpo", ".pbm", ".pgm", ".png",
     ".ppm", ".tif", ".tiff", ".webp"]
)  # fmt: skip
"""Of formats that Pillow reads everywhere, and HEIC, which `refuse_unread_pictures` refuses without its extra."""


MOST_LOOSE = 5
"""Files beside the folders of splits that are named to pass them over."""


class Options(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Where in its path the class of an image stands."""

    label: str = "folder"
    """`folder`: the one folder an image is in; `first`: the first of several (hat/2024/1.jpg); `parent`: the last
    (2024/hat/1.jpg); or a pattern of names: `{label}.#.jpg` for dog.0.jpg, `{label}_*` for dog_a.png, where `#` is a
    number and `*` anything, `{group}` a person or camera; or a regular expression with a group: `(.+)_\\d+\\.jpg`.
    Folders train, val and test above are the given split."""


OPTIONS = Options()


def image_files(names: Sequence[str], pattern: str = "") -> list[str]:
    """Return the names that a glob covers; without one those with the suffix of an image."""
    if pattern:
        return [name for name in names if covers(pattern, name)]
    return [name for name in names if PurePosixPath(name).suffix.lower() in SUFFIXES]


def select(names: Sequence[str], options: Options = OPTIONS) -> dict[str, str]:
    """Return the image files among `names`, named from the folder that holds the classes or splits.

    Files that are no images by their suffix are left out; one folder around everything is taken off.

    Raises:
        DataRefused: Pictures of formats that are not read, no image, fewer than two classes, or images whose path does
            not give their class.
        WronglyCalled: The pattern cannot be used.
    """
    if options.label not in FOLDERS:
        compiled(options.label)
    refuse_unread_pictures(names)
    images = image_files(names)
    tables = [name for name in names if PurePosixPath(name).suffix.lower() in FORMATS]
    if not images:
        raise DataRefused(
            f"No image file found. Expected {LAYOUT}, suffixes {' '.join(sorted(SUFFIXES))}. "
            f"Received: {in_words(by_folder_and_suffix(names)) or 'no file'}. "
            "Check the path."
        )
    depth = 0
    while _has_wrapper(images, depth, options.label):
        depth += 1
    chosen = {"/".join(name.split("/")[depth:]): name for name in images}
    if "/" not in options.label:
        chosen = _without_repeated(chosen)
    ordered = sorted(chosen)
    labels = Labels(options.label, give_splits(ordered))
    _check_splits({top_of(name) for name in ordered}, labels)
    places = {name: labels.place(name) for name in ordered}
    _check_places(places, labels, tables)
    _check_classes(sorted({place.label for place in places.values() if place}), tables)
    return chosen


def describe(archive: tarfile.TarFile, options: Options = OPTIONS) -> list[str]:
    """Return of another rule than `folder` what it makes of the first image."""
    if options.label == "folder":
        return []
    labels = _labels(archive, options)
    name = next(members(archive)).name
    place = labels.place(name) or Place(None, "")
    group = f", group {place.group!r}" if place.group else ""
    return [f"class by {options.label}: {name} is {place.label!r}{group}"]


def read(archive: tarfile.TarFile, options: Options = OPTIONS) -> Iterator[RawSample]:
    """Yield the encoded images in the archive's order, which is that of their names.

    Raises:
        DataRefused: A member is no regular file, or its path does not give its class.
    """
    labels = _labels(archive, options)
    for member in members(archive):
        place = labels.place(member.name)
        if place is None:
            raise DataRefused(
                f"{member.name} does not say its class by label={options.label}. Run `millrace init` again."
            )
        image = open_member(archive, member).read()
        yield RawSample(
            sample_id=member.name, label=place.label, split=place.split, group=place.group, image=image
        )


def _labels(archive: tarfile.TarFile, options: Options) -> Labels:
    return Labels(options.label, give_splits(member.name for member in members(archive)))


def _has_wrapper(images: Sequence[str], depth: int, label: str) -> bool:
    """Say whether all images lie in one folder at this depth, and it is neither a class nor a split."""
    folders = {name.split("/")[depth].casefold() for name in images}
    below = 2 if label in FOLDERS else 1
    inside = all(len(name.split("/")) > depth + below for name in images)
    return len(folders) == 1 and inside and not folders & SPLITS.keys()


def _without_repeated(chosen: Mapping[str, str]) -> dict[str, str]:
    """Return names without a folder inside another of its name that holds nothing else, where it gives a split.

    `test/test/` is `test/`; `ray/ray/` may be a species in its family, and stays.
    """
    below: defaultdict[str, set[str]] = defaultdict(set)
    for name in chosen:
        top, *rest = name.split("/")
        below[top].add(rest[0] if len(rest) > 1 else "")
    repeated = {top for top, inner in below.items() if inner == {top} and split_of(top)}
    return {
        name.split("/", 1)[1] if top_of(name) in repeated else name: given for name, given in chosen.items()
    }


def _check_splits(tops: set[str], labels: Labels) -> None:
    splits = Counter(split_of(top) for top in tops) if labels.has_splits else Counter()
    if labels.has_splits and (splits["train"] == 0 or max(splits.values()) > 1):
        raise DataRefused(
            "The given split is not usable. Expected train/ (or training/), and at most one of val/, validation/, "
            f"valid/, and of test/, testing/. Received: {', '.join(sorted(tops))}. Rename or remove folders."
        )


def _check_places(places: dict[str, Place | None], labels: Labels, tables: Sequence[str]) -> None:
    """Refuse images whose path does not give their class by the rule; nothing is guessed, but what fits is named."""
    wrong = [name for name, place in places.items() if place is None]
    if not wrong:
        return
    ways = list(_ways(wrong, places, labels)) + _table_instead(tables)
    expected = (
        f"{LAYOUT}, nothing deeper" if labels.rule == "folder" else f"paths that fit label={labels.rule}"
    )
    what = "do not lie in a class folder" if labels.rule == "folder" else "do not say their class"
    raise DataRefused(
        f"{len(wrong)} image files {what}. Expected {expected}. "
        f"Received: {', '.join(wrong[:5])}. {'; '.join(ways)}{'; or m' if ways else 'M'}ove or remove them."
    )


def _ways(wrong: Sequence[str], places: dict[str, Place | None], labels: Labels) -> Iterator[str]:
    """Yield options of `millrace init` with which the images can be read."""
    folders = [len(name.split("/")) - 1 - labels.has_splits for name in places]
    tops = {top_of(name) for name in places} - {""}
    some_splits = not labels.has_splits and any(top.casefold() in SPLITS for top in tops)
    loose = [name for name in places if "/" not in name]
    others = sorted([*loose, *(top for top in tops if not split_of(top))])
    if not labels.has_splits and others and {split_of(top) for top in tops} >= {"train", "test"}:
        # A glob covers every file of its last part: one called like a picture in a class would take that along.
        covered = [other for other in places if any(covers(name, other) for name in loose[:MOST_LOOSE])]
        if covered == loose:
            yield f"What belongs to no split is passed over with {to_list('ignore', map(glob.escape, others))}"
        return
    if labels.rule == "folder" and min(folders) >= 1 and not some_splits:
        options = [
            f"--set label={rule} (classes {_classes_by(rule, places, labels)})" for rule in FOLDERS[1:]
        ]
        yield f"Folders lie in folders; say which are the classes: {' or '.join(options)}"
        return
    pattern = proposed([*places])
    if labels.rule == "folder" and max(folders) == 0:
        yield (
            f"The names hold words that may be labels: {to_set('label', pattern)} takes them from there"
            if pattern
            else "Where names hold the label, say how: --set label=PATTERN, such as '{label}_#.*' for cat_12.jpg"
        )
    without = sorted({top_of(name) for name in wrong if top_of(name)})
    held = {
        top for top in without if all(place is None for name, place in places.items() if top_of(name) == top)
    }
    if held and len(held) < len({top_of(name) for name in places}):
        yield f"What has no labels is passed over with {to_list('ignore', map(glob.escape, sorted(held)))}"


def _classes_by(rule: str, names: Collection[str], labels: Labels) -> str:
    other = Labels(rule, labels.has_splits)
    classes = sorted({place.label for name in names if (place := other.place(name))})
    return ", ".join(classes[:4]) + (", ..." if len(classes) > 4 else "")


def _table_instead(tables: Sequence[str]) -> list[str]:
    if not tables:
        return []
    return [f"If {tables[0]} says what is on them: --kind image_table --set path=COLUMN --set label=COLUMN"]


def _check_classes(classes: list[str], tables: Sequence[str]) -> None:
    if len(classes) < 2:
        ways = "".join(f"{way}; or c" for way in _table_instead(tables)) or "C"
        raise DataRefused(
            f"Fewer than two classes. Expected {LAYOUT}. Received: {', '.join(classes)}. {ways}heck the path."
        )
