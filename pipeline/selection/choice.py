"""Who is chosen, by how much, and by how many rows that is known; before anybody looks at the test set.

The best score wins, unless another ties with it: is within one standard error, that of their difference on the same
rows, units drawn together (the one-standard-error rule of Breiman et al., 1984, for paired scores). Of ties an ensemble
wins where folds of fewer than a hundred units chose, since the mean of models loses less then than a choice among them
(`benchmarks/small_choice.py`), and of fewer than ten wherever it beats who answers without looking; else the smallest
model of less than a quarter of the size.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.evaluation.measures import Measures, OperatingPoint, Predictions, point_of
from pipeline.evaluation.results import RECONSTRUCTION, Bootstrap, Choice, choose_by_validation
from pipeline.metrics.calibration import ENOUGH_UNITS, FEWEST_UNITS
from pipeline.metrics.classification import USUAL_THRESHOLD, FloatArray
from pipeline.metrics.intervals import (
    SMALLEST_NUMBER_OF_GROUPS,
    Interval,
    bootstrap_values,
    rounded,
    teaches_no_threshold,
)
from pipeline.metrics.names import format_value, metric_words, primary_called
from pipeline.metrics.paired import paired_difference
from pipeline.runtime.paths import ENSEMBLE
from pipeline.selection.evidence import Evidence

SMALLER = 0.25
"""Of the best model's parameters: what is hardly smaller saves nobody anything, and the best is the likelier winner."""


@dataclass(frozen=True)
class Selection:
    """A choice with what it rests on.

    Attributes:
        choice: Who and why.
        scores: Candidate to its metrics on the rows that chose.
        points: Candidate to the operating point it was measured at, which those rows taught.
        behind: Candidate to how far its score lies behind the best one, and the standard error of that.
        lead: By how much the best one leads the next, with an interval; None where nobody can say.
        warnings: In words: what the choice should not be trusted for.
    """

    choice: Choice
    scores: Mapping[str, Mapping[str, float]]
    points: Mapping[str, OperatingPoint]
    behind: Mapping[str, tuple[float, float]]
    lead: Interval | None
    warnings: tuple[str, ...]

    def as_json(self, evidence: Evidence) -> dict[str, Any]:
        """Return it as reports/select/selection.json holds it."""
        ranking = [
            entry | self._distance(str(entry["candidate"])) | self._threshold(str(entry["candidate"]))
            for entry in self.choice.as_json()["ranking"]
        ]
        return self.choice.as_json() | {
            "chosen_by": evidence.words,
            "lead": self.lead.rounded() if self.lead else None,
            "ranking": ranking,
            "rows": evidence.num_rows,
            "units": evidence.num_units,
            "warnings": list(self.warnings),
        }

    def _distance(self, name: str) -> dict[str, float]:
        if name not in self.behind:
            return {}
        difference, error = self.behind[name]
        return {"behind": rounded(difference), "standard_error": rounded(error)}

    def _threshold(self, name: str) -> dict[str, float]:
        point = self.points[name]
        return {"threshold": rounded(point["threshold"])} if "threshold" in point else {}


def select_candidate(
    evidence: Evidence,
    measures: Measures,
    answers: Mapping[str, Predictions],
    parameters: Mapping[str, int],
    *,
    select_by: str,
    bootstrap: Bootstrap,
    blind: Collection[str] = (),
) -> Selection:
    """Return who is chosen; each is measured at the operating point that the same rows taught.

    Args:
        evidence: The rows that choose.
        measures: Of them.
        answers: Of every candidate that may be chosen.
        parameters: Candidate to the weights of its model.
        select_by: The metric asked for.
        bootstrap: How intervals are made.
        blind: Those that answer without looking, see `measures.point_of`.

    Raises:
        DataRefused: The metric does not exist for this data, or there is nobody to choose from.
    """
    points = {name: point_of(measures, given, blind=name in blind) for name, given in answers.items()}
    scores = {name: measures.values(given, points[name]) for name, given in answers.items()}
    choice = choose_by_validation(
        scores, parameters, select_by, measures.trials.get("event_f1"), rows_called=evidence.words
    )
    behind: dict[str, tuple[float, float]] = {}
    lead, doubts = None, _doubts(evidence, scores)
    learnt = [point for name, point in points.items() if name not in blind]
    if teaches_no_threshold(measures.blocks) and any(
        {"threshold", "thresholds"} & {*point} for point in learnt
    ):
        doubts.append(
            f"{evidence.num_units} independent units teach no threshold: {USUAL_THRESHOLD} stands. Expected at least "
            f"{FEWEST_UNITS}. Label more of them."
        )
    if choice.select_by != RECONSTRUCTION and len(choice.ranking) > 1:
        metrics = {name: measures.metrics(points[name])[choice.select_by] for name in answers}
        scored = {name: measures.scored(answers[name], points[name]) for name in answers}
        drawn = bootstrap.over(measures.blocks)
        best, other = (entry.name for entry in choice.ranking[:2])
        sign = primary_called(choice.select_by).sign
        try:
            pair = paired_difference(
                metrics[best], metrics[other], measures.y_true, scored[best], scored[other], **drawn
            )
            lead = pair if sign > 0 else Interval(-pair.value, -pair.high, -pair.low)
            del drawn["confidence"]
            resampled = {
                name: bootstrap_values([metrics[name]], measures.y_true, scored[name], **drawn)[0]
                for name in answers
            }
            behind = _behind(choice, resampled, sign)
        except ValueError as error:
            doubts.append(f"Nobody can say how sure the choice is: {error}")
    # By its members: a candidate of somebody's may have that name.
    few = bool(evidence.members) and evidence.out_of_fold and evidence.num_units < ENOUGH_UNITS
    made = _ensemble_of_few(choice, behind, evidence.num_units, blind) if few else None
    return Selection(
        made or _smallest_of_the_tied(choice, behind), scores, points, behind, lead, tuple(doubts)
    )


