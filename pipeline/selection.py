"""Which candidate is chosen: by its validation score, before anybody looks at the test set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.metrics import METRICS, Metric, higher_is_better, short_name
from pipeline.runtime import DataRefused


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
            {"candidate": entry.name, "parameters": entry.parameters, "score": round(entry.score, 6)}
            for entry in self.ranking
        ]
        return {"chosen": self.chosen, "reason": self.reason, "ranking": ranking, "select_by": self.select_by}


def metric_called(name: str) -> Metric:
    """Return the metric of that short name.

    Raises:
        ValueError: There is none.
    """
    by_name = {short_name(metric): metric for metric in METRICS}
    if name not in by_name:
        raise ValueError(f"Unknown metric. Expected one of {sorted(by_name)}. Received: {name}.")
    return by_name[name]


def choose(entries: Sequence[Entry], select_by: str) -> Choice:
    """Return the best entry; of equal scores the model with fewer parameters, of equal sizes the first name.

    Args:
        entries: The candidates that may be chosen; baselines are not among them.
        select_by: Short name of a metric; its direction is read off the metric's full name.

    Raises:
        DataRefused: There is nobody to choose from.
    """
    if not entries:
        raise DataRefused(
            "There is no candidate to choose. Expected at least one that is not a baseline. Received: only "
            "families majority and linear. Add a candidate to params.yaml."
        )
    sign = -1 if higher_is_better(metric_called(select_by)) else 1
    ranking = tuple(sorted(entries, key=lambda entry: (sign * entry.score, entry.parameters, entry.name)))
    best, *others = ranking
    tied = [entry.name for entry in others if entry.score == best.score]
    reason = f"{best.name} has the best validation {select_by}: {best.score:.4f}"
    if tied:
        reason += (
            f", like {', '.join(tied)}; fewest parameters ({best.parameters:,}), then first name, decides"
        )
    elif others:
        reason += f" (next: {others[0].name}, {others[0].score:.4f})"
    return Choice(best.name, select_by, reason + ".", ranking)
