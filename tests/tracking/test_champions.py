"""One list says who is champion: two writers never both win, and what a crash leaves is finished."""

import pytest
from mlflow.tracking import MlflowClient

from pipeline.runtime.errors import Busy, StorageFailed
from pipeline.tracking import champions, registry
from pipeline.tracking.revocations import revoke
from tests.helpers.racing import race
from tests.helpers.registered import decision, make_champion, register, store_in

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def root(registry_root):
    """Stand in a folder with an empty store."""
    return registry_root


def test_champions_stand_in_the_order_in_which_they_were_promoted(root):
    """Each entry names the version before it, and the aliases agree with the last one."""
    store = store_in(root)
    first, second = register(store, root, b"first"), register(store, root, b"second")
    make_champion(store, first)
    make_champion(store, second, first.model_sha256)
    listed = champions.champions(store, "digits")
    assert [(1, 0), (2, 1)] == [(item.version, item.before) for item in listed]
    assert all(item.mirrored for item in listed)
    assert {"champion": 2, "previous": 1} == champions.aliases(store, "digits")


def test_promotion_against_a_champion_of_yesterday_loses(root):
    """Whoever compared with an earlier champion is told so, and nothing moves."""
    store = store_in(root)
    first, second, third = (register(store, root, name) for name in (b"first", b"second", b"third"))
    make_champion(store, first)
    expected = champions.settle(store, "digits")
    make_champion(store, second, first.model_sha256)
    with pytest.raises(Busy, match=r"Somebody else moved the alias `champion` of digits.*dvc repro"):
        champions.promote(
            store, "digits", expected=expected, version=third.number, model_sha256=third.model_sha256
        )
    assert [1, 2] == [item.version for item in champions.champions(store, "digits")]
    assert 2 == champions.aliases(store, "digits")["champion"]


def test_a_slower_writer_of_the_same_place_loses_though_it_looked_before(root, monkeypatch):
    """The other one writes after our look at the list and before our write: the database keeps the first."""
    store = store_in(root)
    first, second = register(store, root, b"first"), register(store, root, b"second")
    original = MlflowClient.log_param

    def meanwhile(self, run_id, key, value):
        monkeypatch.setattr(MlflowClient, "log_param", original)
        make_champion(store, second)
        return original(self, run_id, key, value)

    monkeypatch.setattr(MlflowClient, "log_param", meanwhile)
    with pytest.raises(Busy, match="Somebody else"):
        make_champion(store, first)
    assert [2] == [item.version for item in champions.champions(store, "digits")]
    assert {"champion": 2} == champions.aliases(store, "digits")


@pytest.mark.long
@pytest.mark.parametrize("step", ["set_registered_model_alias", "log_param"])
@pytest.mark.parametrize("call", [1, 2])
def test_what_a_crash_leaves_is_finished_by_the_next_look(root, monkeypatch, step, call):
    """Killed at the entry, at either alias or at the last note: then the list decides, and the aliases follow."""
    store = store_in(root)
    first, second = register(store, root, b"first"), register(store, root, b"second")
    make_champion(store, first)

    class Killed(BaseException):
        """The process dies."""

    original, calls = getattr(MlflowClient, step), []

    def die(*arguments, **keywords):
        calls.append(arguments)
        if len(calls) == call:
            raise Killed
        return original(*arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, step, die)
        with pytest.raises(Killed):
            make_champion(store, second, first.model_sha256)
    entered = [item.version for item in champions.champions(store, "digits")]
    settled = champions.settle(store, "digits")
    assert entered[-1] == settled.version == champions.aliases(store, "digits")["champion"]
    make_champion(store, second, first.model_sha256)
    assert [1, 2] == [item.version for item in champions.champions(store, "digits")]
    assert {"champion": 2, "previous": 1} == champions.aliases(store, "digits")


