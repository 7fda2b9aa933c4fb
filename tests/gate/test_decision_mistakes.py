"""Promotion code in the wild, rebuilt: each of its mistakes is caught here.

Seen in vendors' samples: the challenger is compared with itself; the gate's answer is overwritten with 1; the
gate is shipped switched off; the challenger is scored on rows it was tuned on.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.checks.contradictions import contradictions
from pipeline.fetching.source import read_source
from pipeline.gate.decision import decide, decision_content, decision_key, refused_because, still_holds
from pipeline.gate.question import Question, Rules
from pipeline.metrics.names import primary_called
from pipeline.params.load import load_params
from pipeline.runtime.errors import ParamsError
from pipeline.tracking import registry
from tests.helpers.empty_store import put_store
from tests.helpers.gate_pairs import answers, contender, forecaster, ignorant, next_champion
from tests.helpers.registered import decision as recorded_as
from tests.helpers.registered import make_champion, register, store_in

ROOT = Path(__file__).resolve().parents[2]
RULES = Rules(primary=primary_called("accuracy"), margin=0.0, confidence=0.95, resamples=300, seed=0)
REFRESH = replace(RULES, mode="non_inferiority", non_inferiority_margin=0.1)
MODES = pytest.mark.parametrize("rules", [RULES, REFRESH], ids=["superiority", "non_inferiority"])


@pytest.fixture
def y_true():
    """Return 300 labels of 3 classes."""
    return np.random.default_rng(0).integers(0, 3, 300)


@pytest.fixture
def good(y_true):
    """Return a model that is right in 90 %."""
    return contender("good", answers(np.random.default_rng(1), y_true, 0.9))


@pytest.fixture
def poor(y_true):
    """Return a model that is right in 60 %."""
    return contender("poor", answers(np.random.default_rng(2), y_true, 0.6))


# The challenger compared with itself.


@MODES
def test_the_same_file_under_two_names_is_unchanged(y_true, good, rules):
    """One digest is one model: nothing to promote, whatever else is said of it."""
    assert "unchanged" == next_champion(y_true, replace(good, name="challenger"), good, rules).verdict


@MODES
def test_the_same_answers_from_another_file_are_refused(y_true, good, rules):
    """A copy with another digest answers alike everywhere, and is not worse by any margin: refused all the same."""
    decision = next_champion(y_true, replace(good, name="copy", model_sha256="x"), good, rules)
    assert "refused" == decision.verdict
    assert "a model compared with itself proves nothing" in decision.reasons[0]


def test_the_same_forecasts_are_refused():
    """Also where there are no classes."""
    y_true = np.random.default_rng(3).normal(100, 20, size=(300, 2, 1))
    model = forecaster("model", y_true, 5, 1)
    rules = replace(REFRESH, primary=primary_called("mean_absolute_error"))
    assert "refused" == next_champion(y_true, replace(model, model_sha256="x"), model, rules).verdict


# The gate's answer overwritten.


def test_only_the_word_promoted_moves_the_alias(tmp_path, monkeypatch):
    """Refused, held, unchanged, and whatever somebody writes in its place leave the champion alone."""
    monkeypatch.setattr(registry, "check_in_fresh_process", lambda *_arguments, **_keywords: None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    put_store(tmp_path)
    store = store_in(tmp_path)
    champion = register(store, tmp_path, b"champion")
    make_champion(store, champion)
    challenger = register(store, tmp_path, b"challenger")
    for verdict in ("refused", "held", "unchanged", "1", 1, True, None, "", "PROMOTED", "promoted "):
        said = recorded_as(challenger, champion.model_sha256, verdict)
        registry.apply_decision(store, "digits", challenger, said)
        assert {"champion": 1} == registry.aliases(store, "digits")
    registry.apply_decision(
        store, "digits", challenger, recorded_as(challenger, champion.model_sha256, "promoted")
    )
    assert {"champion": 2, "previous": 1} == registry.aliases(store, "digits")


def test_a_recorded_answer_that_was_edited_is_not_believed(y_true, good, poor):
    """A tag whose verdict was overwritten contradicts its own checks: the question is asked anew."""
    key = decision_key("model", "rows", RULES, {})
    about = {"candidate": "cnn", "model_sha256": "model", "opponent_sha256": "champion", "rules": RULES}
    for decision in (
        next_champion(y_true, poor, good, RULES),
        refused_because("Nothing is left to compare with."),
    ):
        recorded = decision_content(decision, key=key, num_rows=300, rows_left_out=0, **about)
        assert still_holds(recorded, key, "model", "champion", applied=False)
        edited = recorded | {"decision": "promoted"}
        assert not still_holds(edited, key, "model", "champion", applied=False)
        assert not still_holds(edited | {"checks": []}, key, "model", "champion", applied=False)
    won = decision_content(
        next_champion(y_true, good, poor, RULES), key=key, num_rows=300, rows_left_out=0, **about
    )
    assert still_holds(won, key, "model", "champion", applied=False)


def test_without_a_flaw_the_same_pair_is_promoted(y_true, good, poor):
    """So that a refusal above is one of the flaw."""
    assert "promoted" == next_champion(y_true, good, poor, RULES).verdict
    assert "promoted" == next_champion(y_true, good, poor, REFRESH).verdict


# The gate switched off.

SWITCHES = [
    ("margin: 0.0 ", "margin: -.inf"),
    ("margin: 0.0 ", "margin: -1.0"),
    ("margin: 0.0 ", "margin: .nan"),
    ("margin: 0.0 ", "margin: null"),
    ("mode: superiority ", "mode: none"),
    ("mode: superiority ", "mode: non_inferiority"),
    ("non_inferiority_margin: null", "non_inferiority_margin: 0.01"),
    ("mode: superiority ", "mode: non_inferiority\n  non_inferiority_margin: 1.0"),
    ("mode: superiority ", "mode: non_inferiority\n  non_inferiority_margin: .inf"),
    ("min_rows: 30 ", "min_rows: 0"),
    ("min_rows: 30 ", "min_rows: 29"),
    ("floors: null ", "floors: {}"),
    ("floors: null ", "floors: {accuracy: 0.0}"),
    ("floors: null ", "floors: {accuracy: -.inf}"),
    ("floors: null ", "floors: {accuracy: .nan}"),
    ("floors: null ", "floors: {log_loss: .inf}"),
    ("floors: null ", "floors: {mean_absolute_error: 3.0}"),
    ("floors: null ", "floors: {top_1: 0.9}"),
    ("class_tolerance: 0.05", "class_tolerance: 1.0"),
    ("class_tolerance: 0.05", "class_tolerance: null"),
    ("calibration_budget: 0.05", "calibration_budget: .inf"),
    ("calibration_budget: 0.05", "calibration_budget: null"),
    ("min_support: 10 ", "min_support: 1000000"),
    ("max_size_mib: null", "max_size_mib: .inf"),
    ("max_latency_ms: null", "max_latency_ms: 0"),
    ("slices: null ", "slices: []"),
    ("slices: null ", "slices: [group]"),
    ("slice_tolerance: null", "slice_tolerance: 0.05"),
    ("confidence: 0.95", "confidence: 0.51"),
    ("confidence: 0.95", "confidence: 1.0"),
    ("confidence: 0.95", "confidence: .nan"),
    ("confidence: 0.95", "confidence: 0.999"),
    ("bootstrap_resamples: 1000", "bootstrap_resamples: 100"),
    ("bootstrap_resamples: 1000", "bootstrap_resamples: 0"),
    ("margin: 0.0 ", "enabled: false\n  margin: 0.0"),
]


@pytest.fixture
def params(tmp_path, monkeypatch):
    """Copy the shipped parameters and the source they are for; return the path of the former."""
    for name in ("params.yaml", "data/source.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "params.yaml"


@pytest.mark.parametrize(("old", "new"), SWITCHES, ids=[new for _old, new in SWITCHES])
def test_no_setting_switches_the_gate_off(params, old, new):
    """Each way to make the gate wave everything through is refused before anything is trained."""
    text = params.read_text()
    assert f"  {old}" in text
    if "\n  non_inferiority_margin" in new:
        text = text.replace("  non_inferiority_margin: null", "  #")
    params.write_text(text.replace(f"  {old}", f"  {new} ", 1))
    try:
        problems = contradictions(load_params(), read_source())
    except ParamsError as error:
        problems = error.problems
    assert problems
    assert all("register." in problem or "evaluate." in problem for problem in problems)


def test_a_refresh_with_a_margin_is_a_setting_like_any_other(params):
    """What the refusals above leave open."""
    text = params.read_text().replace("mode: superiority ", "mode: non_inferiority ")
    text = text.replace("non_inferiority_margin: null", "non_inferiority_margin: 0.01")
    text = text.replace("floors: null ", "floors: {accuracy: 0.9, log_loss: 0.5} ")
    params.write_text(text)
    assert [] == contradictions(load_params(), read_source())


# What cannot be compared; rows that were seen are in tests/stages/test_register_gate.py, where rows are.


@MODES
@pytest.mark.parametrize("flaw", ["nan", "order", "rows", "few", "class", "baselines"])
def test_what_cannot_be_compared_is_refused_in_every_mode(y_true, good, poor, rules, flaw):
    """NaN, another order of rows, other rows, too few, a class that one of them lacks, no baseline."""
    challenger, truth, baselines = good, y_true, [ignorant(good, y_true)]
    if flaw == "nan":
        broken = good.predictions.copy()
        broken[7, 1] = np.nan
        challenger = replace(good, predictions=broken)
    elif flaw == "order":
        challenger = replace(good, sample_ids=good.sample_ids[::-1], predictions=good.predictions[::-1])
    elif flaw == "rows":
        challenger = replace(good, sample_ids=["train/0", *good.sample_ids[1:]])
    elif flaw == "few":
        truth = y_true[:29]
        cut = [replace(model, predictions=model.predictions[:29], sample_ids=model.sample_ids[:29])
               for model in (good, poor, *baselines)]  # fmt: skip
        challenger, poor, baselines = cut[0], cut[1], cut[2:]
    elif flaw == "class":
        two = good.predictions[:, :2] / good.predictions[:, :2].sum(axis=1, keepdims=True)
        challenger = replace(good, classes=good.classes[:2], predictions=two)
    else:
        baselines = []
    decision = decide(Question(truth, challenger, poor, baselines), rules)
    assert "refused" == decision.verdict
    assert ["can be compared"] * len(decision.checks) == [check.name for check in decision.checks]
