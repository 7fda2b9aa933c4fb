"""What can only refuse: McNemar's opinion is told, floors, classes, slices, calibration, size and latency fail."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import recall_score

from pipeline.gate.checks import MIB, MOST_SHOWN
from pipeline.gate.decision import decide
from pipeline.gate.opponents import mcnemar_p_value
from pipeline.gate.question import Question, Rules
from pipeline.metrics.classification import positive_f1_score
from pipeline.metrics.decisions import Threshold
from pipeline.metrics.intervals import Blocks, Groups, bootstrap_weights
from pipeline.metrics.names import primary_called
from tests.helpers.gate_pairs import answers, contender, first_champion, forecaster, ignorant, next_champion

RULES = Rules(primary=primary_called("accuracy"), margin=0.0, confidence=0.95, resamples=400, seed=0)
VALUES = replace(RULES, primary=primary_called("mean_absolute_error"))
ROWS = 600


@pytest.fixture
def y_true():
    """Return 600 labels of 3 classes, 200 of each."""
    return np.arange(ROWS) % 3


@pytest.fixture
def good(y_true):
    """Return a model that is right in 90 %."""
    return contender("good", answers(np.random.default_rng(1), y_true, 0.9))


@pytest.fixture
def poor(y_true):
    """Return a model that is right in 75 %."""
    return contender("poor", answers(np.random.default_rng(2), y_true, 0.75))


def check(decision, name):
    """Return the one check of that name."""
    (found,) = [item for item in decision.checks if item.name == name]
    return found


def test_mcnemar_by_hand():
    """Of 10 discordant examples 9 are the challenger's: 2 * (1 + 10) / 2**10; none at all is 1."""
    assert pytest.approx(2 * 11 / 1024) == mcnemar_p_value(9, 1)
    assert pytest.approx(1.0) == mcnemar_p_value(5, 5) == mcnemar_p_value(0, 0)


def test_mcnemar_is_told_and_decides_nothing(y_true, good, poor):
    """Both agree that the challenger is better: a row with the counts and p, no sentence."""
    decision = next_champion(y_true, good, poor, RULES)
    right, other = good.said == y_true, poor.said == y_true
    opinion = check(decision, "McNemar's test")
    assert "told" == opinion.verdict
    assert f"{(right & ~other).sum()} only by good, {(other & ~right).sum()} only by poor" in opinion.received
    assert "McNemar" not in " ".join(decision.reasons)


def test_mcnemar_that_disagrees_is_put_into_words(y_true):
    """A better calibrated model of no better answers: log loss promotes it, McNemar sees no difference."""
    said = answers(np.random.default_rng(3), y_true, 0.9)
    sure, unsure = contender("sure", said, sure=0.9), contender("unsure", said, sure=0.5)
    by_log_loss = replace(RULES, primary=primary_called("log_loss"))
    sure, unsure = (replace(model, metric=model.metrics["log_loss"]) for model in (sure, unsure))
    decision = next_champion(y_true, sure, unsure, by_log_loss)
    assert "promoted" == decision.verdict
    assert "McNemar's exact test sees it otherwise: sure is no different in right answers" in " ".join(
        decision.reasons
    )


def test_baselines_are_to_be_beaten_by_a_later_champion_too(y_true, good, poor):
    """Better than the champion and worse than the linear baseline: refused, and the reason names it."""
    linear = replace(good, name="linear", model_sha256="linear")
    middling = contender("middling", answers(np.random.default_rng(4), y_true, 0.82))
    decision = decide(Question(y_true, middling, poor, [linear]), RULES)
    assert "refused" == decision.verdict
    assert "met" == check(decision, "beats poor").verdict
    assert "middling does not beat linear" in " ".join(decision.reasons)


def test_a_floor_is_held_by_the_bound_not_by_the_value(y_true, good):
    """Accuracy 0.9 on 600 rows shows 0.85, not 0.89."""
    baseline = [ignorant(good, y_true)]
    for floor, verdict in ((0.85, "promoted"), (0.89, "refused")):
        decision = first_champion(y_true, good, baseline, replace(RULES, floors={"accuracy": floor}))
        assert verdict == decision.verdict
    assert good.metric(y_true, good.predictions, None) > 0.89
    assert "Floor of accuracy: expected lower end at least 0.8900" in decision.reasons[-1]


