"""Back to an earlier champion: proven before anything moves, revoked for good, noted, and repeatable."""

import shutil

import pytest
from mlflow.tracking import MlflowClient

from pipeline.runtime.errors import InputMissing, NotPermitted, StorageFailed, WronglyCalled
from pipeline.tracking import champions, registry, revocations
from pipeline.versions import rollback
from pipeline.versions import rollback as versions_rollback
from tests.helpers.registered import decision, make_champion, new_store, register, sha, store_in

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """Make a store with three versions that were champion one after the other."""
    root = tmp_path_factory.mktemp("store")
    with new_store(root) as store, pytest.MonkeyPatch.context() as patch:
        patch.setattr(champions, "host_name", lambda: "host")
        before = None
        for content in (b"first", b"second", b"third"):
            version = register(store, root, content)
            make_champion(store, version, sha(before))
            before = version
    return root


@pytest.fixture
def store(ready, monkeypatch):
    """Return the store, put back afterwards; the models are bytes, so nothing loads them."""
    saved = ready.parent / "saved.db"
    monkeypatch.chdir(ready)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(rollback, "check_in_fresh_process", lambda _folder, _advice: None)
    opened = store_in(ready)
    copy_database(ready / "mlflow.db", saved)
    yield opened
    copy_database(saved, ready / "mlflow.db")
    shutil.rmtree(ready / ".millrace", ignore_errors=True)


