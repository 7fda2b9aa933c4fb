"""The gate promotes what is better, refuses what is not or cannot be told, and always says why."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy import stats

from pipeline.gate.decision import decision_key
from pipeline.gate.question import Rules, ScoredModel
from pipeline.metrics.classification import positive_f1_score, roc_auc_score
from pipeline.metrics.decisions import Threshold
from pipeline.metrics.intervals import Blocks, Groups
from pipeline.metrics.names import primary_called
from tests.helpers.gate_pairs import answers, contender, first_champion, forecaster, next_champion

RULES = Rules(primary=primary_called("accuracy"), margin=0.0, confidence=0.95, resamples=500, seed=0)


@pytest.fixture
def y_true() -> np.ndarray:
    """Return 300 labels of 3 classes."""
    return np.random.default_rng(0).integers(0, 3, 300)


@pytest.fixture
def good(y_true: np.ndarray) -> ScoredModel:
    """Return a model that is right in 90 %."""
    return contender("good", answers(np.random.default_rng(1), y_true, 0.9))


@pytest.fixture
def poor(y_true: np.ndarray) -> ScoredModel:
    """Return a model that is right in 60 %."""
    return contender("poor", answers(np.random.default_rng(2), y_true, 0.6))


def test_first_model_that_beats_every_baseline_is_promoted(
    y_true: np.ndarray, good: ScoredModel, poor: ScoredModel
) -> None:
    """Clearly better than the majority and the linear baseline: champion, with a sentence per baseline."""
    majority = contender("majority", np.zeros(300, dtype=int))
    decision = first_champion(y_true, good, [majority, poor], RULES)
    assert decision.verdict == "promoted"
    assert {"majority", "poor"} == set(decision.differences)
    assert len(decision.reasons) == 2
    expected = np.mean(good.predictions.argmax(axis=1) == y_true) - np.mean(y_true == 0)
    assert pytest.approx(expected) == decision.differences["majority"].value


def test_first_model_that_beats_only_one_baseline_is_refused(
    y_true: np.ndarray, good: ScoredModel, poor: ScoredModel
) -> None:
    """Better than the majority but not than the linear baseline: refused, and the reason names the latter."""
    majority = contender("majority", np.zeros(300, dtype=int))
    decision = first_champion(y_true, poor, [majority, replace(good, name="linear")], RULES)
    assert decision.verdict == "refused"
    assert "poor does not beat linear" in decision.reasons[1]


def test_without_baselines_nothing_is_promoted(y_true: np.ndarray, good: ScoredModel) -> None:
    """No baseline means it could not be checked, which is a refusal."""
    assert first_champion(y_true, good, [], RULES).verdict == "refused"


def test_better_challenger_replaces_the_champion(
    y_true: np.ndarray, good: ScoredModel, poor: ScoredModel
) -> None:
    """A clearly better model is promoted, the other way round it is refused."""
    assert next_champion(y_true, good, poor, RULES).verdict == "promoted"
    assert next_champion(y_true, poor, good, RULES).verdict == "refused"


def test_the_margin_counts(y_true: np.ndarray, good: ScoredModel, poor: ScoredModel) -> None:
    """Thirty points better is not enough where fifty are asked for."""
    decision = next_champion(y_true, good, poor, replace(RULES, margin=0.5))
    assert decision.verdict == "refused"
    assert "needed above +0.5000" in decision.reasons[0]


def test_the_champion_itself_changes_nothing(y_true: np.ndarray, good: ScoredModel) -> None:
    """The same model file is `unchanged`, whatever its name."""
    assert next_champion(y_true, good, replace(good, name="again"), RULES).verdict == "unchanged"


def test_equal_answers_are_not_better(y_true: np.ndarray, good: ScoredModel) -> None:
    """Another file with the same answers is refused: a difference of 0 is not above a margin of 0."""
    assert next_champion(y_true, replace(good, model_sha256="other"), good, RULES).verdict == "refused"


def broken(model: ScoredModel, flaw: str) -> ScoredModel:
    """Return the model with one thing wrong."""
    rows, _ = model.predictions.shape
    with_nan = model.predictions.copy()
    with_nan[5] = np.nan
    return {
        "nan": replace(model, predictions=with_nan),
        "not probabilities": replace(model, predictions=model.predictions * 2),
        "fewer rows": replace(model, predictions=model.predictions[:-1], sample_ids=model.sample_ids[:-1]),
        "other rows": replace(model, sample_ids=[*model.sample_ids[1:], "test/new"]),
        "other classes": replace(model, classes=["0", "1", "cat"]),
        "other order": replace(model, classes=["1", "0", "2"]),
        "more classes": replace(
            model,
            classes=["0", "1", "2", "3"],
            predictions=np.hstack([model.predictions, np.zeros((rows, 1))]),
        ),
    }[flaw]


@pytest.mark.parametrize("challenged", [True, False], ids=["challenger", "champion"])
@pytest.mark.parametrize(
    ("flaw", "words"),
    [
        ("nan", "is not finite"),
        ("not probabilities", "adding up to 1"),
        ("fewer rows", "one row per example"),
        ("other rows", "not scored on the same examples"),
        ("other classes", "only one of them knows 2, cat"),
        ("other order", "another order"),
        ("more classes", "only one of them knows 3"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    y_true: np.ndarray, good: ScoredModel, poor: ScoredModel, challenged: bool, flaw: str, words: str
) -> None:
    """A flaw of either side refuses the promotion of an otherwise clear winner, in words."""
    challenger, champion = (broken(good, flaw), poor) if challenged else (good, broken(poor, flaw))
    decision = next_champion(y_true, challenger, champion, RULES)
    assert decision.verdict == "refused"
    assert words in " ".join(decision.reasons)


def test_too_few_rows_are_refused() -> None:
    """29 perfect answers against 29 wrong ones promote nobody."""
    truth = np.arange(29) % 3
    decision = next_champion(truth, contender("right", truth), contender("wrong", (truth + 1) % 3), RULES)
    assert decision.verdict == "refused"
    assert "29 examples are too few" in decision.reasons[0]


ERRORS = replace(RULES, primary=primary_called("mean_absolute_error"))


@pytest.fixture
def hours() -> np.ndarray:
    """Return true values of 300 windows, shape (num_windows, horizon, num_targets)."""
    return np.random.default_rng(3).normal(100, 20, size=(300, 2, 1))


def test_a_smaller_error_is_better(hours: np.ndarray) -> None:
    """Improvement counts downwards for an error, in its own units, and the sentence says so."""
    good, poor = forecaster("good", hours, 5, 1), forecaster("poor", hours, 8, 2)
    decision = next_champion(hours, good, poor, ERRORS)
    assert decision.verdict == "promoted"
    expected = np.abs(poor.predictions - hours).mean() - np.abs(good.predictions - hours).mean()
    assert expected == pytest.approx(decision.differences["poor"].value)
    errors = [f"{np.abs(model.predictions - hours).mean():.4f}" for model in (good, poor)]
    said = f"good beats poor: mean absolute error {errors[0]} against {errors[1]}, lower by +"
    assert decision.reasons[0].startswith(said)
    assert decision.reasons[0].endswith("; needed above 0.")
    assert next_champion(hours, poor, good, ERRORS).verdict == "refused"


def test_the_margin_of_an_error_is_a_share_of_the_opponents(hours: np.ndarray) -> None:
    """A third better is enough for a tenth, not for a half; an absolute margin would depend on the unit."""
    good, poor = forecaster("good", hours, 5, 1), forecaster("poor", hours, 8, 2)
    for margin, verdict in ((0.1, "promoted"), (0.5, "refused")):
        found = [next_champion(hours * unit, *(replace(model, predictions=model.predictions * unit) for model in (good, poor)),
                               replace(ERRORS, margin=margin)).verdict for unit in (1.0, 1000.0)]  # fmt: skip
        assert [verdict, verdict] == found


def test_blocks_make_the_gate_stricter() -> None:
    """An advantage that lies in one stretch of time convinces row by row, but not in blocks."""
    y_true = np.zeros((400, 1))
    other = forecaster("other", y_true, 1, 4)
    better = other.predictions.copy()
    better[100:130] *= 0.2
    challenger = replace(other, name="lucky", model_sha256="x", predictions=better)
    assert next_champion(y_true, challenger, other, ERRORS).verdict == "promoted"
    blocks = Blocks(100, (400,))
    assert next_champion(y_true, challenger, other, ERRORS, blocks=blocks).verdict == "refused"


def test_a_decision_tells_every_threshold() -> None:
    """Of two classes a row with all of them, which decides nothing; of more classes there is none."""
    y_true = np.arange(300) % 2
    first, second = (contender(name, y_true, num_classes=2) for name in ("tuned", "usual"))
    tuned = replace(first, classes=["ham", "spam"], threshold=Threshold(1, 0.25))
    usual = replace(
        second, classes=["ham", "spam"], threshold=Threshold(1, 0.5), predictions=first.predictions + 0
    )
    usual = replace(usual, predictions=np.where(np.arange(300)[:, None] < 9, 0.5, usual.predictions))
    (told,) = [item for item in next_champion(y_true, tuned, usual, RULES).checks if "threshold" in item.name]
    assert "tuned says spam from 0.2500 on; usual says spam from 0.5000 on" == told.received
    assert "told" == told.verdict
    plain = next_champion(y_true, first, second, RULES)
    assert not [item for item in plain.checks if "threshold" in item.name]


def test_each_model_is_judged_at_its_own_threshold() -> None:
    """Two models that rank equally well; the one whose threshold fits its probabilities is better."""
    y_true = np.arange(300) % 4 // 3
    positive = np.where(y_true == 1, 0.3, 0.1)
    probabilities = np.column_stack([1 - positive, positive])
    usual = contender("usual", y_true, num_classes=2)
    usual = replace(usual, predictions=probabilities, metric=positive_f1_score)
    tuned = replace(usual, name="tuned", model_sha256="x", metric=partial(positive_f1_score, threshold=0.2))
    decision = next_champion(y_true, tuned, usual, replace(RULES, primary=primary_called("positive_f1")))
    assert (decision.verdict, decision.differences["usual"].value) == ("promoted", 1.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda values: np.where(np.arange(300)[:, None, None] == 7, np.nan, values), "is not finite"),
        (lambda values: values[..., 0], "must answer in shape"),
        (lambda values: values[:-1], "one row per example"),
    ],
)
def test_forecasts_that_cannot_be_compared_are_refused(hours: np.ndarray, change, words: str) -> None:
    """NaN, another shape, fewer rows."""
    good, poor = forecaster("good", hours, 1, 1), forecaster("poor", hours, 50, 2)
    decision = next_champion(hours, replace(good, predictions=change(good.predictions)), poor, ERRORS)
    assert decision.verdict == "refused"
    assert words in decision.reasons[0]


def test_a_metric_that_does_not_exist_refuses(
    y_true: np.ndarray, good: ScoredModel, poor: ScoredModel
) -> None:
    """ROC AUC of one class is nobody's victory."""
    one_class = np.zeros_like(y_true)
    pair = [replace(model, metric=roc_auc_score) for model in (good, poor)]
    decision = next_champion(one_class, *pair, replace(RULES, primary=primary_called("roc_auc")))
    assert decision.verdict == "refused"
    assert "cannot be judged" in decision.reasons[0]


