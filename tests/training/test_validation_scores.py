"""Scores on validation, worked by hand, for every task."""

import numpy as np
import pytest

from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.inputs.train_data import TrainData
from pipeline.runtime.errors import DataRefused
from pipeline.training.validation_scores import scaled, validation_metrics

INPUT = InputSpec("vector", (1,), (0.0,), (1.0,))
TWO_TARGETS = OutputSpec(
    task="regression", targets=("a", "b"), target_mean=(10.0, 0.0), target_standard_deviation=(2.0, 1.0)
)


def data(targets: np.ndarray | None, output_spec: OutputSpec) -> TrainData:
    """Return four samples of which the last two choose."""
    rows = np.arange(4)
    return TrainData(np.zeros((4, 1), np.float32), targets, rows[:2], rows[2:], INPUT, output_spec)


def test_classifiers_are_scored_by_accuracy_and_log_loss():
    """One of two right; log loss is the mean of -log of the true class's probability."""
    spec = OutputSpec(("no", "yes"), (1, 1))
    answers = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)
    found = validation_metrics(data(np.array([0, 0, 1, 1], np.int32), spec), answers)
    assert {"val_accuracy": 0.5, "val_loss": -(np.log(0.75) + np.log(0.5)) / 2} == pytest.approx(found)


def test_what_is_monitored_is_there_too():
    """Both right, so balanced accuracy is 1; by default nothing is added."""
    spec = OutputSpec(("no", "yes"), (1, 1))
    answers = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)
    of_classes = data(np.array([0, 0, 1, 0], np.int32), spec)
    assert validation_metrics(of_classes, answers, "val_balanced_accuracy")["val_balanced_accuracy"] == 1.0
    assert set(validation_metrics(of_classes, answers)) == {"val_accuracy", "val_loss"}


def test_the_loss_at_its_best_temperature_can_be_monitored():
    """Twice as sure logits are the same model, once calibrated; their log loss is not the same."""
    spec = OutputSpec(("no", "yes"), (1, 1))
    rows = np.arange(8)
    truth = np.array([0, 1, 0, 1, 0, 1, 0, 1], np.int32)
    of_classes = TrainData(np.zeros((8, 1), np.float32), truth, rows[:0], rows, INPUT, spec)
    shares = np.array([0.8, 0.3, 0.6, 0.9, 0.4, 0.7, 0.7, 0.8])
    surer = shares**2 / (shares**2 + (1 - shares) ** 2)
    one, other = (
        validation_metrics(
            of_classes, np.stack([1 - yes, yes], axis=1).astype(np.float32), "val_calibrated_loss"
        )
        for yes in (shares, surer)
    )
    assert one["val_calibrated_loss"] == pytest.approx(other["val_calibrated_loss"], rel=1e-3)
    assert one["val_loss"] != pytest.approx(other["val_loss"], rel=1e-2)


def test_a_monitor_that_these_rows_do_not_have_is_refused():
    """Also of families that are solved, and of the rows of a fold: no class beside another, no ROC."""
    spec = OutputSpec(("no", "yes"), (1, 1))
    answers = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)
    with pytest.raises(DataRefused, match=r"val_roc_auc does not exist for the 2 rows.*those of a fold"):
        validation_metrics(data(np.array([0, 0, 1, 1], np.int32), spec), answers, "val_roc_auc")


def test_numbers_are_scored_in_units_of_their_deviation():
    """Off by 2 of a target with deviation 2 and by 1 of one with deviation 1 are both off by one deviation."""
    targets = np.array([[0, 0], [0, 0], [0, 0], [0, 0]], np.float32)
    answers = np.array([[12.0, 0.0], [10.0, -1.0]], np.float32)
    found = validation_metrics(data(targets, TWO_TARGETS), answers)
    assert {"val_loss": 0.5, "val_mean_absolute_error": 0.5} == pytest.approx(found)


def test_anomalies_are_scored_by_the_mean_error():
    """The answers are errors already."""
    spec = OutputSpec(task="anomaly")
    assert {"val_loss": 2.0} == validation_metrics(data(None, spec), np.array([1.0, 3.0], np.float32))


def test_scaling_takes_targets_from_the_last_axis():
    """Forecasts (batch, horizon, targets) and predictions (batch, targets) scale alike."""
    values = np.array([[[12.0, 3.0], [8.0, -1.0]]], np.float32)
    assert np.array_equal([[[1.0, 3.0], [-1.0, -1.0]]], scaled(values, TWO_TARGETS))
