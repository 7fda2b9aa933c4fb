"""Series in arrays of NumPy: `X.npy` and `y.npy`, with `_train` and `_test` where the split is given, or a `.npz`.

One row of X is a series, shape (steps,) or with several channels; the same row of y its class or target. Steps without
a value at the end of a row make a shorter series.
"""

import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np
from msgspec import Struct

from pipeline.formats.cells import LARGEST, is_blank, plain_name
from pipeline.formats.npy import SUFFIXES, ArrayFile, array_names, opened_array, whole
from pipeline.formats.problems import Problems, shown, to_set, without_padding
from pipeline.formats.tables import Unlabelled
from pipeline.formats.text_file import open_member
from pipeline.raw.sample import SPLITS, GivenSplit, RawSample, check_splits, choose_files
from pipeline.runtime.errors import DataRefused, WronglyCalled

LAYOUT = (
    "arrays of NumPy: X.npy (a series per row) and y.npy (its class), also X_train.npy and y_train.npy with X_test.npy "
    "and y_test.npy, or one .npz with these names; other names: --set x=NAME, y=NAME"
)
XS = ("x", "data", "series", "signals", "inputs")
YS = ("y", "label", "labels", "target", "targets", "class", "classes")
WORD = re.compile(rf"(?:(.*?)[-_. ]?({'|'.join(SPLITS)})|({'|'.join(SPLITS)})[-_. ]?(.*?)|(.*?))")
VALUE_FIX = "Correct the array; a missing value is NaN."
ANSWER_FIX = (
    "Write one class per row, as a name or a whole number, or its target with --set answer=target; series without one "
    "are left out, counted: --set unlabelled=leave_out."
)


