"""Who is chosen, and how sure that is said to be; answers in plain sight, no model behind them."""

import numpy as np
import pytest

from pipeline.evaluation.measures import ClassMeasures
from pipeline.evaluation.results import Bootstrap
from pipeline.evaluation.rows import EvaluationRows
from pipeline.metrics.classification import accuracy_score
from pipeline.metrics.intervals import groups_of
from pipeline.metrics.paired import paired_difference
from pipeline.selection.choice import select_candidate, sentence
from pipeline.selection.evidence import Evidence

BOOTSTRAP = Bootstrap(500, 0.95, 0)
CLASSES = ("a", "b", "c")
MEMBERS = ("large", "other")
"""Of the candidate `ensemble`."""


def answers(y_true, right, sureness=0.8):
    """Return probabilities whose largest is the true class where `right`."""
    said = np.where(right, y_true, (y_true + 1) % 3)
    given = np.full((len(y_true), 3), (1 - sureness) / 2, np.float32)
    given[np.arange(len(y_true)), said] = sureness
    return given


def chosen(
    num_rows,
    right,
    sizes,
    *,
    select_by="accuracy",
    names=(),
    sureness=None,
    out_of_fold=False,
    blind=(),
    members=MEMBERS,
    positive=None,
):
    """Choose among candidates that are right on the first so many rows."""
    y_true = np.arange(num_rows) % 3
    rows = EvaluationRows(tuple(map(str, range(num_rows))), np.arange(num_rows), groups=tuple(names))
    measures = ClassMeasures(y_true, CLASSES, positive, 10, groups_of(names) if names else None)
    given = {
        name: answers(y_true, np.arange(num_rows) < count, (sureness or {}).get(name, 0.8))
        for name, count in right.items()
    }
    evidence = Evidence(rows, out_of_fold, num_rows, len(set(names)) or num_rows, members)
    found = select_candidate(
        evidence,
        measures,
        given,
        sizes,
        select_by=select_by,
        bootstrap=BOOTSTRAP,
        blind=blind,
    )
    return evidence, found, measures, given


def test_a_smaller_model_within_one_standard_error_is_chosen():
    """93 against 92 of 100 right, 8 rows only the one, 7 only the other: 0.01 apart, the error of that is 0.0386."""
    y_true = np.arange(100) % 3
    rows = EvaluationRows(tuple(map(str, range(100))), np.arange(100))
    given = {
        "large": answers(y_true, np.arange(100) < 93),
        "small": answers(y_true, np.arange(100) >= 8),
    }
    found = select_candidate(
        Evidence(rows, False, 100, 100), ClassMeasures(y_true, CLASSES, None, 10), given, {"large": 1000, "small": 10},
        select_by="accuracy", bootstrap=BOOTSTRAP,
    )  # fmt: skip
    difference, error = found.behind["small"]
    assert difference == pytest.approx(0.01)
    assert error == pytest.approx(np.sqrt(0.15 - 0.01**2) / 10, rel=0.1)
    assert found.choice.chosen == "small"
    assert found.choice.ranking[0].name == "large"
    assert found.choice.reason.startswith("small is the smallest model (10 parameters; large: 1,000)")


def test_a_model_that_is_hardly_smaller_wins_no_tie():
    """A third of the size saves nobody anything; a fifth of it is chosen."""
    right = {"large": 93, "small": 92}
    _, found, *_ = chosen(100, right, {"large": 1000, "small": 333})
    assert found.choice.chosen == "large"
    _, found, *_ = chosen(100, right, {"large": 1000, "small": 200})
    assert found.choice.chosen == "small"


