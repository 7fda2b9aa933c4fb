"""Temperature and conformal intervals against scikit-learn, formulas worked by hand, and simulation."""

import numpy as np
import pytest
from scipy.special import expit, softmax

from pipeline.metrics.calibration import (
    calibrated_log_loss,
    cross_entropy,
    fitted_temperature,
    half_widths,
    helpful_temperature,
    inside,
    smoothed,
    tempered,
)


def overconfident(num_rows, num_classes, temperature, seed=0):
    """Return classes drawn from true probabilities, and logits that are `temperature` times too large."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(num_rows, num_classes)) * 1.5
    drawn = (generator.random(num_rows)[:, None] > softmax(logits, axis=1).cumsum(axis=1)).sum(axis=1)
    return drawn[:, None] == np.arange(num_classes), logits * temperature


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found(temperature):
    """Logits that are three times too large are calibrated by 3."""
    truth, logits = overconfident(20_000, 4, temperature)
    found = fitted_temperature(truth, softmax(logits, axis=1), several=False)
    assert found == pytest.approx(temperature, rel=0.05)


def test_two_classes_agree_with_scikit_learn():
    """One column of logits, scaled: logistic regression without intercept and penalty finds 1 / T."""
    from sklearn.linear_model import LogisticRegression

    truth, logits = overconfident(500, 2, 2.5)
    difference = (logits[:, 1] - logits[:, 0])[:, None]
    # Every row twice, as what it is and as what it is not, with the weights of Platt's targets.
    rows, classes = np.vstack([difference, difference]), np.concatenate([truth[:, 1], truth[:, 0]])
    weights = np.repeat([501 / 502, 1 / 502], 500)
    model = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(rows, classes, weights)
    found = fitted_temperature(truth, softmax(logits, axis=1), several=False)
    assert 1 / found == pytest.approx(float(model.coef_[0, 0]), rel=1e-4)


def test_many_classes_agree_with_scikit_learn():
    """The log loss at the temperature found is that of scikit-learn's temperature scaling (from 1.8 on)."""
    calibration = pytest.importorskip("sklearn.calibration")
    scaling = getattr(calibration, "_TemperatureScaling", None)
    if scaling is None:
        pytest.skip("this scikit-learn has no temperature scaling")
    truth, logits = overconfident(400, 5, 2.0, seed=3)
    rows, classes = np.repeat(logits, 5, axis=0), np.tile(np.arange(5), 400)
    weights = np.where(truth, 401 / 402, 1 / 402 / 4).ravel()
    theirs = 1 / scaling().fit(rows, classes, sample_weight=weights).beta_
    assert fitted_temperature(truth, softmax(logits, axis=1), several=False) == pytest.approx(
        theirs, rel=1e-3
    )


def test_tempered_by_hand():
    """0.8 and 0.2 at temperature 2 are sqrt(0.8) and sqrt(0.2) of their sum: 2/3 and 1/3; of one label alone the same."""
    assert tempered(np.array([[0.8, 0.2]]), 2.0, several=False)[0] == pytest.approx([2 / 3, 1 / 3])
    assert tempered(np.array([[0.8]]), 2.0, several=True)[0] == pytest.approx([2 / 3])


def test_labels_have_one_temperature_together():
    """Sigmoids that are twice too sure are calibrated by 2."""
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(5000, 3)) * 2
    truth = generator.random((5000, 3)) < 1 / (1 + np.exp(-logits))
    found = fitted_temperature(truth, 1 / (1 + np.exp(-2 * logits)), several=True)
    assert found == pytest.approx(2.0, rel=0.06)


def test_a_temperature_is_kept_only_where_other_rows_gain():
    """Three times too sure: kept, and the loss falls. Calibrated already: mostly not kept, where the rows' own always is."""
    truth, logits = overconfident(300, 3, 3.0)
    probabilities = softmax(logits, axis=1)
    found = helpful_temperature(truth, probabilities, np.arange(300), several=False)
    assert found == pytest.approx(3.0, rel=0.35)
    before, after = (
        cross_entropy(truth, made, several=False)
        for made in (probabilities, tempered(probabilities, found, several=False))
    )
    assert after < 0.8 * before
    kept = 0
    for seed in range(40):
        truth, logits = overconfident(60, 3, 1.0, seed=seed)
        kept += helpful_temperature(truth, softmax(logits, axis=1), np.arange(60), several=False) is not None
    assert kept < 20


def test_a_model_that_is_as_sure_as_it_is_right_is_not_made_to_doubt():
    """Right on 99 of 100 rows of ten classes, and it says so: on new rows its answers lose nothing by the rule."""
    before = after = 0.0
    for seed in range(12):
        draw = np.random.default_rng(seed)
        logits = np.where(
            np.eye(10, dtype=bool)[draw.integers(0, 10, 3_250)], 7.5, draw.normal(size=(3_250, 10))
        )
        probabilities = softmax(logits, axis=1)
        drawn = (probabilities.cumsum(axis=1) < draw.random((3_250, 1))).sum(axis=1).clip(max=9)
        truth = drawn[:, None] == np.arange(10)
        found = helpful_temperature(truth[:250], probabilities[:250], np.arange(250), several=False)
        made = tempered(probabilities[250:], found or 1.0, several=False)
        before += cross_entropy(truth[250:], probabilities[250:], several=False)
        after += cross_entropy(truth[250:], made, several=False)
    assert after < 1.02 * before


