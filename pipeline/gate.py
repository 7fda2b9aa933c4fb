"""Who may become champion: a pure decision about models scored on the same examples just now.

The first champion must beat every baseline; a later one must beat the champion. "Beats" means that the
lower end of the paired bootstrap interval of the improvement lies above the margin, so that a model which
is no better is promoted with a chance of at most (1 - confidence) / 2. The improvement is the difference of
the primary metric, counted so that more is better.
What cannot be compared (NaN, other rows, other classes, too few rows) is refused, never promoted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.intervals import Interval, difference_interval
from pipeline.metric_names import Primary, shown
from pipeline.metrics import Metric
from pipeline.probabilities import check_probabilities
from pipeline.resamples import Blocks
from pipeline.value_metrics import check_finite

Truth = npt.NDArray[Any]

SMALLEST_NUMBER_OF_ROWS = 30
"""Below this a bootstrap interval is too narrow to be believed (its coverage falls short by several %)."""


@dataclass(frozen=True)
class Contender:
    """A model and what it answered on the examples of the comparison.

    Attributes:
        name: How messages call it.
        model_sha256: Digest (hex) of the model's file; equal digests are the same model. "" where unknown.
        classes: Class names in the order of the columns of `predictions`; () for other tasks.
        sample_ids: Which examples were scored, in order.
        predictions: As `metric` takes them: probabilities, shape (num_examples, num_classes), or values or
            scores in the shape of what is true.
        metric: The primary metric, with the model's own threshold where it has one.
    """

    name: str
    model_sha256: str
    classes: Sequence[str]
    sample_ids: Sequence[str]
    predictions: npt.NDArray[np.floating]
    metric: Metric


@dataclass(frozen=True)
class Rules:
    """How strict the gate is.

    Attributes:
        primary: The metric that decides.
        margin: By how much it must be better, in [0, 1): of a score so much, of an error or a loss that
            share of the opponent's.
        confidence: Of the two-sided interval, (0.5, 1).
        resamples: Bootstrap resamples.
        seed: Of the resamples.
        rows: Fewest examples a comparison may rest on.
    """

    primary: Primary
    margin: float
    confidence: float
    resamples: int
    seed: int
    rows: int = SMALLEST_NUMBER_OF_ROWS


@dataclass(frozen=True)
class Decision:
    """What the gate says, and why.

    Attributes:
        verdict: `promoted`, `refused`, or `unchanged` (the challenger is the champion).
        reasons: Sentences for people, at least one.
        differences: Improvement of the challenger over each opponent, by the opponent's name.
    """

    verdict: Literal["promoted", "refused", "unchanged"]
    reasons: tuple[str, ...]
    differences: dict[str, Interval] = field(default_factory=dict)


def first_champion(
    y_true: npt.ArrayLike,
    challenger: Contender,
    baselines: Sequence[Contender],
    rules: Rules,
    blocks: Blocks | None = None,
) -> Decision:
    """Decide about a model where there is no champion yet: it must beat every baseline.

    Args:
        y_true: What is true of each example; class indices in the order of `challenger.classes`.
        challenger: The model.
        baselines: Majority and linear, say; without any the model is refused.
        rules: How strict.
        blocks: Which examples are drawn together in a bootstrap.
    """
    if not baselines:
        return Decision(
            "refused", ("There is no baseline to compare with, so nothing shows that it learned.",)
        )
    return _decide(np.asarray(y_true), challenger, baselines, rules, blocks)


def next_champion(
    y_true: npt.ArrayLike,
    challenger: Contender,
    champion: Contender,
    rules: Rules,
    blocks: Blocks | None = None,
) -> Decision:
    """Decide whether a model replaces the champion: it must beat it on the same examples, both scored now.

    Args:
        y_true: What is true of each example; class indices in the order of `challenger.classes`.
        challenger: The new model.
        champion: The present one, scored again.
        rules: How strict.
        blocks: Which examples are drawn together in a bootstrap.
    """
    if challenger.model_sha256 and challenger.model_sha256 == champion.model_sha256:
        return Decision("unchanged", (f"{challenger.name} is the champion already: the same model file.",))
    return _decide(np.asarray(y_true), challenger, [champion], rules, blocks)


def _decide(
    y_true: Truth,
    challenger: Contender,
    opponents: Sequence[Contender],
    rules: Rules,
    blocks: Blocks | None,
) -> Decision:
    obstacles = _obstacles(y_true, challenger, opponents, rules)
    if obstacles:
        return Decision("refused", tuple(obstacles))
    try:
        improvements = {
            opponent.name: _improvement(y_true, challenger, opponent, rules, blocks) for opponent in opponents
        }
    except ValueError as error:  # the metric does not exist for these examples
        return Decision("refused", (str(error),))
    needed = {opponent.name: _needed(y_true, opponent, rules) for opponent in opponents}
    beaten = all(improvements[name].low > needed[name] for name in improvements)
    reasons = tuple(
        _sentence(challenger.name, name, item, needed[name], rules) for name, item in improvements.items()
    )
    return Decision("promoted" if beaten else "refused", reasons, improvements)


def _improvement(
    y_true: Truth, challenger: Contender, opponent: Contender, rules: Rules, blocks: Blocks | None
) -> Interval:
    """Return by how much the challenger is better; more is better, whatever the metric's direction."""
    one, other = (challenger, opponent) if rules.primary.higher_is_better else (opponent, challenger)
    return difference_interval(
        one.metric,
        y_true,
        one.predictions,
        other.predictions,
        resamples=rules.resamples,
        confidence=rules.confidence,
        seed=rules.seed,
        blocks=blocks,
        metric_other=other.metric,
    )


