"""Plain text files in one of three layouts, which their names tell unless it is stated.

- `labelled_lines`: each line is `LABEL<separator>text`; train, val and test in file names give the split.
- `class_files`: one file per class, one text per line: pos.txt; or train/pos.txt.
- `class_folders`: one file per text in a folder per class: pos/1.txt; or train/pos/1.txt.

In the archive the layout is the folder around everything, so that reading need not guess it again.
"""

import io
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import IO, Literal

from msgspec import Struct

from pipeline.runtime import DataRefused, WronglyCalled
from pipeline.sources import file_names
from pipeline.sources.problems import Problems, shown
from pipeline.sources.raw_sample import RawSample
from pipeline.sources.table_values import refuse_twin_classes
from pipeline.sources.text_file import (
    MAX_LINE_BYTES,
    EncodingOption,
    Line,
    encoding_in_words,
    encoding_of,
    lines,
)
from pipeline.sources.text_layouts import LAYOUT, Layout, check_places, layout_of, place, prefixes, unwrapped

__all__ = ["LAYOUT", "Options", "describe", "read", "select"]

SEPARATORS = {"tab": "\t", "space": " ", "comma": ",", "semicolon": ";", "colon": ":", "pipe": "|"}
NOT_DATA = frozenset(["readme.txt", "license.txt", "licence.txt", "changelog.txt", "requirements.txt"])
"""Companions of data that end in .txt as well; `files` can still choose them."""
EMPTY_FIX = "Remove empty lines between texts."


