"""Intervals around the values of regressions and forecasts, and how many of the test values lie in them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.metrics.calibration import half_widths, inside
from pipeline.metrics.classification import FloatArray
from pipeline.metrics.ends import share_ends
from pipeline.metrics.intervals import DrawnTogether, Interval, bootstrap_values, num_units

Predictions = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Reach:
    """Intervals around the values of a model, and how many of the test values lie in them.

    Attributes:
        confidence: Share of new values that should.
        half_widths: Per target, or per step ahead and target, in the units of the data.
        rows: That they were taken from; answers of models that were not fitted on them.
        coverage: Share of the test values inside, with an interval.
    """

    confidence: float
    half_widths: FloatArray
    rows: int
    coverage: Interval

    def as_json(self) -> dict[str, Any]:
        """Return it as card.json and tables/prediction_intervals.json hold it."""
        return {
            "confidence": self.confidence,
            "coverage": self.coverage.rounded(),
            "half_widths": self.half_widths.tolist(),
            "rows": self.rows,
        }


def reach_of(
    before: tuple[npt.NDArray[Any], Predictions],
    y_true: npt.NDArray[Any],
    predictions: Predictions,
    *,
    confidence: float,
    resamples: int,
    seed: int,
    blocks: DrawnTogether | None,
) -> Reach | None:
    """Return the intervals that answers before the test allow, and what came of them on test.

    Args:
        before: What was true of the rows that chose, and what was answered.
        y_true: What is true of the test rows.
        predictions: The answers for them.
        confidence: Of these intervals, and of the one of their coverage.
        resamples: How many say how sure the coverage is.
        seed: Of the resamples.
        blocks: Test rows that are drawn together.
    """
    widths = half_widths(*before, confidence)
    if widths is None:
        return None
    shares = inside(y_true, predictions, widths)
    (found,) = bootstrap_values([_mean], shares, shares, resamples=resamples, seed=seed, blocks=blocks)
    value, tail = float(shares.mean()), (1 - confidence) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    # Where all or none are inside, resamples are alike: as a share of so many independent rows.
    ends = share_ends(value, num_units(len(shares), blocks), confidence)
    coverage = Interval(value, min(float(low), ends[0]), max(float(high), ends[1]))
    return Reach(confidence, widths, len(before[0]), coverage)


def _mean(_y_true: npt.ArrayLike, shares: npt.ArrayLike, weight: npt.ArrayLike | None) -> FloatArray:
    """Return the mean of numbers; a metric like any other."""
    given = np.asarray(shares, float)
    if weight is None:
        return np.asarray(given.mean())
    weights = np.asarray(weight, float)
    return np.asarray(given @ weights / weights.sum(axis=0))
