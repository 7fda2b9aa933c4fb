"""What `millrace init --kind series_table --set name=value` may say about tables of series with time stamps."""

from typing import Literal

from msgspec import Struct

from pipeline.runtime import WronglyCalled
from pipeline.sources.column_batches import Writing
from pipeline.sources.dialects import DelimiterOption
from pipeline.sources.text_file import EncodingOption
from pipeline.sources.time_grid import Duplicates, Gaps, Policy


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


def writing_of(options: Options) -> Writing:
    """Return what the user stated about how text files are written."""
    return Writing(options.delimiter, options.encoding)


def policy_of(options: Options) -> Policy:
    """Return what happens where time stamps are not regular."""
    seconds = None if options.step in ("auto", "months") else float(options.step)
    months = {"auto": None, "months": True}.get(str(options.step), False)
    return Policy(seconds, months, options.gaps, options.duplicates, options.off_grid)


def check_options(options: Options) -> None:
    """Refuse options that contradict each other.

    Raises:
        WronglyCalled: Naming all contradictions.
    """
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
