"""Plain text files in one of three layouts, which their names tell unless it is stated.

- `labelled_lines`: each line is `LABEL<separator>text`; train, val and test in file names give the split.
- `class_files`: one file per class, one text per line: pos.txt; or train/pos.txt.
- `class_folders`: one file per text in a folder per class: pos/1.txt; or train/pos/1.txt. Its class may stand higher,
  lower or in its name, too: option `label`.

In the archive the layout is the folder around everything, so that reading need not guess it again.
"""

import io
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import IO, Literal

from msgspec import Struct

from pipeline.formats.problems import Problems, shown
from pipeline.formats.text_file import (
    MAX_LINE_BYTES,
    WIDE_SAMPLE,
    EncodingOption,
    Line,
    encoding_in_words,
    encoding_of,
    lines,
    open_member,
    wide_by_zeros,
)
from pipeline.raw.sample import (
    GivenSplit,
    RawSample,
    check_splits,
    choose_files,
    members,
    split_in,
    splits_of,
)
from pipeline.runtime.errors import DataRefused, WronglyCalled
from pipeline.sources.path_labels import Labels, Place, check_labels, give_splits

Layout = Literal["labelled_lines", "class_files", "class_folders"]
LAYOUT = (
    "text files (.txt): one per class with a text per line (pos.txt), or one per text in class folders "
    "(pos/1.txt), both also below train/, val/ and test/; or lines `LABEL<separator>text` with --set separator=tab"
)

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
    label: str = ""
    """Of one file per text: where in its path the class stands: `first` or `parent` of several folders, or a pattern of
    names: `{label}_#.txt` for pos_12.txt, where `#` is a number, `*` anything and `{group}` a person."""
    files: str = ""
    """Glob that chooses files; "" for all that end in .txt."""
    encoding: EncodingOption = "auto"
    """A codec of Python, or auto (UTF-8, else cp1252); `auto` is settled per file."""


def select(names: Sequence[str], options: Options) -> dict[str, str]:
    """Return the text files among `names`, named from the folder that holds them all, below their layout.

    Raises:
        DataRefused: No text file, fewer than two classes, or folders that are neither one layout nor the other.
        WronglyCalled: The options contradict each other.
    """
    _check_options(options)
    usual = [name for name in names if PurePosixPath(name).name.lower() not in NOT_DATA]
    chosen = choose_files(names if options.files else usual, {".txt"}, options.files, LAYOUT)
    inner = sorted(chosen)
    layout = "labelled_lines" if options.separator else options.layout
    layout = ("class_folders" if options.label else _layout_of(inner)) if layout == "auto" else layout
    if layout == "labelled_lines":
        splits_of(inner)
    elif options.label:
        check_labels(options.label, inner)
    else:
        _check_places(inner, layout)
    if layout != "class_folders":
        _prefixes(inner, layout)
    return {f"{layout}/{name}": given for name, given in chosen.items()}


def describe(archive: tarfile.TarFile, options: Options) -> list[str]:
    """Return in words how the files are read: the layout, and per file of lines its encoding.

    Raises:
        DataRefused: An encoding cannot be told.
    """
    first = archive.next()
    layout, _ = _unwrapped(first.name if first else "")
    detected = " (detected)" if options.layout == "auto" else ""
    if layout == "class_folders":
        where = f"its class by label={options.label}" if options.label else f"one folder per class{detected}"
        encoding = {"auto": "UTF-8 or else cp1252, detected per file"}.get(options.encoding, options.encoding)
        return [f"one file per text, {where}; {encoding}"]
    said = {
        "class_files": "one file per class, one text per line",
        "labelled_lines": "a label and a text per line",
    }
    told = " (detected)" if options.encoding == "auto" else ""
    described = [said[layout] + detected]
    for name in sorted(archive.getnames()):
        encoding, bom = encoding_of(open_member(archive, name), name, options.encoding)
        described.append(f"{_unwrapped(name)[1]}: {encoding_in_words(encoding, bom=bom)}{told}")
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
    layout, _ = _unwrapped(first.name if first else "")
    if layout == "class_folders" and first is not None:
        yield from _documents(archive, options, problems)
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
    places = {_unwrapped(name)[1]: name for name in archive.getnames()}
    splits = splits_of(places) if layout == "labelled_lines" else {}
    for prefix, name in sorted(_prefixes(list(places), layout).items()):
        split, label = (splits[name], "") if layout == "labelled_lines" else _place(name, layout)
        for number, line in enumerate(_texts(archive, places[name], name, options.encoding, problems)):
            text = line.text
            if layout == "labelled_lines":
                label, found, text = line.text.partition(SEPARATORS.get(options.separator, options.separator))
                if not found or not label:
                    expected = f"a label, {options.separator} and a text"
                    fix = "Correct these lines, or the separator: --set separator=."
                    problems.add(f"{name}, line {line.number}", expected, shown(line.text), fix)
                    continue
            yield RawSample(f"{prefix}{number:08d}", label=label, split=split, text=text)