def _needed(y_true: Truth, opponent: Contender, rules: Rules) -> float:
    """Return what the improvement must lie above; errors have units, so there the margin is a share."""
    if rules.primary.higher_is_better or rules.margin == 0:
        return rules.margin
    return rules.margin * float(opponent.metric(y_true, opponent.predictions, None))


def _sentence(challenger: str, opponent: str, improvement: Interval, needed: float, rules: Rules) -> str:
    outcome = "beats" if improvement.low > needed else "does not beat"
    name = rules.primary.words if rules.primary.higher_is_better else f"{rules.primary.words} lower by"
    return (
        f"{challenger} {outcome} {opponent}: {name} {shown(improvement.value, sign='+')}, {rules.confidence:.0%} "
        f"interval {shown(improvement.low, sign='+')} to {shown(improvement.high, sign='+')}; "
        f"needed above {shown(needed, sign='+')}."
    )


def _obstacles(
    y_true: Truth, challenger: Contender, opponents: Sequence[Contender], rules: Rules
) -> list[str]:
    """Return why these models cannot be compared, in words; empty if they can."""
    problems = []
    if len(y_true) < rules.rows:
        problems.append(f"{len(y_true)} examples are too few to judge by; at least {rules.rows} are needed.")
    for model in (challenger, *opponents):
        problems += _flaws(y_true, model)
        if list(model.classes) != list(challenger.classes):
            problems.append(_difference("classes", model, challenger, model.classes, challenger.classes))
        if list(model.sample_ids) != list(challenger.sample_ids):
            problems.append(f"{model.name} and {challenger.name} were not scored on the same examples.")
    return problems


def _flaws(y_true: Truth, model: Contender) -> list[str]:
    """Return what is wrong with one model's answers alone."""
    expected = (len(y_true), len(model.classes)) if len(model.classes) else y_true.shape
    if model.predictions.shape != expected or len(model.sample_ids) != len(y_true):
        received = f"{model.predictions.shape} for {len(model.sample_ids)} sample ids"
        return [f"{model.name} must answer in shape {expected}, one row per example. Received: {received}."]
    try:
        if len(model.classes):
            check_probabilities(model.predictions, model.name)
        else:
            check_finite(model.predictions, model.name)
    except ValueError as error:
        return [str(error)]
    return []


def _difference(
    what: str, one: Contender, other: Contender, first: Sequence[str], second: Sequence[str]
) -> str:
    only = sorted(set(first) ^ set(second))
    detail = f"only one of them knows {', '.join(only)}" if only else "same names, another order"
    return f"{one.name} and {other.name} have different {what}: {detail}."
