"""Every row of the combination table is built, learns, and is the same after saving."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from pipeline.inference.backend import prepare_tensorflow
from pipeline.inference.keras_files import load_model, save_model
from pipeline.params.families import (
    COMBINATIONS,
    FAMILIES,
    UNTRAINED_FAMILIES,
    as_markdown,
    input_kind,
    supports,
    what_works,
)
from pipeline.selection.refit import tempered_model
from pipeline.training import losses
from tests.models.combination_cases import (
    answers_of,
    as_fed,
    built,
    input_spec,
    learn_by_heart,
    output_spec,
    samples,
    targets,
    untrained,
)

prepare_tensorflow(2, 7)

import keras  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent.parent
SHAPES = {
    "classification": (8, 3),
    "multilabel": (8, 3),
    "regression": (8, 2),
    "forecasting": (8, 3, 2),
    "anomaly": (8, 6, 2),
}


def named(row):
    return f"{row.family} {row.payload} {row.task}{' windows' if row.windowed else ''}"


def layer_names(model):
    return [layer.name for layer in model._flatten_layers()]


def walk(rows=COMBINATIONS):
    return pytest.mark.parametrize("row", rows, ids=[named(row) for row in rows])


@walk([row for row in COMBINATIONS if row.task in ("classification", "multilabel")])
def test_a_temperature_is_laid_on_those_that_have_logits(row):
    """What is said of a family is so: candidates are compared as they would answer at their temperature."""
    model = built(row)
    assert (tempered_model(model, 2.0) is not None) == FAMILIES[row.family].logits


@pytest.mark.long
@walk([row for row in COMBINATIONS if row.family not in UNTRAINED_FAMILIES])
def test_a_step_lowers_the_loss_and_eight_samples_can_be_learnt_by_heart(row):
    """The gradient reaches the weights, and the main input alone tells eight samples apart."""
    model, made = built(row), samples(input_spec(row))
    inputs, truth = as_fed(made), targets(row, made)
    loss = losses.create_loss(row.task, class_counts=output_spec(row).class_counts)
    model.compile(keras.optimizers.Adam(0.003), loss)
    model.optimizer.build(model.trainable_variables)
    before = model.train_on_batch(inputs, truth)
    assert model.train_on_batch(inputs, truth) < before
    # Three questions at once need smaller steps: at 0.03 units of the smallest CNN die.
    several = row.task == "multilabel"
    model.optimizer.learning_rate.assign(0.01 if several else 0.03)
    # A linear map from a padded or short history cannot fit all numbers; everything else can.
    enough = before * (0.5 if row.family == "linear" and not output_spec(row).classes else 0.15)

    def learnt(after):
        return after < enough and said(row.task, answers_of(model, inputs)) == (
            truth.tolist() if row.task in ("classification", "multilabel") else []
        )

    assert learnt(learn_by_heart(model, inputs, truth, 300 if several else 150, learnt))


def said(task, answers):
    """Return the classes or labels that answers say; of numbers the loss tells enough."""
    if task == "classification":
        return answers.argmax(axis=1).tolist()
    return (answers > 0.5).astype(int).tolist() if task == "multilabel" else []


@walk()
@pytest.mark.parametrize("side", [False, True], ids=["alone", "side features"])
def test_answers_have_their_shape_and_survive_the_file(row, side, tmp_path):
    """Outputs are finite and of the agreed shape, and loading in safe mode gives them again to the last bit."""
    model, inputs = untrained(row, side=side), as_fed(samples(input_spec(row, side=side)))
    answers = answers_of(model, inputs)
    assert SHAPES[row.task] == answers.shape
    assert np.isfinite(answers).all()
    save_model(model, tmp_path / "model.keras")
    assert np.array_equal(answers, answers_of(load_model(tmp_path / "model.keras"), inputs))


@walk()
def test_side_features_matter_where_the_table_says_so(row):
    """Another number or category beside the same input changes the answer, or does not, as the table says."""
    made = samples(input_spec(row, side=True))
    model = untrained(row, side=True)
    answers = answers_of(model, made)
    for name, other in (("side", made["side"] + 1), ("categories", made["categories"][::-1])):
        changed = answers_of(model, {**made, name: np.ascontiguousarray(other)})
        assert row.side == bool(np.abs(changed - answers).max() > 1e-6), name
    # Two builds in one process have the same layer names, all of them Keras' own classes.
    assert layer_names(model) == layer_names(built(row, side=True))
    assert {"keras"} == {type(layer).__module__.split(".")[0] for layer in model._flatten_layers()}


@walk([row for row in COMBINATIONS if row.task == "classification"])
def test_two_classes_are_one_sigmoid(row):
    """The only output is the probability of the second class, from a layer named `probabilities`."""
    model, inputs = built(row, 2), as_fed(samples(input_spec(row)))
    if row.family == "nearest":
        importlib.import_module("pipeline.models.nearest").fit_closed_form(model, inputs, np.arange(8) % 2)
    probabilities = answers_of(model, inputs)
    assert (8, 1) == probabilities.shape
    assert 0 <= probabilities.min() <= probabilities.max() <= 1
    assert model.layers[-1].name == "probabilities"


@walk([row for row in COMBINATIONS if row.task == "multilabel"])
def test_several_labels_are_a_sigmoid_each(row):
    """Probabilities from a layer named `probabilities`, whose sum is free; the majority says how frequent each is."""
    model, inputs = untrained(row), as_fed(samples(input_spec(row)))
    probabilities = answers_of(model, inputs)
    assert "sigmoid" == model.layers[-1].activation.__name__
    assert "probabilities" == model.layers[-1].name
    assert 0 < probabilities.min() <= probabilities.max() < 1
    if row.family == "majority":
        assert np.allclose(probabilities, [0.5, 0.5, 0.25])


def test_every_family_stands_in_the_table():
    """A file in pipeline/models is a family of some row, and the other way round."""
    files = {path.stem for path in (ROOT / "pipeline/models").glob("*.py")} - {"__init__"}
    assert files == {row.family for row in COMBINATIONS}


def test_the_table_in_the_docs_is_that_of_the_code():
    """docs/combinations.md says what pipeline/params/families.py says."""
    assert as_markdown() == (ROOT / "docs/combinations.md").read_text(encoding="utf-8")


def test_what_does_not_work_is_answered_with_what_does():
    """A wrong family is answered with families, a task no data of the kind knows with tasks."""
    assert supports("naive", "series", "forecasting", windowed=True)
    assert not supports("naive", "series", "regression", windowed=True)
    assert "Expected one of autoencoder, pca, kmeans, polynomial." in what_works(
        "series", "anomaly", windowed=True
    )
    assert "Expected for text: classification, multilabel, regression." in what_works(
        "text", "forecasting", windowed=False
    )
    assert "forecasting with data.windows" in what_works("series", "forecasting", windowed=False)


@pytest.mark.parametrize(
    ("expected", "family", "payload"),
    [
        ("vector", "dense", "image"),
        ("image", "linear", "image"),
        ("tokens", "rnn", "text"),
        ("bag", "majority", "text"),
        ("series", "dense", "series"),
    ],
)
def test_each_family_reads_its_kind_of_input(expected, family, payload):
    """Hand-made features, pixels, tokens, bags and series go where the contract sends them."""
    assert expected == input_kind(family, payload)


def test_what_a_family_does_not_know_is_refused():
    """Rows that are not in the table cannot be built."""
    from pipeline.models import cnn, kmeans, naive, nearest, pca, polynomial, ridge, rocket

    row = next(row for row in COMBINATIONS if row.family == "cnn" and row.task == "forecasting")
    series, forecast = input_spec(row), output_spec(row)
    anomaly = output_spec(row._replace(task="anomaly"))
    classes = output_spec(row._replace(task="classification"))
    for build, spec, message in (
        (cnn.build, anomaly, "Use family autoencoder or pca"),
        (naive.build, classes, "Expected task=forecasting"),
        (nearest.build, forecast, "Expected task=classification"),
        (pca.build, forecast, "Expected task=anomaly"),
        (kmeans.build, forecast, "Expected task=anomaly"),
        (polynomial.build, forecast, "Expected task=anomaly"),
        (rocket.build, forecast, "Use family ridge"),
        (ridge.build, classes, "Expected task=forecasting"),
    ):
        with pytest.raises(ValueError, match=message):
            build(series, spec)


def test_every_row_was_tried_in_every_format():
    """docs/formats.md has the rows of the table in its order: a new one is measured by benchmarks/formats.py."""
    lines = (ROOT / "docs/formats.md").read_text(encoding="utf-8").splitlines()
    begin = next(
        number for number, line in enumerate(lines) if line.startswith("| data | task | family | reads |")
    )
    tried = [tuple(cell.strip() for cell in line.split("|")[1:5]) for line in lines[begin + 2 :] if line]
    expected = [tuple(line.split(" | ")[:4]) for line in as_markdown().splitlines() if line.startswith("| ")][
        2:
    ]
    assert [(first.removeprefix("| "), *rest) for first, *rest in expected] == tried
