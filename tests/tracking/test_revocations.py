"""What was taken back stays so, whatever a person deletes or renames in the dashboard."""

import json
from dataclasses import replace

import pytest

from pipeline.runtime.errors import Busy
from pipeline.tracking import champions, registry, revocations, runs
from pipeline.tracking.revocations import keep_revocations, revocation, revoke
from tests.helpers.registered import register, store_in

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def store(registry_root):
    """A store with one version."""
    opened = store_in(registry_root)
    register(opened, registry_root, b"bad")
    return opened


def take_back(store, reason="wrong on Mondays"):
    """Revoke the first version, and return its digest."""
    bad = registry.version_numbered(store, "digits", 1)
    revoke(store, "digits", bad.number, bad.model_sha256, reason=reason, when="2026-01-02", by="me@here")
    return bad.model_sha256


def delete_model(store):
    store.client.delete_registered_model("digits")


def rename_model(store):
    store.client.rename_registered_model("digits", "digits-old")


def delete_tags(store):
    sha256 = registry.version_numbered(store, "digits", 1).model_sha256
    store.client.delete_registered_model_tag("digits", f"{revocations.REVOKED}.{sha256}")
    store.client.delete_model_version_tag("digits", "1", revocations.REVOKED)


def delete_runs(store):
    delete_model(store)
    experiment = store.client.get_experiment_by_name(revocations.EXPERIMENT)
    for run in store.client.search_runs([experiment.experiment_id]):
        store.client.delete_run(run.info.run_id)


def delete_experiment(store):
    delete_model(store)
    experiment = store.client.get_experiment_by_name(revocations.EXPERIMENT)
    store.client.delete_experiment(experiment.experiment_id)


@pytest.mark.parametrize(
    "deed",
    [delete_model, rename_model, delete_tags, delete_runs, delete_experiment],
    ids=lambda it: it.__name__,
)
def test_a_revocation_outlives_what_it_was_shown_at(store, deed):
    """The content is revoked, under every name, and looking makes nothing."""
    sha256 = take_back(store)
    deed(store)
    for name in ("digits", "another"):
        assert "wrong on Mondays" == revocation(store, name, sha256)["reason"]
    assert revocation(store, "digits", "0" * 64) is None


def test_the_same_content_is_not_promoted_after_its_model_was_deleted(store, tmp_path):
    """Registered anew in an empty registry, whoever judged it: the list of champions does not take it."""
    take_back(store)
    delete_model(store)
    again = register(store, tmp_path, b"bad")
    with pytest.raises(Busy, match="took that version back"):
        champions.promote(
            store, "digits", expected=None, version=again.number, model_sha256=again.model_sha256
        )
    assert {} == champions.aliases(store, "digits")


@pytest.mark.parametrize("where", ["model", "version"])
def test_a_revocation_of_an_earlier_release_is_kept_before_its_tags_are_gone(store, where):
    """It stands in a tag alone; every register writes it down."""
    bad = registry.version_numbered(store, "digits", 1)
    text = json.dumps({"by": "b", "model_sha256": bad.model_sha256, "reason": "old", "when": "2026"})
    if where == "model":
        store.client.set_registered_model_tag("digits", f"{revocations.REVOKED}.{bad.model_sha256}", text)
    else:
        store.client.set_model_version_tag("digits", "1", revocations.REVOKED, text)
    assert "old" == revocation(store, "digits", bad.model_sha256)["reason"]
    keep_revocations(store, "digits")
    delete_model(store)
    assert "old" == revocation(store, "digits", bad.model_sha256)["reason"]


def test_looking_for_revocations_makes_nothing(store):
    """Where nobody was ever taken back there is no record, and none comes to be."""
    delete_model(store)
    empty = replace(store, experiment="", experiment_id="")
    assert revocation(empty, "digits", "0" * 64) is None
    keep_revocations(store, "digits")
    place = store.client.get_experiment_by_name(revocations.EXPERIMENT)
    assert [] == runs.find_runs(
        replace(store, experiment_id=place.experiment_id), {revocations.RECORD: "true"}, deleted_too=True
    )


def test_what_was_said_first_stays(store, monkeypatch):
    """A second reason, also of a machine that saw no record yet, does not take the place of the first."""
    sha256 = take_back(store)
    take_back(store, "another reason")
    assert "wrong on Mondays" == revocation(store, "digits", sha256)["reason"]
    original, looks = revocations._written_down, []
    monkeypatch.setattr(
        revocations, "_written_down", lambda store: original(store) if looks else looks.append(1) or {}
    )
    take_back(store, "a third")
    assert "wrong on Mondays" == revocation(store, "digits", sha256)["reason"]
