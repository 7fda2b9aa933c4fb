"""Which kinds fit files that nobody has said anything about: `millrace init --path PATH` without `--kind`.

A kind proposes itself in one of three ways, the first that is there:

1. `propose(look)` in its own file, which yields a `Proposal` for each way in which the files could be read;
2. its row in `PROPOSERS` below;
3. otherwise it is proposed without options, where its `select` takes the files.

A proposal is a guess and treated as one: every one of them is read on trial before it is shown, what the reader refuses
is not proposed, and nothing is written before somebody asks for it. The file is long because most kinds look at the
same columns, and what one of them takes for its own no other may.
"""

import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import PurePosixPath
from typing import NamedTuple

from pipeline.formats.cells import plain_number
from pipeline.formats.delimited import is_nameless
from pipeline.formats.problems import as_typed, typed_in
from pipeline.formats.written_numbers import advice
from pipeline.raw.label_sets import lists_among
from pipeline.raw.left_out import ARRAYS, NOT_READ
from pipeline.raw.typed import listed
from pipeline.runtime.errors import DataRefused, WronglyCalled
from pipeline.sources.image_folder import SUFFIXES as IMAGE_SUFFIXES
from pipeline.sources.kinds import options_of, source_of
from pipeline.sources.path_labels import SPLITS, proposed, top_of
from pipeline.sources.table_head import HEAD_ROWS, SOME_TABLES, TIMES, Column, Look, TableHead, whole_lines

MOST_OF_A_KIND = 5
FEWEST_STEPS = 9
"""Columns of a row that may be a series; tables of fewer are of something else."""
TRUTHS = ({"0", "1"}, {"false", "true"}, {"0.0", "1.0"})
FEWEST_LABELS = 3
"""Columns of 0 and 1 that are labels: one or two may be something else of a sample."""
MOSTLY = 0.8
"""Of the cells of a column, that name a file: a table may speak of images that are elsewhere."""
LABELS = ("label", "labels", "class", "choices", "category", "target", "topic", "intent", "sentiment", "y", "klasse",
          "kategorie", "diagnosis", "species", "type", "kind", "state", "result")  # fmt: skip
"""Names that a column of classes often has, the surest first."""
IDS = ("", "id", "index", "row", "nr", "no", "unnamed: 0")
"""Names of columns that only count rows."""
NUMBERS = ("target", "y", "value", "score", "price", "rating", "age", "weight")
TEXTS = ("text", "body", "message", "content", "sentence", "review", "comment", "description", "title")
HOURS = ("hr", "hour", "stunde")
STEPS = ("i", "t", "step", "tick", "time", "frame")
NAMES_OF_SERIES = ("id", "name", "series", "sensor", "device", "meter", "station", "unique_id")
TIME_OF_DAY = re.compile(r"\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?")
FEWEST_DATES = 3
"""Different times of samples: with fewer (of one export) none are later than others in train, val and test."""
LONGEST_CHANGE = 1 / 3
"""A class per step stays for some steps: it changes at this share of them at most."""


@dataclass(frozen=True)
class Proposal:
    """One way to read the files.

    Attributes:
        kind: Of `fetching.source.KINDS`.
        reason: Why it fits, for people.
        options: As typed after `--set`.
        sure: Whether nothing was chosen among several possibilities.
        open: What only the owner can say, as a line each.
        likely: Whether a refusal is worth showing where another kind fits.
        columns: Those that it does not name, and that may be something of a sample.
    """

    kind: str
    reason: str
    options: Mapping[str, str] = field(default_factory=dict)
    sure: bool = False
    open: tuple[str, ...] = ()
    likely: bool = True
    columns: tuple[str, ...] = ()


def proposals(look: Look, kinds: Iterable[str]) -> Iterator[Proposal]:
    """Yield what could be read, kind by kind; nothing of it was tried yet.

    Args:
        look: The files.
        kinds: Names of files under pipeline/sources.
    """
    for kind in kinds:
        own = getattr(source_of(kind), "propose", None) or PROPOSERS.get(kind)
        found = own(look) if own else _by_select(kind, look)
        for number, proposal in enumerate(found):
            if number < MOST_OF_A_KIND:
                yield proposal


