"""Image files and a table that says what is on them: CSV, TSV, JSON lines or Parquet, one row per image.

The column of paths tells which file a row is about (`pipeline/sources/image_paths.py`). The rows are held while the
images pass one at a time: memory grows with the table, not with the pixels.
"""

import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from sys import intern
from typing import Any, Literal

from pipeline.formats.cells import Cell, SideKind, as_name, as_side, plain_number
from pipeline.formats.delimited import Batch
from pipeline.formats.problems import Problems, shown
from pipeline.formats.side_cells import kinds_by_reading
from pipeline.formats.tables import FORMATS, TableOptions, Writing, describe_table, form_of, table_with
from pipeline.formats.text_file import open_member
from pipeline.formats.times import Fault, TimeReader, time_problems
from pipeline.formats.written_numbers import NumberWriting
from pipeline.raw.answer_columns import NO_ANSWER, AnswerColumns, answer_problems, as_split
from pipeline.raw.left_out import by_folder_and_suffix, covers, refuse_unread_pictures
from pipeline.raw.left_out import in_words as names_in_words
from pipeline.raw.sample import GivenSplit, RawSample, common_folders, members, splits_of
from pipeline.runtime.errors import DataRefused, WronglyCalled
from pipeline.sources.image_folder import SUFFIXES, image_files
from pipeline.sources.image_paths import ImagePaths, Unmatched
from pipeline.sources.path_labels import SPLIT_CELLS

COLUMNS_FIX = (
    "Name the right column (--set path=, label=, target=, ...), or the tables that are meant: --set files=."
)
HEADER_FIX = "The first row is one of data: --set header=false, and columns are called 1, 2, 3 (--set path=1, label=2)."
LAYOUT = (
    "image files, and a table (.csv, .tsv, .jsonl, .parquet) with a row per image: its path and its label or target "
    "(labels.csv beside images/1.jpg)"
)


