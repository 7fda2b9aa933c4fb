"""The files of a job come back as they were at one moment, and lie here whole or not at all."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.engine import files
from tests.conftest import ROOT


def as_files(**texts):
    return {name: np.frombuffer(text.encode(), np.uint8) for name, text in texts.items()}


def as_texts(found):
    return {name: content.tobytes().decode() for name, content in found.items()}


def in_folder(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()
    }


WRITER = """
import sys
from pathlib import Path
from pipeline.runtime.files import append_line, write_bytes

folder, filler = Path(sys.argv[1]), b"x" * 300_000
for epoch in range(1, 100_000):
    append_line(folder / "live/curve", {"epoch": epoch})
    write_bytes(folder / "checkpoint", filler + b"%d" % epoch)
"""


def test_a_set_is_a_state_in_which_the_folder_was(tmp_path):
    """A curve is written before its checkpoint: in a set it is as far, or one epoch further; and no draft is in it."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], env={"PYTHONPATH": str(ROOT), "PATH": ""}
    )
    seen = set()
    try:
        while len(seen) < 40:
            assert writer.poll() is None
            _, found = files.of_one_moment(tmp_path)
            if len(found) < 2:
                continue
            assert {"live/curve", "checkpoint"} == set(found)
            curve = found["live/curve"].tobytes().count(b"\n")
            checkpoint = int(found["checkpoint"].tobytes().lstrip(b"x"))
            assert curve - checkpoint in {0, 1}
            seen.add(checkpoint)
    finally:
        writer.kill()
        writer.wait()


def test_files_that_change_while_they_are_opened_are_opened_again(tmp_path, monkeypatch):
    """Or a set held one file of before and one of after."""

    def write(text):
        for name in ("curve", "checkpoint"):
            (tmp_path / f".{name}").write_text(text)
            (tmp_path / f".{name}").rename(tmp_path / name)

    opened, opening = [], Path.open

    def open_path(path, mode="r", **more):
        if mode == "rb":
            opened.append(path)
            if len(opened) == 2:
                write("new")
        return opening(path, mode, **more)

    write("old")
    monkeypatch.setattr(Path, "open", open_path)
    assert {"curve": "new", "checkpoint": "new"} == as_texts(files.of_one_moment(tmp_path)[1])
    assert 4 == len(opened)


def test_a_file_that_went_between_two_looks_is_no_trouble(tmp_path, monkeypatch):
    """What is there then is read."""
    (tmp_path / "kept").write_text("1")
    (tmp_path / "gone").write_text("2")
    looks = iter([files.stamps(tmp_path)])
    looked = files.stamps
    monkeypatch.setattr(files, "stamps", lambda folder: next(looks, None) or looked(folder))
    (tmp_path / "gone").unlink()
    assert {"kept": "1"} == as_texts(files.of_one_moment(tmp_path)[1])


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(files, "LOOK_SECONDS", 0.01)


def wait_for(condition):
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < 60
        time.sleep(0.01)


def test_files_are_sent_when_some_have_changed(quick, tmp_path):
    """All of them, and only then; what the job began with is known."""
    (tmp_path / "given").write_text("0")
    sent = []
    with files.brought_back(tmp_path, lambda found: sent.append(as_texts(found))):
        time.sleep(0.1)
        assert [] == sent
        (tmp_path / "checkpoint").write_text("1")
        wait_for(lambda: sent)
        time.sleep(0.1)
        (tmp_path / "given").unlink()
        wait_for(lambda: len(sent) > 1)
    (tmp_path / "checkpoint").write_text("after the job")
    time.sleep(0.1)
    assert [{"given": "0", "checkpoint": "1"}, {"checkpoint": "1"}] == sent


def test_files_that_could_not_be_sent_go_with_the_next_look(quick, tmp_path, capsys):
    """Trouble on the way ends neither the job nor what comes after it, and is told once."""
    sent = []

    def send(found):
        sent.append(as_texts(found))
        if len(sent) < 3:
            raise OSError("no room on the way")

    with files.brought_back(tmp_path, send):
        (tmp_path / "checkpoint").write_text("1")
        wait_for(lambda: len(sent) == 3)
        time.sleep(0.1)
    assert [{"checkpoint": "1"}] * 3 == sent
    assert 1 == capsys.readouterr().err.count("no room on the way")


def test_a_job_that_fails_sends_what_it_wrote_last(tmp_path, capsys):
    """It may be begun again. That its files could not go is told, and is not what is raised."""
    sent = []

    def send(found):
        sent.append(as_texts(found))
        raise ConnectionError

    with pytest.raises(OSError, match="disk full"), files.brought_back(tmp_path, send):
        (tmp_path / "checkpoint").write_text("1")
        raise OSError("disk full")
    assert [{"checkpoint": "1"}] == sent
    assert "could not be sent: ConnectionError()" in capsys.readouterr().err


def test_files_that_take_long_to_arrive_go_seldom(quick, tmp_path):
    """So that a tenth of the time is spent on them."""
    at = []

    def send(_found):
        at.append(time.monotonic())
        time.sleep(0.1)
        at.append(time.monotonic())

    with files.brought_back(tmp_path, send):
        for number in range(1000):
            (tmp_path / "checkpoint").write_text(str(number))
            if len(at) > 3:
                break
            time.sleep(0.01)
    assert at[2] - at[1] >= 0.9


def test_the_end_of_a_job_waits_for_files_that_are_on_their_way(quick, tmp_path):
    """Or old files could arrive after the last ones."""
    arrived = threading.Event()
    begun = threading.Event()

    def send(_found):
        begun.set()
        time.sleep(0.2)
        arrived.set()

    with files.brought_back(tmp_path, send):
        (tmp_path / "checkpoint").write_text("1")
        assert begun.wait(60)
    assert arrived.is_set()


def test_files_replace_what_lay_there(tmp_path):
    """A checkpoint that was removed elsewhere is removed here, and nothing is left beside."""
    (tmp_path / "job/below").mkdir(parents=True)
    (tmp_path / "job/below/stale").write_text("x")
    files.lay(as_files(**{"below/new": "abc"}), tmp_path / "job")
    assert {"job/below/new": "abc"} == in_folder(tmp_path)
    files.lay({}, tmp_path / "none")
    assert not (tmp_path / "none").exists()


class Killed(BaseException):
    """Stands for kill -9: nothing tidies up after it."""


@pytest.mark.parametrize("at", range(40))
def test_a_kill_leaves_the_old_files_or_the_new_ones(tmp_path, at):
    """At whichever call of the system; never some of both."""
    old, new = {"checkpoint": "1", "live": "1"}, {"checkpoint": "2", "outs": "2"}
    files.lay(as_files(**old), tmp_path / "job")
    calls = 0

    def count(event, _arguments):
        nonlocal calls
        if counting and event in {"os.rename", "os.mkdir", "os.rmdir", "os.remove", "open", "shutil.rmtree"}:
            calls += 1
            if calls > at:
                raise Killed

    counting = True
    sys.addaudithook(count)
    try:
        files.lay(as_files(**new), tmp_path / "job")
    except Killed:
        counting = False
        files.settle(tmp_path / "job")
        assert in_folder(tmp_path / "job") in (old, new)
        files.lay(as_files(**new), tmp_path / "job")
    counting = False
    assert {f"job/{name}": text for name, text in new.items()} == in_folder(tmp_path)
