"""Who may become champion: a pure decision about models scored on the same examples just now.

The first champion must beat every baseline; a later one must beat the champion. "Beats" means that the
lower end of the paired bootstrap interval of the accuracy difference lies above the margin, so that a
model which is no better is promoted with a chance of at most (1 - confidence) / 2.
What cannot be compared (NaN, other rows, other classes, too few rows) is refused, never promoted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.intervals import Interval, difference_interval
from pipeline.metrics import accuracy_score
from pipeline.probabilities import check_probabilities

SMALLEST_NUMBER_OF_ROWS = 30
"""Below this a bootstrap interval is too narrow to be believed (its coverage falls short by several %)."""


@dataclass(frozen=True)
class Contender:
    """A model and what it answered on the examples of the comparison.

    Attributes:
        name: How messages call it.
        model_sha256: Digest (hex) of the model's file; equal digests are the same model. "" where unknown.
        classes: Class names in the order of the columns of `probabilities`.
        sample_ids: Which examples were scored, in order.
        probabilities: Shape (num_examples, num_classes).
    """

    name: str
    model_sha256: str
    classes: Sequence[str]
    sample_ids: Sequence[str]
    probabilities: npt.NDArray[np.floating]


@dataclass(frozen=True)
class Rules:
    """How strict the gate is.

    Attributes:
        margin: By how much accuracy must be better, share in [0, 1).
        confidence: Of the two-sided interval, (0.5, 1).
        resamples: Bootstrap resamples.
        seed: Of the resamples.
        rows: Fewest examples a comparison may rest on.
    """

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
        differences: Accuracy of the challenger minus that of each opponent, by the opponent's name.
    """

    verdict: Literal["promoted", "refused", "unchanged"]
    reasons: tuple[str, ...]
    differences: dict[str, Interval] = field(default_factory=dict)


def first_champion(
    y_true: npt.ArrayLike, challenger: Contender, baselines: Sequence[Contender], rules: Rules
) -> Decision:
    """Decide about a model where there is no champion yet: it must beat every baseline.

    Args:
        y_true: Class index per example, in the order of `challenger.classes`, shape (num_examples,).
        challenger: The model.
        baselines: Majority and linear, say; without any the model is refused.
        rules: How strict.
    """
    if not baselines:
        return Decision(
            "refused", ("There is no baseline to compare with, so nothing shows that it learned.",)
        )
    return _decide(np.asarray(y_true), challenger, baselines, rules)


def next_champion(
    y_true: npt.ArrayLike, challenger: Contender, champion: Contender, rules: Rules
) -> Decision:
    """Decide whether a model replaces the champion: it must beat it on the same examples, both scored now.

    Args:
        y_true: Class index per example, in the order of `challenger.classes`, shape (num_examples,).
        challenger: The new model.
        champion: The present one, scored again.
        rules: How strict.
    """
    if challenger.model_sha256 and challenger.model_sha256 == champion.model_sha256:
        return Decision("unchanged", (f"{challenger.name} is the champion already: the same model file.",))
    return _decide(np.asarray(y_true), challenger, [champion], rules)


def _decide(
    y_true: npt.NDArray[np.integer], challenger: Contender, opponents: Sequence[Contender], rules: Rules
) -> Decision:
    obstacles = _obstacles(y_true, challenger, opponents, rules)
    if obstacles:
        return Decision("refused", tuple(obstacles))
    differences = {
        opponent.name: difference_interval(
            accuracy_score,
            y_true,
            challenger.probabilities,
            opponent.probabilities,
            resamples=rules.resamples,
            confidence=rules.confidence,
            seed=rules.seed,
        )
        for opponent in opponents
    }
    beaten = all(difference.low > rules.margin for difference in differences.values())
    reasons = tuple(_sentence(challenger.name, name, item, rules) for name, item in differences.items())
    return Decision("promoted" if beaten else "refused", reasons, differences)


def _sentence(challenger: str, opponent: str, difference: Interval, rules: Rules) -> str:
    outcome = "beats" if difference.low > rules.margin else "does not beat"
    return (
        f"{challenger} {outcome} {opponent}: accuracy {difference.value:+.4f}, "
        f"{rules.confidence:.0%} interval {difference.low:+.4f} to {difference.high:+.4f}; "
        f"needed above {rules.margin:+.4f}."
    )


def _obstacles(
    y_true: npt.NDArray[np.integer], challenger: Contender, opponents: Sequence[Contender], rules: Rules
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


def _flaws(y_true: npt.NDArray[np.integer], model: Contender) -> list[str]:
    """Return what is wrong with one model's answers alone."""
    expected = (len(y_true), len(model.classes))
    if model.probabilities.shape != expected or len(model.sample_ids) != len(y_true):
        received = f"{model.probabilities.shape} for {len(model.sample_ids)} sample ids"
        return [f"{model.name} must answer in shape {expected}, one row per example. Received: {received}."]
    try:
        check_probabilities(model.probabilities, model.name)
    except ValueError as error:
        return [str(error)]
    return []


def _difference(
    what: str, one: Contender, other: Contender, first: Sequence[str], second: Sequence[str]
) -> str:
    only = sorted(set(first) ^ set(second))
    detail = f"only one of them knows {', '.join(only)}" if only else "same names, another order"
    return f"{one.name} and {other.name} have different {what}: {detail}."
