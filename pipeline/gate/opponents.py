"""Whether the challenger is better than each opponent: paired bootstrap, and McNemar as a second opinion."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from pipeline.gate.looks import confidence_words, spending
from pipeline.gate.question import Check, Look, Question, Rules, ScoredModel, Truth, discordant, gains, met
from pipeline.metrics.classification import FloatArray, Metric
from pipeline.metrics.ends import Loss
from pipeline.metrics.intervals import DrawnTogether, Groups, Interval, few_groups
from pipeline.metrics.names import format_value
from pipeline.metrics.paired import paired_difference, randomization_p_value, unseen_loss


@dataclass(frozen=True)
class Improvement:
    """By how much the challenger is better than one opponent.

    Attributes:
        opponent: Its name.
        interval: Of the difference; more is better, whatever the metric's direction.
        needed: What the lower end must lie above.
        beaten: Whether it does.
        check: The same as a row of the decision.
        sentence: The same for people.
    """

    opponent: str
    interval: Interval
    needed: float
    beaten: bool
    check: Check
    sentence: str


def improvements(question: Question, rules: Rules) -> list[Improvement]:
    """Return the comparison with each opponent, the champion first.

    Raises:
        ValueError: The primary metric does not exist for these examples.
    """
    return [_compared(question, opponent, rules) for opponent in question.opponents]


def first_not_beaten(
    y_true: Truth,
    chosen: ScoredModel,
    baselines: Sequence[ScoredModel],
    rules: Rules,
    blocks: DrawnTogether | None,
) -> Improvement | None:
    """Return the comparison with the first baseline that a model is not shown to beat; None where it beats them all.

    At the level of a first look at the test set, which is what a registry without a champion asks for. None as well
    where these examples can judge nobody (too few, or the metric is undefined on them): then they say nothing against
    the model, and the gate refuses whoever comes, with the reason.
    """
    if len(y_true) < rules.rows or few_groups(blocks):
        return None
    look = Look(1, 1, champion_was_chosen=False)
    question = Question(y_true, chosen, None, baselines, look=look, blocks=blocks)
    try:
        found = improvements(question, spending(rules, look))
    except ValueError:  # the metric does not exist for these examples
        return None
    return next((item for item in found if not item.beaten), None)


def mcnemar(question: Question, rules: Rules, improvement: Improvement) -> tuple[Check, str]:
    """Return McNemar's exact test against the champion, and a sentence where it sees things otherwise; else "".

    Only examples that one of the two answers right count; if both are equally good, each is as likely the
    one that does (McNemar 1947). It compares right answers, whatever the primary metric. Of groups all examples
    change sides together.
    """
    champion = question.champion
    if champion is None:
        raise ValueError("McNemar's test compares with a champion. Expected one. Received: None.")
    ours, theirs = discordant(question, champion)
    counted = f"{ours} only by {question.challenger.name}, {theirs} only by {champion.name}"
    if isinstance(question.blocks, Groups):
        p_value = randomization_p_value(question.blocks.sums(gains(question, champion)))
        received = f"{counted}, p = {p_value:.3g} by whole groups"
    else:
        p_value = mcnemar_p_value(ours, theirs)
        received = f"{counted}, p = {p_value:.3g}"
    significant = p_value <= 1 - rules.confidence
    better, worse = significant and ours > theirs, significant and ours < theirs
    check = Check("McNemar's test", "told", "a second opinion on right answers", received)
    disagrees = worse if improvement.beaten else better
    if rules.mode == "superiority":
        disagrees |= improvement.beaten and not better
    if not disagrees:
        return check, ""
    says = "better" if better else "worse" if worse else "no different"
    return check, (
        f"McNemar's exact test sees it otherwise: {question.challenger.name} is {says} in right answers "
        f"({received}). The interval decides."
    )


def mcnemar_p_value(ours: int, theirs: int) -> float:
    """Return the exact two-sided p value of McNemar's test; 1 where no example tells the two apart."""
    if ours + theirs == 0:
        return 1.0
    return float(stats.binomtest(ours, ours + theirs, 0.5).pvalue)


