"""Series with time stamps in long tables: one row per series and step, as CSV, TSV or Parquet.

Every row is read once, batch by batch; what stays in memory are times and values (float32). Each series is
then brought to a regular grid (`pipeline/sources/time_grid.py`).
"""

import tarfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pyarrow.compute as pc

from pipeline.runtime import DataRefused
from pipeline.sources import file_names
from pipeline.sources.anomaly_windows import MEMBER, SUFFIXES, Windows, read_windows
from pipeline.sources.column_batch import Batch
from pipeline.sources.column_batches import batches, written_in_words
from pipeline.sources.column_cells import NUMBER_FIX, TimeReader, name_cells, number_cells
from pipeline.sources.file_names import stem_of
from pipeline.sources.problems import Problems, shown
from pipeline.sources.raw_sample import RawSample
from pipeline.sources.series_facts import facts, side_kinds
from pipeline.sources.series_rows import OneSeries, SeriesRows
from pipeline.sources.series_table_columns import Columns, choose_columns
from pipeline.sources.series_table_options import Options, check_options, policy_of, writing_of
from pipeline.sources.table_values import TIME_FIX, Cell, SideKind
from pipeline.sources.time_grid import HOUR, Grid, Rows, on_grid

__all__ = ["LAYOUT", "Options", "describe", "read", "select"]

LAYOUT = (
    "tables (.csv, .tsv, .parquet) with a column of time stamps, --set time=, and columns of numbers; one series "
    "per file, or per value of the column that --set id= names"
)
STATIC_FIX = (
    "Give a series one value in all its rows, or do not name the column as static, label, target or group."
)


def select(names: Sequence[str], options: Options) -> dict[str, str]:
    """Return the tables among `names`, from the folder that holds them all, and the anomaly windows.

    Raises:
        DataRefused: No table, or not one file for the anomaly windows.
        WronglyCalled: The options contradict each other.
    """
    check_options(options)
    chosen = file_names.choose(names, SUFFIXES, options.files, LAYOUT)
    if options.anomaly_windows:
        wanted = options.anomaly_windows
        found = [name for name in names if f"/{name}".endswith(f"/{wanted}")]
        if len(found) != 1:
            raise DataRefused(
                f"The file of anomaly windows is not clear. Expected one file called {wanted}. "
                f"Received: {', '.join(found) or 'none'}. Give --set anomaly_windows=FOLDER/FILE.json."
            )
        chosen[MEMBER] = found[0]
    return chosen


def describe(archive: tarfile.TarFile, options: Options) -> list[str]:
    """Return, per file, how it is read, in words; detected parts are marked as such.

    Raises:
        DataRefused: An encoding cannot be told.
    """
    return [written_in_words(archive, member, writing_of(options)) for member in _members(archive)]


def read(archive: tarfile.TarFile, options: Options) -> Iterator[RawSample]:
    """Yield the series in order of their ids, each on a regular grid.

    Raises:
        DataRefused: Cells, time stamps or columns that do not fit; up to 20 problems together.
        WronglyCalled: The options contradict each other.
    """
    check_options(options)
    problems = Problems()
    members = _members(archive)
    columns = choose_columns(archive, members, options, problems)
    problems.check()
    table = _Table(columns, options, problems)
    for member in members:
        times = TimeReader(options.time_format)
        for batch in batches(archive, member, columns.names, writing_of(options), problems):
            table.append(batch, times)
    if not table.keys:
        problems.add(", ".join(members), "at least one row", "none", "Check the files.")
    problems.check()
    windows: dict[str, Windows] | None = None
    if options.anomaly_windows:
        windows = read_windows(archive, table.keys, problems)
        problems.check()
    yield from table.samples(windows)
    problems.check()


def _members(archive: tarfile.TarFile) -> list[str]:
    return sorted(name for name in archive.getnames() if name != MEMBER)


class _Table:
    """The rows of all files, and what they say about each series as a whole.

    Attributes:
        keys: Number of each series by its name: its id, or the file without suffix.
    """

    def __init__(self, columns: Columns, options: Options, problems: Problems) -> None:
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
        values = np.empty((len(batch), len(self._columns.channels)), np.float32)
        for index, channel in enumerate(self._columns.channels):
            values[:, index] = number_cells(batch, channel, self._problems)
        for column in self._columns.facts:
            self._take_fact(batch, column, keys)
        self._rows.append(batch, self._times_of(batch, times), keys, values)

    def _keys_of(self, batch: Batch) -> np.ndarray:
        """Return the number of the series of every row, int32, shape (rows,)."""
        if not self._options.id:
            return np.full(len(batch), self._key(stem_of(batch.member)), np.int32)
        encoded = pc.dictionary_encode(name_cells(batch, self._options.id))
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
        hours = number_cells(batch, self._options.hour, self._problems)
        wrong = ~((hours >= 0) & (hours < 24) & (hours % 1 == 0))
        for row in np.flatnonzero(wrong).tolist():
            received = shown(batch.columns[self._options.hour][row].as_py())
            self._problems.add(
                batch.place(row, self._options.hour), "a whole hour, 0 to 23", received, NUMBER_FIX
            )
        return times + np.where(wrong, 0, hours).astype(np.int64) * HOUR

    def _take_fact(self, batch: Batch, column: str, keys: np.ndarray) -> None:
        """Note the one value of every series in a column, and problems where there are two."""
        encoded = pc.dictionary_encode(name_cells(batch, column))
        values = encoded.dictionary.to_pylist()
        pairs = keys.astype(np.int64) * len(values) + encoded.indices.to_numpy()
        for pair, row in zip(*(part.tolist() for part in np.unique(pairs, return_index=True)), strict=True):
            key, value = divmod(pair, len(values))
            cell = Cell(batch.place(row, column), values[value])
            known = self._facts[key].setdefault(column, cell)
            if known.value != cell.value:
                expected = f"{shown(known.value)}, as at {known.place}"
                self._problems.add(cell.place, expected, shown(cell.value), STATIC_FIX)

    def samples(self, windows: Mapping[str, Windows] | None) -> Iterator[RawSample]:
        """Yield the series; the rows are gone afterwards."""
        names = sorted(self.keys)
        policy = policy_of(self._options)
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
        self, name: str, grid: Grid, kinds: Mapping[str, SideKind], windows: Mapping[str, Windows] | None
    ) -> RawSample:
        options = self._options
        said = facts(
            self._facts[self.keys[name]],
            label=options.label,
            target=options.target,
            group=options.group,
            kinds=kinds,
            problems=self._problems,
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
