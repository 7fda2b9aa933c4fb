"""What the path of a file says: its class by folder or by a pattern of names, its group, its given split."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

from pipeline.raw.sample import GivenSplit, split_in
from pipeline.runtime.errors import DataRefused, WronglyCalled

SPLITS: dict[str, GivenSplit] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Names of folders that give the split; upper and lower case are one."""
SPLIT_CELLS: dict[str, GivenSplit] = SPLITS | {"dev": "val"}
"""Cells of a column that give it. A folder `dev/` beside `prod/` is a class."""
FOLDERS = ("folder", "first", "parent")
PROPOSED = tuple(
    f"{{label}}{end}"
    for end in (".#.*", "_#.*", "-#.*", " #.*", " (#).*", "_(#).*", "#.*", "_*_#.*", ".*.*", "_*.*", "-*.*")
)
"""Patterns that are tried on names without class folders, to name the first that fits."""
WILDCARDS = {
    "*": "[^/]*",
    "#": "[0-9]+",
    "{label}": "(?P<label>[^/]+?)",
    "{group}": "(?P<group>[^/]+?)",
}


TOKENS = re.compile(r"[^\W\d_]+|\d+|[\W_]")
"""What names of files are made of: words, numbers, and signs between them."""


class Place(NamedTuple):
    """What a path says of a file."""

    split: GivenSplit | None
    label: str
    group: str = ""


@dataclass(frozen=True)
class Labels:
    """The rule by which paths give classes.

    Attributes:
        rule: `folder`, `first`, `parent`, or a pattern; see `image_folder.Options`.
        has_splits: Whether the first folder of every path gives its split.
    """

    rule: str
    has_splits: bool

    def place(self, name: str) -> Place | None:
        """Return what a path says, None where it does not say its class by this rule."""
        top, _, below = name.partition("/")
        split = split_of(top) if self.has_splits else None
        path = below if self.has_splits else name
        folders = path.split("/")[:-1]
        if self.rule not in FOLDERS:
            matched = compiled(self.rule).fullmatch(path if "/" in self.rule else path.split("/")[-1])
            found = matched.groupdict() if matched else {}
            return Place(split, found["label"], found.get("group", "")) if found.get("label") else None
        if not folders or (self.rule == "folder" and len(folders) > 1):
            return None
        return Place(split, folders[-1 if self.rule == "parent" else 0])


def split_of(top: str) -> GivenSplit | None:
    """Return the split that the name of a folder gives: `Training`, `seg_test`."""
    return SPLITS.get(top.casefold()) or split_in(top)


def give_splits(names: Iterable[str]) -> bool:
    """Tell whether the first folders of all these paths are names of splits.

    With a word more (`seg_train`) they are so only where one is for training, no split comes twice, and every file has
    a folder below: `positive_test/1.jpg` and `steam-train/1.jpg` lie in classes.
    """
    folder_below: dict[str, bool] = {}
    for name in names:
        top = top_of(name)
        folder_below[top] = folder_below.get(top, True) and name.count("/") > 1
    if {top.casefold() for top in folder_below} <= SPLITS.keys():
        return bool(folder_below)
    splits = [split_of(top) for top in folder_below]
    once = len(set(splits)) == len(splits)
    return None not in splits and "train" in splits and once and all(folder_below.values())


def is_rule(label: str) -> bool:
    """Tell whether an option names a place in the path, and no column."""
    return label in FOLDERS[1:] or "{label}" in label or "(?P<label>" in label


def top_of(name: str) -> str:
    """Return the first folder of a path, "" for a file that is in none."""
    return name.split("/", maxsplit=1)[0] if "/" in name else ""


