"""Halving is arithmetic that can be done by hand, and the sampler proposes the same settings each time."""

from collections.abc import Callable
from typing import Any

import optuna
import pytest

from pipeline.tuning.search import Direction, halve, ranking, rung_epochs, search, winner
from pipeline.tuning.trials import Trial, TrialOutcome, accepted, failed

SPACE: dict[str, dict[str, Any]] = {
    "a": {"kind": "float", "low": 0.0, "high": 1.0, "log": False},
    "b": {"kind": "choice", "values": [[8], [16, 16]]},
    "c": {"kind": "int", "low": 1, "high": 64, "log": True},
}


def table(scores: dict[int, dict[int, float | None]], calls: list[Any]) -> Callable[..., list[TrialOutcome]]:
    """Return a run whose outcomes are read from a table: number to epochs to score, None for a failure."""

    def run(group: list[Trial], epochs: int) -> list[TrialOutcome]:
        calls.append((epochs, [trial.number for trial in group]))
        values = [scores[trial.number][epochs] for trial in group]
        return [failed("broken") if value is None else TrialOutcome(value, {}, epochs) for value in values]

    return run


def run_search(
    run: Callable[..., list[TrialOutcome]], direction: Direction = "minimize", **changes: Any
) -> list[Trial]:
    """Search the space above with 7 trials in generations of 3."""
    known = {"baseline": {"a": 0.5, "b": [8], "c": 8}, "baseline_score": 0.5, "trials": 7, "seed": 3}
    arguments = {"generation": 3, "reduction": 2, "rungs": [1, 2], "direction": direction} | known | changes
    return search(SPACE, run, **arguments)


def bowl(group: list[Trial], epochs: int) -> list[TrialOutcome]:
    """Score by the distance of `a` from 0.3."""
    return [TrialOutcome(abs(trial.sampled["a"] - 0.3) + 1 / epochs, {}, epochs) for trial in group]


def test_halving_by_hand() -> None:
    """Of 4 trials 2 pass the first rung and 1 the second; a failure takes no place from the others."""
    scores: dict[int, dict[int, float | None]] = {
        1: {10: 0.9},
        2: {10: 0.3, 20: 0.25},
        3: {10: None},
        4: {10: 0.4, 20: 0.2, 30: 0.15},
    }
    group = [Trial(number, {}) for number in scores]
    calls: list[Any] = []
    halve(group, table(scores, calls), rungs=[10, 20, 30], reduction=2, direction="minimize")
    assert calls == [(10, [1, 2, 3, 4]), (20, [2, 4]), (30, [4])]
    assert [trial.state for trial in group] == ["pruned", "pruned", "failed", "complete"]
    assert group[3].rungs == [(10, 0.4), (20, 0.2), (30, 0.15)]


def test_equal_scores_go_to_the_lower_number() -> None:
    """A tie at a rung is broken by number, so the answer does not depend on who ended first."""
    scores: dict[int, dict[int, float | None]] = {1: {1: 0.5, 2: 0.1}, 2: {1: 0.5}}
    group = [Trial(1, {}), Trial(2, {})]
    halve(group, table(scores, []), rungs=[1, 2], reduction=2, direction="maximize")
    assert [trial.state for trial in group] == ["complete", "pruned"]


def test_a_trial_that_stopped_early_is_complete_and_not_run_again() -> None:
    """Early stopping ends a trial; whether it passes a rung or not, its training is over."""
    calls: list[int] = []

    def run(group: list[Trial], epochs: int) -> list[TrialOutcome]:
        calls.append(epochs)
        return [TrialOutcome(0.1 * trial.number, {}, epochs, finished=True) for trial in group]

    group = [Trial(1, {}), Trial(2, {})]
    halve(group, run, rungs=[1, 2], reduction=2, direction="minimize")
    assert calls == [1]
    assert [trial.state for trial in group] == ["complete", "complete"]


