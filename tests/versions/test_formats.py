"""A format is proven by golden answers and rows of the test set before anybody gets it."""

import numpy as np
import pytest

from pipeline.evaluation.golden import GOLDEN_ANSWERS, read_npz, write_npz
from pipeline.inference.backend import prepare_tensorflow
from pipeline.runtime import paths
from pipeline.runtime.errors import AnswersDiffer, NotPermitted
from pipeline.runtime.files import read_json, write_json
from tests.helpers.registration import images_and_labels, make_ready_project

prepare_tensorflow(2, 7)

from pipeline.export import tensorflow_formats  # noqa: E402
from pipeline.versions import formats  # noqa: E402


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a chosen model and its data."""
    root = make_ready_project(tmp_path / "project")
    monkeypatch.chdir(root)
    (tmp_path / "made").mkdir()
    return root


def made(project, *wanted, test=None):
    best = project / "models/best"
    return formats.make_formats(wanted, best, best / "model.keras", project.parent / "made", test)


def test_every_format_is_held_against_golden_answers_and_the_test_set(project):
    """All four open again, and the test rows are those of this model's data, at equal distances."""
    test = formats.inputs_of_test(paths.BEST_DIR, paths.BEST_DIR / "model.keras")
    images, _ = images_and_labels()
    np.testing.assert_array_equal(images[::2], test["inputs"])  # every other one, 90 in all
    found = made(project, "onnx", "keras", "saved_model", "litert", test=test)
    assert ["onnx", "keras", "saved_model", "litert"] == list(found)
    for one in found.values():
        assert (16, 90) == (one.golden.rows, one.test.rows)
        assert max(one.golden.share, one.test.share) < 1e-6
        assert one.place.exists()
        assert one.bytes > 500


def test_the_rows_of_other_data_prove_nothing(project):
    """Another model than the chosen one, or another state, is proven by its golden answers alone."""
    other = project.parent / "other.keras"
    other.write_bytes((paths.BEST_DIR / "model.keras").read_bytes() + b" ")
    assert formats.inputs_of_test(paths.BEST_DIR, other) is None
    write_json(paths.FEATURES_STATE, read_json(paths.FEATURES_STATE) | {"classes": ["x"]})
    assert formats.inputs_of_test(paths.BEST_DIR, paths.BEST_DIR / "model.keras") is None
    assert made(project, "onnx")["onnx"].test is None


@pytest.mark.parametrize("by_test", [False, True])
def test_a_format_that_answers_otherwise_is_not_exported(project, monkeypatch, by_test):
    """A hundred-thousandth of the spread is seen, in golden answers and in the test set."""
    plain = tensorflow_formats.SavedModel.predict_on_batch

    def off(self, batch):
        said = plain(self, batch)
        return said + 2e-5 * (len(said) > 16 if by_test else 1)

    monkeypatch.setattr(tensorflow_formats.SavedModel, "predict_on_batch", off)
    test = formats.inputs_of_test(paths.BEST_DIR, paths.BEST_DIR / "model.keras")
    with pytest.raises(
        AnswersDiffer, match=rf"as saved_model does not answer.* in {90 if by_test else 16} rows"
    ):
        made(project, "saved_model", test=test)


def test_a_keras_file_that_does_not_give_its_golden_answers_is_not_exported(project):
    """What is exported is what was judged."""
    path = paths.BEST_DIR / "golden.npz"
    arrays = read_npz(path)
    arrays[GOLDEN_ANSWERS] = arrays[GOLDEN_ANSWERS][::-1]
    write_npz(path, arrays)
    with pytest.raises(AnswersDiffer, match="as keras does not answer"):
        made(project, "keras")


def test_a_format_that_has_no_such_layer_says_so(project, monkeypatch):
    """With the layer in the message."""

    def refuse(_model, _path):
        raise NotImplementedError("Layer 'recurrent_0' steps through a sequence.")

    monkeypatch.setattr(tensorflow_formats, "write_litert", refuse)
    with pytest.raises(NotPermitted, match=r"cannot be exported as litert. Layer 'recurrent_0'"):
        made(project, "litert")
