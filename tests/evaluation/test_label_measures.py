"""Classifiers of several labels: a threshold of each label from validation, and what is measured with them."""

import numpy as np
import pytest

from pipeline.data.label_sets import as_cell
from pipeline.evaluation.label_measures import LabelMeasures
from pipeline.metrics.classification import best_threshold

CLASSES = ("billing", "login", "rare")


def measures(rows=120, seed=0, groups=()):
    """Return measures of rows with some of three labels, and answers that lie too low for the second."""
    rng = np.random.default_rng(seed)
    truth = rng.random((rows, 3)) < (0.5, 0.3, 0.0)
    cells = [as_cell(np.array(CLASSES)[row]) for row in truth]
    predictions = np.clip(0.4 * truth + rng.uniform(0, 0.5, truth.shape), 0, 1) * (1.0, 0.4, 0.2)
    return LabelMeasures.of(cells, groups, CLASSES, 15), predictions.astype(np.float32)


def test_every_label_has_the_threshold_that_is_best_for_it():
    """That of `best_threshold` on its own column; 0.5 where no row of validation has the label."""
    found, predictions = measures()
    point = found.operating_point(predictions)["thresholds"]
    for index, name in enumerate(CLASSES[:2]):
        assert point[name] == best_threshold(found.y_true[:, index] == 1, predictions[:, index])
    assert point["login"] < 0.25 < point["billing"]
    assert 0.5 == point["rare"]


def test_a_handful_of_groups_teaches_no_threshold():
    """Of nine groups 0.5 stands for every label; of ten it is learnt."""
    for groups, learnt in ((9, False), (10, True)):
        found, predictions = measures(groups=tuple(str(row % groups) for row in range(120)))
        point = found.operating_point(predictions)["thresholds"]
        assert (point["login"] < 0.25) == learnt
        assert (set(point.values()) == {0.5}) != learnt


def test_metrics_are_those_at_the_thresholds():
    """A label whose answers lie low is said all the same; at 0.5 it never would be."""
    found, predictions = measures()
    point = found.operating_point(predictions)
    assert found.values(predictions, point)["macro_f1"] > found.values(predictions, {})["macro_f1"] + 0.3
    assert (
        found.values(predictions, point)["mean_average_precision"]
        == found.values(predictions, {})["mean_average_precision"]
    )


def test_labels_are_told_one_by_one():
    """Precision, recall, F1 and average precision, an entry per label; none of one that never occurs."""
    found, predictions = measures()
    for metric in found.per_label(found.operating_point(predictions)).values():
        values = metric(found.y_true, predictions, None)
        assert (3,) == values.shape
        assert np.isfinite(values[:2]).all()
        assert np.isnan(values[2])


def test_answers_of_other_rows_are_refused():
    """A row too few."""
    found, predictions = measures()
    with pytest.raises(ValueError, match="shape"):
        found.scored(predictions[1:], {})


def test_groups_count_instead_of_their_rows():
    """Twelve groups of ten rows could have been wrong twelve times."""
    found, _ = measures(groups=[f"person {row // 10}" for row in range(120)])
    assert {12} == set(found.trials.values())
    assert {120} == set(measures()[0].trials.values())


def test_a_label_without_any_chance_is_never_said():
    """Where a model gives it exactly 0 everywhere: a threshold of 0 would say it of every row."""
    found, predictions = measures()
    predictions[:, 0] = 0.0
    point = found.operating_point(predictions)["thresholds"]
    assert point["billing"] > 0
    assert not (predictions[:, 0] >= point["billing"]).any()
