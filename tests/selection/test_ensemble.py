"""Several models in one file: its answers are NumPy's mean of theirs, its bytes the same each time."""

import numpy as np
import pytest

from pipeline.inference import prediction
from pipeline.inference.backend import prepare_tensorflow
from pipeline.inference.keras_files import load_model, save_model
from pipeline.inference.prediction import rows_at_once
from pipeline.inputs.specs import called
from pipeline.metrics.calibration import tempered
from pipeline.params.families import COMBINATIONS
from tests.models.combination_cases import as_fed, built, input_spec, samples

prepare_tensorflow(2, 7)

from pipeline.selection.ensemble import joined  # noqa: E402
from pipeline.selection.refit import tempered_model  # noqa: E402

PAIRS = {
    "softmax of pixels": ("image", "classification", ("cnn", "rnn"), 3, False),
    "sigmoid, a model inside one of them": ("image", "classification", ("cnn", "autoencoder"), 2, False),
    "n-grams of several labels": ("text", "multilabel", ("dense", "linear"), 3, False),
    "tokens with side features": ("text", "regression", ("cnn", "rnn"), 3, True),
    "series with padding": ("series", "classification", ("rnn", "rocket", "nearest"), 3, True),
    "forecasts of three": ("series", "forecasting", ("cnn", "ridge", "linear"), 3, False),
    "a trunk inside each": ("text", "classification", ("pretrained", "pretrained"), 3, False),
    "pixels beside hand-made features": ("image", "classification", ("cnn", "dense", "rnn"), 3, False),
    "tokens beside n-grams, with side features": ("text", "multilabel", ("cnn", "linear"), 3, True),
    "pieces beside n-grams beside tokens": (
        "text",
        "classification",
        ("pretrained", "dense", "rnn"),
        3,
        False,
    ),
}
SEVERAL_KINDS = [case for case in PAIRS if "beside" in case]


def members_of(case, **settings):
    """Return models by name, what kind each reads, and eight samples, as all of them read these and as each does."""
    payload, task, families, num_classes, side = PAIRS[case]
    found, specs = {}, {}
    for number, family in enumerate(families):
        row = next(
            row for row in COMBINATIONS if (row.family, row.payload, row.task) == (family, payload, task)
        )
        model = built(row, num_classes, side=side, **settings)
        random = np.random.default_rng(number)
        # The same seed builds each: no two of a family may be alike.
        for layer in model.layers:
            drawn = [weight + 0.1 * random.normal(size=weight.shape) for weight in layer.get_weights()]
            layer.set_weights([weight.astype(np.float32) for weight in drawn])
        found[f"{family}-{number}"], specs[f"{family}-{number}"] = model, input_spec(row, side=side)
    kinds = {name: spec.kind for name, spec in specs.items()}
    together, own = {}, {}
    for member, spec in specs.items():
        names = {name: called(name, spec.kind, set(kinds.values())) for name in samples(spec)}
        # One bag for all who read one, and one row of columns beside.
        together = {names[name]: array for name, array in samples(spec).items()} | together
        own[member] = as_fed({name: together[shared] for name, shared in names.items()})
    return found, kinds, as_fed(together), own


@pytest.mark.parametrize("case", PAIRS)
def test_the_answer_is_the_mean_of_the_answers(case, tmp_path):
    """To 1e-6, as NumPy computes it, after a way through a file that the loader looked through."""
    members, kinds, inputs, own = members_of(case)
    answers = [model.predict_on_batch(own[name]) for name, model in members.items()]
    assert not np.allclose(answers[0], answers[1], atol=1e-3)
    save_model(joined(members, kinds), tmp_path / "model.keras")
    model = load_model(tmp_path / "model.keras")
    assert model.predict_on_batch(inputs) == pytest.approx(np.mean(answers, axis=0), abs=1e-6)
    assert model.count_params() == sum(own.count_params() for own in members.values())
    assert model.output_names == [next(iter(members.values())).output_names[0]]
    # What a batch may take is known of all members together.
    assert rows_at_once(model) < min(map(rows_at_once, members.values()))


@pytest.mark.parametrize("case", ["series with padding", *SEVERAL_KINDS])
def test_members_that_were_loaded_give_the_same_bytes(case, tmp_path):
    """Joined from models in memory and from their files, twice: one digest names the model everywhere."""
    members, kinds, _, _ = members_of(case)
    for name, model in members.items():
        save_model(model, tmp_path / f"{name}.keras")
    save_model(joined(members, kinds), tmp_path / "first.keras")
    for name in ("second", "third"):
        loaded = {name: load_model(tmp_path / f"{name}.keras") for name in members}
        save_model(joined(loaded, kinds), tmp_path / f"{name}.keras")
        assert (tmp_path / f"{name}.keras").read_bytes() == (tmp_path / "first.keras").read_bytes()


@pytest.mark.parametrize(
    ("case", "several"), [("softmax of pixels", False), ("n-grams of several labels", True)]
)
def test_a_temperature_is_laid_on_each_member_before_the_mean(case, several):
    """As NumPy does it with probabilities; the other way round gives other answers."""
    members, kinds, inputs, _ = members_of(case)
    answers = np.stack([model.predict_on_batch(inputs) for model in members.values()])
    cooled = joined({name: tempered_model(model, 0.25) for name, model in members.items()}, kinds)
    received = cooled.predict_on_batch(inputs)
    assert received == pytest.approx(
        np.mean([tempered(own, 0.25, several=several) for own in answers], axis=0), abs=1e-5
    )
    assert received == pytest.approx(tempered(answers, 0.25, several=several), abs=1e-5)
    assert received != pytest.approx(tempered(answers.mean(axis=0), 0.25, several=several), abs=1e-3)


def test_models_that_read_something_else_are_refused():
    """With what each reads and gives, instead of a model that Keras cannot call."""
    pixels, kinds, *_ = members_of("softmax of pixels")
    sigmoid, *_ = members_of("sigmoid, a model inside one of them")
    with pytest.raises(ValueError, match=r"cannot be averaged.*answers.*Received.*Name other members"):
        joined(pixels | {"other": sigmoid["cnn-0"]}, kinds | {"other": "image"})
    tokens, *_ = members_of("pieces beside n-grams beside tokens")
    with pytest.raises(ValueError, match=r"cannot be averaged.*uint8.*Received.*int32.*Name other members"):
        joined(pixels | {"other": tokens["rnn-2"]}, kinds | {"other": "image"})


def test_only_the_image_is_mirrored_among_what_is_read():
    """The answer for an image and its mirror image, by the networks; what was made of it is answered for once."""
    members, kinds, inputs, own = members_of("pixels beside hand-made features")
    rows = np.arange(8)
    expected = [
        prediction.predict(model, own[name], rows, test_time_flip=kinds[name] == "image")
        for name, model in members.items()
    ]
    plain = [prediction.predict(model, own[name], rows) for name, model in members.items()]
    model = joined(members, kinds)
    received = prediction.predict(model, inputs, rows, test_time_flip=True)
    assert received == pytest.approx(np.mean(expected, axis=0), abs=1e-6)
    assert not np.allclose(received, np.mean(plain, axis=0), atol=1e-3)
