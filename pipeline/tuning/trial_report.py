"""What a search says: a line per rung, a row per trial for trials.json, a verdict. No timings."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.tuning.trials import Outcome, Rung

if TYPE_CHECKING:  # Optuna comes with it, and a candidate without trials needs none
    from pipeline.tuning.search import Trial

Row = dict[str, Any]


def baseline_row(sampled: Mapping[str, Any], metrics: Mapping[str, float], epochs: int, monitor: str) -> Row:
    """Return the row of trial 0.

    Args:
        sampled: The baseline's values of what is searched.
        metrics: Its validation metrics.
        epochs: How many it was trained for.
        monitor: Which of the metrics is the score.
    """
    return {
        "number": 0,
        "settings": dict(sampled),
        "state": "complete",
        "rungs": [{"epochs": epochs, "score": metrics[monitor]}],
        "metrics": dict(metrics),
        "epochs": epochs,
        "error": "",
    }


def trial_row(trial: "Trial") -> Row:
    """Return the row of a trial that has come to its end."""
    last = trial.last or Outcome(score=None)
    return {
        "number": trial.number,
        "settings": trial.sampled,
        "state": trial.state,
        "rungs": [{"epochs": epochs, "score": score} for epochs, score in trial.rungs],
        "metrics": dict(last.metrics),
        # A failed rung has none of its own; what the trial had reached before still counts.
        "epochs": last.epochs or (trial.rungs[-1][0] if trial.rungs else 0),
        "error": last.error,
    }


def line(candidate: str, monitor: str, rung: Rung, outcome: Outcome, remembered: bool) -> str:
    """Return one line on a rung that has ended."""
    result = f"failed: {outcome.error}" if outcome.score is None else f"{monitor} {outcome.score:.4f}"
    # Long trials that stopped early have fewer epochs than their rung.
    epochs = outcome.epochs or rung.epochs
    note = ", remembered" if remembered else ""
    return f"{candidate} trial {rung.number}, epoch {epochs}: {result} ({_settings(rung.sampled)}{note})"


def verdict(candidate: str, monitor: str, rows: list[Row], chosen: int) -> str:
    """Return one line on which trial was chosen and by how much.

    Args:
        candidate: Its name.
        monitor: Name of the score.
        rows: Of the baseline and every trial.
        chosen: Number of the chosen one, 0 for the baseline.
    """
    baseline, best = rows[0], rows[chosen]
    states = [row["state"] for row in rows[1:]]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("complete", "pruned", "failed"))
    if chosen == 0:
        return f"{candidate}: baseline kept, {monitor} {_score(baseline):.4f}; trials: {counts}"
    change = f"{monitor} {_score(baseline):.4f} -> {_score(best):.4f}"
    return (
        f"{candidate}: trial {chosen} is better, {change} ({_settings(best['settings'])}); trials: {counts}"
    )


def all_failed(candidate: str, rows: list[Row]) -> str:
    """Return the message of a search without a single result: a table of causes."""
    table = "\n".join(
        f"  trial {row['number']:>3}  {row['error']}  ({_settings(row['settings'])})" for row in rows
    )
    return (
        f"{candidate}: every trial failed. Expected at least one of {len(rows)} to be trained. "
        f"Received:\n{table}\nMend the cause, narrow candidates.{candidate}.tune.space, or set "
        f"candidates.{candidate}.tune.trials: 0."
    )


def _settings(sampled: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in sampled.items()
    )


def _score(row: Row) -> float:
    return float(row["rungs"][-1]["score"])