def _by_select(kind: str, look: Look) -> Iterator[Proposal]:
    """Yield the kind without options; where it does not take the files, the trial says why."""
    try:
        chosen = source_of(kind).select(look.names, options_of(kind, {}))
    except (DataRefused, WronglyCalled):
        yield Proposal(kind, "", likely=False)
    else:
        yield Proposal(kind, f"{len(chosen):,} files lie as this kind wants them", sure=True)


# --- What the kinds look for.


def _text_table(look: Look) -> Iterator[Proposal]:
    for head in look.tables:
        columns = [column for column in head.columns if not is_nameless(column.name)]
        texts = [column for column in columns if _is_text(column)]
        if not texts:
            continue
        text = max(texts, key=lambda column: (column.is_called(TEXTS), column.words))
        rest = [column for column in columns if column is not text]
        yield from _one_column_per_label("text_table", rest, {"text": text.name, **head.options})
        answers = _answers(rest)
        for number, (role, column) in enumerate(answers[:3]):
            alone = len(answers) == 1 or (number == 0 and column.is_called(LABELS))
            said = (
                f"{len(column.values):,} classes in the first {column.count:,} rows"
                if role == "label"
                else "numbers to predict"
            )
            lists = lists_among(column.values) if role == "label" else None
            yield Proposal(
                "text_table",
                f"column {text.name!r} holds texts of {text.words:.0f} words, column {column.name!r} {said}",
                {
                    "text": text.name,
                    role: column.name,
                    **({"labels_separator": lists.separator} if lists else {}),
                    **_time_among(rest),
                    **_split_among(rest, column),
                    **written_as([column]),
                    **head.options,
                },
                sure=not lists
                and alone
                and len(look.tables) == 1
                and (len(texts) == 1 or text.is_called(TEXTS)),
                open=("labels look like lists; where each is one class: --set labels_separator=none",)
                if lists
                else (),
                columns=tuple(other.name for other in rest),
            )


def _is_text(column: Column) -> bool:
    if column.numeric or column.nearly_time_formats:
        return False
    return column.is_called(TEXTS) or (column.words >= 3 and not column.looks_dated)


def _series_table(look: Look) -> Iterator[Proposal]:
    for head in look.tables:
        times = [column for column in head.columns if column.nearly_time_formats]
        numeric = [
            column for column in head.columns if (column.numeric or column.marked) and column not in times
        ]
        if head.form == "jsonl" or not numeric:
            continue
        if not times:
            counted = list(_counted_steps(head, numeric))
            yield from counted
            # What its reader says of such a column leads on.
            named = [column for column in head.columns if column.is_called(TIMES) or column.looks_dated]
            if named and not counted and len(head.columns) > 1:
                yield Proposal(
                    "series_table",
                    "a column is called like times",
                    {"time": named[0].plain_name, **head.options},
                )
            continue
        time = min(times, key=lambda column: _rank(column, TIMES))
        forms = time.nearly_time_formats
        alone = len(look.tables) == 1 and len(times) == 1 and len(forms) == 1
        for form in forms:
            written = {} if form == "auto" else {"time_format": form}
            for way in _series_in(head, time, numeric):
                doubt = () if len(forms) == 1 else (f"whether times are written as {form}",)
                options = {
                    "time": time.plain_name,
                    **written,
                    **written_as(numeric),
                    **way.options,
                    **head.options,
                }
                yield replace(way, options=options, sure=alone and way.sure, open=doubt + way.open)


def _counted_steps(head: TableHead, numeric: Sequence[Column]) -> Iterator[Proposal]:
    """Yield a table whose rows are numbered by their step, 0 1 2 ...: a series without a clock."""
    for step in [column for column in numeric if column.is_called(STEPS)]:
        cells = [plain_number(cell) or 0.0 for cell in step.cells]
        others = [column for column in numeric if column is not step]
        if others and len(cells) == step.count and cells == [cells[0] + n for n in range(len(cells))]:
            yield Proposal(
                "series_table",
                f"column {step.name!r} numbers the steps, {len(others)} columns hold numbers",
                {"time": step.plain_name, "time_format": "seconds", **written_as(others), **head.options},
                open=("a step is taken for a second",),
            )


