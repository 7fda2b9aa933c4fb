"""How well one column alone says the answer: fitted on train, scored on what is held out.

Numbers are cut into ranges of equally many training rows, categories are taken as they are; each range or
category answers with the class shares (or mean target) of its training rows. That finds any relation, up or
down or in between, missing values included, without a model that needs tuning.
"""

from collections.abc import Sequence

import numpy as np

Values = Sequence[object] | np.ndarray
"""A column: numbers, or names; None or NaN is missing."""

MAX_RANGES = 64
ROWS_PER_RANGE = 10
MIN_HELD_OUT = 5
"""Held-out rows of a class, and of all others, without which an AUC is a matter of luck."""


def column_codes(values: Values, train: np.ndarray, *, category: bool) -> np.ndarray:
    """Return the range or category of each value as a number; -1 where training rows have none like it.

    Args:
        values: One per row; None or NaN is missing, which is a category (or range) of its own.
        train: Which rows train, bool, shape (num_rows,).
        category: Whether values are names rather than numbers.

    Returns:
        int64, shape (num_rows,), 0 for missing.
    """
    if category:
        names = ["" if value is None or value != value else str(value) for value in values]  # noqa: PLR0124
        known = {
            name: place
            for place, name in enumerate(sorted({n for n, t in zip(names, train, strict=True) if t}))
        }
        return np.array([known.get(name, -1) for name in names], np.int64)
    numbers = as_numbers(values)
    present = np.isfinite(numbers)
    seen = numbers[present & train]
    if not len(seen):
        return np.where(present, -1, 0)
    ranges = int(np.clip(len(seen) // ROWS_PER_RANGE, 2, MAX_RANGES))
    edges = np.unique(np.quantile(seen, np.linspace(0, 1, ranges + 1)[1:-1]))
    codes: np.ndarray = np.where(present, 1 + np.searchsorted(edges, numbers, side="left"), 0)
    return codes


def as_numbers(values: Values) -> np.ndarray:
    """Return values as float64, NaN where one is missing or no number."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        return values.astype(np.float64)
    numbers: np.ndarray = np.array([float(v) if isinstance(v, int | float) else np.nan for v in values])
    return numbers


def class_score(codes: np.ndarray, labels: np.ndarray, train: np.ndarray) -> float:
    """Return the AUC with which codes tell classes on held-out rows, the mean over classes; 0.5 is chance.

    Args:
        codes: As of `column_codes`.
        labels: Class per row.
        train: Which rows train; all others are held out.
    """
    _, y = np.unique(labels.astype(str), return_inverse=True)
    num_classes = int(y.max()) + 1
    prior = np.bincount(y[train], minlength=num_classes) / max(train.sum(), 1)
    counts = np.zeros((int(codes.max(initial=0)) + 1, num_classes))
    known = train & (codes >= 0)
    np.add.at(counts, (codes[known], y[known]), 1)
    shares = (counts + prior) / (counts.sum(axis=1, keepdims=True) + 1)
    held = np.flatnonzero(~train)
    answers = np.where((codes[held] >= 0)[:, None], shares[np.maximum(codes[held], 0)], prior)
    scores = []
    for number in range(num_classes):
        positive = y[held] == number
        if min(positive.sum(), (~positive).sum()) >= MIN_HELD_OUT:
            scores.append(auc(positive, answers[:, number]))
    return float(np.mean(scores)) if scores else 0.5


def auc(positive: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve: how often a positive outranks a negative, ties counting half.

    Args:
        positive: bool, shape (num_rows,), at least one of each kind.
        scores: Higher is more positive, shape (num_rows,).
    """
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    num_positive = int(positive.sum())
    above = ranks[positive].sum() - num_positive * (num_positive + 1) / 2
    return float(above / (num_positive * (len(scores) - num_positive)))


def value_score(values: Values, targets: np.ndarray, train: np.ndarray, *, category: bool) -> float:
    """Return the R2 with which one column tells targets on held-out rows; 0 is chance, worse is 0.

    The better of a straight line and of the means of ranges (joined by lines) for numbers, the means of
    categories for names.

    Args:
        values: One per row.
        targets: float64, shape (num_rows,); rows without a target are left out.
        train: Which rows train; all others are held out.
        category: Whether values are names rather than numbers.
    """
    held = ~train & np.isfinite(targets)
    train = train & np.isfinite(targets)
    if held.sum() < 2 * MIN_HELD_OUT or not train.any() or targets[held].std() == 0:
        return 0.0
    codes = column_codes(values, train, category=category)
    answers = [_means(codes, targets, train)[held]]
    if not category:
        numbers = as_numbers(values)
        present = np.isfinite(numbers)
        if (train & present).sum() > 2 and numbers[train & present].std() > 0:
            answers += [
                np.where(present, curve, targets[train].mean())[held]
                for curve in (
                    _line(numbers, targets, train & present),
                    _curve(numbers, codes, targets, train & present),
                )
            ]
    total = ((targets[held] - targets[held].mean()) ** 2).sum()
    return float(max(0.0, *(1 - ((targets[held] - answer) ** 2).sum() / total for answer in answers)))


def _means(codes: np.ndarray, targets: np.ndarray, train: np.ndarray) -> np.ndarray:
    known = train & (codes >= 0)
    size = int(codes.max(initial=0)) + 1
    mean = targets[train].mean()
    counts = np.bincount(codes[known], minlength=size)
    sums = np.bincount(codes[known], weights=targets[known], minlength=size)
    means = (sums + mean) / (counts + 1)
    answers: np.ndarray = np.where(codes >= 0, means[np.maximum(codes, 0)], mean)
    return answers


def _line(numbers: np.ndarray, targets: np.ndarray, train: np.ndarray) -> np.ndarray:
    centre, mean = numbers[train].mean(), targets[train].mean()
    offsets = numbers[train] - centre
    slope = offsets @ (targets[train] - mean) / (offsets @ offsets)
    line: np.ndarray = mean + slope * (numbers - centre)
    return line


def _curve(numbers: np.ndarray, codes: np.ndarray, targets: np.ndarray, train: np.ndarray) -> np.ndarray:
    used = np.unique(codes[train])
    xs = np.array([numbers[train & (codes == code)].mean() for code in used])
    ys = np.array([targets[train & (codes == code)].mean() for code in used])
    curve: np.ndarray = np.interp(numbers, xs, ys)
    return curve
