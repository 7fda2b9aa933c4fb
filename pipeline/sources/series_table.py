"""Series with time stamps in long tables: one row per series and step, as CSV, TSV or Parquet.

Every row is read once, batch by batch; what stays in memory are times and values (float32). Each series is
then brought to a regular grid (`pipeline/formats/time_grid.py`).
"""

import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from pipeline.formats import tables
from pipeline.formats.cells import (
    NUMBER_FIX,
    TIME_FIX,
    Cell,
    SideKind,
    TimeReader,
    Unlabelled,
    iso_time,
    name_cells,
    number_cells,
    without_blank_end,
)
from pipeline.formats.delimited import Batch, DelimiterOption
from pipeline.formats.problems import Problems, shown
from pipeline.formats.tables import Writing, read_table
from pipeline.formats.text_file import EncodingOption, open_member
from pipeline.formats.time_grid import (
    HOUR,
    Duplicates,
    Gaps,
    Grid,
    OneSeries,
    Policy,
    Rows,
    SeriesRows,
    on_grid,
)
from pipeline.runtime.errors import DataRefused, WronglyCalled
from pipeline.sources.sample import RawSample, choose_files, stem_of
from pipeline.sources.series_facts import facts, side_kinds

LAYOUT = (
    "tables (.csv, .tsv, .parquet) with a column of time stamps, --set time=, and columns of numbers; one series "
    "per file, or per value of the column that --set id= names"
)
PARQUET = (".parquet", ".pq")
SUFFIXES = (".csv", ".tsv", ".tab", *PARQUET)
WINDOWS = "anomaly_windows.json"
"""Labelled anomalies, as the Numenta Anomaly Benchmark writes them: per file a list of first and last times."""
COLUMNS_FIX = "Name the right columns: --set time=, id=, columns=, drop=."
WINDOWS_FIX = (
    'Write {"folder/file.csv": [["2014-04-01 05:00:00", "2014-04-01 08:00:00"]]}, with [] for no anomaly.'
)
Spans = list[tuple[int, int]]
STATIC_FIX = (
    "Give a series one value in all its rows, or do not name the column as static, label, target or group."
)