class Options(TableOptions, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Which columns the table has, and how it is written."""

    path: str = "path"
    """Column of paths, from the table's folder or from --path; folders and the suffix may be left out."""
    prefix: str = ""
    """What all paths begin with and is taken off: `/home/ana/photos/`, where they come from another machine."""
    label: str = ""
    """Column of class names; every row must have one."""
    target: str = ""
    """Column of numbers that regression predicts; every row must have one."""
    group: str = ""
    """Column of persons, cameras or plates that a split must not tear apart."""
    time: str = ""
    """Column of times."""
    time_format: str = "auto"
    """`auto`: ISO 8601; else a format of strptime, or Unix `seconds`, `milliseconds`, `microseconds`, `nanoseconds`."""
    timezone: str = ""
    """IANA name (Europe/Berlin) of the local clock that wrote the times, which become instants then; of an hour that
    came twice it is the first. "": times without an offset stay as they are."""
    split: str = ""
    """Column that says train, val or test; without it the names of several tables may: train.csv, test.csv."""
    side: tuple[str, ...] = ()
    """Columns of further facts about an image: numbers or categories, told apart by their cells."""
    categorical: tuple[str, ...] = ()
    """Those of `side` that are categories although they look like numbers."""
    unmatched: Literal["refuse", "leave_out"] = "refuse"
    """What becomes of rows without an image file and of image files without a row; `leave_out` counts them."""
    files: str = ""
    """Glob that chooses the tables; "" for all with the suffix of one."""
    images: str = ""
    """Glob that chooses the image files; "" for all with the suffix of one."""


def select(names: Sequence[str], options: Options) -> dict[str, str]:
    """Return tables and image files, named from the folder that holds them all.

    Raises:
        DataRefused: No table, no image, or pictures of formats that are not read.
        WronglyCalled: The options contradict each other.
    """
    _check_options(options)
    refuse_unread_pictures(names)
    images = image_files(names, options.images)
    if not images:
        raise DataRefused(
            f"No image file found. Expected {LAYOUT}, suffixes {' '.join(sorted(SUFFIXES))}. Received: "
            f"{names_in_words(by_folder_and_suffix(names)) or 'no file'}. Point --path at the folder that holds "
            "table and images, or name the images: --set images='*.jpg'."
        )
    others = sorted(set(names) - set(images))
    tables = [name for name in others if (covers(options.files, name) if options.files else is_table(name))]
    if not tables:
        raise DataRefused(
            f"No table found. Expected {LAYOUT}. Received: {names_in_words(by_folder_and_suffix(names))}. "
            "Point --path at the folder that holds both, or take --kind image_folder, which reads labels off folders."
        )
    chosen = [*tables, *images]
    # Globs are asked again of the names in the archive.
    depth = 0 if options.files or options.images else common_folders(chosen)
    return {"/".join(name.split("/")[depth:]): name for name in chosen}


def describe(archive: tarfile.TarFile, options: Options) -> list[str]:
    """Return how each table is read, detected parts marked as such, and what is left out."""
    tables, images = _members(archive, options)
    lines = []
    for member in tables:
        with open_member(archive, member) as file:
            lines.append(describe_table(file, member.name, Writing.of(options)))
    if options.unmatched == "leave_out":
        _, unmatched = _rows(archive, tables, images, options)
        lines += [f"left out - {line}" for line in unmatched.in_words()]
    return lines


def read(archive: tarfile.TarFile, options: Options) -> Iterator[RawSample]:
    """Yield the encoded images in the order of their names, each with what its row says.

    Raises:
        DataRefused: Rows that do not fit, all problems up to 20 together; or rows without a file, files without a
            row, and files in several rows, all of them together.
        WronglyCalled: The options contradict each other.
    """
    _check_options(options)
    tables, images = _members(archive, options)
    rows, unmatched = _rows(archive, tables, images, options)
    unmatched.check(len(rows), leave_out=options.unmatched == "leave_out")
    if options.split:
        _check_given({row.split for row in rows.values()}, options.split)
    for name in sorted(rows):
        image = open_member(archive, images[name].info(name)).read()
        yield replace(rows[name], image=image)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an image lies in the archive; a `TarInfo` would take 1 KiB of memory each."""

    offset: int
    size: int

    def info(self, name: str) -> tarfile.TarInfo:
        member = tarfile.TarInfo(name)
        member.offset_data, member.size = self.offset, self.size
        return member


def _members(archive: tarfile.TarFile, options: Options) -> tuple[list[tarfile.TarInfo], dict[str, _Place]]:
    """Return the tables of an archive, and where its images lie."""
    images: dict[str, _Place] = {}
    tables: list[tarfile.TarInfo] = []
    for member in members(archive):
        if not member.isreg():
            raise DataRefused(f"{member.name} is no regular file. Run `millrace init` on the original data.")
        if image_files([member.name], options.images):
            images[member.name] = _Place(member.offset_data, member.size)
        else:
            tables.append(member)
    return sorted(tables, key=lambda member: member.name), images


def _rows(
    archive: tarfile.TarFile,
    tables: Sequence[tarfile.TarInfo],
    images: Mapping[str, _Place],
    options: Options,
) -> tuple[dict[str, RawSample], Unmatched]:
    """Return what is said of each image, and what of tables and images does not fit together."""
    paths, unmatched, problems = ImagePaths(images), Unmatched(), Problems()
    splits = splits_of([table.name for table in tables]) if not options.split else {}
    columns = _Columns(options, _side_kinds(archive, tables, options))
    rows: dict[str, RawSample] = {}
    for member in tables:
        folder = str(PurePosixPath(member.name).parent).removeprefix(".")
        reader = TimeReader(options.time_format, timezone=options.timezone)
        with open_member(archive, member) as opened:
            table = table_with(
                opened, member.name, columns.wanted, Writing.of(options), problems, fix=COLUMNS_FIX
            )
            if options.header and table.dialect and _names_an_image(options, paths, folder):
                received = shown(", ".join(table.columns or ()))
                problems.add(f"{member.name}, header", "names of columns", received, HEADER_FIX)
            for batch in table.batches(columns.wanted):
                times = reader.texts(batch, options.time) if options.time else [""] * len(batch)
                for row, cells in enumerate(batch.rows(columns.wanted)):
                    place = batch.place(row)
                    sample = columns.sample(splits.get(member.name), place, cells, problems, time=times[row])
                    if sample is None:
                        continue
                    found = paths.find(sample.sample_id, folder, options.prefix)
                    if len(found) != 1:
                        unmatched.row("several" if found else "without", place, sample.sample_id, found)
                    elif found[0] in rows:
                        unmatched.row("twice", place, sample.sample_id, found)
                    else:
                        rows[found[0]] = replace(sample, sample_id=found[0])
    problems.check()
    unmatched.files(name for name in images if name not in rows)
    return rows, unmatched


def _names_an_image(options: Options, paths: ImagePaths, folder: str) -> bool:
    """Tell whether the column of paths is called by one: the row of names is one of data, and would be lost.

    A name without the suffix of an image (`image`, beside image.png) is a path only where the target is called by a
    number.
    """
    suffixed = PurePosixPath(options.path.strip().lower()).suffix in SUFFIXES
    number = plain_number(options.target, NumberWriting.of(options)) is not None
    return (suffixed or number) and bool(paths.find(options.path, folder, options.prefix))


class _Columns:
    """From the cells of a row to a sample without its image, called by its path as it stands in the table."""

    def __init__(self, options: Options, kinds: Mapping[str, SideKind]) -> None:
        self._options = options
        self._kinds = kinds
        self._writing = NumberWriting.of(options)
        self._answers = _answers(options)
        self.wanted = _wanted(options)

    def sample(
        self,
        split: GivenSplit | None,
        place: str,
        cells: Sequence[Any],
        problems: Problems,
        *,
        time: str | Fault,
    ) -> RawSample | None:
        """Return the sample of a row, or None after it was kept as a problem."""
        before = problems.count
        options = self._options
        values = dict(zip(self.wanted, cells, strict=True))

        def cell(column: str) -> Cell:
            return Cell(f"{place}, column {column!r}", values[column])

        def name(column: str) -> str:
            return intern((as_name(cell(column), problems) or "") if column else "")

        def time_of(time: str | Fault) -> str:
            if isinstance(time, str):
                return time
            problems.add(f"{place}, column {options.time!r}", *time)
            return ""

        if options.split:
            split = as_split(cell(options.split), problems, SPLIT_CELLS)
        answer = self._answers.of(cell, problems)
        if answer is NO_ANSWER:
            # Nobody reads the rest of such a row; see `pipeline.raw.answers`.
            sample = RawSample(name(options.path), split=split)
            return sample if problems.count == before else None
        sample = RawSample(
            sample_id=name(options.path),
            label=intern(answer.label),
            split=split,
            target=answer.target,
            labels=answer.labels,
            group=name(options.group),
            time=time_of(time),
            side={
                column: as_side(kind, cell(column), problems, self._writing)
                for column, kind in self._kinds.items()
            },
        )
        return sample if problems.count == before else None


def _check_given(given: set[GivenSplit | None], column: str) -> None:
    if "train" not in given:
        raise DataRefused(
            f"The column {column!r} leaves nothing to train on. Expected rows of train. Received: only "
            f"{', '.join(sorted(filter(None, given)))}. Correct it, or leave the split to params.yaml."
        )


def _wanted(options: Options) -> list[str]:
    roles = [options.path, *_answers(options).names, options.group, options.time, options.split]
    return list(dict.fromkeys([*filter(None, roles), *options.side]))


def _answers(options: Options) -> AnswerColumns:
    return AnswerColumns(
        options.label,
        options.target,
        options.label_columns,
        options.unlabelled,
        NumberWriting.of(options),
    )


def _side_kinds(
    archive: tarfile.TarFile, tables: Sequence[tarfile.TarInfo], options: Options
) -> dict[str, SideKind]:
    """Return which side columns hold numbers and which categories, over all tables, by reading them once.

    Raises:
        DataRefused: A column mixes numbers and words, or is not there.
    """
    kinds: dict[str, SideKind] = dict.fromkeys(options.side, "category")
    open_columns = [column for column in options.side if column not in options.categorical]
    if not (open_columns or options.target):
        return kinds
    with open_member(archive, tables[0]) as opened:
        typed = form_of(opened, tables[0].name, options.format) in ("jsonl", "parquet")
    batches, writing = _batches(archive, tables, options), NumberWriting.of(options)
    return kinds | kinds_by_reading(
        batches, open_columns, target=options.target, typed=typed, writing=writing
    )


def _batches(
    archive: tarfile.TarFile, tables: Sequence[tarfile.TarInfo], options: Options
) -> Iterator[Batch]:
    """Yield all tables; rows that cannot be read are named by the second reading, with all other problems."""
    wanted = _wanted(options)
    for member in tables:
        with open_member(archive, member) as opened:
            # All columns are asked for, so that one that is missing is named together with the others.
            yield from table_with(
                opened, member.name, wanted, Writing.of(options), Problems(), fix=COLUMNS_FIX
            ).batches(wanted)


def is_table(name: str) -> bool:
    """Tell whether a file has the suffix of a table."""
    return PurePosixPath(name).suffix.lower() in FORMATS


def _check_options(options: Options) -> None:
    """Refuse options that contradict each other, naming all contradictions."""
    strangers = [column for column in options.categorical if column not in options.side]
    learnt = (options.label, *options.label_columns, options.target)
    taken = [column for column in options.side if column in (options.path, *learnt, options.split)]
    faults = {
        "no column of paths is named. Expected --set path=COLUMN": not options.path,
        "nothing to learn is named. Expected --set label=COLUMN, or --set target=COLUMN for regression": not any(
            learnt
        ),
        f"categorical names {', '.join(strangers)}. Expected columns that side names too": strangers,
        f"side names {', '.join(taken)}. Expected columns other than path, label, target and split": taken,
    }
    problems = [message for message, fault in faults.items() if fault]
    problems += answer_problems(options, options.label, (options.path, options.target, options.split))
    problems += [*NumberWriting.of(options).problems, *time_problems(options.time_format, options.timezone)]
    if problems:
        received = ", ".join(
            f"{name}={value!r}"
            for name in ("path", "label", "label_columns", "target", "split", "side", "categorical")
            if (value := getattr(options, name))
        )
        raise WronglyCalled(
            f"The options of kind image_table do not fit together: {'; '.join(problems)}. Received: {received}. "
            "Give them to `millrace init` again."
        )
