"""Whether a class or a declared slice falls against the champion.

A part falls if the upper end of the difference lies below minus its tolerance. All parts are asked together,
so each has only its share of the chance of a false alarm (Bonferroni): whether any falls is then decided
exactly as by Holm's method, whose first step it is. Where examples come in groups, groups are what is counted;
only a slice that is a group is about its own examples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from scipy import stats

from pipeline.data.samples import SIDE_PREFIX
from pipeline.evaluation.rows import EvaluationRows
from pipeline.gate.question import GROUP, Check, Question, Rules, ScoredModel, Truth, gains, met
from pipeline.metrics.classification import BoolArray, check_finite, check_probabilities
from pipeline.metrics.ends import honest_confidence, students_reach
from pipeline.metrics.intervals import (
    DrawnTogether,
    Groups,
    Interval,
    bootstrap_values,
    bootstrap_weights,
    difference_interval,
    few_groups,
    metric_intervals,
    num_units,
)
from pipeline.metrics.multilabel import check_label_probabilities, f1_per_label
from pipeline.metrics.names import format_value, primary_called
from pipeline.metrics.paired import difference_bounds, grouped_difference_bounds
from pipeline.runtime import paths
from pipeline.runtime.errors import InputMissing

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
        label: Of several labels the index of the one that is judged by its F1, on all examples; else None.
    """

    name: str
    tolerance: float
    inside: BoolArray
    blocks: DrawnTogether | None
    label: int | None = None

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
    parts = _parts(question, champion, rules)
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


def _parts(question: Question, champion: ScoredModel, rules: Rules) -> list[Part]:
    parts = []
    if rules.class_tolerance is not None:
        for index, name in enumerate(question.challenger.classes):
            if question.challenger.thresholds is None:
                inside = question.y_true == index
                parts.append(Part(f"class {name}", rules.class_tolerance, inside, question.blocks))
            else:
                # Who says a rare label of everybody is wrong on rows that do not have it.
                inside = question.y_true[:, index] == 1
                for model in (question.challenger, champion):
                    inside |= model.labels_said[:, index]
                parts.append(Part(f"label {name}", rules.class_tolerance, inside, question.blocks, index))
    if rules.slice_tolerance is not None:
        for name, inside in question.slices.items():
            alone = isinstance(question.blocks, Groups) and name.startswith(f"{GROUP}=")
            blocks = None if alone else question.blocks
            parts.append(Part(f"slice {name}", rules.slice_tolerance, inside, blocks))
    return parts


def _judged(
    question: Question, champion: ScoredModel, parts: list[Part], rules: Rules
) -> Iterator[tuple[Check, float]]:
    """Yield a check per part, and by how much the upper end lies above a fall."""
    tail = rules.tail / max(len(parts), 1)
    if question.challenger.classes and question.challenger.thresholds is None:
        for part in parts:
            yield _right_answers(question, champion, part, tail)
        return
    yield from _labels(question, champion, [part for part in parts if part.label is not None], tail, rules)
    parts = [part for part in parts if part.label is None]
    for blocks in dict.fromkeys(part.blocks for part in parts):
        drawn = [part for part in parts if part.blocks == blocks]
        errors = _standard_errors(question, champion, drawn, rules, blocks)
        for part, error in zip(drawn, errors, strict=True):
            yield _values(question, champion, part, _reach(part, error, tail), rules)


def _labels(
    question: Question, champion: ScoredModel, parts: list[Part], tail: float, rules: Rules
) -> Iterator[tuple[Check, float]]:
    """Judge labels by their F1, whose difference has a bootstrap standard error; all resamples are shared."""
    if not parts:
        return
    models = (question.challenger, champion)
    metrics = [partial(f1_per_label, thresholds=model.thresholds or ()) for model in models]
    after, before = (
        metric(question.y_true, model.predictions) for metric, model in zip(metrics, models, strict=True)
    )
    drawn = [
        bootstrap_values(
            [metric],
            question.y_true,
            model.predictions,
            resamples=rules.resamples,
            seed=rules.seed,
            blocks=question.blocks,
        )[0]
        for metric, model in zip(metrics, models, strict=True)
    ]
    for part in parts:
        reach = _reach(part, _spread(drawn[0][part.label] - drawn[1][part.label]), tail)
        expected = f"F1 falls by no more than {format_value(part.tolerance)}"
        now, then = float(after[part.label]), float(before[part.label])
        values = f"from {format_value(then)} to {format_value(now)}"
        received = f"{values} on {int(part.inside.sum())} examples that have it or were said to"
        if not np.isfinite([now, then, reach]).all():
            yield Check(part.name, "failed", expected, "no such value on these examples"), 0.0
            continue
        found = Interval(now - then, now - then - reach, now - then + reach)
        yield _check(part.name, expected, received, found, part.tolerance)