def test_other_rules_of_judging_ask_another_question():
    """A decision under one alarm factor or positive class does not answer for another."""
    keys = {
        decision_key("model", "rows", RULES, {}, {"yardstick": {"alarms": {"factor": factor}}})
        for factor in (1.0, 3.0)
    }
    assert 2 == len(keys)


def alike(count: int, size: int = 10) -> Groups:
    """Return groups of consecutive examples."""
    return Groups(tuple(np.repeat(range(count), size).tolist()))


def test_groups_make_the_gate_stricter() -> None:
    """Six points better, won with two persons of forty: that convinces row by row, but not person by person."""
    y_true = np.arange(400) % 3
    wrong = (y_true + 1) % 3
    champion = contender("champion", np.where(np.arange(400) >= 60, y_true, wrong))
    lucky = contender("lucky", np.where(np.arange(400) >= 36, y_true, wrong))
    assert next_champion(y_true, lucky, champion, RULES).verdict == "promoted"
    decision = next_champion(y_true, lucky, champion, RULES, blocks=alike(40))
    assert decision.verdict == "refused"
    assert "lucky does not beat champion" in decision.reasons[0]
    assert "over 40 groups" in decision.reasons[0]


def test_the_difference_over_equal_groups_is_at_least_students() -> None:
    """SciPy's paired t interval of the shares right of 40 persons lies within the gate's, and nearly fills it."""
    y_true = np.arange(400) % 3
    generator = np.random.default_rng(7)
    shares = [np.repeat(generator.beta(a, 2, 40), 10) for a in (9, 7)]
    said = [np.where(generator.random(400) < share, y_true, (y_true + 1) % 3) for share in shares]
    one, other = contender("one", said[0]), contender("other", said[1])
    found = next_champion(y_true, one, other, RULES, blocks=alike(40)).differences["other"]
    means = [(model.said == y_true).reshape(40, 10).mean(axis=1) for model in (one, other)]
    student = stats.ttest_rel(*means).confidence_interval(0.95)
    assert found.value == pytest.approx(np.mean(means[0] - means[1]))
    assert found.low <= student.low + 0.005
    assert found.high >= student.high - 0.005
    assert found.high - found.low < 1.2 * (student.high - student.low)


