"""The difference of two models and how sure it is, against Student's test and the percentiles themselves."""

import numpy as np
import pytest
from scipy import stats

from pipeline.metrics.classification import roc_auc_score
from pipeline.metrics.intervals import Blocks, bootstrap_values, num_units
from pipeline.metrics.paired import paired_difference
from pipeline.metrics.values import mean_absolute_error

SETTINGS = {"resamples": 2000, "confidence": 0.95, "seed": 1}


@pytest.fixture
def errors():
    """Return the absolute errors of two models on 50 examples, the second a little worse."""
    generator = np.random.default_rng(4)
    return generator.gamma(2.0, 1.0, 50), generator.gamma(2.0, 1.2, 50)


def difference(errors, **changed):
    """Return the difference of the mean errors, the truth being 0."""
    truth = np.zeros((len(errors[0]), 1))
    return paired_difference(
        mean_absolute_error,
        mean_absolute_error,
        truth,
        errors[0][:, None],
        errors[1][:, None],
        **SETTINGS | changed,
    )


def test_it_is_never_narrower_than_students_interval(errors):
    """Of means it reaches at least as far as the paired t interval, up to the noise of the resamples."""
    found = difference(errors)
    student = stats.ttest_rel(*errors).confidence_interval(0.95)
    assert errors[0].mean() - errors[1].mean() == pytest.approx(found.value)
    assert found.low <= student.low + 0.03
    assert found.high >= student.high - 0.03
    assert found.high - found.low < 1.2 * (student.high - student.low)


def test_it_is_never_narrower_than_the_percentiles(errors):
    """Where the resamples are skewed they reach further on one side, and count there."""
    truth = np.zeros((50, 1))
    drawn = [
        bootstrap_values([mean_absolute_error], truth, item[:, None], resamples=2000, seed=1)[0]
        for item in errors
    ]
    low, high = np.quantile(drawn[0] - drawn[1], [0.025, 0.975])
    found = difference(errors)
    assert found.low <= low
    assert found.high >= high


def test_equal_answers_differ_by_nothing(errors):
    """The same errors twice: 0, and surely."""
    found = difference((errors[0], errors[0]))
    assert (0.0, 0.0, 0.0) == (found.value, found.low, found.high)


def test_blocks_are_the_units(errors):
    """50 rows in blocks of 10 are 5 units, and five say less than fifty."""
    blocks = Blocks(10, (50,))
    assert (50, 5) == (num_units(50, None), num_units(50, blocks))
    rows, blocked = difference(errors), difference(errors, blocks=blocks)
    assert blocked.high - blocked.low > 0
    assert rows.value == blocked.value


def test_a_metric_that_does_not_exist_is_refused():
    """ROC AUC of one class."""
    probabilities = np.full((40, 2), 0.5)
    with pytest.raises(ValueError, match="the difference cannot be judged"):
        paired_difference(
            roc_auc_score, roc_auc_score, np.zeros(40, dtype=int), probabilities, probabilities, **SETTINGS
        )
