"""A SavedModel and a LiteRT file answer as the Keras model does, or the format is refused by the name of the layer."""

import numpy as np
import pytest

from pipeline.inference.backend import prepare_tensorflow, quiet_stderr
from pipeline.params.families import COMBINATIONS
from tests.models.combination_cases import as_fed, built, input_spec, samples

prepare_tensorflow(2, 7)

from pipeline.export.tensorflow_formats import (  # noqa: E402
    LiteRt,
    SavedModel,
    write_litert,
    write_saved_model,
)

QUICK = {("cnn", "image"), ("dense", "text"), ("rnn", "series")}
"""One input, several of several kinds, and steps with a mask; the others are `long`."""


def one_of_each():
    """Return the first row of each family and way of reading."""
    seen = {}
    for row in COMBINATIONS:
        seen.setdefault((row.family, row.reads, row.windowed), row)
    for row in seen.values():
        marks = [] if (row.family, row.payload) in QUICK and not row.windowed else [pytest.mark.long]
        said = f"{row.family} {row.reads}{' windows' if row.windowed else ''}"
        yield pytest.param(row, marks=marks, id=said)


def largest(expected, received):
    assert expected.shape == received.shape
    return np.abs(expected - received).max() / max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("row", one_of_each())
def test_every_family_answers_as_keras_does(row, tmp_path):
    """With side features, eight samples at once and one alone; of what steps through a sequence LiteRT knows nothing."""
    model, made = built(row, side=True), samples(input_spec(row, side=True))
    parts = [
        as_fed({name: array[rows] for name, array in made.items()}) for rows in (slice(None), slice(2, 3))
    ]
    expected = [np.asarray(model(fed, training=False)) for fed in parts]
    with quiet_stderr():
        write_saved_model(model, tmp_path / "saved")
        saved = SavedModel(tmp_path / "saved", 1)
    for fed, wanted in zip(parts, expected, strict=True):
        assert largest(wanted, saved.predict_on_batch(fed)) <= 1e-6
    if row.family == "rnn":
        with pytest.raises(NotImplementedError, match=r"Layer 'recurrent_0' steps through a sequence"):
            write_litert(model, tmp_path / "model.tflite")
        return
    with quiet_stderr():
        write_litert(model, tmp_path / "model.tflite")
        lite = LiteRt(tmp_path / "model.tflite", 1)
    differences = [
        largest(wanted, lite.predict_on_batch(fed)) for fed, wanted in zip(parts, expected, strict=True)
    ]
    # Trees compare with the mark of padding, which LiteRT's arithmetic moves: the proof of an export refuses them.
    assert (max(differences) <= 1e-5) != (
        row.family == "boosting" and row.reads == "series" and not row.windowed
    )


def test_a_layer_that_litert_lacks_is_told_in_its_words(tmp_path):
    """Not the large operations of TensorFlow, which phones do not have."""
    import keras

    inputs = keras.Input((6,), name="inputs")
    model = keras.Model(inputs, keras.ops.erfinv(inputs), name="m")
    with (
        quiet_stderr(),
        pytest.raises(NotImplementedError, match=r"LiteRT cannot say what a layer of 'm' does"),
    ):
        write_litert(model, tmp_path / "model.tflite")
