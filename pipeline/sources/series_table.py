"""Series with time stamps in long tables: one row per series and step, as CSV, TSV or Parquet.

Every row is read once, batch by batch; what stays in memory are times and values (float32). Each series is
then brought to a regular grid (`pipeline/formats/time_grid.py`).
"""

import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.formats import tables
from pipeline.formats.cells import (
    Cell,
    NameCodes,
    SideKind,
    name_cells,
    number_cells,
    without_blank_end,
)
from pipeline.formats.delimited import Batch, is_nameless
from pipeline.formats.local_clock import MissingHour, in_utc, instants
from pipeline.formats.problems import Problems, shown
from pipeline.formats.tables import TextTableOptions, Writing, read_table
from pipeline.formats.text_file import open_member
from pipeline.formats.time_advice import TIME_FIX
from pipeline.formats.time_formats import DAY, HOUR
from pipeline.formats.time_grid import (
    Duplicates,
    Gaps,
    Grid,
    OneSeries,
    Policy,
    Rows,
    SeriesRows,
    later,
    on_grid,
)
from pipeline.formats.times import TimeReader, iso_time, jumped, time_problems
from pipeline.formats.written_numbers import NumberWriting
from pipeline.raw.answer_columns import AnswerColumns, answer_problems
from pipeline.raw.sample import RawSample, StepLabels, choose_files, stem_of
from pipeline.runtime.errors import DataRefused, WronglyCalled
from pipeline.sources.series_facts import are_counted, facts, side_kinds

LAYOUT = (
    "tables (.csv, .tsv, .parquet) with a column of time stamps, --set time=, and columns of numbers; one series "
    "per file, or per value of the column that --set id= names"
)
PARQUET = (".parquet", ".pq")
SUFFIXES = (".csv", ".tsv", ".tab", *PARQUET)
WINDOWS = "anomaly_windows.json"
"""Labelled anomalies, as the Numenta Anomaly Benchmark writes them: per file a list of first and last times."""
COLUMNS_FIX = (
    "Name the right columns: --set time=, id=, columns=, drop=; where no row of names is there: --set header=false, "
    "and columns are called 1, 2, 3; where lines stand above it: --set skip=NUMBER."
)
HEADER_FIX = "The first row is one of data: --set header=false, and columns are called 1, 2, 3."
WINDOWS_FIX = (
    'Write {"folder/file.csv": [["2014-04-01 05:00:00", "2014-04-01 08:00:00"]]}, with [] for no anomaly.'
)
HOUR_FIX = "Correct these cells; a time of day as 17:05 is --set clock=COLUMN instead of hour=."
DAYS_FIX = "Leave --set timezone= out: days of a local clock are 23 to 25 hours long, those of the calendar all alike."
MISSING_HOUR_FIX = "Such rows can be left out: --set missing_hour=drop."
MISSING_HOUR_FIX = "Such rows can be left out: --set missing_hour=drop."
LONGEST_STEP = 100 * 366 * 86_400.0
Spans = list[tuple[int, int]]
STATIC_FIX = (
    "Give a series one value in all its rows, or do not name the column as static, label, target or group."
)


STEPS_FIX = " A class that changes within a series: --set step_label=COLUMN instead of label."


