"""Follows an alias: another version is loaded beside the one that answers, checked, and takes its place.

A child process asks the registry (`pipeline.versions.announced`), so that MLflow stays out of this one; a thread
listens to it and loads what it announces, so that the event loop goes on. What does not check is told, and the version
before it stays. A second model beside it (`Beside` in `pipeline.serving.served`) has a child and a thread of its own,
so that nothing it does keeps the first from being followed; it is left out where it cannot be had.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from pipeline.runtime.errors import UserError, say
from pipeline.runtime.processes import naming_us
from pipeline.serving.measured import Measured
from pipeline.serving.model_folder import Named, source_of
from pipeline.serving.served import END_SECONDS, Followed, Served

RESTART_SECONDS = 5.0
"""Before the process that asks is started once more, should it end."""


def asking(
    named: str, default_name: str, seconds: float, *, patient: bool = False, once: bool = False
) -> list[str]:
    """Return the command that asks the registry of this project.

    Args:
        named: As a person names a version, see `millrace predict`.
        default_name: The model of this project.
        seconds: Between two questions.
        patient: Whether the server goes on where the first question cannot be answered.
        once: Whether one answer is enough, see `pipeline.versions.announced`.
    """
    more = [word for word, wanted in (("patient", patient), ("once", once)) if wanted]
    return [sys.executable, "-m", "pipeline.versions.announced", named, default_name, str(seconds), *more]


class Announcements:
    """What the registry says, by a child process.

    Args:
        command: Of the child, see `asking`.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._ended = threading.Event()
        self._child = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C is for the server, which ends the child.
        return subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=naming_us(),
            start_new_session=True,
        )

    def first(self) -> Named:
        """Return the version to begin with.

        Raises:
            SystemExit: There is none, with the exit code of the child, which has said why.
        """
        line = self._next()
        if line is None or "folder" not in line:
            raise SystemExit(self._child.wait())
        return Named.of(line)

    def _next(self) -> dict[str, Any] | None:
        out = self._child.stdout
        line = out.readline() if out else b""
        return dict(json.loads(line)) if line else None

    def listen(self, hear: Callable[[Mapping[str, Any]], None], *, lasting: bool = True) -> None:
        """Pass on every line, for ever; a child that ends is started again, unless it was to end and did so with 0."""
        while not self._ended.is_set():
            while (line := self._next()) is not None:
                hear(line)
            if self._ended.is_set():
                return
            code = self._ended_with()
            if not lasting and code == 0:
                return
            hear({"problem": f"The process that asks the registry ended with {code}."})
            while not self._ended.wait(RESTART_SECONDS):
                try:
                    self._child = self._started()
                    break
                except OSError as error:  # no memory, no process: the next try may have them
                    hear(
                        {
                            "problem": f"The process that asks the registry cannot be started: {error.strerror}."
                        }
                    )

    def _ended_with(self) -> int:
        if self._child.stdout:
            self._child.stdout.close()
        return self._child.wait()

    def close(self) -> None:
        """End the child."""
        self._ended.set()
        self._child.kill()
        self._child.wait()


class Endpoints(Protocol):
    """What answers, see `pipeline.serving.app`."""

    served: Served
    followed: Followed
    measured: Measured

    def swap(self, served: Served) -> None:
        """Let another model answer from now on."""


class Follower:
    """Lets a server follow what is announced."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints

    def start(self, announcements: Announcements) -> Callable[[], None]:
        """Listen in a thread, and return what ends both: Python aborts where it ends while that loads a model."""
        thread = threading.Thread(target=announcements.listen, args=[self.hear], name="follower", daemon=True)
        thread.start()

        def end() -> None:
            announcements.close()
            thread.join(END_SECONDS)

        return end

    def hear(self, line: Mapping[str, Any]) -> None:
        """Do what a line asks for."""
        followed = self._endpoints.followed
        if "problem" in line:
            self._told(line, followed)
            return
        followed.heard, followed.problem = time.time(), ""
        if "folder" not in line:
            return
        named, before = Named.of(line), self._endpoints.served.named
        if (named.version, named.sha256) == (before.version, before.sha256):
            followed.refused = {}  # the alias came back to the one that stayed, or the child was started anew
            return
        try:
            served = Served(named, source_of(named.folder))
        except Exception as error:  # noqa: BLE001  # whatever is wrong with it, the one before it stays
            self._refuse(named.version, error)
            return
        self._endpoints.swap(served)
        followed.refused = {}
        say(f"serve: {named.name} version {named.version} answers, after {before.version}", file=sys.stderr)

    def _told(self, line: Mapping[str, Any], followed: Followed) -> None:
        if line["problem"] != self._last_problem:
            say(f"serve: {line['problem']}", file=sys.stderr)
        self._last_problem = line["problem"]
        if "version" in line:  # the registry answered; it is the version that cannot be had
            followed.heard = time.time()
            self._note_refused(line["version"], "its files are damaged or cannot be fetched")
        else:
            followed.problem = "The registry cannot be asked; the server's log tells why."

    _last_problem = ""

    def _refuse(self, version: str, error: Exception) -> None:
        kind = error.meaning if isinstance(error, UserError) else "cannot be loaded"
        told = f"it does not give its golden answers, or a file is damaged or missing ({kind})"
        self._note_refused(version, told)
        before = self._endpoints.served.named.version
        say(f"serve: version {version} is refused, version {before} stays: {error}", file=sys.stderr)

    def _note_refused(self, version: str, why: str) -> None:
        if self._endpoints.followed.refused.get("version") != version:
            self._endpoints.measured.count("millrace_refused_versions_total")
        self._endpoints.followed.refused = {"version": version, "why": f"{why}; the server's log tells more"}
