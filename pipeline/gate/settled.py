"""The out of `register` that says whether its question is settled: `reports/register/settled`.

DVC runs a stage again when an out is not what dvc.lock says. A model that is held back until its origin is committed
must be judged anew by the next `dvc repro`, whatever changed meanwhile: a commit, or only a file put back by hand. No
dependency could tell DVC so. While a model is held this out is therefore a symbolic link to dvc.lock, which DVC writes
after it has hashed the out, with that hash inside: the two never agree, and `dvc status` says so. Otherwise it is a
file of constant content, and a `dvc repro` with nothing new runs nothing. See docs/decisions/0016.
"""

import os

from pipeline.runtime import paths
from pipeline.runtime.files import fsync_dir, remove_leftovers, write_text


def write_settled(*, held: bool) -> None:
    """Write the out: what makes DVC come back, or what makes it content."""
    path = paths.REGISTER_SETTLED
    if not held:
        write_text(path, "settled\n")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.link")
    beside.unlink(missing_ok=True)
    beside.symlink_to(os.path.relpath(paths.DVC_LOCK, path.parent))
    beside.replace(path)
    fsync_dir(path.parent)