class Options(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Which columns a table has, and what happens where its time stamps are not regular."""

    time: str = "time"
    """Column of time stamps."""
    hour: str = ""
    """Column of whole hours that are added to `time`, where that is only a date."""
    time_format: str = "auto"
    """`auto`: ISO 8601, or 2026-11 for a month; else a format of strptime, or Unix `seconds`, `milliseconds`."""
    id: str = ""
    """Column that tells series apart, its values as they stand; "": every file is one series."""
    columns: tuple[str, ...] = ()
    """Columns of numbers that make the series; (): all that nothing else is said about."""
    drop: tuple[str, ...] = ()
    """Columns that are left out."""
    label: str = ""
    """Column with the class of a series: one value in all of its rows, as for the next three."""
    target: str = ""
    """Column with a number that regression predicts."""
    unlabelled: Unlabelled = "fail"
    """Series without label or target: fail, or leave them out, which is counted."""
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
    gaps: Gaps = "fill"
    """Steps without a row: fill them with missing values, hold the row before (a source that writes a row when
    something happens), or fail."""
    duplicates: Duplicates = "fail"
    """Several rows of a series at one step: fail, or take the first, the last or the mean."""
    off_grid: Literal["fail", "nearest"] = "fail"
    """A row between two steps: fail, or move it to the nearest step."""
    files: str = ""
    """Glob that chooses files; "" for all with a known suffix."""
    delimiter: DelimiterOption = "auto"
    """Of text files: auto, comma, tab, semicolon or pipe."""
    encoding: EncodingOption = "auto"
    """Of text files: auto, utf-8, cp1252 or latin-1."""


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
            described.append(tables.describe_table(file, member, _writing(options, member)))
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
            headers[member] = read_table(file, member, _writing(options, member), problems).columns or ()
    problems.check()
    columns = _choose_columns(headers, options, problems)
    problems.check()
    table = _Table(columns, options, problems)
    for member in members:
        times = TimeReader(options.time_format)
        with open_member(archive, member) as file:
            opened = read_table(file, member, _writing(options, member), problems)
            batches = opened.batches(columns.names)
            for batch in without_blank_end(batches) if opened.dialect else batches:
                table.append(batch, times)
    if not table.keys:
        problems.add(", ".join(members), "at least one row", "none", "Check the files.")
    problems.check()
    windows: dict[str, Spans] | None = None
    if options.anomaly_windows:
        windows = _read_windows(archive, table.keys, problems)
        problems.check()
    yield from table.samples(windows)
    problems.check()


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
    said = tuple(dict.fromkeys(filter(None, [options.label, options.target, options.group, *options.static])))
    keys = tuple(filter(None, [options.time, options.hour, options.id]))
    channels, first = options.columns, next(iter(headers))
    for member, names in headers.items():
        rest = tuple(name for name in names if name not in (*keys, *said, *options.drop))
        channels = channels or rest
        for missing in [name for name in (*keys, *said, *channels, *options.drop) if name not in names]:
            problems.add(f"{member}, header", f"a column {missing!r}", shown(", ".join(names)), COLUMNS_FIX)
        if not options.columns:
            for name in set(rest) - set(channels):
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
        self._problems = problems
        self._rows = SeriesRows(len(columns.channels))
        self._facts: list[dict[str, Cell]] = []
        self._has_offset: bool | None = None

    def append(self, batch: Batch, times: TimeReader) -> None:
        """Take the rows of a batch."""
        keys = self._keys_of(batch)
        values = number_cells(batch, self._columns.channels, self._problems).astype(np.float32)
        for column in self._columns.facts:
            self._take_fact(batch, column, keys)
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
        hours = number_cells(batch, [self._options.hour], self._problems)[:, 0]
        wrong = ~((hours >= 0) & (hours < 24) & (hours % 1 == 0))
        for row in np.flatnonzero(wrong).tolist():
            received = shown(batch.columns[self._options.hour][row].as_py())
            self._problems.add(
                batch.place(row, self._options.hour), "a whole hour, 0 to 23", received, NUMBER_FIX
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
                self._problems.add(cell.place, expected, shown(cell.value), STATIC_FIX)

    def samples(self, windows: Mapping[str, Spans] | None) -> Iterator[RawSample]:
        """Yield the series; the rows are gone afterwards."""
        names = sorted(self.keys)
        policy = _policy(self._options)
        kinds = side_kinds(self._facts, self._options.static, self._options.categorical)
        for name, rows in zip(names, self._rows.series([self.keys[name] for name in names]), strict=True):
            place = partial(self._place, rows)
            grid = on_grid(rows.times, rows.values, policy, Rows(name, place, self._problems))
            sample = self._sample(name, grid, kinds, windows) if grid else None
            # Nothing is passed on once something is wrong: the files are refused as a whole then.
            if sample and not self._problems.count:
                yield sample

    def _place(self, series: OneSeries, index: int) -> str:
        return self._rows.place(series.row(index))

    def _sample(
        self, name: str, grid: Grid, kinds: Mapping[str, SideKind], windows: Mapping[str, Spans] | None
    ) -> RawSample:
        options = self._options
        said = facts(
            self._facts[self.keys[name]],
            label=options.label,
            target=options.target,
            group=options.group,
            kinds=kinds,
            problems=self._problems,
            unlabelled=options.unlabelled,
        )
        return RawSample(
            name,
            series=grid.values,
            channels=self._columns.channels,
            time=grid.time + ("+00:00" if self._has_offset else ""),
            step_seconds=grid.step_seconds,
            anomalies=None if windows is None else grid.marked(windows[name]),
            **said,
        )


def _read_windows(archive: tarfile.TarFile, names: Iterable[str], problems: Problems) -> dict[str, Spans]:
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
            found[name] = _windows(content[entries[0]], f"{WINDOWS}, {entries[0]}", problems)
        else:
            problems.add(f"{WINDOWS}", f"one entry for {name}", str(len(entries)), WINDOWS_FIX)
    return found


def _is_for(key: str, name: str) -> bool:
    """Say whether an entry is for a series: the same name, with a suffix or with more folders before it."""
    stem = f"/{stem_of(key)}" if key.endswith(SUFFIXES) else f"/{key}"
    return stem.endswith(f"/{name}") or f"/{name}".endswith(stem)


def _windows(windows: Any, place: str, problems: Problems) -> Spans:
    found: Spans = []
    if not isinstance(windows, list):
        problems.add(place, "a list of windows", shown(windows), WINDOWS_FIX)
        return found
    for window in windows:
        times = [_time(time) for time in window] if isinstance(window, list) else []
        if len(times) == 2 and times[0] is not None and times[1] is not None and times[0] <= times[1]:
            found.append((times[0], times[1]))
        else:
            problems.add(place, "a first and a later last time", shown(window), WINDOWS_FIX)
    return found


def _time(text: Any) -> int | None:
    """Return a time as microseconds since 1970, or None."""
    try:
        cell = pa.scalar(text, pa.string())
    except (pa.ArrowException, TypeError, ValueError):
        return None  # no text, or half a surrogate pair
    wall_clock = iso_time(cell, None)
    return iso_time(cell, "UTC") if wall_clock is None else wall_clock


def _writing(options: Options, member: str) -> Writing:
    """Return how a file is read: Parquet by its suffix, or text."""
    form: Literal["parquet", "csv"] = "parquet" if member.lower().endswith(PARQUET) else "csv"
    return Writing(form, options.delimiter, "minimal", options.encoding, plain_names=True)


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
        problems.append(f"step={options.step}. Expected seconds above 0, months or auto")
    strangers = [column for column in options.categorical if column not in options.static]
    if strangers:
        problems.append(f"categorical names {', '.join(strangers)}. Expected columns that static names too")
    roles = [options.time, options.hour, options.id, options.label, options.target, options.group]
    named = [*filter(None, roles), *options.columns, *options.drop]
    twice = sorted({column for column in [*named, *options.static] if named.count(column) > 1})
    twice += sorted({column for column in options.static if column in [*options.columns, *options.drop]})
    if twice:
        problems.append(f"{', '.join(twice)} named for two purposes. Expected one for each column")
    if problems:
        raise WronglyCalled(
            f"The options of kind series_table do not fit together: {'; '.join(problems)}. "
            "Give them to `millrace init` again."
        )


def _is_step(step: float | str) -> bool:
    try:
        return step in ("auto", "months") or 0 < float(step) < float("inf")
    except ValueError:
        return False