def check_labels(rule: str, names: Collection[str]) -> None:
    """Refuse files whose paths do not say their class.

    Args:
        rule: `first`, `parent`, or a pattern.
        names: With `/`, from the folder that holds the classes or splits.

    Raises:
        DataRefused: Some do not say their class, or all say the same.
        WronglyCalled: The pattern cannot be used.
    """
    if rule not in FOLDERS:
        compiled(rule)
    labels = Labels(rule, give_splits(names))
    places = {name: labels.place(name) for name in names}
    wrong = [name for name, place in places.items() if place is None]
    classes = sorted({place.label for place in places.values() if place is not None})
    if wrong or len(classes) < 2:
        received = (
            f"{len(wrong)} that do not, such as {', '.join(wrong[:5])}" if wrong else ", ".join(classes)
        )
        raise DataRefused(
            f"Paths do not say two classes or more by label={rule}. Expected that of every file. Received: {received}. "
            "Give another --set label=, or pass files over: --set ignore=GLOB."
        )


def compiled(pattern: str) -> re.Pattern[str]:
    """Return a pattern of names as a regular expression with the group `label`, and perhaps `group`.

    `*` is anything but a folder, `#` a number, `{label}` and `{group}` what is looked for; everything else stands for
    itself. A pattern in round brackets is a regular expression already; its first group is the label.

    Raises:
        WronglyCalled: It does not say where the label is.
    """
    if "{label}" in pattern:
        parts = re.split(r"(\*|#|\{label\}|\{group\})", pattern)
        written = "".join(WILDCARDS.get(part, re.escape(part)) for part in parts)
    else:
        # Without a name its first group is the label.
        named = "(?P<label>" in pattern or "(" not in pattern
        written = pattern if named else re.sub(r"(?<!\\)\((?!\?)", "(?P<label>", pattern, count=1)
    try:
        expression = re.compile(written)
    except re.error as error:
        raise _no_pattern(pattern, f"{error}") from error
    if "label" not in expression.groupindex:
        raise _no_pattern(pattern, "no place for the label in it")
    return expression


def _no_pattern(pattern: str, reason: str) -> WronglyCalled:
    return WronglyCalled(
        f"The option label cannot be used. Expected folder, first, parent, or a pattern with {{label}} in it, such as "
        f"'{{label}}.#.jpg', or a regular expression with a group, such as '(.+)_\\d+\\.jpg'. Received: "
        f"label={pattern!r} ({reason}). Give another --set label= to `millrace init`."
    )


def proposed(names: Sequence[str]) -> str:
    """Return a pattern by which the names of files give at least two classes of several files each; "" for none."""
    last = [PurePosixPath(name).name for name in names]
    for pattern in (*_by_tokens(last), *PROPOSED):
        matches = [compiled(pattern).fullmatch(name) for name in last]
        classes = Counter(match["label"] for match in matches if match)
        if all(matches) and len(classes) > 1 and min(classes.values()) > 1:
            return pattern
    return ""


def _by_tokens(names: Sequence[str]) -> Iterator[str]:
    """Yield a pattern for each word that differs in names which are all made alike: `p#_{label}_#.*`.

    A number after a word that never changes and that comes again is taken for a person: `walk_p03_1` and `run_p03_2`.
    """
    rows = [TOKENS.findall(PurePosixPath(name).stem) for name in names]
    if len({len(row) for row in rows}) != 1:
        return
    columns = [Counter(column) for column in zip(*rows, strict=True)]
    kinds = [
        {"w" if token.isalpha() else "#" if token.isdigit() else token for token in column}
        for column in columns
    ]
    if any(len(kind) > 1 for kind in kinds):
        return
    words = [place for place, kind in enumerate(kinds) if kind == {"w"} and len(columns[place]) > 1]
    numbers = [place for place, kind in enumerate(kinds) if kind == {"#"}]
    persons = [
        place
        for place in numbers[: len(numbers) if len(numbers) > 1 else 0]
        if place
        and len(columns[place - 1]) == 1
        and kinds[place - 1] == {"w"}
        and 1 < len(columns[place]) <= len(names) // 2
    ]
    for chosen in words:
        parts = []
        for place, column in enumerate(columns):
            fixed = next(iter(column)) if len(column) == 1 else "*"
            parts.append("#" if place in numbers else fixed)
        parts[chosen] = "{label}"
        for person in persons[:1]:
            parts[person] = "{group}"
        if len(columns[chosen]) <= len(names) // 2:
            yield "".join(parts) + ".*"
