"""Columns that know the answer (leak L2): alone, as an id, by one word, or added up exactly.

A side column whose AUC or R2 on held-out rows is above a bound is most likely a consequence of the answer,
and not there when the model is used. An exact sum (`casual + registered = cnt`) is one for certain.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.data.label_sets import labels_in
from pipeline.leaks.findings import Finding, LeakData
from pipeline.preprocessing.texts import normalise, split_tokens

# --- How well one column alone says the answer: fitted on train, scored on what is held out.
#
# Numbers are cut into ranges of equally many training rows, categories are taken as they are; each range or
# category answers with the class shares (or mean target) of its training rows. That finds any relation, up or
# down or in between, missing values included, without a model that needs tuning.

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


# --- Columns that know the answer (leak L2).

ID_SHARE = 0.95
"""A column of names with so many different ones is an id."""
EXACT = 1e-5
"""Largest error of an exact sum, in deviations of the target: float32 payloads are exact to 1e-7 of a value."""
MAX_ROWS = 20_000
"""Rows of train, and as many held out, that sums are looked for in."""


def column_findings(data: LeakData, max_single_score: float) -> list[Finding]:
    """Return a finding per side column that alone predicts class or target, and per id that does.

    Args:
        data: Whole samples, classification, multilabel or regression.
        max_single_score: AUC or R2 above which a column is refused.
    """
    if data.windows is not None or data.task not in ("classification", "multilabel", "regression"):
        return []
    used = np.flatnonzero(data.split_of != "excluded")
    train = data.split_of[used] == "train"
    if not train.any() or train.all():
        return []
    found = []
    for name, column in sorted(data.samples.side.items()):
        values = [column[row] for row in used.tolist()]
        category = data.samples.side_kinds.get(name) == "category"
        for finding, what, derived, is_name in _questions(name, values, category=category):
            score = _score(data, used, train, derived, category=is_name)
            if score > max_single_score:
                found.append(_column_finding(finding, what, score, max_single_score, data.task))
                break
    return found


def _questions(name: str, values: Values, *, category: bool) -> list[tuple[str, str, Values, bool]]:
    """Return what may say the answer, of a column: itself and, of an id, its parts; with whether it is a name."""
    asked: list[tuple[str, str, Values, bool]] = [
        (f"column:{name}", f"Side column {name!r}", values, category)
    ]
    if category and len(set(values)) >= ID_SHARE * len(values):
        asked += [
            (f"id:{name}", f"The {part} of id column {name!r}", derived, is_name)
            for part, derived, is_name in _id_parts(values)
        ]
    return asked


def word_findings(data: LeakData, max_single_score: float) -> list[Finding]:
    """Return a finding if single words give the classes of texts away, as labels left in the text do.

    The score is the mean over classes, as for columns: that one of 77 kinds of questions is known by the word
    `pin` is what texts are like.

    Args:
        data: Texts with classes.
        max_single_score: Mean AUC of the best word of each class, there or not there, above which it is refused.
    """
    if data.kind != "text" or data.task not in ("classification", "multilabel"):
        return []
    vocabulary: dict[str, int] = {}
    train, held = (_word_counts(data, rows, vocabulary) for rows in (data.train_rows, data.evaluation_rows))
    classes = [
        label
        for label in sorted(train.of_class)
        if label in held.of_class and held.of_class[label][0] >= MIN_HELD_OUT
    ]
    several = data.task == "multilabel"
    if len(classes) < (1 if several else 2) or not vocabulary:
        return []
    learned, held_out = (_presence_scores(counts, classes, len(vocabulary)) for counts in (train, held))
    # Which word, and whether it is there or missing, train decides; held-out texts say how well.
    best = np.abs(learned - 0.5).argmax(axis=1)
    places = np.arange(len(classes))
    directions = np.sign(learned[places, best] - 0.5)
    scores = 0.5 + directions * (held_out[places, best] - 0.5)
    score = float(scores.max() if several else scores.mean())
    if score <= max_single_score:
        return []
    words = list(vocabulary)
    named = ", ".join(
        f"{words[word]!r} for {label!r}" for label, word in zip(classes[:5], best, strict=False)
    )
    return [_column_finding("words", f"One word in each text ({named})", score, max_single_score, data.task)]


def text_end_findings(data: LeakData, max_single_score: float) -> list[Finding]:
    """Return a finding if the first or the last word of texts gives the answer away, as a label put there does.

    A word anywhere in the text is asked for by `word_findings`; here the place counts, and a number is one, so that
    `... stars: 4` is found where the answer is a number, and a mark that other texts hold in their middle.

    Args:
        data: Texts with classes, or with a number to predict.
        max_single_score: AUC or R2 above which such a column is refused.
    """
    if data.kind != "text" or data.task not in ("classification", "multilabel", "regression"):
        return []
    used = np.flatnonzero(data.split_of != "excluded")
    train = data.split_of[used] == "train"
    if not train.any() or train.all():
        return []
    ends = [_ends(data.text(row)) for row in used.tolist()]
    for place, words in zip(("first", "last"), zip(*ends, strict=True), strict=True):
        score = max(
            _score(data, used, train, words, category=True),
            _score(data, used, train, _read_as_numbers(words), category=False),
        )
        if score > max_single_score:
            what = f"The {place} word of the text ({', '.join(map(repr, _frequent(words)))})"
            return [_column_finding(f"text:{place}", what, score, max_single_score, data.task)]
    return []


MARKS = ".,;:!?()[]{}<>|/=#*'\"-_"
"""Around a word that is the answer."""


def _ends(text: str) -> tuple[str, str]:
    """Return the first and the last word of a text, small and without marks around them; twice "" for none."""
    words = [word for word in (part.strip(MARKS).lower() for part in text.split()) if word]
    return (words[0], words[-1]) if words else ("", "")


def _read_as_numbers(words: Sequence[str]) -> np.ndarray:
    """Return words as numbers, NaN where one is none."""
    found = [re.fullmatch(r"[+-]?\d+(\.\d+)?", word) for word in words]
    return np.array([float(match[0]) if match else np.nan for match in found])


def _frequent(words: Sequence[str]) -> list[str]:
    counts = Counter(words)
    return sorted(counts, key=lambda word: (-counts[word], word))[:3]


def sum_findings(data: LeakData) -> list[Finding]:
    """Return a finding if a sum of side columns, each times a constant, is the target exactly."""
    if data.windows is not None or data.task != "regression":
        return []
    names = sorted(name for name, kind in data.samples.side_kinds.items() if kind == "number")
    used = np.flatnonzero((data.split_of != "excluded") & np.isfinite(data.targets))
    columns = {name: as_numbers([data.samples.side[name][row] for row in used.tolist()]) for name in names}
    weights = exact_sum(columns, data.targets[used], data.split_of[used] == "train")
    return [sum_finding(weights, "the target")] if len(weights) > 1 else []


def exact_sum(columns: Mapping[str, np.ndarray], target: np.ndarray, train: np.ndarray) -> dict[str, float]:
    """Return the fewest columns (found by leaving out one after the other) that add up to the target exactly.

    Args:
        columns: Numbers per row, NaN for missing; rows with a missing one are left out.
        target: float64, shape (num_rows,).
        train: Rows the weights are fitted on; they must hold on all others too.

    Returns:
        Column to weight; {} if there is no such sum.
    """
    names = list(columns)
    if not names or not len(target):
        return {}
    table = np.column_stack([columns[name] for name in names])
    whole = np.isfinite(table).all(axis=1)
    rows = np.concatenate([_some(np.flatnonzero(whole & side)) for side in (train, ~train)])
    table, y, fit = table[rows], target[rows], train[rows]
    too_few = fit.sum() < 3 * (len(names) + 1) or (~fit).sum() < 2
    if too_few or y.std() == 0 or not _is_exact(table, y, fit):
        return {}
    kept = _fewest(table, y, fit)
    weights = _weights(table[:, kept], y, fit)
    return {names[place]: float(weight) for place, weight in zip(kept, weights[:-1], strict=True)}


def sum_finding(weights: Mapping[str, float], target: str) -> Finding:
    """Return the finding that some columns add up to a target.

    Args:
        weights: Column to weight.
        target: What they add up to, for the message.
    """
    formula = " + ".join(name if abs(w - 1) < 1e-4 else f"{w:.6g} * {name}" for name, w in weights.items())
    problem = (
        f"{formula} is {target}, exactly. Expected inputs that are known before it. Received: an error below "
        f"{EXACT:g} deviations on all rows looked at."
    )
    fix = f"Leave {', '.join(weights)} out of the inputs of the source."
    return Finding(f"sum:{'+'.join(sorted(weights))}", "L2", problem, fix)


def _column_finding(finding: str, what: str, score: float, bound: float, task: str) -> Finding:
    metric = "R2" if task == "regression" else "AUC"
    problem = (
        f"{what} alone predicts the {'target' if task == 'regression' else 'class'} of held-out samples. "
        f"Expected {metric} of at most {bound:g}. Received: {metric}={score:.4f}."
    )
    fix = "Leave it out of the inputs if it is a consequence of the answer, or is not known yet when the model is used."
    return Finding(finding, "L2", problem, fix, score=score)


def _score(data: LeakData, used: np.ndarray, train: np.ndarray, values: Values, *, category: bool) -> float:
    if data.task == "regression":
        return value_score(values, data.targets[used], train, category=category)
    codes = column_codes(values, train, category=category)
    if data.task == "multilabel":
        # Each label is a question of its own: one that a column answers is one too many.
        return max(class_score(codes, has[used], train) for _, has in data.label_columns())
    return class_score(codes, data.labels[used], train)


def _id_parts(values: Values) -> list[tuple[str, Values, bool]]:
    """Return what an id may say: its letters in front, its first characters, and its number."""
    names = [str(value or "") for value in values]
    numbers = [re.search(r"\d+", name) for name in names]
    return [
        ("prefix", [re.split(r"\d", name)[0] for name in names], True),
        ("first character", [name[:1] for name in names], True),
        ("first two characters", [name[:2] for name in names], True),
        ("number", np.array([float(found[0]) if found else np.nan for found in numbers]), False),
    ]


class _WordCounts(NamedTuple):
    """Texts, and how many of them hold each word: of all, and of each class."""

    total: int
    with_word: Counter[int]
    of_class: dict[str, tuple[int, Counter[int]]]


def _word_counts(data: LeakData, rows: np.ndarray, vocabulary: dict[str, int]) -> _WordCounts:
    """Return how often words occur; new words are added to the vocabulary. A text counts for each of its labels."""
    everywhere: Counter[int] = Counter()
    counts: dict[str, tuple[int, Counter[int]]] = {}
    for row in rows.tolist():
        words = set(split_tokens(normalise(data.text(row), lowercase=True, digits_alike=False), "words"))
        ids = [vocabulary.setdefault(word, len(vocabulary)) for word in words]
        everywhere.update(ids)
        for label in labels_in(data.labels[row]) if data.task == "multilabel" else [data.labels[row]]:
            texts, with_word = counts.get(label, (0, Counter[int]()))
            with_word.update(ids)
            counts[label] = texts + 1, with_word
    return _WordCounts(len(rows), everywhere, counts)


def _presence_scores(counts: _WordCounts, classes: Sequence[str], num_words: int) -> np.ndarray:
    """Return the AUC of each word, there or not there, for each class, shape (len(classes), num_words)."""
    sizes = np.array([counts.of_class[label][0] for label in classes], np.float64)[:, None]
    inside = np.zeros((len(classes), num_words))
    everywhere = np.zeros(num_words)
    everywhere[list(counts.with_word)] = list(counts.with_word.values())
    for place, label in enumerate(classes):
        with_word = counts.of_class[label][1]
        inside[place, list(with_word)] = list(with_word.values())
    others = np.maximum(counts.total - sizes, 1)
    scores: np.ndarray = 0.5 * (1 + inside / sizes - (everywhere - inside) / others)
    return scores


def _fewest(table: np.ndarray, y: np.ndarray, fit: np.ndarray) -> list[int]:
    """Return columns of an exact sum of which none can be left out."""
    kept = list(range(table.shape[1]))
    for column in range(table.shape[1]):
        fewer = [place for place in kept if place != column]
        if fewer and _is_exact(table[:, fewer], y, fit):
            kept = fewer
    return kept


def _some(rows: np.ndarray) -> np.ndarray:
    """Return at most `MAX_ROWS` of some rows, evenly spread."""
    if len(rows) <= MAX_ROWS:
        return rows
    return rows[np.linspace(0, len(rows) - 1, MAX_ROWS).astype(np.int64)]


def _weights(table: np.ndarray, y: np.ndarray, fit: np.ndarray) -> np.ndarray:
    """Return the least-squares weights of columns and, last, of a constant."""
    centre = table[fit].mean(axis=0)
    scale = np.maximum(table[fit].std(axis=0), 1e-12)
    scaled = np.column_stack([(table[fit] - centre) / scale, np.ones(int(fit.sum()))])
    solved = np.linalg.lstsq(scaled, y[fit], rcond=None)[0]
    weights = solved[:-1] / scale
    return np.append(weights, solved[-1] - weights @ centre)


def _is_exact(table: np.ndarray, y: np.ndarray, fit: np.ndarray) -> bool:
    weights = _weights(table, y, fit)
    error = np.abs(table @ weights[:-1] + weights[-1] - y).max()
    rounding = np.finfo(np.float32).eps * float(np.abs(table * weights[:-1]).sum(axis=1).max())
    return bool(error <= EXACT * y.std() + rounding)
