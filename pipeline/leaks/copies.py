"""Copies across splits: what stands in train and again, exactly or nearly, where it is judged (leak L1.4).

Contents are hashed anew from the payload; that ingest and validate have looked for copies before is not
relied on. Series that are cut by time have no copies across splits: their segments are other steps.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.leaks.findings import HELD_OUT, Finding, LeakData

FIX = "Run `dvc repro validate`, so that copies are in one cluster and stay together, or remove them from the source."


def exact_copy_findings(data: LeakData) -> list[Finding]:
    """Return a finding if one content stands in two of train, val and test.

    Args:
        data: Samples and payload; texts, series and images alike.
    """
    if data.cut:
        return []
    used = np.flatnonzero(data.split_of != "excluded")
    rows = _across(_contents(data, used), data.split_of[used], used)
    if not len(rows):
        return []
    problem = (
        f"{len(rows)} samples have the same content as one in another split. Expected every content in one split. "
        f"Received: {_by_split(data, rows)}."
    )
    return [Finding("exact-copies", "L1.4", problem, FIX, data.ids(rows))]


def near_copy_findings(
    data: LeakData, text_similarity: float | None, series_distance: float | None
) -> list[Finding]:
    """Return a finding if near duplicates stand in two of train, val and test.

    Args:
        data: Samples and payload. Copies of images are taken from `validate` (its hashes are of the pixels,
            and comparing all again would cost as much again); texts and series are compared anew.
        text_similarity: From which Jaccard similarity of shingles two texts are near duplicates.
        series_distance: Up to which distance of their shapes two series are.
    """
    if data.cut:
        return []
    used = np.flatnonzero(data.split_of != "excluded")
    contents = _contents(data, used)
    keys = [data.clusters[row] for row in used]
    found = set(_across(keys, data.split_of[used], used).tolist())
    if data.kind == "text" and text_similarity is not None:
        from pipeline.duplicates.texts import find_text_duplicates

        near = find_text_duplicates(
            contents, [data.text(row) for row in used.tolist()], text_similarity
        ).cluster
        found |= set(_across(near.tolist(), data.split_of[used], used).tolist())
    elif data.kind == "series" and series_distance is not None:
        from pipeline.duplicates.series import find_series_duplicates

        width = len(data.samples.channels)
        parts = [data.part(row)[:, :width] for row in used.tolist()]
        near = find_series_duplicates(contents, parts, series_distance).cluster
        found |= set(_across(near.tolist(), data.split_of[used], used).tolist())
    rows = np.array(sorted(found - set(_across(contents, data.split_of[used], used).tolist())), np.int64)
    if not len(rows):
        return []
    problem = (
        f"{len(rows)} samples are nearly the same as one in another split. Expected near duplicates in one split. "
        f"Received: {_by_split(data, rows)}."
    )
    return [Finding("near-copies", "L1.4", problem, FIX, data.ids(rows))]


def _contents(data: LeakData, rows: np.ndarray) -> list[str]:
    """Return a hash of each sample; of one shape only if shape and bytes are the same."""
    contents = []
    for row in rows.tolist():
        part = np.ascontiguousarray(data.part(row))
        contents.append(hashlib.sha256(f"{part.shape}|".encode() + part.tobytes()).hexdigest())
    return contents


def _across(keys: Sequence[str], split_of: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the rows whose key stands in more than one split, ascending."""
    splits_of: dict[str, set[str]] = {}
    for key, split in zip(keys, split_of, strict=True):
        splits_of.setdefault(key, set()).add(split)
    return rows[[len(splits_of[key]) > 1 for key in keys]] if len(rows) else rows


def _by_split(data: LeakData, rows: np.ndarray) -> str:
    names, counts = np.unique(data.split_of[rows].astype(str), return_counts=True)
    return ", ".join(f"{count} in {name}" for name, count in zip(names, counts, strict=True))


# --- Stretches of series that stand in two places to the digit, found by hashes of every window of steps.
#
# A stretch counts if it says enough: noise repeats a hundred steps in no lifetime, while zeros, constants,
# ramps and a pattern of every day repeat all the time. So a stretch is no copy if what a series trains on
# holds it three times or more, or the whole series six times (its habit), or if its changes are so common
# that two stretches of this length meet by chance.
#
# Steps are compared as they are stored, float32: a copy in another unit is another series here. Memory is
# some 40 bytes per step of all series, whatever there is to find.