@pytest.mark.parametrize(
    ("groups", "received"),
    [
        (alike(12, 25), "groups=12, which say as much as 12.0"),
        (Groups((0,) * 300), "groups=1, which say as much as 1.0"),
        (Groups((*range(50), *[50] * 250)), "groups=51, which say as much as 1.4"),
    ],
)
def test_too_few_groups_are_refused_however_many_rows(y_true, good, poor, groups, received) -> None:
    """300 rows of 12 persons, of one, or nearly all of one: the clear winner is not promoted, and why."""
    decision = next_champion(y_true, good, poor, RULES, blocks=groups)
    assert decision.verdict == "refused"
    assert "Expected: at least 30 groups of equal size" in decision.reasons[0]
    assert f"Received: {received}" in decision.reasons[0]
    assert "raise split.test_share" in decision.reasons[0]


def test_a_better_model_is_promoted_over_groups(y_true, good, poor) -> None:
    """30 points better with 30 persons alike."""
    decision = next_champion(y_true, good, poor, RULES, blocks=alike(30))
    assert decision.verdict == "promoted"


def test_groups_of_other_examples_are_refused(y_true, good, poor) -> None:
    """Groups that do not hold every row once could not be drawn."""
    decision = next_champion(y_true, good, poor, RULES, blocks=alike(30, 9))
    assert decision.verdict == "refused"
    assert "must hold every example once" in decision.reasons[0]
