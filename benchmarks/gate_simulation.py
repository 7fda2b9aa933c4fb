"""How often the gate promotes what it should not, and what it should: pairs with a known true difference.

    python benchmarks/gate_simulation.py [--repetitions 1000]

Each line is one true difference: how many of the pairs were promoted, with a Wilson interval. Where the true
difference is 0 (refreshes: minus the margin), at most (1 - confidence) / 2 = 2.5 % should be. All checks of a
classification are on: classes, calibration.
"""

import argparse
import time
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
from scipy import stats

from pipeline import intervals
from pipeline.gate import Contender, Question, Rules, decide
from pipeline.metric_names import primary_called
from pipeline.metrics import accuracy_score, expected_calibration_error
from pipeline.resamples import Blocks, bootstrap_weights
from pipeline.value_metrics import mean_absolute_error

NUM_CLASSES = 4
SEEDS = 10
"""Sets of resamples that the pairs take in turn; `main` keeps them, since drawing them is most of the work."""
CHAMPION_RIGHT, DISCORDANT = 0.85, 0.12
"""Share of right answers of the champion, and of examples that only one of the two answers right."""
CALIBRATION = {"expected_calibration_error": partial(expected_calibration_error, num_bins=15)}
CLASSES = Rules(
    primary=primary_called("accuracy"),
    margin=0.0,
    confidence=0.95,
    resamples=500,
    seed=0,
    class_tolerance=0.05,
    calibration_budget=0.05,
)
VALUES = replace(
    CLASSES, primary=primary_called("mean_absolute_error"), class_tolerance=None, calibration_budget=None
)


@dataclass(frozen=True)
class Scenario:
    """Pairs of models of one kind.

    Attributes:
        kind: `accuracy` or `error`.
        rows: Test rows of each pair.
        difference: True advantage of the challenger: of accuracy so much, of an error a share of the
            champion's.
        rules: Of the gate.
        level: Share that may be promoted; None where promotions are right.
    """

    kind: str
    rows: int
    difference: float
    rules: Rules
    level: float | None

    def __str__(self) -> str:
        """Return it as a line of the table begins."""
        return f"{self.rules.mode:15} {self.kind:8} {self.rows:5} rows {self.difference:+.3f}"


def not_worse(rules: Rules, margin: float) -> Rules:
    """Return the rules of a refresh."""
    return replace(rules, mode="non_inferiority", non_inferiority_margin=margin)


def scenarios() -> list[Scenario]:
    """Return what is simulated: the null of each kind first, then powers."""
    nulls = [
        *(Scenario("accuracy", rows, 0.0, CLASSES, 0.025) for rows in (40, 200, 1000)),
        *(Scenario("error", rows, 0.0, VALUES, 0.025) for rows in (40, 200, 1000)),
        Scenario("accuracy", 1000, -0.02, not_worse(CLASSES, 0.02), 0.025),
        Scenario("error", 1000, -0.05, not_worse(VALUES, 0.05), 0.025),
    ]
    powers = [
        *(Scenario("accuracy", 1000, difference, CLASSES, None) for difference in (0.01, 0.02, 0.03, 0.05)),
        *(Scenario("error", 1000, difference, VALUES, None) for difference in (0.02, 0.05, 0.1)),
        *(
            Scenario("accuracy", 1000, difference, not_worse(CLASSES, 0.02), None)
            for difference in (0.0, 0.01)
        ),
        *(Scenario("error", 1000, difference, not_worse(VALUES, 0.05), None) for difference in (0.0, 0.02)),
    ]
    return nulls + powers


def promoted(scenario: Scenario, repetitions: int, seed: int = 0) -> int:
    """Return how many of so many pairs the gate promotes."""
    generator = np.random.default_rng([seed, scenario.rows, round(1000 * (scenario.difference + 1))])
    make = _classifiers if scenario.kind == "accuracy" else _regressors
    count = 0
    for repetition in range(repetitions):
        question = make(generator, scenario.rows, scenario.difference)
        rules = replace(scenario.rules, seed=repetition % SEEDS)
        count += decide(question, rules).verdict == "promoted"
    return count


def _classifiers(generator: np.random.Generator, rows: int, difference: float) -> Question:
    """Return two classifiers that are right together more often than by chance."""
    only_one = (DISCORDANT + difference) / 2
    only_other = (DISCORDANT - difference) / 2
    shares = np.cumsum([CHAMPION_RIGHT - only_other, only_one, only_other])
    kind = np.searchsorted(shares, generator.random(rows))
    truth = generator.integers(0, NUM_CLASSES, rows)
    wrong = (truth + generator.integers(1, NUM_CLASSES, rows)) % NUM_CLASSES
    right = {"challenger": kind <= 1, "champion": (kind == 0) | (kind == 2)}
    said = {name: np.where(mask, truth, wrong) for name, mask in right.items()}
    said["baseline"] = np.zeros(rows, dtype=int)
    sure = generator.uniform(0.75, 0.95, rows)
    models = {name: _classifier(name, answers, sure) for name, answers in said.items()}
    return Question(truth, models["challenger"], models["champion"], [models["baseline"]])


def _classifier(name: str, said: np.ndarray, sure: np.ndarray) -> Contender:
    probabilities = np.repeat(((1 - sure) / (NUM_CLASSES - 1))[:, None], NUM_CLASSES, axis=1)
    probabilities[np.arange(len(said)), said] = sure
    classes = [f"class {index}" for index in range(NUM_CLASSES)]
    return Contender(name, name, classes, range(len(said)), probabilities, accuracy_score, CALIBRATION)


def _regressors(generator: np.random.Generator, rows: int, difference: float) -> Question:
    """Return two regressors for which the same examples are hard: errors with long tails, correlated."""
    truth = generator.normal(size=(rows, 1))
    hardness = generator.lognormal(sigma=0.7, size=rows)
    shared = generator.normal(size=rows)
    errors = {}
    for name, scale in (("challenger", 1 - difference), ("champion", 1.0)):
        errors[name] = scale * hardness * (0.7 * shared + np.sqrt(0.51) * generator.normal(size=rows))
    errors["baseline"] = np.full(rows, 100.0)
    models = {
        name: Contender(name, name, (), range(rows), truth + error[:, None], mean_absolute_error)
        for name, error in errors.items()
    }
    return Question(truth, models["challenger"], models["champion"], [models["baseline"]])


@lru_cache(maxsize=SEEDS)
def _kept_weights(
    num_examples: int, resamples: int, seed: int, blocks: Blocks | None = None
) -> tuple[np.ndarray, ...]:
    return tuple(bootstrap_weights(num_examples, resamples, seed, blocks))


def main() -> None:
    """Print a line per scenario."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=1000)
    repetitions = parser.parse_args().repetitions
    intervals.bootstrap_weights = _kept_weights
    print(f"{repetitions} pairs each; promoted (95 % Wilson interval)")
    for scenario in scenarios():
        start = time.monotonic()
        count = promoted(scenario, repetitions)
        interval = stats.binomtest(count, repetitions).proportion_ci(0.95, method="wilson")
        level = "power" if scenario.level is None else f"level {scenario.level:.1%}"
        print(
            f"{scenario}  {count / repetitions:6.1%} ({interval.low:.1%} to {interval.high:.1%})  {level}"
            f"  {time.monotonic() - start:4.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