def test_a_version_that_was_taken_back_while_it_was_judged_stays_out(root):
    """Judged against the first, promoted and revoked by others meanwhile: the first reigns again, and goes on to."""
    store = store_in(root)
    first, second = register(store, root, b"first"), register(store, root, b"second")
    make_champion(store, first)
    judged = decision(second, first.model_sha256)
    make_champion(store, second, first.model_sha256)
    revoke(
        store,
        "digits",
        second.number,
        second.model_sha256,
        reason="wrong labels",
        when="2026-11-01",
        by="a person",
    )
    reigning = champions.settle(store, "digits")
    champions.promote(
        store, "digits", expected=reigning, version=first.number, model_sha256=first.model_sha256
    )
    with pytest.raises(Busy, match="took that version back"):
        registry.apply_decision(store, "digits", second, judged)
    assert [1, 2, 1] == [item.version for item in champions.champions(store, "digits")]
    assert 1 == champions.aliases(store, "digits")["champion"]


def test_who_slept_after_writing_does_not_move_the_aliases_back(root, monkeypatch):
    """Written as champion 2, and asleep until somebody else is champion 3: the alias is that one's."""
    store = store_in(root)
    first, second, third = (register(store, root, name) for name in (b"first", b"second", b"third"))
    make_champion(store, first)
    append = champions._append

    set_alias, moved = MlflowClient.set_registered_model_alias, []

    def sleep_after_writing(store, name, listed, entry):
        written = append(store, name, listed, entry)
        monkeypatch.setattr(champions, "_append", append)
        make_champion(store, third, second.model_sha256)
        monkeypatch.setattr(
            MlflowClient,
            "set_registered_model_alias",
            lambda self, *arguments: moved.append(arguments[1:]) or set_alias(self, *arguments),
        )
        return written

    monkeypatch.setattr(champions, "_append", sleep_after_writing)
    make_champion(store, second, first.model_sha256)
    assert [1, 2, 3] == [item.version for item in champions.champions(store, "digits")]
    assert {"champion": 3, "previous": 2} == champions.aliases(store, "digits")
    assert {("champion", "3"), ("previous", "2")} >= set(moved)


def test_alias_moved_by_hand_is_respected_and_noted(root):
    """Somebody goes back in the MLflow UI at night: the list takes it over and says so."""
    store = store_in(root)
    first, second = register(store, root, b"first"), register(store, root, b"second")
    make_champion(store, first)
    make_champion(store, second, first.model_sha256)
    store.client.set_registered_model_alias("digits", "champion", "1")
    assert 1 == champions.settle(store, "digits").version
    last = champions.champions(store, "digits")[-1]
    assert ("by hand", 1, 2) == (last.by, last.version, last.before)


def test_alias_removed_by_hand_leaves_no_champion(root):
    """Removing the alias is how a person says that there is none; the next promotion starts from there."""
    store = store_in(root)
    first = register(store, root, b"first")
    make_champion(store, first)
    store.client.delete_registered_model_alias("digits", "champion")
    assert champions.settle(store, "digits") is None
    make_champion(store, first)
    assert [1, 0, 1] == [item.version for item in champions.champions(store, "digits")]


def test_champion_from_before_there_was_a_list_is_taken_over(root):
    """A registry of an earlier version of Millrace has an alias and no list."""
    store = store_in(root)
    version = register(store, root, b"first")
    store.client.delete_registered_model_tag("digits", champions.LIST_RUN)
    store.client.set_registered_model_alias("digits", "champion", str(version.number))
    assert version.model_sha256 == champions.settle(store, "digits").model_sha256


def test_deleted_list_stops_everything(root):
    """Without the list nobody knows what was promoted; nothing is moved, and the message says how to mend it."""
    store = store_in(root)
    make_champion(store, register(store, root, b"first"))
    run_id = store.client.get_registered_model("digits").tags[champions.LIST_RUN]
    store.client.delete_run(run_id)
    with pytest.raises(StorageFailed, match="mlflow runs restore --run-id"):
        champions.settle(store, "digits")
    assert 1 == champions.aliases(store, "digits")["champion"]


@pytest.mark.slow
def test_of_processes_that_promote_at_once_exactly_one_wins(root):
    """Four processes that decided against the same champion: one entry, one champion, three that are told."""
    store = store_in(root)
    versions = [register(store, root, f"model {number}".encode()) for number in range(5)]
    make_champion(store, versions[0])
    outcome = race(root, versions[1:], versions[0].model_sha256)
    (winner,) = [number for number, said in outcome.items() if said == "won"]
    assert [1, winner] == [item.version for item in champions.champions(store, "digits")]
    assert {"champion": winner, "previous": 1} == champions.aliases(store, "digits")
