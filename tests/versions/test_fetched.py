"""A registered version becomes a folder that can answer, fetched once and hashed each time."""

import threading
import time
from pathlib import Path

import pytest

from pipeline import cli
from pipeline.inference.backend import prepare_tensorflow
from pipeline.runtime.errors import InputMissing
from pipeline.serving.scorer import Scorer
from pipeline.tracking import registry
from pipeline.versions import fetched
from pipeline.versions.fetched import fetched_version
from tests.helpers import registration
from tests.helpers.registered import new_store, packed

pytestmark = pytest.mark.timeout(240)
PAPERS = {"card.json": "{}", "settings.json": "{}", "state.json": "{}", "golden.npz": "g", "model.onnx": "o"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """An empty store; the working directory is its project."""
    with new_store(tmp_path_factory.mktemp("store")) as store:
        yield store


def registered(store, content, papers):
    """Make a version from bytes, with these papers beside the model."""
    folder = packed(Path(f"packed-{content.hex()}"), content, {"train": ["one"], "val": ["two"]})
    for name, text in papers.items():
        (folder / "millrace" / name).write_text(text)
    run = store.client.create_run(store.experiment_id)
    return registry.create_version(
        store, "digits", folder, run_id=run.info.run_id, tags={}, description="for a test"
    )


def test_a_version_is_fetched_once_and_again_where_a_file_differs(store, monkeypatch):
    """The second time nothing is asked of the artifact store; a file that somebody changed is not believed."""
    version = registered(store, b"whole", PAPERS)
    folder = fetched_version(store, version)
    assert PAPERS == {name: (folder / name).read_text() for name in PAPERS}
    asked = []
    fetch = fetched.fetch_model
    monkeypatch.setattr(fetched, "fetch_model", lambda *given: asked.append(1) or fetch(*given))
    assert folder == fetched_version(store, version)
    assert [] == asked
    (folder / "state.json").write_text('{"classes": []}')
    assert folder == fetched_version(store, version)
    assert [1] == asked
    assert "{}" == (folder / "state.json").read_text()
    assert [folder.name] == [path.name for path in fetched.FETCHED_DIR.iterdir()]


def test_of_two_that_fetch_at_once_the_second_takes_what_the_first_has_left(store, monkeypatch):
    """It waits for the lock, looks again, and asks the store for nothing."""
    version = registered(store, b"at once", PAPERS)
    asked = []
    fetch = fetched._fetch
    entered = threading.Event()

    def slow(*given):
        asked.append(1)
        entered.set()
        time.sleep(0.5)
        fetch(*given)

    monkeypatch.setattr(fetched, "_fetch", slow)
    first = threading.Thread(target=fetched_version, args=(store, version))
    first.start()
    entered.wait()
    assert fetched.FETCHED_DIR / version.model_sha256 == fetched_version(store, version)
    first.join()
    assert [1] == asked


def test_what_no_version_that_stays_needs_may_go(store):
    """Other models, and what a killed process has left."""
    folder = fetched_version(store, registered(store, b"stays", PAPERS))
    (fetched.FETCHED_DIR / "fetching-x").mkdir()
    others = set(fetched.held_but_for([folder.name]))
    assert fetched.FETCHED_DIR / "fetching-x" in others
    assert folder not in others


def test_a_version_without_papers_cannot_answer(store):
    """One of an early release: said, and nothing is left in the cache."""
    with pytest.raises(InputMissing, match="has no golden answers or no state"):
        fetched_version(store, registered(store, b"bare", {}))


@pytest.mark.long
def test_a_version_of_an_earlier_release_is_exported_when_it_is_asked(store, tmp_path, monkeypatch):
    """It has model.keras alone: model.onnx is made of it, proven by its golden answers, and kept."""
    prepare_tensorflow(2, 7)
    registration.make_registration_project(tmp_path)
    best = tmp_path / "models/best"
    papers = {}
    folder = packed(
        Path("packed-real"), (best / "model.keras").read_bytes(), {"train": ["one"], "val": ["two"]}
    )
    for name in ("card.json", "settings.json", "state.json", "golden.npz"):
        papers[name] = (best / name).read_bytes()
        (folder / "millrace" / name).write_bytes(papers[name])
    run = store.client.create_run(store.experiment_id)
    version = registry.create_version(
        store, "digits", folder, run_id=run.info.run_id, tags={}, description="for a test"
    )
    monkeypatch.setattr("pipeline.inference.backend.prepare_tensorflow", lambda *_given: None)
    made = fetched_version(store, version)
    assert (best / "model.onnx").read_bytes() == (made / "model.onnx").read_bytes()
    images, labels = registration.images_and_labels()
    answers = Scorer(made).answers([{"image": image} for image in images])
    assert [registration.CLASSES[label] for label in labels] == [one["class"] for one in answers]
    # No version knows the digest of what was made here: it is kept beside, so that damage is seen and mended.
    (made / "model.onnx").write_bytes((best / "model.onnx").read_bytes()[:500])
    assert (best / "model.onnx").read_bytes() == (fetched_version(store, version) / "model.onnx").read_bytes()


def test_the_command_line_takes_one_place_or_a_model_and_a_place(tmp_path, monkeypatch):
    """A folder is a model of its own, anything else names a version; places are those of the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "best").mkdir()
    parse = cli.parsers()[0].parse_args
    given = parse(["predict", "x.csv", "--out", "a.csv"])
    assert ("", tmp_path / "x.csv", tmp_path / "a.csv") == (given.model, given.input, given.out)
    assert "digits/3" == parse(["predict", "digits/3", "x.csv"]).model
    assert tmp_path / "best" == parse(["predict", "best", "x.csv"]).model
