"""Search for better settings: a seeded sampler proposes, successive halving decides. The door to Optuna.

Trials of a generation are asked for together and told in order, so the answer does not depend on how many
processes train them or which of them ends first. The study lives in memory only: a search that was killed
is replayed from its start with remembered outcomes and so reaches the same state. Storing and re-opening a
study would restart the sampler's random numbers and propose the same settings again.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from pipeline.runtime.files import content_key
from pipeline.training.monitor import lower_is_better
from pipeline.tuning.trials import Trial, TrialOutcome

Direction = Literal["minimize", "maximize"]
Space = Mapping[str, Mapping[str, Any]]
ASK_AGAIN = 20
"""How often a proposal that was already tried is drawn again before the space counts as used up."""
RunTrials = Callable[[list[Trial], int], list[TrialOutcome]]
"""Trains trials up to so many epochs; outcomes in the order of the trials."""


def search(
    space: Space,
    run: RunTrials,
    *,
    baseline: Mapping[str, Any] | None,
    baseline_score: float,
    direction: Direction,
    trials: int,
    generation: int,
    reduction: int,
    rungs: list[int],
    seed: int,
) -> list[Trial]:
    """Return the trials of a search, in the order they were proposed.

    Args:
        space: Dotted key to range, `{"kind": "float" | "int", "low": ..., "high": ..., "log": ...}` or
            `{"kind": "choice", "values": [...]}`.
        run: Trains; called once per generation and rung.
        baseline: Where the baseline lies in the space, None if outside of it.
        baseline_score: The score it reached; the sampler knows it from the start.
        direction: Whether lower or higher scores are better.
        trials: How many settings to try; fewer if the space holds fewer.
        generation: How many are proposed together.
        reduction: After each rung the best 1/reduction of a generation goes on.
        rungs: Epochs at which trials are compared, rising; the last is the full length.
        seed: Of the sampler.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    study = optuna.create_study(direction=direction, sampler=sampler)
    # Sorted, so that the order of keys in params.yaml, which means nothing, changes nothing.
    distributions = {key: _distribution(space[key]) for key in sorted(space)}
    if baseline is not None:
        known = {key: _to_optuna(space[key], baseline[key]) for key in distributions}
        study.add_trial(
            optuna.trial.create_trial(params=known, distributions=distributions, value=baseline_score)
        )
    proposals = _new_proposals(study, distributions, space, baseline)
    found: list[Trial] = []
    while len(found) < trials:
        wanted = min(generation, trials - len(found))
        asked = list(islice(proposals, wanted))
        group = [Trial(len(found) + index, values) for index, (_, values) in enumerate(asked, start=1)]
        if not group:
            break
        halve(group, run, rungs=rungs, reduction=reduction, direction=direction)
        for (proposed, _), trial in zip(asked, group, strict=True):
            _tell(study, proposed, trial)
        found += group
    return found


def halve(
    group: list[Trial], run: RunTrials, *, rungs: list[int], reduction: int, direction: Direction
) -> None:
    """Train a generation rung by rung; after each, only the best 1/reduction of it goes on.

    Of n trials that entered a rung max(1, n // reduction) go on; a failed one never does, and takes no place
    from the others. Equal scores: the lower number first. A trial that stopped early is complete wherever it
    stands.

    Args:
        group: Trials in state `running`; filled in.
        run: Trains trials up to so many epochs.
        rungs: Epochs at which trials are compared, rising; the last is the full length.
        reduction: At least 2.
        direction: Whether lower or higher scores are better.
    """
    alive = group
    for epochs in rungs:
        waiting = [trial for trial in alive if trial.last is None or not trial.last.finished]
        for trial, outcome in zip(waiting, run(waiting, epochs) if waiting else [], strict=True):
            _record(trial, outcome, epochs)
        ranked = ranking([trial for trial in alive if trial.state == "running"], direction)
        keep = len(ranked) if epochs == rungs[-1] else max(1, len(alive) // reduction)
        for trial in ranked[keep:]:
            trial.state = "complete" if trial.last is not None and trial.last.finished else "pruned"
        alive = sorted(ranked[:keep], key=lambda trial: trial.number)
    for trial in alive:
        trial.state = "complete"


def ranking(trials: list[Trial], direction: Direction) -> list[Trial]:
    """Return trials from best to worst; equal scores by number."""
    sign = 1 if direction == "minimize" else -1
    return sorted(trials, key=lambda trial: (sign * trial.score, trial.number))


def winner(trials: list[Trial], baseline_score: float, direction: Direction) -> Trial | None:
    """Return the best of the trials trained to their end, None unless strictly better than the baseline."""
    complete = ranking([trial for trial in trials if trial.state == "complete"], direction)
    if not complete:
        return None
    best = complete[0]
    better = best.score < baseline_score if direction == "minimize" else best.score > baseline_score
    return best if better else None


def direction_of(monitor: str) -> Direction:
    """Return the direction of a monitored value, read off its name."""
    return "minimize" if lower_is_better(monitor) else "maximize"


def rung_epochs(min_epochs: int, reduction: int, epochs: int) -> list[int]:
    """Return the epochs at which trials are compared: min_epochs * reduction**k, and the full length."""
    rungs = []
    rung = min_epochs
    while rung < epochs:
        rungs.append(rung)
        rung *= reduction
    return [*rungs, epochs]


def _record(trial: Trial, outcome: TrialOutcome, epochs: int) -> None:
    trial.last = outcome
    if outcome.score is None:
        trial.state = "failed"
    else:
        trial.rungs.append((epochs, outcome.score))


def _new_proposals(
    study: optuna.Study,
    distributions: dict[str, BaseDistribution],
    space: Space,
    baseline: Mapping[str, Any] | None,
) -> Iterator[tuple[optuna.Trial, dict[str, Any]]]:
    """Yield proposals that differ from each other and from the baseline, until no new one is found."""
    seen = {content_key(baseline)}
    while True:
        for _ in range(ASK_AGAIN):
            proposed = study.ask(distributions)
            values = {key: _from_optuna(space[key], value) for key, value in proposed.params.items()}
            if content_key(values) not in seen:
                break
            study.tell(proposed, state=TrialState.FAIL)
        else:
            return
        seen.add(content_key(values))
        yield proposed, values


def _tell(study: optuna.Study, proposed: optuna.Trial, trial: Trial) -> None:
    """Tell the study what became of a proposal; every trial gets an end, none stays running."""
    for epochs, score in trial.rungs:
        proposed.report(score, epochs)
    if trial.state == "complete":
        study.tell(proposed, trial.score)
    else:
        study.tell(proposed, state=TrialState.PRUNED if trial.state == "pruned" else TrialState.FAIL)


def _distribution(dimension: Mapping[str, Any]) -> BaseDistribution:
    if dimension["kind"] == "choice":
        # The place in the list, because Optuna takes no lists as values and mixes up 1, 1.0 and True.
        return CategoricalDistribution(range(len(dimension["values"])))
    if dimension["kind"] == "int":
        return IntDistribution(dimension["low"], dimension["high"], log=dimension["log"])
    return FloatDistribution(dimension["low"], dimension["high"], log=dimension["log"])


def _from_optuna(dimension: Mapping[str, Any], value: Any) -> Any:
    return dimension["values"][value] if dimension["kind"] == "choice" else value


def _to_optuna(dimension: Mapping[str, Any], value: Any) -> Any:
    return list(dimension["values"]).index(value) if dimension["kind"] == "choice" else value
