"""Several labels in one cell: read as such where that is said, refused where it only looks like it.

`billing|delivery` is no class of its own; a model would learn eleven classes where there are six. Looked at where
every source passes by, as the spellings are: `pipeline/fetching/snapshot.py` refuses or counts, the ingest stage reads
the same way. A source may also say the labels of a sample itself (`RawSample.labels`): one column per label does.
"""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.data.label_sets import as_cell
from pipeline.formats.cells import plain_name
from pipeline.raw.sample import RawSample
from pipeline.runtime.errors import DataRefused

ONE_CLASS = "none"
LISTS = "list"
SEPARATORS = {
    "pipe": "|", "semicolon": ";", "comma": ",", "tab": "\t", "newline": "\n", "slash": "/", "plus": "+",
    "ampersand": "&", "space": " ",
}  # fmt: skip
WORDS = {separator: word for word, separator in SEPARATORS.items()}
SURE = ("|", ";", ",", "\t", "\n")
"""Names of classes rarely have these; `new york`, `T-shirt/top` and `R&D` are names."""
MOST_SHOWN = 5
BRACKETS = {"[": "]", "(": ")", "{": "}"}
BY_NUMPY = re.compile(r"""\[\s*(?:'[^']*'|"[^"]*")(?:\s+(?:'[^']*'|"[^"]*"))+\s*\]""")
"""`['a' 'b']`, as pandas writes an array; Python would read it as `['ab']`."""


def with_label_sets(samples: Iterable[RawSample], separator: str | None) -> Iterator[RawSample]:
    """Pass samples on with their label taken apart into `labels`.

    Args:
        samples: As the source yields them.
        separator: The option `labels_separator`; None and `none` leave every label as it is.

    Raises:
        DataRefused: With `list`, labels that are no lists; after all samples, with their number.
    """
    if separator in (None, "", ONE_CLASS):
        yield from samples
        return
    wrong: Counter[str] = Counter()
    sets: dict[str, tuple[str, ...] | None] = {}
    for sample in samples:
        if sample.labels is not None or not sample.label:
            yield sample
            continue
        cell = sample.label
        if cell not in sets:
            sets[cell] = taken_apart(cell, str(separator))
        labels = sets[cell]
        if labels is None:
            wrong[cell] += 1
            continue
        yield replace(sample, label="", labels=labels)
    if wrong:
        cell, count = wrong.most_common(1)[0]
        raise DataRefused(
            "Labels are no lists, though --set labels_separator=list says so. Expected JSON or Python lists of names "
            f'in every cell, such as ["billing", "login"], and [] for none. Received: {wrong.total():,} samples with '
            f"something else, such as {cell!r} ({count:,} samples). Correct these cells, or name what stands between "
            "labels: --set labels_separator=pipe."
        )


def taken_apart(cell: str, separator: str) -> tuple[str, ...] | None:
    """Return the labels of a cell, sorted, each once; None for a cell that is no list where one is expected.

    Args:
        cell: Not empty.
        separator: `list`, one of the words in `SEPARATORS`, or what stands between labels itself.
    """
    if separator == LISTS:
        return _listed(cell)
    parts = (part.strip() for part in cell.split(SEPARATORS.get(separator, separator)))
    return tuple(sorted({part for part in parts if part}))


def label_cell(sample: RawSample) -> str:
    """Return what the table of samples holds as a sample's label; of several the text that stands for their set."""
    return sample.label if sample.labels is None else as_cell(sample.labels)


def labels_of(sample: RawSample) -> tuple[str, ...]:
    """Return the names of all classes of a sample, which are one or none where nobody spoke of several."""
    if sample.labels is not None:
        return sample.labels
    return (sample.label,) if sample.label else ()


def refuse_lists(counts: Mapping[str, int]) -> None:
    """Refuse labels that look like lists of labels, where nobody said what they are.

    Args:
        counts: Label, as the source has it, to its samples.

    Raises:
        DataRefused: With how many there are and one of them taken apart.
    """
    found = lists_among(counts)
    if found is None:
        return
    cell = max(found.cells, key=lambda name: (counts[name], name))
    parts = taken_apart(cell, found.separator) or ()
    samples = sum(counts[name] for name in found.cells)
    apart = ", ".join(f"{part!r}" for part in parts[:MOST_SHOWN]) or "no label"
    raise DataRefused(
        f"Labels look like lists of labels. Expected one class per sample. Received: {len(found.cells):,} of "
        f"{len(counts):,} different labels, on {samples:,} of {sum(counts.values()):,} samples; {cell!r} "
        f"({counts[cell]:,} samples) may be {apart}. Say to `millrace init` what they are: --set "
        f"labels_separator={found.separator} for several labels per sample (task multilabel), or --set "
        "labels_separator=none where each is the name of one class."
    )


@dataclass(frozen=True)
class Lists:
    """Labels that look like lists.

    Attributes:
        separator: As `labels_separator` takes it.
        cells: Those that hold more than one label, or are written as a list.
    """

    separator: str
    cells: Sequence[str]


def lists_among(names: Iterable[str]) -> Lists | None:
    """Return what looks like lists among different labels; None where nothing does.

    Brackets around a list of names are one. Otherwise labels fall apart into others: at least half of those that
    hold a separator consist of parts that occur elsewhere too, alone or in another label. Of separators that names of
    classes have as well, more is asked: three such labels, nearly all of them of known parts, and no more parts than
    labels.
    """
    labels = sorted(set(names))
    bracketed = [label for label in labels if _listed(label) is not None]
    if bracketed and 2 * len(bracketed) >= len(labels):
        return Lists(LISTS, bracketed)
    for word, separator in SEPARATORS.items():
        apart = {label: taken_apart(label, word) or () for label in labels if separator in label}
        several = {label: parts for label, parts in apart.items() if len(parts) > 1}
        if several and _fall_apart(labels, several, sure=separator in SURE):
            return Lists(word, list(several))
    return None


def _fall_apart(labels: Sequence[str], several: Mapping[str, tuple[str, ...]], *, sure: bool) -> bool:
    occurrences = Counter(part for parts in several.values() for part in parts)
    occurrences.update(set(labels) - several.keys())
    known = sum(all(occurrences[part] > 1 for part in parts) for parts in several.values())
    if sure:
        return 2 * known >= len(several)
    return len(several) >= 3 and 5 * known >= 4 * len(several) and len(occurrences) <= len(labels)


def _listed(cell: str) -> tuple[str, ...] | None:
    """Return the names in a JSON or Python list; None for anything else."""
    text = cell.strip()
    if BRACKETS.get(text[:1]) != text[-1:]:
        return None
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        try:
            by_numpy = BY_NUMPY.fullmatch(text) is not None
            items = (
                [part[1:-1] for part in re.findall("'[^']*'|\"[^\"]*\"", text)]
                if by_numpy
                else ast.literal_eval(text)
            )
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return None
    if not isinstance(items, list | tuple | set | frozenset):
        return None
    names = [plain_name(item) for item in items]
    if not all(names):
        return None
    return tuple(sorted({str(name).strip() for name in names}))
