"""How sure a model is, made true: a temperature for probabilities, intervals for numbers.

Both are fitted on answers for rows that the answering model was not trained on.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.metrics.classification import FloatArray

SMALLEST_PROBABILITY = 1e-7
"""Below it a float32 model says 0, and a logarithm nothing."""
LOG_TEMPERATURES = (math.log(0.05), math.log(20.0))
MEMBERS_AXES = 3
"""Members, rows, classes."""
FEWEST_UNITS = 10
"""With fewer, half of them say nothing about the other half: they teach no temperature and no threshold (groups), and
choose nobody over an ensemble."""
ENOUGH_UNITS = 100
"""From here on one row that a model is surely wrong about does not decide by itself whether a temperature helps, and
the best candidate is chosen even where an ensemble ties with it."""


# --- Temperature: probabilities^(1 / T), scaled to sum to 1 (Guo et al., 2017, "On calibration of modern neural
# networks"). The order of classes stays, so that accuracy does.


def tempered(probabilities: npt.NDArray[np.floating], temperature: float, *, several: bool) -> FloatArray:
    """Return probabilities as the model with its logits divided by the temperature would give them.

    Args:
        probabilities: Shape (num_rows, num_classes); or of the members of an ensemble, whose mean is returned, shape
            (num_members, num_rows, num_classes).
        temperature: Above 1 they become less sure. Of members the logits of each are divided.
        several: Whether each column is a probability of its own, against its absence.
    """
    if probabilities.ndim == MEMBERS_AXES:
        return np.asarray(
            np.mean([tempered(own, temperature, several=several) for own in probabilities], axis=0)
        )
    clipped = np.clip(np.asarray(probabilities, float), SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    if several:
        return np.asarray(1 / (1 + np.exp(-(np.log(clipped) - np.log1p(-clipped)) / temperature)))
    logits = np.log(clipped) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def smoothed(truth: npt.NDArray[np.bool_], *, several: bool) -> FloatArray:
    """Return what a model should say of rows, if it is not to be surer than so many rows can make it.

    n rows that are all answered right would have no finite temperature; by the rule of succession they are worth a
    probability of (n + 1) / (n + 2) (Platt, 1999, "Probabilistic outputs for support vector machines").

    Args:
        truth: Which classes each row has, shape (num_rows, num_classes).
        several: As for `tempered`.
    """
    count, num_classes = truth.shape
    sure = (count + 1) / (count + 2)
    return np.asarray(np.where(truth, sure, (1 - sure) / (1 if several else num_classes - 1)))


def cross_entropy(wanted: npt.NDArray[Any], probabilities: FloatArray, *, several: bool) -> float:
    """Return the mean cross-entropy in nats.

    Args:
        wanted: Probability that each row has each class, shape (num_rows, num_classes); or whether it has.
        probabilities: Same shape.
        several: As for `tempered`.
    """
    safe = np.clip(probabilities, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    if several:
        return float(-(wanted * np.log(safe) + (1.0 - wanted) * np.log1p(-safe)).mean())
    return float(-(wanted * np.log(safe)).sum(axis=1).mean())


def fitted_temperature(
    truth: npt.NDArray[np.bool_], probabilities: npt.NDArray[np.floating], *, several: bool
) -> float:
    """Return the temperature with the lowest cross-entropy against `smoothed` truth; arguments as for `tempered`."""
    from scipy import optimize  # takes longer than stages that only ask for names of metrics

    wanted = smoothed(truth, several=several)

    def loss(log_temperature: float) -> float:
        made = tempered(probabilities, math.exp(log_temperature), several=several)
        return cross_entropy(wanted, made, several=several)

    found = optimize.minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded", options={"xatol": 1e-6})
    return float(f"{math.exp(found.x):.6g}")


def calibrated_log_loss(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, _sample_weight: npt.ArrayLike | None = None
) -> FloatArray:
    """Return the mean cross-entropy, in nats, that answers have once they are as sure as they are right.

    What the log loss of an overconfident model hides is how well it tells classes apart: one row that it is surely
    wrong about outweighs all others. With the temperature taken out, training goes on while it still learns (Berta et
    al., 2025, "Rethinking early stopping: refine, then calibrate"). The temperature is that of `smoothed` truth.

    Args:
        y_true: Class of each row, shape (num_rows,); or which labels it has, shape (num_rows, num_labels).
        y_pred: Probabilities, shape (num_rows, num_classes).

    Returns:
        Shape ().
    """
    known, answers = np.asarray(y_true), np.asarray(y_pred, float)
    several = known.ndim == answers.ndim
    truth = known.astype(bool) if several else known[:, None] == np.arange(answers.shape[1])
    temperature = fitted_temperature(truth, answers, several=several)
    made = tempered(answers, temperature, several=several)
    return np.asarray(cross_entropy(truth, made, several=several))


def helpful_temperature(
    truth: npt.NDArray[np.bool_],
    probabilities: npt.NDArray[np.floating],
    units: Sequence[str] | npt.NDArray[np.intp],
    *,
    several: bool,
) -> float | None:
    """Return the temperature where one helps on rows it was not fitted on; None where it does not.

    Fitted on half of the units and measured on the other, both ways: on its own rows one number never makes it worse.
    Of few units the other half is smoothed as well, which takes the side of modesty: networks that know some dozen rows
    by heart need it. Of `ENOUGH_UNITS` it is the truth: a model that is as sure as it is right is not made to doubt.

    Args:
        truth: As for `smoothed`.
        probabilities: Same shape; of an ensemble those of its members, as for `tempered`.
        units: What hangs together, per row.
        several: The same.
    """
    _, unit = np.unique(np.asarray(units), return_inverse=True)
    count = unit.max(initial=-1) + 1
    if count < FEWEST_UNITS:
        return None
    first = unit % 2 == 0
    before = after = 0.0
    answers = probabilities.mean(axis=0, dtype=float) if probabilities.ndim == MEMBERS_AXES else probabilities
    for fitted, asked in ((first, ~first), (~first, first)):
        temperature = fitted_temperature(truth[fitted], probabilities[..., fitted, :], several=several)
        made = tempered(probabilities[..., asked, :], temperature, several=several)
        share = float(asked.mean())
        wanted = truth[asked] if count >= ENOUGH_UNITS else smoothed(truth[asked], several=several)
        before += share * cross_entropy(wanted, np.asarray(answers[asked], float), several=several)
        after += share * cross_entropy(wanted, made, several=several)
    return fitted_temperature(truth, probabilities, several=several) if after < before else None


# --- Intervals for numbers: split conformal (Lei et al., 2018, "Distribution-free predictive inference for
# regression"). The half width is a quantile of absolute errors, taken so far out that a new row is inside with the
# confidence asked for.


def half_widths(
    y_true: npt.NDArray[np.floating], y_pred: npt.NDArray[np.floating], confidence: float
) -> FloatArray | None:
    """Return how far intervals reach to each side of a prediction.

    Args:
        y_true: Shape (num_rows, ...): targets, or steps and targets.
        y_pred: Same shape.
        confidence: Share of new rows inside, in (0, 1).

    Returns:
        Shape (...); None where there are too few rows for that confidence: 19 at 0.95, 9 at 0.9.
    """
    rank = math.ceil((len(y_true) + 1) * confidence - 1e-9)
    if rank > len(y_true):
        return None
    errors = np.sort(np.abs(np.asarray(y_true, float) - np.asarray(y_pred, float)), axis=0)
    return np.asarray(errors[rank - 1])


def inside(
    y_true: npt.NDArray[np.floating], y_pred: npt.NDArray[np.floating], widths: FloatArray
) -> FloatArray:
    """Return the share of each row's numbers that lie in their intervals, shape (num_rows,)."""
    within = np.abs(np.asarray(y_true, float) - np.asarray(y_pred, float)) <= widths
    return np.asarray(within.reshape(len(within), -1).mean(axis=1))
