"""Splits that are none: no test set (L1.1), groups (L3.2) or times (L3.1) on both sides."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from pipeline.leaks.columns import Values, as_numbers
from pipeline.leaks.findings import USED, Finding, LeakData
from pipeline.metrics.two_samples import chi_square_test, ks_test
from pipeline.splits.by_time import iso_time, seconds_since_1970

# --- Test sets that are not what train is drawn from (leak L3.3), and columns scaled over all rows (leak L1.2).
#
# A test set of easy cases, of one hospital or of one class more than the others judges something else than
# the model's work. What a split by time brings with it is no such bias: the future is meant to be other.

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
    elif data.task == "multilabel":
        for label, has in data.label_columns():
            yield f"label:{label}", f"The share of label {label!r}", has.astype(str).astype(object), True
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


# --- Splits that are none.


def empty_split_findings(data: LeakData) -> list[Finding]:
    """Return a finding if train, val or test has nothing in it."""
    present = set(data.split.splits[data.split.stops > data.split.starts])
    missing = [split for split in USED if split not in present]
    if not missing:
        return []
    problem = (
        f"{' and '.join(missing)} is empty. Expected samples that train, others that choose, and others that judge. "
        f"Received: {', '.join(sorted(present)) or 'nothing'}."
    )
    fix = "Raise split.val_share and split.test_share, or give the missing part in the source."
    return [Finding("no-test-set", "L1.1", problem, fix)]


def group_findings(data: LeakData) -> list[Finding]:
    """Return a finding if a person, machine or document stands in more than one of train, val and test."""
    if data.cut:
        return []
    splits_of: dict[str, set[str]] = {}
    for group, split in zip(data.groups, data.split_of, strict=True):
        if group and split != "excluded":
            splits_of.setdefault(group, set()).add(split)
    torn = {group for group, splits in splits_of.items() if len(splits) > 1}
    if not torn:
        return []
    rows = np.array([row for row, group in enumerate(data.groups) if group in torn])
    rows = rows[data.split_of[rows] != "excluded"]
    problem = (
        f"{len(torn)} groups stand in more than one split ({', '.join(sorted(torn)[:5])}). Expected every group in "
        f"one. Received: split.method={data.method}."
    )
    return [Finding("group-overlap", "L3.2", problem, "Set split.method: group.", data.ids(rows))]


def time_findings(data: LeakData) -> list[Finding]:
    """Return a finding if something that trains or chooses is not earlier than all that judges.

    Looked at where split.method is time, and where the source says when each sample was made. The beginnings
    of recordings are no such thing: twenty machines may well be recorded at the same hour.
    """
    if data.cut:
        return _segments_in_disorder(data) or _series_at_once(data)
    seconds = _times_that_order(data)
    if seconds is None:
        return []
    test = data.split_of == "test"
    late = _not_before(seconds, np.isin(data.split_of.astype(str), ["train", "val"]), test)
    if data.method == "time":
        late |= _not_before(seconds, data.split_of == "train", data.split_of == "val")
    if not late.any():
        return []
    held_out_split = "test" if test.any() else "val"
    first = iso_time(seconds[data.split_of == held_out_split].min())
    problem = (
        f"{int(late.sum())} samples train or choose and are not earlier than the first that judges. Expected train "
        f"before val before test. Received: {held_out_split} from {first} on, the "
        f"others up to {iso_time(seconds[late].max())}."
    )
    fix = "Set split.method: time."
    return [Finding("time-overlap", "L3.1", problem, fix, data.ids(np.flatnonzero(late)))]


def _times_that_order(data: LeakData) -> np.ndarray | None:
    """Return the time of each sample in seconds, None where there are none that say which came first."""
    recorded = data.kind == "series" and bool((data.samples.step_seconds > 0).any())
    if data.method != "time" and (recorded or not all(data.samples.times)):
        return None
    try:
        seconds = seconds_since_1970(data.samples.times)
    except ValueError:
        return None  # no times in the sense of ISO 8601; split.method=time refuses them
    return seconds if len(np.unique(seconds)) > 1 else None


def _not_before(seconds: np.ndarray, earlier: np.ndarray, later: np.ndarray) -> np.ndarray:
    """Return which of the samples that should be earlier are not before all that should be later."""
    first = seconds[later].min(initial=np.inf)
    late: np.ndarray = earlier & (seconds >= first)
    return late


def _segments_in_disorder(data: LeakData) -> list[Finding]:
    """Return a finding if segments of one series overlap, or one that trains lies after one that judges."""
    wrong = []
    places = {split: place for place, split in enumerate(USED)}
    split = data.split
    for row in np.unique(split.rows):
        own = np.flatnonzero(split.rows == row)
        own = own[np.argsort(split.starts[own], kind="stable")]
        overlap = bool((split.starts[own][1:] < split.stops[own][:-1]).any())
        order = [places[name] for name in split.splits[own] if name in places]
        if overlap or order != sorted(order):
            wrong.append(row)
    if not wrong:
        return []
    problem = (
        f"{len(wrong)} series have segments that overlap or are out of order. Expected train before val before test. "
        "Received: see data/split/split.parquet."
    )
    return [Finding("time-overlap", "L3.1", problem, "Run `dvc repro split`.", data.ids(np.array(wrong)))]


def _series_at_once(data: LeakData) -> list[Finding]:
    """Return a finding if one series trains on a time at which another is judged already.

    Anomalies are asked of each series by itself; forecasts of one shop know the weather of all.
    """
    steps = data.samples.step_seconds
    if data.task == "anomaly" or len(data.samples) < 2 or (steps <= 0).any() or not all(data.samples.times):
        return []
    begins, rows = seconds_since_1970(data.samples.times), data.split.rows
    # A tenth of a step off, so that floating point does not make equal times unequal.
    starts = begins[rows] + (data.split.starts - 0.1) * steps[rows]
    lasts = begins[rows] + (data.split.stops - 1) * steps[rows]
    train, held_out = data.split.splits == "train", np.isin(data.split.splits.astype(str), ["val", "test"])
    if not train.any() or not held_out.any():
        return []
    first = starts[held_out].min()
    late = rows[train & (lasts >= first)]
    if not len(late):
        return []
    problem = (
        f"{len(late)} series train on times at which another chooses or judges already. Expected all training steps "
        f"before {iso_time(first)}. Received: training steps up to {iso_time(lasts[train].max())}."
    )
    fix = "Set split.val_start and split.test_start, which cut all series at the same time."
    return [Finding("time-overlap", "L3.1", problem, fix, data.ids(late))]
