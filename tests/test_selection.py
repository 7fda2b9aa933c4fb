"""The choice among candidates follows the validation score, then simplicity, then the name."""

import pytest

from pipeline.runtime import DataRefused
from pipeline.selection import Entry, choose


def test_best_score_is_chosen() -> None:
    """The highest accuracy wins, and the sentence names the runner-up."""
    choice = choose([Entry("rnn", 0.8, 10), Entry("cnn", 0.9, 1000)], "accuracy")
    assert choice.chosen == "cnn"
    assert choice.reason == "cnn has the best validation accuracy: 0.9000 (next: rnn, 0.8000)."


def test_loss_is_lower_better() -> None:
    """With log loss the lowest value wins."""
    assert choose([Entry("rnn", 0.8, 10), Entry("cnn", 0.9, 10)], "log_loss").chosen == "rnn"


def test_ties_go_to_the_simpler_model_then_to_the_name() -> None:
    """Of equal scores fewer parameters win; of equal sizes the first name."""
    entries = [Entry("a-wide", 0.9, 500), Entry("b", 0.9, 100), Entry("a", 0.9, 100), Entry("worse", 0.8, 1)]
    choice = choose(entries, "accuracy")
    assert [entry.name for entry in choice.ranking] == ["a", "b", "a-wide", "worse"]
    assert "like b, a-wide" in choice.reason


def test_order_of_candidates_means_nothing() -> None:
    """Any order of the same entries gives the same choice."""
    entries = [Entry("c", 0.9, 5), Entry("b", 0.9, 5), Entry("a", 0.7, 5)]
    assert choose(entries, "accuracy") == choose(entries[::-1], "accuracy")


def test_only_baselines_are_refused() -> None:
    """Nobody to choose from is the user's mistake, and the message says what to add."""
    with pytest.raises(DataRefused, match="Add a candidate"):
        choose([], "accuracy")


def test_unknown_metric_is_refused() -> None:
    """A metric that does not exist is named beside those that do."""
    with pytest.raises(ValueError, match="macro_f1"):
        choose([Entry("a", 0.9, 5)], "f1")