def test_a_floor_of_an_error_is_a_ceiling():
    """Forecasts that miss by 3.74 on average, give or take 0.23, hold 5, not 3.8."""
    y_true = np.random.default_rng(3).normal(100, 20, size=(300, 2, 1))
    model = forecaster("model", y_true, 5, 1)
    for ceiling, verdict in ((5.0, "promoted"), (3.8, "refused")):
        rules = replace(VALUES, floors={"mean_absolute_error": ceiling})
        assert verdict == first_champion(y_true, model, [ignorant(model, y_true)], rules).verdict


def test_a_floor_that_nobody_can_judge_refuses():
    """One forecast in 300 is all of the error: however high the ceiling, the rows do not show what another would cost."""
    y_true = np.random.default_rng(3).normal(100, 20, size=(300, 2, 1))
    model = forecaster("model", y_true, 0.01, 1)
    model = replace(model, predictions=np.where(np.arange(300)[:, None, None] == 7, 1e4, model.predictions))
    rules = replace(VALUES, floors={"mean_absolute_error": 1e5})
    decision = first_champion(y_true, model, [ignorant(model, y_true)], rules)
    assert "refused" == decision.verdict
    assert "nobody can say how sure that is: few examples are most of the error" in decision.reasons[-1]


def test_a_floor_that_cannot_be_measured_refuses(y_true, good):
    """A metric that these rows do not have is a failure, not a pass."""
    rules = replace(RULES, floors={"positive_f1": 0.1})
    decision = first_champion(y_true, good, [ignorant(good, y_true)], rules)
    assert "refused" == decision.verdict
    assert "no such value for these examples" in decision.reasons[-1]


def test_flawless_answers_are_no_proof_of_perfection(y_true):
    """40 of 40 right show a share of 0.912 by the binomial distribution: a floor of 0.95 is not held."""
    truth = y_true[:40]
    flawless = contender("flawless", truth)
    rules = replace(RULES, floors={"accuracy": 0.95})
    decision = first_champion(truth, flawless, [ignorant(flawless, truth)], rules, trials={"accuracy": 40})
    assert "refused" == decision.verdict
    expected = stats.binomtest(40, 40).proportion_ci(0.95, method="exact").low
    assert expected == pytest.approx(check(decision, "floor of accuracy").interval.low, abs=0.01)


def with_lost_class(y_true, share_right):
    """Return a model that is better overall and has lost class 2."""
    said = answers(np.random.default_rng(5), y_true, 0.98)
    generator = np.random.default_rng(6)
    lost = (y_true == 2) & (generator.random(len(y_true)) > share_right)
    return contender("lopsided", np.where(lost, 0, said))


def test_a_class_that_falls_refuses_a_better_model(y_true):
    """98 % right elsewhere, class 2 down from 68 % to 45 %: refused, and the reason names the class."""
    poor = contender("poor", answers(np.random.default_rng(2), y_true, 0.68))
    challenger = with_lost_class(y_true, 0.45)
    without = next_champion(y_true, challenger, poor, RULES)
    decision = next_champion(y_true, challenger, poor, replace(RULES, class_tolerance=0.05))
    assert ("promoted", "refused") == (without.verdict, decision.verdict)
    found = check(decision, "class 2")
    recalls = [recall_score(y_true, model.said, average=None)[2] for model in (challenger, poor)]
    assert ("failed", pytest.approx(recalls[0] - recalls[1])) == (found.verdict, found.interval.value)
    assert "Class 2: expected right answers fall by no more than 0.0500" in " ".join(decision.reasons)


def test_a_fall_within_the_tolerance_or_within_chance_passes(y_true, poor):
    """A tolerance of 40 points lets it through; so do 12 examples of the class, which prove nothing."""
    challenger = with_lost_class(y_true, 0.6)
    assert "promoted" == next_champion(y_true, challenger, poor, replace(RULES, class_tolerance=0.4)).verdict
    few = np.flatnonzero((y_true != 2) | (np.cumsum(y_true == 2) <= 12))
    kept = [
        replace(model, predictions=model.predictions[few], sample_ids=[str(row) for row in few])
        for model in (challenger, poor)
    ]
    assert "promoted" == next_champion(y_true[few], *kept, replace(RULES, class_tolerance=0.05)).verdict


