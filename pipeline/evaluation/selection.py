"""Which candidate is chosen: by its validation score, before anybody looks at the test set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.metrics.intervals import rounded
from pipeline.metrics.names import in_words, primary_called, shown
from pipeline.runtime.stage import DataRefused

FEWEST_ANOMALIES = 5
"""With fewer, one that was found or missed moves F1 by a fifth and more."""
RECONSTRUCTION = "reconstruction_error"
"""What chooses among detectors of anomalies where the metric asked for cannot."""


@dataclass(frozen=True)
class Entry:
    """A candidate as the choice sees it.

    Attributes:
        name: As in params.yaml.
        score: On validation.
        parameters: Weights of the model; fewer is simpler.
    """

    name: str
    score: float
    parameters: int


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why.

    Attributes:
        chosen: Name of the candidate.
        select_by: The metric.
        reason: One sentence.
        ranking: All entries, best first.
    """

    chosen: str
    select_by: str
    reason: str
    ranking: tuple[Entry, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the choice as it is written down."""
        ranking = [
            {"candidate": entry.name, "parameters": entry.parameters, "score": rounded(entry.score)}
            for entry in self.ranking
        ]
        return {"chosen": self.chosen, "reason": self.reason, "ranking": ranking, "select_by": self.select_by}


def choose(entries: Sequence[Entry], select_by: str) -> Choice:
    """Return the best entry; of equal scores the model with fewer parameters, of equal sizes the first name.

    Args:
        entries: The candidates that may be chosen; baselines are not among them.
        select_by: Name of a metric, which tells its direction.

    Raises:
        DataRefused: There is nobody to choose from.
    """
    if not entries:
        raise DataRefused(
            "There is no candidate to choose. Expected at least one that is not a baseline. Received: only "
            "families that serve as a measure. Add a candidate to params.yaml."
        )
    sign = primary_called(select_by).sign
    ranking = tuple(sorted(entries, key=lambda entry: (-sign * entry.score, entry.parameters, entry.name)))
    best, *others = ranking
    tied = [entry.name for entry in others if entry.score == best.score]
    reason = f"{best.name} has the best validation {in_words(select_by)}: {shown(best.score)}"
    if tied:
        reason += (
            f", like {', '.join(tied)}; fewest parameters ({best.parameters:,}), then first name, decides"
        )
    elif others:
        reason += f" (next: {others[0].name}, {shown(others[0].score)})"
    return Choice(best.name, select_by, reason + ".", ranking)


def choose_by_validation(
    val: Mapping[str, Mapping[str, float]],
    parameters: Mapping[str, int],
    select_by: str,
    anomalies: int | None = None,
) -> Choice:
    """Return the choice; where validation cannot tell detectors apart, by how well normal windows come back.

    Validation often holds no labelled anomaly, or so few that finding one is luck, or some that all candidates
    miss or all find. That says nothing of them, and neither does the size of a network.

    Args:
        val: Candidate to its metrics on validation.
        parameters: Candidate to the weights of its model.
        select_by: The metric asked for.
        anomalies: Labelled ones in validation; None where the task is another.

    Raises:
        DataRefused: The metric does not exist for this data, or there is nobody to choose from.
    """
    known = [name for name in val if select_by in val[name]]
    detectors = all(RECONSTRUCTION in own for own in val.values())
    metric, why = select_by, ""
    if len(known) < len(val):
        if not detectors:
            raise DataRefused(
                f"evaluate.select_by={select_by} does not exist for this data (metrics of two classes need "
                f"exactly two). Received: known for {known}. Choose one of "
                f"{sorted(set.intersection(*(set(own) for own in val.values())))}."
            )
        metric, why = RECONSTRUCTION, "Validation has no labelled anomaly"
    elif detectors and anomalies is not None and anomalies < FEWEST_ANOMALIES:
        few = f"{anomalies} labelled {'anomaly' if anomalies == 1 else 'anomalies'}"
        metric, why = RECONSTRUCTION, f"Validation has {few}, fewer than {FEWEST_ANOMALIES}"
    elif detectors and len(val) > 1 and len({own[select_by] for own in val.values()}) == 1:
        metric, why = RECONSTRUCTION, "On validation all candidates are equal"
    choice = choose([Entry(name, val[name][metric], parameters[name]) for name in val], metric)
    return because(choice, f"{why}, so {select_by} could not choose.") if why else choice


def because(choice: Choice, why: str) -> Choice:
    """Return the choice with a sentence before its reason: why this metric chose and not the one asked for."""
    return replace(choice, reason=f"{why} {choice.reason}")