class Options(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """How the text files are laid out."""

    layout: Literal["auto", "labelled_lines", "class_files", "class_folders"] = "auto"
    """`auto`: labelled_lines where a separator is given, else what the folders say."""
    separator: str = ""
    """Between label and text, at its first place: tab, space, comma, semicolon, colon, pipe, or itself."""
    files: str = ""
    """Glob that chooses files; "" for all that end in .txt."""
    encoding: EncodingOption = "auto"
    """auto, utf-8, cp1252 or latin-1; `auto` is settled per file."""


def select(names: Sequence[str], options: Options) -> dict[str, str]:
    """Return the text files among `names`, named from the folder that holds them all, below their layout.

    Raises:
        DataRefused: No text file, fewer than two classes, classes that differ by case only, or folders
            that are neither one layout nor the other.
        WronglyCalled: The options contradict each other.
    """
    _check_options(options)
    usual = [name for name in names if PurePosixPath(name).name.lower() not in NOT_DATA]
    chosen = file_names.choose(names if options.files else usual, {".txt"}, options.files, LAYOUT)
    inner = sorted(chosen)
    layout = "labelled_lines" if options.separator else options.layout
    layout = layout_of(inner) if layout == "auto" else layout
    if layout == "labelled_lines":
        file_names.splits_of(inner)
    else:
        check_places(inner, layout)
    if layout != "class_folders":
        prefixes(inner, layout)
    return {f"{layout}/{name}": given for name, given in chosen.items()}


def describe(archive: tarfile.TarFile, options: Options) -> list[str]:
    """Return in words how the files are read: the layout, and per file of lines its encoding.

    Raises:
        DataRefused: An encoding cannot be told.
    """
    first = archive.next()
    layout, _ = unwrapped(first.name if first else "")
    detected = " (detected)" if options.layout == "auto" else ""
    if layout == "class_folders":
        encoding = {"auto": "UTF-8 or else cp1252, detected per file"}.get(options.encoding, options.encoding)
        return [f"one file per text, one folder per class{detected}; {encoding}"]
    said = {
        "class_files": "one file per class, one text per line",
        "labelled_lines": "a label and a text per line",
    }
    told = " (detected)" if options.encoding == "auto" else ""
    described = [said[layout] + detected]
    for name in sorted(archive.getnames()):
        encoding, bom = encoding_of(_open(archive, name), name, options.encoding)
        described.append(f"{unwrapped(name)[1]}: {encoding_in_words(encoding, bom=bom)}{told}")
    return described


def read(archive: tarfile.TarFile, options: Options) -> Iterator[RawSample]:
    """Yield the texts, one at a time, called by file and line number: `train/pos/00000042`, counted from 0.

    Texts that are files are called like them. Empty lines at the end of a file are passed over.

    Raises:
        DataRefused: Lines or files that do not fit; all problems, up to 20, together, after those that do.
        WronglyCalled: The options contradict each other, or the archive was made with others.
    """
    _check_options(options)
    problems = Problems()
    first = archive.next()
    layout, _ = unwrapped(first.name if first else "")
    if layout == "class_folders" and first is not None:
        yield from _documents(archive, first, options.encoding, problems)
    else:
        if (layout == "labelled_lines") != bool(options.separator):
            raise WronglyCalled(
                f"The archive has the layout {layout}. Expected options that say so. Received: "
                f"separator={options.separator!r}. Run `millrace init --kind text_lines` again."
            )
        yield from _lines_of_files(archive, layout, options, problems)
    problems.check()


def _lines_of_files(
    archive: tarfile.TarFile, layout: Layout, options: Options, problems: Problems
) -> Iterator[RawSample]:
    members = {unwrapped(name)[1]: name for name in archive.getnames()}
    splits = file_names.splits_of(members) if layout == "labelled_lines" else {}
    labels: set[str] = set()
    for prefix, name in sorted(prefixes(list(members), layout).items()):
        split, label = (splits[name], "") if layout == "labelled_lines" else place(name, layout)
        for number, line in enumerate(_texts(archive, members[name], name, options.encoding, problems)):
            text = line.text
            if layout == "labelled_lines":
                label, found, text = line.text.partition(SEPARATORS.get(options.separator, options.separator))
                if not found or not label:
                    expected = f"a label, {options.separator} and a text"
                    fix = "Correct these lines, or the separator: --set separator=."
                    problems.add(f"{name}, line {line.number}", expected, shown(line.text), fix)
                    continue
                labels.add(label)
            yield RawSample(f"{prefix}{number:08d}", label=label, split=split, text=text)
    refuse_twin_classes(sorted(labels))


def _texts(
    archive: tarfile.TarFile, member: str, name: str, option: EncodingOption, problems: Problems
) -> Iterator[Line]:
    """Yield the lines of a file that hold a text."""
    file = _open(archive, member)
    encoding, _ = encoding_of(file, name, option)
    empty: list[int] = []
    for line in lines(file, name, encoding, problems):
        if not line.text.strip():
            empty.append(line.number)
            continue
        for number in empty:
            problems.add(f"{name}, line {number}", "a text", "an empty line", EMPTY_FIX)
        empty.clear()
        column = line.text.find("\r")
        if column >= 0:
            place = f"{name}, line {line.number}, column {column + 1}"
            problems.add(place, "LF or CR LF as line end", "CR alone", "Convert the line ends to LF.")
        yield line


def _documents(
    archive: tarfile.TarFile, first: tarfile.TarInfo, option: EncodingOption, problems: Problems
) -> Iterator[RawSample]:
    member: tarfile.TarInfo | None = first
    while member is not None:
        # tarfile remembers every member it has seen; a list of all files would grow with the data.
        archive.members.clear()  # type: ignore[attr-defined]  # missing in the stubs
        _, name = unwrapped(member.name)
        text = _document(archive.extractfile(member), member.size, name, option, problems)
        if text is not None:
            split, label = place(name, "class_folders")
            yield RawSample(sample_id=name, label=label, split=split, text=text)
        member = archive.next()


def _document(
    file: IO[bytes] | None, size: int, name: str, option: EncodingOption, problems: Problems
) -> str | None:
    before = problems.count
    if file is None or size > MAX_LINE_BYTES:
        fix = "A text of this size is a collection: one text per line or file."
        problems.add(name, f"a text file of at most {MAX_LINE_BYTES:,} bytes", f"{size:,} bytes", fix)
        return None
    content = io.BytesIO(file.read())
    try:
        encoding, _ = encoding_of(content, name, option)
    except DataRefused:
        fix = "Convert these files to UTF-8, or state what they are: --set encoding=cp1252 or latin-1."
        problems.add(name, "UTF-8, or clearly cp1252", f"{size:,} bytes that are neither", fix)
        return None
    text = "".join(line.text + line.end for line in lines(content, name, encoding, problems))
    return text if problems.count == before else None


def _open(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    file = archive.extractfile(name)
    if file is None:
        raise DataRefused(
            f"{name} is no regular file. Expected {LAYOUT}. Run `millrace init` on the original data."
        )
    return file


def _check_options(options: Options) -> None:
    if (options.separator != "") != (options.layout == "labelled_lines") and options.layout != "auto":
        raise WronglyCalled(
            "layout=labelled_lines and separator belong together. Expected both, or neither. Received: "
            f"layout={options.layout}, separator={options.separator!r}. Add --set separator=tab, or leave it out."
        )
