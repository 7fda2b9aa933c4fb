"""How far new rows lie from the rows a model knows: plain functions of arrays.

Every comparison gives two numbers. The *effect* is how far apart the two distributions are, in [0, 1]: the
largest difference between the shares that both give to any stretch of values (Kolmogorov-Smirnov) or to any set
of classes (total variation). The *p-value* says how often chance alone would do that. Many columns are compared
at once, so p-values are adjusted (Holm); with many rows a difference too small to matter is significant too, so
a finding counts only if its effect is also above a bound.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.metrics.two_samples import chi_square_test, ks_test

PSI_BINS = 10
PSI_FLOOR = 1e-4
"""Stands for an empty bin, whose logarithm would be infinite."""
Verdict = Literal["none", "report", "refuse"]


@dataclass(frozen=True)
class DriftFinding:
    """One comparison of new rows with known ones.

    Attributes:
        what: Column or measure.
        effect: How far apart, in [0, 1].
        p_value: How often chance alone would put them so far apart; after `adjusted`, among all comparisons.
        stability: Population stability index, or None where there are no numbers; shown, decides nothing.
    """

    what: str
    effect: float
    p_value: float
    stability: float | None = None


@dataclass(frozen=True)
class Bounds:
    """From when on a difference counts.

    Attributes:
        significance: Largest adjusted p-value that counts; also the chance of a false alarm per check.
        report: Effect from which on a significant difference is reported (and starts a retrain).
        refuse: Effect from which on a significant difference refuses the data.
    """

    significance: float
    report: float
    refuse: float


def population_stability_index(reference: np.ndarray, new: np.ndarray) -> float:
    """Return the population stability index over the deciles of the reference; 0 for equal shares.

    Args:
        reference: Finite numbers, shape (num_reference,).
        new: Finite numbers, shape (num_new,).
    """
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, PSI_BINS + 1)[1:-1]))
    shares = [
        np.bincount(np.searchsorted(edges, side, side="right"), minlength=len(edges) + 1) / len(side)
        for side in (reference, new)
    ]
    before, after = (np.maximum(share, PSI_FLOOR) for share in shares)
    return float(((after - before) * np.log(after / before)).sum())


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number: any below `a` is a false one with probability at most `a`.

    Holm's method needs no independence, which columns of one data set do not have.
    """
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return [float(value) for value in adjusted]


def compare_numbers(what: str, reference: np.ndarray, new: np.ndarray) -> list[DriftFinding]:
    """Return how a column of numbers moved, and how often it is missing if it ever is.

    Args:
        what: Name of the column.
        reference: Numbers, NaN where missing, shape (num_reference,).
        new: The same of the new rows, shape (num_new,).
    """
    reference, new = np.asarray(reference, float), np.asarray(new, float)
    known, fresh = reference[np.isfinite(reference)], new[np.isfinite(new)]
    findings = []
    if len(known) and len(fresh):
        distance, p_value = ks_test(known, fresh)
        findings.append(DriftFinding(what, distance, p_value, population_stability_index(known, fresh)))
    if len(known) < len(reference) or len(fresh) < len(new):
        counts = [
            {"missing": len(side) - len(finite), "there": len(finite)}
            for side, finite in ((reference, known), (new, fresh))
        ]
        findings.append(DriftFinding(f"{what} missing", *chi_square_test(*counts)))
    return findings


def pca_reconstruction_errors(
    reference: np.ndarray, others: Sequence[np.ndarray], components: int = 16
) -> list[np.ndarray]:
    """Return how badly rows are rebuilt from a few numbers by a linear autoencoder fitted on the reference.

    Args:
        reference: What the autoencoder (principal components) is fitted on, shape (num_rows, num_values).
        others: Rows to rebuild, none of them among the reference: fitted rows would look too good.
        components: Numbers that stand for a row.

    Returns:
        Root mean squared error per row, for each of `others`.
    """
    mean = reference.mean(axis=0)
    _, _, axes = np.linalg.svd(reference - mean, full_matrices=False)
    axes = axes[:components]
    errors = []
    for rows in others:
        centred = rows - mean
        rebuilt = centred @ axes.T @ axes
        errors.append(np.sqrt(((centred - rebuilt) ** 2).mean(axis=1)))
    return errors


def adjusted(findings: Sequence[DriftFinding]) -> list[DriftFinding]:
    """Return findings with p-values adjusted for their number, the largest effect first."""
    p_values = holm([finding.p_value for finding in findings])
    made = [
        DriftFinding(finding.what, finding.effect, p_value, finding.stability)
        for finding, p_value in zip(findings, p_values, strict=True)
    ]
    return sorted(made, key=lambda finding: (-finding.effect, finding.what))


def drift_verdict(findings: Sequence[DriftFinding], bounds: Bounds) -> Verdict:
    """Return what adjusted findings come to."""
    effects = [finding.effect for finding in findings if finding.p_value <= bounds.significance]
    if any(effect >= bounds.refuse for effect in effects):
        return "refuse"
    return "report" if any(effect >= bounds.report for effect in effects) else "none"