def _series_in(head: TableHead, time: Column, numeric: Sequence[Column]) -> Iterator[Proposal]:
    """Yield how rows with a time may make series: by the hours beside a date, by names, with or without a class."""
    repeated = len(time.values) < len(time.cells)
    hours = [column for column in numeric if column.is_called(HOURS) and len(column.values) <= 24]
    clocks = [column for column in head.columns if _is_clock(column)]
    for role, columns, words in (("hour", hours, "their hours"), ("clock", clocks, "the time of day")):
        if repeated and columns:
            beside = columns[0]
            channels = [column for column in numeric if column is not beside]
            said = (
                f"column {time.name!r} holds dates, {beside.name!r} {words}, {len(channels)} columns numbers"
            )
            whole = len(channels) + 2 == len(head.columns)
            yield Proposal("series_table", said, {role: beside.plain_name}, sure=role == "clock" and whole)
            return
    ids = _ids(head, time)
    named = [
        column for column in head.columns if column.is_called(NAMES_OF_SERIES) and len(column.values) > 1
    ]
    ways: list[Column | None] = [*ids[:2]] if repeated else [*named[:1], None]
    for chosen in ways or [None]:
        channels = [column for column in numeric if column is not chosen and not column.is_called(IDS)]
        dropped = [column for column in head.columns if column not in (*channels, time, chosen)]
        if not channels:
            continue
        identity = {"id": chosen.plain_name} if chosen else {}
        told = f", one series per value of {chosen.name!r}" if chosen else ""
        for steps in [column for column in dropped if _per_step(column)][:1]:
            rest = [column for column in dropped if column is not steps]
            yield Proposal(
                "series_table",
                f"column {time.name!r} holds times, {steps.name!r} a class per step, {len(channels)} columns "
                f"numbers{told}",
                {**identity, **_dropped(rest), "step_label": steps.plain_name},
                open=_left_out(rest),
            )
        yield Proposal(
            "series_table",
            f"column {time.name!r} holds times, {len(channels)} columns hold numbers{told}",
            {**identity, **_dropped(dropped)},
            sure=len(ways) == 1 and not dropped,
            open=_left_out(dropped),
        )


def _dropped(columns: Sequence[Column]) -> dict[str, str]:
    names = [column.plain_name for column in columns]
    return {"drop": as_typed(names)} if names else {}


def _left_out(columns: Sequence[Column]) -> tuple[str, ...]:
    names = ", ".join(column.plain_name for column in columns)
    return (f"left out: {names} (--set static=, label=, group=)",) if columns else ()


def written_as(columns: Iterable[Column]) -> dict[str, str]:
    """Return the options that read numbers as they are written in these columns; of several readings none."""
    odd = [
        str(cell)
        for column in columns
        if column.marked
        for cell in column.cells
        if plain_number(cell) is None
    ]
    said = advice(odd)
    return {} if " if " in said else {name: value for pairs in typed_in(said) for name, value in pairs}


def _time_among(columns: Iterable[Column]) -> dict[str, str]:
    """Return the options for the one column of these that holds times, one in every row; {} for none, or several."""
    times = [
        column
        for column in columns
        if column.time_format and len(column.cells) == column.count and len(column.values) >= FEWEST_DATES
    ]
    if len(times) != 1:
        return {}
    written = {} if times[0].time_format == "auto" else {"time_format": times[0].time_format}
    return {"time": times[0].name, **written}


def _answers(columns: Sequence[Column]) -> list[tuple[str, Column]]:
    """Return which columns may be the answer, as `label` or `target`, the likeliest first.

    One that says train and test is an answer only where there is no other.
    """
    classes = [column for column in columns if column.looks_like_classes and not column.time_format]
    classes.sort(key=lambda column: (_rank(column, LABELS), column.numeric, len(column.values)))
    numbers = [
        column
        for column in columns
        if (column.numeric or column.marked)
        and column not in classes
        and len(column.values) > 1
        and not column.is_called(IDS)
    ]
    numbers.sort(key=lambda column: _rank(column, NUMBERS))
    found = [("label", column) for column in classes] + [("target", column) for column in numbers]
    return found or [("label", column) for column in columns if column.gives_split and column.repeats]


