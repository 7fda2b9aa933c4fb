"""How often an interval covers the truth, and how often a floor is called held by a model that misses it.

    python benchmarks/coverage.py [--repetitions 500] [--only WORD]

A line is a metric of a population, with three shares of the test sets for each number of rows: the 95 % interval holds
the true value, or says that nobody can tell (95 % are meant); a floor that the model misses by a hair is called held
(2.5 % are meant); nobody can tell (`Interval.doubt`, or the metric does not exist), so that a floor refuses. A line
that is surely below 93 % or above 3.5 % from 100 rows on ends with `<--`, and the program with 1. True values are
those of two million rows.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

from pipeline.data.windows import Timeline
from pipeline.evaluation.measures import AnomalyMeasures, ClassMeasures, Measures, ValueMeasures
from pipeline.metrics import intervals
from pipeline.metrics.anomalies import AlarmRules
from pipeline.metrics.intervals import DrawnTogether, Groups, bootstrap_weights, metric_intervals
from pipeline.metrics.names import HIGHER_IS_BETTER

ROWS = (30, 100, 300, 1000)
FROM_ROWS = 100
"""Where the gate may be held to its level; with fewer rows it is told."""
LEAST_COVERAGE, MOST_FALSE_FLOORS = 0.93, 0.035
MANY = 2_000_000
SEEDS = 5
RESAMPLES = 400


@dataclass(frozen=True)
class Drawn:
    """A test set.

    Attributes:
        measures: What its answers are measured by.
        predictions: As these take them.
        point: Operating point.
    """

    measures: Measures
    predictions: np.ndarray
    point: Mapping[str, object]


Draw = Callable[[np.random.Generator, int], Drawn]


def two_classes(share: float, area: float, sharper: float = 1.0) -> Draw:
    """Return draws of two classes told apart by a normal score.

    Args:
        share: Of positive examples.
        area: True ROC AUC.
        sharper: Factor of the log odds; 1: probabilities are what they say.
    """
    apart = stats.norm.ppf(area) * np.sqrt(2)

    def draw(generator: np.random.Generator, rows: int) -> Drawn:
        truth = (generator.random(rows) < share).astype(np.int64)
        scores = generator.normal(size=rows) + apart * truth
        odds = sharper * (apart * (scores - apart / 2) + np.log(share / (1 - share)))
        probability = 1 / (1 + np.exp(-odds))
        measures = ClassMeasures(truth, ("no", "yes"), 1, 15)
        # The threshold of the best F1 lies near half of it.
        return Drawn(measures, np.column_stack([1 - probability, probability]), {"threshold": 0.4})

    return draw


def many_classes(num_classes: int, right: float, rarest: float) -> Draw:
    """Return draws of several classes, the last with so large a share."""
    shares = np.append(np.full(num_classes - 1, (1 - rarest) / (num_classes - 1)), rarest)

    def draw(generator: np.random.Generator, rows: int) -> Drawn:
        truth = np.searchsorted(np.cumsum(shares)[:-1], generator.random(rows), side="right")
        scores = generator.gumbel(size=(rows, num_classes))
        strength = np.log(right / (1 - right) * (num_classes - 1))
        scores[np.arange(rows), truth] += strength
        probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        names = tuple(map(str, range(num_classes)))
        return Drawn(ClassMeasures(truth, names, None, 15), probabilities, {})

    return draw


def persons(size: int, alike: float, right: float) -> Draw:
    """Return draws of rows of persons, so many each, that are right or wrong together in the share `alike`."""

    def draw(generator: np.random.Generator, rows: int) -> Drawn:
        person = np.arange(rows) // size
        together = generator.random(rows) < np.sqrt(alike)
        luck = np.where(together, generator.random(person[-1] + 1)[person], generator.random(rows))
        truth = generator.integers(0, 3, rows)
        said = np.where(luck < right, truth, (truth + 1) % 3)
        sure = np.clip(generator.normal(0.8, 0.05, rows), 0.5, 0.99)
        probabilities = np.repeat(((1 - sure) / 2)[:, None], 3, axis=1)
        probabilities[np.arange(rows), said] = sure
        blocks = Groups(tuple(person.tolist())) if rows < MANY else None
        return Drawn(ClassMeasures(truth, ("a", "b", "c"), None, 15, blocks), probabilities, {})

    return draw


def values(deviation: float | None) -> Draw:
    """Return draws of values missed by a lognormal variable of that deviation (of its logarithm), or a normal one."""

    def draw(generator: np.random.Generator, rows: int) -> Drawn:
        truth = generator.normal(scale=3.0, size=(rows, 1))
        missed = generator.normal(size=(rows, 1))
        if deviation is not None:
            missed = np.sign(missed) * generator.lognormal(0.0, deviation, (rows, 1))
        return Drawn(ValueMeasures(truth, (2.0,), np.array([1.5])), truth + missed, {})

    return draw


def anomalies(found: float, every: int) -> Draw:
    """Return draws of one series with an anomaly of two windows in so many, found with that chance."""

    def draw(generator: np.random.Generator, rows: int) -> Drawn:
        begins = np.flatnonzero(generator.random(rows // 5) < 5 / every) * 5
        labelled = tuple((0, int(begin), int(begin) + 2) for begin in begins)
        timeline = Timeline(("series",), np.zeros(rows, int), np.arange(rows), 1, 1, labelled)
        scores = generator.lognormal(-1.3, 0.6, rows)
        for begin in begins:
            if generator.random() < found:
                scores[begin : begin + 2] = generator.lognormal(0.6, 0.5)
        return Drawn(
            AnomalyMeasures(timeline, AlarmRules(0.99, 1.0, 1, 3)), scores, {"thresholds": {"": 1.0}}
        )

    return draw


POPULATIONS: dict[str, Draw] = {
    **{
        f"2 classes, {share:.0%} positive, AUC {area:g}": two_classes(share, area)
        for share in (0.5, 0.13, 0.05)
        for area in (0.9, 0.97)
    },
    "2 classes, 30% positive, AUC 0.9, boastful": two_classes(0.3, 0.9, 2.0),
    "3 classes": many_classes(3, 0.9, 1 / 3),
    "10 classes": many_classes(10, 0.8, 0.1),
    "5 classes, one of 3%": many_classes(5, 0.9, 0.03),
    "3 classes, nearly flawless": many_classes(3, 0.98, 1 / 3),
    "3 classes, persons of 5 rows": persons(5, 0.3, 0.9),
    "normal errors": values(None),
    "errors of lognormal 0.7": values(0.7),
    "errors of lognormal 1.2": values(1.2),
    "an anomaly in 20 windows": anomalies(0.8, 20),
}


@lru_cache(maxsize=4 * SEEDS)
def _kept_weights(
    num_examples: int, resamples: int, seed: int, blocks: DrawnTogether | None = None
) -> tuple[np.ndarray, ...]:
    return tuple(bootstrap_weights(num_examples, resamples, seed, blocks))


def true_values(draw: Draw, rows: int = MANY) -> dict[str, float]:
    """Return every metric of the population."""
    many = draw(np.random.default_rng(0), rows)
    found = many.measures.metrics(many.point)
    return {
        name: float(metric(many.measures.y_true, many.predictions, None)) for name, metric in found.items()
    }


def judged(draw: Draw, rows: int, repetitions: int, truth: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Return per metric how many of so many test sets were covered, held a floor wrongly, and were refused."""
    generator = np.random.default_rng([7, rows])
    counts = {name: np.zeros(3, int) for name in truth}
    for repetition in range(repetitions):
        test = draw(generator, rows)
        measures = test.measures
        for name, metric in measures.metrics(test.point).items():
            try:
                (found,) = metric_intervals(
                    {name: metric},
                    measures.y_true,
                    test.predictions,
                    resamples=RESAMPLES,
                    confidence=0.95,
                    seed=repetition % SEEDS,
                    blocks=measures.blocks,
                    trials=measures.trials,
                ).values()
            except ValueError:
                counts[name][2] += 1
                continue
            true = truth[name]
            inside, refused = found.low <= true <= found.high, bool(found.doubt)
            beyond = found.low > true if HIGHER_IS_BETTER[name] else found.high < true
            counts[name] += [inside and not refused, beyond and not refused, refused]
    return counts