def _reach(part: Part, error: float, tail: float) -> float:
    if isinstance(part.blocks, Groups):  # few, unlike examples
        return students_reach(error, 1 - 2 * tail, part.support)
    return float(stats.norm.ppf(1 - tail)) * error


def _right_answers(question: Question, champion: ScoredModel, part: Part, tail: float) -> tuple[Check, float]:
    """Judge by the share of right answers, which of a class is its recall."""
    y_true, count = question.y_true[part.inside], int(part.inside.sum())
    right, before = ((model.said[part.inside] == y_true) for model in (question.challenger, champion))
    if isinstance(part.blocks, Groups):
        found = grouped_difference_bounds(gains(question, champion), part.blocks, part.inside, tail)
    else:
        ours, theirs = int(np.sum(right & ~before)), int(np.sum(before & ~right))
        found = difference_bounds(ours, theirs, count, tail)
    expected = f"right answers fall by no more than {format_value(part.tolerance)}"
    received = f"from {format_value(before.mean())} to {format_value(right.mean())} on {count} examples"
    return _check(part.name, expected, received, found, part.tolerance)


def _values(
    question: Question, champion: ScoredModel, part: Part, reach: float, rules: Rules
) -> tuple[Check, float]:
    """Judge by the primary metric, whose interval reaches so far to each side.

    Of an error the tolerance is a share of the champion's.
    """
    after, before = (_on(model, question, part.inside) for model in (question.challenger, champion))
    upward = rules.primary.higher_is_better
    tolerance = part.tolerance if upward else part.tolerance * before
    words = (
        f"{rules.primary.words} {'falls' if upward else 'rises'} by no more than {format_value(tolerance)}"
    )
    received = f"from {format_value(before)} to {format_value(after)} on {int(part.inside.sum())} examples"
    value = rules.primary.sign * (after - before)
    if not np.isfinite([value, reach, tolerance]).all():
        return Check(part.name, "failed", words, "no such value on these examples"), 0.0
    found = Interval(float(value), float(value - reach), float(value + reach))
    return _check(part.name, words, received, found, tolerance)


def _check(name: str, expected: str, received: str, found: Interval, tolerance: float) -> tuple[Check, float]:
    room = found.high + tolerance
    return Check(name, met(room >= 0), expected, received, found), room


