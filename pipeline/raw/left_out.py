"""What lies beside the data and is not read: said by folder and suffix, and refused where it looks like data.

A class whose photographs nobody can decode must not vanish; who knows that it is no data says `--set ignore=GLOB`.
"""

import glob
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from pipeline.formats.problems import to_list
from pipeline.raw import heif
from pipeline.runtime.errors import DataRefused

NOT_READ = frozenset(
    [".arw", ".cr2", ".cr3", ".dcm", ".dng", ".eps", ".exr", ".hdr", ".jxl", ".jxr", ".nef", ".nii",
     ".npy", ".npz", ".orf", ".pdf", ".psd", ".raf", ".raw", ".rw2", ".svg", ".tga", ".xcf"]
)  # fmt: skip
"""Suffixes of pictures that no kind of source reads; those of `heif.SUFFIXES` are, with an extra."""
ARRAYS = frozenset([".npy", ".npz"])
MOST_GROUPS = 50
MOST_NAMED = 5


def not_ignored(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Return the names that no glob covers, neither as a whole, nor by their last part, nor by a folder they are in."""
    return [name for name in names if not any(covers(pattern, name) for pattern in patterns)]


def by_folder_and_suffix(names: Iterable[str]) -> dict[str, list[str]]:
    """Return names by the glob of their folder and suffix, `hat/*.txt`; of many folders by their suffix alone."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    suffixes: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        path = PurePosixPath(name)
        last = f"*{path.suffix}" if path.suffix else path.name
        groups[str(path.parent / last)].append(name)
        suffixes[last].append(name)
    return dict(groups) if len(groups) <= MOST_GROUPS else dict(suffixes)


def in_words(groups: Mapping[str, Sequence[str]]) -> str:
    """Return the groups as `12 x cone/*.heic, 3 x *.txt`, the largest first."""
    largest = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    shown = [f"{len(names):,} x {pattern}" for pattern, names in largest[:MOST_NAMED]]
    return ", ".join([*shown, *([f"{len(largest) - MOST_NAMED} more"] if len(largest) > MOST_NAMED else [])])


def refuse_unread_pictures(names: Sequence[str]) -> None:
    """Refuse pictures of formats that are not read: a class of them must not vanish.

    Raises:
        DataRefused: With the command that converts them; of HEIC also with the extra that reads them.
    """
    refused = NOT_READ if heif.readable() else NOT_READ | heif.SUFFIXES
    unread = [name for name in names if _suffix(name) in refused]
    if not unread:
        return
    found = " -o ".join(f"-iname '*{suffix}'" for suffix in sorted({*map(_suffix, unread)} - ARRAYS))
    command = f"`find FOLDER \\( {found} \\) -exec magick mogrify -format png {{}} +`"
    convert = (
        f"ImageMagick converts them: {command}; then pass the originals over" if found else "Pass them over"
    )
    if any(_suffix(name) in heif.SUFFIXES for name in unread):
        convert = f"HEIC is read with the extra heic ({heif.INSTALL}). {convert}"
    globs = sorted({f"*{_suffix(name)}" for name in unread})
    raise DataRefused(
        "Some pictures are of a format that is not read. Expected formats that Pillow reads everywhere. Received: "
        f"{in_words(by_folder_and_suffix(unread))}. {convert}: {to_list('ignore', globs)}."
    )


def refuse_empty_classes(
    chosen: Collection[str], beside: Sequence[str], folders: Iterable[str], classes: Collection[str]
) -> None:
    """Refuse folders without data beside those that are classes: they would be classes as well.

    Args:
        chosen: Given names of the files of the data set.
        beside: Of all other files.
        folders: All folders, also empty ones.
        classes: What samples are labelled with; a folder of another name is none.

    Raises:
        DataRefused: Naming them, and what lies in them.
    """
    filled = {PurePosixPath(name).parent for name in chosen}
    above = {ancestor for folder in filled for ancestor in (folder, *folder.parents)}
    levels = {folder.parent for folder in above if folder.name in classes}
    empty = [
        name for name in folders if PurePosixPath(name).parent in levels and PurePosixPath(name) not in above
    ]
    if empty:
        held = [name for name in beside if any(name.startswith(f"{folder}/") for folder in empty)]
        raise DataRefused(
            "Folders beside those of the classes give nothing. Expected data in each of them. Received: "
            f"{', '.join(empty[:20])} ({in_words(by_folder_and_suffix(held)) or 'no file'}). Fill or remove them, or "
            f"pass them over: {to_list('ignore', map(glob.escape, empty[:20]))}."
        )


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def covers(pattern: str, name: str) -> bool:
    """Tell whether a glob covers a name as a whole, its last part, or a folder it is in; case does not matter."""
    path = PurePosixPath(name)
    whole = [str(place) for place in (path, *path.parents)]
    last = [place.name for place in (path, *path.parents)]
    parts = [part.casefold() for part in (*whole, *last) if part not in ("", ".")]
    return any(fnmatchcase(part, pattern.casefold()) for part in parts)