def test_where_folds_choose_an_ensemble_wins_a_tie():
    """One row behind, 7 only the one and 6 only the other: chosen out of fold, before a small one that ties.

    Not by validation, nor by a hundred rows, nor where it is clearly behind.
    """

    def of(num_rows, late, *, out_of_fold):
        y_true, place = np.arange(num_rows) % 3, np.arange(num_rows)
        given = {name: answers(y_true, place >= missed) for name, missed in late.items()}
        given["large"] = answers(y_true, place < num_rows - 6)
        evidence = Evidence(
            EvaluationRows(tuple(map(str, place)), place), out_of_fold, num_rows, num_rows, MEMBERS
        )
        sizes = {"large": 1000, "ensemble": 1500, "small": 10}
        return select_candidate(
            evidence, ClassMeasures(y_true, CLASSES, None, 10), given, sizes,
            select_by="accuracy", bootstrap=BOOTSTRAP,
        ).choice  # fmt: skip

    tied = {"ensemble": 7, "small": 7}
    found = of(99, tied, out_of_fold=True)
    assert ("ensemble", "large") == (found.chosen, found.ranking[0].name)
    assert found.reason.startswith("ensemble is within one standard error of the best")
    assert "small" == of(99, tied, out_of_fold=False).chosen == of(100, tied, out_of_fold=True).chosen
    assert "ensemble" == of(99, {"ensemble": 5, "small": 7}, out_of_fold=True).chosen
    assert "large" == of(99, {"ensemble": 30, "small": 30}, out_of_fold=True).chosen


def test_a_handful_of_units_chooses_nobody_over_an_ensemble():
    """Two groups of 50: whatever is drawn, the difference seems sure; of twelve groups the best is chosen.

    Nor is an ensemble taken that is worse than who answers without looking.
    """
    right, sizes = {"large": 93, "ensemble": 80}, {"large": 1000, "ensemble": 1500}
    two, twelve = ([str(row % count) for row in range(100)] for count in (2, 12))
    evidence, found, *_ = chosen(100, right, sizes, names=two, out_of_fold=True)
    assert found.choice.chosen == "ensemble"
    assert found.choice.reason.startswith("2 units cannot tell candidates apart")
    assert sentence(evidence, found).endswith("and so few show nothing surely.")
    assert "large" == chosen(100, right, sizes, names=twelve, out_of_fold=True)[1].choice.chosen
    assert "large" == chosen(100, right, sizes, names=two)[1].choice.chosen
    small = {"large": 9, "small": 9}
    without = chosen(100, {"large": 93, "small": 80}, small, names=two, out_of_fold=True, members=())
    assert "large" == without[1].choice.chosen
    worse = {"large": 93, "majority": 85, "ensemble": 80}
    found = chosen(100, worse, dict.fromkeys(worse, 9), names=two, out_of_fold=True, blind=("majority",))[1]
    assert "large" == found.choice.chosen


def test_a_candidate_that_only_has_the_name_is_no_ensemble():
    """Nobody's answers are averaged in it, so that it wins no tie by that."""
    right, sizes = {"large": 93, "ensemble": 80}, {"large": 1000, "ensemble": 1500}
    names = [str(row % 2) for row in range(100)]
    found = chosen(100, right, sizes, names=names, out_of_fold=True, members=())[1]
    assert "large" == found.choice.chosen


def test_of_units_that_cannot_be_drawn_an_ensemble_is_taken_by_its_place():
    """Eight rows of which one has the class that is looked for: nobody can say how sure a score is."""
    y_true = np.array([1] + [0] * 7)
    rows = EvaluationRows(tuple(map(str, range(8))), np.arange(8))
    given = {
        name: np.column_stack([1 - at, at])
        for name, at in {
            "large": np.where(y_true == 1, 0.9, 0.1),
            "ensemble": np.array([0.4, 0.5, *[0.1] * 6]),
            "majority": np.full(8, 0.1),
        }.items()
    }
    found = select_candidate(
        Evidence(rows, True, 8, 8, MEMBERS), ClassMeasures(y_true, ("no", "yes"), 1, 10), given,
        {"large": 100, "ensemble": 200, "majority": 2},
        select_by="roc_auc", bootstrap=BOOTSTRAP, blind=("majority",),
    )  # fmt: skip
    assert {} == found.behind
    assert "ensemble" == found.choice.chosen


def test_ten_rows_apart_are_no_tie():
    """90 against 80 of 100: the difference is three times its error, and the larger model stays."""
    _, found, *_ = chosen(100, {"large": 90, "small": 80}, {"large": 1000, "small": 10})
    assert found.choice.chosen == "large"
    assert found.behind["small"][1] == pytest.approx(0.03, rel=0.15)


