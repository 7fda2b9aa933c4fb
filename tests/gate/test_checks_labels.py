"""The gate on several labels: each label must keep its F1, at the thresholds of each model."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from pipeline.evaluation.label_measures import LabelMeasures
from pipeline.gate.checks import falls, obstacles
from pipeline.gate.decision import decide
from pipeline.gate.question import Question, Rules, ScoredModel
from pipeline.metrics.names import primary_called

ROWS, CLASSES = 400, ("billing", "delivery", "login")
RULES = Rules(
    primary=primary_called("macro_f1"), margin=0.0, confidence=0.95, resamples=300, seed=0, class_tolerance=0.05,
    calibration_budget=0.05,
)  # fmt: skip


@pytest.fixture(scope="module")
def measures():
    """Return 400 rows of three labels, the third on 4 rows."""
    y_true = (np.random.default_rng(0).random((ROWS, 3)) < (0.5, 0.3, 0)).astype(np.uint8)
    y_true[:4, 2] = 1
    return LabelMeasures(y_true, CLASSES, 15)


def model(name, measures, wrong=(0.1, 0.1, 0.1), seed=1, low=1.0):
    """Return a model that is wrong about so many of each label; `low` scales all it says."""
    flipped = np.random.default_rng(seed).random(measures.y_true.shape) < wrong
    predictions = low * np.where(measures.y_true ^ flipped, 0.9, 0.1)
    point = measures.operating_point(predictions)
    metrics = measures.metrics(point)
    ids = [f"test/{row}" for row in range(ROWS)]
    thresholds = measures.thresholds(point)
    return ScoredModel(
        name, name, CLASSES, ids, predictions, metrics["macro_f1"], metrics, thresholds=thresholds
    )


def ask(measures, challenger, champion=None, **more):
    """Return the question; the baseline says nothing of anybody."""
    baseline = replace(challenger, name="majority", model_sha256="m", predictions=np.full((ROWS, 3), 0.001))
    return Question(measures.y_true, challenger, champion, [baseline], trials=measures.trials, **more)


def test_a_better_model_is_promoted(measures):
    """By macro F1; every large label held, the small one is told, and nobody asks McNemar."""
    good = model("good", measures, (0.02, 0.02, 0.0))
    question = ask(measures, good, model("old", measures, (0.1, 0.1, 0.0), seed=2))
    decision = decide(question, RULES)
    assert "promoted" == decision.verdict, decision.reasons
    names = {check.name: check.verdict for check in decision.checks}
    assert "met" == names["label billing"] == names["label delivery"]
    assert "told" == names["too small to be judged"]
    assert "McNemar's test" not in names


def test_a_label_that_falls_refuses(measures):
    """Better on the whole, much worse on delivery: refused, with its F1 before and now."""
    challenger = model("new", measures, (0.0, 0.3, 0.0))
    champion = model("old", measures, (0.25, 0.05, 0.3), seed=2)
    checks = {check.name: check for check in falls(ask(measures, challenger, champion), RULES)}
    fallen = checks["label delivery"]
    assert "failed" == fallen.verdict
    before, now = (
        f1_score(measures.y_true[:, 1], one.predictions[:, 1] >= 0.5) for one in (champion, challenger)
    )
    concerned = (measures.y_true[:, 1] == 1) | challenger.labels_said[:, 1] | champion.labels_said[:, 1]
    assert (
        f"from {before:.4f} to {now:.4f} on {concerned.sum()} examples that have it or were said to"
        == fallen.received
    )
    assert "refused" == decide(ask(measures, challenger, champion), RULES).verdict


def test_thresholds_belong_to_each_model(measures):
    """The same answers at half the probability are as good at their own thresholds."""
    champion = model("old", measures)
    question = ask(measures, model("new", measures, low=0.5), champion)
    assert all(check.verdict != "failed" for check in falls(question, RULES))


def test_no_interval_of_a_label_is_narrower_than_chance(measures):
    """A fall of one percentage point on some hundred rows is none yet."""
    challenger, champion = model("new", measures, (0.11,) * 3), model("old", measures)
    assert all(check.verdict != "failed" for check in falls(ask(measures, challenger, champion), RULES))


def test_slices_are_judged_by_the_primary_metric(measures):
    """A slice on which the challenger is wrong fails."""
    inside = np.arange(ROWS) % 2 == 0
    challenger = model("new", measures, (0.01,) * 3)
    spoilt = challenger.predictions.copy()
    spoilt[inside] = 1 - spoilt[inside]
    rules = replace(RULES, slices=("half",), slice_tolerance=0.05, class_tolerance=None)
    question = ask(
        measures, replace(challenger, predictions=spoilt), model("old", measures), slices={"half=0": inside}
    )
    (check,) = falls(question, rules)
    assert ("slice half=0", "failed") == (check.name, check.verdict)


def test_floors_and_calibration_are_asked_for(measures):
    """A floor of micro F1 below the interval holds, one above it does not."""
    challenger, champion = model("new", measures, (0.02,) * 3), model("old", measures, seed=2)
    rules = replace(RULES, floors={"micro_f1": 0.8, "mean_average_precision": 0.999})
    checks = {
        check.name: check.verdict for check in decide(ask(measures, challenger, champion), rules).checks
    }
    assert "met" == checks["floor of micro F1"]
    assert "failed" == checks["floor of mean average precision"]
    assert "met" == checks["calibration"]


def test_answers_that_are_no_probabilities_cannot_be_compared(measures):
    """They need not add up to 1, but each lies between 0 and 1."""
    challenger = model("new", measures)
    assert [] == obstacles(ask(measures, challenger), RULES)
    broken = replace(challenger, predictions=challenger.predictions * 2)
    assert any("0 to 1" in problem for problem in obstacles(ask(measures, broken), RULES))


def test_refreshes_allow_for_losses_that_no_row_shows(measures):
    """Mode non_inferiority: the rarest label tells what a loss costs, and the same model passes by a wide margin only."""
    challenger, champion = model("new", measures, (0.0,) * 3), model("old", measures, (0.0,) * 3, low=0.9)
    rules = replace(RULES, mode="non_inferiority", non_inferiority_margin=0.01, floors={"macro_f1": 0.5})
    decision = decide(ask(measures, challenger, champion), rules)
    assert "one of class login costs" in " ".join(decision.reasons)


def test_false_alarms_of_a_rare_label_refuse(measures):
    """Four rows have it, too few to be judged by; the challenger says it of 150 that do not, and is better elsewhere."""
    champion = model("old", measures, (0.15, 0.15, 0.0), seed=2)
    challenger = model("new", measures, (0.02, 0.02, 0.0))
    alarms = challenger.predictions.copy()
    alarms[:4, 2], alarms[100:250, 2] = 0.1, 0.9
    challenger = replace(challenger, predictions=alarms)
    checks = {check.name: check for check in falls(ask(measures, challenger, champion), RULES)}
    assert "failed" == checks["label login"].verdict
    assert "from 1.0000 to 0.0000" in checks["label login"].received
