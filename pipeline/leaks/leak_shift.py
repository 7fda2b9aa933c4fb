"""Test sets that are not what train is drawn from (leak L3.3), and columns scaled over all rows (leak L1.2).

A test set of easy cases, of one hospital or of one class more than the others judges something else than
the model's work. What a split by time brings with it is no such bias: the future is meant to be other.
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from pipeline.leaks.findings import Finding
from pipeline.leaks.leak_data import LeakData
from pipeline.leaks.single_score import Values, as_numbers
from pipeline.metrics.two_samples import chi_square_test, ks_test

MAX_SHIFT = 0.25
"""Largest distance of two distributions (of 1): total variation of categories, Kolmogorov-Smirnov of numbers.
Balanced test sets beside unbalanced train sets (banking77: 0.10) stay below."""
MAX_CHANCE = 1e-6
"""A distance is refused only if chance would make one as large less often than this."""
SCALED = 1e-5
"""How near to 0 and 1 mean and deviation lie of a column that was standardised; float32 is exact to 1e-7."""
NOT_SCALED = 1e-3
CHUNK_STEPS = 1 << 18


def shift_findings(data: LeakData) -> list[Finding]:
    """Return a finding per class, target, length or side column that test has otherwise than train.

    Args:
        data: Whole samples; those split by time are not compared.
    """
    if data.cut or data.method == "time":
        return []
    train, test = data.train_rows, np.flatnonzero(data.split_of == "test")
    if not len(train) or not len(test):
        return []
    # Members of a group are no independent draws: chance is reckoned with the number of groups.
    units = np.array(
        [group or f"\0{cluster}" for group, cluster in zip(data.groups, data.clusters, strict=True)]
    )
    draws = len(np.unique(units[train])), len(np.unique(units[test]))
    found = []
    for name, what, values, category in _columns(data):
        first, second = ([values[row] for row in rows.tolist()] for rows in (train, test))
        distance, chance = (
            chi_square_test(_counts(first), _counts(second), draws=draws, pool_rare=False)
            if category
            else ks_test(_numbers(first), _numbers(second), draws=draws)
        )
        if distance > MAX_SHIFT and chance < MAX_CHANCE:
            found.append(_shift_finding(name, what, distance))
    return found


def _counts(values: Values) -> Counter[str]:
    return Counter("" if value is None else str(value) for value in values)


def _numbers(values: Values) -> np.ndarray:
    """Return numbers; missing ones (None or NaN) count as the smallest."""
    numbers = as_numbers(values)
    return np.where(np.isnan(numbers), -np.inf, numbers)


def _shift_finding(name: str, what: str, distance: float) -> Finding:
    problem = (
        f"{what} is not in test what it is in train. Expected distributions that differ by at most {MAX_SHIFT:g} of 1, "
        f"or no more than chance makes them. Received: {distance:.3f}."
    )
    fix = "Draw test from where train comes from, as split.method: stratified does."
    return Finding(f"test-differs:{name}", "L3.3", problem, fix, score=distance)


def scaled_findings(data: LeakData) -> list[Finding]:
    """Return a finding per column that has mean 0 and deviation 1 over all rows, but not over train.

    Somebody scaled it before it was split, with numbers that judge. Bounds and ranks leave no such mark.
    """
    found = []
    for name, (every, train) in _moments(data):
        standardised = abs(every[0]) < SCALED and abs(every[1] - 1) < SCALED * 10
        if standardised and max(abs(train[0]), abs(train[1] - 1)) > NOT_SCALED:
            problem = (
                f"Column {name!r} was standardised over all rows before it was split. Expected a scale that is "
                f"fitted on train. Received: mean {every[0]:.1e} and deviation {every[1]:.6f} over all "
                f"rows, {train[0]:.4f} and {train[1]:.4f} over train."
            )
            fix = "Give the column as it was measured; Millrace scales it with what train says."
            found.append(Finding(f"scaled:{name}", "L1.2", problem, fix))
    return found


def _columns(data: LeakData) -> Iterator[tuple[str, str, Values, bool]]:
    """Yield id, name for messages, values per row, and whether they are categories."""
    if data.task == "classification":
        yield "class", "The share of classes", data.labels, True
    elif data.task == "regression" and np.isfinite(data.targets).any():
        yield "target", "The target", data.targets, False
    if data.kind != "image" and len(np.unique(data.samples.lengths)) > 1:
        yield "length", f"The length of a {data.kind}", data.samples.lengths, False
    for name, column in sorted(data.samples.side.items()):
        category = data.samples.side_kinds.get(name) == "category"
        if not category or len(set(column)) < len(column) / 2:  # ids are other ones everywhere
            yield f"column:{name}", f"Side column {name!r}", column, category


Moments = tuple[float, float]


def _moments(data: LeakData) -> Iterator[tuple[str, tuple[Moments, Moments]]]:
    """Yield mean and deviation of each column of numbers over all rows, and over train."""
    used = np.flatnonzero(data.split_of != "excluded")
    for name, kind in sorted(data.samples.side_kinds.items()):
        if kind == "number" and not data.cut:
            numbers = as_numbers(data.samples.side[name])
            yield name, (_moments_of(numbers[used]), _moments_of(numbers[data.train_rows]))
    if data.kind != "series":
        return
    width = len(data.samples.channels)
    segments = data.split.named_segments(data.samples, "train")
    everything = [(0, len(data.payload))]
    every = _step_moments(data.payload, everything, width)
    train = _step_moments(data.payload, [(start, stop) for _, start, stop in segments], width)
    yield from zip(data.samples.channels, zip(every, train, strict=True), strict=True)


def _moments_of(numbers: np.ndarray) -> Moments:
    numbers = numbers[np.isfinite(numbers)]
    return (float(numbers.mean()), float(numbers.std())) if len(numbers) else (0.0, 0.0)


def _step_moments(payload: np.ndarray, parts: list[tuple[int, int]], width: int) -> list[Moments]:
    """Return mean and deviation per channel over some steps, read in chunks."""
    sums = np.zeros((3, width))
    for start, stop in parts:
        for first in range(start, stop, CHUNK_STEPS):
            values = np.asarray(payload[first : min(first + CHUNK_STEPS, stop), :width], np.float64)
            sums += [np.isfinite(values).sum(axis=0), np.nansum(values, axis=0), np.nansum(values**2, axis=0)]
    counts = np.maximum(sums[0], 1)
    means = sums[1] / counts
    deviations = np.sqrt(np.maximum(sums[2] / counts - means**2, 0))
    return list(zip(means.tolist(), deviations.tolist(), strict=True))
