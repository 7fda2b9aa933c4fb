"""Every metric a model may be chosen and judged by, under the name it has in params.yaml and reports."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from pipeline.metrics import anomalies, classification, multilabel, values
from pipeline.metrics.classification import METRICS, Metric, NamedMetric
from pipeline.metrics.intervals import SMALL

HIGHER_IS_BETTER = {metric.name: metric.higher_is_better for metric in METRICS} | {
    "reconstruction_error": False
}
"""Name of a metric to its direction."""

DECLARED_IN = (classification, multilabel, values, anomalies)
"""Importing them fills `METRICS`: a new metric is a function in one of them."""
ABBREVIATIONS = {"auc": "AUC", "f1": "F1", "r2": "R2", "roc": "ROC"}


@dataclass(frozen=True)
class Primary:
    """The metric that decides: who is chosen on validation, and who becomes champion on test.

    Attributes:
        name: As in `evaluate.select_by`.
        higher_is_better: Its direction.
    """

    name: str
    higher_is_better: bool

    @property
    def sign(self) -> int:
        """Return what turns a difference into an improvement: 1, or -1 where lower is better."""
        return 1 if self.higher_is_better else -1

    @property
    def words(self) -> str:
        """Return the name as a sentence has it."""
        return metric_words(self.name)

    def as_json(self) -> dict[str, Any]:
        """Return it as card.json and selection.json hold it."""
        return asdict(self)


def primary_called(name: str) -> Primary:
    """Return the metric of that name with its direction.

    Raises:
        ValueError: There is none.
    """
    if name not in HIGHER_IS_BETTER:
        raise ValueError(f"Unknown metric. Expected one of {sorted(HIGHER_IS_BETTER)}. Received: {name}.")
    return Primary(name, HIGHER_IS_BETTER[name])


def metrics_of(task: str) -> list[NamedMetric]:
    """Return the metrics of a task, as in data.task, in the order of reports."""
    return [metric for metric in METRICS if task in metric.tasks]


def bound_metrics(task: str, offered: Mapping[str, Any]) -> dict[str, Metric]:
    """Return the metrics of a task by their names, as functions of truth, predictions and weights.

    Args:
        task: As in data.task.
        offered: What their further arguments are; a metric is left out where one of them is None, and one that is not
            offered keeps its default.
    """
    bound: dict[str, Metric] = {}
    for metric in metrics_of(task):
        settings = {name: offered[name] for name in metric.settings if name in offered}
        if all(value is not None for value in settings.values()):
            bound[metric.name] = partial(metric.function, **settings) if settings else metric.function
    return bound


def metric_words(name: str) -> str:
    """Return the name of a metric as people read it: `log_loss` is "log loss", `roc_auc` is "ROC AUC"."""
    return " ".join(ABBREVIATIONS.get(part, part) for part in name.split("_"))


ARGMAX = "argmax_"


def argmax_name(name: str) -> str:
    """Return what a score of classes is called that was not taken at a threshold, beside others that were.

    `argmax_accuracy` for `accuracy`, which counts answers; what counts none has its one name.
    """
    counts = {metric.name for metric in metrics_of("classification") if "at" in metric.settings}
    return ARGMAX + name if name in counts else name


def said_from(point: Mapping[str, Any]) -> str:
    """Return from where on a model says what it says, for people: "spam from 0.4850 on"; "" without a threshold.

    Args:
        point: An operating point of classes or of labels, see `pipeline.evaluation.measures`.
    """
    if "threshold" in point:
        return f"{point['positive_class']} from {format_value(point['threshold'])} on"
    if thresholds := point.get("thresholds"):
        ends = " to ".join(format_value(end(thresholds.values())) for end in (min, max))
        return f"each label from its own threshold on ({ends})"
    return ""


def format_value(value: float, digits: int = 4, sign: str = "") -> str:
    """Return a metric's value as people read it: so many decimals, or significant digits of a small one.

    Args:
        value: Of the metric.
        digits: How many.
        sign: "+" for differences.
    """
    kind = "f" if value == 0 or abs(value) >= SMALL else "g"
    return f"{value:{sign}.{digits}{kind}}"
