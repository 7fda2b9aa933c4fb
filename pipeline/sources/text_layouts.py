"""What the names of plain text files say: which of three layouts they have, their classes and splits."""

from collections.abc import Sequence
from typing import Literal

from pipeline.runtime import DataRefused
from pipeline.sources import file_names
from pipeline.sources.raw_sample import GivenSplit
from pipeline.sources.table_values import refuse_twin_classes

Layout = Literal["labelled_lines", "class_files", "class_folders"]
LAYOUT = (
    "text files (.txt): one per class with a text per line (pos.txt), or one per text in class folders "
    "(pos/1.txt), both also below train/, val/ and test/; or lines `LABEL<separator>text` with --set separator=tab"
)


def layout_of(names: Sequence[str]) -> Layout:
    """Return whether files look like one per class or one per text."""
    folders = {tuple(name.split("/")[:-1]) for name in names}
    splits_only = all(len(place) == 1 and file_names.split_in(place[0]) for place in folders)
    return "class_files" if splits_only or () in folders else "class_folders"


def place(name: str, layout: Layout) -> tuple[GivenSplit | None, str]:
    """Return given split and class of a file called `[split/]class.txt`, or `[split/]class/text.txt`."""
    *folders, last = name.split("/")
    parts = folders if layout == "class_folders" else [*folders, _without_txt(last)]
    return (file_names.split_in(parts[0]) if len(parts) == 2 else None), parts[-1]


def prefixes(names: Sequence[str], layout: Layout) -> dict[str, str]:
    """Return the files of lines by what the ids of their texts begin with: `train/pos/` for train/pos.txt.

    Raises:
        DataRefused: Two files would give their texts the same ids.
    """
    if layout == "labelled_lines" and len(names) == 1 and None in file_names.splits_of(names).values():
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


def check_places(names: Sequence[str], layout: Layout) -> None:
    """Refuse files that a layout with classes in their names does not explain.

    Raises:
        DataRefused: Other folders than expected, fewer than two classes, or classes that differ by case only.
    """
    inside = 1 if layout == "class_folders" else 0
    depths = {name.count("/") for name in names}
    tops = {name.split("/")[0]: file_names.split_in(name.split("/")[0]) for name in names}
    if depths not in ({inside}, {inside + 1}) or (depths == {inside + 1} and None in tops.values()):
        raise DataRefused(
            f"The folders do not fit layout={layout}. Expected {LAYOUT}. Received: {len(names)} files, such as "
            f"{', '.join(list(names)[:5])}. Move or remove files, choose some (--set files=), or --set layout=."
        )
    if depths == {inside + 1}:
        file_names.check_splits(tops)
    classes = sorted({place(name, layout)[1] for name in names})
    if len(classes) < 2:
        raise DataRefused(
            f"Fewer than two classes. Expected {LAYOUT}. Received: {', '.join(classes)}. Check the path, "
            "or name the separator of labelled lines: --set separator=."
        )
    refuse_twin_classes(classes)


def _without_txt(name: str) -> str:
    return name[:-4] if name.lower().endswith(".txt") else name


def unwrapped(member: str) -> tuple[Layout, str]:
    """Return the layout and the name inside it; see `pipeline.sources.text_lines.select`."""
    layout, _, name = member.partition("/")
    for known in ("labelled_lines", "class_files", "class_folders"):
        if layout == known and name:
            return known, name
    raise DataRefused(
        f"The archive is not one of text_lines. Expected members such as class_files/pos.txt. Received: {member}. "
        "Run `millrace init --kind text_lines` again."
    )
