"""Metrics of predicted values against scikit-learn, hand-worked cases and their bounds."""

import numpy as np
import pytest
import sklearn.metrics as reference

from pipeline.metrics import values as metrics_values
from pipeline.metrics.classification import METRICS, Metric, higher_is_better, short_name

FORECASTS = [metric.function for metric in METRICS if "forecasting" in metric.tasks]
SHAPES = [(60,), (60, 1), (60, 3), (60, 5, 2)]


def values(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return true values of different size per target, and predictions that are near them."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=shape) * 10.0 ** np.arange(shape[-1] if len(shape) > 1 else 1)
    return truth, truth + generator.normal(size=shape)


def by_scikit_learn(name: str, y_true: np.ndarray, y_pred: np.ndarray, weight: np.ndarray | None) -> float:
    """Return the same metric as scikit-learn computes it: every step is a sample of its own."""
    steps = y_true.shape[1] if y_true.ndim == 3 else 1
    targets = y_true.shape[-1] if y_true.ndim > 1 else 1
    repeated = None if weight is None else np.repeat(weight, steps)
    score = {
        "root_mean_squared_error": reference.root_mean_squared_error,
        "mean_absolute_error": reference.mean_absolute_error,
        "r2": reference.r2_score,
        "scaled_mean_squared_error": reference.mean_squared_error,
        "mean_absolute_scaled_error": reference.mean_absolute_error,
    }[name]
    flat = y_true.reshape(-1, targets), y_pred.reshape(-1, targets)
    return float(score(*flat, sample_weight=repeated))


@pytest.mark.parametrize("metric", FORECASTS, ids=short_name)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_scikit_learn(metric: Metric, shape: tuple[int, ...]) -> None:
    """Each metric (scale 1) equals scikit-learn's uniform average over targets, with and without weights."""
    y_true, y_pred = values(shape)
    weight = np.random.default_rng(1).integers(0, 4, 60).astype(float)
    for given in (None, weight, weight * 0.37):
        expected = by_scikit_learn(short_name(metric), y_true, y_pred, given)
        assert expected == pytest.approx(float(metric(y_true, y_pred, given)))


@pytest.mark.parametrize("metric", FORECASTS, ids=short_name)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matrix_of_weights_is_one_value_per_column(metric: Metric, shape: tuple[int, ...]) -> None:
    """Weights of shape (examples, resamples) give what each column gives alone."""
    y_true, y_pred = values(shape)
    weights = np.random.default_rng(2).integers(0, 3, (60, 4)).astype(float)
    expected = [float(metric(y_true, y_pred, weights[:, column])) for column in range(4)]
    assert expected == pytest.approx(metric(y_true, y_pred, weights))


@pytest.mark.parametrize("metric", FORECASTS, ids=short_name)
def test_perfect_answers_reach_the_bound(metric: Metric) -> None:
    """The truth itself has error 0 and R2 1, in the direction that the name tells."""
    y_true, _ = values((20, 2))
    assert (1.0 if higher_is_better(metric) else 0.0) == float(metric(y_true, y_true, None))


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (metrics_values.root_mean_squared_error, np.sqrt((1 + 0 + 4) / 3)),
        (metrics_values.mean_absolute_error, (1 + 0 + 2) / 3),
        # the mean of 1, 2, 6 is 3: deviations 4 + 1 + 9 = 14
        (metrics_values.r2_score, 1 - 5 / 14),
    ],
    ids=lambda item: getattr(item, "__name__", None),
)
def test_hand_worked_case(metric: Metric, expected: float) -> None:
    """Three examples worked out on paper give the same numbers."""
    assert expected == pytest.approx(float(metric([1.0, 2.0, 6.0], [2.0, 2.0, 4.0], None)))


def test_scaled_errors_of_one_target_are_in_units_of_the_scale() -> None:
    """Errors of 1 and 3 at a scale of 2: mean of squares (1 + 9) / 2 / 4, mean of distances 2 / 2."""
    truth, predicted = [0.0, 0.0], [1.0, 3.0]
    assert float(metrics_values.scaled_mean_squared_error(truth, predicted, scale=2.0)) == 1.25
    assert float(metrics_values.mean_absolute_scaled_error(truth, predicted, naive_errors=2.0)) == 1.0


