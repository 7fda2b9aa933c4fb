"""How far what is served lies from the rows a model knows, and how far chance alone would put as many rows.

The measures are those of a retrain (`pipeline.retraining.new_rows`): the largest difference between the shares that
both give to any stretch of values (Kolmogorov-Smirnov) or to any set of names (total variation), an effect in [0, 1];
and p-values, adjusted for the number of comparisons (Holm). Counts in bins can only make a distance smaller than it is,
so there are not more false alarms than with the values themselves.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from pipeline.metrics.two_samples import chi_square_test, holm
from pipeline.monitoring.reference import Block

SIGNIFICANCE, EFFECT = 0.01, 0.15
"""Chance of a false alarm of all comparisons together, and the smallest effect that counts: as in retrain.yaml."""
MIN_ROWS = 30
"""Rows, below which nothing is compared."""
ALARM = "alarm"
ALARM_FACTOR = 2.0
"""Alarms are rare, so that their share can be many times what it was and the effect small."""


@dataclass(frozen=True)
class Finding:
    """One comparison.

    Attributes:
        what: The statistic, or part of an answer.
        effect: How far apart, in [0, 1].
        noise: Equal rows are further apart in less than `significance` of all logs of this size, over all comparisons
            together.
        p_value: How often chance alone would put any of them so far apart.
        rows: That were compared.
        drifted: Whether it counts.
    """

    what: str
    effect: float
    noise: float
    p_value: float
    rows: int
    drifted: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return it with few digits."""
        return {
            name: float(f"{value:.4g}") if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


def binned_ks_test(first: np.ndarray, second: np.ndarray, draws: tuple[float, float]) -> tuple[float, float]:
    """Return the largest difference of two distribution functions at the edges of bins, and its p-value.

    Args:
        first: Rows by bin, shape (num_bins,), at least one row.
        second: The same of the other rows.
        draws: Independent draws behind each.
    """
    from scipy import stats

    shares = [np.cumsum(side) / side.sum() for side in (first, second)]
    distance = float(np.abs(shares[0] - shares[1]).max())
    return distance, float(stats.kstwobign.sf(np.sqrt(draws[0] * draws[1] / sum(draws)) * distance))


def compared(
    known: Sequence[Block],
    served: Sequence[Block],
    *,
    overlap: int = 1,
    significance: float = SIGNIFICANCE,
    effect: float = EFFECT,
) -> list[Finding]:
    """Return every comparison of what is served with a reference, the largest effect first.

    Args:
        known: Blocks of the reference.
        served: The same bins, filled from a log.
        overlap: So many rows of the log say as much as one: windows one after the other share their steps.
        significance: Chance of a false alarm of all comparisons together.
        effect: Smallest that counts.
    """
    raw = [one for pair in zip(known, served, strict=True) for one in _compared(*pair, overlap)]
    p_values = holm([one.p_value for one in raw])
    findings = []
    for one, p_value in zip(raw, p_values, strict=True):
        large = one.effect >= effect or (one.what == ALARM and one.factor >= ALARM_FACTOR)
        noise = min(1.0, one.noise(significance / len(raw)))
        findings.append(
            Finding(one.what, one.effect, noise, p_value, one.rows, large and p_value <= significance)
        )
    return sorted(findings, key=lambda finding: (-finding.effect, finding.what))


class _Raw(NamedTuple):
    """A comparison before it is known how many there are; `noise` takes the share of false alarms."""

    what: str
    effect: float
    p_value: float
    noise: Callable[[float], float]
    rows: int
    factor: float = 1.0


def _compared(known: Block, served: Block, overlap: int) -> Iterator[_Raw]:
    if served.rows < MIN_ROWS or not known.rows:
        return
    live = served.rows / overlap
    for name, counts in known.counts.items():
        seen = served.counts[name]
        if counts.sum() and seen.sum():
            draws = known.draws * counts.sum() / known.rows, live * seen.sum() / served.rows
            distance, p_value = binned_ks_test(counts, seen, draws)
            yield _Raw(name, distance, p_value, partial(_ks_noise, draws), int(seen.sum()))
        if known.missing[name] or served.missing[name]:
            before, after = (
                {"missing": block.missing[name], "there": int(block.counts[name].sum())}
                for block in (known, served)
            )
            yield _of_names(f"{name} missing", before, after, (known.draws, live))
    for kind, names in known.names.items():
        if sum(names.values()) and sum(served.names[kind].values()):
            yield _of_names(kind, names, served.names[kind], (known.draws, live))


def _ks_noise(draws: tuple[float, float], share: float) -> float:
    from scipy import stats

    return float(stats.kstwobign.isf(share) / np.sqrt(draws[0] * draws[1] / sum(draws)))


def _of_names(
    what: str, before: Mapping[str, int], after: Mapping[str, int], draws: tuple[float, float]
) -> _Raw:
    distance, p_value = chi_square_test(before, after, draws=draws)
    kinds = sum(1 for name in {*before, *after} if before.get(name, 0) + after.get(name, 0))

    def noise(share: float) -> float:
        # By Cauchy and Schwarz, no smaller chi-square comes with a larger distance.
        from scipy import stats

        return float(np.sqrt(stats.chi2.isf(share, max(1, kinds - 1)) * (1 / draws[0] + 1 / draws[1])) / 2)

    rates = [side.get("true", 0) / max(1, sum(side.values())) for side in (before, after)]
    factor = max(rates) / max(min(rates), 1e-9) if max(rates) else 1.0
    return _Raw(what, distance, p_value, noise, sum(after.values()), factor)
