r"""Which image file a cell of a table means: people write paths with and without folders, suffixes and drives.

A cell means the one file whose name ends as the cell does; a path from the table's folder, or from the top, goes
first. `/` and `\` are one, so are Unicode forms and upper and lower case; the suffix may be left out.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from posixpath import normpath

from pipeline.formats.problems import to_set
from pipeline.raw.left_out import by_folder_and_suffix, in_words
from pipeline.runtime.errors import DataRefused

MOST_NAMED = 3
"""Examples per cause."""
MOST_TRIED = 50


class ImagePaths:
    """Finds files by what a table calls them.

    Args:
        names: Of the image files in the archive, with `/`.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._by_last: defaultdict[str, list[str]] = defaultdict(list)
        for name in sorted(self._names):
            last = _key(PurePosixPath(name).name)
            for key in {last, _without_suffix(last)}:
                self._by_last[key].append(name)

    def find(self, cell: str, folder: str = "", prefix: str = "") -> list[str]:
        """Return the files that a cell may mean: one, or none or several, where it says too little or too much.

        Args:
            cell: As it stands in the table.
            folder: That of the table; "" at the top.
            prefix: What all cells begin with, and is no part of the path here.
        """
        path = cell.strip().removeprefix(prefix).replace("\\", "/")
        if not path.strip("/."):
            return []
        whole = [normpath(f"{folder}/{path}" if folder else path), normpath(path)]
        for name in whole:
            if name in self._names:
                return [name]
        keys = [_key(name) for name in whole]
        candidates = self._by_last.get(PurePosixPath(keys[-1]).name, [])
        exact = [name for name in candidates if {_key(name), _without_suffix(_key(name))} & set(keys)]
        if exact:
            return exact
        parts = [part for part in keys[-1].split("/") if part != ".."]
        return [name for name in candidates if _ends_with(name, parts)]


def _ends_with(name: str, parts: Sequence[str]) -> bool:
    own = _key(name).split("/")
    end = own[-len(parts) :]
    return end == parts or [*end[:-1], _without_suffix(end[-1])] == parts


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _without_suffix(key: str) -> str:
    return str(PurePosixPath(key).with_suffix(""))


def _prefix_of(cells: Sequence[str], files: Iterable[str]) -> str:
    """Return what all cells begin with and is no part of a path here; "" where it is not the same."""
    known = {_key(part) for name in files for part in (name, PurePosixPath(name).name)}
    known |= {_without_suffix(name) for name in known}
    found = set()
    for cell in cells:
        parts = cell.replace("\\", "/").split("/")
        ends = ("/".join(parts[place:]) for place in range(1, len(parts)))
        end = next((end for end in ends if _key(end) in known), "")
        found.add(cell[: len(cell) - len(end)] if end else "")
    return found.pop() if len(found) == 1 else ""


class Unmatched:
    """What of a table and its image files does not belong together, by cause."""

    def __init__(self) -> None:
        self._rows: dict[str, list[str]] = {"without": [], "several": [], "twice": []}
        self._counts = dict.fromkeys(self._rows, 0)
        self._cells: list[str] = []
        self._files: list[str] = []

    def row(self, cause: str, place: str, cell: str, found: Sequence[str] = ()) -> None:
        """Keep a row.

        Args:
            cause: `without` a file, `several` files, or a file that another row has: `twice`.
            place: Where it stands.
            cell: What it calls its file.
            found: The files it may mean.
        """
        self._counts[cause] += 1
        if cause == "without" and len(self._cells) < MOST_TRIED:
            self._cells.append(cell)
        if len(self._rows[cause]) < MOST_NAMED:
            files = f" ({', '.join(found[:MOST_NAMED])})" if found else ""
            self._rows[cause].append(f"{place}: {cell[:100]!r}{files}")

    def files(self, names: Iterable[str]) -> None:
        """Keep the files that no row means."""
        self._files = list(names)

    def in_words(self) -> list[str]:
        """Return one line per cause, with counts and examples; `twice` and `several` can never be left out."""
        words = {
            "without": "rows name no file here",
            "several": "rows name several files",
            "twice": "rows name a file that an earlier row has",
        }
        lines = [
            f"{self._counts[cause]:,} {what}, such as {'; '.join(self._rows[cause])}"
            for cause, what in words.items()
            if self._counts[cause]
        ]
        if self._files:
            groups = by_folder_and_suffix(self._files)
            lines.append(
                f"{len(self._files):,} files have no row: {in_words(groups)}, such as {self._files[0]}"
            )
        return lines

    def check(self, num_matched: int, *, leave_out: bool) -> None:
        """Refuse what does not belong together.

        Args:
            num_matched: Rows that have their file.
            leave_out: Whether rows without a file and files without a row may be passed over.

        Raises:
            DataRefused: With every cause at once.
        """
        contradicts = self._counts["several"] or self._counts["twice"]
        alone = self._counts["without"] or self._files
        if num_matched and not contradicts and (leave_out or not alone):
            return
        fixes = []
        if self._counts["without"] and not num_matched:
            prefix = _prefix_of(self._cells, self._files) or "/what/is/not/here/"
            fixes.append(
                "Name the column of paths: --set path=COLUMN; of paths from another machine say what they begin "
                f"with: {to_set('prefix', prefix)}."
            )
        if self._counts["several"]:
            fixes.append("Write more of the path, or the suffix, into these rows.")
        if self._counts["twice"]:
            fixes.append("Keep one row per image.")
        if alone and num_matched:
            fixes.append(
                "Correct these rows, or read only what is in both: --set unmatched=leave_out; folders of images "
                "that do not belong to it are passed over with --set ignore=FOLDER."
            )
        lines = [f"  {line}" for line in self.in_words()] or ["  no rows"]
        head = "The table and the image files do not fit together. Expected one row per image file. Received:"
        raise DataRefused("\n".join([head, *lines, " ".join(fixes) or "Check the files."]))
