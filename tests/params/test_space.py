"""Search spaces are refused before anything is trained, and sampled points become settings."""

from typing import Any

import msgspec
import pytest

from pipeline.params.families import Candidate
from pipeline.params.load import load_params
from pipeline.params.sections import Space
from pipeline.params.space import sampled_of, space_problems, with_sampled
from pipeline.params.values import training_of


def candidate(space: dict[str, Any], family: str = "cnn", **others: Any) -> Candidate:
    """Return the shipped candidate of that name with this search space."""
    block = load_params().candidates[family]
    tune = msgspec.structs.replace(block.tune, space=msgspec.convert(space, Space))
    return msgspec.structs.replace(block, tune=tune, **others)


def only_problem(space: dict[str, Any], **others: Any) -> str:
    """Return the one problem this space has."""
    problems = space_problems(candidate(space, **others))
    assert len(problems) == 1, problems
    return problems[0]


def test_a_usable_space_has_no_problems() -> None:
    """Float, whole-number and choice dimensions that fit their settings pass, lists and nesting included."""
    space = {
        "training.learning_rate": {"kind": "float", "low": 1e-4, "high": 1e-2, "log": True},
        "training.decay_epochs": {"kind": "int", "low": 5, "high": 20},
        "training.augment.shift_px": {"kind": "int", "low": 0, "high": 2},
        "model.pooling": {"kind": "choice", "values": ["max", "average"]},
        "model.batch_normalization": {"kind": "choice", "values": [True, False]},
        "model.filters": {"kind": "choice", "values": [16, 32]},
    }
    assert space_problems(candidate(space)) == []


def test_the_spaces_of_the_shipped_parameters_are_usable() -> None:
    """Every candidate of params.yaml passes its own check."""
    params = load_params()
    assert {name: space_problems(block) for name, block in params.candidates.items()} == {
        name: [] for name in params.candidates
    }


def test_an_unknown_key_gets_a_suggestion() -> None:
    """A misspelt key is named together with the one that was meant."""
    problem = only_problem({"model.dropuot": {"kind": "float", "low": 0.1, "high": 0.2}})
    assert problem.startswith("model.dropuot: is not a setting")
    assert "Did you mean model.dropout?" in problem


@pytest.mark.parametrize(
    ("key", "dimension", "says"),
    [
        ("model.kernel_size", {"kind": "float", "low": 2.0, "high": 4.0}, "kind `int`"),
        ("model.padding", {"kind": "int", "low": 1, "high": 2}, "kind `choice` for names"),
        ("model.batch_normalization", {"kind": "int", "low": 0, "high": 1}, "true or false"),
        ("model.dropout", {"kind": "float", "low": 0.5, "high": 0.5}, "low must be below high"),
        ("model.dropout", {"kind": "float", "low": 0.5, "high": 0.1}, "low must be below high"),
        ("model.l2", {"kind": "float", "low": 0.0, "high": float("inf")}, "two finite numbers"),
        ("model.l2", {"kind": "float", "low": 0.0, "high": 0.1, "log": True}, "Expected low > 0"),
        ("model.dropout", {"kind": "float", "low": 0.1, "high": 1.0}, "Received: high=1.0"),
        ("model.filters", {"kind": "int", "low": 0, "high": 8}, "Received: low=0"),
        (
            "model.pooling",
            {"kind": "choice", "values": ["max", "mean"]},
            "Expected one of average, max, none",
        ),
        ("model.units", {"kind": "choice", "values": [32, 64.5]}, "Received: 64.5"),
        ("model.units", {"kind": "choice", "values": [32, 32]}, "stands twice"),
        (
            "training.monitor",
            {"kind": "choice", "values": ["val_loss", "val_accuracy"]},
            "cannot be searched",
        ),
        ("training.epochs", {"kind": "int", "low": 5, "high": 10}, "cannot be searched"),
    ],
)
def test_each_mistake_is_named(key: str, dimension: dict[str, Any], says: str) -> None:
    """A dimension that does not fit its setting is refused with the key and the reason."""
    problem = only_problem({key: dimension})
    assert problem.startswith(f"{key}: ")
    assert says in problem


def test_a_space_for_a_candidate_that_trains_nothing_is_refused() -> None:
    """Where epochs are 0 a search would have no effect, and the user hears of it."""
    space = {"training.learning_rate": {"kind": "float", "low": 0.1, "high": 0.2}}
    assert "no effect" in only_problem(space, family="majority", training={"epochs": 0})


def test_all_problems_are_reported_together() -> None:
    """Two mistakes give two messages."""
    space = {
        "model.nothing": {"kind": "int", "low": 1, "high": 2},
        "model.l2": {"kind": "float", "low": 2.0, "high": 1.0},
    }
    assert len(space_problems(candidate(space))) == 2


def test_sampled_values_replace_settings_and_keep_their_types() -> None:
    """One number stands for a list of one, whole numbers become floats where the setting is one."""
    settings = {"model": {"units": [64], "l2": 0.0}, "training": {"augment": {"shift_px": 0, "flip": False}}}
    sampled = {"model.units": 32, "model.l2": 1, "training.augment.shift_px": 2}
    assert with_sampled(settings, sampled) == {
        "model": {"units": [32], "l2": 1.0},
        "training": {"augment": {"shift_px": 2, "flip": False}},
    }
    assert settings["model"] == {"units": [64], "l2": 0.0}
    assert type(with_sampled(settings, sampled)["model"]["l2"]) is float


def test_sampled_settings_convert_strictly() -> None:
    """What is laid over the shipped settings is again a valid set of parameters."""
    params = load_params()
    block = params.candidates["rnn"]
    settings = msgspec.to_builtins({"model": block.model, "training": training_of(params, "rnn")})
    laid = with_sampled(settings, {"model.units": 96, "training.learning_rate": 0.004})
    assert msgspec.convert(laid["model"], type(block.model), strict=True).units == (96,)
    assert msgspec.convert(laid["training"], type(params.training), strict=True).learning_rate == 0.004


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"units": [64], "l2": 0.5}, {"model.units": 64, "model.l2": 0.5}),
        ({"units": [48], "l2": 0.5}, None),
        ({"units": [64, 64], "l2": 0.5}, None),
        ({"units": [64], "l2": 2.0}, None),
    ],
)
def test_the_place_of_a_baseline_in_a_space(
    settings: dict[str, Any], expected: dict[str, Any] | None
) -> None:
    """Settings inside the space are found there; outside of it there is no place to claim."""
    space = {
        "model.units": {"kind": "choice", "values": [32, 64]},
        "model.l2": {"kind": "float", "low": 0.1, "high": 1.0},
    }
    assert sampled_of({"model": settings}, space) == expected
