"""Rules between the terms of the gate, the task and the intervals; `pipeline/contradictions.py` runs them.

None of them may leave the gate with nothing to demand.
"""

import math
from collections.abc import Iterator

from pipeline.config import Params
from pipeline.source_file import Source
from pipeline.task_rules import VALUE_METRICS

LEAST_CONFIDENCE = 0.9
"""Below it more than one in twenty models that are no better would be promoted."""
RESAMPLES_BEYOND = 5
"""Resamples that must lie beyond an end of an interval for the end to mean something."""
FLOOR_METRICS = {
    "classification": (
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "log_loss",
        "roc_auc",
        "expected_calibration_error",
        "positive_f1",
        "average_precision",
    ),
    "regression": VALUE_METRICS,
    "forecasting": VALUE_METRICS,
    "anomaly": ("event_f1", "event_precision", "event_recall", "roc_auc", "average_precision"),
}
"""What a task is judged by on test."""
WITHOUT_COLUMNS = ("digits", "idx")
"""Kinds of source whose samples have neither groups nor side columns."""
ERRORS = ("_error", "_loss")
"""Endings of the names of metrics that a floor holds down: lower is better."""


def intervals_can_decide(params: Params, _source: Source) -> Iterator[str]:
    """Yield where the intervals of the evaluation are too loose, or rest on too few resamples, for the gate."""
    confidence, resamples = params.evaluate.confidence, params.evaluate.bootstrap_resamples
    if confidence < LEAST_CONFIDENCE:
        yield (
            f"evaluate.confidence must be at least {LEAST_CONFIDENCE}: the gate promotes by these intervals, and a "
            f"model that is no better would pass in {(1 - confidence) / 2:.0%} of cases. "
            f"Received: confidence={confidence}. Set it to 0.95."
        )
    # Rounded, because 200 * (1 - 0.95) / 2 is a little below 5.
    beyond = round(resamples * (1 - confidence) / 2, 6)
    if beyond < RESAMPLES_BEYOND:
        needed = math.ceil(round(2 * RESAMPLES_BEYOND / (1 - confidence), 6))
        yield (
            f"evaluate.bootstrap_resamples are too few for confidence={confidence}: {beyond:g} lie beyond an end of "
            f"an interval. Expected at least {needed}. Received: bootstrap_resamples={resamples}. Raise it."
        )


def mode_has_its_margin(params: Params, _source: Source) -> Iterator[str]:
    """Yield a margin without its mode, or a mode without its margin."""
    register = params.register
    margin = register.non_inferiority_margin
    if register.mode == "non_inferiority" and margin is None:
        yield (
            "register.non_inferiority_margin is missing: mode non_inferiority needs to know how much worse is not "
            "worse. Expected a share in (0, 0.1], 0.01 say. Received: null."
        )
    if register.mode == "superiority" and margin is not None:
        yield (
            "register.non_inferiority_margin has an effect in mode non_inferiority only. "
            f"Received: mode=superiority, non_inferiority_margin={margin}. Set it to null, or change the mode."
        )


def floors_can_be_held(params: Params, _source: Source) -> Iterator[str]:
    """Yield floors of metrics that the task does not have, or that demand nothing."""
    task, floors = params.data.task, params.register.floors or {}
    known = FLOOR_METRICS[task]
    if task in ("regression", "forecasting") and params.evaluate.season:
        known = (*known, "mean_absolute_scaled_error")
    for name, bound in floors.items():
        if name not in known:
            yield (
                f"register.floors names a metric that task {task} does not have. Expected some of "
                f"{', '.join(dict.fromkeys(known))}. Received: {name}={bound}."
            )
        elif not math.isfinite(bound) or not _demands_something(name, bound):
            range_ = _range(name)
            yield (
                f"register.floors.{name}={bound} can never, or can always, be held. Expected a number {range_}. "
                "Correct it, or remove it."
            )


def slices_can_exist(params: Params, source: Source) -> Iterator[str]:
    """Yield slices that cannot be cut; which columns other sources have is known once they are read."""
    slices, tolerance = params.register.slices, params.register.slice_tolerance
    if (slices is None) != (tolerance is None):
        yield (
            "register.slices and slice_tolerance belong together. Expected both or none. Received: "
            f"slices={slices}, slice_tolerance={tolerance}."
        )
    if slices is None:
        return
    if len(set(slices)) < len(slices):
        yield f"register.slices names a column twice. Received: {list(slices)}. Remove one."
    if params.data.task == "anomaly":
        yield (
            "register.slices cannot be judged for task anomaly, whose events go through many windows. "
            f"Received: slices={list(slices)}. Set slices and slice_tolerance to null."
        )
    if source.kind in WITHOUT_COLUMNS:
        yield (
            f"register.slices needs samples with columns. Received: slices={list(slices)}, kind={source.kind} in "
            "data/source.json. Set slices and slice_tolerance to null."
        )


def tolerances_fit_the_task(params: Params, _source: Source) -> Iterator[str]:
    """Yield tolerances that are missing, or that would be ignored."""
    register, task = params.register, params.data.task
    of_classes = {
        "class_tolerance": register.class_tolerance,
        "calibration_budget": register.calibration_budget,
    }
    for name, value in of_classes.items():
        if task == "classification" and value is None:
            yield f"register.{name} is missing: classification needs it. Expected a share in [0, 0.5], 0.05 say."
        if task != "classification" and value is not None:
            yield f"register.{name} is for classification. Received: task={task}, {name}={value}. Set it to null."


def _demands_something(name: str, bound: float) -> bool:
    if name.endswith(ERRORS):
        return bound > 0 and not (name == "expected_calibration_error" and bound >= 1)
    return 0 < bound < 1


def _range(name: str) -> str:
    unbounded = name.endswith(ERRORS) and name != "expected_calibration_error"
    return "above 0" if unbounded else "between 0 and 1"
