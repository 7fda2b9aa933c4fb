"""Who may become champion: a pure decision about models scored on the same examples just now.

A challenger must beat every baseline and, where there is one, the champion (or, in the mode for refreshes on
newer data, not be worse than it by a margin). "Beats" means that the lower end of the paired bootstrap interval
of the improvement lies above the margin, so that a model which is no better is promoted with a chance of at
most (1 - confidence) / 2. Floors, classes, slices, calibration, size and latency can only refuse. What cannot
be compared (NaN, other rows, other classes, too few rows, itself) is refused, never promoted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipeline.gate.checks import falls
from pipeline.gate.gate_limits import calibration, floors, size_and_latency
from pipeline.gate.gate_obstacles import obstacles, same_answers
from pipeline.gate.opponents import improvements, mcnemar
from pipeline.gate.question import SMALLEST_NUMBER_OF_ROWS, Check, Contender, Question, Rules
from pipeline.metrics.intervals import Interval

__all__ = [
    "SMALLEST_NUMBER_OF_ROWS",
    "Check",
    "Contender",
    "Decision",
    "Question",
    "Rules",
    "decide",
    "refusal",
    "unchanged",
]

MOST_REASONS = 5
"""Of failed checks beside the opponents; the rest stands in the table."""


@dataclass(frozen=True)
class Decision:
    """What the gate says, and why.

    Attributes:
        verdict: `promoted`, `refused`, or `unchanged` (the challenger is the champion).
        reasons: Sentences for people, at least one.
        differences: Improvement of the challenger over each opponent, by the opponent's name.
        checks: Everything that was looked at, in the order of the page.
    """

    verdict: Literal["promoted", "refused", "unchanged"]
    reasons: tuple[str, ...]
    differences: dict[str, Interval] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()


def decide(question: Question, rules: Rules) -> Decision:
    """Decide whether the challenger becomes champion.

    Args:
        question: The models, scored on the same examples, and what else is known of the challenger.
        rules: How strict.
    """
    challenger, champion = question.challenger, question.champion
    if champion and challenger.model_sha256 and challenger.model_sha256 == champion.model_sha256:
        return unchanged(challenger.name)
    found = obstacles(question, rules)
    if found:
        return refusal(*found)
    try:
        compared = improvements(question, rules)
    except ValueError as error:  # the metric does not exist for these examples
        return refusal(str(error))
    itself = same_answers(question)
    if itself:
        return refusal(itself)
    checks = [item.check for item in compared]
    reasons = [item.sentence for item in compared]
    if champion and challenger.classes:
        opinion, disagreement = mcnemar(question, rules, compared[0])
        checks.append(opinion)
        reasons += [disagreement] if disagreement else []
    limits = [
        *floors(question, rules),
        *falls(question, rules),
        *calibration(question, rules),
        *size_and_latency(question, rules),
    ]
    failed = [check.sentence for check in limits if check.verdict == "failed"]
    reasons += failed[:MOST_REASONS]
    if len(failed) > MOST_REASONS:
        reasons.append(f"{len(failed) - MOST_REASONS} more checks failed.")
    checks += limits
    promoted = not failed and all(item.beaten for item in compared)
    differences = {item.opponent: item.interval for item in compared}
    return Decision("promoted" if promoted else "refused", tuple(reasons), differences, tuple(checks))


def unchanged(name: str, promoted_for: Sequence[str] = ()) -> Decision:
    """Return that a model is the champion itself: one digest is one model.

    Args:
        name: Of the model.
        promoted_for: The reasons by which it became champion, which are told again.
    """
    return Decision("unchanged", (f"{name} is the champion already: the same model file.", *promoted_for))


def refusal(*reasons: str) -> Decision:
    """Return the refusal of what cannot be compared."""
    checks = tuple(Check("can be compared", "failed", "nothing in the way", reason) for reason in reasons)
    return Decision("refused", reasons, checks=checks)