def _split_among(columns: Iterable[Column], answer: Column | None = None) -> dict[str, str]:
    """Return the option for the first column that says train, val or test, and is not the answer."""
    found = [column.name for column in columns if column.gives_split and column is not answer]
    return {"split": found[0]} if found else {}


def unread_in_words(proposal: Proposal) -> tuple[str, ...]:
    """Return in words which of its columns no option of a proposal names."""
    named = {*proposal.options.values()}
    with suppress(WronglyCalled):  # a value that is no list
        named |= {name for value in proposal.options.values() for name in listed(value)}
    others = [name for name in proposal.columns if name not in named]
    return (
        (f"columns that nobody reads: {', '.join(others)} (--set side=, group=, split=, time=)",)
        if others
        else ()
    )


def _one_column_per_label(
    kind: str, columns: Sequence[Column], options: Mapping[str, str]
) -> Iterator[Proposal]:
    """Yield one column per label where some hold 0 and 1 alone, and no other looks like the column of a class."""
    flags = [column for column in columns if {*map(str.casefold, column.values)} in TRUTHS]
    flags = [column for column in flags if len(column.cells) == column.count and "," not in column.name]
    classes = [column for column in columns if column.is_called(LABELS)]
    if len(flags) < FEWEST_LABELS or classes:
        return
    names = ",".join(column.name for column in flags)
    yield Proposal(
        kind,
        f"{len(flags)} columns hold 0 or 1: a label each, of which a sample may have several",
        {"label_columns": names, **_time_among(columns), **_split_among(columns), **options},
    )


def _is_clock(column: Column) -> bool:
    return bool(column.cells) and all(TIME_OF_DAY.fullmatch(str(cell).strip()) for cell in column.cells)


def _per_step(column: Column) -> bool:
    """Tell whether a column names classes that stay for some rows and then change."""
    cells = [str(cell) for cell in column.cells]
    changes = sum(before != after for before, after in pairwise(cells))
    return column.looks_like_classes and 0 < changes <= LONGEST_CHANGE * len(cells)


def _ids(head: TableHead, time: Column) -> list[Column]:
    """Return the columns that tell series apart: with the time they name each row once, and the time alone does not."""
    if len(time.values) == len(time.cells):
        return []
    found = []
    for column in head.columns:
        if column is time or len(column.cells) != column.count or 2 * len(column.values) > column.count:
            continue
        pairs = {(str(a), str(b)) for a, b in zip(column.cells, time.cells, strict=True)}
        if len(pairs) == column.count:
            found.append(column)
    return sorted(found, key=lambda column: (column.numeric, len(column.values)))


def _series_archive(look: Look) -> Iterator[Proposal]:
    pattern = re.compile(r"(?P<name>.+)_TRAIN\.(ts|arff|tsv|txt)", re.IGNORECASE)
    matches = (pattern.fullmatch(PurePosixPath(name).name) for name in look.names)
    found = sorted({match["name"] for match in matches if match})
    for name in found:
        options = {"name": name} if len(found) > 1 else {}
        reason = f"{name}_TRAIN is a file of the UCR and UEA archives"
        yield Proposal("series_archive", reason, options, sure=len(found) == 1)


def _series_files(look: Look) -> Iterator[Proposal]:
    tables = look.named([".csv", ".tsv", ".tab", ".txt"])
    if len(tables) < 3:
        return
    alone = len(tables) == len(look.names)
    folders = [PurePosixPath(name).parts[:-1] for name in tables]
    if alone and len(set(folders)) > 1 and all(folders):
        if {len(folder) for folder in folders} == {2} and not {*map(top_of, tables)} <= SPLITS.keys():
            yield from _two_folders(folders)
        # Folders of persons look like folders of classes.
        yield from (replace(proposal, sure=False) for proposal in _by_select("series_files", look))
        return
    if alone and (pattern := proposed(tables)):
        yield Proposal("series_files", "names of files hold words that may be labels", {"label": pattern})
    series = _numbered(tables)
    head = look.table(series.names[0])
    if len(series.names) < 3 or head is None or not all(column.numeric for column in head.columns):
        return
    for name in [name for name in tables if name not in series.names][:SOME_TABLES]:
        answers = look.table(name)
        if answers and (found := list(_answers_beside(series, PurePosixPath(name).name, answers, head))):
            yield from found
            return


