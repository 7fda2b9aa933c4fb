"""What `millrace init --kind series_files --set name=value` may say about files with one series each."""

from msgspec import Struct

from pipeline.runtime import WronglyCalled
from pipeline.sources.dialects import DelimiterOption
from pipeline.sources.text_file import EncodingOption


class Options(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Which files and columns there are, and how they are written."""

    files: str = ""
    """Glob of the series, `*` where the id stands; "" for all tables that are not named below."""
    targets: str = ""
    """Table with one row per series; its name, with folders where needed."""
    tables: tuple[str, ...] = ()
    """Further tables with one row per series."""
    id: str = ""
    """Column of the tables that the series are found by; "": their first."""
    label: str = ""
    """Column with the class."""
    target: str = ""
    """Column with the number that regression predicts."""
    group: str = ""
    """Column with the person, machine or place that a split must not tear apart."""
    split: str = ""
    """Column that says train, val or test."""
    side: tuple[str, ...] = ()
    """Columns that become side features."""
    categorical: tuple[str, ...] = ()
    """Those of `side` that are categories although they look like numbers."""
    columns: tuple[str, ...] = ()
    """Columns of the series; (): all."""
    drop: tuple[str, ...] = ()
    """Columns of the series that are left out."""
    header: bool = True
    """Whether the series have a first row of names; if not, their columns are called 1, 2, 3."""
    delimiter: DelimiterOption = "auto"
    """Of all files: auto, comma, tab, semicolon or pipe."""
    encoding: EncodingOption = "auto"
    """Of all files: auto, utf-8, cp1252 or latin-1."""


def check_options(options: Options) -> None:
    """Refuse options that contradict each other.

    Raises:
        WronglyCalled: Naming all contradictions.
    """
    problems = []
    columns = [*filter(None, [options.label, options.target, options.group, options.split]), *options.side]
    if columns and not tables_of(options):
        problems.append(f"no table is named that has {', '.join(columns)}. Expected --set targets=FILE")
    strangers = [column for column in options.categorical if column not in options.side]
    if strangers:
        problems.append(f"categorical names {', '.join(strangers)}. Expected columns that side names too")
    if problems:
        raise WronglyCalled(
            f"The options of kind series_files do not fit together: {'; '.join(problems)}. "
            "Give them to `millrace init` again."
        )


def tables_of(options: Options) -> list[str]:
    """Return the tables by the names the user gave; that of the targets comes first."""
    return [*filter(None, [options.targets]), *options.tables]