def test_a_larger_model_never_wins_a_tie():
    """Equal but for nothing: parameters decide, and the reason says so."""
    _, found, *_ = chosen(100, {"large": 90, "small": 90}, {"large": 1000, "small": 10})
    assert found.choice.chosen == "small"
    assert "fewest parameters (10)" in found.choice.reason


def test_the_lead_is_the_paired_interval_of_the_gate():
    """The same rows, the same resamples: what `pipeline.metrics.paired` says of the two best."""
    evidence, found, measures, given = chosen(60, {"x": 50, "y": 40, "z": 20}, {"x": 3, "y": 2, "z": 1})
    expected = paired_difference(
        accuracy_score, accuracy_score, measures.y_true, given["x"], given["y"], resamples=500, confidence=0.95, seed=0
    )  # fmt: skip
    assert found.lead == expected
    assert sentence(evidence, found).startswith(
        "Chosen by 60 validation rows: x leads y by +0.1667 accuracy ("
    )
    assert found.as_json(evidence)["rows"] == 60


def test_a_loss_that_is_lower_leads_by_a_positive_number():
    """The lead counts improvement, whatever the direction of the metric."""
    _, found, *_ = chosen(90, {"x": 80, "y": 40}, {"x": 3, "y": 2}, select_by="log_loss")
    assert found.choice.chosen == "x"
    assert 0 < found.lead.low < found.lead.value < found.lead.high


def test_rows_of_one_unit_are_drawn_together():
    """90 rows of 9 persons say less than 90 rows: the lead has a wider interval."""
    right, sizes = {"x": 80, "y": 50}, {"x": 3, "y": 2}
    persons = [f"p{row // 10}" for row in range(90)]
    alone, together = (chosen(90, right, sizes, names=names)[1].lead for names in ((), persons))
    assert alone.value == together.value
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_few_units_are_warned_of():
    """29 rows are few, 30 are not; 90 rows of 9 persons are."""
    right, sizes = {"x": 20, "y": 10}, {"x": 3, "y": 2}
    persons = [f"p{row // 10}" for row in range(90)]
    told = [
        [line for line in chosen(count, right, sizes, names=names)[1].warnings if line.startswith("Only")]
        for count, names in ((29, ()), (30, ()), (90, persons))
    ]
    assert [1, 0, 1] == [len(lines) for lines in told]
    assert "Only 9 independent units (90 validation rows) chose." in told[2][0]


def test_a_threshold_that_a_handful_of_groups_could_not_teach_is_told():
    """90 rows of 9 persons leave the threshold at 0.5, of 10 they teach one; without a positive class there is none.

    Who answers without looking learns its own all the same.
    """
    for persons, positive, blind, told in (
        (9, 0, (), True),
        (10, 0, (), False),
        (9, None, (), False),
        (9, 0, "xy", False),
    ):
        names = [f"p{row * persons // 90}" for row in range(90)]
        right, sizes = {"x": 80, "y": 50}, {"x": 3, "y": 2}
        found = chosen(90, right, sizes, names=names, positive=positive, blind=blind)[1]
        said = [line for line in found.warnings if "teach no threshold: 0.5" in line]
        assert len(said) == told, (persons, positive, blind)
        assert not said or said[0].startswith("9 independent units teach no threshold")


def test_accuracy_and_log_loss_that_disagree_are_said():
    """One is right more often, the other less sure where it is wrong."""
    _, found, *_ = chosen(
        90, {"bold": 80, "meek": 75}, {"bold": 3, "meek": 2}, sureness={"bold": 0.999, "meek": 0.6}
    )
    assert any("By accuracy bold (accuracy 0.8889" in line and "meek" in line for line in found.warnings)
    _, agreed, *_ = chosen(90, {"bold": 80, "meek": 75}, {"bold": 3, "meek": 2})
    assert not agreed.warnings


def test_one_candidate_is_chosen_without_a_lead():
    """There is no next one, and nothing is invented."""
    evidence, found, *_ = chosen(90, {"only": 80}, {"only": 3})
    assert found.lead is None
    assert sentence(evidence, found) == "Chosen by 90 validation rows."
