"""How often the gate promotes what it should not, and what it should: pairs with a known true difference.

    python benchmarks/gate_simulation.py [--repetitions 1000] [--only WORD]

Each line is one true difference: how many of the pairs were promoted, with a Wilson interval. Where the true
difference is 0 (refreshes: minus the margin), at most (1 - confidence) / 2 = 2.5 % should be. All checks of a
classification are on: classes, calibration. `--only groups` shows rows that come in groups, `--only mirror` a network
that is exactly as good as the linear model at its optimum, where nobody is champion yet.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
from scipy import optimize, stats
from sklearn.linear_model import LogisticRegression

from pipeline.gate.decision import decide
from pipeline.gate.question import Question, Rules, ScoredModel
from pipeline.metrics import intervals
from pipeline.metrics.classification import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    expected_calibration_error,
    log_loss,
    positive_f1_score,
    roc_auc_score,
)
from pipeline.metrics.intervals import DrawnTogether, Groups, bootstrap_weights
from pipeline.metrics.names import primary_called
from pipeline.metrics.values import mean_absolute_error

NUM_CLASSES = 4
SEEDS = 10
"""Sets of resamples that the pairs take in turn; `main` keeps them, since drawing them is most of the work."""
CHAMPION_RIGHT, DISCORDANT = 0.85, 0.12
"""Share of right answers of the champion, and of examples that only one of the two answers right."""
FOUND, FALSE_ALARMS = 0.9, 0.02
"""Shares of the positive, and of the other examples, that a champion which looks for a class says are positive."""
FINDERS = {"F1": positive_f1_score, "balanced": balanced_accuracy_score}
RANKERS = {"precision": average_precision_score, "AUC": roc_auc_score}
SEPARATION = 2.5
"""Between the means of what a ranking champion says of positive and other examples, in standard deviations."""
MIRRORED = {"mirror": accuracy_score, "mirrorloss": log_loss}
MIRROR_COLUMNS, MIRROR_TRAIN_ROWS, MIRROR_SHIFT = 20, 200, 0.3
"""Of the linear models: columns, rows they are solved on, and half the distance of the classes in each column."""
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
LOSS = replace(CLASSES, primary=primary_called("log_loss"))
VALUES = replace(
    CLASSES, primary=primary_called("mean_absolute_error"), class_tolerance=None, calibration_budget=None
)
F1, BALANCED, PRECISION, AUC = (
    replace(VALUES, primary=primary_called(name))
    for name in ("positive_f1", "balanced_accuracy", "average_precision", "roc_auc")
)
"""The interval alone: a fall of the positive class would be refused by the check of classes too."""


@dataclass(frozen=True)
class Scenario:
    """Pairs of models of one kind.

    Attributes:
        kind: `accuracy`, `error`, or what a positive class is looked for by: `F1` or `balanced`, or by their
            ranks `precision` or `AUC`; `mirror` and `mirrorloss` see `_mirrored`.
        rows: Test rows of each pair.
        difference: True advantage of the challenger: of accuracy so much, of an error a share of the
            champion's.
        rules: Of the gate.
        level: Share that may be promoted; None where promotions are right.
        groups: How many persons, say, the rows are of; 0: each is of its own.
        correlation: Within a group, [0, 1]; 1: all its rows are right, or wrong, together.
        uneven: Deviation of the logarithm of the sizes of groups; 0: all are as large.
        known: Whether the gate is told who is of which group.
        positive: Share of positive examples, where some are looked for.
    """

    kind: str
    rows: int
    difference: float
    rules: Rules
    level: float | None
    groups: int = 0
    correlation: float = 0.0
    uneven: float = 0.0
    known: bool = True
    positive: float = 0.5

    def __str__(self) -> str:
        """Return it as a line of the table begins."""
        line = f"{self.rules.mode:15} {self.kind:8} {self.rows:5} rows {self.difference:+.3f}"
        if self.kind in FINDERS | RANKERS:
            line += f", {self.positive:.0%} positive"
        if self.groups:
            sizes = "uneven" if self.uneven else "equal"
            line += f" {self.groups:3} {sizes} groups, correlation {self.correlation:.1f}"
        return line if self.known else f"{line}, taken for rows"

    def members(self) -> np.ndarray:
        """Return the group of each row, shape (rows,): sizes are quantiles of a lognormal variable."""
        quantiles = stats.norm.ppf((np.arange(self.groups) + 0.5) / self.groups)
        ends = np.cumsum(np.exp(self.uneven * quantiles))
        places = np.searchsorted(ends / ends[-1], (np.arange(self.rows) + 0.5) / self.rows)
        return np.unique(places, return_inverse=True)[1]  # the smallest may have no row


def not_worse(rules: Rules, margin: float) -> Rules:
    """Return the rules of a refresh."""
    return replace(rules, mode="non_inferiority", non_inferiority_margin=margin)


def scenarios() -> list[Scenario]:
    """Return what is simulated: the null of each kind first, then powers."""
    nulls = [
        *(Scenario("accuracy", rows, 0.0, CLASSES, 0.025) for rows in (40, 200, 1000)),
        *(Scenario("error", rows, 0.0, VALUES, 0.025) for rows in (40, 200, 1000)),
        *(
            Scenario(kind, rows, 0.0, rules, 0.025)
            for kind, rules in (
                ("mirror", CLASSES),
                ("mirrorloss", replace(CLASSES, primary=primary_called("log_loss"))),
            )
            for rows in (40, 200, 1000)
        ),
        *(Scenario("accuracy", rows, -0.05, not_worse(CLASSES, 0.05), 0.025) for rows in (30, 100)),
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
    return nulls + grouped() + looking() + powers


def grouped() -> list[Scenario]:
    """Return rows that come in groups of ten: what the gate does with them, and what it did before it knew."""
    together = Scenario("accuracy", 400, 0.0, CLASSES, 0.025, groups=40, correlation=1.0)
    return [
        replace(together, known=False),
        *(
            replace(scenario, rows=10 * groups, groups=groups, correlation=correlation)
            for scenario in (together, replace(together, kind="error", rules=VALUES))
            for correlation in (1.0, 0.3)
            for groups in (12, 20, 30, 40)
        ),
        *(replace(together, correlation=correlation, uneven=1.0) for correlation in (1.0, 0.3)),
        *(
            replace(
                together, rows=10 * groups, groups=groups, rules=not_worse(CLASSES, 0.05), difference=-0.05
            )
            for groups in (20, 30, 40)
        ),
        replace(together, difference=0.1, level=None, correlation=0.3),
    ]


def looking() -> list[Scenario]:
    """Return refreshes that find fewer of what is looked for: worse by their margin, then as good."""
    lost = [
        Scenario(kind, rows, -0.05, not_worse(rules, 0.05), 0.025, positive=positive)
        for kind, rules in (("F1", F1), ("balanced", BALANCED), ("precision", PRECISION), ("AUC", AUC))
        for positive in (0.13, 0.5)
        for rows in (30, 100, 300, 1000)
    ]
    return [
        *lost,
        *(replace(lost[0], rows=10 * groups, groups=groups, correlation=1.0) for groups in (40, 100)),
        *(replace(scenario, difference=0.0, level=None) for scenario in lost if scenario.rows >= 300),
    ]


def promoted(scenario: Scenario, repetitions: int, seed: int = 0) -> int:
    """Return how many of so many pairs the gate promotes."""
    generator = np.random.default_rng([seed, scenario.rows, round(1000 * (scenario.difference + 1))])
    make = _rankers if scenario.kind in RANKERS else _finders
    others = {"accuracy": _classifiers, "error": _regressors} | dict.fromkeys(MIRRORED, _mirrored)
    make = others.get(scenario.kind, make)
    members = scenario.members() if scenario.groups else None
    blocks = Groups(tuple(members.tolist())) if members is not None and scenario.known else None
    count = 0
    for repetition in range(repetitions):
        question = make(generator, scenario, members)
        question = replace(question, blocks=blocks)
        rules = replace(scenario.rules, seed=repetition % SEEDS)
        count += decide(question, rules).verdict == "promoted"
    return count


def _drawn(
    draw: Callable[[int], np.ndarray],
    generator: np.random.Generator,
    scenario: Scenario,
    members: np.ndarray | None,
) -> np.ndarray:
    """Return a value per row. In groups some rows have that of their group: of each pair the share `correlation`."""
    if members is None:
        return draw(scenario.rows)
    alike = generator.random(scenario.rows) < np.sqrt(scenario.correlation)
    return np.where(alike, draw(scenario.groups)[members], draw(scenario.rows))


def _classifiers(generator: np.random.Generator, scenario: Scenario, members: np.ndarray | None) -> Question:
    """Return two classifiers that are right together more often than by chance."""
    rows, difference = scenario.rows, scenario.difference
    only_one = (DISCORDANT + difference) / 2
    only_other = (DISCORDANT - difference) / 2
    shares = np.cumsum([CHAMPION_RIGHT - only_other, only_one, only_other])
    kind = np.searchsorted(shares, _drawn(generator.random, generator, scenario, members))
    truth = generator.integers(0, NUM_CLASSES, rows)
    wrong = (truth + generator.integers(1, NUM_CLASSES, rows)) % NUM_CLASSES
    right = {"challenger": kind <= 1, "champion": (kind == 0) | (kind == 2)}
    said = {name: np.where(mask, truth, wrong) for name, mask in right.items()}
    said["baseline"] = np.zeros(rows, dtype=int)
    sure = generator.uniform(0.75, 0.95, rows)
    models = {name: _classifier(name, answers, sure) for name, answers in said.items()}
    # Two trainings never answer alike to the last bit, which alone would be a refusal.
    models["challenger"] = _classifier("challenger", said["challenger"], sure - 1e-6)
    return Question(truth, models["challenger"], models["champion"], [models["baseline"]])


def _mirrored(generator: np.random.Generator, scenario: Scenario, _members: np.ndarray | None) -> Question:
    """Return the first challenger of all, exactly as good as the linear baseline, which is solved to its optimum.

    The columns are drawn alike in both orders, and the challenger is the linear model that reads them backwards: it
    answers otherwise, with the same true score, whatever that model has learnt. Nobody is champion.
    """

    def drawn(rows: int) -> tuple[np.ndarray, np.ndarray]:
        truth = generator.integers(0, 2, rows)
        return generator.normal(size=(rows, MIRROR_COLUMNS)) + MIRROR_SHIFT * (2 * truth - 1)[:, None], truth

    linear = LogisticRegression(C=10.0, tol=1e-8, max_iter=1000).fit(*drawn(MIRROR_TRAIN_ROWS))
    inputs, truth = drawn(scenario.rows)
    said = {
        "linear": linear.predict_proba(inputs),
        "network": linear.predict_proba(inputs[:, ::-1]),
        "majority": np.full((scenario.rows, 2), 0.5),
    }
    models = {
        name: ScoredModel(
            name, name, ("no", "yes"), range(scenario.rows), answers, MIRRORED[scenario.kind], CALIBRATION
        )
        for name, answers in said.items()
    }
    return Question(truth, models["network"], None, [models["majority"], models["linear"]])


def _finders(generator: np.random.Generator, scenario: Scenario, members: np.ndarray | None) -> Question:
    """Return two classifiers that look for a class.

    The worse one never finds what the champion does not: every example that tells them apart is a loss, which
    is the worst case for a bootstrap. Where both are as good, 2 % of the positive examples are found by the
    one alone and 2 % by the other.
    """

    def drawn() -> np.ndarray:
        return _drawn(generator.random, generator, scenario, members)

    truth, luck = drawn() < scenario.positive, drawn()
    champion = luck < np.where(truth, FOUND, FALSE_ALARMS)
    if scenario.difference:
        challenger = luck < np.where(truth, _found_if_worse(scenario), FALSE_ALARMS)
    else:
        turned = drawn() < np.where(champion, 0.02 / FOUND, 0.02 / (1 - FOUND))
        challenger = champion ^ (truth & turned)
    sure = generator.uniform(0.75, 0.95, scenario.rows)
    said = {"challenger": challenger, "champion": champion, "baseline": np.zeros_like(truth)}
    models = {
        name: replace(
            _classifier(name, answers.astype(int), sure - 1e-6 * (name == "challenger"), 2),
            metric=FINDERS[scenario.kind],
        )
        for name, answers in said.items()
    }
    return Question(truth.astype(int), models["challenger"], models["champion"], [models["baseline"]])


def _rankers(generator: np.random.Generator, scenario: Scenario, _members: np.ndarray | None) -> Question:
    """Return two classifiers that rank: the worse one gives some positive examples any rank that others have."""
    truth, scores = _ranked(generator, scenario.rows, scenario.positive)
    challenger = scores + generator.normal(scale=0.3, size=scenario.rows)
    if scenario.difference:
        share = _share_lost(scenario.kind, scenario.positive, scenario.difference)
        lost = truth & (generator.random(scenario.rows) < share)
        challenger = np.where(lost, generator.normal(size=scenario.rows), scores)
    said = {"challenger": challenger, "champion": scores, "baseline": np.zeros(scenario.rows)}
    models = {
        name: ScoredModel(
            name, name, ("no", "yes"), range(scenario.rows), _probabilities(found), RANKERS[scenario.kind]
        )
        for name, found in said.items()
    }
    return Question(truth.astype(int), models["challenger"], models["champion"], [models["baseline"]])


def _ranked(generator: np.random.Generator, rows: int, positive: float) -> tuple[np.ndarray, np.ndarray]:
    truth = generator.random(rows) < positive
    return truth, generator.normal(size=rows) + SEPARATION * truth


def _probabilities(scores: np.ndarray) -> np.ndarray:
    found = 1 / (1 + np.exp(SEPARATION / 2 - scores))
    return np.column_stack([1 - found, found])


@lru_cache
def _share_lost(kind: str, positive: float, wanted: float) -> float:
    """Return the share of positive examples to lose for the true difference, from two million rows."""
    generator = np.random.default_rng(0)
    truth, scores = _ranked(generator, 2_000_000, positive)
    luck, other = generator.random(len(truth)), generator.normal(size=len(truth))
    metric = RANKERS[kind]
    champion = float(metric(truth.astype(int), _probabilities(scores)))

    def difference(share: float) -> float:
        worse = np.where(truth & (luck < share), other, scores)
        return float(metric(truth.astype(int), _probabilities(worse))) - champion

    return float(optimize.brentq(lambda share: difference(share) - wanted, 0, 0.9, xtol=1e-4))


def _found_if_worse(scenario: Scenario) -> float:
    """Return the share of the positive examples that is found by a challenger worse by so much."""
    if scenario.kind == "balanced":
        return FOUND + 2 * scenario.difference
    # With p positive and r of them found, F1 is 2 p r / (p + p r + false alarms), for many examples.
    share = scenario.positive
    others = share + (1 - share) * FALSE_ALARMS
    f1 = 2 * share * FOUND / (others + share * FOUND) + scenario.difference
    return f1 * others / (share * (2 - f1))


def _classifier(name: str, said: np.ndarray, sure: np.ndarray, num_classes: int = NUM_CLASSES) -> ScoredModel:
    probabilities = np.repeat(((1 - sure) / (num_classes - 1))[:, None], num_classes, axis=1)
    probabilities[np.arange(len(said)), said] = sure
    classes = [f"class {index}" for index in range(num_classes)]
    return ScoredModel(name, name, classes, range(len(said)), probabilities, accuracy_score, CALIBRATION)


def _regressors(generator: np.random.Generator, scenario: Scenario, members: np.ndarray | None) -> Question:
    """Return two regressors for which the same examples are hard: errors with long tails, correlated."""
    rows = scenario.rows
    truth = generator.normal(size=(rows, 1))
    hardness = _drawn(partial(generator.lognormal, 0.0, 0.7), generator, scenario, members)
    shared = _drawn(generator.standard_normal, generator, scenario, members)
    errors = {}
    for name, scale in (("challenger", 1 - scenario.difference), ("champion", 1.0)):
        own = _drawn(generator.standard_normal, generator, scenario, members)
        errors[name] = scale * hardness * (0.7 * shared + np.sqrt(0.51) * own)
    errors["baseline"] = np.full(rows, 100.0)
    models = {
        name: ScoredModel(name, name, (), range(rows), truth + error[:, None], mean_absolute_error)
        for name, error in errors.items()
    }
    return Question(truth, models["challenger"], models["champion"], [models["baseline"]])


@lru_cache(maxsize=SEEDS)
def _kept_weights(
    num_examples: int, resamples: int, seed: int, blocks: DrawnTogether | None = None
) -> tuple[np.ndarray, ...]:
    return tuple(bootstrap_weights(num_examples, resamples, seed, blocks))


def main() -> None:
    """Print a line per scenario."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--only", default="", help="scenarios whose line holds this word")
    given = parser.parse_args()
    repetitions = given.repetitions
    intervals.bootstrap_weights = _kept_weights
    intervals.SMALLEST_NUMBER_OF_GROUPS = 1  # to see what the gate would do where it refuses
    print(f"{repetitions} pairs each; promoted (95 % Wilson interval)")
    for scenario in scenarios():
        if given.only not in str(scenario):
            continue
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
