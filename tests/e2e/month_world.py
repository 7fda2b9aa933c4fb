"""The world around a project for a month: its source, its git remote, other people, and the calendar."""

import datetime as dt
import subprocess
from pathlib import Path

from tests.e2e.growing_source import GrowingSource, following, git, pictures

START = dt.datetime(2026, 3, 1, 2, 30, tzinfo=dt.UTC)


class World:
    """A project that follows a growing source and pushes to a bare repository.

    Args:
        base: An empty folder.
        first: Pictures at the beginning.
    """

    def __init__(self, base: Path, first: int = 240) -> None:
        self.base = base
        self.source = GrowingSource()
        self.source.files = pictures(0, first)
        self.today = START
        self._next = first
        self._hidden: dict[str, bytes] = {}
        self.project = following(base / "project", self.source)
        self._settings()
        self.remote = base / "remote"
        subprocess.run(["git", "init", "-q", "--bare", str(self.remote)], check=True)
        git(self.project, "remote", "add", "origin", str(self.remote))
        git(self.project, "push", "-q", "origin", "HEAD")
        self.branch = git(self.project, "branch", "--show-current")

    def grow(self, count: int) -> None:
        """Add pictures of the usual kind."""
        self.source.files |= pictures(self._next, count)
        self._next += count

    def drop(self, part: str) -> None:
        """Remove the pictures whose name contains `part`."""
        self.source.files = {name: body for name, body in self.source.files.items() if part not in name}

    def hide(self) -> None:
        """Lose every third picture."""
        names = sorted(self.source.files)[::3]
        self._hidden = {name: self.source.files.pop(name) for name in names}

    def unhide(self) -> None:
        """Bring them back."""
        self.source.files |= self._hidden

    def decline(self, words: str) -> None:
        """Let the remote decline pushes."""
        hook = self.remote / "hooks/pre-receive"
        hook.write_text(f"#!/bin/sh\necho {words}\nexit 1\n")
        hook.chmod(0o755)

    def accept(self) -> None:
        """Let it take them again."""
        (self.remote / "hooks/pre-receive").unlink()

    def others_push(self) -> None:
        """Let somebody push to the branch of results right before our next push does."""
        other, results = self.base / "other", f"retrain/{self.branch}"
        subprocess.run(["git", "clone", "-q", "-b", results, str(self.remote), str(other)], check=True)
        (other / "reports/note.json").write_text("{}")
        git(other, "add", "-A")
        git(other, "-c", "user.name=o", "-c", "user.email=o@example.org", "commit", "-qm", "theirs")
        # Once: the hook goes away before it pushes.
        hook = self.project / ".git/hooks/pre-push"
        hook.write_text(
            f'#!/bin/sh\nrm "$0"\ncd {other} && env -u GIT_DIR -u GIT_WORK_TREE -u GIT_INDEX_FILE git push -q origin {results}\n'
        )
        hook.chmod(0o755)

    def edit(self) -> None:
        """Change a parameter and leave it uncommitted."""
        params = self.project / "params.yaml"
        params.write_text(params.read_text().replace("seed: 7", "seed: 8", 1))

    def commit_edit(self) -> None:
        """Commit it."""
        git(self.project, "commit", "-qam", "another seed")

    def sleep(self, days: int) -> None:
        """Let days pass."""
        self.today += dt.timedelta(days=days)

    def close(self) -> None:
        """Stop the source."""
        self.source.close()

    def _settings(self) -> None:
        """Ten new rows at least, so that the age of the last retrain has something to decide; and results are pushed."""
        path = self.project / "retrain.yaml"
        text = path.read_text().replace("min_new_rows: 1 ", "min_new_rows: 10 ")
        path.write_text(text.replace("publish: none", "publish: push"))
        git(self.project, "commit", "-qam", "ten rows")
