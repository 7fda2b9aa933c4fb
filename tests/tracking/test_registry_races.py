"""Two machines, which no lock reaches both, register one model at the same moment."""

import hashlib
import os

import pytest

from pipeline.tracking import registry, runs
from tests.helpers.registered import decision, packed, store_in

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def root(registry_root):
    """Stand in a folder with an empty store."""
    return registry_root


def upload(store, root, machine):
    """Register the model from a machine; what MLflow writes beside it differs, as it holds the time of day."""
    folder = root / f"packed-{machine}"
    if not folder.exists():
        packed(folder, b"the model", {"train": ["one"]})
        (folder / "MLmodel").write_text(f"flavors: {{}}\nutc_time_created: {machine}\n")
    run = store.client.create_run(store.experiment_id)
    return registry.create_version(store, "digits", folder, run_id=run.info.run_id, tags={}, description="")


@pytest.mark.long
@pytest.mark.parametrize(
    "moment", ["while the first tries its model", "right before the first makes its version"]
)
def test_both_end_with_one_version_whose_files_are_whole(root, monkeypatch, moment):
    """The other machine goes through everything while the first is in the middle: one version, with its own files."""
    store = store_in(root)
    others = []

    def meanwhile(*_):
        if not others:
            others.append(None)
            monkeypatch.setattr(runs, "host_name", lambda: "other")
            monkeypatch.setattr(registry, "host_name", lambda: "other")
            others[0] = upload(store, root, "b")
            monkeypatch.undo()
            monkeypatch.chdir(root)

    if moment == "while the first tries its model":
        monkeypatch.setattr(registry, "check_in_fresh_process", meanwhile)
    else:
        original = store.client.create_model_version

        def late(*arguments, **named):
            monkeypatch.setattr(registry, "check_in_fresh_process", lambda _folder: None)
            store.client.create_model_version = original
            meanwhile()
            return original(*arguments, **named)

        store.client.create_model_version = late
    first = upload(store, root, "a")
    (only,) = registry.versions(store, "digits")
    assert {only.number} == {first.number, others[0].number}
    registry.fetch_model(store, only, root / "fetched")
    ready = store.client.search_logged_models([store.experiment_id])
    assert [only.model_id] == [model.model_id for model in ready]


@pytest.mark.long
@pytest.mark.parametrize(("owner", "shared"), [("alive", False), ("dead", True)])
def test_an_upload_is_taken_over_only_from_a_process_that_is_gone(root, owner, shared):
    """Of this machine, but behind no lock of ours: another user, or another place for temporary files."""
    store = store_in(root)
    tags = runs.owner_tags(os.getppid())
    if owner == "dead":
        tags[runs.STARTED] = "of another boot"
    sha256 = hashlib.sha256(b"the model").hexdigest()
    left = store.client.create_logged_model(
        store.experiment_id, name="digits", tags={registry.MODEL_SHA256: sha256, **tags}
    )
    assert shared == (upload(store, root, "a").model_id == left.model_id)


@pytest.mark.long
def test_what_a_crash_left_beside_the_first_version_is_removed_by_the_next_look(root):
    """A second version of the same bytes that nobody decided about goes; one that somebody decided about stays."""
    store = store_in(root)
    first = upload(store, root, "a")
    sha256 = hashlib.sha256(b"the model").hexdigest()
    for number in (2, 3):
        store.client.create_model_version(
            "digits", source=f"models:/{first.model_id}", tags={registry.MODEL_SHA256: sha256}
        )
        if number == 3:
            registry.record_decision(
                store, "digits", registry.version_numbered(store, "digits", 3), decision(first, "")
            )
    assert 1 == registry.the_version(store, "digits", sha256).number
    assert [1, 3] == [version.number for version in registry.versions(store, "digits")]
    # The one that went had no files of its own; those of the first are not its to take.
    registry.fetch_model(store, first, root / "fetched")


@pytest.mark.long
def test_a_promotion_that_happened_since_the_version_was_read_stays_on_record(root):
    """Another machine promoted it meanwhile: that it is unchanged now does not take the place of why it reigns."""
    store = store_in(root)
    version = upload(store, root, "a")
    promoted = decision(version, "")
    registry.record_decision(store, "digits", version, promoted)
    registry.apply_decision(store, "digits", version, promoted)
    registry.record_decision(store, "digits", version, {**promoted, "decision": "unchanged"})
    assert promoted == registry.applied_promotion(registry.version_numbered(store, "digits", version.number))