class _Numbered(NamedTuple):
    """Files that differ in their number alone.

    Attributes:
        names: Of them.
        folder: Where they lie, "." above all.
        begin: Of each name, up to its number; the whole of one without a number.
        end: Of each, from there to the suffix.
    """

    names: Sequence[str]
    folder: str
    begin: str
    end: str

    def by_id(self, cells: Container[str]) -> str | None:
        """Return the pattern of the files that cells name, by their stem or by their number; None: fewer than three."""
        stems = [PurePosixPath(name).stem for name in self.names]
        inside = re.compile(f"{re.escape(self.begin)}(.*){re.escape(self.end)}")
        numbers = [found[1] for stem in stems if (found := inside.fullmatch(stem))]
        whole, part = (len({one for one in names if one in cells}) for names in (stems, numbers))
        if max(whole, part) < 3:
            return None
        prefix = "" if self.folder == "." else f"{self.folder}/"
        return f"{prefix}{self.begin if part > whole else ''}*{PurePosixPath(self.names[0]).suffix}"


def _numbered(names: Sequence[str]) -> _Numbered:
    """Return the most files of one folder whose names differ in their number alone."""

    def shape(name: str) -> tuple[str, str]:
        path = PurePosixPath(name)
        return str(path.parent), re.sub(r"\d+", "*", path.stem)

    (most, _), *_ = Counter(map(shape, names)).most_common(1)
    begin, star, end = most[1].partition("*")
    of_shape = [name for name in names if shape(name) == most]
    return _Numbered(of_shape, most[0], begin if star else "", end)


def _answers_beside(series: _Numbered, name: str, answers: TableHead, head: TableHead) -> Iterator[Proposal]:
    """Yield a table that names the file of each series in one column and an answer in another.

    Args:
        series: One file each.
        name: Of the table.
        answers: The table.
        head: The first of the series.
    """
    for column in answers.columns:
        files = series.by_id({str(cell) for cell in column.cells})
        if files is None:
            continue
        rest = [other for other in answers.columns if other is not column]
        roles = _answers(rest)
        for role, other in roles[:2]:
            yield Proposal(
                "series_files",
                f"{len(series.names):,} tables of numbers, and {name} says {other.plain_name!r} of each",
                {
                    "targets": name,
                    "id": column.plain_name,
                    role: other.plain_name,
                    "files": files,
                    **_split_among(rest, other),
                    **written_as([other]),
                    **({"header": "false"} if "header" in head.options else {}),
                },
                sure=len(roles) == 1,
            )
        return


def _two_folders(folders: Sequence[tuple[str, ...]]) -> Iterator[Proposal]:
    """Yield both readings of two folders above each series: persons below classes, or classes below persons."""
    for place, pattern in ((0, "{label}/{group}/*"), (1, "{group}/{label}/*")):
        classes = sorted({folder[place] for folder in folders})
        if 2 <= len(classes) <= len(folders) // 2:
            shown = ", ".join(classes[:4]) + (", ..." if len(classes) > 4 else "")
            yield Proposal(
                "series_files",
                f"of two folders above each series one may be its class: {shown}",
                {"label": pattern},
            )


def _text_lines(look: Look) -> Iterator[Proposal]:
    if not look.named([".txt"]):
        return
    texts = look.named([".txt"])
    first = whole_lines(look.first_bytes(texts[0])).decode("utf-8", "replace").splitlines()[:HEAD_ROWS]
    for name, mark in (("space", "__label__"),):
        if first and all(line.startswith(mark) for line in first):
            yield Proposal("text_lines", "every line begins with __label__", {"separator": name}, sure=True)
            return
    pattern = proposed(texts)
    if pattern:
        yield Proposal("text_lines", "names of files hold words that may be labels", {"label": pattern})
    yield from (replace(found, sure=found.sure and not pattern) for found in _by_select("text_lines", look))


