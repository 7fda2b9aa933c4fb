"""Whether a class or a declared slice falls against the champion.

A part falls if the upper end of the difference lies below minus its tolerance. All parts are asked together,
so each has only its share of the chance of a false alarm (Bonferroni): whether any falls is then decided
exactly as by Holm's method, whose first step it is. Where examples come in groups, groups are what is counted;
only a slice that is a group is about its own examples.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from pipeline.gate.opponents import gains
from pipeline.gate.question import GROUP, BoolArray, Check, Contender, Question, Rules, met
from pipeline.metrics.intervals import DrawnTogether, Groups, Interval, bootstrap_weights
from pipeline.metrics.names import shown
from pipeline.metrics.paired import difference_bounds, grouped_difference_bounds, students_reach

MOST_SHOWN = 20
"""Rows of classes and slices in a decision, the worst; the rest is counted. A registry takes no longer texts."""


@dataclass(frozen=True)
class Part:
    """Some of the examples.

    Attributes:
        name: `class cat`, `slice season=winter`.
        tolerance: How much may be lost on them.
        inside: Which examples, shape (num_examples,).
        blocks: What of all examples is drawn together; None: each alone.
    """

    name: str
    tolerance: float
    inside: BoolArray
    blocks: DrawnTogether | None

    @property
    def support(self) -> float:
        """Return how many examples, or groups of them, it rests on."""
        if isinstance(self.blocks, Groups):
            return self.blocks.effective_number(self.inside)
        return int(self.inside.sum())


def falls(question: Question, rules: Rules) -> Iterator[Check]:
    """Yield the verdict on each class and slice, the worst first, and how many more there are."""
    champion = question.champion
    if champion is None:
        return
    parts = _parts(question, rules)
    large = [part for part in parts if part.support >= rules.min_support]
    checks = list(_judged(question, champion, large, rules))
    # The failed first, then by how near the upper end is to a fall.
    checks.sort(key=lambda pair: (pair[0].verdict != "failed", pair[1]))
    yield from (check for check, _room in checks[:MOST_SHOWN])
    held = [check for check, _room in checks[MOST_SHOWN:] if check.verdict == "met"]
    fallen = len(checks) - MOST_SHOWN - len(held)
    if held or fallen > 0:
        received = f"{len(held)} more held, {max(fallen, 0)} more fell"
        yield Check("other classes and slices", met(fallen <= 0), "none falls", received)
    small = [part for part in parts if part.support < rules.min_support]
    if small:
        names = ", ".join(part.name for part in small[:MOST_SHOWN])
        noun = "groups" if isinstance(question.blocks, Groups) else "examples"
        expected = f"at least {rules.min_support} {noun} each"
        yield Check("too small to be judged", "told", expected, f"{len(small)}: {names}")


def _parts(question: Question, rules: Rules) -> list[Part]:
    parts = []
    if rules.class_tolerance is not None:
        for index, name in enumerate(question.challenger.classes):
            inside = question.y_true == index
            parts.append(Part(f"class {name}", rules.class_tolerance, inside, question.blocks))
    if rules.slice_tolerance is not None:
        for name, inside in question.slices.items():
            alone = isinstance(question.blocks, Groups) and name.startswith(f"{GROUP}=")
            blocks = None if alone else question.blocks
            parts.append(Part(f"slice {name}", rules.slice_tolerance, inside, blocks))
    return parts


def _judged(
    question: Question, champion: Contender, parts: list[Part], rules: Rules
) -> Iterator[tuple[Check, float]]:
    """Yield a check per part, and by how much the upper end lies above a fall."""
    tail = rules.tail / max(len(parts), 1)
    if question.challenger.classes:
        for part in parts:
            yield _right_answers(question, champion, part, tail)
        return
    for blocks in dict.fromkeys(part.blocks for part in parts):
        drawn = [part for part in parts if part.blocks == blocks]
        errors = _standard_errors(question, champion, drawn, rules, blocks)
        for part, error in zip(drawn, errors, strict=True):
            yield _values(question, champion, part, _reach(part, error, tail), rules)


def _reach(part: Part, error: float, tail: float) -> float:
    if isinstance(part.blocks, Groups):  # few, unlike examples
        return students_reach(error, 1 - 2 * tail, part.support)
    return float(stats.norm.ppf(1 - tail)) * error


def _right_answers(question: Question, champion: Contender, part: Part, tail: float) -> tuple[Check, float]:
    """Judge by the share of right answers, which of a class is its recall."""
    y_true, count = question.y_true[part.inside], int(part.inside.sum())
    right, before = ((model.said[part.inside] == y_true) for model in (question.challenger, champion))
    if isinstance(part.blocks, Groups):
        found = grouped_difference_bounds(gains(question, champion), part.blocks, part.inside, tail)
    else:
        ours, theirs = int(np.sum(right & ~before)), int(np.sum(before & ~right))
        found = difference_bounds(ours, theirs, count, tail)
    expected = f"right answers fall by no more than {shown(part.tolerance)}"
    received = f"from {shown(before.mean())} to {shown(right.mean())} on {count} examples"
    return _check(part.name, expected, received, found, part.tolerance)


def _values(
    question: Question, champion: Contender, part: Part, reach: float, rules: Rules
) -> tuple[Check, float]:
    """Judge by the primary metric, whose interval reaches so far to each side.

    Of an error the tolerance is a share of the champion's.
    """
    after, before = (_on(model, question, part.inside) for model in (question.challenger, champion))
    upward = rules.primary.higher_is_better
    tolerance = part.tolerance if upward else part.tolerance * before
    words = f"{rules.primary.words} {'falls' if upward else 'rises'} by no more than {shown(tolerance)}"
    received = f"from {shown(before)} to {shown(after)} on {int(part.inside.sum())} examples"
    value = rules.primary.sign * (after - before)
    if not np.isfinite([value, reach, tolerance]).all():
        return Check(part.name, "failed", words, "no such value on these examples"), 0.0
    found = Interval(float(value), float(value - reach), float(value + reach))
    return _check(part.name, words, received, found, tolerance)


def _check(name: str, expected: str, received: str, found: Interval, tolerance: float) -> tuple[Check, float]:
    room = found.high + tolerance
    return Check(name, met(room >= 0), expected, received, found), room


def _standard_errors(
    question: Question, champion: Contender, parts: list[Part], rules: Rules, blocks: DrawnTogether | None
) -> list[float]:
    """Return the bootstrap standard error of the difference on each part.

    Not percentiles: a share of the chance among many parts lies beyond what a thousand resamples show.
    """
    drawn: list[list[npt.NDArray[np.floating]]] = [[] for _part in parts]
    chunks = bootstrap_weights(len(question.y_true), rules.resamples, rules.seed, blocks)
    for weights in chunks:
        for values, part in zip(drawn, parts, strict=True):
            inside = weights * part.inside[:, None]
            inside = inside[:, inside.sum(axis=0) > 0]
            if inside.shape[1]:
                after, before = (
                    model.metric(question.y_true, model.predictions, inside)
                    for model in (question.challenger, champion)
                )
                values.append(np.asarray(after - before))
    return [_spread(np.concatenate(values)) if values else float("nan") for values in drawn]


def _spread(values: npt.NDArray[np.floating]) -> float:
    known = values[np.isfinite(values)]
    return float(known.std(ddof=1)) if len(known) > 1 else float("nan")


def _on(model: Contender, question: Question, inside: BoolArray) -> float:
    return float(model.metric(question.y_true, model.predictions, np.asarray(inside, dtype=float)))