class Options(TextTableOptions, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Which columns a table has, and what happens where its time stamps are not regular."""

    time: str = "time"
    """Column of time stamps."""
    hour: str = ""
    """Column of whole hours that are added to `time`, where that is only a date."""
    clock: str = ""
    """Column with the time of day (17:05, 17:05:00) that belongs to the date in `time`."""
    time_format: str = "auto"
    """`auto`: ISO 8601, with 2026-11 for a month, 2026-Q4, 2026-W48; else a format of strptime, or Unix `seconds`,
    `milliseconds`, `microseconds`, `nanoseconds`."""
    timezone: str = ""
    """IANA name (Europe/Berlin) of the local clock that wrote the times; they become instants then. An hour that came
    twice is told apart by the order of rows. "": times without an offset stay as they are."""
    missing_hour: MissingHour = "fail"
    """Rows at times that this clock jumped over: fail, drop them, or shift (read them by the clock before)."""
    id: str = ""
    """Column that tells series apart, its values as they stand; "": every file is one series."""
    columns: tuple[str, ...] = ()
    """Columns of numbers that make the series; (): all that nothing else is said about."""
    drop: tuple[str, ...] = ()
    """Columns that are left out."""
    label: str = ""
    """Column with the class of a series: one value in all of its rows, as for the next three."""
    wide: bool = False
    """Whether every column of numbers is a series of its own, called like the column, instead of a channel."""
    step_label: str = ""
    """Column with the class of every step, for data.labelled_windows."""
    target: str = ""
    """Column with a number that regression predicts."""
    group: str = ""
    """Column with the person, machine or place that a split must not tear apart."""
    static: tuple[str, ...] = ()
    """Columns that become side features of a series."""
    categorical: tuple[str, ...] = ()
    """Those of `static` that are categories although they look like numbers."""
    anomaly_windows: str = ""
    """JSON file with the labelled anomalies of every series: {"folder/file.csv": [[first time, last time], ...]}."""
    step: float | str = "auto"
    """Seconds from one step to the next; `months`; `auto`: the most frequent one of a series."""
    gaps: Gaps = "auto"
    """Steps without a row: fill them with missing values, hold the row before (a source that writes a row when
    something happens), or fail; auto fills them where they are fewer than the others, and else fails."""
    duplicates: Duplicates = "fail"
    """Several rows of a series at one step: fail, or take the first, the last or the mean."""
    off_grid: Literal["fail", "nearest"] = "fail"
    """A row between two steps: fail, or move it to the nearest step."""
    files: str = ""
    """Glob that chooses files; "" for all with a known suffix."""


def select(names: Sequence[str], options: Options) -> dict[str, str]:
    """Return the tables among `names`, from the folder that holds them all, and the anomaly windows.

    Raises:
        DataRefused: No table, or not one file for the anomaly windows.
        WronglyCalled: The options contradict each other.
    """
    _check_options(options)
    chosen = choose_files(names, SUFFIXES, options.files, LAYOUT)
    if options.anomaly_windows:
        wanted = options.anomaly_windows
        found = [name for name in names if f"/{name}".endswith(f"/{wanted}")]
        if len(found) != 1:
            raise DataRefused(
                f"The file of anomaly windows is not clear. Expected one file called {wanted}. "
                f"Received: {', '.join(found) or 'none'}. Give --set anomaly_windows=FOLDER/FILE.json."
            )
        chosen[WINDOWS] = found[0]
    return chosen


def describe(archive: tarfile.TarFile, options: Options) -> list[str]:
    """Return, per file, how it is read, in words; detected parts are marked as such.

    Raises:
        DataRefused: An encoding cannot be told.
    """
    described = []
    for member in _members(archive):
        with open_member(archive, member) as file:
            described.append(tables.describe_table(file, member, Writing.of_text(options)))
    return described


def read(archive: tarfile.TarFile, options: Options) -> Iterator[RawSample]:
    """Yield the series in order of their ids, each on a regular grid.

    Raises:
        DataRefused: Cells, time stamps or columns that do not fit; up to 20 problems together.
        WronglyCalled: The options contradict each other.
    """
    _check_options(options)
    problems = Problems()
    members = _members(archive)
    headers: dict[str, Sequence[str]] = {}
    for member in members:
        with open_member(archive, member) as file:
            table_of = read_table(file, member, Writing.of_text(options), problems)
        headers[member] = table_of.columns or ()
        bare = options.header and table_of.dialect and not are_counted(headers[member])
        if bare and _is_time(options):
            received = shown(", ".join(headers[member]))
            problems.add(f"{member}, header", "names of columns", received, HEADER_FIX)
    problems.check()
    columns = _choose_columns(headers, options, problems)
    problems.check()
    table = _Table(columns, options, problems)
    for member in members:
        times = TimeReader(options.time_format, clock=options.clock, timezone=options.timezone)
        with open_member(archive, member) as file:
            opened = read_table(file, member, Writing.of_text(options), problems)
            batches = opened.batches(columns.names)
            for batch in without_blank_end(batches) if opened.dialect else batches:
                table.append(batch, times)
    if not table.keys:
        problems.add(", ".join(members), "at least one row", "none", "Check the files.")
    problems.check()
    windows: dict[str, Spans] | None = None
    if options.anomaly_windows:
        windows = _read_windows(archive, table.keys, problems, options.timezone)
        problems.check()
    samples = table.samples(windows)
    yield from _one_per_column(list(samples), problems) if options.wide else samples
    problems.check()


def _is_time(options: Options) -> bool:
    """Tell whether the column of times is called by a time: the row of names is one of data, and would be lost."""
    problems = Problems(limit=None)
    row = Batch("", "line", [1], {options.time: pa.array([options.time])})
    TimeReader(options.time_format).read(row, options.time, problems)
    return not problems.count


def _one_per_column(tables_of: list[RawSample], problems: Problems) -> Iterator[RawSample]:
    """Yield the columns of wide tables as series with one channel, in order of their names.

    A series begins and ends with its first and last value: shops open and close. Of several tables, or ids, a series
    is called `TABLE/COLUMN`.
    """
    found: dict[str, tuple[RawSample, int]] = {}
    for sample in tables_of:
        for index, channel in enumerate(sample.channels):
            name = channel if len(tables_of) == 1 else f"{sample.sample_id}/{channel}"
            if found.setdefault(name, (sample, index))[0] is not sample:
                problems.add(sample.sample_id, "a name of its own for every series", shown(name), COLUMNS_FIX)
    for name, (sample, index) in sorted(found.items()):
        values = np.empty((0, 1), np.float32) if sample.series is None else sample.series[:, [index]]
        there = np.flatnonzero(~np.isnan(values[:, 0]))
        if not len(there):
            problems.add(f"column {name!r}", "at least one value", "none", "Leave it out: --set drop=COLUMN.")
        elif not problems.count:
            first, end = int(there[0]), int(there[-1]) + 1
            yield replace(
                sample,
                sample_id=name,
                series=values[first:end],
                channels=("value",),
                time=later(sample.time, first * sample.step_seconds),
                anomalies=None if sample.anomalies is None else sample.anomalies[first:end],
            )


def _members(archive: tarfile.TarFile) -> list[str]:
    return sorted(name for name in archive.getnames() if name != WINDOWS)


@dataclass(frozen=True)
class _Columns:
    """The columns that are read, the same in all files.

    Attributes:
        channels: Numbers that make the series.
        facts: Columns with one value per series.
        names: All that are read.
    """

    channels: tuple[str, ...]
    facts: tuple[str, ...]
    names: tuple[str, ...]


def _choose_columns(headers: Mapping[str, Sequence[str]], options: Options, problems: Problems) -> _Columns:
    """Return the columns to read, after comparing the headers of all files."""
    answers = [options.label, *options.label_columns, options.target]
    said = tuple(dict.fromkeys(filter(None, [*answers, options.group, *options.static])))
    keys = tuple(filter(None, [options.time, options.hour, options.clock, options.id, options.step_label]))
    channels, first = options.columns, next(iter(headers))
    for member, names in headers.items():
        known = (*keys, *said, *options.drop)
        rest = tuple(name for name in names if name not in known and not is_nameless(name))
        channels = channels or rest
        for missing in [name for name in (*keys, *said, *channels, *options.drop) if name not in names]:
            problems.add(f"{member}, header", f"a column {missing!r}", shown(", ".join(names)), COLUMNS_FIX)
        if not options.columns:
            for name in (name for name in rest if name not in channels):
                expected = f"the columns of {first}"
                problems.add(f"{member}, header", expected, f"a column {name!r} too", COLUMNS_FIX)
    if not channels:
        expected = "at least one column of numbers for the series"
        problems.add(f"{first}, header", expected, "none", COLUMNS_FIX)
    return _Columns(channels, said, (*keys, *said, *channels))


class _Table:
    """The rows of all files, and what they say about each series as a whole.

    Attributes:
        keys: Number of each series by its name: its id, or the file without suffix.
    """

    def __init__(self, columns: _Columns, options: Options, problems: Problems) -> None:
        self.keys: dict[str, int] = {}
        self._columns = columns
        self._options = options
        self._writing = NumberWriting.of(options)
        self._problems = problems
        self._rows = SeriesRows(len(columns.channels) + bool(options.step_label))
        self._steps = NameCodes()
        self._facts: list[dict[str, Cell]] = []
        self._has_offset: bool | None = None

    def append(self, batch: Batch, times: TimeReader) -> None:
        """Take the rows of a batch."""
        keys = self._keys_of(batch)
        values = number_cells(batch, self._columns.channels, self._problems, self._writing).astype(np.float32)
        for column in self._columns.facts:
            self._take_fact(batch, column, keys)
        if self._options.step_label:
            # One column more on the way to the grid: a gap has no class, or holds the one before it.
            codes = self._steps.read(batch, self._options.step_label, self._problems)
            values = np.column_stack([values, np.where(codes < 0, np.nan, codes)]).astype(np.float32)
        self._rows.append(batch, self._times_of(batch, times), keys, values)

    def _keys_of(self, batch: Batch) -> np.ndarray:
        """Return the number of the series of every row, int32, shape (rows,)."""
        if not self._options.id:
            return np.full(len(batch), self._key(stem_of(batch.name)), np.int32)
        encoded = pc.dictionary_encode(name_cells(batch, self._options.id, self._problems))
        empty = pc.index(encoded.dictionary, "").as_py()
        if empty >= 0:
            row = pc.index(encoded.indices, empty).as_py()
            self._problems.add(batch.place(row, self._options.id), "an id", "nothing", "Fill it in.")
        keys = np.array([self._key(name) for name in encoded.dictionary.to_pylist()], np.int32)
        rows: np.ndarray = keys[encoded.indices.to_numpy()]
        return rows

    def _key(self, name: str) -> int:
        if name not in self.keys:
            self.keys[name] = len(self.keys)
            self._facts.append({})
        return self.keys[name]

    def _times_of(self, batch: Batch, reader: TimeReader) -> np.ndarray:
        times = reader.read(batch, self._options.time, self._problems)
        if self._has_offset not in (None, reader.has_offset):
            written = ("without an offset", "with an offset")
            self._problems.add(
                batch.place(0, self._options.time),
                f"times {written[bool(self._has_offset)]}, as in the files before",
                f"times {written[reader.has_offset]}",
                TIME_FIX,
            )
        self._has_offset = reader.has_offset
        if not self._options.hour:
            return times
        hours = number_cells(batch, [self._options.hour], Problems(limit=None))[:, 0]  # its message says less
        wrong = ~((hours >= 0) & (hours < 24) & (hours % 1 == 0))
        for row in np.flatnonzero(wrong).tolist():
            received = shown(batch.columns[self._options.hour][row].as_py())
            self._problems.add(
                batch.place(row, self._options.hour), "a whole hour, 0 to 23", received, HOUR_FIX
            )
        return times + np.where(wrong, 0, hours).astype(np.int64) * HOUR

    def _take_fact(self, batch: Batch, column: str, keys: np.ndarray) -> None:
        """Note the one value of every series in a column, and problems where there are two."""
        encoded = pc.dictionary_encode(name_cells(batch, column, self._problems))
        values = encoded.dictionary.to_pylist()
        pairs = keys.astype(np.int64) * len(values) + encoded.indices.to_numpy()
        for pair, row in zip(*(part.tolist() for part in np.unique(pairs, return_index=True)), strict=True):
            key, value = divmod(pair, len(values))
            cell = Cell(batch.place(row, column), values[value])
            known = self._facts[key].setdefault(column, cell)
            if known.value != cell.value:
                expected = f"{shown(known.value)}, as at {known.place}"
                steps = STEPS_FIX if column == self._options.label else ""
                self._problems.add(cell.place, expected, shown(cell.value), f"{STATIC_FIX}{steps}")

    def samples(self, windows: Mapping[str, Spans] | None) -> Iterator[RawSample]:
        """Yield the series; the rows are gone afterwards."""
        names = sorted(self.keys)
        policy = _policy(self._options)
        kinds = side_kinds(
            self._facts,
            self._options.static,
            self._options.categorical,
            target=self._options.target,
            writing=self._writing,
        )
        for name, rows in zip(names, self._rows.series([self.keys[name] for name in names]), strict=True):
            grid = self._on_grid(rows, name, policy)
            sample = self._sample(name, grid, kinds, windows) if grid else None
            # Nothing is passed on once something is wrong: the files are refused as a whole then.
            if sample and not self._problems.count:
                yield sample

    def _on_grid(self, series: OneSeries, name: str, policy: Policy) -> Grid | None:
        def place(index: int) -> str:
            return self._rows.place(series.row(index))

        if not self._options.timezone or self._has_offset:
            return on_grid(series.times, series.values, policy, Rows(name, place, self._problems))
        steps = np.diff(series.times)
        if len(steps) and not (steps % DAY).any() and steps.any():
            received = "whole days"
            self._problems.add(name, "times less than a day apart, for a local clock", received, DAYS_FIX)
            return None
        found = in_utc(series.times, series.rows, self._options.timezone, self._options.missing_hour)
        if not len(found.times):
            expected, received, fix = jumped(self._options.timezone)
            whose = Rows(name, place, self._problems)
            whose.refuse(found.missing, expected, received, f"{fix} {MISSING_HOUR_FIX}")
            return None
        rows = Rows(name, lambda index: place(int(found.kept[index])), self._problems)
        grid = on_grid(found.times, series.values[found.kept], policy, rows)
        if grid is None:
            return None
        note = ", ".join(filter(None, [found.note, grid.timeline.note]))
        return replace(grid, timeline=replace(grid.timeline, note=note))

    def _sample(
        self, name: str, grid: Grid, kinds: Mapping[str, SideKind], windows: Mapping[str, Spans] | None
    ) -> RawSample:
        options = self._options
        said = facts(
            self._facts[self.keys[name]],
            answers=AnswerColumns(
                options.label, options.target, options.label_columns, options.unlabelled, self._writing
            ),
            group=options.group,
            kinds=kinds,
            problems=self._problems,
        )
        steps = None
        values = grid.values
        if options.step_label:
            values, codes = values[:, :-1], values[:, -1]
            steps = StepLabels(np.nan_to_num(codes, nan=-1).astype(np.int32), tuple(self._steps.names))
        return RawSample(
            name,
            series=values,
            step_labels=steps,
            channels=self._columns.channels,
            time=grid.time + ("+00:00" if self._has_offset or options.timezone else ""),
            step_seconds=grid.step_seconds,
            timeline=grid.timeline,
            anomalies=None if windows is None else grid.marked(windows[name]),
            **said,
        )


def _read_windows(
    archive: tarfile.TarFile, names: Iterable[str], problems: Problems, timezone: str
) -> dict[str, Spans]:
    """Return the windows of every series in microseconds since 1970, both ends included.

    An entry for `real/a.csv` is for the series `real/a`, `a` and `data/real/a`; every series must have one.
    """
    try:
        content: Any = json.load(open_member(archive, WINDOWS))
    except (ValueError, RecursionError) as error:
        content = str(error)
    if not isinstance(content, dict):
        raise DataRefused(
            f"The anomaly windows cannot be read. Expected a JSON object. Received: {shown(content)}. {WINDOWS_FIX}"
        )
    found: dict[str, Spans] = {}
    for name in names:
        entries = [key for key in content if _is_for(key, name)]
        if len(entries) == 1:
            found[name] = _windows(content[entries[0]], f"{WINDOWS}, {entries[0]}", problems, timezone)
        else:
            problems.add(f"{WINDOWS}", f"one entry for {name}", str(len(entries)), WINDOWS_FIX)
    return found


def _is_for(key: str, name: str) -> bool:
    """Say whether an entry is for a series: the same name, with a suffix or with more folders before it."""
    stem = f"/{stem_of(key)}" if key.endswith(SUFFIXES) else f"/{key}"
    return stem.endswith(f"/{name}") or f"/{name}".endswith(stem)


def _windows(windows: Any, place: str, problems: Problems, timezone: str) -> Spans:
    found: Spans = []
    if not isinstance(windows, list):
        problems.add(place, "a list of windows", shown(windows), WINDOWS_FIX)
        return found
    for window in windows:
        times = [_time(time, timezone) for time in window] if isinstance(window, list) else []
        if len(times) == 2 and times[0] is not None and times[1] is not None and times[0] <= times[1]:
            found.append((times[0], times[1]))
        else:
            problems.add(place, "a first and a later last time", shown(window), WINDOWS_FIX)
    return found


def _time(text: Any, timezone: str) -> int | None:
    """Return a time as microseconds since 1970, or None; without an offset by the local clock of the data."""
    if not isinstance(text, str) or not text.isascii():
        return None
    wall_clock = iso_time(text, None)
    if wall_clock is None:
        return iso_time(text, "UTC")
    return int(instants(np.array([wall_clock]), timezone).times[0]) if timezone else wall_clock


def _policy(options: Options) -> Policy:
    """Return what happens where time stamps are not regular."""
    seconds = None if options.step in ("auto", "months") else float(options.step)
    months = {"auto": None, "months": True}.get(str(options.step), False)
    return Policy(seconds, months, options.gaps, options.duplicates, options.off_grid)


def _check_options(options: Options) -> None:
    """Refuse options that contradict each other, naming all contradictions."""
    problems = []
    if not options.time:
        problems.append("no column of time stamps is named. Expected --set time=COLUMN")
    if not _is_step(options.step):
        problems.append(f"step={options.step}. Expected seconds from 0.000001 to a century, months or auto")
    problems += time_problems(options.time_format, options.timezone, options.clock)
    problems += NumberWriting.of(options).problems
    if options.clock and options.hour:
        problems.append(f"clock={options.clock} and hour={options.hour}. Expected one of them")
    strangers = [column for column in options.categorical if column not in options.static]
    if strangers:
        problems.append(f"categorical names {', '.join(strangers)}. Expected columns that static names too")
    if options.wide and (options.step_label or options.anomaly_windows):
        problems.append(
            "wide, and something that is said of the steps of a whole table. Expected one of them"
        )
    problems += answer_problems(options, options.label)
    if options.step_label and (options.label or options.label_columns or options.target):
        problems.append("step_label, and a class or target of whole series. Expected one of them")
    if options.step_label and options.duplicates == "mean":
        problems.append("step_label and duplicates=mean: classes have no mean. Expected first, last or fail")
    roles = [
        options.time,
        options.hour,
        options.clock,
        options.id,
        options.label,
        options.target,
        options.group,
        options.step_label,
    ]
    named = [*filter(None, roles), *options.label_columns, *options.columns, *options.drop]
    twice = sorted({column for column in [*named, *options.static] if named.count(column) > 1})
    other = [*options.label_columns, *options.columns, *options.drop]
    twice += sorted({column for column in options.static if column in other})
    if twice:
        problems.append(f"{', '.join(twice)} named for two purposes. Expected one for each column")
    if problems:
        raise WronglyCalled(
            f"The options of kind series_table do not fit together: {'; '.join(problems)}. "
            "Give them to `millrace init` again."
        )


def _is_step(step: float | str) -> bool:
    try:
        return step in ("auto", "months") or 1e-6 <= float(step) <= LONGEST_STEP
    except ValueError:
        return False
