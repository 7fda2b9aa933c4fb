"""`pipeline.runtime.progress`: every epoch once, whatever happens to the training."""

import io
import json
import re

import pytest
from rich.console import Console

from pipeline.runtime.progress import LiveLog, epoch_progress, live_path

PHASES = {"": 20, "pretrain_": 10}


def lines(path):
    """Return the lines of a log as objects."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_header_epochs_and_end(tmp_path):
    """A log begins with who and what, has a line per epoch, and says how it ended."""
    path = tmp_path / "live" / "cnn.jsonl"
    live = LiveLog(path, "cnn", "key")
    live.append(1, {"loss": 0.5})
    live.append(2, {"loss": 0.25})
    live.end("FINISHED")
    header, *epochs, end = lines(path)
    assert ("cnn", "key", live.live_id) == (header["candidate"], header["inputs_key"], header["live_id"])
    assert [(line["epoch"], line["metrics"]) for line in epochs] == [(1, {"loss": 0.5}), (2, {"loss": 0.25})]
    stamps = [header["started"], *(line["timestamp"] for line in epochs), end["timestamp"]]
    assert stamps == sorted(stamps)
    assert end["end"] == "FINISHED"


def test_resumed_training_adds_no_line_twice(tmp_path):
    """Killed after the line of epoch 2 and before its checkpoint: epoch 2 comes again and is not doubled."""
    path = tmp_path / "cnn.jsonl"
    first = LiveLog(path, "cnn", "key")
    first.append(1, {"loss": 0.5})
    first.append(2, {"loss": 0.25})
    before = lines(path)
    resumed = LiveLog(path, "cnn", "key")
    resumed.append(2, {"loss": 0.25})
    resumed.append(3, {"loss": 0.2})
    assert before == lines(path)[:3], "same identity, same time stamps"
    assert [line["epoch"] for line in lines(path)[1:]] == [1, 2, 3]


def test_torn_last_line_is_dropped(tmp_path):
    """A kill in mid-line leaves half a line; the resumed training writes it again, whole."""
    path = tmp_path / "cnn.jsonl"
    LiveLog(path, "cnn", "key").append(1, {"loss": 0.5})
    with path.open("a") as file:
        file.write('{"epoch": 2, "met')
    LiveLog(path, "cnn", "key").append(2, {"loss": 0.25})
    assert [line["epoch"] for line in lines(path)[1:]] == [1, 2]


def test_two_phases_that_both_count_from_1(tmp_path):
    """The reconstruction and the classifier of an autoencoder share a log; their metrics tell them apart."""
    live = LiveLog(tmp_path / "a.jsonl", "a", "key")
    live.append(1, {"pretrain_loss": 0.5})
    live.append(1, {"loss": 0.4})
    live.append(1, {"loss": 0.4})
    assert len(lines(tmp_path / "a.jsonl")[1:]) == 2


def test_other_inputs_start_a_new_log(tmp_path):
    """A changed parameter makes another training, with an identity of its own."""
    path = tmp_path / "cnn.jsonl"
    old = LiveLog(path, "cnn", "key")
    old.append(1, {"loss": 0.5})
    new = LiveLog(path, "cnn", "other key")
    assert old.live_id != new.live_id
    assert [line["inputs_key"] for line in lines(path)] == ["other key"]


def test_finished_training_of_the_same_inputs_that_runs_again_continues_its_log(tmp_path):
    """Killed after the end and before dvc.lock: the repetition gives the same values, so it is no second run."""
    path = tmp_path / "cnn.jsonl"
    old = LiveLog(path, "cnn", "key")
    old.append(1, {"loss": 0.5})
    before = lines(path)
    old.end("FINISHED")
    again = LiveLog(path, "cnn", "key")
    assert lines(path) == before, "open again, so that a follower waits for the end"
    again.append(1, {"loss": 0.5})
    again.end("FINISHED")
    assert again.live_id == old.live_id
    assert lines(path)[:-1] == before
    assert lines(path)[-1]["end"] == "FINISHED"


def test_failed_training_is_continued(tmp_path):
    """After a failure (a full disk) the same training goes on, and the end it had is gone."""
    path = tmp_path / "cnn.jsonl"
    old = LiveLog(path, "cnn", "key")
    old.append(1, {"loss": 0.5})
    old.end("FAILED")
    again = LiveLog(path, "cnn", "key")
    again.append(2, {"loss": 0.25})
    assert old.live_id == again.live_id
    assert [line.get("epoch") for line in lines(path)] == [None, 1, 2]


def test_path_of_a_candidate():
    """Logs are machine-local state."""
    assert live_path("cnn").as_posix() == ".millrace/live/cnn.jsonl"


def shown(**console):
    """Return what two epochs of two phases print."""
    output = io.StringIO()
    with epoch_progress(Console(file=output, width=200, **console), "cnn", PHASES) as show:
        show(3, {"pretrain_loss": 0.123456})
        show(4, {"loss": 0.5, "val_loss": 1e-5})
    return output.getvalue()


def test_one_line_per_epoch_in_a_log():
    """A log gets whole lines: name, epoch of how many in its phase, metrics."""
    expected = "cnn epoch 3/10 pretrain_loss=0.1235\ncnn epoch 4/20 loss=0.5 val_loss=1e-05\n"
    assert expected == shown()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_narrow_terminal_keeps_name_epoch_bar_and_time_and_has_as_many_metrics_as_fit(width):
    """Never half a metric, those on validation first; with room, all of them."""
    output = io.StringIO()
    logs = {
        "loss": 0.5051,
        "accuracy": 0.8018,
        "val_loss": 0.1214,
        "val_accuracy": 0.9554,
        "learning_rate": 0.001,
    }
    with epoch_progress(
        Console(file=output, width=width, force_terminal=True), "autoencoder", {"": 120}
    ) as show:
        show(7, logs)
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.getvalue()).strip().splitlines()[-1]
    assert last.startswith("autoencoder   7/120 ")
    assert len(last) <= width
    assert re.search("[━╸╺]{3,}", last)
    shown = re.findall(r"\w+=\S+", last)
    assert "…" not in last
    assert set(shown) <= {f"{name}={value:.4g}" for name, value in logs.items()}
    assert {40: 0, 80: 1, 120: 4}[width] == len(shown)
    assert shown[:1] == ["val_loss=0.1214"][: len(shown)]


def test_a_bar_on_a_terminal():
    """A terminal gets a bar per phase with the latest metrics."""
    text = shown(force_terminal=True)
    assert "cnn pretrain" in text
    assert "3/10" in text
    assert "4/20" in text
    assert "val_loss=1e-05" in text