def _compared(question: Question, opponent: ScoredModel, rules: Rules) -> Improvement:
    challenger = question.challenger
    if any(opponent is peer for peer in question.peers or ()):
        return _among_baselines(question, opponent, rules)
    reigned = opponent is question.champion or opponent is question.superior
    not_worse = reigned and rules.mode == "non_inferiority"
    margin = -(rules.non_inferiority_margin or 0.0) if not_worse else rules.margin
    loss = _unseen_loss(question) if not_worse and rules.primary.higher_is_better else None
    interval, needed = _improvement(question, opponent, rules, margin, loss)
    beaten = interval.low > needed
    name = opponent.name
    verb = ("is not worse than", "may be worse than") if not_worse else ("beats", "does not beat")
    found = _in_words(question, opponent, rules, interval)
    if isinstance(question.blocks, Groups):
        found += f" over {len(question.blocks)} groups"
    if loss:
        found += (
            f", which allows for losses that no row shows (one of class {challenger.classes[loss.true_class]} "
            f"costs {format_value(loss.cost)})"
        )
    if opponent is question.superior:
        found += f", the sum of {question.refreshes + 1} refreshes since"
    bound = f"above {format_value(needed, sign='+') if needed else 0}"
    return Improvement(
        name,
        interval,
        needed,
        beaten,
        Check(f"{verb[0]} {name}", met(beaten), f"lower end {bound}", found, interval),
        f"{challenger.name} {verb[0] if beaten else verb[1]} {name}: {found}; needed {bound}.",
    )


def _in_words(question: Question, opponent: ScoredModel, rules: Rules, interval: Interval) -> str:
    """Return both scores on the rows of the comparison, and by how much the challenger is better, with its interval."""
    primary, models = rules.primary, (question.challenger, opponent)
    ours, theirs = (
        format_value(float(model.metric(question.y_true, model.predictions, None))) for model in models
    )
    value, low, high = (format_value(getattr(interval, part), sign="+") for part in ("value", "low", "high"))
    better = value if primary.higher_is_better else f"lower by {value}"
    return f"{primary.words} {ours} against {theirs}, {better} ({confidence_words(rules)} {low} to {high})"


def _among_baselines(question: Question, peer: ScoredModel, rules: Rules) -> Improvement:
    """Return the comparison of a baseline with another one that learns too: it must not be shown to be better.

    Validation chose between the two. That one of two good measures beats the other is not asked for: on the rows that
    judge they are often equal, and then nobody would get a model.
    """
    interval, _needed = _improvement(question, peer, rules, 0.0, None)
    fine = interval.high >= 0
    found = _in_words(question, peer, rules, interval)
    name, verb = peer.name, "is not shown to be worse than" if fine else "is worse than"
    return Improvement(
        name,
        interval,
        0.0,
        fine,
        Check(
            f"is not worse than {name}, a baseline too", met(fine), "upper end not below 0", found, interval
        ),
        f"{question.challenger.name} {verb} {name}, a baseline too: {found}.",
    )


def _unseen_loss(question: Question) -> Loss | None:
    """Return what a loss that no example shows would cost a classifier; None for other tasks."""
    model = question.challenger
    if not model.classes:
        return None
    return unseen_loss(question.y_true, len(model.classes), model.metric, question.blocks)


def _improvement(
    question: Question, opponent: ScoredModel, rules: Rules, margin: float, loss: Loss | None
) -> tuple[Interval, float]:
    """Return by how much the challenger is better, and what that must lie above.

    Errors have units, so there the margin is a share of the opponent's error. That is drawn anew with every
    resample: taken as known, it would make the interval too narrow.
    """
    challenger = question.challenger
    bootstrap: dict[str, Any] = {
        "resamples": rules.resamples,
        "confidence": rules.confidence,
        "seed": rules.seed,
        "blocks": question.blocks,
        "unseen_loss": loss.cost if loss else 0.0,
    }
    y_true, ours, theirs = question.y_true, challenger.predictions, opponent.predictions
    if rules.primary.higher_is_better:
        return paired_difference(
            challenger.metric, opponent.metric, y_true, ours, theirs, **bootstrap
        ), margin
    bar = _times(opponent.metric, 1 - margin)
    beyond = paired_difference(bar, challenger.metric, y_true, theirs, ours, **bootstrap)
    needed = margin * float(opponent.metric(y_true, theirs, None))
    return Interval(beyond.value + needed, beyond.low + needed, beyond.high + needed), needed


def _times(metric: Metric, factor: float) -> Metric:
    """Return a metric times a number."""

    def product(
        y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None
    ) -> FloatArray:
        return np.asarray(factor * metric(y_true, y_pred, sample_weight))

    return product
