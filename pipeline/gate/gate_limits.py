"""What a champion must hold whoever it is compared with: floors, calibration, size and latency.

What is promised must be shown: the bound of the interval has to hold a floor, not the value. What would be
harm must be shown too: the calibration fails where even the lower end of its rise lies above the budget.
"""

from collections.abc import Iterator

from pipeline.gate.question import Check, Question, Rules, met
from pipeline.metrics.intervals import Groups, Interval, difference_interval, metric_intervals, num_units
from pipeline.metrics.names import primary_called, shown
from pipeline.metrics.paired import honest_confidence

CALIBRATION = "expected_calibration_error"
MIB = 1 << 20


def floors(question: Question, rules: Rules) -> Iterator[Check]:
    """Yield one check per floor; a metric that does not exist for these examples is a failure."""
    for name, bound in sorted((rules.floors or {}).items()):
        metric = primary_called(name)
        upward = metric.higher_is_better
        expected = f"{'lower end at least' if upward else 'upper end at most'} {shown(bound)}"
        title = f"{'floor' if upward else 'ceiling'} of {metric.words}"
        try:
            found = _value(question, rules, name)
        except (KeyError, ValueError):
            yield Check(title, "failed", expected, "no such value for these examples")
            continue
        holds = found.low >= bound if upward else found.high <= bound
        yield Check(title, met(holds), expected, _range(found), found)


def calibration(question: Question, rules: Rules) -> Iterator[Check]:
    """Yield whether the expected calibration error rises against the champion's by more than the budget."""
    champion = question.champion
    if champion is None or rules.calibration_budget is None:
        return
    title, expected = "calibration", f"error no more than {shown(rules.calibration_budget)} above champion's"
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
        confidence=honest_confidence(rules.confidence, num_units(len(question.y_true), question.blocks)),
        seed=rules.seed,
        blocks=question.blocks,
        trials=question.trials,
    ).values()
    return interval


def _range(found: Interval, sign: str = "") -> str:
    low, high = shown(found.low, sign=sign), shown(found.high, sign=sign)
    return f"{shown(found.value, sign=sign)} ({low} to {high})"
