"""The progress of one training as a local file that a follower can send to a tracking server.

`.millrace/live/<candidate>.jsonl`: a header, one line per epoch, an end. Training writes and never waits for
a server; `pipeline.follow` reads in a process of its own. An epoch stands in the file once, however often
the training was killed and resumed.
"""

import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import IO, Any, Literal

from pipeline import paths
from pipeline.artifacts import write_text
from pipeline.processes import naming_us

LIVE_DIR = paths.STATE_DIR / "live"


def live_path(candidate: str) -> Path:
    """Return where the live log of a candidate lies."""
    return LIVE_DIR / f"{candidate}.jsonl"


class LiveLog:
    """The live log of one training, open for writing.

    A file of the same inputs is continued, also a finished one: the same inputs give the same values, so it
    is the same training, whether its end was a kill before DVC noted the result or a forced repetition. A
    file of other inputs is replaced.

    Args:
        path: The file, see `live_path`.
        candidate: Name of the candidate.
        inputs_key: Digest of all inputs of the training.

    Attributes:
        live_id: Name of this training, the same for the same inputs.
    """

    def __init__(self, path: Path, candidate: str, inputs_key: str) -> None:
        lines = earlier_lines(path, inputs_key)
        if not lines:
            lines = [
                {
                    "candidate": candidate,
                    "inputs_key": inputs_key,
                    "live_id": uuid.uuid4().hex,
                    "started": _milliseconds(),
                }
            ]
        # Rewriting drops a torn last line, and the end of an earlier attempt.
        write_text(path, "".join(map(_encode, lines)))
        self.live_id: str = lines[0]["live_id"]
        self._present = {_key(line["epoch"], line["metrics"]) for line in lines[1:]}
        self._file: IO[str] = path.open("a", encoding="utf-8")

    def append(self, epoch: int, metrics: dict[str, float]) -> None:
        """Add one epoch, on disk when this returns; an epoch that is already there is not added again.

        Args:
            epoch: Counted from 1.
            metrics: Names as in Keras' logs to values.
        """
        key = _key(epoch, metrics)
        if key not in self._present:
            self._present.add(key)
            self._write({"epoch": epoch, "metrics": metrics, "timestamp": _milliseconds()})

    def end(self, status: Literal["FINISHED", "FAILED"]) -> None:
        """Say that nothing more will come, and how it went."""
        self._write({"end": status, "timestamp": _milliseconds()})
        self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(_encode(line))
        self._file.flush()
        os.fsync(self._file.fileno())


def earlier_lines(path: Path, inputs_key: str) -> list[dict[str, Any]]:
    """Return header and epochs of an earlier training of these inputs, or nothing."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            line = json.loads(text)
        except ValueError:
            break  # torn by a crash; nothing behind it counts
        lines.append(line)
    if not lines or lines[0].get("inputs_key") != inputs_key:
        return []
    return [lines[0], *(line for line in lines[1:] if "epoch" in line)]


def start_follower(candidate: str) -> subprocess.Popen[bytes]:
    """Start the process that sends the live log of a candidate to the tracking server.

    It dies with this one, and its troubles stay its own: what it prints goes to a file beside the log.
    """
    output_path = live_path(candidate).with_suffix(".follower.log")
    output_path.parent.mkdir(parents=True, exist_ok=True)
    with output_path.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline.follow", candidate],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=naming_us(),
        )


def _key(epoch: int, metrics: dict[str, float]) -> tuple[int, tuple[str, ...]]:
    # An autoencoder has two phases that both count from 1; the names of their metrics tell them apart.
    return epoch, tuple(sorted(metrics))


def _encode(line: dict[str, Any]) -> str:
    return json.dumps(line, sort_keys=True, allow_nan=False) + "\n"


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
