"""A dvc.lock that a kill left half written: `python -m pipeline.torn_lock` takes back the last whole one.

DVC writes dvc.lock anew, in place, after every stage: a power cut or kill -9 in that moment leaves the beginning of it,
and every further `dvc repro` only says "validation failed". Nothing else is lost: DVC's run cache knows what each
finished stage made, so the next `dvc repro` brings that back without running it.
"""

import subprocess
import sys

from dvc.exceptions import DvcException
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils.strictyaml import load

from pipeline import paths

KEPT = paths.STATE_DIR / "dvc.lock.torn"


def is_torn() -> bool:
    """Return whether there is a dvc.lock that DVC itself does not take."""
    if not paths.DVC_LOCK.is_file():
        return False
    try:
        load(str(paths.DVC_LOCK), COMPILED_LOCKFILE_SCHEMA)
    except DvcException:
        return True
    return False


def mend() -> bool:
    """Replace a torn dvc.lock by the committed one, or by none; the torn one is kept beside.

    Returns:
        Whether there was anything to mend.
    """
    if not is_torn():
        return False
    KEPT.parent.mkdir(exist_ok=True)
    paths.DVC_LOCK.replace(KEPT)
    # `./`: the project may lie in a folder of a larger repository. Without git there is none to take.
    command = ["git", "checkout", "--quiet", "HEAD", "--", f"./{paths.DVC_LOCK}"]
    subprocess.run(command, check=False, stderr=subprocess.DEVNULL)
    return True


def main() -> None:
    """Mend the lock of the working directory; exit code 1 if it is whole."""
    if not mend():
        sys.exit(1)
    print(
        f"dvc.lock was half written, by a run that was killed. It is {KEPT} now, and the last whole one is back; what "
        "stages finished since comes out of DVC's run cache."
    )


if __name__ == "__main__":
    main()
