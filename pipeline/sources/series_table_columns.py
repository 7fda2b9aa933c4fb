"""Which column of a long table is what: channels, facts about a whole series, and those that are left out."""

import tarfile
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.sources.column_batches import column_names
from pipeline.sources.problems import Problems, shown
from pipeline.sources.series_table_options import Options, writing_of

FIX = "Name the right columns: --set time=, id=, columns=, drop=."


@dataclass(frozen=True)
class Columns:
    """The columns that are read, the same in all files.

    Attributes:
        channels: Numbers that make the series.
        facts: Columns with one value per series.
        names: All that are read.
    """

    channels: tuple[str, ...]
    facts: tuple[str, ...]
    names: tuple[str, ...]


def choose_columns(
    archive: tarfile.TarFile, members: Sequence[str], options: Options, problems: Problems
) -> Columns:
    """Return the columns to read, after comparing the headers of all files.

    Args:
        archive: Holds the tables.
        members: Their names.
        options: What the user said about columns.
        problems: Takes columns that are missing, or that only some files have.

    Raises:
        DataRefused: A file is damaged or has no usable header.
    """
    facts = tuple(
        dict.fromkeys(filter(None, [options.label, options.target, options.group, *options.static]))
    )
    keys = tuple(filter(None, [options.time, options.hour, options.id]))
    channels = options.columns
    for member in members:
        names = column_names(archive, member, writing_of(options))
        rest = tuple(name for name in names if name not in (*keys, *facts, *options.drop))
        channels = channels or rest
        for missing in [name for name in (*keys, *facts, *channels, *options.drop) if name not in names]:
            problems.add(f"{member}, header", f"a column {missing!r}", shown(", ".join(names)), FIX)
        if not options.columns:
            for name in set(rest) - set(channels):
                expected = f"the columns of {members[0]}"
                problems.add(f"{member}, header", expected, f"a column {name!r} too", FIX)
    if not channels:
        problems.add(f"{members[0]}, header", "at least one column of numbers for the series", "none", FIX)
    return Columns(channels, facts, (*keys, *facts, *channels))
