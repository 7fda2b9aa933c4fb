"""Names of metrics: their direction, how they are read, and how their values are shown."""

import pytest

from pipeline.metric_names import HIGHER_IS_BETTER, in_words, primary_called, shown
from pipeline.task_rules import SELECT_BY


@pytest.mark.parametrize("name", sorted({name for names in SELECT_BY.values() for name in names}))
def test_every_metric_that_may_choose_has_a_direction(name: str) -> None:
    """Errors and losses are better when lower, everything else when higher."""
    assert primary_called(name).higher_is_better == (not name.endswith(("_error", "_loss")))


def test_unknown_metrics_are_refused_with_those_that_exist() -> None:
    """A misspelt name is answered with the list."""
    with pytest.raises(ValueError, match=r"Expected one of .*macro_f1.*Received: makro_f1"):
        primary_called("makro_f1")


@pytest.mark.parametrize(
    ("name", "words"),
    [("accuracy", "accuracy"), ("macro_f1", "macro F1"), ("r2", "R2"), ("roc_auc", "ROC AUC"), ("log_loss", "log loss")],
)  # fmt: skip
def test_names_are_read_as_people_say_them(name: str, words: str) -> None:
    """Without underscores, abbreviations in capitals."""
    assert words == in_words(name)
    assert name in HIGHER_IS_BETTER


@pytest.mark.parametrize(
    ("value", "text"), [(0.9, "0.9000"), (47.12352, "47.1235"), (0.0, "0.0000"), (3.21987e-5, "3.22e-05"), (-2e-6, "-2e-06")]
)  # fmt: skip
def test_small_errors_keep_their_digits(value: float, text: str) -> None:
    """An error has the unit of its data: 0.00003 is not 0.0000."""
    assert text == shown(value)


def test_differences_carry_their_sign() -> None:
    """Also where they are small."""
    assert ("+0.0300", "+3e-05", "+0.0000") == (
        shown(0.03, sign="+"),
        shown(3e-5, sign="+"),
        shown(0.0, sign="+"),
    )
