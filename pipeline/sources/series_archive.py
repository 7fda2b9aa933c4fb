"""Series of the UCR and UEA archives: `NAME_TRAIN` and `NAME_TEST` as .ts, .arff, .tsv or .txt.

Where a data set is there in several formats, one is read: that with more of the two files, then the one that
says most about itself (.ts before .arff before .tsv before .txt).
"""

import io
import re
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Literal

import numpy as np
from msgspec import Struct

from pipeline.formats import arff, ts
from pipeline.formats.problems import ARCHIVE_FIX, Problems, SeriesRow, shown
from pipeline.formats.text_file import open_member
from pipeline.raw.sample import GivenSplit, RawSample
from pipeline.runtime.errors import DataRefused

LAYOUT = (
    "NAME_TRAIN and NAME_TEST (the second may be missing) in one folder, as .ts, .arff, .tsv (class first) or "
    ".txt (class first, spaces or commas); if there are several data sets, --set name=NAME says which"
)
NAME = re.compile(r"(?P<name>.+)_(?P<part>TRAIN|TEST)\.(?P<format>ts|arff|tsv|txt)", re.IGNORECASE)
NO_LABEL = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ufffd]")
"""Control characters, line ends of other systems, and what stands in for bytes that are no UTF-8."""
SPLITS: dict[str, GivenSplit] = {"TRAIN": "train", "TEST": "test"}
Rows = Callable[[Iterator[str], str, Problems], Iterator[SeriesRow]]
READERS: dict[str, Rows] = {
    "ts": ts.rows,
    "arff": arff.rows,
    "tsv": ts.tsv_rows,
    "txt": ts.txt_rows,
}
"""In the order in which a format is preferred."""


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """What `millrace init --set` may say."""

    name: str = ""
    """The data set, where there are several: ECG200."""
    format: Literal["auto", "ts", "arff", "tsv", "txt"] = "auto"
    """Which files are read where a data set is there in several formats."""
    missing: Literal["keep", "fail"] = "keep"
    """What happens to missing values: they stay (and are filled in by features), or refuse the data."""


def select(names: Sequence[str], options: Options) -> dict[str, str]:
    """Return the files of one data set in one format, without their folder.

    Raises:
        DataRefused: No such files, several data sets and none named, files in several folders, or no
            `_TRAIN` file.
    """
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for given in names:
        match = NAME.fullmatch(PurePosixPath(given).name)
        if match and options.format in ("auto", match["format"].lower()):
            found[match["name"]][match["format"].lower()].append(given)
    if options.name not in found and (options.name or len(found) != 1):
        raise DataRefused(
            f"It is not clear which data set is meant. Expected {LAYOUT}. Received: "
            f"name={options.name or '(not set)'}, format={options.format}; there are "
            f"{', '.join(sorted(found)) or 'none'}. Give --set name=..., or point --path at its folder."
        )
    formats = found[options.name or next(iter(found))]
    best = max(READERS, key=lambda name: (len(_parts(formats.get(name, []))), -list(READERS).index(name)))
    chosen = formats[best]
    parts = _parts(chosen)
    if len(parts) != len(chosen) or "TRAIN" not in parts:
        raise DataRefused(
            f"These files are no data set. Expected one _TRAIN file and at most one _TEST file. "
            f"Received: {', '.join(chosen)}. Point --path at the folder with the right ones."
        )
    return {PurePosixPath(given).name: given for given in chosen}


def describe(archive: tarfile.TarFile, options: Options) -> list[str]:  # noqa: ARG001  # as every source
    """Return, per file, how it is read, in words."""
    return [
        f"{name}: {PurePosixPath(name).suffix}, one series per line" for name in sorted(archive.getnames())
    ]


def read(archive: tarfile.TarFile, options: Options) -> Iterator[RawSample]:
    """Yield the series, test before train, line by line.

    Raises:
        DataRefused: Lines that cannot be read or contradict the header (all of them, with line and value),
            no series at all, or a different number of channels in the two files.
    """
    members = sorted(_parts(archive.getnames()).items())
    problems = Problems()
    channels: int | None = None
    for part, member in members:
        split = SPLITS[part] if len(members) > 1 else None
        count = 0
        for count, row in enumerate(_rows(archive, member, problems), start=1):
            channels = row.series.shape[1] if channels is None else channels
            _check(row, f"{member}, line {row.line}", channels, options, problems)
            # Nothing is passed on once something is wrong: the files are refused as a whole below.
            if not problems.count:
                yield _sample(row, f"{split}/{count - 1:08d}" if split else f"{count - 1:08d}", split)
        if not count and not problems.count:
            problems.add(member, "at least one series", "none", ARCHIVE_FIX)
    problems.check()


def _parts(names: Sequence[str]) -> dict[str, str]:
    """Return the files by what they are for: TRAIN, TEST."""
    matches = {name: NAME.fullmatch(PurePosixPath(name).name) for name in names}
    return {match["part"].upper(): name for name, match in matches.items() if match}


def _rows(archive: tarfile.TarFile, member: str, problems: Problems) -> Iterator[SeriesRow]:
    # Comments may be in any encoding; among values and in classes a character that is no UTF-8 is refused.
    file = open_member(archive, member)
    with io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="\n") as lines:
        reader = READERS[PurePosixPath(member).suffix.lower().removeprefix(".")]
        yield from reader((line.rstrip("\r\n") for line in lines), member, problems)


def _check(row: SeriesRow, place: str, channels: int, options: Options, problems: Problems) -> None:
    if row.series.shape[1] != channels:
        problems.add(f"{place}, channels", f"{channels}, as before", str(row.series.shape[1]), ARCHIVE_FIX)
    if NO_LABEL.search(row.label):
        problems.add(f"{place}, class", "a class of printable UTF-8", shown(row.label), ARCHIVE_FIX)
    missing = int(np.isnan(row.series).sum())
    if missing and options.missing == "fail":
        fix = "Fill them in, or run `millrace init` again with --set missing=keep."
        problems.add(place, "no missing value (option missing=fail)", f"{missing} of them", fix)


def _sample(row: SeriesRow, sample_id: str, split: GivenSplit | None) -> RawSample:
    return RawSample(
        sample_id,
        row.label,
        split,
        series=row.series,
        channels=tuple(str(channel) for channel in range(1, row.series.shape[1] + 1)),
        target=row.target,
    )