def test_all_of_a_generation_may_fail() -> None:
    """When nobody is left nothing more is run and nobody is complete."""
    calls: list[Any] = []
    group = [Trial(1, {}), Trial(2, {})]
    halve(group, table({1: {1: None}, 2: {1: None}}, calls), rungs=[1, 2], reduction=2, direction="minimize")
    assert calls == [(1, [1, 2])]
    assert [trial.state for trial in group] == ["failed", "failed"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((10, 2, 60), [10, 20, 40, 60]),
        ((10, 2, 40), [10, 20, 40]),
        ((10, 3, 8), [8]),
        ((1, 3, 10), [1, 3, 9, 10]),
    ],
)
def test_rungs(arguments: tuple[int, int, int], expected: list[int]) -> None:
    """Rungs grow by the reduction factor, and the full length is always the last."""
    assert rung_epochs(*arguments) == expected


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_infinity_and_nan_never_win(bad: float, direction: Direction) -> None:
    """A score that is not a finite number is a failure, although minus infinity would win a study."""

    def run(group: list[Trial], epochs: int) -> list[TrialOutcome]:
        return [accepted(TrialOutcome(bad if trial.number == 1 else 0.7, {}, epochs)) for trial in group]

    found = run_search(run, direction)
    assert found[0].state == "failed"
    assert found[0] not in ranking([trial for trial in found if trial.rungs], direction)


def test_a_metric_that_is_not_finite_fails_the_trial() -> None:
    """A healthy score beside a broken metric is not believed."""
    outcome = accepted(TrialOutcome(0.1, {"val_loss": float("nan")}))
    assert (outcome.score, outcome.error) == (None, "val_loss is not a finite number")


def test_every_trial_has_an_end_in_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    """No trial stays running in the study, neither a failed nor a pruned one nor a repeated proposal."""
    studies = []
    create = optuna.create_study
    monkeypatch.setattr(optuna, "create_study", lambda **keys: studies.append(create(**keys)) or studies[-1])

    def run(group: list[Trial], epochs: int) -> list[TrialOutcome]:
        return [failed("killed") if trial.number == 2 else TrialOutcome(0.4, {}, epochs) for trial in group]

    run_search(run)
    states = {trial.state for trial in studies[0].trials}
    assert states == {optuna.trial.TrialState[name] for name in ("COMPLETE", "PRUNED", "FAIL")}


def test_the_same_seed_proposes_the_same_settings() -> None:
    """Two searches agree in every proposal; another seed proposes others."""
    first, second, other = run_search(bowl), run_search(bowl), run_search(bowl, seed=4)
    assert [trial.sampled for trial in first] == [trial.sampled for trial in second]
    assert [trial.sampled for trial in first] != [trial.sampled for trial in other]


def test_the_order_of_keys_in_the_space_means_nothing() -> None:
    """A space written in another order gives the same proposals."""
    turned = {key: SPACE[key] for key in reversed(SPACE)}
    arguments: dict[str, Any] = {
        "baseline": None, "baseline_score": 1.0, "direction": "minimize", "trials": 4, "generation": 2,
        "reduction": 2, "rungs": [1], "seed": 5,
    }  # fmt: skip
    assert search(SPACE, bowl, **arguments) == search(turned, bowl, **arguments)


def test_no_settings_are_tried_twice() -> None:
    """A space of 3 settings beside the baseline gives 3 trials, however many were asked for."""
    space = {"b": {"kind": "choice", "values": [1, 2, 3, 4]}}

    def run(group: list[Trial], epochs: int) -> list[TrialOutcome]:
        return [TrialOutcome(1.0, {}, epochs) for _ in group]

    found = search(
        space, run, baseline={"b": 2}, baseline_score=1.0, direction="minimize", trials=9, generation=2,
        reduction=2, rungs=[1], seed=0,
    )  # fmt: skip
    assert sorted(trial.sampled["b"] for trial in found) == [1, 3, 4]


def test_outcomes_steer_later_proposals() -> None:
    """After many trials the sampler proposes near the best ones: it was told the truth."""
    found = run_search(bowl, trials=45)
    early = [abs(trial.sampled["a"] - 0.3) for trial in found[:10]]
    late = [abs(trial.sampled["a"] - 0.3) for trial in found[-10:]]
    assert sum(late) < 0.6 * sum(early)


@pytest.mark.parametrize(
    ("direction", "baseline_score", "expected"),
    [("minimize", 0.3, 2), ("minimize", 0.2, None), ("maximize", 0.3, 1), ("maximize", 0.4, None)],
)
def test_only_a_strictly_better_complete_trial_wins(
    direction: Direction, baseline_score: float, expected: int | None
) -> None:
    """A pruned trial cannot win, and a tie leaves the baseline in place."""
    trials = [
        Trial(1, {}, "complete", [(5, 0.4)]),
        Trial(2, {}, "complete", [(5, 0.2)]),
        Trial(3, {}, "pruned", [(1, 0.1 if direction == "minimize" else 0.9)]),
        Trial(4, {}, "failed", []),
    ]
    best = winner(trials, baseline_score, direction)
    assert (best.number if best else None) == expected
