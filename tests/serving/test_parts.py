"""What was answered is believed only for the same model and the same records."""

import pytest

from pipeline.serving.parts import Parts
from pipeline.serving.record_files import Given
from pipeline.serving.scorer import PAPERS

SOME = [Given("0", "line 1", {"text": "a"}), Given("1", "line 2", {}, ("wrong",))]


@pytest.fixture
def model(tmp_path):
    """A folder with the papers of a model."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in PAPERS:
        (folder / name).write_text(name)
    return folder


@pytest.mark.parametrize("changed", PAPERS)
def test_another_model_is_asked_anew(tmp_path, model, changed):
    """Whichever of its papers is another; the same one is not asked a second time."""
    asked = []

    def answer(some):
        asked.append(len(some))
        return [{"id": one.sample_id} for one in some]

    out = tmp_path / "a.csv"
    assert Parts(out, model).of(SOME, answer) == Parts(out, model).of(SOME, answer)
    assert [2] == asked
    (model / changed).write_text("another")
    Parts(out, model).of(SOME, answer)
    assert [2, 2] == asked
    Parts(out, model).of(SOME[:1], answer)
    assert [2, 2, 1] == asked
