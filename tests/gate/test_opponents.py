"""`pipeline.gate.opponents`: whom a baseline is compared with that was chosen itself."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.gate.question import Rules
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
