"""What months and years of nightly looks at one test set come to: false promotions, creeping refreshes, power.

    python benchmarks/nights.py [--repetitions 1000]

Classifiers on one frozen test set, as splits by hash keep it. Rows differ in difficulty, so that two equal models of
accuracy 0.85 disagree on 12 % of them. The gate's own questions are asked of whole arrays at once: the lower end of
Student's interval, of refreshes Tango's too, of floors Clopper's and Pearson's; `--check` compares single decisions
with `pipeline.gate.decision.decide`. `fresh` is a gate that gives every night the whole chance of 2.5 % and compares
refreshes with the champion alone, `budget` what `pipeline.gate.looks` and the last superior model make of it.
"""

import argparse
import sys
import time

import numpy as np
from scipy import stats

from pipeline.gate.decision import decide
from pipeline.gate.looks import share_of_budget
from pipeline.gate.question import Look, Question, Rules, ScoredModel
from pipeline.metrics.classification import accuracy_score
from pipeline.metrics.names import primary_called

RIGHT, SPREAD = 0.85, 0.0675
"""Mean and variance of the chance that a row is answered right; 12 % discordant answers follow."""
TAIL = 0.025
MOST_CELLS = 30_000_000


def difficulty(generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return the chance of each row to be answered right by a model of accuracy `RIGHT`."""
    size = RIGHT * (1 - RIGHT) / SPREAD - 1
    return generator.beta(RIGHT * size, (1 - RIGHT) * size, shape).astype(np.float32)


def improved(chance: np.ndarray, better: np.ndarray | float) -> np.ndarray:
    """Return the chances of models whose accuracy is so much better, or worse, a number for all or one per test set."""
    gain = np.reshape(np.asarray(better, np.float32), (-1, 1))
    return np.where(gain > 0, chance + (1 - chance) * gain / (1 - RIGHT), chance * (1 + gain / RIGHT))


def answers(
    generator: np.random.Generator, chance: np.ndarray, better: np.ndarray | float = 0.0
) -> np.ndarray:
    """Return which rows are answered right by models so much better, shape as `chance`."""
    return generator.random(chance.shape, np.float32) < improved(chance, better)


def tails(looks: np.ndarray, budget: bool) -> np.ndarray:
    """Return the chance that a look may spend, by its number in the reign."""
    return TAIL * share_of_budget(looks) if budget else np.full(len(looks), TAIL)


def lower_ends(ours: np.ndarray, theirs: np.ndarray, tail: np.ndarray) -> np.ndarray:
    """Return the lower end of Student's interval of the paired difference."""
    rows = ours.shape[1]
    won, lost = (ours & ~theirs).sum(axis=1), (theirs & ~ours).sum(axis=1)
    mean = (won - lost) / rows
    error = np.sqrt(np.maximum((won + lost) / rows - mean**2, 0) / (rows - 1))
    return mean - stats.t.isf(tail, rows - 1) * error


def not_worse(ours: np.ndarray, theirs: np.ndarray, margin: float, tail: np.ndarray) -> np.ndarray:
    """Return whether the challengers are not worse by the margin: Student's and Tango's lower end lie above it."""
    rows = ours.shape[1]
    won, lost = (ours & ~theirs).sum(axis=1), (theirs & ~ours).sum(axis=1)
    a, b = 2.0 * rows, -won - lost - (2 * rows - won + lost) * margin
    share = (np.sqrt(np.maximum(b * b - 4 * a * lost * margin * (1 + margin), 0)) - b) / (2 * a)
    variance = rows * (2 * share - margin * (1 + margin))
    score = (won - lost + rows * margin) / np.sqrt(np.maximum(variance, 1e-12))
    return (score > stats.norm.isf(tail)) & (lower_ends(ours, theirs, tail) > -margin)


def nights_of_equals(
    generator: np.random.Generator, rows: int, nights: tuple[int, ...], repetitions: int, budget: bool
) -> list[float]:
    """Return the share of test sets on which an equal model was promoted within so many nights."""
    chance = difficulty(generator, (repetitions, rows))
    champion, looks = answers(generator, chance), np.zeros(repetitions, int)
    promoted, found = np.zeros(repetitions, bool), []
    for night in range(1, max(nights) + 1):
        challenger = answers(generator, chance)
        looks += 1
        better = lower_ends(challenger, champion, tails(looks, budget)) > 0
        champion[better], looks[better] = challenger[better], 0
        promoted |= better
        if night in nights:
            found.append(float(promoted.mean()))
    return found


def refreshes(
    generator: np.random.Generator,
    chance: np.ndarray,
    margin: float,
    worse: float,
    *,
    floor: float | None,
    budget: bool,
) -> tuple[float, float]:
    """Return how many of 30 nights were promoted, each so much worse than the champion, and the accuracy after them."""
    repetitions, rows = chance.shape
    champion = answers(generator, chance)
    superior, lost, looks = champion.copy(), np.zeros(repetitions), np.zeros(repetitions, int)
    count = 0
    for _night in range(30):
        challenger = answers(generator, chance, -(lost + worse))
        looks += 1
        tail = tails(looks, budget)
        passed = not_worse(challenger, champion, margin, tail)
        if budget:
            passed &= not_worse(challenger, superior, margin, tail)
        if floor is not None:
            right = challenger.sum(axis=1)
            passed &= stats.beta.ppf(tail, right, rows - right + 1) >= floor
        champion[passed], looks[passed] = challenger[passed], 0
        lost[passed] += worse
        count += int(passed.sum())
    left = improved(chance, -lost).mean()
    return count / repetitions, float(left)


def power(
    generator: np.random.Generator, rows: int, better: float, look: int, repetitions: int
) -> tuple[float, float]:
    """Return how often a model so much better is promoted at a look: by a fresh 2.5 %, and by what is left."""
    chance = difficulty(generator, (repetitions, rows))
    champion, challenger = answers(generator, chance), answers(generator, chance, better)
    looks = np.full(repetitions, look)
    fresh, left = (
        float((lower_ends(challenger, champion, tails(looks, budget)) > 0).mean()) for budget in (False, True)
    )
    return fresh, left


def year_of_progress(
    generator: np.random.Generator, rows: int, gain: float, repetitions: int, budget: bool
) -> tuple[float, float]:
    """Return true accuracy gained, and promotions, in 360 nights that bring a gain every 30th night and keep it."""
    chance = difficulty(generator, (repetitions, rows))
    champion, looks = answers(generator, chance), np.zeros(repetitions, int)
    reached, promotions = np.zeros(repetitions), 0
    for night in range(360):
        recipe = gain * (night // 30)  # 11 gains in all
        challenger = answers(generator, chance, np.full(repetitions, recipe))
        looks += 1
        better = lower_ends(challenger, champion, tails(looks, budget)) > 0
        champion[better], looks[better] = challenger[better], 0
        reached[better] = recipe
        promotions += int(better.sum())
    gained = improved(chance, reached).mean() - chance.mean()
    return float(gained), promotions / repetitions


def check(generator: np.random.Generator, pairs: int) -> int:
    """Return how many of so many single decisions the gate itself and the arrays above answer alike."""
    rules = Rules(primary_called("accuracy"), 0.0, 0.95, 500, 0)
    alike = 0
    for pair in range(pairs):
        chance = difficulty(generator, (1, 330))
        right = answers(generator, chance, 0.03), answers(generator, chance)
        truth = generator.integers(0, 4, 330)
        look = 1 + pair % 10
        models = [
            _model(name, np.where(own[0], truth, (truth + 1) % 4), sure)
            for (name, own), sure in zip(
                zip(("ours", "theirs"), right, strict=True), (0.8, 0.81), strict=True
            )
        ]
        baseline = _model("none", (truth + 1) % 4, 0.8)
        question = Question(truth, *models, [baseline], look=Look(look, look, True))
        ours = bool(lower_ends(*right, tails(np.array([look]), True))[0] > 0)
        alike += (decide(question, rules).verdict == "promoted") == ours
    return alike


def _model(name: str, said: np.ndarray, sure: float) -> ScoredModel:
    probabilities = np.full((len(said), 4), (1 - sure) / 3)
    probabilities[np.arange(len(said)), said] = sure
    return ScoredModel(name, name, tuple("abcd"), range(len(said)), probabilities, accuracy_score)


def main() -> None:
    """Print the tables of docs/guides/gate.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument(
        "--check", action="store_true", help="compare 200 single decisions with the gate itself"
    )
    given = parser.parse_args()
    generator, start = np.random.default_rng(11), time.monotonic()
    if given.check:
        print(f"{check(generator, 200)} of 200 decisions agree")
        return

    def repeated(rows: int) -> int:
        return min(given.repetitions, MOST_CELLS // (rows * 30))

    print("equal models every night: share of test sets on which one was promoted within 30, 90, 365 nights")
    for rows in (100, 330, 1000):
        for budget in (False, True):
            found = nights_of_equals(generator, rows, (30, 90, 365), repeated(rows), budget)
            print(
                f"  {rows:5} rows, {_gate(budget)}: {', '.join(f'{share:.1%}' for share in found)}",
                flush=True,
            )
    print(
        "30 refreshes, each truly worse than the champion by so much: promoted, accuracy after them (0.850 before)"
    )
    for rows, margin, worse in (
        (330, 0.05, 0.01),
        (1000, 0.02, 0.005),
        (1000, 0.05, 0.01),
        (5000, 0.02, 0.01),
    ):
        for budget, floor in ((False, None), (True, None), (True, 0.8)):
            chance = difficulty(generator, (repeated(rows), rows))
            count, left = refreshes(generator, chance, margin, worse, floor=floor, budget=budget)
            under = "" if floor is None else f", floor {floor}"
            print(
                f"  {rows:5} rows, margin {margin}, {worse} worse, {_gate(budget)}{under}: {count:.1f}, {left:.3f}",
                flush=True,
            )
    print(
        "as good a refresh as the champion, at the first look: promoted by a fresh 2.5 % and by what is left"
    )
    for rows, margin in ((330, 0.05), (1000, 0.02), (1000, 0.05), (5000, 0.02)):
        chance = difficulty(generator, (repeated(rows), rows))
        pair = answers(generator, chance), answers(generator, chance)
        shares = [
            float(not_worse(*pair, margin, tails(np.ones(len(chance), int), budget)).mean())
            for budget in (False, True)
        ]
        print(f"  {rows:5} rows, margin {margin}: {shares[0]:.1%} {shares[1]:.1%}", flush=True)
    print("power: a model so much better at a look of a reign, promoted by a fresh 2.5 % and by what is left")
    for rows, better in ((330, 0.05), (1000, 0.02), (1000, 0.03), (1000, 0.05), (5000, 0.02)):
        cells = []
        for look in (1, 2, 5, 10, 30, 100, 365):
            fresh, left = power(generator, rows, better, look, repeated(rows))
            cells.append(f"{look}: {fresh:.0%} {left:.0%}")
        print(f"  {rows:5} rows, +{better}: {', '.join(cells)}", flush=True)
    print("360 nights that bring a gain every 30th night: accuracy gained, promotions")
    for rows, gain in ((330, 0.01), (1000, 0.01), (5000, 0.01)):
        for budget in (False, True):
            gained, promotions = year_of_progress(generator, rows, gain, min(200, repeated(rows)), budget)
            print(f"  {rows:5} rows, +{gain}, {_gate(budget)}: +{gained:.3f}, {promotions:.1f}", flush=True)
    print(f"{time.monotonic() - start:.0f} s")


def _gate(budget: bool) -> str:
    return "budget" if budget else "fresh"


if __name__ == "__main__":
    sys.exit(main())