Range = tuple[int, int]
"""First row of the payload, row after the last."""
HABIT = 3
"""So many times in what one series trains on, and a stretch is what that series does."""
HABIT_ANYWHERE = 6
"""So many times in a whole series; its training part may be shorter than three days of a pattern of every day."""
SPARE_BITS = 40
"""Bits beyond those that number all pairs of windows; steps that depend on each other need the more."""
LEVELS = 1 << 18
"""Steps up to the largest value of a column by which differences are told apart: float32 has 2 ** 24."""
CHUNK_STEPS = 1 << 20
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_BASE = 0xD6E8FEB86659FD93


@dataclass(frozen=True)
class Stretch:
    """The same steps in two places.

    Attributes:
        held_out: Row of the payload at which it begins where it is judged.
        train: Row at which it begins where it trains.
        steps: How many there are.
    """

    held_out: int
    train: int
    steps: int


def copied_stretches(
    payload: np.ndarray,
    columns: Sequence[int],
    series: Sequence[Range],
    train: Sequence[Range],
    held_out: Sequence[Range],
    *,
    shortest: int,
) -> list[Stretch]:
    """Return stretches that are judged and stand in train as well, in the order of the payload.

    Args:
        payload: float32 (total_steps, columns), NaN where a value is missing; may be memory-mapped.
        columns: Those that must all be the same.
        series: Where each series lies.
        train: Segments that train, each within a series.
        held_out: Segments that choose or judge.
        shortest: Steps a copy must have at least.

    Returns:
        One entry per stretch, with the first place in train that has it.
    """
    if len(payload) < shortest:
        return []
    windows = _window_hashes(_step_hashes(payload, columns), shortest)
    at = _members(windows, held_out, _hashes_in(windows, train, shortest), shortest)
    if len(at):
        habits = _habits(windows, series, train, _counted(windows[at])[0], shortest)
        at = at[~np.isin(windows[at], habits, kind="sort")]
    if not len(at):
        return []
    wanted, inverse = np.unique(windows[at], return_inverse=True)
    places = _members(windows, train, wanted, shortest)
    _, first = np.unique(windows[places], return_index=True)
    runs = _runs(at, places[first][inverse], shortest)
    pairs = sum(stop - start for start, stop in train) * sum(stop - start for start, stop in held_out)
    bits = _bits(payload, columns)
    needed = np.log2(pairs) + SPARE_BITS
    return [
        run
        for run in runs
        if bits[run.held_out + 1 : run.held_out + run.steps].sum(dtype=np.float64) >= needed
        and np.array_equal(
            _steps(payload, columns, run.held_out, run), _steps(payload, columns, run.train, run)
        )
    ]


