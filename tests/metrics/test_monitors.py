"""`pipeline.metrics.monitors`: what may choose the best epoch, by task."""

import pytest

from pipeline.metrics.monitors import monitors_of


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (
            "classification",
            {"val_accuracy", "val_balanced_accuracy", "val_calibrated_loss", "val_macro_f1", "val_roc_auc"},
        ),
        ("multilabel", {"val_calibrated_loss", "val_mean_average_precision"}),
        ("regression", {"val_mean_absolute_error"}),
        ("forecasting", {"val_mean_absolute_error"}),
        ("anomaly", set()),
    ],
)
def test_monitors_need_answers_alone(task, expected):
    """No threshold, no positive class, nothing that is known at the end only; the loss is there in any case."""
    assert expected == set(monitors_of(task))
