"""What the path of an image says: its class by folder or by a pattern of names, its group, its given split."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

from pipeline.raw.sample import GivenSplit
from pipeline.runtime.errors import WronglyCalled

SPLITS: dict[str, GivenSplit] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Names of folders, and cells of a table, that give the split; upper and lower case are one."""
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


class Place(NamedTuple):
    """What a path says of an image."""

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
        split = SPLITS[top.casefold()] if self.has_splits else None
        path = below if self.has_splits else name
        folders = path.split("/")[:-1]
        if self.rule not in FOLDERS:
            matched = compiled(self.rule).fullmatch(path if "/" in self.rule else path.split("/")[-1])
            found = matched.groupdict() if matched else {}
            return Place(split, found["label"], found.get("group", "")) if found.get("label") else None
        if not folders or (self.rule == "folder" and len(folders) > 1):
            return None
        return Place(split, folders[-1 if self.rule == "parent" else 0])


def give_splits(tops: Collection[str]) -> bool:
    """Tell whether all of these first folders are names of splits."""
    return bool(tops) and all(top.casefold() in SPLITS for top in tops)


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
    """Return a pattern by which the names of files give at least two classes of several images each; "" for none."""
    last = [PurePosixPath(name).name for name in names]
    for pattern in PROPOSED:
        matches = [compiled(pattern).fullmatch(name) for name in last]
        classes = Counter(match["label"] for match in matches if match)
        if all(matches) and len(classes) > 1 and min(classes.values()) > 1:
            return pattern
    return ""