def _steps(payload: np.ndarray, columns: Sequence[int], start: int, run: Stretch) -> np.ndarray:
    return np.asarray(payload[start : start + run.steps])[:, list(columns)]


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Return uint64 numbers of which every bit depends on every bit of those given (the mixer of splitmix64)."""
    mixed = numbers + _MIX[0]
    mixed ^= mixed >> np.uint64(30)
    mixed *= _MIX[1]
    mixed ^= mixed >> np.uint64(27)
    mixed *= _MIX[2]
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _step_hashes(payload: np.ndarray, columns: Sequence[int]) -> np.ndarray:
    """Return a hash of each step, uint64 (total_steps,); a step with a missing value is like no other."""
    hashes = np.empty(len(payload), np.uint64)
    for start in range(0, len(payload), CHUNK_STEPS):
        chunk = np.asarray(payload[start : start + CHUNK_STEPS])[:, list(columns)]
        own = _row_hashes((chunk + np.float32(0)).view(np.uint32))  # + 0: -0.0 is 0.0
        missing = np.flatnonzero(np.isnan(chunk).any(axis=1))
        own[missing] = _mixed((missing + start).astype(np.uint64) + _MIX[1])
        hashes[start : start + len(own)] = own
    return hashes


def _row_hashes(table: np.ndarray) -> np.ndarray:
    """Return a hash per row of whole numbers, uint64."""
    hashes = np.zeros(len(table), np.uint64)
    for column in range(table.shape[1]):
        hashes = _mixed(hashes ^ table[:, column].astype(np.uint64))
    return hashes


def _window_hashes(steps: np.ndarray, length: int) -> np.ndarray:
    """Return a hash of the `length` steps from each step on, uint64 (len(steps) - length + 1,).

    The hash of m steps is a polynomial in the hashes of each; that of 2 m is made of two of m, so that a window
    of any length takes a few passes.
    """
    hashes, covered = steps, 1
    for bit in f"{length:b}"[1:]:
        hashes = hashes[:-covered] * np.uint64(pow(_BASE, covered, 1 << 64)) + hashes[covered:]
        covered *= 2
        if bit == "1":
            hashes = hashes[:-1] * np.uint64(_BASE) + steps[covered:]
            covered += 1
    return hashes


def _hashes_in(windows: np.ndarray, ranges: Sequence[Range], length: int) -> np.ndarray:
    """Return the sorted hashes of all windows that lie within one of the ranges."""
    parts = [windows[start : max(start, stop - length + 1)] for start, stop in ranges]
    hashes = np.concatenate([np.empty(0, np.uint64), *parts])
    hashes.sort()
    return hashes


def _members(windows: np.ndarray, ranges: Sequence[Range], wanted: np.ndarray, length: int) -> np.ndarray:
    """Return the rows, ascending, at which a window within one of the ranges has one of the sorted hashes."""
    found = [np.empty(0, np.int64)]
    for start, stop in sorted(ranges) if len(wanted) else ():
        for first in range(start, stop - length + 1, CHUNK_STEPS):
            own = windows[first : min(first + CHUNK_STEPS, stop - length + 1)]
            order = np.argsort(own)  # in order, a search finds its neighbours in the cache
            near = np.minimum(np.searchsorted(wanted, own[order]), len(wanted) - 1)
            found.append(np.sort(first + order[wanted[near] == own[order]]))
    return np.concatenate(found)


def _habits(
    windows: np.ndarray, series: Sequence[Range], train: Sequence[Range], wanted: np.ndarray, length: int
) -> np.ndarray:
    """Return those of the sorted hashes that one series has often enough, in its training part or altogether.

    What is judged counts for less: a copy that was pasted twice there would excuse itself.
    """
    habits = [np.empty(0, np.uint64)]
    for first, last in series:
        own = [(start, stop) for start, stop in train if first <= start and stop <= last]
        for ranges, enough in ((own, HABIT), ([(first, last)], HABIT_ANYWHERE)):
            hashes, counts = _counted(windows[_members(windows, ranges, wanted, length)])
            habits.append(hashes[counts >= enough])
    return _counted(np.concatenate(habits))[0]


def _counted(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the different hashes, sorted, and how often each one comes; np.unique takes far longer for millions."""
    ordered = np.sort(hashes)
    new = np.ones(len(ordered), bool)
    new[1:] = ordered[1:] != ordered[:-1]
    firsts = np.flatnonzero(new)
    return ordered[firsts], np.diff(firsts, append=len(ordered))


def _runs(held_out: np.ndarray, train: np.ndarray, length: int) -> list[Stretch]:
    """Return windows that follow each other in both places as one stretch each."""
    breaks = np.flatnonzero((np.diff(held_out) != 1) | (np.diff(train) != 1)) + 1
    starts = np.concatenate([[0], breaks])
    ends = np.concatenate([breaks, [len(held_out)]])
    return [
        Stretch(int(held_out[start]), int(train[start]), int(end - start) + length - 1)
        for start, end in zip(starts, ends, strict=True)
    ]


