"""`pipeline.leaks.columns`: the first and the last word of a text are columns."""

import numpy as np
import pytest

from pipeline.runtime.errors import DataRefused
from tests.helpers.leak_gate import run_gate, run_split, two_classes, words
from tests.helpers.split_data import write_data

COUNT = 300


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """The working directory is an empty project."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("place", ["first", "last"])
def test_a_class_that_stands_at_the_end_of_the_text_is_refused(place):
    """Each class has six names of its own there, all of which stand in the middle of other texts: no word tells it."""
    rng = np.random.default_rng(1)
    labels = two_classes(COUNT)
    names = {"hat": [f"cap{letter}" for letter in "abcdef"], "shoe": [f"boot{letter}" for letter in "abcdef"]}
    everywhere = [name for of_class in names.values() for name in of_class]
    texts = []
    for text, label in zip(words(2, COUNT), labels, strict=True):
        middle = text.split()
        middle[5:5] = rng.choice(everywhere, 8, replace=False).tolist()
        told = f"[{rng.choice(names[label])}]"
        texts.append(" ".join([told, *middle] if place == "first" else [*middle, told]))
    write_data(texts, labels=labels)
    run_split()
    with pytest.raises(DataRefused, match=rf"The {place} word of the text \('.*'\) alone predicts the class"):
        run_gate()


def test_a_number_to_predict_at_the_end_of_the_text_is_refused():
    """`... 3.75` gives the target away; a number that has nothing to do with it does not."""
    rng = np.random.default_rng(2)
    targets = rng.normal(5, 2, COUNT).round(2)
    for written, refused in ((targets, True), (rng.permutation(targets), False)):
        texts = [f"{text} score: {value}" for text, value in zip(words(3, COUNT), written, strict=True)]
        write_data(texts, targets=targets.tolist())
        run_split("stratified", "regression")
        if refused:
            with pytest.raises(DataRefused, match=r"The last word of the text .* alone predicts the target"):
                run_gate(task="regression")
        else:
            assert [] == run_gate(task="regression")["findings"]


def test_questions_that_begin_alike_are_no_leak():
    """`how` and `what` are more frequent in one class, as language has it."""
    rng = np.random.default_rng(3)
    labels = two_classes(COUNT)
    texts = []
    for text, label in zip(words(4, COUNT), labels, strict=True):
        usual = "how" if label == "hat" else "what"
        texts.append(f"{usual if rng.random() < 0.8 else rng.choice(['how', 'what', 'why'])} {text}")
    write_data(texts, labels=labels)
    run_split()
    assert [] == run_gate()["findings"]