def main() -> int:
    """Print a line per metric, population and number of rows; return 1 where one is beyond what is promised."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--only", default="", help="populations whose name holds this word")
    given = parser.parse_args()
    intervals.bootstrap_weights = _kept_weights
    broken = 0
    for population, draw in POPULATIONS.items():
        if given.only not in population:
            continue
        start = time.monotonic()
        truth = true_values(draw, MANY // 10 if "anomaly" in population else MANY)
        print(f"{population}: covered or refused, floor held though missed, refused", flush=True)
        found = {rows: judged(draw, rows, given.repetitions, truth) for rows in ROWS}
        for name, true in truth.items():
            cells, beyond = [], False
            for rows in ROWS:
                covered, held, refused = found[rows][name]
                many, kept = given.repetitions, covered + refused
                cells.append(f"{kept / many:6.1%} {held / many:5.1%} {refused / many:4.0%}")
                if rows >= FROM_ROWS:
                    beyond |= stats.binomtest(kept, many).proportion_ci(0.99).high < LEAST_COVERAGE
                    beyond |= stats.binomtest(held, many).proportion_ci(0.99).low > MOST_FALSE_FLOORS
            broken += beyond
            print(f"  {name:26} {true:7.4f} | {' | '.join(cells)}{'  <--' if beyond else ''}", flush=True)
        print(f"  {time.monotonic() - start:.0f} s", flush=True)
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
