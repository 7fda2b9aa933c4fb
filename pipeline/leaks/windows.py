"""Columns of series that know the answer (leak L2): known ones at the step that is predicted, and early ones.

A column that is `known` stands beside the target at the same step, so it must not be the target in other
clothes: alone, or added up with other columns. A column that is only read in the past must not run ahead of
the target, as one that was shifted the wrong way does.
"""

from collections.abc import Mapping

import numpy as np

from pipeline.leaks.columns import exact_sum, sum_finding, value_score
from pipeline.leaks.findings import Finding, LeakData, WindowColumns

MAX_STEPS = 20_000
"""Steps of train, and as many of val and test, that are looked at, evenly spread."""
AHEAD = 0.5
"""A column runs ahead if it leaves at most this part of what the target's own past leaves unexplained."""
MAX_LEAD = 48
"""Steps ahead that are looked at."""


def window_column_findings(data: LeakData, max_single_score: float) -> list[Finding]:
    """Return a finding per column that gives the target away, and per exact sum.

    Args:
        data: Series under windows that predict something.
        max_single_score: R2 above which one column is refused.
    """
    windows = data.windows
    if windows is None or not windows.targets:
        return []
    steps, train = _steps(data)
    if not train.any() or train.all():
        return []
    table = np.asarray(data.payload[steps], np.float64)
    columns = dict(zip(data.samples.channels, table.T[: len(data.samples.channels)], strict=True))
    found: dict[str, Finding] = {}
    for target in windows.targets:
        findings = _known_findings(columns, target, train, windows, max_single_score)
        findings += _sum_findings(columns, target, train, windows)
        findings += _ahead_findings(data, target, steps, train, max_single_score)
        for finding in findings:
            found.setdefault(finding.finding, finding)
    return list(found.values())


def _steps(data: LeakData) -> tuple[np.ndarray, np.ndarray]:
    """Return steps of the payload, int64, and which of them train."""
    parts, trains = [np.empty(0, np.int64)], [np.empty(0, bool)]
    for names in (("train",), ("val", "test")):
        segments = [part for name in names for part in data.split.named_segments(data.samples, name)]
        lengths = np.array([stop - start for _, start, stop in segments], np.int64)
        total = int(lengths.sum())
        if not total:
            continue
        numbers = np.unique(np.linspace(0, total - 1, min(total, MAX_STEPS)).astype(np.int64))
        ends = np.cumsum(lengths)
        segment = np.searchsorted(ends, numbers, side="right")
        starts = np.array([start for _, start, _ in segments], np.int64)
        parts.append(starts[segment] + numbers - (ends - lengths)[segment])
        trains.append(np.full(len(numbers), names == ("train",)))
    return np.concatenate(parts), np.concatenate(trains)


def _known_findings(
    columns: Mapping[str, np.ndarray], target: str, train: np.ndarray, windows: WindowColumns, bound: float
) -> list[Finding]:
    """Return a finding per known column that says the target of the same step."""
    found = []
    for name in (*windows.known, *windows.known_categorical):
        category = name in windows.known_categorical
        score = value_score(columns[name], columns[target], train, category=category)
        if score > bound:
            problem = (
                f"Known column {name!r} alone predicts {target!r} of the same step on held-out steps. Expected R2 of "
                f"at most {bound:g}. Received: R2={score:.4f}."
            )
            fix = f"Take {name} out of data.windows.known if nobody knows it before the step has come."
            found.append(Finding(f"column:{name}", "L2", problem, fix, score=score))
    return found


def _sum_findings(
    columns: Mapping[str, np.ndarray], target: str, train: np.ndarray, windows: WindowColumns
) -> list[Finding]:
    """Return a finding if columns of the same step add up to the target and one of them is known."""
    others = {name: values for name, values in columns.items() if name not in windows.targets}
    weights = exact_sum(others, columns[target], train)
    known = {*windows.known, *windows.known_categorical}
    return (
        [sum_finding(weights, f"column {target!r} of the same step")]
        if len(weights) > 1 and known & set(weights)
        else []
    )


def _ahead_findings(
    data: LeakData, target: str, steps: np.ndarray, train: np.ndarray, bound: float
) -> list[Finding]:
    """Return a finding per column whose last step says a later target far better than the target's own last step."""
    windows = data.windows
    if windows is None or not windows.length:
        return []
    place = {name: number for number, name in enumerate(data.samples.channels)}
    waiting = [name for name in place if name not in windows.targets]
    found: list[Finding] = []
    for lead in range(1, min(windows.horizon, MAX_LEAD) + 1 if waiting else 1):
        past, future, fit = _apart(data, steps, train, lead)
        y = future[:, place[target]]
        own = _line_score(past[:, place[target]], y, fit)
        for name in list(waiting):
            score = _line_score(past[:, place[name]], y, fit)
            if score > bound and 1 - score < AHEAD * (1 - own):
                found.append(_ahead_finding(name, target, lead, score, bound))
                waiting.remove(name)
    return found


def _apart(
    data: LeakData, steps: np.ndarray, train: np.ndarray, lead: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values at steps, values `lead` steps later in the same series, and which of them train."""
    ends = np.sort(data.samples.starts + data.samples.lengths)
    inside = steps + lead < ends[np.searchsorted(ends, steps, side="right")]
    now, later = steps[inside], steps[inside] + lead
    return (
        np.asarray(data.payload[now], np.float64),
        np.asarray(data.payload[later], np.float64),
        train[inside],
    )


def _ahead_finding(name: str, target: str, lead: int, score: float, bound: float) -> Finding:
    problem = (
        f"Column {name!r} says {target!r} {lead} steps before it comes. Expected R2 of at most {bound:g} on held-out "
        f"steps, or no better than from {target!r} itself. Received: R2={score:.4f}."
    )
    return Finding(
        f"ahead:{name}",
        "L2",
        problem,
        f"Check whether {name} was shifted in time; leave it out if so.",
        score=score,
    )


def _line_score(x: np.ndarray, y: np.ndarray, fit: np.ndarray) -> float:
    """Return the R2 of a straight line on held-out rows; 0 where there is none."""
    whole = np.isfinite(x) & np.isfinite(y)
    fit, held = fit & whole, ~fit & whole
    if fit.sum() < 3 or held.sum() < 3 or x[fit].std() == 0 or y[held].std() == 0:
        return 0.0
    centre, mean = x[fit].mean(), y[fit].mean()
    slope = (x[fit] - centre) @ (y[fit] - mean) / ((x[fit] - centre) @ (x[fit] - centre))
    errors = y[held] - mean - slope * (x[held] - centre)
    return float(max(0.0, 1 - (errors @ errors) / ((y[held] - y[held].mean()) ** 2).sum()))
