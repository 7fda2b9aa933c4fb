"""The terms of the gate are checked against task and source, and every one of them reaches the gate."""

from pathlib import Path

import msgspec
import pytest

from pipeline.checks.rules import (
    floors_can_be_held,
    mode_has_its_margin,
    slices_can_exist,
    tolerances_fit_the_task,
)
from pipeline.fetching.source import Location, read_source
from pipeline.gate.question import SMALLEST_NUMBER_OF_ROWS, SMALLEST_SUPPORT, Rules
from pipeline.params.load import load_params
from pipeline.params.sections import Register
from pipeline.stages.register import _rules

ROOT = Path(__file__).resolve().parents[2]


def example(name, **register):
    """Return the parameters of an example with other terms."""
    params = load_params(ROOT / "examples" / f"{name}.yaml")
    return msgspec.structs.replace(params, register=msgspec.structs.replace(params.register, **register))


@pytest.fixture
def source(monkeypatch):
    """Return a source of a kind."""
    monkeypatch.chdir(ROOT)
    return lambda kind: msgspec.structs.replace(read_source(), kind=kind, location=Location(path="x"))


def test_a_season_makes_its_error_a_floor(source):
    """MASE exists where evaluate.season says of what."""
    params = example("etth1", floors={"mean_absolute_scaled_error": 0.9})
    without = msgspec.structs.replace(params, evaluate=msgspec.structs.replace(params.evaluate, season=None))
    assert ([], 1) == (
        list(floors_can_be_held(params, source("series_table"))) if params.evaluate.season else [],
        len(list(floors_can_be_held(without, source("series_table")))),
    )


@pytest.mark.parametrize(
    ("name", "register", "words"),
    [
        ("nab", {"class_tolerance": 0.1}, "register.class_tolerance is for classification"),
        ("etth1", {"calibration_budget": 0.1}, "register.calibration_budget is for classification"),
        ("digits", {"class_tolerance": None}, "register.class_tolerance is missing"),
    ],
)
def test_tolerances_of_classes_belong_to_classification(source, name, register, words):
    """Given elsewhere they would be ignored, missing there they would be a hole."""
    (problem,) = tolerances_fit_the_task(example(name, **register), source("series_table"))
    assert words in problem


@pytest.mark.parametrize(
    ("name", "kind", "slices", "words"),
    [
        ("sms-spam", "text_table", ("group", "group"), "names a column twice"),
        ("nab", "series_table", ("group",), "cannot be judged for task anomaly"),
        ("digits", "digits", ("group",), "needs samples with columns"),
    ],
)
def test_slices_that_cannot_be_cut_are_refused(source, name, kind, slices, words):
    """What is known before the data is read is said before it is read."""
    (problem,) = slices_can_exist(example(name, slices=slices, slice_tolerance=0.1), source(kind))
    assert words in problem


def test_refreshes_need_a_floor_under_them(source):
    """Not worse than one that is not worse: without a floor nothing says how good a champion must be."""
    terms = {"mode": "non_inferiority", "non_inferiority_margin": 0.01}
    (problem,) = mode_has_its_margin(example("digits", **terms), source("digits"))
    assert "register.floors are missing" in problem
    assert [] == list(
        mode_has_its_margin(example("digits", **terms, floors={"accuracy": 0.8}), source("digits"))
    )


def test_every_term_reaches_the_gate():
    """A key of the section that the stage forgot would be a switch: each changed value arrives."""
    changed = {
        "mode": "non_inferiority",
        "margin": 0.01,
        "min_rows": 31,
        "min_support": 11,
        "non_inferiority_margin": 0.02,
        "floors": {"accuracy": 0.7},
        "class_tolerance": 0.03,
        "slices": ("group",),
        "slice_tolerance": 0.04,
        "calibration_budget": 0.06,
        "max_size_mib": 7.0,
        "max_latency_ms": 8.0,
    }
    names = {"model_name", "experiment", "uncommitted", "baselines_may_win"}
    assert changed.keys() == set(Register.__struct_fields__) - names
    rules = _rules(example("digits", **changed))
    for name, value in changed.items():
        assert value == getattr(rules, {"min_rows": "rows"}.get(name, name))


def test_the_least_that_parameters_may_ask_is_what_the_gate_can_bear():
    """The bounds of params.yaml are those that the gate's own constants explain."""
    bounds = {
        field.name: next(meta.ge for meta in field.type.__metadata__)
        for field in msgspec.structs.fields(Register)
        if field.name in ("min_rows", "min_support")
    }
    assert {"min_rows": SMALLEST_NUMBER_OF_ROWS, "min_support": SMALLEST_SUPPORT} == bounds
    assert Rules.rows == SMALLEST_NUMBER_OF_ROWS