def _behind(choice: Choice, resampled: Mapping[str, FloatArray], sign: int) -> dict[str, tuple[float, float]]:
    """Return how far each of the others lies behind the best, as a positive number, and its standard error."""
    best, *others = choice.ranking
    return {
        entry.name: (
            sign * (best.score - entry.score),
            float(np.nanstd(resampled[best.name] - resampled[entry.name])),
        )
        for entry in others
    }


def _ensemble_of_few(
    choice: Choice, behind: Mapping[str, tuple[float, float]], num_units: int, blind: Collection[str]
) -> Choice | None:
    """Return the choice of the ensemble, if it is the best or within one standard error of it; else None.

    Of a handful of units there is no standard error that says anything (two of them can be drawn in three ways): there
    it is taken if it is better than who answers without looking.
    """
    names = [entry.name for entry in choice.ranking]
    place = names.index(ENSEMBLE)
    if place == 0:
        return choice
    told = f"{metric_words(choice.select_by)} {format_value(choice.ranking[place].score)}"
    if num_units < FEWEST_UNITS:
        if not set(blind).isdisjoint(names[:place]):
            return None
        why = (
            f"{num_units} units cannot tell candidates apart, and {ENSEMBLE} is no choice among them: {told}"
        )
    elif ENSEMBLE in behind and behind[ENSEMBLE][0] < behind[ENSEMBLE][1]:
        difference, error = map(format_value, behind[ENSEMBLE])
        why = (
            f"{ENSEMBLE} is within one standard error of the best, and of few rows a mean loses less than a choice: "
            f"{told}, {difference} behind with a standard error of {error}"
        )
    else:
        return None
    return replace(choice, chosen=ENSEMBLE, reason=f"{why}. {choice.reason}")


def _smallest_of_the_tied(choice: Choice, behind: Mapping[str, tuple[float, float]]) -> Choice:
    """Return the choice of the smallest model, if much smaller, that is within one standard error of the best."""
    best = choice.ranking[0]
    tied = [
        entry
        for entry in choice.ranking
        if entry.name in behind
        and entry.parameters < best.parameters * SMALLER
        and behind[entry.name][0] < behind[entry.name][1]
    ]
    if not tied:
        return choice
    smallest = min(tied, key=lambda entry: entry.parameters)
    difference, error = behind[smallest.name]
    reason = (
        f"{smallest.name} is the smallest model ({smallest.parameters:,} parameters; {best.name}: "
        f"{best.parameters:,}) within one standard error of the best: {metric_words(choice.select_by)} "
        f"{format_value(smallest.score)}, {format_value(difference)} behind with a standard error of "
        f"{format_value(error)}. {choice.reason}"
    )
    return replace(choice, chosen=smallest.name, reason=reason)


def _doubts(evidence: Evidence, scores: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return what should be said of the rows that chose, and of scores that contradict each other."""
    found = []
    if evidence.num_units < SMALLEST_NUMBER_OF_GROUPS:
        found.append(
            f"Only {evidence.num_units} independent units ({evidence.num_rows} {evidence.words} rows) chose. Expected "
            f"at least {SMALLEST_NUMBER_OF_GROUPS}. Another draw may choose another candidate; label more, or give "
            "validation a larger share (split.val_share)."
        )
    if len(scores) > 1 and all({"accuracy", "log_loss"} <= own.keys() for own in scores.values()):
        right = max(scores, key=lambda name: scores[name]["accuracy"])
        sure = min(scores, key=lambda name: scores[name]["log_loss"])
        if scores[right]["accuracy"] > scores[sure]["accuracy"]:
            words = (
                f"{name} (accuracy {format_value(scores[name]['accuracy'])}, log loss "
                f"{format_value(scores[name]['log_loss'])})"
                for name in (right, sure)
            )
            found.append(
                "By accuracy {} is best, by log loss {}: one is right more often, the other is surer of the right "
                "answer. evaluate.select_by decides.".format(*words)
            )
    return found


def sentence(evidence: Evidence, selection: Selection) -> str:
    """Return in words how many rows chose and by how much the best score leads."""
    counted = f"{evidence.num_rows:,} {evidence.words} rows"
    if evidence.num_units != evidence.num_rows:
        counted += f" ({evidence.num_units:,} independent units)"
    if selection.lead is None:
        return f"Chosen by {counted}."
    lead, (best, other, *_) = selection.lead, selection.choice.ranking
    values = [format_value(value, sign="+") for value in (lead.value, lead.low, lead.high)]
    verdict = "that is no sure lead" if lead.low <= 0 else "a sure lead"
    if evidence.num_units < FEWEST_UNITS:
        verdict = "and so few show nothing surely"
    words = metric_words(selection.choice.select_by)
    return (
        f"Chosen by {counted}: {best.name} leads {other.name} by {values[0]} {words} ({values[1]} to {values[2]}), "
        f"{verdict}."
    )
