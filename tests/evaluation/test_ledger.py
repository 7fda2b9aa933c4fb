"""Every look at the test set is counted once, and no crash loses or doubles one."""

import fcntl
import subprocess
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pipeline.evaluation.ledger import (
    LEDGER,
    Holdout,
    Use,
    add_uses,
    all_uses,
    judged_against,
    note_use,
    sentence,
    uses,
)
from pipeline.gate.uses import TEST_USES, share_uses
from pipeline.runtime.errors import StorageFailed


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Stand in an empty project."""
    monkeypatch.chdir(tmp_path)


def holdout(first=0, count=100, digest=None):
    """Return a test set of rows `first` to before `first + count`."""
    return Holdout.of(digest or f"d{first}-{count}", [f"row {row}" for row in range(first, first + count)])


def note(model, when, rows=None, by="evaluate"):
    add_uses([Use(rows or holdout(), model, by, when)])


def test_a_model_counts_once_on_the_same_rows():
    """Evaluate and the gate look for the same model, again and again: one look."""
    for by in ("evaluate", "register", "register"):
        note_use(holdout(), "m1", by)
    assert ["m1"] == [use.model_sha256 for use in uses(holdout())]
    assert 1 == len(LEDGER.read_text().splitlines())


def test_the_sentence_counts_the_models_before():
    """First, second and eleventh look, in words; an old model keeps its place."""
    assert "This model is the first that the test set has judged." == sentence(holdout(), "m00")
    for number in range(12):
        note(f"m{number:02d}", f"2026-11-{number + 1:02d}T00:00:00+00:00")
    assert "is the first" in sentence(holdout(), "m00")
    assert "had judged 1 model before this one (the 2nd);" in sentence(holdout(), "m01")
    assert "had judged 10 models before this one (the 11th);" in sentence(holdout(), "m10")
    assert "had judged 12 models before this one (the 13th);" in sentence(holdout(), "new")


def test_two_looks_within_a_second_keep_their_order():
    """A clone learns the earlier one from the registry, after it wrote its own down: the line comes later."""
    note_use(holdout(), "m1", "evaluate")
    note_use(holdout(), "m2", "evaluate")
    first, second = LEDGER.read_text().splitlines()
    LEDGER.write_text(f"{second}\n{first}\n")
    assert ["m1", "m2"] == [use.model_sha256 for use in uses(holdout())]


def test_an_earlier_note_of_the_same_use_counts():
    """A champion that was compared here first had been judged elsewhere before: its challengers keep their chance."""
    note("champion", "2026-11-03T00:00:00+00:00", by="compare")
    note("challenger", "2026-11-02T00:00:00+00:00")
    assert [] == judged_against(holdout(), "champion")
    note("champion", "2026-11-01T00:00:00+00:00")
    note("champion", "2026-11-04T00:00:00+00:00")
    assert ["challenger"] == judged_against(holdout(), "champion")
    assert ["champion", "challenger"] == [use.model_sha256 for use in uses(holdout())]
    assert 3 == len(LEDGER.read_text().splitlines())


@pytest.mark.parametrize(
    ("first", "count", "together"),
    [(0, 100, True), (0, 300, True), (10, 100, True), (0, 5, True), (90, 100, False), (500, 100, False)],
)
def test_looks_at_a_test_set_that_grew_or_shrank_a_little_count_together(first, count, together):
    """At least half of the smaller set's rows in common; another data set begins at nought."""
    note("m1", "2026-11-01T00:00:00+00:00")
    assert together == bool(uses(holdout(first, count)))


def test_the_estimate_of_shared_rows_is_near_the_truth():
    """Sets of thousands are known by 64 rows each."""
    for shared in (0.2, 0.8):
        other = holdout(int(5000 * (1 - shared)), 5000)
        assert abs(holdout(0, 5000).shared_with(other) - shared) < 0.2


def test_a_torn_last_line_is_cut_off_and_swallows_nothing():
    """A crash in the middle of a line loses that line alone."""
    note("m1", "2026-11-01T00:00:00+00:00")
    with LEDGER.open("ab") as file:
        file.write(b'{"judges": {"dig')
    note("m2", "2026-11-02T00:00:00+00:00")
    assert ["m1", "m2"] == [use.model_sha256 for use in all_uses()]


@pytest.mark.parametrize("line", [b"\xff\x00 42", b"[1]", b'{"judges": 1}', b'{"by": "evaluate"}', b""])
def test_a_damaged_line_keeps_the_test_set_closed(line):
    """A line that was passed over would make the test set look less used than it is."""
    note("m1", "2026-11-01T00:00:00+00:00")
    with LEDGER.open("ab") as file:
        file.write(line + b"\n")
    before = LEDGER.read_bytes()
    for look in (lambda: uses(holdout()), lambda: note_use(holdout(), "m2", "evaluate")):
        with pytest.raises(StorageFailed, match=r"test_ledger\.jsonl is damaged at line 2"):
            look()
    assert before == LEDGER.read_bytes()