def test_a_class_that_falls_by_another_threshold_refuses():
    """Equal probabilities, thresholds 0.5 and 0.25: F1 rises, but the recall of "no" falls from 1.00 to 0.73."""
    truth, decile = np.repeat([0, 1], 300), np.arange(600) % 100
    positive = np.where(truth == 0, np.where(decile < 27, 0.3, 0.1), np.where(decile < 20, 0.6, 0.3))
    probabilities = np.column_stack([1 - positive, positive])
    champion, challenger = (
        replace(
            contender(name, truth, num_classes=2),
            predictions=probabilities,
            metric=partial(positive_f1_score, threshold=threshold),
            threshold=Threshold(1, threshold),
            classes=["no", "yes"],
        )
        for name, threshold in (("champion", 0.5), ("challenger", 0.25))
    )
    rules = replace(RULES, primary=primary_called("positive_f1"))
    assert "promoted" == next_champion(truth, challenger, champion, rules).verdict
    decision = next_champion(truth, challenger, champion, replace(rules, class_tolerance=0.05))
    fall = check(decision, "class no")
    assert ("refused", "failed") == (decision.verdict, fall.verdict)
    assert "from 1.0000 to 0.7300 on 300 examples" in fall.received
    opinion = check(decision, "McNemar's test").received
    assert "240 only by challenger, 81 only by champion" in opinion


def test_classes_below_the_support_are_told(y_true, good, poor):
    """With 201 rows demanded no class of 200 is judged, and the decision says so."""
    decision = next_champion(y_true, good, poor, replace(RULES, class_tolerance=0.0, min_support=201))
    assert "promoted" == decision.verdict
    assert not [item for item in decision.checks if item.name.startswith("class ")]
    assert ("told", "3: class 0, class 1, class 2") == (
        check(decision, "too small to be judged").verdict,
        check(decision, "too small to be judged").received,
    )


def test_a_declared_slice_that_falls_refuses(y_true, good, poor):
    """Better everywhere but in the north, a fifth of the rows: refused by the slice, promoted without it."""
    north = np.arange(ROWS) % 5 == 0
    said = np.where(north & (np.arange(ROWS) % 2 == 0), (y_true + 1) % 3, good.said)
    challenger = contender("southern", said)
    slices = {"region=north": north, "region=south": ~north}
    rules = replace(RULES, slice_tolerance=0.05)
    assert "promoted" == next_champion(y_true, challenger, poor, rules).verdict
    decision = next_champion(y_true, challenger, poor, rules, slices=slices)
    assert ("refused", "failed", "met") == (
        decision.verdict,
        check(decision, "slice region=north").verdict,
        check(decision, "slice region=south").verdict,
    )


@pytest.mark.parametrize("blocks", [None, Blocks(5, (300,))], ids=["rows", "blocks"])
def test_a_slice_of_forecasts_that_falls_refuses(blocks):
    """Half the error by day, three times the error at night: refused, the tolerance a share of the champion's."""
    y_true = np.zeros((300, 4, 1))
    night = np.arange(300) % 6 == 0
    champion = forecaster("champion", y_true, 1.0, 1)
    factors = np.where(night, 3.0, 0.4)[:, None, None]
    challenger = forecaster("challenger", y_true, 1.0, 2)
    challenger = replace(challenger, predictions=challenger.predictions * factors)
    rules = replace(VALUES, slice_tolerance=0.1)
    slices = {"hour=night": night, "hour=day": ~night}
    decision = next_champion(y_true, challenger, champion, rules, slices=slices, blocks=blocks)
    assert ("refused", "failed", "met") == (
        decision.verdict,
        check(decision, "slice hour=night").verdict,
        check(decision, "slice hour=day").verdict,
    )
    lenient = replace(rules, slice_tolerance=3.0)
    assert (
        "promoted"
        == next_champion(y_true, challenger, champion, lenient, slices=slices, blocks=blocks).verdict
    )