def test_a_scale_per_example_and_target_is_used_as_such() -> None:
    """Windows of two series, each in units of its own naive error: (1/2 + 6/3) / 2."""
    found = metrics_values.mean_absolute_scaled_error(
        [[0.0], [0.0]], [[1.0], [6.0]], naive_errors=[[2.0], [3.0]]
    )
    assert float(found) == 1.25


def test_naive_error_is_that_of_the_forecast_that_repeats_the_season() -> None:
    """Worked out on paper for two targets; a missing value takes its two pairs out."""
    series = np.array([[1.0, 0.0], [2.0, 0.0], [4.0, 0.0], [5.0, 8.0], [9.0, np.nan]])
    assert np.allclose([(1 + 2 + 1 + 4) / 4, 8 / 3], metrics_values.seasonal_naive_error(series, 1))
    assert np.allclose([(3 + 3 + 5) / 3, 8 / 2], metrics_values.seasonal_naive_error(series, 2))


def test_the_seasonal_naive_forecast_has_a_scaled_error_of_one_on_train() -> None:
    """By definition (Hyndman and Koehler 2006), when the forecast is judged on the steps that gave the scale."""
    series = np.random.default_rng(4).normal(size=(100, 2)).cumsum(axis=0)
    scale = metrics_values.seasonal_naive_error(series, 7)
    found = metrics_values.mean_absolute_scaled_error(series[7:], series[:-7], naive_errors=scale)
    assert float(found) == pytest.approx(1.0)


def test_a_series_shorter_than_a_season_has_no_naive_error() -> None:
    """NaN, never 0, which would make every forecast infinitely bad."""
    assert np.isnan(metrics_values.seasonal_naive_error(np.ones((3, 1)), 5)).all()


def test_r2_of_a_constant_target_does_not_exist() -> None:
    """There is no variance to explain: NaN alone, left out beside a target that varies."""
    assert np.isnan(float(metrics_values.r2_score([0.1] * 3, [0.1, 0.2, 0.3])))
    truth = np.column_stack([[0.1] * 3, [1.0, 2.0, 3.0]])
    assert float(metrics_values.r2_score(truth, truth)) == 1.0


def test_r2_of_large_values_keeps_its_digits() -> None:
    """A small variance around a large mean (1e6) is not lost to rounding."""
    y_true, y_pred = values((60,))
    expected = float(reference.r2_score(y_true, y_pred))
    assert expected == pytest.approx(float(metrics_values.r2_score(y_true + 1e6, y_pred + 1e6)), abs=1e-6)


def test_errors_by_step_grow_where_the_forecast_worsens() -> None:
    """One number per step ahead, the mean over windows and (scaled) targets."""
    truth = np.zeros((2, 3, 2))
    predicted = truth + np.array([1.0, 2.0, 3.0])[:, None] * np.array([1.0, 10.0])
    assert np.allclose([1.0, 2.0, 3.0], metrics_values.errors_by_step(truth, predicted, (1.0, 10.0)))


@pytest.mark.parametrize("metric", FORECASTS, ids=short_name)
@pytest.mark.parametrize(
    ("y_true", "y_pred", "weight", "message"),
    [
        ([0.0, 1.0], [np.nan, 1.0], None, r"y_pred is not finite.*y_pred\[0\]"),
        ([0.0, np.inf], [0.0, 1.0], None, r"y_true is not finite.*y_true\[1\]"),
        ([0.0, 1.0], [[0.0], [1.0]], None, "shape of y_true"),
        ([], [], None, "at least one"),
        ([0.0, 1.0], [0.0, 1.0], [1.0], "a row per example"),
    ],
)
def test_broken_arguments_are_refused(
    metric: Metric, y_true: object, y_pred: object, weight: object, message: str
) -> None:
    """NaN never scores, and shapes are never guessed."""
    with pytest.raises(ValueError, match=message):
        metric(y_true, y_pred, weight)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, [1.0, 2.0, 3.0]])
def test_a_scale_that_is_none_is_refused(scale: object) -> None:
    """0, negative, NaN and another number of targets."""
    with pytest.raises(ValueError, match="scale must"):
        metrics_values.mean_absolute_scaled_error([[0.0, 1.0]], [[0.0, 1.0]], naive_errors=scale)  # type: ignore[arg-type]
