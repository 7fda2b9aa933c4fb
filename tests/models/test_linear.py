"""`pipeline.models.linear`: every variant is scikit-learn's at its optimum, written into the same Keras model."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge

from pipeline.inference.backend import prepare_tensorflow
from pipeline.inputs.arrays import ModelInputs
from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.inputs.train_data import TrainData
from pipeline.params.families import COMBINATIONS
from pipeline.runtime import growing
from tests.models import combination_cases as cases

prepare_tensorflow(2, 7)

from pipeline.inference.keras_files import load_model, save_model  # noqa: E402
from pipeline.models import linear  # noqa: E402

ROWS = [row for row in COMBINATIONS if row.family == "linear"]
VARIANTS = [(row, side, {}) for row in ROWS for side in (False, True)] + [
    (row, side, settings)
    for row in ROWS
    if row.task == "forecasting"
    for side in (False, True)
    for settings in ({"per_channel": True}, {"last_value_residual": True, "per_channel": True})
]


def named(variant):
    row, side, settings = variant
    return "-".join([row.payload, row.task, "windows" * row.windowed, "side" * side, *settings])


def solved(row, side, settings, **more):
    """Return a solved model of eight samples, the samples, and what is true of them."""
    spec, asked = cases.input_spec(row, side=side), cases.output_spec(row)
    made = cases.samples(spec)
    truth = cases.targets(row, made)
    model = cases.built(row, side=side, **settings)
    everything = np.arange(8)
    data = TrainData(cases.as_fed(made), truth, everything, everything, spec, asked, groups=everything)
    facts = linear.solve(model, data, **settings, **more)
    return model, cases.as_fed(made), truth, facts


def loss_of(row, answers, truth):
    """Return the mean loss that the solver says it reached."""
    if row.task == "classification":
        return -np.log(answers[np.arange(8), truth]).mean()
    if row.task == "multilabel":
        return -(truth * np.log(answers) + (1 - truth) * np.log(1 - answers)).sum(axis=1).mean()
    return 0.5 * np.square(answers - truth).reshape(8, -1).sum(axis=1).mean()


@pytest.mark.parametrize("variant", VARIANTS, ids=named)
def test_the_model_answers_as_its_solution_says(variant):
    """What Keras computes from the weights has the loss that the solver found, twice by the same bytes."""
    row, side, settings = variant
    model, inputs, truth, facts = solved(row, side, settings, l2=1e-2)
    again = solved(row, side, settings, l2=1e-2)[0]
    assert [a.tobytes() for a in model.get_weights()] == [a.tobytes() for a in again.get_weights()]
    answers = np.asarray(model.predict_on_batch(inputs), np.float64)
    expected = facts["loss"] * (2 if settings.get("per_channel") else 1)  # of one of two targets
    assert expected == pytest.approx(loss_of(row, answers, truth), abs=2e-4)


@pytest.mark.parametrize("variant", VARIANTS[::2], ids=named)
def test_the_solution_is_an_optimum(variant):
    """Weights a little off in any direction have no lower penalised loss, as Keras sees it."""
    row, side, settings = variant
    model, inputs, truth, facts = solved(row, side, settings, l2=1e-2)
    scale = 1 / (2 if settings.get("per_channel") else 1)
    free = {"bias"}

    def value():
        squares = sum(
            float(np.square(variable.numpy()).sum())
            for layer in model.layers
            if layer.name in ("logits", "values", "ngram_vectors")
            for variable in layer.variables
            if variable.name not in free and not (row.reads == "bag" and layer.name != "ngram_vectors")
        )
        answers = np.asarray(model.predict_on_batch(inputs), np.float64)
        return loss_of(row, answers, truth) * scale + facts["penalty"] * squares

    random = np.random.default_rng(1)
    best, weights = value(), model.get_weights()
    layer = model.get_layer("ngram_vectors" if row.reads == "bag" else ("logits" if "class" in row.task or row.task == "multilabel" else "values"))  # fmt: skip
    kept = layer.get_weights()
    for _time in range(5):
        layer.set_weights([kept[0] + 0.02 * random.normal(size=kept[0].shape), *kept[1:]])
        assert value() > best
    model.set_weights(weights)


def test_bags_are_those_of_scikit_learn(tmp_path):
    """Logistic regression on n-grams: probabilities agree to 1e-3, also from the file."""
    random = np.random.default_rng(2)
    ids = np.sort(random.integers(1, 60, (300, 9)), axis=1).astype(np.int32)
    ids[:, 1:][ids[:, 1:] == ids[:, :-1]] = 0
    weights = np.where(ids > 0, random.random(ids.shape), 0).astype(np.float32)
    counts = np.zeros((300, 60))
    np.add.at(counts, (np.arange(300)[:, None], ids), weights)
    truth = (counts @ random.normal(size=60) + random.logistic(size=300) > 0).astype(np.int32)
    spec = InputSpec("bag", (9,), vocabulary_size=60)
    asked = OutputSpec(("a", "b"), tuple(np.bincount(truth).tolist()))
    model = linear.build(spec, asked)
    inputs = {"inputs": ids, "weights": weights}
    rows = np.arange(300)
    facts = linear.solve(model, TrainData(inputs, truth, rows, rows, spec, asked, groups=rows))
    reference = LogisticRegression(C=1 / (600 * facts["penalty"]), tol=1e-9, max_iter=5000)
    reference.fit(sparse.csr_matrix(counts), truth)
    save_model(model, tmp_path / "model.keras")
    received = load_model(tmp_path / "model.keras").predict_on_batch(inputs)[:, 0]
    assert reference.predict_proba(counts)[:, 1] == pytest.approx(received, abs=1e-3)


def test_forecasts_per_channel_are_ridge_regression_of_scikit_learn():
    """All targets' pasts are rows of one regression, each relative to its last value."""
    random = np.random.default_rng(3)
    steps = np.cumsum(random.normal(size=(500, 3)), axis=0).astype(np.float32)
    starts = np.arange(400)
    past = np.stack([steps[start : start + 20] for start in starts])
    ahead = np.stack([steps[start + 20 : start + 24][:, [2, 0]] for start in starts])
    spec = InputSpec("series", (20, 3))
    asked = OutputSpec(
        task="forecasting", targets=("x", "y"), target_mean=(0.0, 0.0), target_standard_deviation=(1.0, 1.0),
        target_channels=(2, 0), horizon=4,
    )  # fmt: skip
    settings = {"per_channel": True, "last_value_residual": True}
    model = linear.build(spec, asked, **settings)
    inputs = ModelInputs(400, [lambda rows: {"inputs": past[rows]}], lambda rows: ahead[rows])
    facts = linear.solve(model, TrainData(inputs, None, starts, starts, spec, asked), **settings)
    features = (past - past[:, -1:])[..., [2, 0]].transpose(0, 2, 1).reshape(800, 20)
    wanted = (ahead - past[:, -1:][..., [2, 0]]).transpose(0, 2, 1).reshape(800, 4)
    reference = Ridge(alpha=1600 * facts["penalty"]).fit(features, wanted)
    kernel, bias = model.get_layer("values").get_weights()
    assert reference.coef_.T == pytest.approx(kernel, abs=1e-3)
    assert reference.intercept_ == pytest.approx(bias, abs=1e-3)


