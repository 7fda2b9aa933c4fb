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
