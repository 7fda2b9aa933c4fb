"""The choice among candidates follows the validation score, then simplicity, then the name."""

import pytest

from pipeline.evaluation.results import Entry, choose, choose_by_validation
from pipeline.runtime.errors import DataRefused


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


def test_detectors_that_validation_cannot_tell_apart_are_chosen_by_reconstruction() -> None:
    """Two miss the one labelled anomaly: the better reconstruction wins, not the smaller network."""
    val = {
        "small": {"event_f1": 0.0, "reconstruction_error": 1.3},
        "large": {"event_f1": 0.0, "reconstruction_error": 1.2},
    }
    choice = choose_by_validation(val, {"small": 10, "large": 1000}, "event_f1")
    assert (choice.chosen, choice.select_by) == ("large", "reconstruction_error")
    assert choice.reason.startswith("On validation all candidates are equal, so event_f1 could not choose.")


def test_detectors_that_validation_tells_apart_are_chosen_by_the_metric_asked_for() -> None:
    """One finds the labelled anomaly and wins, although the other brings normal windows back better."""
    val = {
        "finds": {"event_f1": 1.0, "reconstruction_error": 1.3},
        "misses": {"event_f1": 0.0, "reconstruction_error": 1.2},
    }
    choice = choose_by_validation(val, {"finds": 10, "misses": 10}, "event_f1")
    assert (choice.chosen, choice.select_by) == ("finds", "event_f1")


def test_where_nothing_is_reconstructed_ties_go_to_the_simpler_model() -> None:
    """Equal accuracies are decided by size, as ever."""
    val = {"large": {"accuracy": 0.9}, "small": {"accuracy": 0.9}}
    choice = choose_by_validation(val, {"small": 10, "large": 1000}, "accuracy")
    assert (choice.chosen, choice.select_by) == ("small", "accuracy")


def test_a_single_detector_keeps_the_metric_asked_for() -> None:
    """With nobody to compare there is no tie to speak of."""
    choice = choose_by_validation(
        {"one": {"event_f1": 0.0, "reconstruction_error": 1.0}}, {"one": 1}, "event_f1"
    )
    assert choice.select_by == "event_f1"


def test_a_metric_that_the_data_does_not_have_is_refused() -> None:
    """Three classes have no F1 of the positive one; the message names what there is."""
    with pytest.raises(DataRefused, match=r"positive_f1 does not exist.*\['accuracy'\]"):
        choose_by_validation({"one": {"accuracy": 0.9}}, {"one": 1}, "positive_f1")


def test_one_anomaly_is_too_few_to_choose_by():
    """A detector that found validation's only anomaly is not chosen for that; five anomalies may choose."""
    val = {
        "lucky": {"event_f1": 0.67, "reconstruction_error": 1.6},
        "close": {"event_f1": 0.0, "reconstruction_error": 1.3},
    }
    sizes = {"lucky": 10, "close": 20}
    choice = choose_by_validation(val, sizes, "event_f1", anomalies=1)
    assert choice.chosen == "close"
    assert choice.reason.startswith("Validation has 1 labelled anomaly, fewer than 5, so event_f1 could not")
    assert choose_by_validation(val, sizes, "event_f1", anomalies=5).chosen == "lucky"