def copy_database(source, target):
    """Copy what a database holds into another, under the feet of those who have it open."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def shown(store):
    return champions.aliases(store, "digits")


def test_rollback_goes_to_the_champion_before_and_revokes_the_present_one(store):
    """The alias, `previous`, the mark with its reason, and a note that begins and ends."""
    done = rollback.roll_back(store, "digits", to=None, reason="drifts on Mondays")
    assert (2, 3) == (done.champion, done.revoked)
    assert {"champion": 2, "previous": 3} == shown(store)
    bad = registry.version_numbered(store, "digits", 3)
    revoked = revocations.revocation(store, "digits", bad.model_sha256)
    assert ("drifts on Mondays", bad.model_sha256) == (revoked["reason"], revoked["model_sha256"])
    assert revocations.REVOKED in bad.tags
    notes = versions_rollback.read_audit()
    assert ["rollback begun", "rollback done"] == [note["what"] for note in notes]
    assert (3, 2, "drifts on Mondays") == (notes[1]["from"], notes[1]["to"], notes[1]["reason"])
    assert "drifts on Mondays" in champions.champions(store, "digits")[-1].reason


def test_second_rollback_skips_what_was_revoked(store):
    """Going back twice ends at the first champion, not at the one just taken back."""
    rollback.roll_back(store, "digits", to=None, reason="bad")
    rollback.roll_back(store, "digits", to=None, reason="bad as well")
    assert {"champion": 1, "previous": 2} == shown(store)
    with pytest.raises(InputMissing, match="no earlier champion"):
        rollback.roll_back(store, "digits", to=None, reason="all bad")


def test_rollback_to_a_named_version(store):
    """`--to` may skip some; the present champion and revoked ones are refused."""
    rollback.roll_back(store, "digits", to=1, reason="bad")
    assert {"champion": 1, "previous": 3} == shown(store)
    with pytest.raises(WronglyCalled, match="champion already"):
        rollback.roll_back(store, "digits", to=1, reason="again")
    with pytest.raises(NotPermitted, match=r"revoked by .*: bad"):
        rollback.roll_back(store, "digits", to=3, reason="and back")
    with pytest.raises(InputMissing, match="Expected one of digits: 1, 2, 3"):
        rollback.roll_back(store, "digits", to=9, reason="nowhere")


def test_version_that_never_was_champion_is_no_way_back(store, ready, monkeypatch):
    """The gate refused it, or never saw it: nothing moves, and the former champions are named."""
    monkeypatch.setattr(registry, "check_in_fresh_process", lambda _folder: None)
    refused = register(store, ready, b"refused")
    registry.record_decision(store, "digits", refused, decision(refused, "", verdict="refused"))
    with pytest.raises(NotPermitted, match=rf"never champion.*: 1, 2\. Received: --to {refused.number}\."):
        rollback.roll_back(store, "digits", to=refused.number, reason="by mistake")
    assert 3 == shown(store)["champion"]
    assert [] == versions_rollback.read_audit()
    assert revocations.REVOKED not in registry.version_numbered(store, "digits", 3).tags


def test_version_that_does_not_work_moves_nothing(store, monkeypatch):
    """Wrong golden predictions in a fresh process: no revocation, no alias, no note."""

    def broken(_folder, advice):
        raise StorageFailed(f"Predictions differ. {advice}")

    monkeypatch.setattr(rollback, "check_in_fresh_process", broken)
    with pytest.raises(StorageFailed, match=r"Nothing was moved.*millrace verify"):
        rollback.roll_back(store, "digits", to=None, reason="bad")
    assert 3 == shown(store)["champion"]
    assert [] == versions_rollback.read_audit()
    assert revocations.REVOKED not in registry.version_numbered(store, "digits", 3).tags


@pytest.mark.parametrize("name", ["data/model.keras", "millrace/dvc.lock"])
def test_version_with_changed_files_moves_nothing(store, ready, monkeypatch, name):
    """A byte changed in the artifact store, of the model or of its papers, is found before anything moves."""
    original = registry.download_files

    def damaged(store, model_id, folder):
        arrived = original(store, model_id, folder)
        (arrived / name).write_bytes(b"x" + (arrived / name).read_bytes()[1:])
        return arrived

    monkeypatch.setattr(registry, "download_files", damaged)
    with pytest.raises(StorageFailed, match=f"{name} differ"):
        rollback.roll_back(store, "digits", to=None, reason="bad")
    assert 3 == shown(store)["champion"]


class Killed(BaseException):
    """The process dies."""


STEPS = [
    (MlflowClient, "set_registered_model_tag"),
    (MlflowClient, "set_model_version_tag"),
    (MlflowClient, "log_param"),
    (MlflowClient, "set_registered_model_alias"),
    (rollback, "append_audit"),
]


@pytest.mark.parametrize(("owner", "step"), STEPS, ids=[step for _, step in STEPS])
@pytest.mark.parametrize("call", [1, 2])
def test_killed_rollback_is_finished_by_the_same_command(store, monkeypatch, owner, step, call):
    """Wherever it dies, the second attempt ends where the first would have: one step back, not two."""
    original, calls = getattr(owner, step), []

    def die(*arguments, **keywords):
        calls.append(arguments)
        if len(calls) == call:
            raise Killed
        return original(*arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, die)
        try:
            rollback.roll_back(store, "digits", to=None, reason="bad")
        except Killed:
            rollback.roll_back(store, "digits", to=None, reason="bad")
        else:
            assert len(calls) < call  # that step happens only once
    assert {"champion": 2, "previous": 3} == shown(store)
    assert "rollback done" == versions_rollback.read_audit()[-1]["what"]
    assert [1, 2, 3, 2] == [item.version for item in champions.champions(store, "digits")]


def die_before_the_last_note(store, monkeypatch):
    """Roll back to the version before, and die when all but the note is done."""

    def die(what, entry, original=rollback._note):
        if what == rollback.DONE:
            raise Killed
        original(what, entry)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(rollback, "_note", die)
        rollback.roll_back(store, "digits", to=None, reason="bad")


@pytest.mark.parametrize(("to", "reason"), [(1, "another"), (1, "bad")], ids=["both", "version"])
def test_another_rollback_finishes_the_note_and_does_what_it_was_asked(store, monkeypatch, to, reason):
    """Weeks after a rollback from 3 to 2 that died before its last note, somebody goes back from 2 to 1."""
    die_before_the_last_note(store, monkeypatch)
    done = rollback.roll_back(store, "digits", to=to, reason=reason)
    assert (1, 2, False) == (done.champion, done.revoked, done.finished)
    assert {"champion": 1, "previous": 2} == shown(store)
    expected = [(rollback.BEGUN, 3, 2, "bad"), (rollback.DONE, 3, 2, "bad")]
    expected += [(rollback.BEGUN, 2, 1, reason), (rollback.DONE, 2, 1, reason)]
    notes = versions_rollback.read_audit()
    assert expected == [(note["what"], note["from"], note["to"], note["reason"]) for note in notes]


@pytest.mark.parametrize(("to", "reason"), [(None, "bad"), (2, "bad"), (None, "bad, said in other words")])
def test_the_same_rollback_only_finishes_its_note(store, monkeypatch, to, reason):
    """Also where it names the version it had gone to, or the reason anew: a good model is not revoked for a word."""
    die_before_the_last_note(store, monkeypatch)
    assert rollback.roll_back(store, "digits", to=to, reason=reason).finished
    assert 2 == shown(store)["champion"]


def test_deleted_and_revoked_champions_are_passed_over_and_named(store, ready, monkeypatch):
    """Four champions, of which one was revoked and one deleted in MLflow: back to the first."""
    monkeypatch.setattr(registry, "check_in_fresh_process", lambda _folder: None)
    rollback.roll_back(store, "digits", to=None, reason="bad")
    fourth = register(store, ready, b"fourth")
    make_champion(store, fourth, registry.version_numbered(store, "digits", 2).model_sha256)
    store.client.delete_model_version("digits", "2")
    done = rollback.roll_back(store, "digits", to=None, reason="bad as well")
    assert (1, fourth.number) == (done.champion, done.revoked)
    assert ("version 2 (deleted in MLflow)", "version 3 (revoked)") == done.skipped


def test_champions_that_are_all_deleted_or_revoked_are_named(store):
    """Exit code 66, with why each of them is no way back."""
    for number in ("1", "2"):
        store.client.delete_model_version("digits", number)
    named = r"version 2 \(deleted in MLflow\), version 1 \(deleted in MLflow\)"
    with pytest.raises(InputMissing, match=named):
        rollback.roll_back(store, "digits", to=None, reason="bad")


def test_revoked_content_is_known_under_another_number_and_after_its_version_is_gone(store, ready):
    """The mark hangs on the content: a new version of it is revoked, also when the old one was deleted."""
    rollback.roll_back(store, "digits", to=None, reason="bad")
    bad = registry.version_numbered(store, "digits", 3)
    store.client.delete_model_version("digits", "3")
    assert "bad" == revocations.revocation(store, "digits", bad.model_sha256)["reason"]
    assert revocations.revocation(store, "digits", "0" * 64) is None


def test_torn_line_of_the_note_loses_no_other(tmp_path):
    """A power cut in the middle of a line: the next line stands alone, and the torn one is left out."""
    path = tmp_path / "audit.jsonl"
    versions_rollback.append_audit({"what": "one"}, path)
    with path.open("a") as file:
        file.write('{"what": "tw')
    versions_rollback.append_audit({"what": "three"}, path)
    assert ["one", "three"] == [entry["what"] for entry in versions_rollback.read_audit(path)]