class Options(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Which arrays there are, and what their axes and values mean."""

    x: str = ""
    """Name of the array of series, without train, val or test; "": X, data, series, signals or inputs."""
    y: str = ""
    """Name of the array of answers; "": y, labels, target, classes and their like; none: there is none."""
    answer: Literal["label", "target"] = "label"
    """Whether y holds classes, or numbers that regression predicts."""
    group: str = ""
    """Name of an array with the person, machine or place of every series."""
    unlabelled: Unlabelled = "fail"
    """Series with an empty name or NaN for an answer: fail, reject them, which counts against data.max_rejected_share,
    or leave them out, which is counted apart."""
    axes: Literal["auto", "steps_channels", "channels_steps"] = "auto"
    """Order of the last two axes of X, where it has three: must be said."""
    files: str = ""
    """Glob that chooses files; "" for all .npy and .npz."""


@dataclass(frozen=True)
class _Part:
    """The arrays of one split: each as (file, array in it).

    Attributes:
        split: What the names say; None for nothing.
        arrays: By `x`, `y` and `group`.
    """

    split: GivenSplit | None
    arrays: Mapping[str, tuple[str, str]]


def select(names: Sequence[str], options: Options) -> dict[str, str]:
    """Return the files of arrays among `names`, named from the folder that holds them all.

    Raises:
        DataRefused: No such file.
    """
    return choose_files(
        [name for name in names if name.lower().endswith(SUFFIXES)], SUFFIXES, options.files, LAYOUT
    )


def describe(archive: tarfile.TarFile, options: Options) -> list[str]:
    """Return which arrays are read, and how their axes are understood.

    Raises:
        DataRefused: Arrays are missing, doubled or damaged, or their axes are not clear.
    """
    described = []
    for part in _parts(archive, options):
        member, name = part.arrays["x"]
        with open_member(archive, member) as file, opened_array(file, member, name) as array:
            _check_series(array, options)
            answer = part.arrays.get("y")
            words = f"{array.shape[0]:,} series of {_in_words(array, options)}"
            described.append(f"{array.place}: {words}, answers in {answer[1] if answer else 'no array'}")
    return described


def read(archive: tarfile.TarFile, options: Options) -> Iterator[RawSample]:
    """Yield the series, test before train before val, row by row, as `series_archive` does.

    Raises:
        DataRefused: Arrays are missing, doubled, damaged or of unequal length, or hold what is no value or no class.
        WronglyCalled: The options contradict each other.
    """
    problems = Problems()
    for part in _parts(archive, options):
        yield from _samples(archive, part, options, problems)
    problems.check()


def _parts(archive: tarfile.TarFile, options: Options) -> list[_Part]:
    """Return the arrays of every split, in the order of their samples."""
    wanted = {"x": [options.x.casefold()] if options.x else list(XS)}
    if options.y.casefold() != "none":
        wanted["y"] = [options.y.casefold()] if options.y else list(YS)
    if options.group:
        wanted["group"] = [options.group.casefold()]
    named = [name for names in wanted.values() for name in names]
    if len(set(named)) < len(named):
        raise WronglyCalled(
            "The options of kind series_arrays name one array twice. Expected x, y and group to differ."
        )
    found: dict[str, dict[str, tuple[str, str]]] = {}
    known = []
    for member in sorted(archive.getnames()):
        with open_member(archive, member) as file:
            arrays = array_names(file, member)
        for array in arrays:
            known.append(f"{member}: {array}" if member.lower().endswith(".npz") else member)
            base, split = _named(member, array)
            for role in [role for role, names in wanted.items() if base in names]:
                part = found.setdefault(split, {})
                if role in part:
                    raise _unclear(f"{member} and {part[role][0]} for {role}", known)
                part[role] = (member, array)
    if not found or any(part.keys() != wanted.keys() for part in found.values()):
        absent = [
            f"{role} for {split or 'the series'}"
            for split, part in found.items()
            for role in wanted
            if role not in part
        ]
        raise _unclear(f"no array {', '.join(absent) or 'x'}", known)
    check_splits({split or "(none)": SPLITS.get(split) for split in found})
    parts = [_Part(SPLITS.get(split), part) for split, part in found.items()]
    return sorted(parts, key=lambda part: part.split or "")


def _unclear(received: str, known: Sequence[str]) -> DataRefused:
    names = [name.rpartition(": ")[2] for name in known if ": " in name]
    pair = (
        f"If the first holds the series and the second their answers: {to_set('x', names[0])} {to_set('y', names[1])}. "
        if len(names) == len(known) == 2
        else ""
    )
    return DataRefused(
        f"It is not clear which arrays belong together. Expected {LAYOUT}; without answers: --set y=none. Received: "
        f"{received}, among {', '.join(known[:20])}. {pair}Name them, or choose: --set files=GLOB."
    )


def _named(member: str, array: str) -> tuple[str, str]:
    """Return the name of an array without its split, and the split: that of the array, the file or its folder."""
    base, split = _without_split(array)
    if not split and member.lower().endswith(".npz"):
        split = _without_split(PurePosixPath(member).stem)[1]
    folder = PurePosixPath(member).parent.name.casefold()
    return base, split or (folder if folder in SPLITS else "")


def _without_split(name: str) -> tuple[str, str]:
    match = WORD.fullmatch(name.casefold())
    if match is None or match[5] is not None:
        return name.casefold(), ""
    return (match[1], match[2]) if match[2] else (match[4], match[3])


def _check_series(array: ArrayFile, options: Options) -> None:
    if array.dtype.kind not in "biuf" or len(array.shape) not in (2, 3) or 0 in array.shape:
        raise DataRefused(
            f"{array.place} holds no series. Expected numbers of shape (series, steps), or with channels. "
            f"Received: {array.dtype} of shape {array.shape}. Name the right array: --set x=NAME."
        )
    if len(array.shape) == 3 and options.axes == "auto":
        _, second, third = array.shape
        raise DataRefused(
            f"{array.place} has shape {array.shape}, and nobody says what its axes are. Expected --set "
            f"axes=steps_channels ({second} steps of {third} channels, as Keras has it) or axes=channels_steps ("
            f"{second} channels of {third} steps, as aeon has it). Received: axes=auto. Give one to `millrace init`."
        )


def _in_words(array: ArrayFile, options: Options) -> str:
    if len(array.shape) == 2:
        return f"{array.shape[1]} steps"
    steps, channels = array.shape[1:] if options.axes == "steps_channels" else array.shape[:0:-1]
    return f"{steps} steps and {channels} channels"


def _samples(
    archive: tarfile.TarFile, part: _Part, options: Options, problems: Problems
) -> Iterator[RawSample]:
    answers, groups = (_column(archive, part.arrays.get(role)) for role in ("y", "group"))
    member, name = part.arrays["x"]
    prefix = f"{part.split}/" if part.split else ""
    with open_member(archive, member) as file, opened_array(file, member, name) as array:
        _check_series(array, options)
        for column in (answers, groups):
            if column is not None and len(column.values) != array.shape[0]:
                raise DataRefused(
                    f"{column.place} does not belong to {array.place}. Expected {array.shape[0]} rows in both. "
                    f"Received: {len(column.values)}. Save them from the same series."
                )
        number = 0
        for rows in array.rows():
            for row in rows:
                place = f"{array.place}, row {number}"
                series = _series(row, place, options, problems)
                label, target, group = "", None, ""
                if answers is not None and options.unlabelled != "fail" and is_blank(answers.values[number]):
                    pass  # see `pipeline.raw.answers`
                elif answers is not None and options.answer == "target":
                    target = answers.number(number, problems)
                elif answers is not None:
                    label = answers.name(number, problems)
                if groups is not None:
                    group = groups.name(number, problems)
                # Nothing is passed on once something is wrong: the files are refused as a whole then.
                if not problems.count:
                    yield RawSample(
                        f"{prefix}{number:08d}",
                        label,
                        part.split,
                        series=series,
                        channels=tuple(str(channel) for channel in range(1, series.shape[1] + 1)),
                        target=target,
                        group=group,
                    )
                number += 1


def _series(row: np.ndarray, place: str, options: Options, problems: Problems) -> np.ndarray:
    """Return a row as a series, float32, shape (steps, channels)."""
    steps = row[:, None] if row.ndim == 1 else row if options.axes == "steps_channels" else row.T
    values = steps.astype(np.float64)
    wrong = np.argwhere(np.abs(values) > LARGEST)
    if len(wrong):
        step, channel = wrong[0].tolist()
        where = f"{place}, step {step}, channel {channel + 1}"
        problems.add(
            where, "a number below 3.4e38 (float32), or NaN", shown(float(values[step, channel])), VALUE_FIX
        )
    series = without_padding(
        values.astype(np.float32) if not len(wrong) else np.zeros(values.shape, np.float32)
    )
    if not len(series):
        problems.add(place, "at least one value", "none", VALUE_FIX)
    return series


@dataclass(frozen=True)
class _Column:
    """An array with one value per series."""

    place: str
    values: list[Any]

    def name(self, row: int, problems: Problems) -> str:
        """Return a class or group; "" and a problem for what is none."""
        value = self.values[row]
        name = plain_name(value.strip(" \t") if isinstance(value, str) else value)
        if not name or "\0" in name:
            problems.add(f"{self.place}, row {row}", "a name or a whole number", shown(value), ANSWER_FIX)
        return name or ""

    def number(self, row: int, problems: Problems) -> float | None:
        """Return a target; None and a problem for what is none."""
        value = self.values[row]
        if isinstance(value, str) or not abs(float(value)) <= LARGEST:
            problems.add(f"{self.place}, row {row}", "a number", shown(value), ANSWER_FIX)
            return None
        return float(value)


def _column(archive: tarfile.TarFile, where: tuple[str, str] | None) -> _Column | None:
    if where is None:
        return None
    with open_member(archive, where[0]) as file, opened_array(file, *where) as array:
        values = whole(array) if array.dtype.kind in "biufUS" else np.empty(0)
        if array.dtype.kind not in "biufUS" or array.shape not in [(len(values),), (len(values), 1)]:
            raise DataRefused(
                f"{array.place} has no value per series. Expected names or numbers of shape (series,). Received: "
                f"{array.dtype} of shape {array.shape}. One column per class is made a class by `y.argmax(axis=1)`."
            )
        flat = values.reshape(-1)
        try:
            texts = np.char.decode(flat.astype(np.bytes_), "utf-8") if array.dtype.kind == "S" else flat
        except UnicodeError as error:
            raise DataRefused(
                f"{array.place} holds what is no text. Expected Unicode (bytes: UTF-8). Received: {error}. "
                "Write names by `numpy.save(PATH, names.astype(str))`."
            ) from error
    return _Column(array.place, texts.tolist())
