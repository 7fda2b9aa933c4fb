"""A small disk of one's own, and a stage that runs on it as DVC would start it."""

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.clones import environment

DISK_MIB = 512
OBEYING_MODES = () if os.getuid() else ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
"""Root writes wherever it likes, unless it gives up these two capabilities."""


@contextmanager
def mounted(folder):
    """Mount an empty disk in memory at `folder`.

    Raises:
        PermissionError: Only root may, and not everywhere.
    """
    folder.mkdir()
    done = _mount("-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(folder))
    if done.returncode:
        raise PermissionError(done.stderr.strip())
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(*arguments):
    return subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)


def remount(folder, option):
    """Make a disk `ro` or `rw`."""
    done = _mount("-o", f"remount,{option}", str(folder))
    assert done.returncode == 0, done.stderr


def mount_problem(folder):
    """Return why no disk can be mounted here, or nothing."""
    try:
        with mounted(folder / "probe"):
            return ""
    except (PermissionError, FileNotFoundError) as error:
        return f"no disk can be mounted: {error}"


def fill(folder, left_bytes):
    """Fill the disk of a folder except for so many bytes; return the file that does."""
    filler = folder / "filler"
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free - left_bytes))
    return filler


def copied(finished, project, stage):
    """Copy a finished pipeline, without what a stage writes: DVC removes that before it starts the stage.

    Without the record, which names its artifacts by absolute paths, and what this machine noted.
    """
    left_out = shutil.ignore_patterns(
        ".dvc", ".millrace", ".venv", "__pycache__", "mlflow.db*", "mlartifacts"
    )
    shutil.copytree(finished, project, symlinks=True, ignore=left_out)
    for out in stage["outs"]:
        path = project / out["path"]
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (project.parent / "tmp").mkdir()


def run_stage(project, command, *, obeying_modes=False, **extra):
    """Run a stage's process; its temporary files lie on the same disk."""
    return subprocess.run(
        [*(OBEYING_MODES if obeying_modes else ()), "sh", *command.split()],
        cwd=project,
        env=environment(TMPDIR=str(project.parent / "tmp"), **extra),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def broken_outs(project, finished, stage):
    """Return the files among a stage's outs that are not those of the finished pipeline."""
    files = []
    for out in stage["outs"]:
        path = project / out["path"]
        files += [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    names = [file.relative_to(project) for file in files if file.exists()]
    return [str(name) for name in names if not same(project / name, finished / name)]


def missing_outs(project, stage):
    """Return the outs of a stage that are not there."""
    return [out["path"] for out in stage["outs"] if not (project / out["path"]).exists()]


def same(one: Path, other: Path) -> bool:
    """Return whether both are there with the same bytes."""
    return other.is_file() and one.read_bytes() == other.read_bytes()
