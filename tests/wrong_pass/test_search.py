"""What wins a plain Optuna study although it is no score."""

import optuna
import pytest

from pipeline.tuning.search import search
from pipeline.tuning.trials import Trial, TrialOutcome, accepted

SPACE = {"x": {"kind": "float", "low": 0.0, "high": 1.0, "log": False}}


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_an_infinite_objective(direction):
    """A trial whose objective overflowed.

    Plain: infinity is a number for Optuna, and such a trial is the best of the study.
    Millrace: a score that is not finite is a failed trial, and the baseline stays the best.
    """
    overflown = float("-inf") if direction == "minimize" else float("inf")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction=direction)
    study.optimize(lambda trial: overflown if trial.number == 1 else 0.5, n_trials=3)
    assert study.best_trial.number == 1

    def run(group: list[Trial], epochs: int) -> list[TrialOutcome]:
        return [accepted(TrialOutcome(overflown, {}, epochs)) for _ in group]

    trials = search(
        SPACE,
        run,
        baseline={"x": 0.5},
        baseline_score=0.5,
        direction=direction,
        trials=2,
        seed=1,
        generation=2,
        reduction=2,
        rungs=[1],
    )
    assert {"failed"} == {trial.state for trial in trials if trial.number}
