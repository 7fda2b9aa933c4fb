"""What is finished is on the disk before the next step begins; a torn line costs a step, never the file."""

import json

import pytest

from pipeline.retraining.journal import begin_run, unfinished
from pipeline.runtime.errors import StorageFailed
from pipeline.runtime.files import append_line, read_lines


@pytest.fixture
def path(tmp_path):
    """Where a journal goes."""
    return tmp_path / "journal.jsonl"


def fail():
    """Stand for a step that must not run."""
    raise AssertionError("a finished step ran again")


def test_a_finished_step_is_not_done_again(path):
    """Another process finds the facts of the step, without running it."""
    begin_run(path).once("refresh", lambda: {"rows": 12})
    assert unfinished(path).once("refresh", fail) == {"rows": 12}


def test_a_step_that_failed_is_done_again(path):
    """Nothing is written down for it."""
    run = begin_run(path)
    with pytest.raises(AssertionError):
        run.once("train", fail)
    assert unfinished(path).once("train", lambda: {"done": True}) == {"done": True}


def test_nothing_is_unfinished_after_the_end(path):
    """Nor before anything began."""
    assert unfinished(path) is None
    begin_run(path).end()
    assert unfinished(path) is None


def test_beginning_again_forgets_steps_and_counts_the_round(path):
    """Because somebody else pushed first, all of it is judged anew."""
    run = begin_run(path)
    run.once("refresh", lambda: {"rows": 1})
    run.begin_again("they were first")
    again = unfinished(path)
    assert again.rounds == 1
    assert again.once("refresh", lambda: {"rows": 2}) == {"rows": 2}


def test_stops_are_remembered_with_their_step(path):
    """How often, where and why."""
    run = begin_run(path)
    run.once("prepare", dict)
    with pytest.raises(AssertionError):
        run.once("train", fail)
    run.stop(143, "SIGTERM")
    (stop,) = unfinished(path).stops
    assert (stop["step"], stop["exit_code"], stop["message"]) == ("train", 143, "SIGTERM")


def test_a_crash_at_any_byte_loses_at_most_the_last_line(path):
    """Cut a journal at every byte: what is read is a beginning of it, and it can be written on."""
    run = begin_run(path)
    for name in ("prepare", "refresh", "look"):
        run.once(name, lambda: {"ok": True})
    whole = path.read_bytes()
    records = read_lines(path)
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        found = read_lines(path)
        assert records[: len(found)] == found
        append_line(path, {"run": "x", "event": "end"})
        assert read_lines(path) == [*found, {"run": "x", "event": "end"}]


def test_a_damaged_line_in_the_middle_is_not_passed_over(path):
    """That is no crash but damage; the message says where."""
    path.write_text('{"a": 1}\nnonsense\n{"a": 2}\n')
    with pytest.raises(StorageFailed, match="line 2"):
        read_lines(path)


def test_a_line_is_on_the_disk_before_the_step_counts(path, monkeypatch):
    """Each line is flushed to the disk, or a power cut would forget a finished step."""
    synced = []
    monkeypatch.setattr("pipeline.runtime.files.os.fsync", lambda number: synced.append(path.read_bytes()))
    append_line(path, {"step": 1})
    append_line(path, {"step": 2})
    # The folder of a new file is flushed too, in between.
    assert [{"step": 1}, {"step": 2}] == [json.loads(synced[at].splitlines()[-1]) for at in (0, -1)]