@pytest.mark.parametrize("several", [False, True])
def test_rows_that_are_all_right_make_nobody_certain(several):
    """200 of 200 right by 0.95: a model may become as sure as 201 of 202, and no surer."""
    truth = np.arange(200)[:, None] % 2 == np.arange(2)
    probabilities = np.where(truth, 0.95, 0.05)
    found = helpful_temperature(truth, probabilities, np.arange(200), several=several)
    sure = tempered(probabilities, found, several=several).max()
    assert sure == pytest.approx(201 / 202, abs=1e-5)


def test_units_are_not_torn_and_few_are_not_asked():
    """90 rows of nine persons are nine: no temperature. Copies of one answer never stand in both halves."""
    truth, logits = overconfident(90, 3, 3.0)
    persons = [f"p{row // 10}" for row in range(90)]
    assert helpful_temperature(truth, softmax(logits, axis=1), persons, several=False) is None


def test_half_widths_by_hand():
    """Errors 1 to 19 at 0.95: rank ceil(20 x 0.95) = 19, the largest; 18 of them are too few; at 0.9 rank 18."""
    truth, errors = np.zeros((19, 1)), np.arange(1.0, 20.0)[:, None]
    assert half_widths(truth, errors, 0.95) == pytest.approx([19.0])
    assert half_widths(truth[1:], errors[1:], 0.95) is None
    assert half_widths(truth, -errors, 0.9) == pytest.approx([18.0])


def test_half_widths_are_those_of_the_published_quantile():
    """NumPy's `higher` quantile at (n + 1) / n times the confidence, for each step and target."""
    generator = np.random.default_rng(0)
    truth, said = generator.normal(size=(2, 200, 4, 3))
    expected = np.quantile(np.abs(truth - said), 0.9 * 201 / 200, axis=0, method="inverted_cdf")
    assert half_widths(truth, said, 0.9) == pytest.approx(expected)


def test_a_new_row_is_inside_as_often_as_was_asked():
    """Over 2,000 draws of 39 rows and one new one the coverage at 0.9 is 0.9: exactly 36 of 40 in expectation."""
    generator = np.random.default_rng(5)
    draws = generator.standard_t(3, size=(2000, 40, 1))
    found = [
        float(inside(row[39:], np.zeros((1, 1)), half_widths(row[:39], np.zeros((39, 1)), 0.9))[0])
        for row in draws
    ]
    assert np.mean(found) == pytest.approx(0.9, abs=0.02)


def test_inside_is_a_share_of_a_rows_numbers():
    """Of two targets one is inside."""
    assert inside(np.array([[1.0, 5.0]]), np.zeros((1, 2)), np.array([1.0, 4.0])).tolist() == [0.5]


@pytest.mark.parametrize("several", [False, True])
def test_one_temperature_of_all_members_suits_their_mean(several):
    """The best of 400 temperatures, tried one by one on the mean of the members; each alone needs a higher one."""
    answers = expit if several else lambda logits: softmax(logits, axis=-1)
    generator = np.random.default_rng(5)
    truth, shared = overconfident(600, 3, 1.0)
    if several:
        truth = generator.random((600, 3)) < expit(shared)
    logits = 1.5 * (shared + generator.normal(size=(2, 600, 3)))
    wanted = smoothed(truth, several=several)
    tried = np.geomspace(0.5, 15, 400)
    losses = [cross_entropy(wanted, answers(logits / one).mean(axis=0), several=several) for one in tried]
    found = helpful_temperature(truth, answers(logits), np.arange(600), several=several)
    assert found == pytest.approx(tried[int(np.argmin(losses))], rel=0.02)
    alone = helpful_temperature(truth, answers(logits[0]), np.arange(600), several=several)
    assert alone > 1.05 * found


@pytest.mark.parametrize("several", [False, True])
def test_the_calibrated_log_loss_does_not_see_how_sure_a_model_is(several):
    """Logits times any number have the same; it is the least of 400 temperatures that are tried one by one."""
    answers = expit if several else lambda logits: softmax(logits, axis=-1)
    truth, logits = overconfident(400, 3, 1.0)
    y_true = truth.astype(int) if several else truth.argmax(axis=1)
    losses = [
        cross_entropy(truth, answers(logits / one), several=several) for one in np.geomspace(0.2, 5, 400)
    ]
    for surer in (0.5, 1.0, 3.0):
        found = calibrated_log_loss(y_true, answers(logits * surer))
        assert found == pytest.approx(min(losses), rel=1e-3)


def test_one_row_that_is_surely_wrong_does_not_outweigh_a_model_that_tells_classes_apart():
    """Of 67 rows one is called wrong with all certainty; by log loss a coin flip is better, calibrated it is not."""
    y_true = np.arange(67) % 2
    sure = np.where(y_true[:, None] == np.arange(2), 1 - 1e-6, 1e-6)
    sure[0] = sure[0, ::-1]
    unsure = np.where(y_true[:, None] == np.arange(2), 0.9, 0.1)
    wrong = [0, 1]
    unsure[wrong] = unsure[wrong, ::-1]
    truth = y_true[:, None] == np.arange(2)
    raw = [cross_entropy(truth, answers, several=False) for answers in (sure, unsure)]
    assert raw[0] > 0.2 > raw[1]
    assert calibrated_log_loss(y_true, sure) < 0.1 < calibrated_log_loss(y_true, unsure)
