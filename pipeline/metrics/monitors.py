"""What the best epoch of a training may be chosen by. Apart from the other names: trainings depend on this file."""

from pipeline.metrics import classification, multilabel
from pipeline.metrics.calibration import calibrated_log_loss
from pipeline.metrics.classification import METRICS, Metric

DECLARED_IN = (classification, multilabel)
"""Importing them fills `METRICS` with those of classes and labels."""


def monitors_of(task: str) -> dict[str, Metric | None]:
    """Return what the best epoch of a training may be chosen by, besides `val_loss`: name to metric.

    Of classes and labels every metric that needs answers alone, no thresholds and no positive class (the most probable
    class is what is said: the threshold is chosen once a model is trained), and the log loss at its best temperature;
    of numbers the absolute error.
    None: `training.validation_scores` has it in any case.
    """
    if task in ("regression", "forecasting"):
        return {"val_mean_absolute_error": None}
    if task == "anomaly":
        return {}
    return {"val_calibrated_loss": calibrated_log_loss} | {
        f"val_{metric.name}": None if metric.name == "accuracy" else metric.function
        for metric in METRICS
        if task in metric.tasks
        and metric.selects
        and metric.name != "log_loss"
        and set(metric.settings) <= {"at"}
    }
