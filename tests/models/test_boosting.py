"""`pipeline.models.boosting`: the trees of scikit-learn as layers of Keras."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from pipeline.inference.backend import prepare_tensorflow
from pipeline.inputs.specs import PAD, InputSpec, OutputSpec
from pipeline.inputs.train_data import TrainData
from pipeline.models.solvers import trees

prepare_tensorflow(2, 7)

from pipeline.inference.keras_files import load_model, save_model  # noqa: E402
from pipeline.models import boosting  # noqa: E402

RANDOM = np.random.default_rng(4)
ROWS = np.arange(400)
STEPS = RANDOM.normal(size=(400, 5, 2)).astype(np.float32)
STEPS[::3, 3:] = PAD
SIDE = RANDOM.normal(size=(400, 2)).astype(np.float32)
CATEGORIES = RANDOM.integers(0, 4, (400, 1)).astype(np.int32)
INPUTS = {"inputs": STEPS, "side": SIDE, "categories": CATEGORIES}
SPEC = InputSpec("series", (5, 2), has_padding=True, num_side=2, categories=(4,))
SCORE = np.sin(3 * STEPS[:, 0, 0]) + (SIDE[:, 1] > 0) * (CATEGORIES[:, 0] == 2) + STEPS[:, 1, 1]
SETTINGS = {"iterations": 30, "leaves": 7, "learning_rate": 0.2, "min_samples_leaf": 5}
CASES = {
    "two classes": (OutputSpec(("a", "b"), (200, 200)), (SCORE > 0).astype(np.int32)),
    "three classes": (
        OutputSpec(("a", "b", "c"), (100, 200, 100)),
        np.digitize(SCORE, [-1, 0.5]).astype(np.int32),
    ),
    "numbers": (
        OutputSpec(
            task="regression",
            targets=("x", "y"),
            target_mean=(0.0,) * 2,
            target_standard_deviation=(1.0,) * 2,
        ),
        np.stack([SCORE, SCORE**2], axis=1).astype(np.float32),
    ),
}


def grown(case):
    """Return a model with its trees, and how many iterations were chosen."""
    asked, truth = CASES[case]
    model = boosting.build(SPEC, asked, **SETTINGS)
    data = TrainData(INPUTS, truth, ROWS, ROWS, SPEC, asked, groups=ROWS)
    return model, boosting.solve(model, data, **SETTINGS)["iterations"]


@pytest.mark.parametrize("case", CASES)
def test_answers_are_those_of_scikit_learn(case, tmp_path):
    """To 1e-5, on rows that trained and on new ones, on every threshold, and from the file."""
    asked, truth = CASES[case]
    model, iterations = grown(case)
    save_model(model, tmp_path / "model.keras")
    table = boosting.table(INPUTS)
    made = HistGradientBoostingClassifier if asked.classes else HistGradientBoostingRegressor
    columns = [truth] if asked.classes else list(truth.T)
    given = [
        made(max_iter=iterations, max_leaf_nodes=7, learning_rate=0.2, min_samples_leaf=5, early_stopping=False,
             random_state=0).fit(table, column)
        for column in columns
    ]  # fmt: skip
    # Values that stand exactly on a threshold, and the next ones to both sides.
    edges = np.concatenate([one._predictors[0][0].nodes["num_threshold"] for one in given]).astype(np.float32)
    edges = np.concatenate([edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf)])[:60]
    fresh = {"inputs": STEPS[:60].copy(), "side": SIDE[:60].copy(), "categories": CATEGORIES[:60]}
    fresh["inputs"][: len(edges), 0, 0] = edges
    fresh["side"][: len(edges), 1] = edges[::-1]
    loaded = load_model(tmp_path / "model.keras")
    for inputs in (INPUTS, fresh):
        rows = boosting.table(inputs)
        if asked.classes:
            expected = given[0].predict_proba(rows)
            expected = expected[:, 1:] if len(asked.classes) == 2 else expected
        else:
            expected = np.stack([one.predict(rows) for one in given], axis=1)
        assert expected == pytest.approx(loaded.predict_on_batch(inputs), abs=1e-5)


def test_the_same_rows_give_the_same_bytes():
    """Twice the same trees."""
    first, second = (grown("three classes")[0].get_weights() for _time in range(2))
    assert [a.tobytes() for a in first] == [a.tobytes() for a in second]


def test_iterations_are_chosen_so_that_probabilities_hold():
    """Where the answer is half luck fewer iterations than allowed are taken, and log loss beats that of all of them."""
    noisy = np.where(RANDOM.random(400) < 0.3, RANDOM.integers(0, 2, 400), SCORE > 0).astype(np.int32)
    asked = OutputSpec(("a", "b"), (100, 100))
    table = boosting.table(INPUTS)
    settings = trees.Settings(100, 15, 0.3, 5)
    models, chosen = trees.grow(table[:200], noisy[:200], np.arange(200) % 5, settings, classes=True)
    whole = HistGradientBoostingClassifier(
        max_iter=100, max_leaf_nodes=15, learning_rate=0.3, min_samples_leaf=5
    )
    whole.fit(table[:200], noisy[:200])

    def loss(model):
        return -np.log(model.predict_proba(table[200:])[np.arange(200), noisy[200:]]).mean()

    assert chosen < 30
    assert loss(models[0]) < 0.8 * loss(whole)
    assert asked.num_classes == 2


def test_trees_too_large_for_a_file_are_refused():
    """The message says which setting to lower."""
    with pytest.raises(ValueError, match=r"Lower model\.iterations"):
        boosting.build(InputSpec("series", (700, 3)), CASES["three classes"][0], iterations=300, leaves=31)


@pytest.mark.parametrize(("kind", "task"), [("bag", "classification"), ("series", "forecasting")])
def test_what_trees_do_not_read_is_refused(kind, task):
    """Texts and forecasts have other baselines."""
    with pytest.raises(ValueError, match="Use family linear"):
        boosting.build(InputSpec(kind, (5, 2)), OutputSpec(task=task))