def _texts(
    archive: tarfile.TarFile, member: str, name: str, option: EncodingOption, problems: Problems
) -> Iterator[Line]:
    """Yield the lines of a file that hold a text."""
    file = open_member(archive, member)
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


def _documents(archive: tarfile.TarFile, options: Options, problems: Problems) -> Iterator[RawSample]:
    given = options.label and give_splits(_unwrapped(member.name)[1] for member in members(archive))
    labels = Labels(options.label, bool(given))
    for member in members(archive):
        _, name = _unwrapped(member.name)
        text = _document(archive.extractfile(member), member.size, name, options.encoding, problems)
        if text is None:
            continue
        place = labels.place(name) if options.label else Place(*_place(name, "class_folders"))
        if place is None:
            raise DataRefused(
                f"{name} does not say its class by label={options.label}. Run `millrace init` again."
            )
        yield RawSample(sample_id=name, label=place.label, split=place.split, group=place.group, text=text)


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
        stated = wide_by_zeros(content.read(WIDE_SAMPLE)) or "cp1252 or latin-1"
        fix = f"Convert these files to UTF-8, or state what they are: --set encoding={stated}."
        problems.add(name, "UTF-8, or clearly cp1252", f"{size:,} bytes that are neither", fix)
        return None
    text = "".join(line.text + line.end for line in lines(content, name, encoding, problems))
    return text if problems.count == before else None


def _check_options(options: Options) -> None:
    if (options.separator != "") != (options.layout == "labelled_lines") and options.layout != "auto":
        raise WronglyCalled(
            "layout=labelled_lines and separator belong together. Expected both, or neither. Received: "
            f"layout={options.layout}, separator={options.separator!r}. Add --set separator=tab, or leave it out."
        )
    if options.label and (options.separator or options.layout not in ("auto", "class_folders")):
        raise WronglyCalled(
            "label says the class of files that are one text each. Expected neither separator nor another layout "
            f"beside it. Received: label={options.label}. Leave one out."
        )


def _layout_of(names: Sequence[str]) -> Layout:
    """Return whether files look like one per class or one per text."""
    folders = {tuple(name.split("/")[:-1]) for name in names}
    splits_only = all(len(place) == 1 and split_in(place[0]) for place in folders)
    return "class_files" if splits_only or () in folders else "class_folders"


def _place(name: str, layout: Layout) -> tuple[GivenSplit | None, str]:
    """Return given split and class of a file called `[split/]class.txt`, or `[split/]class/text.txt`."""
    *folders, last = name.split("/")
    parts = folders if layout == "class_folders" else [*folders, _without_txt(last)]
    return (split_in(parts[0]) if len(parts) == 2 else None), parts[-1]


def _prefixes(names: Sequence[str], layout: Layout) -> dict[str, str]:
    """Return the files of lines by what the ids of their texts begin with: `train/pos/` for train/pos.txt."""
    if layout == "labelled_lines" and len(names) == 1 and None in splits_of(names).values():
        return {"": names[0]}
    found: dict[str, str] = {}
    for name in names:
        other = found.setdefault(f"{_without_txt(name)}/", name)
        if other != name:
            raise DataRefused(
                "Files differ by .txt only. Expected each once. "
                f"Received: {other}, {name}. Remove one, or choose: --set files=."
            )
    return found


def _check_places(names: Sequence[str], layout: Layout) -> None:
    """Refuse files that a layout with classes in their names does not explain."""
    inside = 1 if layout == "class_folders" else 0
    depths = {name.count("/") for name in names}
    tops = {name.split("/")[0]: split_in(name.split("/")[0]) for name in names}
    if depths not in ({inside}, {inside + 1}) or (depths == {inside + 1} and None in tops.values()):
        raise DataRefused(
            f"The folders do not fit layout={layout}. Expected {LAYOUT}. Received: {len(names)} files, such as "
            f"{', '.join(list(names)[:5])}. Move or remove files, choose some (--set files=), or --set layout=."
        )
    if depths == {inside + 1}:
        check_splits(tops)
    classes = sorted({_place(name, layout)[1] for name in names})
    if len(classes) < 2:
        raise DataRefused(
            f"Fewer than two classes. Expected {LAYOUT}. Received: {', '.join(classes)}. Check the path, "
            "or name the separator of labelled lines: --set separator=."
        )


def _without_txt(name: str) -> str:
    return name[:-4] if name.lower().endswith(".txt") else name


def _unwrapped(member: str) -> tuple[Layout, str]:
    """Return the layout and the name inside it; see `select`."""
    layout, _, name = member.partition("/")
    for known in ("labelled_lines", "class_files", "class_folders"):
        if layout == known and name:
            return known, name
    raise DataRefused(
        f"The archive is not one of text_lines. Expected members such as class_files/pos.txt. Received: {member}. "
        "Run `millrace init --kind text_lines` again."
    )