def test_a_use_is_on_the_disk_before_the_test_set_is_opened(monkeypatch):
    """File and folder are synced; where that fails the error is not swallowed."""
    synced = []
    monkeypatch.setattr("pipeline.runtime.files.os.fsync", lambda number: synced.append(number))
    monkeypatch.setattr("pipeline.runtime.files.fsync_dir", lambda folder: synced.append(folder))
    note_use(holdout(), "m1", "evaluate")
    assert LEDGER.parent == synced[1]

    def full(_number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.runtime.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        note_use(holdout(), "m2", "evaluate")


def test_processes_side_by_side_lose_nothing():
    """Four writers of 25 models each: a hundred lines."""
    code = (
        "import sys; from pipeline.evaluation.ledger import Holdout, note_use\n"
        "for n in range(25): note_use(Holdout.of('d', ['r']), f'{sys.argv[1]}-{n}', 'evaluate')"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(writer)]) for writer in range(4)]
    assert [0] * 4 == [writer.wait() for writer in writers]
    assert 100 == len(uses(Holdout.of("d", ["r"])))


def test_whether_a_model_is_new_is_asked_while_nobody_else_writes():
    """The same model, noted by another process that holds the file: still one line."""
    note("m1", "2026-11-01T00:00:00+00:00")
    line = LEDGER.read_text().replace("m1", "m2")
    with LEDGER.open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        waiting = threading.Thread(target=note_use, args=(holdout(), "m2", "register"))
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
        other.write(line)
    waiting.join(10)
    assert ["m1", "m2"] == [use.model_sha256 for use in all_uses()]


class Registry:
    """A registry that keeps the tags of versions, as the client of MLflow shows them."""

    def __init__(self, *numbers):
        self.client = self
        self.versions = {number: SimpleNamespace(version=str(number), tags={}) for number in numbers}

    def search_model_versions(self, _filter):
        return list(self.versions.values())

    def known(self, number):
        """Return what all machines noted at a version, as one text."""
        return " ".join(text for tag, text in self.versions[number].tags.items() if tag.startswith(TEST_USES))

    def set_model_version_tag(self, _name, number, key, value):
        self.versions[int(number)].tags[key] = value


def test_the_ledger_survives_a_fresh_clone_by_way_of_the_registry():
    """What one machine noted reaches another with the next registration, and neither overwrites the other."""
    store, first, second = Registry(1, 2), SimpleNamespace(number=1), SimpleNamespace(number=2)
    note("m1", "2026-11-01T00:00:00+00:00")
    note("m9", "2026-11-01T00:00:00+00:00", holdout(900))  # of another data set
    share_uses(store, "digits", first, holdout())
    LEDGER.unlink()
    note("m2", "2026-11-02T00:00:00+00:00")
    share_uses(store, "digits", second, holdout())
    assert ["m1", "m2"] == [use.model_sha256 for use in uses(holdout())]
    before = {number: dict(version.tags) for number, version in store.versions.items()}
    assert "m9" not in store.known(1)
    assert "m1" not in store.known(2)
    share_uses(store, "digits", second, holdout())
    assert before == {number: dict(version.tags) for number, version in store.versions.items()}


def test_machines_that_register_one_version_do_not_overwrite_each_other(monkeypatch):
    """Each has a tag of its own, whatever the version looked like when it was read."""
    store, version = Registry(1), SimpleNamespace(number=1)
    for host, model in (("a", "m1"), ("b", "m2")):
        monkeypatch.setattr("pipeline.gate.uses.host_name", lambda host=host: host)
        LEDGER.unlink(missing_ok=True)
        note(model, "2026-11-01T00:00:00+00:00")
        # Both read it before either wrote.
        monkeypatch.setattr(store, "search_model_versions", lambda _: [SimpleNamespace(version="1", tags={})])
        share_uses(store, "digits", version, holdout())
    assert "m1" in store.known(1)
    assert "m2" in store.known(1)


def test_a_tag_that_somebody_edited_is_passed_over():
    """The ledger of this machine is kept."""
    store = Registry(1)
    store.versions[1].tags[TEST_USES] = "not JSON"
    note("m1", "2026-11-01T00:00:00+00:00")
    share_uses(store, "digits", SimpleNamespace(number=1), holdout())
    assert ["m1"] == [use.model_sha256 for use in uses(holdout())]
    assert "m1" in store.known(1)


def test_a_tag_stays_shorter_than_the_registry_takes():
    """What does not fit goes with a later version."""
    store = Registry(1, 2)
    many = [replace(Use(holdout(), "", "evaluate", "2026"), model_sha256=f"{n:064d}") for n in range(150)]
    add_uses(many)
    for number in (1, 2):
        share_uses(store, "digits", SimpleNamespace(number=number), holdout())
    texts = [store.known(number) for number in (1, 2)]
    assert all(len(text) <= 100_000 for text in texts)
    assert 150 == sum(text.count("model_sha256") for text in texts)
