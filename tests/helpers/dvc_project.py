"""A DVC project without the seconds that `dvc init` and `dvc config` take."""

from pathlib import Path


def init_dvc(folder: Path, *, no_scm: bool = False, **core: str) -> None:
    """Make a folder a DVC project, as `dvc init` does.

    Args:
        folder: Of the project.
        no_scm: It is no git repository.
        core: What `dvc config core.<name> <value>` would write.
    """
    (folder / ".dvc/tmp").mkdir(parents=True)
    (folder / ".dvc/.gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (folder / ".dvcignore").write_text("")
    settings = {"analytics": "false"} | ({"no_scm": "true"} if no_scm else {}) | core
    lines = [f"    {name} = {value}\n" for name, value in settings.items()]
    (folder / ".dvc/config").write_text("".join(["[core]\n", *lines]))


def reproduced(folder: Path | str = ".") -> list[str]:
    """Run what `dvc repro` would, in this process, and return the stages that ran."""
    from dvc.repo import Repo

    with Repo(str(folder)) as repo:
        return [stage.addressing for stage in repo.reproduce()]


def status(folder: Path | str = ".") -> dict[str, list]:
    """Return what `dvc status` shows: stage to what changed; nothing where all is up to date."""
    from dvc.repo import Repo

    with Repo(str(folder)) as repo:
        return repo.status()
