"""`pipeline.gate.opponents`: whom a baseline is compared with that was chosen itself."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.gate.opponents import first_not_beaten
from pipeline.gate.question import Look, Rules
from pipeline.metrics.classification import roc_auc_score
from pipeline.metrics.intervals import groups_of
from pipeline.metrics.names import primary_called
from pipeline.params.families import measures_of_champion
from tests.helpers.gate_pairs import answers, contender, first_champion

RULES = Rules(primary=primary_called("accuracy"), margin=0.0, confidence=0.95, resamples=500, seed=0)
Y_TRUE = np.random.default_rng(0).integers(0, 3, 300)
MAJORITY = contender("majority", np.zeros(300, dtype=int))
LINEAR = contender("linear", answers(np.random.default_rng(1), Y_TRUE, 0.85))
NEAREST = contender("nearest", answers(np.random.default_rng(2), Y_TRUE, 0.85))


def test_a_baseline_wins_that_beats_the_blind_and_is_no_worse_than_the_others():
    """Equal measures do not stand in each other's way, and the verdict says that a baseline won."""
    decision = first_champion(Y_TRUE, LINEAR, [MAJORITY], RULES, peers=[NEAREST])
    assert decision.verdict == "promoted"
    assert "linear is a baseline itself" in decision.reasons[0]
    assert "it must beat majority, and must not be worse than nearest" in decision.reasons[0]
    assert {"majority", "nearest"} == set(decision.differences)
    assert not any("compared with linear" in reason for reason in decision.reasons)


def test_a_baseline_that_is_worse_than_another_is_refused():
    """Validation chose it, and the test rows show that it was the wrong one."""
    better = contender("nearest", answers(np.random.default_rng(2), Y_TRUE, 0.97))
    decision = first_champion(Y_TRUE, LINEAR, [MAJORITY], RULES, peers=[better])
    assert decision.verdict == "refused"
    assert any("linear is worse than nearest, a baseline too" in reason for reason in decision.reasons)


def test_a_baseline_that_knows_nothing_is_refused():
    """It must beat the blind one by the lower end, like any model."""
    lucky = contender("linear", answers(np.random.default_rng(3), Y_TRUE, 0.36))
    assert first_champion(Y_TRUE, lucky, [MAJORITY], RULES, peers=[]).verdict == "refused"


def test_a_network_is_compared_with_all_of_them_as_before():
    """That it is equal to a baseline is not enough for it."""
    network = replace(NEAREST, name="cnn", model_sha256="of cnn")
    assert first_champion(Y_TRUE, network, [MAJORITY, LINEAR], RULES).verdict == "refused"


FAMILIES = {"cnn": "cnn", "majority": "majority", "linear": "linear", "near": "nearest", "trees": "boosting"}


@pytest.mark.parametrize(
    ("chosen", "families", "expected"),
    [
        ("cnn", FAMILIES, (["majority", "linear", "near", "trees"], None)),
        ("linear", FAMILIES, (["majority"], ["near", "trees"])),
        ("majority", FAMILIES, (["linear", "near", "trees"], [])),
        ("pca", {"pca": "pca", "other": "pca"}, (["other"], [])),
        ("linear", {"naive": "naive", "linear": "linear"}, (["naive"], [])),
    ],
)
def test_who_measures_whom(chosen, families, expected):
    """All measure a network; a baseline is measured by those that are blind, and by all where it is so itself."""
    assert expected == measures_of_champion(chosen, families)


def test_the_first_that_is_not_beaten_is_named_and_none_where_all_are():
    """In the order they came in, as validation ranked them."""
    strong = contender("cnn", answers(np.random.default_rng(5), Y_TRUE, 0.98))
    assert first_not_beaten(Y_TRUE, strong, [LINEAR, NEAREST], RULES, None) is None
    equal = contender("cnn", answers(np.random.default_rng(6), Y_TRUE, 0.86))
    found = [first_not_beaten(Y_TRUE, equal, order, RULES, None) for order in ([LINEAR, NEAREST], [NEAREST])]
    assert ["linear", "nearest"] == [item.opponent for item in found if item]
    assert found[0].sentence.startswith("cnn does not beat linear: accuracy ")


def test_what_stands_is_what_the_gate_asks_of_a_first_champion():
    """The same interval, at the level of a first look: who would pass at 95 % and not at 97.5 % does not stand."""
    for seed in range(20):
        drawn = contender("cnn", answers(np.random.default_rng(100 + seed), Y_TRUE, 0.91))
        asked = first_not_beaten(Y_TRUE, drawn, [LINEAR], RULES, None)
        decision = first_champion(Y_TRUE, drawn, [LINEAR], RULES, look=Look(1, 1, champion_was_chosen=False))
        assert (asked is None) == (decision.verdict == "promoted")
        assert asked is None or asked.interval == decision.differences["linear"]


def test_equal_networks_seldom_take_the_place_of_their_baseline():
    """Of 1,000 networks that are as good as the linear model at most 1.25 % pass, and what chance adds to that."""
    passed = 0
    for seed in range(1000):
        random = np.random.default_rng([7, seed])
        network, linear = (contender(name, answers(random, Y_TRUE, 0.85)) for name in ("cnn", "linear"))
        passed += first_not_beaten(Y_TRUE, network, [linear], replace(RULES, resamples=300), None) is None
    assert passed <= 25


def test_examples_that_can_judge_nobody_say_nothing_against_a_choice():
    """Few groups, few rows, or a metric that most resamples leave undefined: no baseline stands in, nothing breaks."""
    equal = contender("cnn", answers(np.random.default_rng(6), Y_TRUE, 0.86))
    torn = groups_of([f"person {row % 2}" for row in range(300)])
    assert first_not_beaten(Y_TRUE, equal, [LINEAR], RULES, None) is not None
    assert first_not_beaten(Y_TRUE, equal, [LINEAR], RULES, torn) is None
    assert first_not_beaten(Y_TRUE, equal, [LINEAR], replace(RULES, rows=301), None) is None
    rare = np.array([1] + [0] * 39)
    share = np.random.default_rng(0).random(40)
    shares = np.stack([1 - share, share], axis=1)
    models = [
        replace(contender(name, rare, 2), predictions=given, metric=roc_auc_score)
        for name, given in (("cnn", shares), ("linear", shares[::-1]))
    ]
    by_area = replace(RULES, primary=primary_called("roc_auc"))
    assert first_not_beaten(rare, models[0], models[1:], by_area, None) is None
