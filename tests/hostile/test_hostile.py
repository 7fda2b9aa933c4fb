"""No bad model file is loaded, none has an effect, and every refusal says what to do."""

import re

import pytest

from pipeline.inference.backend import prepare_tensorflow
from pipeline.inference.keras_files import load_model
from pipeline.runtime.errors import NotPermitted, StorageFailed
from tests.hostile.corpus import FAMILIES, good_model, write_secret
from tests.hostile.reasons import REASONS
from tests.hostile.witness import witness

prepare_tensorflow(2, 7)


MESSAGE = re.compile(r"bad\.keras\b.+ Expected .+ Received: .+\. ?[A-Z].+\.", re.DOTALL)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A model file that loads."""
    return good_model(tmp_path_factory.mktemp("good") / "model.keras")


@pytest.fixture
def secret(tmp_path):
    """A file of the victim that no model has a business with."""
    return write_secret(tmp_path / "victim/secret.h5")


@pytest.mark.parametrize("family", FAMILIES, ids=[family.__name__ for family in FAMILIES])
def test_a_bad_file_is_refused_before_anything_happens(family, good, secret, tmp_path):
    """Exit code 74 or 77, a message by the template, no canary, no file opened but the model, no process."""
    target, canary = tmp_path / "bad.keras", tmp_path / "canary"
    family(good, target, canary, secret)
    with witness(target, secret.parent) as seen, pytest.raises((NotPermitted, StorageFailed)) as refused:
        load_model(target)
    assert refused.value.exit_code in (74, 77)
    assert MESSAGE.search(str(refused.value)), refused.value
    assert REASONS[family.__name__] in str(refused.value)
    assert len(str(refused.value)) < 1200
    assert seen == []
    assert not canary.exists()


def test_there_are_many_families_and_each_says_what_it_attacks():
    """At least twenty, each with one sentence."""
    assert len({family.__name__ for family in FAMILIES}) == len(FAMILIES) >= 60
    assert all(family.__doc__.strip().endswith(".") for family in FAMILIES)


def test_the_good_file_loads(good, secret):
    """What all of them are made from is fine, so each is refused for what was changed."""
    with witness(good, secret.parent) as seen:
        model = load_model(good)
    assert [(4, 30), (30,), (30, 2), (2,)] == [tuple(weight.shape) for weight in model.weights]
    assert seen == []


def test_the_witness_sees_what_it_should(tmp_path, secret):
    """A file opened in Python, one opened in C, and a process are noticed: the silence above means something."""
    import subprocess

    import h5py

    with witness(tmp_path / "model.keras", secret.parent) as seen:
        (tmp_path / "canary").write_text("sung")
        subprocess.run(["true"], check=True)
        h5py.File(secret, "r").close()
    assert {"open", "subprocess.Popen", "opened"} <= {event for event, _ in seen}
