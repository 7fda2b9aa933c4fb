"""Metrics of a positive class and its threshold, against scikit-learn and by trying every threshold."""

import itertools

import numpy as np
import pytest
import sklearn.metrics as reference
from scipy import stats

from pipeline.metrics import classification


def answers(seed: int, num_examples: int = 120, digits: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, one in five positive, and probabilities of two classes, rounded to make ties."""
    generator = np.random.default_rng(seed)
    y_true = (generator.random(num_examples) < 0.2).astype(int)
    positive = np.round(1 / (1 + np.exp(1 - 2 * y_true - generator.normal(size=num_examples))), digits)
    return y_true, np.column_stack([1 - positive, positive])


@pytest.mark.parametrize("digits", [9, 1], ids=["no ties", "ties"])
@pytest.mark.parametrize("positive", [0, 1])
def test_average_precision_equals_scikit_learn(digits: int, positive: int) -> None:
    """With and without weights and ties, of either class."""
    y_true, y_pred = answers(1, digits=digits)
    weight = np.random.default_rng(2).integers(0, 3, len(y_true)).astype(float)
    for given in (None, weight):
        expected = reference.average_precision_score(
            y_true == positive, y_pred[:, positive], sample_weight=given
        )
        found = classification.average_precision_score(y_true, y_pred, given, positive=positive)
        assert expected == pytest.approx(float(found))


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("positive", [0, 1])
def test_positive_f1_equals_scikit_learn(threshold: float, positive: int) -> None:
    """F1 of the class, said where its probability reaches the threshold."""
    y_true, y_pred = answers(3)
    said = y_pred[:, positive] >= threshold
    expected = reference.f1_score(y_true == positive, said)
    found = classification.positive_f1_score(y_true, y_pred, positive=positive, threshold=threshold)
    assert expected == pytest.approx(float(found))


@pytest.mark.parametrize(
    "metric",
    [classification.positive_f1_score, classification.average_precision_score],
    ids=classification.short_name,
)
def test_matrix_of_weights_is_one_value_per_column(metric) -> None:
    """Weights of shape (examples, resamples) give what each column gives alone."""
    y_true, y_pred = answers(5)
    weights = np.random.default_rng(2).integers(0, 3, (120, 4)).astype(float)
    expected = [float(metric(y_true, y_pred, weights[:, column])) for column in range(4)]
    assert expected == pytest.approx(metric(y_true, y_pred, weights))


def test_without_a_positive_example_nothing_can_be_said() -> None:
    """Average precision is NaN; F1 too where the class is not said either."""
    y_pred = [[0.9, 0.1], [0.8, 0.2]]
    assert np.isnan(float(classification.average_precision_score([0, 0], y_pred)))
    assert np.isnan(float(classification.positive_f1_score([0, 0], y_pred)))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("digits", [9, 1], ids=["no ties", "ties"])
def test_the_threshold_of_the_highest_f1_is_better_than_any_other(seed: int, digits: int) -> None:
    """No probability that occurs, and none between, gives a higher F1."""
    y_true, y_pred = answers(seed, digits=digits)
    found = classification.highest_f1_threshold(y_true == 1, y_pred[:, 1])
    best = max(reference.f1_score(y_true, y_pred[:, 1] >= value) for value in y_pred[:, 1])
    assert best == pytest.approx(reference.f1_score(y_true, y_pred[:, 1] >= found))


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_what_repeated_examples_are(seed: int) -> None:
    """An example that counts twice is as good as two, one that counts 0 times only adds a threshold."""
    y_true, y_pred = answers(seed)
    counts = np.random.default_rng(seed).integers(0, 3, len(y_true))
    weighted = classification.highest_f1_threshold(y_true == 1, y_pred[:, 1], counts)
    repeated = np.repeat(y_true, counts), np.repeat(y_pred[:, 1], counts)
    best = max(reference.f1_score(repeated[0], repeated[1] >= value) for value in repeated[1])
    assert best == pytest.approx(reference.f1_score(repeated[0], repeated[1] >= weighted))


def test_the_highest_f1_stands_in_the_middle_of_a_gap() -> None:
    """Between the lowest positive (0.4) and the highest negative (0.2)."""
    probability = np.array([0.1, 0.2, 0.4, 0.9])
    assert pytest.approx(0.3) == classification.highest_f1_threshold(probability > 0.3, probability)


def test_of_equal_thresholds_the_one_near_one_half_is_taken() -> None:
    """All three said, F1 is 0.8, the highest; with equal probabilities there is one threshold."""
    positive = np.array([True, False, True])
    found = classification.highest_f1_threshold(positive, np.array([0.9, 0.6, 0.2]))
    assert pytest.approx((0.0 + 0.2) / 2) == found
    alone = classification.highest_f1_threshold(np.array([True, False]), np.array([0.5, 0.5]))
    assert pytest.approx(0.25) == alone
    flawless = classification.highest_f1_threshold(
        np.array([True, False, True]), np.array([0.9, 0.1, 0.4]), np.array([1, 1, 0])
    )
    assert pytest.approx(0.65) == flawless  # 0.25 and 0.65 both say 0.9 alone; 0.4 is counted 0 times


@pytest.mark.long
def test_the_best_threshold_is_the_mean_over_all_samples_with_replacement() -> None:
    """Four examples make 256 samples; each is searched by hand, and 0.3 + 0.35 * 65/240 comes out of paper.

    The gap's middle is 0.3. It is 0.65 where the positive at 0.4 is not drawn: (3^4 - 2^4) of 4^4 - 2^4.
    """
    probability = np.array([0.1, 0.2, 0.4, 0.9])
    positive, middles = probability > 0.3, np.array([0.05, 0.15, 0.3, 0.65])
    searched = []
    for rows in itertools.product(range(4), repeat=4):
        truth, drawn = positive[list(rows)], probability[list(rows)]
        if truth.any():
            scores = np.array([reference.f1_score(truth, drawn >= middle) for middle in middles])
            best = middles[np.isclose(scores, scores.max())]
            searched.append(best[np.argmin(np.abs(best - 0.5))])
    assert pytest.approx(np.mean(searched)) == 0.3 + 0.35 * 65 / 240
    found = classification.best_threshold(positive, probability, num_resamples=20_000)
    assert pytest.approx(np.mean(searched), abs=0.004) == found


def test_the_order_of_examples_does_not_move_the_threshold() -> None:
    """Shuffled rows, and a second call, give the same number to the last bit."""
    y_true, y_pred = answers(4)
    order = np.random.default_rng(1).permutation(len(y_true))
    found = classification.best_threshold(y_true == 1, y_pred[:, 1])
    assert found == classification.best_threshold(y_true == 1, y_pred[:, 1])
    assert found == classification.best_threshold(y_true[order] == 1, y_pred[order, 1])


def test_the_mean_threshold_is_better_on_new_examples_than_the_highest_f1() -> None:
    """Two normal distributions, 30 positive examples of 250: what F1 misses by, from their exact tails."""
    generator = np.random.default_rng(11)
    share, distance = 0.12, 2.5

    def missed(threshold: float) -> float:
        cut = (np.log(threshold / (1 - threshold)) - np.log(share / (1 - share))) / distance + distance / 2
        cuts = np.append(np.linspace(-3, 6, 2000), cut)
        hits, false = share * stats.norm.sf(cuts - distance), (1 - share) * stats.norm.sf(cuts)
        f1 = 2 * hits / (share + hits + false)
        return float(f1.max() - f1[-1])

    loss = {"highest": [], "mean": []}
    for _ in range(80):
        positive = np.arange(250) < share * 250
        drawn = generator.normal(size=250) + distance * positive
        log_odds = distance * (drawn - distance / 2) + np.log(share / (1 - share))
        probability = 1 / (1 + np.exp(-log_odds))
        loss["highest"].append(missed(classification.highest_f1_threshold(positive, probability)))
        loss["mean"].append(missed(classification.best_threshold(positive, probability)))
    assert np.mean(loss["mean"]) < 0.7 * np.mean(loss["highest"])


def test_without_positive_examples_the_threshold_stays_at_one_half() -> None:
    """Nothing to learn from."""
    assert classification.best_threshold(np.array([False]), np.array([0.7])) == 0.5
