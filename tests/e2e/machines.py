"""Several machines that retrain one repository: a git remote, a DVC remote and a registry in the middle, nothing else shared."""

import io
import subprocess
from pathlib import Path

from ruamel.yaml import YAML

from tests.e2e.clones import dvc, environment
from tests.e2e.growing_source import GrowingSource, command, following, git, pictures

BASE = 600
"""Pictures at the beginning: enough that a model trained on a few more is never clearly worse."""
NOISE = 30.0
"""Grey levels: easy pictures, so that each night's model is good enough to be promoted and the race has a prize."""


class Machines:
    """Clones of one repository, each with its own tree, DVC cache, downloads and temporary folder.

    Args:
        base: An empty folder.
        count: How many.
        registry: Tracking URI that all of them use.
    """

    def __init__(self, base: Path, count: int, registry: str) -> None:
        self.registry = registry
        self.source = GrowingSource()
        self.grow(BASE)
        self.remote = base / "remote"
        first = following(base / "machine0", self.source)
        params = first / "params.yaml"
        params.write_text(easily_promoted(params.read_text()))
        settings = first / "retrain.yaml"
        text = settings.read_text().replace("push_attempts: 3 ", f"push_attempts: {count + 1} ")
        settings.write_text(text.replace("publish: none", "publish: push"))
        dvc(first, "remote", "add", "--default", "team", str(base / "objects"))
        git(first, "commit", "-qam", "what a team shares")
        subprocess.run(["git", "init", "-q", "--bare", str(self.remote)], check=True)
        git(first, "remote", "add", "origin", str(self.remote))
        git(first, "push", "-q", "origin", "HEAD")
        self.branch = git(first, "branch", "--show-current")
        git(self.remote, "symbolic-ref", "HEAD", f"refs/heads/{self.branch}")
        self.folders = [first]
        for number in range(1, count):
            folder = base / f"machine{number}"
            subprocess.run(["git", "clone", "-q", str(self.remote), str(folder)], check=True)
            git(folder, "config", "user.name", f"machine{number}")
            git(folder, "config", "user.email", "m@example.org")
            self.folders.append(folder)
        for folder in self.folders:
            (folder / ".millrace/tmp").mkdir(parents=True, exist_ok=True)

    def grow(self, count: int) -> None:
        """Let the source have more pictures."""
        self.source.files |= pictures(len(self.source.files), count, noise=NOISE)

    def start(self, folder: Path, *arguments: str) -> subprocess.Popen:
        """Call a command, `retrain` for none, on a machine and do not wait; locks in temporary folders are its own."""
        settings = environment(
            PYTHONPATH=str(folder), MLFLOW_TRACKING_URI=self.registry, TMPDIR=str(folder / ".millrace/tmp")
        )
        with self.log(folder).open("ab") as log:
            return subprocess.Popen(
                command(*(arguments or ("retrain",))), cwd=folder, env=settings, stdout=log, stderr=log
            )

    def log(self, folder: Path) -> Path:
        """Return where the output of a machine goes."""
        return folder / ".millrace/nights.log"

    def results(self) -> str:
        """Return the commit of the branch of results at the remote."""
        return git(self.remote, "rev-parse", f"retrain/{self.branch}")

    def close(self) -> None:
        """Stop the source."""
        self.source.close()


def easily_promoted(text: str) -> str:
    """Return the parameters with a gate that takes a refresh which is not clearly worse, and short training."""
    yaml = YAML()
    content = yaml.load(text)
    content["register"].update(
        mode="non_inferiority",
        non_inferiority_margin=0.1,
        floors={"accuracy": 0.2},
        class_tolerance=0.5,
        calibration_budget=0.5,
    )
    content["training"]["epochs"] = 12
    file = io.StringIO()
    yaml.dump(content, file)
    return file.getvalue()