def _standard_errors(
    question: Question, champion: ScoredModel, parts: list[Part], rules: Rules, blocks: DrawnTogether | None
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


def _on(model: ScoredModel, question: Question, inside: BoolArray) -> float:
    return float(model.metric(question.y_true, model.predictions, np.asarray(inside, dtype=float)))


# --- What a champion must hold whoever it is compared with: floors, calibration, size and latency.
#
# What is promised must be shown: the bound of the interval has to hold a floor, not the value. What would be
# harm must be shown too: the calibration fails where even the lower end of its rise lies above the budget.

CALIBRATION = "expected_calibration_error"
MIB = 1 << 20


def floors(question: Question, rules: Rules) -> Iterator[Check]:
    """Yield one check per floor; a metric that does not exist for these examples is a failure."""
    for name, bound in sorted((rules.floors or {}).items()):
        metric = primary_called(name)
        upward = metric.higher_is_better
        expected = f"{'lower end at least' if upward else 'upper end at most'} {format_value(bound)}"
        title = f"{'floor' if upward else 'ceiling'} of {metric.words}"
        try:
            found = _value(question, rules, name)
        except (KeyError, ValueError):
            yield Check(title, "failed", expected, "no such value for these examples")
            continue
        holds = found.low >= bound if upward else found.high <= bound
        doubt = f"; nobody can say how sure that is: {found.doubt}" if found.doubt else ""
        yield Check(title, met(holds and not doubt), expected, f"{_range(found)}{doubt}", found)


def calibration(question: Question, rules: Rules) -> Iterator[Check]:
    """Yield whether the expected calibration error rises against the champion's by more than the budget."""
    champion = question.champion
    if champion is None or rules.calibration_budget is None:
        return
    title, expected = (
        "calibration",
        f"error no more than {format_value(rules.calibration_budget)} above champion's",
    )
    if any(CALIBRATION not in model.metrics for model in (question.challenger, champion)):
        yield Check(title, "failed", expected, "no such value for these examples")
        return
    confidence = rules.confidence
    if isinstance(question.blocks, Groups):  # few, unlike rows
        confidence = honest_confidence(confidence, num_units(len(question.y_true), question.blocks))
    rise = difference_interval(
        question.challenger.metrics[CALIBRATION],
        question.y_true,
        question.challenger.predictions,
        champion.predictions,
        resamples=rules.resamples,
        confidence=confidence,
        seed=rules.seed,
        blocks=question.blocks,
        metric_other=champion.metrics[CALIBRATION],
    )
    yield Check(title, met(rise.low <= rules.calibration_budget), expected, _range(rise, "+"), rise)


def size_and_latency(question: Question, rules: Rules) -> Iterator[Check]:
    """Yield whether file and single prediction stay in budget; what could not be measured is a failure.

    The measured time is not written down: it differs from run to run, and equal decisions have equal bytes.
    """
    if rules.max_size_mib is not None:
        size = question.size_bytes
        received = "not measured" if size is None else f"{size / MIB:.2f} MiB"
        holds = size is not None and size <= rules.max_size_mib * MIB
        yield Check("size of the model", met(holds), f"at most {rules.max_size_mib:g} MiB", received)
    if rules.max_latency_ms is not None:
        latency = question.latency_ms
        holds = latency is not None and latency <= rules.max_latency_ms
        received = "not measured" if latency is None else "within it" if holds else "slower"
        expected = f"median of a single prediction at most {rules.max_latency_ms:g} ms"
        yield Check("latency", met(holds), expected, received)


def _value(question: Question, rules: Rules, name: str) -> Interval:
    challenger = question.challenger
    (interval,) = metric_intervals(
        {name: challenger.metrics[name]},
        question.y_true,
        challenger.predictions,
        resamples=rules.resamples,
        confidence=rules.confidence,
        seed=rules.seed,
        blocks=question.blocks,
        trials=question.trials,
    ).values()
    return interval


def _range(found: Interval, sign: str = "") -> str:
    low, high = format_value(found.low, sign=sign), format_value(found.high, sign=sign)
    return f"{format_value(found.value, sign=sign)} ({low} to {high})"


# --- Why models cannot be compared at all: too few rows, other rows or classes, answers that are none.


def obstacles(question: Question, rules: Rules) -> list[str]:
    """Return why the models of a question cannot be compared, in words; empty if they can."""
    y_true, challenger = question.y_true, question.challenger
    problems = []
    if len(y_true) < rules.rows:
        problems.append(f"{len(y_true)} examples are too few to judge by; at least {rules.rows} are needed.")
    if few := few_groups(question.blocks):
        problems.append(few)
    if not question.baselines:
        problems.append("There is no baseline to compare with, so nothing shows that it learned.")
    for model in (challenger, *question.opponents):
        problems += _flaws(y_true, model)
        if list(model.classes) != list(challenger.classes):
            problems.append(_difference("classes", model, challenger, model.classes, challenger.classes))
        if list(model.sample_ids) != list(challenger.sample_ids):
            problems.append(f"{model.name} and {challenger.name} were not scored on the same examples.")
    return problems


def same_answers(question: Question) -> str:
    """Return in words that challenger and champion answer alike everywhere; "" if they do not.

    Equal probabilities that another threshold makes better or worse are other answers.
    """
    champion, challenger = question.champion, question.challenger
    if champion is None or not np.array_equal(champion.predictions, challenger.predictions):
        return ""
    values = [model.metric(question.y_true, model.predictions, None) for model in (challenger, champion)]
    if values[0] != values[1]:
        return ""
    return (
        f"{challenger.name} answers every one of {len(question.y_true)} examples exactly as {champion.name} does: "
        "a model compared with itself proves nothing."
    )


def _flaws(y_true: Truth, model: ScoredModel) -> list[str]:
    """Return what is wrong with one model's answers alone."""
    expected = (len(y_true), len(model.classes)) if len(model.classes) else y_true.shape
    if model.predictions.shape != expected or len(model.sample_ids) != len(y_true):
        received = f"{model.predictions.shape} for {len(model.sample_ids)} sample ids"
        return [f"{model.name} must answer in shape {expected}, one row per example. Received: {received}."]
    try:
        if model.thresholds is not None:
            check_label_probabilities(model.predictions, model.name)
        elif len(model.classes):
            check_probabilities(model.predictions, model.name)
        else:
            check_finite(model.predictions, model.name)
    except ValueError as error:
        return [str(error)]
    return []


def _difference(
    what: str, one: ScoredModel, other: ScoredModel, first: Sequence[str], second: Sequence[str]
) -> str:
    only = sorted(set(first) ^ set(second))
    detail = f"only one of them knows {', '.join(only)}" if only else "same names, another order"
    return f"{one.name} and {other.name} have different {what}: {detail}."


# --- The declared slices of the test rows: values of a side column or of the group, numbers in four bins.

BINS = 4
"""Of numbers, with as many test rows each; a column of no more different numbers is taken value by value."""
MISSING = "missing"


class UnknownSlice(ValueError):
    """The samples have no such column."""


def slice_masks(columns: Sequence[str], rows: EvaluationRows) -> dict[str, BoolArray]:
    """Return `column=value` to which rows are in that slice, shape (num_rows,).

    Args:
        columns: `group`, or names of side columns.
        rows: Test rows; of windows each belongs where its series does.

    Raises:
        UnknownSlice: There is no such column; says which there are.
        InputMissing: There is no table of samples.
    """
    samples = rows.rows if rows.timeline is None else rows.timeline.series
    masks: dict[str, BoolArray] = {}
    for column, values in _read(columns).items():
        names = _names([values[sample] for sample in samples])
        for name in sorted(set(names.tolist())):
            masks[f"{column}={name}"] = names == name
    return masks


def _read(columns: Sequence[str]) -> dict[str, list[str | float | None]]:
    """Return the values of each column in order of row."""
    if not columns:
        return {}
    if not paths.SAMPLES_PARQUET.is_file():
        raise InputMissing(f"{paths.SAMPLES_PARQUET} does not exist. Run `dvc repro ingest`.")
    stored = pq.read_schema(paths.SAMPLES_PARQUET).names
    known = {name.removeprefix(SIDE_PREFIX): name for name in stored if name.startswith(SIDE_PREFIX)}
    known[GROUP] = GROUP
    unknown = [name for name in columns if known.get(name) not in stored]
    if unknown:
        raise UnknownSlice(
            f"register.slices names columns that the samples do not have. Expected some of {sorted(known)}. "
            f"Received: {unknown}. Correct it in params.yaml."
        )
    chosen = [known[name] for name in columns]
    table = pq.read_table(paths.SAMPLES_PARQUET, columns=["row", *chosen]).sort_by("row")
    return {name: table[stored_as].to_pylist() for name, stored_as in zip(columns, chosen, strict=True)}


def _names(values: Sequence[str | float | None]) -> npt.NDArray[np.object_]:
    """Return the name of the slice that each value belongs to."""
    numbers = np.array([value for value in values if isinstance(value, float) and np.isfinite(value)])
    distinct = np.unique(numbers)
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, BINS + 1))) if len(distinct) > BINS else None
    return np.array([_name(value, edges) for value in values], dtype=object)


def _name(value: str | float | None, edges: npt.NDArray[np.floating] | None) -> str:
    if value is None or value == "" or (isinstance(value, float) and not np.isfinite(value)):
        return MISSING
    if edges is None or isinstance(value, str):
        return value if isinstance(value, str) else f"{value:g}"
    # Closed above, so that the largest number has a bin.
    place = int(np.clip(np.searchsorted(edges, value) - 1, 0, len(edges) - 2))
    return f"{edges[place]:g}..{edges[place + 1]:g}"
