"""Intervals of few examples: wider, so that they are no surer than they say."""

import numpy as np
from scipy import stats


def honest_confidence(confidence: float, units: float) -> float:
    """Return the confidence to ask of percentiles so that few examples do not make them too sure.

    Bootstrap percentiles are too narrow by the factor sqrt((n - 1) / n) and follow the normal distribution
    where Student's is right; this asks for the percentiles that make up for both, after Hesterberg (2015),
    "What teachers should know about the bootstrap", the expanded percentile interval.

    Args:
        confidence: What is wanted, (0.5, 1).
        units: Examples, or blocks or groups of them that are drawn together, see `num_units`.
    """
    return float(1 - 2 * stats.norm.cdf(-students_reach(1.0, confidence, units)))


def students_reach(standard_error: float, confidence: float, units: float) -> float:
    """Return how far Student's interval reaches to each side, from the bootstrap's standard error."""
    units = max(units, 2)
    widened = standard_error * np.sqrt(units / (units - 1))
    return float(stats.t.ppf((1 + confidence) / 2, units - 1) * widened)