def test_many_classes_raise_no_false_alarm():
    """20 classes of equally good models: at most 2.5 % of 100 comparisons see any of them fall."""
    generator = np.random.default_rng(8)
    alarms = 0
    for _ in range(100):
        right = generator.random((2, 20 * 30)) < 0.8
        truth = np.arange(600) % 20
        models = [
            contender(name, np.where(kept, truth, (truth + 1) % 20), num_classes=20)
            for name, kept in zip(("one", "other"), right, strict=True)
        ]
        decision = next_champion(truth, *models, replace(RULES, resamples=100, class_tolerance=0.0))
        alarms += any(item.verdict == "failed" for item in decision.checks if "class" in item.name)
    assert alarms <= stats.binom.ppf(0.999, 100, 0.025)


def test_rows_of_many_classes_are_cut_short_the_worst_first():
    """Of 50 classes the worst 20 stand in the decision; one more row counts the rest."""
    truth = np.arange(1000) % 50
    said = np.where(truth < 2, 49, truth)
    rules = replace(RULES, class_tolerance=0.0)
    champion = contender("champion", np.where(truth > 10, 0, truth), num_classes=50)
    decision = next_champion(truth, contender("challenger", said, num_classes=50), champion, rules)
    rows = [item for item in decision.checks if item.name.startswith("class ")]
    assert MOST_SHOWN == len(rows)
    assert ["class 0", "class 1"] == sorted(item.name for item in rows if item.verdict == "failed")
    assert "30 more held, 0 more fell" == check(decision, "other classes and slices").received


def test_calibration_that_rises_refuses(y_true, poor):
    """Right in 90 % and 80 % sure against right in 90 % and never in doubt."""
    honest = contender("honest", answers(np.random.default_rng(7), y_true, 0.8), sure=0.8)
    boastful = contender("boastful", answers(np.random.default_rng(1), y_true, 0.9), sure=0.999)
    for budget, verdict in ((0.02, "refused"), (0.2, "promoted")):
        rules = replace(RULES, calibration_budget=budget)
        assert verdict == next_champion(y_true, boastful, honest, rules).verdict


def test_size_and_latency_are_budgets_and_unknown_is_over(y_true, good):
    """Within both promoted; over one of them, or not measured, refused."""
    rules = replace(RULES, max_size_mib=2.0, max_latency_ms=5.0)
    baseline = [ignorant(good, y_true)]
    measured = {"size_bytes": 2 * MIB, "latency_ms": 4.9}
    assert "promoted" == first_champion(y_true, good, baseline, rules, **measured).verdict
    for change in (
        {"size_bytes": 2 * MIB + 1},
        {"latency_ms": 5.1},
        {"size_bytes": None},
        {"latency_ms": None},
    ):
        assert "refused" == first_champion(y_true, good, baseline, rules, **(measured | change)).verdict


def test_the_measured_time_stands_nowhere_in_the_decision(y_true, good):
    """Two machines of which one is faster write the same bytes, as long as both are fast enough."""
    rules = replace(RULES, max_latency_ms=5.0)
    baseline = [ignorant(good, y_true)]
    decisions = [first_champion(y_true, good, baseline, rules, latency_ms=time) for time in (1.0, 4.0)]
    assert decisions[0] == decisions[1]


def test_a_refresh_need_not_be_better_only_not_worse(y_true):
    """Two points worse: not worse by five points, by more than half a point; and never better."""
    generator = np.random.default_rng(9)
    right = generator.random(ROWS) < 0.9
    lost = right & (np.cumsum(right) <= 12)
    champion = contender("champion", np.where(right, y_true, (y_true + 1) % 3))
    refreshed = contender("refreshed", np.where(right & ~lost, y_true, (y_true + 1) % 3))
    for margin, verdict in ((0.05, "promoted"), (0.005, "refused")):
        rules = replace(RULES, mode="non_inferiority", non_inferiority_margin=margin)
        decision = next_champion(y_true, refreshed, champion, rules)
        assert verdict == decision.verdict
    assert "may be worse than champion" in decision.reasons[0]
    assert "refused" == next_champion(y_true, refreshed, champion, RULES).verdict