def _idx(look: Look) -> Iterator[Proposal]:
    if any("ubyte" in name for name in look.names):
        yield from _by_select("idx", look)


def _image_table(look: Look) -> Iterator[Proposal]:
    """Yield tables with a column that names the images around them, with or without folder and suffix."""
    images = look.named(IMAGE_SUFFIXES)
    names = {part for name in images for part in (name, PurePosixPath(name).name, PurePosixPath(name).stem)}
    for head in look.tables if images else ():
        for column in head.columns:
            cells = [str(cell).replace("\\", "/") for cell in column.cells]
            known = [
                cell for cell in cells if {cell, PurePosixPath(cell).name, PurePosixPath(cell).stem} & names
            ]
            if not cells or len(known) < MOSTLY * len(cells) or len(set(cells)) < MOSTLY * len(cells):
                continue
            rest = [other for other in head.columns if other is not column]
            common = {"path": column.name, **head.options}
            yield from _one_column_per_label("image_table", rest, common)
            timed = _time_among(rest)
            roles = _answers([other for other in rest if other.name != timed.get("time")])
            for role, other in roles[:3]:
                yield Proposal(
                    "image_table",
                    f"column {column.name!r} of {head.name} names the images, {other.name!r} says what is on them",
                    {
                        "path": column.name,
                        role: other.name,
                        **timed,
                        **_split_among(rest, other),
                        **written_as([other]),
                        **head.options,
                    },
                    sure=len(roles) == 1 or other.is_called(LABELS),
                    columns=tuple(other.name for other in rest),
                )
            return


def _series_rows(look: Look) -> Iterator[Proposal]:
    """Yield tables of many numbers per row, whose first or last column may be a class."""
    for head in look.tables:
        columns = list(head.columns)
        if len(columns) < FEWEST_STEPS or any(column.time_format for column in columns):
            continue
        counted = [column.name for column in columns if column.is_called(IDS) and column.name.strip()]
        dropped = {"drop": as_typed(counted)} if counted else {}
        for place, answer, values in (
            ("last", columns[-1], columns[:-1]),
            ("first", columns[0], columns[1:]),
        ):
            # Two shops in two rows are no classes: nothing comes again.
            comes_again = len(answer.cells) >= 2 * len(answer.values)
            if comes_again and answer.looks_like_classes and all(column.numeric for column in values):
                yield Proposal(
                    "series_rows",
                    f"a row of {head.name} holds {len(values)} numbers, and a class in column {answer.name!r}",
                    {"label": place, **dropped, **head.options},
                    sure=not answer.numeric or answer.is_called(LABELS),
                )
                return


def _image_folder(look: Look) -> Iterator[Proposal]:
    if look.named(IMAGE_SUFFIXES | NOT_READ - ARRAYS):
        # What keeps pictures from being read is worth a look, unless a table may say what they are.
        yield from (replace(found, likely=not look.tables) for found in _by_select("image_folder", look))


def _arrays(kind: str) -> Callable[[Look], Iterator[Proposal]]:
    return lambda look: _by_select(kind, look) if look.named([".npy", ".npz"]) else iter(())


PROPOSERS: dict[str, Callable[[Look], Iterable[Proposal]]] = {
    "digits": lambda _look: (),
    "idx": _idx,
    "text_table": _text_table,
    "text_lines": _text_lines,
    "image_folder": _image_folder,
    "image_table": _image_table,
    "image_arrays": _arrays("image_arrays"),
    "series_arrays": _arrays("series_arrays"),
    "series_rows": _series_rows,
    "series_archive": _series_archive,
    "series_files": _series_files,
    "series_table": _series_table,
}
"""Kinds without `propose` in their own file: most of them look at columns in the same ways."""


def _rank(column: Column, names: Sequence[str]) -> int:
    return names.index(column.called) if column.called in names else len(names)