def test_many_rows_are_read_evenly_and_from_a_file(tmp_path, monkeypatch):
    """Beyond the bounds fewer rows are looked at, and the features lie in a mapped file; the answer stays good."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(4)
    images = random.integers(0, 256, (600, 4, 4, 1), dtype=np.uint8)
    truth = (images.reshape(600, -1).astype(int) @ random.normal(size=(16, 3))).argmax(axis=1)
    spec, asked = InputSpec("image", (4, 4, 1), (0.5,), (0.29,)), OutputSpec(("a", "b", "c"), (1, 1, 1))
    rows = np.arange(600)
    data = TrainData(images, truth, rows, rows, spec, asked, groups=rows)
    right = []
    for most in (linear.MOST_VALUES, 16 * 200):
        monkeypatch.setattr(linear, "MOST_VALUES", most)
        monkeypatch.setattr(growing, "MOST_IN_MEMORY", 100)
        model = linear.build(spec, asked)
        facts = linear.solve(model, data)
        assert min(600, most // 16) == facts["rows"]
        right.append(np.mean(model.predict_on_batch(images).argmax(axis=1) == truth))
    assert right[0] > 0.97
    assert right[1] > 0.9


def test_balanced_classes_move_the_intercept():
    """Rare classes count as much as frequent ones where params.yaml says so."""
    random = np.random.default_rng(5)
    truth = (random.random(400) < 0.1).astype(np.int32)
    vectors = random.normal(size=(400, 3)).astype(np.float32)
    spec = InputSpec("vector", (3,), (0.0,) * 3, (1.0,) * 3)
    asked = OutputSpec(("often", "rare"), (360, 40))
    rows, said = np.arange(400), []
    for weights in ("none", "balanced"):
        model = linear.build(spec, asked)
        linear.solve(
            model, TrainData(vectors, truth, rows, rows, spec, asked, groups=rows), class_weights=weights
        )
        said.append(float(model.predict_on_batch(vectors).mean()))
    assert [truth.mean(), 0.5] == pytest.approx(said, abs=0.02)