def test_a_refresh_must_still_beat_the_baselines(y_true, good):
    """Not being worse than a champion that lost its worth is not enough."""
    rules = replace(RULES, mode="non_inferiority", non_inferiority_margin=0.1)
    guess = contender("guess", np.zeros(ROWS, dtype=int))
    stale = contender("stale", np.full(ROWS, 1))
    majority = replace(guess, name="majority", model_sha256="majority")
    decision = decide(Question(y_true, guess, stale, [majority]), rules)
    assert "refused" == decision.verdict
    assert "guess does not beat majority" in " ".join(decision.reasons)


PERSONS = Groups(tuple(np.repeat(range(60), 10).tolist()))
"""Ten rows each."""
PERSON = np.arange(ROWS) // 10


def test_mcnemar_turns_whole_groups(y_true):
    """Right on all rows of four persons more, wrong on those of two: p = 0.69 of 6 coins, not 0.01 of 60."""
    champion = contender("champion", np.where(PERSON < 10, (y_true + 1) % 3, y_true))
    said = np.where((PERSON >= 4) & (PERSON < 10) | (PERSON >= 58), (y_true + 1) % 3, y_true)
    challenger = contender("challenger", said)
    by_rows = next_champion(y_true, challenger, champion, RULES)
    by_persons = next_champion(y_true, challenger, champion, RULES, blocks=PERSONS)
    counted = "40 only by challenger, 20 only by champion, p = "
    rows, persons = (stats.binomtest(*pair).pvalue for pair in ((40, 60), (4, 6)))
    assert f"{counted}{rows:.3g}" == check(by_rows, "McNemar's test").received
    assert f"{counted}{persons:.3g} by whole groups" == check(by_persons, "McNemar's test").received


def test_a_class_that_falls_with_few_persons_is_within_chance(y_true, good):
    """Class 2 lost with 5 of 60 persons refuses row by row; with 40 of them it refuses either way."""
    rules = replace(RULES, class_tolerance=0.0)
    champion = contender("champion", np.where((y_true == 1) & (PERSON % 2 == 0), 0, y_true))
    for persons, verdicts in ((5, ("failed", "met")), (40, ("failed", "failed"))):
        challenger = contender("challenger", np.where((y_true == 2) & (PERSON < persons), 0, y_true))
        found = tuple(
            check(next_champion(y_true, challenger, champion, rules, blocks=blocks), "class 2").verdict
            for blocks in (None, PERSONS)
        )
        assert verdicts == found


def test_support_counts_groups(y_true, good, poor):
    """200 rows of class 2 are of 8 persons: too few to be judged; the others are of 26 each."""
    slices = {"room=north": PERSON < 8, "group=7": PERSON == 7}
    rules = replace(RULES, slice_tolerance=0.1)
    decision = next_champion(y_true, good, poor, rules, slices=slices, blocks=PERSONS)
    small = check(decision, "too small to be judged")
    assert ("at least 10 groups each", "1: slice room=north") == (small.expected, small.received)


@pytest.mark.parametrize("task", ["classes", "values"])
def test_a_slice_that_is_a_group_is_judged_by_its_rows(task):
    """What is asked there is how this one person fares, so her 60 rows are the evidence."""
    generator = np.random.default_rng(0)
    ann = np.arange(ROWS) < 60
    groups = Groups((*[0] * 60, *np.repeat(range(1, 55), 10).tolist()))
    if task == "classes":
        truth, rules = np.arange(ROWS) % 3, RULES
        champion = contender("champion", answers(generator, truth, 0.8))
        said = np.where(ann & (np.arange(ROWS) % 2 == 0), (truth + 1) % 3, truth)
        challenger = contender("challenger", said)
    else:
        truth, rules = np.zeros((ROWS, 1)), VALUES
        champion = forecaster("champion", truth, 1.0, 1)
        challenger = replace(forecaster("challenger", truth, 1.0, 2))
        factors = np.where(ann, 3.0, 0.4)[:, None]
        challenger = replace(challenger, predictions=challenger.predictions * factors)
    slices = {"group=ann": ann, "room=south": ~ann}
    rules = replace(rules, slice_tolerance=0.05)
    found = next_champion(truth, challenger, champion, rules, slices=slices, blocks=groups)
    verdicts = [check(found, f"slice {name}") for name in slices]
    assert ["failed", "met"] == [item.verdict for item in verdicts]
    assert all(item.interval.high > item.interval.low for item in verdicts)