def _bits(payload: np.ndarray, columns: Sequence[int]) -> np.ndarray:
    """Return how much each step says, float32 (total_steps,): how rare the change is that leads to it, in bits.

    A change like the one before says nothing, so that constants and ramps are silent.
    """
    changes = np.zeros(len(payload), np.uint64)
    largest = np.zeros(len(columns))
    for start in range(0, len(payload), CHUNK_STEPS):
        chunk = np.abs(np.asarray(payload[start : start + CHUNK_STEPS])[:, list(columns)])
        largest = np.fmax(largest, np.nanmax(np.where(np.isfinite(chunk), chunk, 0), axis=0))
    unit = np.where(largest > 0, largest, 1) / LEVELS
    for start in range(0, len(payload), CHUNK_STEPS):
        chunk = np.asarray(payload[max(start - 1, 0) : start + CHUNK_STEPS], np.float64)[:, list(columns)]
        levels = np.rint(np.diff(np.nan_to_num(chunk), axis=0) / unit).astype(np.int64)
        own = _row_hashes(levels.view(np.uint64))
        stop = min(start + CHUNK_STEPS, len(payload))
        changes[stop - len(own) : stop] = own
    names, counts = _counted(changes)
    rarity = np.log2(len(payload) / counts).astype(np.float32)
    bits = np.empty(len(payload), np.float32)
    for start in range(0, len(payload), CHUNK_STEPS):
        own = changes[start : start + CHUNK_STEPS]
        bits[start : start + len(own)] = rarity[np.searchsorted(names, own)]
    bits[1:][changes[1:] == changes[:-1]] = 0
    return bits


# --- Stretches of series under windows that train and are judged elsewhere, to the digit (leak L1.4).
#
# The same meter exported twice under two names, one export later than the other, or an outage filled with the
# readings of another month: a model has seen there what it is asked.

SHORTEST = 24
"""Steps a copy must have where windows judge fewer."""
NAMED = 5
"""Stretches named in a message, the longest first."""
Places = list[tuple[int, str, str]]
"""First row of the payload, name of the series, split; ascending."""


def stretch_findings(data: LeakData) -> list[Finding]:
    """Return a finding if a stretch of val or test stands in train as well, of another series or of its own.

    Looked at are the columns that are predicted, together; without any all of them. What is known in advance
    may repeat, as calendars do.

    Args:
        data: Series under windows.
    """
    windows = data.windows
    if windows is None or data.kind != "series":
        return []
    channels, samples = data.samples.channels, data.samples
    columns = [channels.index(name) for name in windows.targets or channels]
    train = data.split.named_segments(samples, "train")
    held_out = {split: data.split.named_segments(samples, split) for split in HELD_OUT}
    found = copied_stretches(
        data.payload,
        columns,
        list(zip(samples.starts.tolist(), (samples.starts + samples.lengths).tolist(), strict=True)),
        [(start, stop) for _, start, stop in train],
        [(start, stop) for segments in held_out.values() for _, start, stop in segments],
        shortest=max(windows.horizon or windows.length, SHORTEST),
    )
    if not found:
        return []
    places = sorted(
        (start, name, split)
        for split, segments in {"train": train, **held_out}.items()
        for name, start, _ in segments
    )
    return [_finding(data, found, places)]


def _finding(data: LeakData, found: list[Stretch], places: Places) -> Finding:
    begins = dict(zip(data.samples.sample_ids, data.samples.starts.tolist(), strict=True))

    def told(row: int, steps: int) -> tuple[str, str, str]:
        _, name, split = places[bisect_right(places, row, key=lambda place: place[0]) - 1]
        first = row - begins[name]
        return f"{first} to {first + steps - 1} of {name}", name, split

    longest = sorted(found, key=lambda stretch: (-stretch.steps, stretch.held_out))
    lines, names = (
        [],
        dict.fromkeys(told(row, 1)[1] for stretch in found for row in (stretch.held_out, stretch.train)),
    )
    for stretch in longest[:NAMED]:
        where, _, split = told(stretch.held_out, stretch.steps)
        lines.append(f"{where} ({split}) are {told(stretch.train, stretch.steps)[0]}")
    more = f", and {len(found) - NAMED} more" if len(found) > NAMED else ""
    problem = (
        f"{len(found)} stretches of series that choose or judge stand in train as well, {sum(s.steps for s in found)} "
        f"steps in all. Expected steps that no training step repeats to the digit. Received: steps "
        f"{'; '.join(lines)}{more}."
    )
    fix = "Leave the copies out of the source, or cut all series at the same time (split.val_start, split.test_start)."
    return Finding(
        "copied-stretches", "L1.4", problem, fix, tuple(names), score=sum(stretch.steps for stretch in found)
    )
