"""Image files in one folder per class, with `train/ val/ test/` above them where the split is given."""

import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from pipeline.formats.text_file import open_member
from pipeline.runtime.errors import DataRefused
from pipeline.sources.left_out import by_folder_and_suffix, in_words, refuse_unread_pictures
from pipeline.sources.sample import NO_OPTIONS, GivenSplit, NoOptions, RawSample

LAYOUT = (
    "class folders with image files (hat/1.jpg), or train/, val/ (validation/, valid/) and test/ above them "
    "(train/hat/1.jpg)"
)
Options = NoOptions
SUFFIXES = frozenset(
    [".avif", ".bmp", ".gif", ".j2k", ".jfif", ".jp2", ".jpeg", ".jpg", ".jpx", ".mpo", ".pbm", ".pgm", ".png",
     ".ppm", ".tif", ".tiff", ".webp"]
)  # fmt: skip
"""Of formats that Pillow reads everywhere; of an .mpo the first picture, as of every file with several."""
SPLITS: dict[str, GivenSplit] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


def select(names: Sequence[str], options: NoOptions = NO_OPTIONS) -> dict[str, str]:  # noqa: ARG001  # as every source
    """Return the image files among `names`, named from the folder that holds the classes or splits.

    Files that are no images by their suffix are left out; one folder around everything is taken off.

    Raises:
        DataRefused: Pictures of formats that are not read, no image, fewer than two classes, or images outside class
            folders.
    """
    refuse_unread_pictures(names)
    images = [name for name in names if PurePosixPath(name).suffix.lower() in SUFFIXES]
    if not images:
        raise DataRefused(
            f"No image file found. Expected {LAYOUT}, suffixes {' '.join(sorted(SUFFIXES))}. "
            f"Received: {in_words(by_folder_and_suffix(names)) or 'no file'}. "
            "Check the path."
        )
    depth = 0
    while _has_wrapper(images, depth):
        depth += 1
    chosen = {"/".join(name.split("/")[depth:]): name for name in images}
    _check_layout(sorted(chosen))
    _check_classes(sorted({place(name)[1] for name in chosen}))
    return chosen


def place(name: str) -> tuple[GivenSplit | None, str]:
    """Return given split and class of an image called `class/file` or `split/class/file`."""
    folders = name.split("/")[:-1]
    return (SPLITS[folders[0].casefold()], folders[1]) if len(folders) == 2 else (None, folders[0])


def describe(archive: tarfile.TarFile, options: NoOptions = NO_OPTIONS) -> list[str]:  # noqa: ARG001  # as every source
    """Return nothing: there is no choice in how these files are read."""
    return []


def read(archive: tarfile.TarFile, options: NoOptions = NO_OPTIONS) -> Iterator[RawSample]:  # noqa: ARG001  # as every source
    """Yield the encoded images in the archive's order, which is that of their names.

    Raises:
        DataRefused: A member is no regular file.
    """
    while (member := archive.next()) is not None:
        # tarfile remembers every member it has seen; a list of all files would grow with the data.
        archive.members.clear()  # type: ignore[attr-defined]  # missing in the stubs
        split, label = place(member.name)
        image = open_member(archive, member).read()
        yield RawSample(sample_id=member.name, label=label, split=split, image=image)


def _has_wrapper(images: Sequence[str], depth: int) -> bool:
    """Say whether all images lie in one folder at this depth, and it is neither a class nor a split."""
    folders = {name.split("/")[depth].casefold() for name in images}
    inside = all(len(name.split("/")) > depth + 2 for name in images)
    return len(folders) == 1 and inside and not folders & SPLITS.keys()


def _check_layout(names: list[str]) -> None:
    """Refuse every layout but the two known ones; nothing is guessed."""
    tops = {name.split("/")[0] for name in names}
    has_splits = {top.casefold() for top in tops} <= SPLITS.keys()
    wrong = [name for name in names if name.count("/") != (2 if has_splits else 1)]
    if wrong:
        raise DataRefused(
            f"{len(wrong)} image files do not lie in a class folder. Expected {LAYOUT}, nothing deeper. "
            f"Received: {', '.join(wrong[:5])}. Move or remove them."
        )
    splits = Counter(SPLITS[top.casefold()] for top in tops) if has_splits else Counter()
    if has_splits and (splits["train"] == 0 or max(splits.values()) > 1):
        raise DataRefused(
            f"The given split is not usable. Expected train/, and at most one of val/, validation/, valid/. "
            f"Received: {', '.join(sorted(tops))}. Rename or remove folders."
        )


def _check_classes(classes: list[str]) -> None:
    if len(classes) < 2:
        raise DataRefused(
            f"Fewer than two classes. Expected {LAYOUT}. Received: {', '.join(classes)}. Check the path."
        )
