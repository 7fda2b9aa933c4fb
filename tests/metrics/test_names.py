"""Names of metrics: their direction, how they are read, and how their values are shown."""

import pytest

from pipeline.metrics.classification import METRICS
from pipeline.metrics.names import (
    HIGHER_IS_BETTER,
    bound_metrics,
    format_value,
    metric_words,
    metrics_of,
    primary_called,
)

VALUES = ["root_mean_squared_error", "mean_absolute_error", "r2", "scaled_mean_squared_error"]
CHOOSING = {
    "classification": [
        "accuracy", "balanced_accuracy", "macro_f1", "log_loss", "roc_auc", "positive_f1", "average_precision"
    ],
    "regression": VALUES,
    "forecasting": VALUES,
    "anomaly": ["event_f1", "roc_auc", "average_precision"],
}  # fmt: skip
FLOORS_ONLY = {
    "classification": {"expected_calibration_error"},
    "regression": {"mean_absolute_scaled_error"},
    "forecasting": {"mean_absolute_scaled_error"},
    "anomaly": {"event_precision", "event_recall"},
}


@pytest.mark.parametrize("task", CHOOSING)
def test_a_task_has_these_metrics_and_these_of_them_may_choose(task: str) -> None:
    """Written out once more: parameters and reports of users name them."""
    choosing = [metric.name for metric in metrics_of(task) if metric.selects]
    assert CHOOSING[task] == [name for name in choosing if name in CHOOSING[task]]
    assert FLOORS_ONLY[task] <= {metric.name for metric in metrics_of(task) if not metric.selects}


def test_these_metrics_are_one_exactly_when_nothing_went_wrong() -> None:
    """Their intervals get an exact bound where no answer was wrong."""
    counting = {metric.name for metric in METRICS if metric.one_without_error}
    answers = {"accuracy", "balanced_accuracy", "macro_f1"}
    assert answers | {"positive_f1", "event_f1", "event_recall"} <= counting
    assert not {"log_loss", "roc_auc", "event_precision", "r2"} & counting


@pytest.mark.parametrize("name", sorted(metric.name for metric in METRICS))
def test_every_metric_has_its_direction(name: str) -> None:
    """Errors and losses are better when lower, everything else when higher."""
    assert primary_called(name).higher_is_better == (not name.endswith(("_error", "_loss")))


def test_further_arguments_are_bound_to_what_the_task_offers() -> None:
    """What a metric needs and nobody can say leaves it out."""
    assert "positive_f1" not in bound_metrics("classification", {"positive": None})
    found = bound_metrics("classification", {"positive": 0, "threshold": 0.7})["positive_f1"]
    assert 1.0 == float(found([0, 1], [[0.8, 0.2], [0.6, 0.4]], None))


def test_unknown_metrics_are_refused_with_those_that_exist() -> None:
    """A misspelt name is answered with the list."""
    with pytest.raises(ValueError, match=r"Expected one of .*macro_f1.*Received: makro_f1"):
        primary_called("makro_f1")


@pytest.mark.parametrize(
    ("name", "words"),
    [("accuracy", "accuracy"), ("macro_f1", "macro F1"), ("r2", "R2"), ("roc_auc", "ROC AUC"), ("log_loss", "log loss")],
)  # fmt: skip
def test_names_are_read_as_people_say_them(name: str, words: str) -> None:
    """Without underscores, abbreviations in capitals."""
    assert words == metric_words(name)
    assert name in HIGHER_IS_BETTER


@pytest.mark.parametrize(
    ("value", "text"), [(0.9, "0.9000"), (47.12352, "47.1235"), (0.0, "0.0000"), (3.21987e-5, "3.22e-05"), (-2e-6, "-2e-06")]
)  # fmt: skip
def test_small_errors_keep_their_digits(value: float, text: str) -> None:
    """An error has the unit of its data: 0.00003 is not 0.0000."""
    assert text == format_value(value)


def test_differences_carry_their_sign() -> None:
    """Also where they are small."""
    assert ("+0.0300", "+3e-05", "+0.0000") == (
        format_value(0.03, sign="+"),
        format_value(3e-5, sign="+"),
        format_value(0.0, sign="+"),
    )