def test_a_slice_of_values_that_falls_with_few_persons_is_within_chance():
    """Thrice the error at night, all of it with four of 60 persons: refused row by row only."""
    truth = np.zeros((ROWS, 1))
    night = np.arange(ROWS) % 2 == 0
    champion = forecaster("champion", truth, 1.0, 1)
    factors = np.where(night & (PERSON < 4), 4.0, np.where(night, 1.0, 0.3))[:, None]
    challenger = replace(champion, name="c", model_sha256="c", predictions=champion.predictions * factors)
    rules = replace(VALUES, slice_tolerance=0.0)
    verdicts = [
        check(
            next_champion(truth, challenger, champion, rules, slices={"hour=night": night}, blocks=blocks),
            "slice hour=night",
        ).verdict
        for blocks in (None, PERSONS)
    ]
    assert ["failed", "met"] == verdicts


def test_a_slice_of_values_over_few_groups_is_as_sure_as_student():
    """A slice of twelve persons: SciPy's interval of twelve mean differences, up to the noise of resamples."""
    truth = np.zeros((ROWS, 1))
    champion, challenger = (forecaster(name, truth, 1.0, seed) for name, seed in (("b", 1), ("a", 2)))
    north = PERSON < 12
    rules = replace(VALUES, slice_tolerance=0.1, resamples=4000)
    decision = next_champion(truth, challenger, champion, rules, slices={"room=north": north}, blocks=PERSONS)
    found = check(decision, "slice room=north").interval
    errors = [
        np.abs(model.predictions)[north].reshape(12, 10).mean(axis=1) for model in (champion, challenger)
    ]
    student = stats.ttest_rel(*errors).confidence_interval(0.95)
    assert (student.low, student.high) == pytest.approx((found.low, found.high), abs=0.02)
    assert student.high - student.low == pytest.approx(found.high - found.low, rel=0.06)


def test_a_floor_is_held_by_groups(y_true):
    """90 % right, the wrong ones all of six persons: 0.85 is shown by rows taken alone, not by persons."""
    model = contender("model", np.where(PERSON < 6, (y_true + 1) % 3, y_true))
    rules = replace(RULES, floors={"accuracy": 0.85})
    verdicts = [
        check(
            first_champion(y_true, model, [ignorant(model, y_true)], rules, blocks=blocks),
            "floor of accuracy",
        )
        for blocks in (None, PERSONS)
    ]
    assert ["met", "failed"] == [item.verdict for item in verdicts]


def test_calibration_that_rises_with_few_persons_is_within_chance(y_true):
    """Sure and wrong with four of 60 persons: the rise is beyond the budget by rows, not by persons."""
    champion = contender("champion", np.where(PERSON % 10 == 0, (y_true + 1) % 3, y_true), sure=0.9)
    said = np.where(PERSON < 6, (y_true + 1) % 3, y_true)
    challenger = contender("challenger", said, sure=0.98)
    rules = replace(RULES, calibration_budget=0.04)
    found = [
        check(next_champion(y_true, challenger, champion, rules, blocks=blocks), "calibration")
        for blocks in (None, PERSONS)
    ]
    assert ["failed", "met"] == [item.verdict for item in found]
    metrics = [model.metrics["expected_calibration_error"] for model in (challenger, champion)]
    drawn = [
        np.concatenate(
            [
                metric(y_true, model.predictions, weights)
                for weights in bootstrap_weights(ROWS, 400, 0, PERSONS)
            ]
        )
        for metric, model in zip(metrics, (challenger, champion), strict=True)
    ]
    tail = stats.norm.cdf(-stats.t.ppf(0.975, 59) * np.sqrt(60 / 59))
    low, high = np.quantile(drawn[0] - drawn[1], [tail, 1 - tail])
    assert (low, high) == pytest.approx((found[1].interval.low, found[1].interval.high))
