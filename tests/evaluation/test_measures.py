"""What answers are measured by, task by task: operating points, what exists, and how sure it is."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.stats import binomtest

from pipeline.data.windows import Timeline
from pipeline.evaluation.measures import Yardstick, measures_of, point_of, positive_index, said_at
from pipeline.evaluation.results import Bootstrap, metrics_with_intervals
from pipeline.evaluation.rows import EvaluationRows
from pipeline.evaluation.scoring import Answers
from pipeline.gate.promotion import _scored_model
from pipeline.gate.question import Rules
from pipeline.inputs.specs import OutputSpec
from pipeline.metrics.anomalies import AlarmRules
from pipeline.metrics.intervals import Groups
from pipeline.metrics.names import primary_called
from pipeline.runtime.errors import DataRefused

TWO = OutputSpec(("ham", "spam"), (80, 20))
FORECAST = OutputSpec((), (), "forecasting", ("load",), (0.0,), (2.0,), (0,), 3)
ALARMS = AlarmRules(quantile=1.0, factor=1.0, smoothing_steps=1, merge_steps=4)


def labelled(labels: list[str]) -> EvaluationRows:
    """Return rows of these classes."""
    return EvaluationRows(tuple(map(str, range(len(labels)))), np.arange(len(labels)), tuple(labels))


def windows(count: int, labels: tuple[tuple[int, int, int], ...] = ()) -> EvaluationRows:
    """Return windows of three steps at every step of one series."""
    timeline = Timeline(("a",), np.zeros(count, int), np.arange(count), 3, 1, labels)
    return EvaluationRows(timeline.ids, np.arange(count), timeline=timeline)


@pytest.mark.parametrize(
    ("counts", "wanted", "index"),
    [((80, 20), None, 1), ((20, 80), None, 0), ((50, 50), None, 1), ((80, 20), "ham", 0)],
)
def test_the_rarer_class_is_looked_for_unless_another_is_named(counts, wanted, index) -> None:
    """Of equals the second; a named one always."""
    assert index == positive_index(OutputSpec(("ham", "spam"), counts), wanted)


def test_a_positive_class_that_does_not_exist_is_refused() -> None:
    """The message names the classes."""
    with pytest.raises(DataRefused, match=r"The data has \['ham', 'spam'\].*Received: positive_class=eggs"):
        positive_index(TWO, "eggs")


def test_two_classes_have_a_threshold_and_more_have_none() -> None:
    """The operating point of a classifier, as JSON."""
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3]], np.float32)
    measures = measures_of(labelled(["ham", "spam"]), TWO, Yardstick())
    point = measures.operating_point(probabilities)
    assert point == {"positive_class": "spam", "threshold": pytest.approx(0.2)}
    assert measures.values(probabilities, point)["positive_f1"] == 1.0
    three = measures_of(labelled(["a", "b"]), OutputSpec(("a", "b", "c"), (1, 1, 1)), Yardstick())
    assert three.operating_point(np.full((2, 3), 1 / 3)) == {}


@pytest.mark.parametrize(("groups", "learnt"), [(9, False), (10, True), (1, True), (0, True)])
def test_a_handful_of_groups_teaches_no_threshold(groups, learnt) -> None:
    """Rows of one place are right and wrong together; ten places, one that is all there is, or none do teach one."""
    kinds = ["ham", "spam"] * 10
    rows = labelled(kinds)
    if groups:
        rows = replace(rows, groups=tuple(str(row % groups) for row in range(20)))
    spam = np.where(np.array(kinds) == "spam", 0.3, 0.1)
    measures = measures_of(rows, TWO, Yardstick())
    point = measures.operating_point(np.column_stack([1 - spam, spam]))
    assert point["threshold"] == pytest.approx(0.2 if learnt else 0.5)
    # Who says the same of every row overfits nothing: it says what F1 wants of it, all of them.
    blind = measures.operating_point(np.tile([0.9, 0.1], (20, 1)))
    assert blind["threshold"] == pytest.approx(0.05)


def test_flawless_f1_is_no_surer_than_the_positive_examples_allow() -> None:
    """30 of 300 are spam and all are found: the lower bound is that of 30 right answers, by SciPy."""
    labels = ["spam"] * 30 + ["ham"] * 270
    truth = np.array([1] * 30 + [0] * 270)
    found = metrics_with_intervals(
        measures_of(labelled(labels), TWO, Yardstick()),
        {"cnn": np.eye(2, dtype=np.float32)[truth]},
        {"cnn": {"threshold": 0.5}},
        Bootstrap(200, 0.95, 0),
    )["cnn"]
    fewer = (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 29)) ** 2
    assert found["positive_f1"].low == pytest.approx(0.025 ** (1 / (30 * fewer)))
    assert found["accuracy"].low == pytest.approx(binomtest(300, 300).proportion_ci(0.95).low)


def test_windows_that_overlap_are_drawn_in_blocks() -> None:
    """Horizon 3 at stride 1: blocks of three windows, or of the cube root where that is longer."""
    timeline = Timeline(("a",), np.zeros(8, int), np.arange(8), 3)
    rows = EvaluationRows(timeline.ids, np.arange(8), targets=np.zeros((8, 3, 1)), timeline=timeline)
    assert measures_of(rows, FORECAST, Yardstick()).blocks.length == 3
    alone = EvaluationRows(timeline.ids, np.arange(8), targets=np.zeros((8, 1)))
    assert measures_of(alone, FORECAST, Yardstick()).blocks is None


def test_forecasts_have_a_scaled_error_where_a_season_is_known() -> None:
    """MASE needs the naive error on train; the squared error is in units of the deviation, here 2."""
    rows = EvaluationRows(("a", "b"), np.arange(2), targets=np.array([[[1.0]], [[3.0]]]))
    predicted = np.array([[[1.0]], [[7.0]]], np.float32)
    values = measures_of(rows, FORECAST, Yardstick()).values(predicted, {})
    assert (values["scaled_mean_squared_error"], "mean_absolute_scaled_error" in values) == (2.0, False)
    scaled = EvaluationRows(
        ("a", "b"), np.arange(2), targets=rows.targets, naive_errors=np.array([[1.0], [4.0]])
    )
    found = measures_of(scaled, FORECAST, Yardstick()).values(predicted, {})
    assert found["mean_absolute_scaled_error"] == pytest.approx((0 / 1 + 4 / 4) / 2)


def test_a_target_that_never_changes_has_no_r2() -> None:
    """There is no variance to explain; the errors stay."""
    rows = EvaluationRows(("a", "b"), np.arange(2), targets=np.array([[5.0], [5.0]]))
    values = measures_of(rows, FORECAST, Yardstick()).values(np.array([[5.0], [6.0]]), {})
    assert "r2" not in values
    assert values["mean_absolute_error"] == 0.5


def test_predictions_of_other_rows_are_refused() -> None:
    """Shape is compared before anything is measured."""
    rows = EvaluationRows(("a", "b"), np.arange(2), targets=np.zeros((2, 3, 1)))
    with pytest.raises(ValueError, match="shape of y_true"):
        measures_of(rows, FORECAST, Yardstick()).scored(np.zeros((2, 3), np.float32), {})


def test_thresholds_of_validation_decide_on_test() -> None:
    """The highest normal error, 2, is the threshold: an error of 3 on test is an alarm that finds the anomaly."""
    yardstick = Yardstick(alarms=ALARMS)
    spec = OutputSpec(task="anomaly")
    point = measures_of(windows(3), spec, yardstick).operating_point(np.array([1.0, 2.0, 0.5], np.float32))
    assert point == {"thresholds": {"": 2.0, "a": 2.0}}
    test = measures_of(windows(20, ((0, 9, 10),)), spec, yardstick)
    errors = np.ones(20, np.float32)
    errors[8] = 3.0
    assert test.values(errors, point)["event_f1"] == 1.0


def test_what_does_not_exist_is_left_out() -> None:
    """No alarm: no precision; nothing labelled: no metric of anomalies, but the mean error."""
    spec, yardstick = OutputSpec(task="anomaly"), Yardstick(alarms=ALARMS)
    point = {"thresholds": {"": 2.0}}
    silent = measures_of(windows(40, ((0, 9, 10),)), spec, yardstick)
    found = metrics_with_intervals(
        silent, {"pca": np.ones(40, np.float32)}, {"pca": point}, Bootstrap(200, 0.95, 0)
    )["pca"]
    assert ("event_precision" in found, found["event_f1"].value) == (False, 0.0)
    unlabelled = measures_of(windows(20), spec, yardstick).values(np.ones(20, np.float32), point)
    assert unlabelled == {"reconstruction_error": 1.0}


def test_few_anomalies_are_no_error_and_no_certainty() -> None:
    """One anomaly, found: many resamples miss it, and F1 may be as low as one right answer of one allows."""
    measures = measures_of(windows(60, ((0, 9, 10),)), OutputSpec(task="anomaly"), Yardstick(alarms=ALARMS))
    errors = np.ones(60, np.float32)
    errors[8] = 3.0
    found = metrics_with_intervals(
        measures, {"pca": errors}, {"pca": {"thresholds": {"": 2.0}}}, Bootstrap(200, 0.95, 0)
    )["pca"]
    assert found["event_f1"].value == 1.0
    assert found["event_f1"].low == pytest.approx(binomtest(1, 1).proportion_ci(0.95).low)


@pytest.mark.parametrize("name", ["test", "val"])
def test_tasks_without_what_they_need_are_refused(name) -> None:
    """Forecasts without targets, anomalies without windows."""
    with pytest.raises(ValueError, match="needs rows with targets"):
        measures_of(EvaluationRows((name,), np.zeros(1, int)), FORECAST, Yardstick())
    with pytest.raises(ValueError, match="needs windows"):
        measures_of(EvaluationRows((name,), np.zeros(1, int)), OutputSpec(task="anomaly"), Yardstick())


@pytest.mark.parametrize(("positive", "said"), [("spam", [0, 1, 1]), ("ham", [0, 0, 0])])
def test_class_said_is_that_of_the_threshold(positive: str, said: list[int]) -> None:
    """At 0.25 the positive class is said from 0.25 on, its edge included; the gate compares what was said so."""
    probabilities = np.array([[0.76, 0.24], [0.75, 0.25], [0.4, 0.6]], np.float32)
    point = {"positive_class": positive, "threshold": 0.25}
    measures = measures_of(labelled(["ham", "spam", "spam"]), TWO, Yardstick(positive_class=positive))
    answers = Answers("one", "", TWO.classes, ("a", "b", "c"), probabilities)
    rules = Rules(primary=primary_called("accuracy"), margin=0.0, confidence=0.95, resamples=200, seed=7)
    assert said == _scored_model(answers, measures, point, rules).said.tolist()


def test_what_counts_answers_counts_them_at_the_threshold() -> None:
    """Three of four are spam, said from 0.3 on: by hand 3 of 4 right, where the most probable classes make it 1."""
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.8, 0.2]], np.float32)
    measures = measures_of(labelled(["ham", "spam", "spam", "spam"]), TWO, Yardstick())
    at_point = measures.values(probabilities, {"positive_class": "spam", "threshold": 0.3})
    assert 0.75 == at_point["accuracy"]
    assert pytest.approx((2 / 3 + 4 / 5) / 2) == at_point["macro_f1"]
    assert 0.25 == measures.values(probabilities, {})["accuracy"]


@pytest.mark.parametrize(
    ("select_by", "accuracy", "f1"),
    [("positive_f1", 0.25, 0.4), ("log_loss", 0.25, 0.4), ("accuracy", 0.75, 0.0), ("macro_f1", 0.75, 0.0)],
)
def test_who_says_the_same_of_all_measures_what_chooses(select_by, accuracy, f1) -> None:
    """One of four is spam. F1 wants it said of all; a majority that is wrong on three of four would measure nothing."""
    measures = measures_of(labelled(["ham", "ham", "ham", "spam"]), TWO, Yardstick(select_by=select_by))
    by_fold = np.array([[0.8, 0.2], [0.8, 0.2], [0.79, 0.21], [0.79, 0.21]], np.float32)
    for answers in (np.full((4, 2), [0.8, 0.2], np.float32), by_fold):
        point = point_of(measures, answers, blind=True)
        found = measures.values(answers, point)
        assert (accuracy, pytest.approx(f1)) == (found["accuracy"], found["positive_f1"])


def test_without_a_threshold_the_most_probable_class_is_said() -> None:
    """More than two classes, another positive class, or an operating point of nothing: the largest is taken."""
    point = {"positive_class": "spam", "threshold": 0.3}
    assert [0, 1, 2] == said_at(("a", "b", "c"), np.eye(3), point).tolist()
    shares = np.array([[0.6, 0.4], [0.2, 0.8]])
    assert [0, 1] == said_at(("ham", "spam"), shares, {}).tolist()
    assert [0, 1] == said_at(("ham", "eggs"), shares, point).tolist()
    assert [1, 1] == said_at(("ham", "spam"), shares, point).tolist()


def of_persons(labels: list[str], groups: list[str]) -> EvaluationRows:
    """Return rows of these classes and persons."""
    return replace(labelled(labels), groups=tuple(groups))


def test_rows_of_one_person_are_drawn_together() -> None:
    """Classes and values alike; a row without a person is drawn alone."""
    persons = ["ann", "ann", "", "bob"]
    rows = of_persons(["ham", "ham", "spam", "spam"], persons)
    assert measures_of(rows, TWO, Yardstick()).blocks == Groups((0, 0, 1, 2))
    values = replace(rows, targets=np.zeros((4, 1)))
    regression = OutputSpec((), (), "regression", ("load",), (0.0,), (2.0,))
    assert measures_of(values, regression, Yardstick()).blocks == Groups((0, 0, 1, 2))
    assert measures_of(labelled(["ham"]), TWO, Yardstick()).blocks is None


def test_flawless_answers_are_no_surer_than_the_persons_allow() -> None:
    """300 of 300 right, but of 20 persons of whom four have spam: the bounds of 20 and 4, Student's further out."""
    persons = np.arange(300) // 15
    truth = (persons < 4).astype(int)
    rows = of_persons([TWO.classes[label] for label in truth], [f"p{person}" for person in persons])
    found = metrics_with_intervals(
        measures_of(rows, TWO, Yardstick()),
        {"cnn": np.eye(2, dtype=np.float32)[truth]},
        {"cnn": {"threshold": 0.5}},
        Bootstrap(200, 0.95, 0),
    )["cnn"]
    for name, persons_right in (("accuracy", 20), ("positive_f1", 4)):
        fewer = (stats.norm.ppf(0.975) / stats.t.ppf(0.975, persons_right - 1)) ** 2
        expected = 0.025 ** (1 / max(1.0, persons_right * fewer))
        assert found[name].low == pytest.approx(expected)
