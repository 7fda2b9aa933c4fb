"""A version's files are written once, whatever becomes of its name, of its registered model or of the registry."""

import hashlib
import os
from pathlib import Path

import pytest

from pipeline.runtime.errors import StorageFailed
from pipeline.tracking import champions, registry, runs
from pipeline.tracking.removal import find_excess, remove_version
from pipeline.tracking.store import create_sqlite
from pipeline.versions.verify import registry_problems
from tests.helpers.registered import make_champion, packed, store_in

pytestmark = pytest.mark.timeout(240)
CONTENT = b"the model"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def root(registry_root):
    """Stand in a folder with an empty store."""
    return registry_root


def register(store, root, rows=("one",), content=CONTENT):
    """Register the model; as in life, what MLflow writes beside it holds the time of day and a random id."""
    number = len(list(root.glob("packed-*")))
    folder = packed(root / f"packed-{number}", content, {"train": list(rows)})
    (folder / "MLmodel").write_text(f"flavors: {{}}\nmodel_uuid: {number}\nutc_time_created: day {number}\n")
    run = store.client.create_run(store.experiment_id)
    return registry.create_version(store, "digits", folder, run_id=run.info.run_id, tags={}, description="")


def stored():
    """Return path to bytes of everything in the artifact store."""
    return {path: path.read_bytes() for path in Path("mlartifacts").rglob("*") if path.is_file()}


def untouched(before):
    """Return whether all those files are still there as they were."""
    return before.items() <= stored().items()


def test_a_model_that_was_renamed_keeps_its_files(root):
    """Renamed in the dashboard, and the same results registered again: two versions, each with files of its own."""
    store = store_in(root)
    old = register(store, root)
    before = stored()
    store.client.rename_registered_model("digits", "digits-old")
    new = register(store, root)
    assert untouched(before)
    assert old.model_id != new.model_id
    for name in ("digits-old", "digits"):
        assert [] == list(registry_problems(store, name))


def test_a_model_that_was_deleted_can_be_registered_again(root):
    """Somebody loaded it before, for which MLflow leaves a note among its files; nothing is written a second time."""
    store = store_in(root)
    register(store, root)
    (model,) = Path("mlartifacts").rglob("MLmodel")
    (model.parent / "registered_model_meta").write_text("model_name: digits\nmodel_version: '1'\n")
    before = stored()
    store.client.delete_registered_model("digits")
    version = register(store, root)
    assert (before, 1) == (stored(), version.number)
    assert [] == list(registry_problems(store, "digits"))


def test_one_register_for_another_registry_leaves_the_first_as_it_was(root, monkeypatch):
    """With MLFLOW_REGISTRY_URI set once, the registry is empty and the artifact store is not."""
    store = store_in(root)
    register(store, root)
    before = stored()
    create_sqlite(root / "elsewhere/other.db")
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_REGISTRY_URI", f"sqlite:///{root}/elsewhere/other.db")
        other = store_in(root)
        assert [] == registry.versions(other, "digits")
        register(other, root)
        assert [] == list(registry_problems(other, "digits"))
    assert untouched(before)
    assert [] == list(registry_problems(store_in(root), "digits"))


def test_files_that_only_another_registry_has_a_version_of_are_no_excess(root, monkeypatch):
    """Registered once with MLFLOW_REGISTRY_URI; whoever cleans up without it sees no version of these files."""
    create_sqlite(root / "other.db")
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_REGISTRY_URI", f"sqlite:///{root}/other.db")
        made = register(store_in(root), root)
        assert [] == find_excess(store_in(root), "digits", 1, set(), set()).models
    store = store_in(root)
    assert [] == find_excess(store, "digits", 1, set(), set()).models
    store.client.delete_logged_model_tag(made.model_id, _registry_tag(store, made))
    left = runs.owner_tags(1) | {runs.STARTED: "of another boot", registry.OWN_REGISTRY: "true"}
    store.client.set_logged_model_tags(made.model_id, left)
    assert [made.model_id] == find_excess(store, "digits", 1, set(), set()).models


def _registry_tag(store, version):
    tags = store.client.get_logged_model(version.model_id).tags
    return next(tag for tag in tags if tag.startswith(registry.REGISTRY))


def test_a_kill_in_the_middle_of_a_removal_leaves_no_version(root, monkeypatch):
    """Its long tags are gone and it is still there: it is no version any more, and the next call removes it."""
    store = store_in(root)
    first = register(store, root)
    store.client.set_model_version_tag("digits", str(first.number), registry.DECISION, "x" * 1000)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(store.client, "delete_model_version", _killed)
        remove_version(store, "digits", registry.versions(store, "digits")[0])
    assert [] == registry.versions(store, "digits")
    again = register(store, root)
    assert (2, [1]) == (
        again.number,
        [item.number for item in find_excess(store, "digits", 1, set(), set()).versions],
    )


def _killed(*_):
    raise KeyboardInterrupt


def test_files_that_somebody_deleted_in_the_dashboard_are_no_excess(root):
    """There is nothing left to remove of them, and the version goes all the same."""
    store = store_in(root)
    first, second = register(store, root), register(store, root, content=b"another model")
    for version in (first, second):
        store.client.set_model_version_tag("digits", str(version.number), registry.DECISION, "{}")
    store.client.delete_logged_model(first.model_id)
    excess = find_excess(store, "digits", 1, set(), set())
    assert ([1], []) == ([version.number for version in excess.versions], excess.models)


def test_what_a_dead_attempt_sealed_is_used_only_if_it_says_the_same(root):
    """Killed before its version was made: used as it is, never written; with other papers a place of its own."""
    store = store_in(root)
    first = register(store, root)
    before = stored()
    store.client.delete_model_version("digits", str(first.number))
    other = register(store, root, rows=("one", "two"))
    assert untouched(before)
    assert other.model_id != first.model_id
    store.client.delete_model_version("digits", str(other.number))
    assert first.model_id == register(store, root).model_id
    assert untouched(before)


def test_an_upload_that_can_never_become_right_is_left_behind(root):
    """An attempt died that had sent a file more: the next one says so, and the one after it begins anew."""
    store = store_in(root)
    tags = runs.owner_tags(1) | {runs.STARTED: "of another boot", registry.MODEL_SHA256: SHA256}
    left = store.client.create_logged_model(store.experiment_id, name="digits", tags=tags)
    (root / "more").mkdir()
    (root / "more/left.txt").write_text("over")
    store.client.log_model_artifacts(left.model_id, str(root / "more"))
    with pytest.raises(StorageFailed, match=r"left.txt differ"):
        register(store, root)
    assert left.model_id != register(store, root).model_id
    assert [] == list(registry_problems(store, "digits"))


def test_files_that_another_name_refers_to_are_not_removed_with_a_double(root):
    """A second version of the same bytes goes, but its files stay that somebody gave to another model."""
    store = store_in(root)
    register(store, root)
    left = store.client.create_logged_model(store.experiment_id, name="digits")
    store.client.create_registered_model("kept")
    for name in ("digits", "kept"):
        tags = {registry.MODEL_SHA256: SHA256}
        store.client.create_model_version(name, source=f"models:/{left.model_id}", tags=tags)
    assert 1 == registry.the_version(store, "digits", SHA256).number
    assert [1] == [version.number for version in registry.versions(store, "digits")]
    assert left.model_id == store.client.get_logged_model(left.model_id).model_id


def test_a_renamed_model_shares_no_list_of_champions(root):
    """Renamed before it had a champion: what is promoted under the old name is none of its business."""
    store = store_in(root)
    register(store, root)
    store.client.rename_registered_model("digits", "digits-old")
    make_champion(store, register(store, root))
    assert [1] == [item.version for item in champions.champions(store, "digits")]
    assert [] == champions.champions(store, "digits-old")


def test_a_version_is_made_from_any_folder(root, tmp_path, monkeypatch):
    """DVC runs an experiment in a copy of the project, with a record in the project itself."""
    store = store_in(root)
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path / "copy")
    assert 1 == register(store, root).number
    assert [] == list(Path().iterdir())
    assert "MLFLOW_TRACKING_URI" not in os.environ
